"""Flat minima for every target: sharpness-aware steps whose gradients are weighed target by target.

"Beyond Losses Reweighting: Empowering Multi-Task Learning via the Generalization Perspective" (arXiv 2211.13723), on the ground
of sharpness-aware minimisation (Foret et al., ICLR 2021):

    ε_i = ρ g_i / ‖g_i‖                 the worst place near by for target i; of shared and of own weights, each with length ρ
    f_i = ∇L_i(θ + ε_i) − g_i           what makes the place flatter
    shared weights: A({g_i}) + A({f_i});      own weights: ∇L_i(θ + ε_i)

with A the rule that weighs gradients, here also the plain sum.

What is ours: one radius for shared and own weights; the further passes repeat the chance of the first, so that f_i is not the
difference of two dropout masks; only the weights of the network move, the severities of raters and learnt weights of losses do
not; terms of the loss that belong to no target have their plain gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from biosig_mtl.training.prediction import device_of


class Chance:
    """The chance at the moment when this was made, to be had again."""

    def __init__(self, model: nn.Module) -> None:
        self._device = device_of(model)
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    @contextmanager
    def again(self) -> Iterator[None]:
        """Run what is inside with that chance, and leave the generators as they were."""
        with torch.random.fork_rng(devices=[] if self._cuda is None else [self._device]):
            torch.set_rng_state(self._cpu)
            if self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield


def ascent(row: Tensor, shared: Tensor, radius: float) -> Tensor:
    """Return ε (P,) of one target's gradient (P,), with length ``radius`` on shared columns (P,) and on the others."""
    own = torch.where(shared, torch.zeros_like(row), row)
    both = row - own
    step: Tensor = radius * (both / both.norm().clamp(min=1e-12) + own / own.norm().clamp(min=1e-12))
    return step


def moved_weights(named: Mapping[str, Tensor], step: Tensor) -> dict[str, Tensor]:
    """Return copies of weights by name, moved by ``step`` (P,) in their order, that gradients can be asked for."""
    parts = torch.split(step, [p.numel() for p in named.values()])
    return {name: (p.detach() + part.view_as(p)).requires_grad_() for (name, p), part in zip(named.items(), parts, strict=True)}
