"""From beats to windows: robust summaries of ragged groups, without loops and without warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64

Real = TypeVar("Real", np.float32, np.float64)


@dataclass(frozen=True)
class Sorted:
    """Values of every window in rising order, NaN last: ``values`` (feature, window, beat), ``count`` (feature, window)."""

    values: NDArray[Any]
    count: I64

    def quantile(self, share: float, at_least: int = 1) -> NDArray[Any]:
        """Return a quantile (linear between order statistics), NaN where fewer than ``at_least`` values exist.

        Shape (feature, window), of the type of the values.
        """
        place = np.maximum(self.count - 1, 0) * share
        low = place.astype(np.int64)
        high = np.minimum(low + 1, np.maximum(self.count - 1, 0))
        part = (place - low).astype(self.values.dtype)
        flat = self.values.reshape(-1)
        start = (np.arange(self.count.size) * self.values.shape[-1]).reshape(self.count.shape)
        low_value, high_value = flat[start + low], flat[start + high]
        # Not low + part·(high − low) alone: equal neighbours must come back bit for bit.
        value = np.where(part > 0, low_value + part * (high_value - low_value), low_value)
        return np.where(self.count >= at_least, value, np.nan).astype(self.values.dtype)

    @property
    def median(self) -> NDArray[Any]:
        """Median, shape (feature, window)."""
        return self.quantile(0.5)

    def iqr(self, at_least: int = 3) -> NDArray[Any]:
        """Return the interquartile range, shape (feature, window), NaN where fewer than ``at_least`` values exist."""
        return np.asarray(self.quantile(0.75, at_least) - self.quantile(0.25, at_least))

    def rows(self, chosen: list[int]) -> Sorted:
        """Return some of the features."""
        return Sorted(self.values[chosen], self.count[chosen])


def pad(values: NDArray[Real], window: I64, windows: int) -> NDArray[Real]:
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
    NDArray
        Shape (feature, window, slot), of the type of ``values``, NaN where a window has fewer beats than the fullest one; at
        least one slot.
    """
    per_window = np.bincount(window, minlength=windows)
    slots = max(1, int(per_window.max(initial=0)))
    first = np.cumsum(per_window) - per_window
    slot = np.arange(window.size) - first[window]
    out = np.full((values.shape[0], windows * slots), np.nan, values.dtype)
    out[:, window * slots + slot] = values
    return out.reshape(values.shape[0], windows, slots)


def by_window(values: NDArray[Real], window: I64, windows: int) -> Sorted:
    """Sort the values of every window; infinite values count as missing. Arguments as for `pad`."""
    known = np.isfinite(values)
    endless = np.isinf(values)
    padded = pad(np.where(endless, values.dtype.type(np.nan), values) if endless.any() else values, window, windows)
    padded.sort(axis=-1)
    # Running counts, read at the borders of windows: several times faster than counting in the rows of slots.
    running = np.zeros((values.shape[0], values.shape[1] + 1), np.int32)
    np.cumsum(known, axis=1, out=running[:, 1:])
    borders = running[:, np.searchsorted(window, np.arange(windows + 1))]
    return Sorted(padded, (borders[:, 1:] - borders[:, :-1]).astype(np.int64))


def collect(beats: Mapping[str, F32 | F64], window: I64, windows: int) -> Sorted:
    """Return the named values of beats sorted in their windows, features in the order of the mapping; else as `pad`."""
    table = np.empty((len(beats), window.size), np.float32)
    for row, value in zip(table, beats.values(), strict=True):
        row[:] = value
    return by_window(table, window, windows)


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
    names, found = tuple(beats), collect(beats, window, windows)
    return medians(names, found, prefix) | ranges(names, found, prefix, spread)


def medians(names: tuple[str, ...], found: Sorted, prefix: str) -> dict[str, F32]:
    """Return the medians of sorted values by name."""
    return dict(zip((prefix + name for name in names), found.median, strict=True))


def ranges(names: tuple[str, ...], found: Sorted, prefix: str, chosen: tuple[str, ...]) -> dict[str, F32]:
    """Return the interquartile ranges of the chosen names, as ``.iqr``."""
    rows = found.rows([names.index(name) for name in chosen]).iqr()
    return dict(zip((f"{prefix}{name}.iqr" for name in chosen), rows, strict=True))
