"""Pulse beats on common grids: every complete beat of every window at once, scaled to height 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.features.rowwise import Columns, in_blocks
from biosig_mtl.types import F32, F64, I64, Bool, WindowBeats

RISE = 32
FALL = 96
CYCLE = 48
POINTS = ("u", "v", "w", "notch", "diastolic", "a", "b", "c", "d", "e", "f", "p1", "p2")
# 30 to 240 beats a minute: what lies outside is not one beat.
PERIOD_S = (0.25, 2.0)
BEFORE_S = 0.05
# An onset, a peak and an end: which way up each is, and the samples that its parabola goes through.
UPRIGHT, NEIGHBOURS = np.array([-1, 1, -1]), np.array([[-1], [0], [1]])
# Beats that are worked at once.
BLOCK = 1024


@dataclass(frozen=True)
class PulseBeats:
    """Complete pulse beats, flat over windows; positions are fractional samples from the start of the window.

    A beat has two beginnings. ``onset`` and ``end`` are its lowest points on either side: heights, widths and areas are
    measured above the line between them. ``foot`` is the fiducial foot, where there is one, else the onset: times are counted
    from it, because the lowest point of a flat diastole moves with every ripple. ``period`` runs from foot to next foot.

    ``follows`` tells that a beat starts where the row before it ends, ``normal`` that the detector found nothing wrong with its
    interval. ``height`` is the peak above the line. ``rise``, ``fall`` and ``cycle`` have shape (beat, grid): onset to peak,
    peak to end, and the whole beat without its end point, each above the line and divided by ``height``.
    """

    fs: float
    window: I64
    onset: F64
    foot: F64
    peak: F64
    end: F64
    period: F64
    follows: Bool
    normal: Bool
    points: Mapping[str, F64]
    onset_value: F64
    end_value: F64
    height: F64
    signal: F32

    @cached_property
    def rise(self) -> F32:
        """From onset to peak, shape (beat, RISE + 1)."""
        return self._scaled(self.onset, self.peak, np.arange(RISE + 1) / RISE)

    @cached_property
    def fall(self) -> F32:
        """From peak to end, shape (beat, FALL + 1)."""
        return self._scaled(self.peak, self.end, np.arange(FALL + 1) / FALL)

    @cached_property
    def cycle(self) -> F32:
        """The whole beat without its end point, shape (beat, CYCLE)."""
        return self._scaled(self.onset, self.end, np.arange(CYCLE) / CYCLE)

    @cached_property
    def parts(self) -> tuple[PulseBeats, ...]:
        """The same beats in blocks that stay in the cache; one block without beats where there are none."""
        if self.window.size <= BLOCK:
            return (self,)
        return tuple(self._rows(slice(k, k + BLOCK)) for k in range(0, max(self.window.size, 1), BLOCK))

    def _rows(self, rows: slice) -> PulseBeats:
        cut = {name: value[rows] for name, value in vars(self).items() if name in PER_BEAT}
        return replace(self, **cut, points={name: value[rows] for name, value in self.points.items()})

    def _scaled(self, start: F64, stop: F64, share: F64) -> F32:
        """Return the signal at shares of the way from start to stop, above the line from onset to end, over the height."""
        # The same as `at` and `line`, with less work: this is where most of the time goes.
        position = start[:, None] + (stop - start)[:, None] * share
        left = np.minimum(position.astype(np.int64), self.signal.shape[-1] - 2)
        part = np.minimum(position - left, 1.0).astype(np.float32)
        left += (self.window * self.signal.shape[-1])[:, None]
        flat = self.signal.reshape(-1)
        y = flat.take(left)
        left += 1
        y += part * (flat.take(left) - y)
        y -= self.onset_value[:, None].astype(np.float32)
        position -= self.onset[:, None]
        position *= ((self.end_value - self.onset_value) / (self.end - self.onset))[:, None]
        y -= position.astype(np.float32)
        y *= (1 / self.height)[:, None].astype(np.float32)
        return np.asarray(y, dtype=np.float32)

    def line(self, position: F64) -> F64:
        """Return the line from onset to end at one position a beat."""
        share = (position - self.onset) / (self.end - self.onset)
        return self.onset_value + (self.end_value - self.onset_value) * share


PER_BEAT = {f.name for f in fields(PulseBeats)} - {"fs", "points", "signal"}


def each_part(beats: PulseBeats, make: Callable[[PulseBeats], Columns]) -> dict[str, F32 | F64]:
    """Return the columns that ``make`` makes of blocks of beats, put together; each of shape (beat,)."""
    return in_blocks(lambda rows: make(beats.parts[rows.start // BLOCK]), beats.window.size, BLOCK)


def at(signal: NDArray[Any], window: I64, position: F64) -> F64:
    """Return a signal at fractional positions, linear between samples, NaN where the position is NaN.

    Parameters
    ----------
    signal
        Shape (window, time).
    window
        Window of every beat, shape (beat,).
    position
        Shape (beat,) or (beat, grid).
    """
    samples = signal.shape[-1]
    known = np.isfinite(position)
    inside = np.clip(np.where(known, position, 0.0), 0, samples - 1)
    left = np.minimum(inside.astype(np.int64), max(samples - 2, 0))
    part = inside - left
    start = window.reshape(-1, *[1] * (position.ndim - 1)) * samples
    flat = signal.reshape(-1)
    low = flat[left + start]
    value = low + part * (flat[np.minimum(left + 1, samples - 1) + start] - low)
    return np.where(known, value, np.nan)


def at_points(signal: NDArray[Any], beats: PulseBeats, names: tuple[str, ...]) -> dict[str, F64]:
    """Return a signal at points of the beats by name, each of shape (beat,), NaN where the point does not exist."""
    table = at(signal, beats.window, np.stack([beats.points[name] for name in names], axis=1))
    return dict(zip(names, np.ascontiguousarray(table.T), strict=True))


def pulse_beats(signal: F32, beats: WindowBeats | None, fs: float) -> PulseBeats:
    """Return the usable beats of a pulse channel: complete, with a plausible period, rising to one positive peak.

    Parameters
    ----------
    signal
        Pulse wave, shape (window, time).
    beats
        Its beats; None where none were looked for.
    fs
        Sampling rate of ``signal`` in Hz.
    """
    if beats is None or not len(beats) or signal.shape[-1] < 3:
        return _none(fs)
    window, scale = beats.window, fs / beats.fs
    rough = np.stack((beats.onset, beats.peak, beats.end), axis=1).astype(np.float64) * scale
    places = _extremes(signal, window, rough)
    onset, peak, end = np.ascontiguousarray(places.T)
    onset_value, peak_value, end_value = np.ascontiguousarray(at(signal, window, places).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = peak_value - onset_value - (end_value - onset_value) * (peak - onset) / (end - onset)
    foot, period, follows = _feet(beats, onset, end, scale)
    good = (onset >= 0) & (onset < peak - 1) & (peak < end - 1) & (end <= signal.shape[-1]) & (foot < peak)
    good &= (period >= PERIOD_S[0] * fs) & (period <= PERIOD_S[1] * fs)
    # A height below the resolution of float32 is a flat line.
    good &= height > 1e-6 * (np.abs(peak_value) + np.abs(onset_value))
    follows[1:] &= good[:-1]
    keep = np.flatnonzero(good)
    window, onset, foot, peak, end = window[keep], onset[keep], foot[keep], peak[keep], end[keep]
    levels = (onset_value[keep], end_value[keep], height[keep])
    points = _points(beats, keep, (onset, end), scale, fs)
    flags = (follows[keep], beats.normal[keep])
    return PulseBeats(fs, window, onset, foot, peak, end, period[keep], *flags, points, *levels, signal)


def _feet(beats: WindowBeats, onset: F64, end: F64, scale: float) -> tuple[F64, F64, Bool]:
    """Return foot, period and whether a beat starts where the row before it ends."""
    fine = beats.points["foot"] * scale if "foot" in beats.points else np.full(len(beats), np.nan)
    has = np.isfinite(fine)
    foot = np.where(has, fine, onset)
    joined = (beats.window[1:] == beats.window[:-1]) & (beats.onset[1:] == beats.end[:-1])
    period = end - onset
    # Only points of one kind make an interval: two feet, or else two onsets.
    period[:-1] = np.where(joined & has[1:] & has[:-1], foot[1:] - foot[:-1], period[:-1])
    return foot, period, np.concatenate([[False], joined])


def _extremes(signal: F32, window: I64, position: F64) -> F64:
    """Return bottom, top and bottom of the parabolas through a sample and its two neighbours, shape (beat, 3)."""
    middle = np.rint(position)
    inside = (middle >= 1) & (middle <= signal.shape[-1] - 2)
    around = np.where(inside, middle, 1)[:, None, :] + NEIGHBOURS
    values = UPRIGHT * at(signal, window, around)
    left, top, right = values[:, 0], values[:, 1], values[:, 2]
    bend = left - 2 * top + right
    found: Bool = inside & (bend < 0) & (top >= left) & (top >= right)
    shift = np.where(found, 0.5 * (left - right) / np.where(found, bend, 1.0), 0.0)
    return np.where(found, middle + shift, position)


def _points(beats: WindowBeats, keep: I64, ends: tuple[F64, F64], scale: float, fs: float) -> dict[str, F64]:
    """Return fiducials of the kept rows; one that lies outside its beat or its window does not exist.

    The first wave of the second derivative may stand a little before the onset.
    """
    start = np.maximum(ends[0] - BEFORE_S * fs, 0)
    out = {}
    for name in POINTS:
        found = beats.points[name][keep] * scale if name in beats.points else np.full(keep.size, np.nan)
        # Comparison with NaN is false, so a missing point stays missing.
        out[name] = np.where((found > start) & (found < ends[1]), found, np.nan)
    return out


def _none(fs: float) -> PulseBeats:
    none, no_window, no_flag = np.empty(0), np.empty(0, np.int64), np.empty(0, bool)
    points = dict.fromkeys(POINTS, none)
    return PulseBeats(
        fs, no_window, none, none, none, none, none, no_flag, no_flag, points, none, none, none, np.empty((1, 3), np.float32)
    )
