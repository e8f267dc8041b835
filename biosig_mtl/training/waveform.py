"""Learning to tell the waveform of the reference signal beside the targets, and telling it at any resolution.

The loss is the Huber loss of the scaled waveform over valid points. A multi-task DeepONet (see
`biosig_mtl.models.waveform_head`) lets its mask of the geometry into the loss too; ours is what is known of the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.training.batches import BatchSource, check_table
from biosig_mtl.training.losses import HUBER_DELTA
from biosig_mtl.training.prediction import EVALUATION_BATCH, as_network, moved, source_for
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F64, I64, Batch, Output, RecipeError, WindowTable


class Scaled(Protocol):
    """A head that knows the unit of the reference."""

    def set_scale(self, mean: float, spread: float) -> None:
        """Tell mean and standard deviation of the reference in its unit."""

    def in_units(self, waveform: Tensor) -> Tensor:
        """Return a scaled waveform in that unit."""


@runtime_checkable
class Telling(Protocol):
    """A network that can tell the waveform of the reference; ``waveform_head`` is None where it was not asked to."""

    waveform_head: Scaled | None

    def waveform(self, batch: Batch, points: int) -> Tensor:
        """Return the scaled waveform (B, S) at so many points."""


def head_of(model: nn.Module) -> Scaled:
    """Return the waveform head of a network; raise `RecipeError` where it has none."""
    found = getattr(model, "waveform_head", None)
    if found is None:
        raise RecipeError("the network has no waveform head: set model.waveform_head with model.name split_merge")
    return cast("Scaled", found)


def start_waveform(model: nn.Module, source: BatchSource, scaler: Scaler) -> None:
    """Let training batches carry the reference, and tell the head its unit.

    Raises
    ------
    RecipeError
        The network has no waveform head, or the windows no reference waveform.
    """
    head = head_of(model)
    if scaler.reference is None:
        raise RecipeError(
            "training.waveform_weight: the windows have no reference waveform; set windows.reference_waveform and prepare again"
        )
    head.set_scale(float(scaler.reference[0]), float(scaler.reference[1]))
    source.reference = True


def waveform_loss(estimate: Tensor, reference: Tensor, weight: Tensor) -> Tensor:
    """Return the Huber loss (δ = 1 standard deviation) of a waveform (B, S) against its reference (B, L), NaN where unknown.

    The mean over the valid points of each window, then over windows by ``weight`` (B,). A window without a valid point counts
    neither in the sum nor in its divisor; without any at all the loss is 0, and so is its gradient.
    """
    wanted = at_points(reference, estimate.shape[1])
    known = torch.isfinite(wanted)
    # Filled before the loss, not after: NaN times zero is NaN in the gradient.
    filled = torch.where(known, wanted, estimate.detach())
    each = functional.huber_loss(estimate, filled, reduction="none", delta=HUBER_DELTA)
    count = known.sum(1)
    window = (each * known).sum(1) / count.clamp(min=1)
    share = weight.to(each.dtype) * (count > 0)
    return (window * share).sum() / share.sum().clamp(min=1e-12)


def waveform_terms(out: Output, batch: Batch, weight: float) -> Iterator[Tensor]:
    """Yield the weighted loss of the waveform where the batch carries a reference, and nothing where it does not."""
    if out.reference is not None and batch.reference is not None:
        yield weight * waveform_loss(out.reference.float(), batch.reference, batch.weight)


def at_points(reference: Tensor, points: int) -> Tensor:
    """Return waveforms (B, L), sampled at times i / L, at times j / S: (B, S).

    Samples themselves where a point falls on one, else the line between two; NaN next to an unknown one. What lies after the
    last sample is that sample.
    """
    length = reference.shape[1]
    # Whole numbers: a point that falls on a sample must not miss it by a rounding.
    place = torch.arange(points, device=reference.device) * length
    low = place // points
    share = (place % points).to(reference.dtype) / points
    high = torch.where(share > 0, low + 1, low).clamp(max=length - 1)
    return reference[:, low] + share * (reference[:, high] - reference[:, low])


def waveforms(model: nn.Module, table: WindowTable, rows: I64, scaler: Scaler, points: int) -> F64:
    """Return the estimated waveform of the reference (n, S) in its unit, at so many points a window.

    Raises
    ------
    RecipeError
        The network has no waveform head.
    """
    head = head_of(model)
    check_table(table, as_network(model).spec)
    model.eval()
    parts: list[NDArray[np.floating]] = [np.empty((0, points))]
    with torch.inference_mode():
        for batch in source_for([model], table, rows, scaler).in_order(EVALUATION_BATCH):
            told = cast("Telling", model).waveform(moved(batch, model), points)
            parts.append(head.in_units(told.double()).cpu().numpy())
    return np.concatenate(parts)
