"""Losses of answers on scaled targets, for any mix of heads; what is unknown does not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from biosig_mtl.types import Head

Loss = Literal["huber", "mae", "mse"]
HUBER_DELTA = 1.0  # in standard deviations of the target
CCC_LEAST = 32  # known windows of a batch; the concordance of fewer is mostly chance
EPS = 1e-8


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


def concordance_loss(predictions: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Return 1 − CCC of one target over a batch, all (B,); NaN targets do not count.

        CCC = 2 cov(x, y) / (var x + var y + (mean x − mean y)²)    (Lin, Biometrics 45, 1989)

    with weighted moments. A small number in the divisor keeps value and gradient finite where nothing varies: the
    CCC is 0 there.
    """
    known = torch.isfinite(targets)
    share = weight * known
    share = share / share.sum().clamp(min=EPS)
    y = torch.where(known, targets, torch.zeros_like(targets))
    mean_x, mean_y = (share * predictions).sum(), (share * y).sum()
    x, y = predictions - mean_x, torch.where(known, y - mean_y, torch.zeros_like(y))
    spread = (share * (x.square() + y.square())).sum() + (mean_x - mean_y).square()
    return 1.0 - 2.0 * (share * x * y).sum() / (spread + EPS)


def class_terms(logits: Tensor, numbers: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return −Σ_k q_k log p_k of every window (B,), from logits (B, C) and class numbers (B,); 0 where a number is NaN.

    q is 1 for the true class c; with ``smoothing`` s it is Gaussian around it, q_k ∝ exp(−½ ((k − c) / s)²), so that a near
    miss costs less than a far one (ordinal label smoothing as in HiSTN, arXiv 2408.15255).
    """
    known = torch.isfinite(numbers)
    true = torch.where(known, numbers, torch.zeros_like(numbers)).long()
    logs = torch.log_softmax(logits, dim=1)
    if smoothing:
        away = torch.arange(logits.shape[1], device=logits.device) - true[:, None]
        wanted = torch.softmax(-0.5 * (away.to(logs.dtype) / smoothing).square(), dim=1)
        each = -(wanted * logs).sum(1)
    else:
        each = -logs.gather(1, true[:, None])[:, 0]
    return torch.where(known, each, torch.zeros_like(each))


@dataclass(frozen=True)
class Objective:
    """What is minimised: the loss of every target by its head.

    Regression takes ``loss`` and, in the share that its head says, 1 − CCC over the batch (in batches with fewer than 32 known
    windows ``loss`` alone). Classes take the cross-entropy, ordinal ones with Gaussian neighbours; ``class_weight`` (T, O)
    weighs windows by their true class.
    """

    heads: tuple[Head, ...]
    loss: Loss
    class_weight: Tensor

    @classmethod
    def fit(cls, heads: tuple[Head, ...], loss: Loss, targets: NDArray[np.floating], weight: NDArray[np.floating]) -> Objective:
        """Take the weights of classes from training targets (n, T), as class numbers, and window weights (n,).

        Where a head is balanced, every class that occurs has the same total weight; elsewhere each window counts as it is.
        """
        found = np.ones((len(heads), max([1, *(head.classes for head in heads)])))
        for t, head in enumerate(heads):
            known = np.isfinite(targets[:, t])
            if head.classes and head.balanced and known.any():
                total = np.bincount(targets[known, t].astype(int), weight[known], minlength=found.shape[1])
                found[t] = np.where(total > 0, total.sum() / np.maximum(total, EPS) / max((total > 0).sum(), 1), 1.0)
        return cls(heads, loss, torch.from_numpy(found.astype(np.float32)))

    def __call__(self, predictions: Tensor, logits: Tensor | None, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of every target (T,) and whether it had any known value (T,); see `masked_loss`."""
        losses, present = masked_loss(predictions, targets, weight, self.loss)
        if all(head.kind == "regression" and not head.ccc for head in self.heads):
            return losses, present
        each = list(losses.unbind(0))
        for t, head in enumerate(self.heads):
            if head.classes and logits is not None:
                each[t] = self._classes(t, logits[:, t, : head.classes], targets[:, t], weight)
            elif head.ccc and int(torch.isfinite(targets[:, t]).sum()) >= CCC_LEAST:
                concordance = concordance_loss(predictions[:, t], targets[:, t], weight)
                each[t] = (1.0 - head.ccc) * each[t] + head.ccc * concordance
        return torch.stack(each), present

    def _classes(self, t: int, logits: Tensor, numbers: Tensor, weight: Tensor) -> Tensor:
        terms = class_terms(logits, numbers, self.smoothing(t))
        share = self.window_weight(t, numbers, weight)
        return (terms * share).sum() / share.sum().clamp(min=1e-12)

    def smoothing(self, t: int) -> float:
        """Return the spread of the neighbours of a true class, 0 for heads without order."""
        head = self.heads[t]
        return head.smoothing if head.kind == "ordinal" else 0.0

    def window_weight(self, t: int, numbers: Tensor, weight: Tensor) -> Tensor:
        """Return the weight of every window (B,) for a head of classes: its own times that of its class; 0 where unknown."""
        known = torch.isfinite(numbers)
        true = torch.where(known, numbers, torch.zeros_like(numbers)).long()
        return weight * self.class_weight.to(weight)[t][true] * known

    def weights(self, targets: Tensor, weight: Tensor) -> Tensor:
        """Return the weight of every window for every target (T, B), from targets (B, T) and weights (B,)."""
        each = [self.window_weight(t, targets[:, t], weight) if head.classes else weight for t, head in enumerate(self.heads)]
        return torch.stack(each)
