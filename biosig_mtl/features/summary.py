"""From beats to windows: robust summaries of ragged groups, without loops and without warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.types import F32, F64, I64


@dataclass(frozen=True)
class Sorted:
    """Values of every window in rising order, NaN last: ``values`` (feature, window, beat), ``count`` (feature, window)."""

    values: F32
    count: I64

    def quantile(self, share: float, at_least: int = 1) -> F32:
        """Return a quantile (linear between order statistics), NaN where fewer than ``at_least`` values exist.

        Shape (feature, window).
        """
        place = np.maximum(self.count - 1, 0) * share
        low = place.astype(np.int64)
        high = np.minimum(low + 1, np.maximum(self.count - 1, 0))
        part = (place - low).astype(np.float32)
        flat = self.values.reshape(-1)
        start = (np.arange(self.count.size) * self.values.shape[-1]).reshape(self.count.shape)
        low_value, high_value = flat[start + low], flat[start + high]
        # Not low + part·(high − low) alone: equal neighbours must come back bit for bit.
        value = np.where(part > 0, low_value + part * (high_value - low_value), low_value)
        return np.where(self.count >= at_least, value, np.float32(np.nan)).astype(np.float32)

    @property
    def median(self) -> F32:
        """Median, shape (feature, window)."""
        return self.quantile(0.5)

    def iqr(self, at_least: int = 3) -> F32:
        """Return the interquartile range, shape (feature, window), NaN where fewer than ``at_least`` values exist."""
        return self.quantile(0.75, at_least) - self.quantile(0.25, at_least)


def pad(values: F32, window: I64, windows: int) -> F32:
    """Bring values of beats into windows.

    Parameters
    ----------
    values
        Shape (feature, beat).
    window
        Window of every beat in rising order, shape (beat,).
    windows
        Number of windows.

    Returns
    -------
    F32
        Shape (feature, window, slot), NaN where a window has fewer beats than the fullest one; at least one slot.
    """
    per_window = np.bincount(window, minlength=windows)
    slots = max(1, int(per_window.max(initial=0)))
    first = np.cumsum(per_window) - per_window
    slot = np.arange(window.size) - first[window]
    out = np.full((values.shape[0], windows, slots), np.nan, np.float32)
    out[:, window, slot] = values
    return out


def by_window(values: F32, window: I64, windows: int) -> Sorted:
    """Sort the values of every window; infinite values count as missing. Arguments as for `pad`."""
    padded = pad(values, window, windows)
    finite = np.isfinite(padded)
    padded[~finite] = np.nan
    padded.sort(axis=-1)
    return Sorted(padded, finite.sum(axis=-1))


def summarise(
    beats: Mapping[str, F32 | F64], window: I64, windows: int, prefix: str, spread: tuple[str, ...] = ()
) -> dict[str, F32]:
    """Return the median of every named value in each window, and ``.iqr`` of those named in ``spread``.

    Parameters
    ----------
    beats
        Values of every beat by name, each of shape (beat,).
    window, windows
        As for `pad`.
    prefix
        Put before the names.
    spread
        Names whose interquartile range is wanted, NaN below three values.
    """
    table = np.empty((len(beats), window.size), np.float32)
    for row, value in zip(table, beats.values(), strict=True):
        row[:] = value
    ordered = by_window(table, window, windows)
    out = dict(zip((prefix + name for name in beats), ordered.median, strict=True))
    rows = [list(beats).index(name) for name in spread]
    ranges = Sorted(ordered.values[rows], ordered.count[rows]).iqr()
    return out | dict(zip((f"{prefix}{name}.iqr" for name in spread), ranges, strict=True))
