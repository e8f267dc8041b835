"""Medusa (Spencer, Bowden and Hadfield, "Medusa: universal feature learning via attentional multitasking", CVPRW 2022).

All tasks share the backbone and never read each other, so a task can be added later without disturbing the others. Each task
masks every scale of the backbone and weighs its scales at the end. With h^l (B, N, D) at level l:

    s_t^l = σ(A_t^l h^l) ⊙ h^l;   p_t^l = P_t^l pool_N(s_t^l);   e_t = Σ_l softmax_l(B_t [pool s_t^1; …; pool s_t^L]) p_t^l

Fidelity. It follows the source in the mask of each task on each scale of a backbone that all share, in the learnt weighting of
scales, and in the independence of heads. The source has no public code; the equations are written after its description. Ours:
the levels (`biosig_mtl.models.scales`); scales are weighed by one number each, read off the window, before one head a task,
where the source weighs maps that heads made of each scale. The weights of scales are shown as ``scales.<target>``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.network import Body, Joint, Network, TokenPool, tokens_of
from biosig_mtl.models.scales import Levels, ScaleSettings, level_names
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class MedusaSettings(ScaleSettings):
    """Settings of Medusa: those of all networks of several scales; ``heads`` are those of the backbone."""


class Medusa(Body):
    """Levels → a mask a task and level → pool → levels weighed by each task."""

    def __init__(self, targets: tuple[str, ...], settings: MedusaSettings, levels: Levels) -> None:
        super().__init__()
        tasks, width, count = len(targets), settings.width, settings.levels
        self.width, self.targets = width, targets
        self.shown = {f"scales.{name}": level_names(count) for name in targets}
        self.levels = levels
        self.masks = nn.ModuleList(StackedLinear(tasks, width, width) for _ in range(count))
        self.own = nn.ModuleList(StackedLinear(tasks, width, width) for _ in range(count))
        self.score = StackedLinear(tasks, count * width, count)

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return embeddings (B, T, D) and the weights of levels, (B, L) for every task."""
        seen = []
        for row, mask in zip(self.levels(tokens), self.masks, strict=True):
            whole = row.unsqueeze(0)
            seen.append(pool(torch.sigmoid(mask(whole)) * whole, 1).unsqueeze(2))
        shares = torch.softmax(self.score(torch.cat(seen, dim=-1)), dim=-1)
        told = torch.cat([own(level) for own, level in zip(self.own, seen, strict=True)], dim=2)
        embedding = (shares.transpose(2, 3) * told).sum(2)
        weights = {f"scales.{name}": shares[t, :, 0] for t, name in enumerate(self.targets)}
        return Joint(embedding.transpose(0, 1), weights=weights)


def medusa(settings: MedusaSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, Medusa(spec.targets, settings, Levels(settings, tokens)))
