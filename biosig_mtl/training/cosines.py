"""Whether targets pull the weights that they share the same way: cosines between the gradients of their losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl.training.gradients import task_gradients
from biosig_mtl.types import F64


def cosines(rows: Tensor, tasks: Sequence[int], targets: int) -> F64:
    """Return cosines (T, T) of gradients (m, P) of the targets ``tasks``; NaN for absent targets and where nothing is shared.

    Of a pair only those columns count that both move: weights of one target alone would draw every cosine towards 0.
    """
    found = np.full((targets, targets), np.nan)
    for i, a in enumerate(tasks):
        for j, b in enumerate(tasks[:i]):
            common = (rows[i] != 0) & (rows[j] != 0)
            one, other = rows[i][common].double(), rows[j][common].double()
            length = float(one.norm() * other.norm())
            if length > 0:
                found[a, b] = found[b, a] = float(one @ other) / length
    return found


def cosine_columns(names: Sequence[str], found: F64) -> dict[str, float]:
    """Return ``cosine_<a>_<b>`` of a row of the history for each pair of targets, in their order; nothing for one target."""
    return {f"cosine_{a}_{b}": float(found[i, i + 1 + j]) for i, a in enumerate(names) for j, b in enumerate(names[i + 1 :])}


def mean_cosines(found: Sequence[F64], targets: int) -> F64:
    """Return the mean over batches (T, T) of what is known, NaN where nothing is."""
    each = np.array(found).reshape(-1, targets, targets)
    known = np.isfinite(each)
    total = np.where(known, each, 0.0).sum(0)
    return np.asarray(np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan))


def fixed_positions(n: int, size: int, seed: int) -> Tensor:
    """Return the positions of the batch that cosines are measured on; their chance is their own."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))[:size]


def measured(judge: Callable[[], tuple[Tensor, Tensor]], model: nn.Module) -> F64:
    """Return cosines (T, T) of a network in evaluation mode: no dropout, and no chance is used up.

    ``judge`` runs the network and returns losses (T,) and which of them (T,) are known. Gradients of weights stay as they are.
    """
    model.eval()
    # Recurrent layers of cuDNN have no backward pass in evaluation mode; where there are none, this changes nothing.
    with torch.backends.cudnn.flags(enabled=False):
        losses, present = judge()
        tasks = [t for t, here in enumerate(present.tolist()) if here and losses[t].requires_grad]
        rows, _ = task_gradients([losses[t] for t in tasks], [p for p in model.parameters() if p.requires_grad])
    return cosines(rows, tasks, len(losses))
