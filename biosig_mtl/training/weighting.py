"""How the losses of several targets become one number, or which rule weighs their gradients instead."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Weighting = Literal[
    "sum", "fixed", "uncertainty", "dwa",
    # Rules between gradients, see `biosig_mtl.training.aggregation`; the losses themselves are then summed.
    "upgrad", "mgda", "pcgrad", "cagrad", "imtl_g", "aligned_mtl", "nash_mtl", "fairgrad", "graddrop", "config", "dualproj",
]  # fmt: skip
DWA_TEMPERATURE = 2.0


class LossWeights(nn.Module):
    """Weights of the losses (T,) of the targets.

    - ``sum``: 1 each. A well-regularised sum matches specialised optimisers (Kurin et al., NeurIPS 2022), so it is the default.
    - ``fixed``: given numbers.
    - ``uncertainty`` (Kendall et al., CVPR 2018): Σ exp(−s_t) L_t / 2 + s_t / 2 with learnt s_t, which settle at log L_t. The
      total is negative where the losses are below 1/e in the mean of their logarithms: that is a good fit, not a fault.
    - ``dwa`` (Liu et al., CVPR 2019): w_t = T softmax(r_t / 2), r_t = L_t(e−1) / L_t(e−2) from mean losses of training epochs;
      1 in the first two epochs, and for a target that either epoch did not see.
    - the rules of `biosig_mtl.training.aggregation`: 1 each; it is the gradients that are weighed.

    A target that a batch has no value of contributes nothing, whatever its weight.
    """

    weights: Tensor
    history: Tensor

    def __init__(self, kind: Weighting, targets: int, fixed: tuple[float, ...] = ()) -> None:
        super().__init__()
        if kind == "fixed" and len(fixed) != targets:
            raise ValueError(f"need one fixed weight per target ({targets}), got {len(fixed)}")
        self.kind = kind
        self.log_variance = nn.Parameter(torch.zeros(targets)) if kind == "uncertainty" else None
        self.register_buffer("weights", torch.tensor(fixed) if kind == "fixed" else torch.ones(targets))
        self.register_buffer("history", torch.full((2, targets), math.nan))

    def forward(self, losses: Tensor, present: Tensor) -> Tensor:
        """Return the weighted sum of the losses of targets that are present."""
        return self.each(losses, present).sum()

    def each(self, losses: Tensor, present: Tensor) -> Tensor:
        """Return the weighted losses (T,), 0 where a target is not present."""
        if self.log_variance is not None:
            each = 0.5 * (torch.exp(-self.log_variance) * losses + self.log_variance)
        else:
            each = self.weights.to(losses.dtype) * losses
        return torch.where(present, each, torch.zeros_like(each))

    def end_epoch(self, losses: Tensor) -> None:
        """Tell the mean loss of every target (T,) in the epoch that ended; NaN where it had none."""
        self.history.copy_(torch.stack([self.history[1], losses.to(self.history)]))
        if self.kind != "dwa":
            return
        ratio = self.history[1] / self.history[0].clamp(min=1e-12)
        ratio = torch.where(torch.isfinite(ratio), ratio, torch.ones_like(ratio))
        known = bool(torch.isfinite(self.history).any(dim=1).all())
        equal = torch.ones_like(ratio)
        self.weights.copy_(len(ratio) * torch.softmax(ratio / DWA_TEMPERATURE, 0) if known else equal)
