"""Progressive layered extraction: shared experts and experts that belong to one task, in levels.

Source: Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for Personalized Recommendations",
RecSys 2020 (customized gate control for one level, progressive layered extraction for several):

    x_t^j = g_t^j(x_t^{j−1}) · [experts of t(x_t^{j−1}) ; shared experts(x_s^{j−1})]
    x_s^j = g_s^j(x_s^{j−1}) · [experts of all tasks ; shared experts]

with g(x) = softmax(W x). Follows the source: who feeds whom, that the shared gate sees all experts, that the last level has no
shared gate, so that there a task's own experts learn from that task alone. Ours: the first level reads the pooled embedding; an
expert is the residual layer of `biosig_mtl.models.mmoe`; gates have an offset; the number of experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.mmoe import Experts
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class PleSettings(NetworkSettings):
    """Settings of the extraction: ``levels``, and in each ``own_experts`` a task and ``shared_experts`` for all."""

    levels: int = 2
    own_experts: int = 1
    shared_experts: int = 2

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if min(self.levels, self.own_experts, self.shared_experts) < 1:
            got = f"{self.levels}, {self.own_experts}, {self.shared_experts}"
            raise ValueError(f"need levels, own_experts and shared_experts >= 1, got {got}")


@dataclass(frozen=True)
class Extracted:
    """What a level finds: ``mixed`` (T, B, D), its ``experts`` (T · own + shared, B, D), ``gates`` (T, B, own + shared)."""

    mixed: Tensor
    experts: Tensor
    gates: Tensor


class CustomizedGates(nn.Module):
    """One level: each task mixes its own experts with the shared ones, own first."""

    def __init__(self, tasks: int, settings: PleSettings) -> None:
        super().__init__()
        s = settings
        self.tasks, self.n_own = tasks, s.own_experts
        self.own = Experts(tasks * s.own_experts, s.width, s.dropout)
        self.common = Experts(s.shared_experts, s.width, s.dropout)
        self.gates = StackedLinear(tasks, s.width, s.own_experts + s.shared_experts)

    def forward(self, own: Tensor, shared: Tensor) -> Extracted:
        """Mix, given what the level before found for each task (T, B, D), and what is shared (B, D)."""
        gates = torch.softmax(self.gates(own[:, :, None])[:, :, 0], dim=-1)
        mine = self.own(own.repeat_interleave(self.n_own, dim=0)[:, :, None])[:, :, 0]
        common = self.common(shared[None, :, None])[:, :, 0]
        by_task = mine.view(self.tasks, self.n_own, *mine.shape[1:])
        mixed = torch.einsum("tbe,tebd->tbd", gates[..., : self.n_own], by_task)
        mixed = mixed + torch.einsum("tbe,ebd->tbd", gates[..., self.n_own :], common)
        return Extracted(mixed, torch.cat([mine, common]), gates)


class Extraction(Body):
    """Pool → levels; shows the gates of the last level as ``experts.<target>`` (B, own + shared).

    ``gates`` (B, T) are what the shared experts of the last level weigh together.
    """

    def __init__(self, targets: tuple[str, ...], settings: PleSettings) -> None:
        super().__init__()
        s = settings
        self.targets, self.width, self.n_own = targets, s.width, s.own_experts
        self.levels = nn.ModuleList([CustomizedGates(len(targets), s) for _ in range(s.levels)])
        everyone = len(targets) * s.own_experts + s.shared_experts
        self.passing = nn.ModuleList([nn.Linear(s.width, everyone) for _ in range(s.levels - 1)])
        own = tuple(f"own {e + 1}" for e in range(s.own_experts))
        columns = (*own, *(f"shared {e + 1}" for e in range(s.shared_experts)))
        self.shown = {f"experts.{target}": columns for target in targets}

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return what the last level finds for each task (B, T, D)."""
        shared = pool(tokens)
        own = shared.expand(len(self.targets), -1, -1)
        # The last level passes nothing on, so it has no gate of the shared part.
        for level, gate in zip(self.levels, self.passing, strict=False):
            found: Extracted = level(own, shared)
            shared = torch.einsum("be,ebd->bd", torch.softmax(gate(shared), dim=-1), found.experts)
            own = found.mixed
        last: Extracted = self.levels[-1](own, shared)
        return Joint(
            last.mixed.transpose(0, 1),
            gates=last.gates[..., self.n_own :].sum(-1).transpose(0, 1),
            weights={f"experts.{target}": gate for target, gate in zip(self.targets, last.gates, strict=True)},
        )


def ple(settings: PleSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, Extraction(spec.targets, settings))
