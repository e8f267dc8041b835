"""What is counted while an epoch runs."""

from __future__ import annotations

import torch
from torch import Tensor

from biosig_mtl.types import F64


class Tally:
    """Sums over the batches of one epoch."""

    def __init__(self, targets: int) -> None:
        self._losses, self._batches = torch.zeros(targets, dtype=torch.float64), torch.zeros(targets, dtype=torch.float64)
        self._total, self._norm, self._steps = 0.0, 0.0, 0
        self.dependence: list[float] = []
        self.cosines: list[F64] = []  # between the gradients of targets, (T, T), where a step has them
        self.split_std = float("nan")

    def add_losses(self, losses: Tensor, present: Tensor) -> None:
        """Count the loss of each target (T,) where the batch had it (T,)."""
        self._losses += torch.where(present, losses, torch.zeros_like(losses)).detach().double().cpu()
        self._batches += present.double().cpu()

    def add(self, total: Tensor, norm: Tensor, splits: Tensor | None) -> None:
        """Count a step; the spread of the splits is that of the last batch."""
        self._total += float(total.detach())
        self._norm += float(norm)
        self._steps += 1
        if splits is not None and splits.shape[0] > 1:
            self.split_std = float(splits.detach().float().mean(2).std(0).mean())

    def losses(self) -> Tensor:
        """Return the mean loss of every target (T,), NaN where no batch had it."""
        return self._losses / torch.where(self._batches > 0, self._batches, torch.nan)

    def mean_total(self) -> float:
        """Return the mean loss of a step."""
        return self._total / max(self._steps, 1)

    def mean_norm(self) -> float:
        """Return the mean gradient norm before clipping."""
        return self._norm / max(self._steps, 1)
