"""Targets that the data set gives: one value a record, or a channel of kind ``label``; both brought to the task's scale."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, DataError, Record, Target, Task
from biosig_mtl.windows.grid import Grid, Verdicts
from biosig_mtl.windows.quality import track_means

_SCALE = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)\s*")
# A window whose label is known for less than this share of it has none.
LEAST_KNOWN = 0.5
# Ratings are written with few digits, and a mean of equal ones may end a rounding error beyond its scale.
_TINY = 1e-6


def to_task(values: F64, unit: str, target: Target) -> F64:
    """Return values in the unit of the target: a scale ``low..high`` is brought linearly to the target's low … high.

    The target's own unit stays as it is.

    Raises
    ------
    DataError
        The unit is neither: 4 on a scale of 1 to 5 is not 4 on one of 1 to 9.

    >>> to_task(np.array([0.0, 1.0]), "-1..1", Target("valence", "points", 1.0, 9.0)).tolist()
    [5.0, 9.0]
    """
    found = _SCALE.fullmatch(unit)
    if found is None:
        if unit == target.unit:
            return values
        raise DataError(f"label '{target.name}' has the unit '{unit}': say its scale as low..high, or as '{target.unit}'")
    low, high = float(found[1]), float(found[2])
    if not low < high:
        raise DataError(f"label '{target.name}' has the scale '{unit}': need low..high with low < high")
    return target.low + (values - low) * ((target.high - target.low) / (high - low))


def record_targets(record: Record, task: Task, grid: Grid, verdicts: Verdicts, *, required: bool) -> tuple[F64, dict[str, Any]]:
    """Return the record's own labels for every window, shape (window, target), and what is known of them."""
    known = {label.name: label for label in record.labels}
    row = np.array(
        [
            to_task(np.array([known[t.name].value]), known[t.name].unit, t)[0] if t.name in known else math.nan
            for t in task.targets
        ]
    )
    inside = [math.isnan(v) or t.low - _TINY <= v <= t.high + _TINY for v, t in zip(row, task.targets, strict=True)]
    everyone = np.ones(grid.first.size, bool)
    if np.isnan(row).all() and required:
        verdicts.refuse(everyone, "no label in the data set")
    elif not all(inside) and required:
        verdicts.refuse(everyone, "label outside the plausible range")
    source = next((label.source for label in record.labels), "unknown")
    return np.tile(row, (grid.first.size, 1)), _facts(source, grid)


def track_targets(record: Record, task: Task, grid: Grid, verdicts: Verdicts, *, steady: bool) -> tuple[F64, dict[str, Any]]:
    """Return the mean of each label channel over every window, shape (window, target), and what is known of them.

    A target without a channel, or whose label is known for less than half of a window, is NaN. With ``steady`` a window in
    which a label changes is refused: its mean would be a value that nobody gave.
    """
    targets = np.full((grid.first.size, len(task.targets)), np.nan)
    changes = np.zeros(grid.first.size, bool)
    outside = np.zeros(grid.first.size, bool)
    for j, target in enumerate(task.targets):
        channel = record.channels.get(target.name)
        if channel is None:
            continue
        if channel.kind != "label":
            raise DataError(f"{record.name}: channel '{channel.name}' is of kind {channel.kind}, not a label")
        values = to_task(channel.samples.astype(np.float64), channel.unit, target)
        start = (grid.onset_s - record.start_s) * channel.fs
        length = grid.samples / grid.fs * channel.fs
        # Beyond its end a label is as unknown as where it is NaN.
        beyond = max(math.ceil(float(start.max(initial=0.0)) + length) + 1 - values.size, 0)
        values = np.pad(values, (0, beyond), constant_values=np.nan)
        known = np.isfinite(values)
        moments = np.stack([values, values**2, np.where(known, 1.0, 0.0)])
        mean, square, share = track_means(moments, start, length)
        mean = np.where(share >= LEAST_KNOWN, mean, np.nan)
        targets[:, j] = mean
        changes |= np.nan_to_num(square - mean**2) > (_TINY * (target.high - target.low)) ** 2 + 1e-9
        outside |= (mean < target.low - _TINY) | (mean > target.high + _TINY)
    verdicts.refuse(np.asarray(np.isnan(targets).all(axis=1)), "no label in the data set")
    verdicts.refuse(outside, "label outside the plausible range")
    if steady:
        verdicts.refuse(changes, "the label changes within the window")
    return targets, _facts("continuous", grid)


def _facts(source: str, grid: Grid) -> dict[str, NDArray[Any]]:
    return {"label_source": np.full(grid.first.size, source), "n_beats": np.zeros(grid.first.size, np.int64)}
