"""The grid of windows over one record, and what lies in each: faults, quality, complete beats."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64, Beats, Bool, Record, WindowBeats
from biosig_mtl.windows.quality import Bounds, Means, beyond

# So few windows are taken one by one.
FEW = 8


class Verdicts:
    """Who is refused, and why: the first reason stands."""

    def __init__(self, n: int) -> None:
        """Start with nobody refused."""
        self.reason = np.full(n, "", dtype=object)

    def refuse(self, bad: Bool, reason: str) -> None:
        """Refuse windows that no earlier reason has refused."""
        if not bad.any():
            return
        self.reason[bad & (self.reason == "")] = reason

    @property
    def good(self) -> Bool:
        """Windows that stay, shape (window,)."""
        good: Bool = self.reason == ""
        return good


@dataclass(frozen=True)
class Limits:
    """What a channel may be like in a window that is kept: shares of its length, the least quality, and bounds of indices."""

    max_flat: float = 0.2
    max_clipped: float = 0.2
    min_sqi: float = 0.0
    bounds: Bounds = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The windows of one record value: first sample of each, their common length, their onsets in the recording."""

    first: I64
    samples: int
    fs: float
    onset_s: F64

    def cut(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return windows of one channel, shape (window, time); NaN (False) where the channel ends before the others."""
        return self.cut_some(samples, slice(None))

    def cut_some(self, samples: NDArray[Any], rows: I64 | slice) -> NDArray[Any]:
        """Return some windows of one channel, shape (row, time)."""
        if not self.first.size:
            return np.empty((0, self.samples), samples.dtype)
        short = int(self.first.max()) + self.samples - samples.size
        if short > 0:
            unknown = False if samples.dtype == bool else np.nan
            samples = np.concatenate([samples, np.full(short, unknown, samples.dtype)])
        first = self.first[rows]
        if 0 < first.size <= FEW:
            return np.stack([samples[start : start + self.samples] for start in first.tolist()])
        return sliding_window_view(samples, self.samples)[first]


def take_rows(grid: Grid, rows: I64) -> Grid:
    """Return some windows of the grid."""
    return Grid(grid.first[rows], grid.samples, grid.fs, grid.onset_s[rows])


def crosses_seam(record: Record, grid: Grid) -> Bool:
    """Return which windows have a seam inside, shape (window,)."""
    inside = np.sort(record.seams_s)
    tiny = 0.25 / grid.fs
    before = np.searchsorted(inside, grid.onset_s + tiny, side="left")
    after = np.searchsorted(inside, grid.onset_s + grid.samples / grid.fs - tiny, side="right")
    crosses: Bool = after > before
    return crosses


def faults(record: Record, name: str, grid: Grid, limits: Limits, means: Means | None = None) -> list[tuple[Bool, str]]:
    """Return what is wrong with a channel in each window: pairs of a mask (window,) and its reason, gravest first.

    ``means`` are those of this grid, if they are there already.
    """
    channel = record.channels[name]
    known = np.isfinite(channel.samples)
    if not known.any():
        return [(np.ones(grid.first.size, bool), f"missing channel: {name} holds no samples")]
    complete = np.asarray(grid.cut(known).all(axis=1), bool)
    found = (means or means_of(record, grid)).of(name)
    if found is None:
        return [(~complete, f"missing samples (NaN) in {name}")]
    return [
        (found["missing"] > 1e-6, f"missing samples (NaN) in {name}"),
        (found["flat"] > limits.max_flat, f"flat {name}"),
        (found["clipped"] > limits.max_clipped, f"saturated or clipped {name}"),
        (~complete, f"missing samples (NaN) in {name}"),
        *beyond(found, limits.bounds, name),
        (~(found["sqi"] >= limits.min_sqi), f"low signal quality in {name}"),
    ]


def means_of(record: Record, grid: Grid) -> Means:
    """Return the means of the quality tracks over the windows of the grid."""
    return Means(record, grid.onset_s, grid.samples / grid.fs)


def beats_in(beats: Beats, grid: Grid) -> WindowBeats:
    """Return the complete beats of every window: those that start in it and end in it."""
    stop = grid.first + grid.samples
    lo = np.searchsorted(beats.onset, grid.first, side="left")
    hi = np.searchsorted(beats.onset, stop, side="left")
    count = np.maximum(hi - lo, 0)
    window = np.repeat(np.arange(grid.first.size), count)
    beat = np.arange(window.size) - np.repeat(np.cumsum(count) - count, count) + np.repeat(lo, count)
    end = beats.end[beat]
    whole = (end > 0) & (end <= np.repeat(stop, count))
    window, beat = window[whole], beat[whole]
    origin = grid.first[window]
    plain = beats.mark == 0
    normal = plain & np.append(plain[1:], False)
    return WindowBeats(
        channel=beats.channel,
        fs=beats.fs,
        window=window,
        onset=beats.onset[beat] - origin,
        peak=beats.peak[beat] - origin,
        end=beats.end[beat] - origin,
        quality=beats.quality[beat],
        points={key: value[beat] - origin for key, value in beats.points.items()},
        normal=normal[beat],
    )


def keep_beats(beats: WindowBeats, keep: I64, n: int, usable: Bool | None) -> WindowBeats:
    """Return the beats of the windows that stay, renumbered; none where the channel was not usable."""
    new = np.full(n, -1, np.int64)
    new[keep] = np.arange(keep.size)
    if usable is not None:
        new[~usable] = -1
    rows = np.flatnonzero(new[beats.window] >= 0)
    return WindowBeats(
        channel=beats.channel,
        fs=beats.fs,
        window=new[beats.window[rows]],
        onset=beats.onset[rows],
        peak=beats.peak[rows],
        end=beats.end[rows],
        quality=beats.quality[rows],
        points={key: value[rows] for key, value in beats.points.items()},
        normal=beats.normal[rows],
    )
