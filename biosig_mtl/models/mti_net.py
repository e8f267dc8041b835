"""MTI-Net (Vandenhende, Georgoulis and Van Gool, "MTI-Net: multi-scale task interaction networks", ECCV 2020).

Which tasks help each other differs by scale, so tasks exchange at every scale. From the coarsest level to the finest, with
backbone features h^l (B, N, D) and task features f_t^l:

    f_t^l = φ(W_t^l [h^l; u_t^{l+1}]);   ŷ_t^l = head_t^l(pool_N f_t^l)                  initial predictions, deep supervision
    a = softmax_t(A_t φ(C [f_1; …; f_T]));   m = R [a_1 ⊙ f_1; …; a_T ⊙ f_T];   u_t = f_t + SE_t(m)              propagation
    o_t^l = f_t^l + Σ_{r≠t} σ(G_tr f_r^l) ⊙ V_tr f_r^l                                   distillation, as in PAD-Net
    e_t = [pool_N o_t^1; …; pool_N o_t^L]                                                                       aggregation

SE_t(x) = σ(W2 ReLU(W1 pool_N x)) ⊙ x is squeeze and excitation (Hu et al., CVPR 2018).

Fidelity. It follows the source in the four stages, their order and what each reads. Written anew from the paper's description;
no code was taken over. Ours: the levels (`biosig_mtl.models.scales`), at which nothing has to be up-sampled; linear maps of
each token in place of convolutions, and layer norm in place of batch norm (a window's answer must not depend on its batch);
initial heads read pooled features. The mean gate σ of every pair and level, between 0 and 1, is shown as ``affinity.level l``;
a gate says how much is let through, not how much it helps. With one task nothing is weighed between tasks nor distilled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.answers import Heads
from biosig_mtl.models.blocks import StackedLinear, StackedNorm
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.network import Body, Joint, Network, TokenPool, tokens_of
from biosig_mtl.models.scales import Levels, ScaleSettings, level_names, pairs
from biosig_mtl.types import InputSpec

SQUEEZE = 4  # features of a token for one inside squeeze and excitation


@dataclass(frozen=True)
class MtiNetSettings(ScaleSettings):
    """Settings of MTI-Net: those of all networks of several scales; ``heads`` are those of the backbone."""


class Distillation(nn.Module):
    """f_t + Σ_{r≠t} σ(G_tr f_r) ⊙ V_tr f_r (PAD-Net, Xu et al., CVPR 2018, message passing with attention); T ≥ 2.

    (T, B, N, D) → the same, and the gates (T(T − 1), B, N, D) in the order of `pairs`.
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        _, self.read = pairs(tasks)
        self.gates = StackedLinear(len(self.read), width, width)
        self.values = StackedLinear(len(self.read), width, width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Add what the gates let through."""
        others = features[self.read]
        gates = torch.sigmoid(self.gates(others))
        heard = (gates * self.values(others)).view(len(features), -1, *features.shape[1:]).sum(1)
        return features + heard, gates


class Propagation(nn.Module):
    """What all tasks found at a level, for each task at the next finer one; (T, B, N, D) → the same."""

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        inside = max(width // SQUEEZE, 1)
        # A map of all tasks in a row is a sum of one map each.
        self.joint = StackedLinear(tasks, width, width) if tasks > 1 else None
        self.score = StackedLinear(tasks, width, width) if tasks > 1 else None
        self.mix = StackedLinear(tasks, width, width)
        self.squeeze = StackedLinear(tasks, width, inside)
        self.excite = StackedLinear(tasks, inside, width)

    def forward(self, features: Tensor, pool: TokenPool) -> Tensor:
        """Add the common features, as each task wants them, to its own."""
        weighed = features
        if self.joint is not None and self.score is not None:
            joint = functional.gelu(self.joint(features).sum(0, keepdim=True))
            weighed = torch.softmax(self.score(joint), dim=0) * features
        mixed = self.mix(weighed).sum(0, keepdim=True)
        inside = functional.relu(self.squeeze(pool(mixed, 1).unsqueeze(2)))
        wanted: Tensor = torch.sigmoid(self.excite(inside)) * mixed
        return features + wanted


class MtiNet(Body):
    """Levels → initial predictions from coarse to fine → distillation at every level → all levels side by side."""

    def __init__(self, targets: tuple[str, ...], outputs: int, settings: MtiNetSettings, levels: Levels) -> None:
        super().__init__()
        tasks, width, count = len(targets), settings.width, settings.levels
        self.width = count * width
        self.levels, self.names = levels, tuple(f"affinity.{name}" for name in level_names(count))
        self.entry = nn.ModuleList(StackedLinear(tasks, (1 if i == count - 1 else 2) * width, width) for i in range(count))
        self.norms = nn.ModuleList(StackedNorm(tasks, width) for _ in range(count))
        self.initial = nn.ModuleList(Heads(tasks, width, width, settings.dropout, outputs) for _ in range(count))
        self.propagations = nn.ModuleList(Propagation(tasks, width) for _ in range(count - 1))
        self.distillations = nn.ModuleList(Distillation(tasks, width) for _ in range(count)) if tasks > 1 else None
        if tasks > 1:
            words = tuple(f"{targets[t]} from {targets[r]}" for t, r in zip(*pairs(tasks), strict=True))
            self.shown = dict.fromkeys(self.names, words)

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return embeddings (B, T, L · D), the initial predictions of every level (the finest first), and mean gates."""
        features = self.task_features(tokens, pool)
        early = tuple(head(pool(level, 1).transpose(0, 1)) for head, level in zip(self.initial, features, strict=True))
        weights = {}
        if self.distillations is not None:
            distilled = [distil(level) for distil, level in zip(self.distillations, features, strict=True)]
            features = [level for level, _ in distilled]
            weights = {n: pool(gates, 1).mean(-1).transpose(0, 1) for n, (_, gates) in zip(self.names, distilled, strict=True)}
        return Joint(torch.cat([pool(level, 1) for level in features], dim=-1).transpose(0, 1), early, weights=weights)

    def task_features(self, tokens: Tensor, pool: TokenPool) -> list[Tensor]:
        """Return the features of every task before distillation, (T, B, N, D) a level, the finest first."""
        made: list[Tensor] = []
        rows = self.levels(tokens)
        for i in reversed(range(len(rows))):
            row = rows[i].unsqueeze(0)
            if made:
                came = self.propagations[i](made[-1], pool)
                row = torch.cat([row.expand_as(came), came], dim=-1)
            made.append(functional.gelu(self.norms[i](self.entry[i](row))))
        return made[::-1]


def mti_net(settings: MtiNetSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    body = MtiNet(spec.targets, outputs_of(spec.head), settings, Levels(settings, tokens))
    return Network(settings, spec, tokens, body)
