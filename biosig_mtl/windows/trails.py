"""Trails: channels on a longer stretch that ends with each window, at their own rates.

Heart rate variability, skin conductance and breathing say nothing in the few seconds of an EEG window; what they say of the
last half minute or minute is attached to it. A trail looks back only: the end of the window is its end.
"""

from __future__ import annotations

import math

import numpy as np

from biosig_mtl.types import F32, F64, Beats, Record, Trail, WindowBeats
from biosig_mtl.windows.grid import Grid, beats_in
from biosig_mtl.windows.quality import Means

ABSENT = "absent"


def trail(record: Record, name: str, length_s: float, stop_s: F64) -> Trail:
    """Return the last ``length_s`` seconds of a channel before each ``stop_s``, seconds of the recording, shape (window,).

    What lies before the part that was read, beyond its end or in a gap is NaN; so is all of it where there is no such channel.
    """
    channel = record.channels.get(name)
    if channel is None:
        nothing = np.full((stop_s.size, max(round(length_s), 1)), np.nan, np.float32)
        return Trail(name, ABSENT, 1.0, nothing, np.full(stop_s.size, np.nan, np.float32))
    size = max(math.floor(length_s * channel.fs + 1e-6), 1)
    # Rounded before the start of the part is taken off: the same samples in every part of a recording.
    last = np.rint(stop_s * channel.fs).astype(np.int64) - round(record.start_s * channel.fs)
    grid = Grid(last - size, size, channel.fs, stop_s - size / channel.fs)
    quality = Means(record, grid.onset_s, size / channel.fs)
    known = quality.of(name)
    sqi = np.full(stop_s.size, np.nan) if known is None else known["sqi"]
    beats = record.beats.get(name)
    return Trail(
        channel=name,
        kind=channel.kind,
        fs=channel.fs,
        signal=_before(channel.samples, grid),
        sqi=sqi.astype(np.float32),
        beats=None if beats is None else _at_rate(beats, channel.fs, grid),
    )


def _before(samples: F32, grid: Grid) -> F32:
    if not grid.first.size:
        return np.empty((0, grid.samples), np.float32)
    ahead = max(-int(grid.first.min()), 0)
    behind = max(int(grid.first.max()) + grid.samples - samples.size, 0)
    padded = np.pad(samples, (ahead, behind), constant_values=np.nan)
    moved = Grid(grid.first + ahead, grid.samples, grid.fs, grid.onset_s)
    return np.array(moved.cut(padded), np.float32)


def _at_rate(beats: Beats, fs: float, grid: Grid) -> WindowBeats:
    """Return the complete beats of each trail; beats may have been looked for at a higher rate than the channel's."""
    scale = beats.fs / fs
    finer = Grid(np.rint(grid.first * scale).astype(np.int64), round(grid.samples * scale), beats.fs, grid.onset_s)
    return beats_in(beats, finer)
