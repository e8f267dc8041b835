"""Losses of predictions on scaled targets; what is unknown does not count."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["huber", "mae", "mse"]
HUBER_DELTA = 1.0  # in standard deviations of the target


def masked_loss(predictions: Tensor, targets: Tensor, weight: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return the loss of every target (T,) and whether it had any known value (T,).

    ``targets`` (B, T) may hold NaN: such entries count neither in the sum nor in its divisor, and a target without any known
    value in the batch has loss 0 and gradient 0. ``weight`` (B,) weighs windows.
    """
    known = torch.isfinite(targets)
    # Filled before the loss, not after: NaN times zero is NaN in the gradient.
    filled = torch.where(known, targets, predictions.detach())
    if loss == "huber":
        each = functional.huber_loss(predictions, filled, reduction="none", delta=HUBER_DELTA)
    elif loss == "mae":
        each = (predictions - filled).abs()
    else:
        each = (predictions - filled).square()
    share = weight.to(each.dtype)[:, None] * known
    total = share.sum(0)
    return (each * share).sum(0) / total.clamp(min=1e-12), total > 0


def mask_coverage(masks: Tensor) -> Tensor:
    """Return how far the masks (B, K, N, D) together fall short of letting everything through, mean of max(0, 1 − Σ_k M)².

    Our extension: without it a split network may answer a mutual-information penalty by closing all masks.
    """
    return (1.0 - masks.sum(1)).clamp(min=0.0).square().mean()
