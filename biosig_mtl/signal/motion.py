"""Motion of the body as an accelerometer tells it."""

from __future__ import annotations

import numpy as np

from biosig_mtl.signal.indices import Seconds
from biosig_mtl.types import F64, Channel, Record

KIND = "acc"
# One of each unit in g. The Empatica E4 counts in 1/64 g.
UNITS_G = {
    "g": 1.0,
    "mg": 1e-3,
    "m/s2": 1 / 9.80665,
    "m/s^2": 1 / 9.80665,
    "m/s²": 1 / 9.80665,
    "1/64 g": 1 / 64,
    "1/64g": 1 / 64,
}
# Half-seconds on either side of the middle of a second: two seconds in all.
HALVES = 4


def channels_of(record: Record, named: tuple[str, ...]) -> tuple[Channel, ...]:
    """Return the channels of the accelerometer: those named, or else all of the kind ``acc`` (at their own rate)."""
    if named:
        return tuple(record.channel(name) for name in named)
    return tuple(c for c in record.channels.values() if c.kind == KIND)


def motion(record: Record, channels: tuple[Channel, ...], count: int) -> F64:
    """Return the standard deviation of the acceleration's magnitude over 2 s around every second, in g, shape (second,).

    Axes of one rate are one accelerometer; of several, the greatest motion counts. A single channel is taken as a magnitude.
    The magnitude does not change with the way a device is worn, and gravity is a constant in it. NaN where an axis is missing
    or its unit is none of `UNITS_G`.
    """
    rates = dict.fromkeys(channel.fs for channel in channels)
    found = [_spread(record, tuple(c for c in channels if c.fs == fs), count) for fs in rates]
    return np.asarray(np.fmax.reduce(found)) if found else np.full(count, np.nan)


def _spread(record: Record, axes: tuple[Channel, ...], count: int) -> F64:
    size, fs = min(c.samples.size for c in axes), axes[0].fs
    scaled = [c.samples[:size].astype(np.float64) * UNITS_G.get(c.unit.strip().lower(), np.nan) for c in axes]
    # Near 1 g: about that, squares lose nothing.
    off = np.sqrt(sum(axis * axis for axis in scaled)) - 1
    known = np.isfinite(off)
    off[~known] = 0
    halves = _halves(record, fs, size, count)
    n, first, second = (_around(halves.sums(row), count) for row in (known.astype(np.float64), off, off * off))
    some = n > 0.5 * HALVES / 2 * fs
    n = np.maximum(n, 1)
    variance = np.maximum(second / n - (first / n) ** 2, 0)
    return np.where(some, np.sqrt(variance), np.nan)


def _halves(record: Record, fs: float, size: int, count: int) -> Seconds:
    at = np.rint((record.start_s + np.arange(2 * count) / 2) * fs) - np.rint(record.start_s * fs)
    return Seconds(at.astype(np.int64), size, fs)


def _around(halves: F64, count: int) -> F64:
    """Return the sum over two seconds around every second."""
    padded = np.pad(halves, (1, 1))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, HALVES)[::2][:count].sum(axis=1))
