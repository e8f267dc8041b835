"""ATI-Net (Sinodinos and Armanfard, "Attentive task interaction network for multi-task learning", ICPR 2022).

Predict, exchange, refine: low-dimensional features of each task make a first prediction, exchange as in PAD-Net, are encoded
anew, averaged and given back to what is shared, so that attention of the tasks picks from a richer pool:

    z_t = φ(W_t H) of width d < D;   ŷ_t = head_t(pool_N z_t)                              predict, deep supervision
    z̃_t = z_t + Σ_{r≠t} σ(G_tr z_r) ⊙ V_tr z_r;   H' = H + mean_t R_t z̃_t                   exchange
    a_t^j = σ(M_t^j ReLU(norm(K_t^j [p^j; x_t^{j−1}])));   x_t^j = φ(E^j (a_t^j ⊙ u^j))     refine
    e_t = pool_N x_t^J

p^j and u^j are the first and the last feature of shared block j (the first mask has p alone), and E^j is shared by the tasks:
the attention of MTAN (Liu, Johns and Davison, CVPR 2019).

Fidelity. It follows the source in the three stages and what each reads. Written anew from the paper's description; no code was
taken over. Ours: blocks of attention over tokens in place of convolutions, at one resolution; layer norm in place of batch norm
(a window's answer must not depend on its batch); initial heads read pooled features; all is trained from the start, where the
authors begin with a half-trained MTAN. With one task nothing is distilled.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.answers import Heads
from biosig_mtl.models.blocks import StackedLinear, StackedNorm
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.mti_net import Distillation
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.models.scales import Block
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class AtiNetSettings(NetworkSettings):
    """Settings of ATI-Net: ``bottleneck`` is d, ``blocks`` is J, ``heads`` are those of every block's attention."""

    bottleneck: int = 16
    blocks: int = 2
    heads: int = 2

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.bottleneck < 1 or self.blocks < 1:
            raise ValueError(f"need bottleneck and blocks >= 1, got {self.bottleneck}, {self.blocks}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"need heads >= 1 that divide width, got {self.heads}, {self.width}")


class Exchange(nn.Module):
    """Predict and exchange: H (B, N, D) → H' (B, N, D) and what each task says at first, (B, T) or (B, T, O)."""

    def __init__(self, tasks: int, outputs: int, settings: AtiNetSettings) -> None:
        super().__init__()
        s = settings
        self.down = StackedLinear(tasks, s.width, s.bottleneck)
        self.initial = Heads(tasks, s.bottleneck, s.width, s.dropout, outputs)
        self.distil = Distillation(tasks, s.bottleneck) if tasks > 1 else None
        self.up = StackedLinear(tasks, s.bottleneck, s.width)

    def forward(self, tokens: Tensor, pool: TokenPool) -> tuple[Tensor, Tensor]:
        """Return the richer tokens and the first answers."""
        low = functional.gelu(self.down(tokens.unsqueeze(0)))
        said: Tensor = self.initial(pool(low, 1).transpose(0, 1))
        if self.distil is not None:
            low, _ = self.distil(low)
        return tokens + self.up(low).mean(0), said


class Refinement(nn.Module):
    """Attention of every task on one shared block; (B, N, D) features p and u, own (T, B, N, D) → the next own.

    Before the ``first`` block there is no own, (1, B, N, 0).
    """

    def __init__(self, tasks: int, width: int, *, first: bool) -> None:
        super().__init__()
        self.narrow = StackedLinear(tasks, width if first else 2 * width, width)
        self.norm = StackedNorm(tasks, width)
        self.mask = StackedLinear(tasks, width, width)
        self.after = nn.Linear(width, width)

    def forward(self, p: Tensor, u: Tensor, own: Tensor) -> Tensor:
        """Mask the block's last feature."""
        seen = torch.cat([p.expand(len(own), -1, -1, -1), own], dim=-1)
        masks = torch.sigmoid(self.mask(functional.relu(self.norm(self.narrow(seen)))))
        return functional.gelu(self.after(masks * u))


class AtiNet(Body):
    """Predict, exchange, refine."""

    def __init__(self, tasks: int, outputs: int, settings: AtiNetSettings) -> None:
        super().__init__()
        s = settings
        self.width = s.width
        self.exchange = Exchange(tasks, outputs, s)
        self.blocks = nn.ModuleList(Block(s.width, s.heads, s.dropout) for _ in range(s.blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(s.width) for _ in range(s.blocks))
        self.refinements = nn.ModuleList(Refinement(tasks, s.width, first=i == 0) for i in range(s.blocks))

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return embeddings (B, T, D) and the first answers."""
        x, said = self.exchange(tokens, pool)
        own = tokens.unsqueeze(0)[..., :0]  # before the first block a task has found nothing
        for block, norm, refine in zip(self.blocks, self.norms, self.refinements, strict=True):
            p, x = block(x)
            own = refine(p, norm(x), own)
        return Joint(pool(own, 1).transpose(0, 1), (said,))


def ati_net(settings: AtiNetSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, AtiNet(len(spec.targets), outputs_of(spec.head), settings))
