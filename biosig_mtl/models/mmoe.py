"""Multi-gate mixture of experts: all tasks draw on the same experts, each through a gate of its own.

Source: Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts", KDD 2018
(the section of that name):

    f_t(x) = Σ_e g_t(x)_e E_e(x);   g_t(x) = softmax(W_t x);   y_t = h_t(f_t(x))

Follows the source: experts without an owner, one linear softmax gate a task that looks at what the experts look at, a tower
(our head) a task. Ours: x is the pooled embedding in place of raw features; an expert is the residual layer of
`biosig_mtl.models.hard_sharing` in place of a plain network with ReLU, so that one expert is hard sharing exactly; gates have
an offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import StackedLinear, StackedNorm
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class MmoeSettings(NetworkSettings):
    """Settings of the mixture: ``experts`` is E."""

    experts: int = 4

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.experts < 1:
            raise ValueError(f"need experts >= 1, got {self.experts}")


class Experts(nn.Module):
    """``n`` residual layers side by side, E_e(x) = x + MLP_e(LN_e(x)); (n, B, N, D) → the same.

    An input (1, B, N, D) is shown to every expert.
    """

    def __init__(self, n: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = StackedNorm(n, width)
        self.wide = StackedLinear(n, width, 2 * width)
        self.drop = nn.Dropout(dropout)
        self.narrow = StackedLinear(n, 2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Ask all experts."""
        added: Tensor = self.narrow(self.drop(functional.gelu(self.wide(self.norm(x)))))
        return x + added


class Mixture(Body):
    """Pool → experts → one mixture a task; the weights ``experts.<target>`` (B, E) are the gates of the task."""

    def __init__(self, targets: tuple[str, ...], width: int, experts: int, dropout: float) -> None:
        super().__init__()
        self.targets, self.width = targets, width
        self.experts = Experts(experts, width, dropout)
        self.gates = StackedLinear(len(targets), width, experts)
        columns = tuple(f"expert {e + 1}" for e in range(experts))
        self.shown = {f"experts.{target}": columns for target in targets}

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return mixtures (B, T, D)."""
        pooled = pool(tokens)[None, :, None]
        said = self.experts(pooled)[:, :, 0]
        gates = torch.softmax(self.gates(pooled)[:, :, 0], dim=-1)
        mixed = torch.einsum("tbe,ebd->btd", gates, said)
        return Joint(mixed, weights={f"experts.{target}": gate for target, gate in zip(self.targets, gates, strict=True)})


def mmoe(settings: MmoeSettings, spec: InputSpec) -> Network:
    """Make the network."""
    s = settings
    tokens = tokens_of(s, spec)
    return Network(s, spec, tokens, Mixture(spec.targets, s.width, s.experts, s.dropout))
