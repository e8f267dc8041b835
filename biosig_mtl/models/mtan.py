"""MTAN: one trunk for all tasks, and a soft mask over each of its blocks for every task.

Written anew from its equations (Liu, Johns & Davison, End-to-end multi-task learning with attention, CVPR 2019, section 3, and
what its authors' code is said to do). Block j gives a first feature p^j and a last one u^j. For task i

    a_i^j = σ(norm W2 ReLU(norm W1 [p^j ; â_i^{j-1}]))        the mask, in (0, 1); block 1 has p^1 alone
    â_i^j = g^j(a_i^j ⊙ u^j)                                  attended; g^j is shared by all tasks

and the last â_i, pooled, is the embedding of the task.

Follows the source: the masks, what they look at (first feature) and act on (last feature), g after the mask common to tasks,
a bottleneck of a quarter of the width. Ours: blocks are residual layers of each token by itself in place of convolutions, and
maps are applied to each token; blocks keep the length of the row, since the say of modalities in the pool needs all of it (the
source halves it); layer norm of each token in place of batch norm: an answer must not depend on the windows that happen to
share a batch. The mean of a token's mask over features is thereby set by the offset of the norm more than by the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import StackedLinear, StackedNorm
from biosig_mtl.models.hard_sharing import TrunkLayer
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class MtanSettings(NetworkSettings):
    """Settings of MTAN: ``blocks`` of the trunk, two layers each; mask networks of width D / ``reduction``, at least 4."""

    blocks: int = 2
    reduction: int = 4

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.blocks < 1 or self.reduction < 1:
            raise ValueError(f"need blocks and reduction >= 1, got {self.blocks}, {self.reduction}")


class MaskNet(nn.Module):
    """σ(norm W2 ReLU(norm W1 x)) with weights of its own for every task; (T, B, N, in) → masks (T, B, N, D)."""

    def __init__(self, tasks: int, d_in: int, width: int, hidden: int) -> None:
        super().__init__()
        self.first = StackedLinear(tasks, d_in, hidden)
        self.first_norm = StackedNorm(tasks, hidden)
        self.second = StackedLinear(tasks, hidden, width)
        self.second_norm = StackedNorm(tasks, width)

    def forward(self, x: Tensor) -> Tensor:
        """Make masks; an input (1, B, N, in) is looked at by every task."""
        hidden = functional.relu(self.first_norm(self.first(x)))
        return torch.sigmoid(self.second_norm(self.second(hidden)))


class MaskedBlock(nn.Module):
    """One block of the trunk with the masks of all tasks.

    Trunk x (B, N, D) and attended of the block before (T, B, N, D), None for the first → u, attended and masks.
    """

    def __init__(self, tasks: int, settings: MtanSettings, *, first: bool) -> None:
        super().__init__()
        s = settings
        self.enter, self.leave = TrunkLayer(s.width, s.dropout), TrunkLayer(s.width, s.dropout)
        self.mask = MaskNet(tasks, s.width if first else 2 * s.width, s.width, max(s.width // s.reduction, 4))
        self.after = nn.Sequential(nn.Linear(s.width, s.width), nn.LayerNorm(s.width), nn.ReLU())

    def forward(self, x: Tensor, attended: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the trunk u (B, N, D), attended features and masks, both (T, B, N, D)."""
        p = self.enter(x)
        u: Tensor = self.leave(p)
        seen = p.unsqueeze(0)
        if attended is not None:
            seen = torch.cat([seen.expand_as(attended), attended], dim=-1)
        masks: Tensor = self.mask(seen)
        return u, self.after(masks * u), masks


class MaskedTrunk(Body):
    """Tokens → blocks with masks → pool of what was attended last → one embedding a task."""

    def __init__(self, tasks: int, settings: MtanSettings) -> None:
        super().__init__()
        self.width = settings.width
        self.blocks = nn.ModuleList(MaskedBlock(tasks, settings, first=j == 0) for j in range(settings.blocks))

    def look(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what was attended last (T, B, N, D), and the masks of every block, each (T, B, N, D)."""
        x, masks = tokens, []
        attended: Tensor | None = None
        for block in self.blocks:
            x, attended, made = block(x, attended)
            masks.append(made)
        return cast("Tensor", attended), masks

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return one embedding a task (B, T, D)."""
        return Joint(pool(self.look(tokens)[0], 1).transpose(0, 1))


def mtan(settings: MtanSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, MaskedTrunk(len(spec.targets), settings))
