"""What the beat detectors look at: one channel without gaps, where it may be trusted, and what is usual near an instant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.runs import first_sample, hold, long_runs, runs, seam_samples
from biosig_mtl.signal.sliding import Float, grouped, held, moving_max, moving_mean, padded, views
from biosig_mtl.types import F32, I64, Bool, Channel, Record

# Steps smaller than this share of the greatest value near by are below what a float32 can tell.
RESOLUTION = 2.5e-7
# Around every instant a signal's own extremes are looked for so far; a finite span keeps parts and wholes alike.
NEAR_S, BLOCK_S = 5.0, 1.0
# A filtered signal whose span over a second is below so many such steps of its source is a rest of rounding.
CRUMBS = 8
# A flat stretch this long holds no beat. An ECG may well be flat between T and P; a pulse is not.
FLAT_S = {"ecg": 1.0}
FLAT_DEFAULT_S = 0.4
# A pressure that rests this long on the highest or lowest value near by was cut off there and is not a pressure.
RAIL_S = {"abp": 0.12}
# Local levels: maxima of a second and its neighbours, and their median over so many seconds on either side.
USUAL_S = 6
REACH_S = NEAR_S + USUAL_S + 4.0


@dataclass(frozen=True)
class Trace:
    """Samples of a channel with gaps filled, shape (sample,).

    ``starts`` and ``stops`` bound the runs between gaps and seams; ``dead`` marks flat and saturated stretches; ``first`` is
    the number of the first sample in the recording.
    """

    values: F32
    fs: float
    first: int
    starts: I64
    stops: I64
    dead: Bool
    finite: Bool
    unit: str

    @cached_property
    def whole(self) -> bool:
        """Whether there is no gap and no seam."""
        return self.starts.size == 1 and self.stops[0] - self.starts[0] == self.values.size

    def part(self, low: int, high: int) -> Trace:
        """Return the samples from ``low`` up to ``high`` as a trace of its own."""
        begin, end = np.searchsorted(self.stops, low, side="right"), np.searchsorted(self.starts, high, side="left")
        return replace(
            self,
            values=self.values[low:high],
            first=self.first + low,
            starts=np.maximum(self.starts[begin:end] - low, 0),
            stops=np.minimum(self.stops[begin:end] - low, high - low),
            dead=self.dead[low:high],
            finite=self.finite[low:high],
        )

    def samples(self, seconds: float) -> int:
        """Return a duration in samples, at least one."""
        return max(round(seconds * self.fs), 1)

    def run_start(self, at: I64) -> I64:
        """Return where the run of each position starts."""
        if self.starts.size == 1:
            return np.full(at.size, self.starts[0])
        return self.starts[np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)]

    def run_stop(self, at: I64) -> I64:
        """Return where the run of each position stops."""
        if self.starts.size == 1:
            return np.full(at.size, self.stops[0])
        return self.stops[np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)]

    def block(self, at: I64, seconds: float) -> I64:
        """Return the number of the block of so many seconds, counted from the start of the recording, of each position."""
        return (self.first + at) // self.samples(seconds)

    def slope(self, half: int = 1) -> F32:
        """Return x[i + half] − x[i − half], zero where that would reach over the edge of a run."""
        x = self.values
        d = np.zeros_like(x)
        if x.size > 2 * half:
            np.subtract(x[2 * half :], x[: -2 * half], out=d[half:-half])
        if not self.whole:
            reach = np.arange(-half, half)
            for edges in (self.starts, self.stops):
                d[np.clip((edges[:, None] + reach).ravel(), 0, x.size - 1)] = 0
            d[~self.finite] = 0
        return d

    def usual(self, at: I64, height: F32) -> F32:
        """Return the usual of some heights near each, shape (position,).

        The median over ±6 s of maxima over 3 s (second by second): three seconds hold a beat, and a median does not follow an
        artefact. ``at`` is sorted.
        """
        if not at.size:
            return np.empty(0, np.float32)
        second = self.block(at, 1.0)
        own, begin = grouped(second)
        highest = np.full(int(own[-1] - own[0]) + 1, np.nan, np.float32)
        highest[own - own[0]] = np.maximum.reduceat(height, begin)
        over = np.fmax(np.fmax(_shifted(highest, -1), highest), _shifted(highest, 1))
        window = np.sort(_around(over, USUAL_S), axis=1)
        known = np.isfinite(window).sum(axis=1)
        median = window[np.arange(over.size), np.maximum(known - 1, 0) // 2]
        return np.asarray(median[second - own[0]], np.float32)

    def mean_around(self, x: F32, at: I64, seconds: float) -> F32:
        """Return the mean over so many seconds around each position, to the nearest sixteenth of that span.

        Means of sixteenths on a grid of the recording come first, so that a wide mean costs one pass.
        """
        part = max(self.samples(seconds) // 16, 1)
        lead = self.first % part
        parts = np.einsum("ij->i", _blocks(x, part, lead))
        mean = moving_mean(parts, 17) / np.float32(part)
        return np.asarray(mean[(lead + at) // part], np.float32)

    def crests(self, x: F32, half_s: float) -> I64:
        """Return where ``x`` is positive and the greatest within ±``half_s``; of equals the first."""
        if x.size < 3:
            return np.empty(0, np.int64)
        half = self.samples(half_s)
        inner = x[1:-1]
        at = np.flatnonzero((inner >= moving_max(x, half)[1:-1]) & (inner > x[:-2]) & (inner > 0)) + 1
        at = at[np.diff(at, prepend=-half - 1) > half]
        return at if self.whole else at[self.finite[at]]


def trace(record: Record, channel: Channel) -> Trace:
    """Return the trace of a channel; flat and saturated stretches are looked for in the channel that it was filtered from."""
    finite = np.isfinite(channel.samples)
    first, seams = first_sample(record, channel.fs), seam_samples(record, channel.fs, finite.size)
    source = record.channels.get(channel.source_name, channel)
    if (source.kind, source.fs, source.samples.size) != (channel.kind, channel.fs, channel.samples.size):
        source = channel
    values, dead = hold(channel.samples, finite), np.zeros(finite.size, bool)
    if finite.size > 1:
        known = np.isfinite(source.samples)
        raw = hold(source.samples, known)
        near = _Near.of(raw, channel.fs, first)
        rest = _plateaus(raw, known, near, channel.fs)
        dead = rest.flat(FLAT_S.get(channel.kind, FLAT_DEFAULT_S))
        if channel.kind in RAIL_S:
            dead |= rest.clipped(RAIL_S[channel.kind])
        if source is not channel:
            dead |= _crumbs(values, near)
    starts, stops = runs(finite, seams)
    return Trace(values, channel.fs, first, starts, stops, dead, finite, channel.unit)


@dataclass(frozen=True)
class Plateaus:
    """Where a signal rests: ``same`` pairs of neighbours (shape sample − 1) and samples at an end of the range near by."""

    same: Bool
    rail: Bool
    fs: float

    def flat(self, shortest_s: float) -> Bool:
        """Return the samples of stretches that rest for at least so long."""
        return self._spread(self.same, shortest_s)

    def clipped(self, shortest_s: float) -> Bool:
        """Return the samples of stretches that rest at an end of the range for at least so long."""
        return self._spread(self.same & self.rail[1:] & self.rail[:-1], shortest_s)

    def _spread(self, pairs: Bool, shortest_s: float) -> Bool:
        out = np.zeros(self.rail.size, bool)
        if pairs.any():
            long = long_runs(pairs, max(round(shortest_s * self.fs) - 1, 1))
            out[1:] = long
            out[:-1] |= long
        return out


def plateaus(raw: NDArray[Float], known: Bool, fs: float, first: int = 0) -> Plateaus:
    """Return where a signal rests, to the resolution of a float32; ``first`` is the number of the first sample.

    The extremes near by are those within five blocks of a second, on a grid of the recording.
    """
    if raw.size < 2:
        return Plateaus(known[1:] & False, known & False, fs)
    return _plateaus(raw, known, _Near.of(raw, fs, first), fs)


@dataclass(frozen=True)
class _Near(Generic[Float]):
    """The extremes near each block of a second, and the step that is below what single precision can tell."""

    block: int
    lead: int
    high: NDArray[Float]
    low: NDArray[Float]
    tiny: NDArray[Float]

    @classmethod
    def of(cls, raw: NDArray[Float], fs: float, first: int) -> _Near[Float]:
        block = max(round(BLOCK_S * fs), 1)
        lead = first % block
        blocks = _blocks(raw, block, lead)
        near = round(NEAR_S / BLOCK_S)
        high, low = moving_max(blocks.max(axis=1), near), -moving_max(-blocks.min(axis=1), near)
        return cls(block, lead, high, low, np.maximum(high, -low) * raw.dtype.type(RESOLUTION))

    def spread(self, values: NDArray[Any], size: int) -> NDArray[Any]:
        """Return the value of each sample's block."""
        return np.repeat(values, self.block)[self.lead : self.lead + size]


def _plateaus(raw: NDArray[Float], known: Bool, near: _Near[Float], fs: float) -> Plateaus:
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.abs(raw[1:] - raw[:-1])
    same = step <= near.spread(near.tiny, raw.size)[:-1]
    if not known.all():
        same &= known[1:] & known[:-1]
    rail = np.zeros(raw.size, bool)
    if same.any():
        high, low = near.spread(near.high - near.tiny, raw.size), near.spread(near.low + near.tiny, raw.size)
        rail = (raw >= high) | (raw <= low)
    return Plateaus(same, rail, fs)


def _blocks(x: NDArray[Float], block: int, lead: int) -> NDArray[Float]:
    """Return blocks on a grid of the recording, shape (block, sample); the end values fill the first and the last."""
    return held(x, lead, -(lead + x.size) % block).reshape(-1, block)


def _crumbs(values: F32, near: _Near[np.float32]) -> Bool:
    """Return where a filtered signal is no more than what single precision left of its source."""
    kept, least = _blocks(values, near.block, near.lead), CRUMBS * near.tiny
    # Some samples of a block nearly always show that it is alive; only the others are looked at as a whole.
    some = kept[:, ::16]
    nothing = some.max(axis=1) - some.min(axis=1) <= least
    if not nothing.any():
        return np.zeros(values.size, bool)
    nothing[nothing] = kept[nothing].max(axis=1) - kept[nothing].min(axis=1) <= least[nothing]
    return near.spread(nothing, values.size) if nothing.any() else np.zeros(values.size, bool)


def _shifted(x: F32, by: int) -> F32:
    """Return the neighbour ``by`` places on, NaN beyond the ends."""
    out = np.full_like(x, np.nan)
    if by > 0:
        out[:-by] = x[by:]
    else:
        out[-by:] = x[:by]
    return out


def _around(values: F32, half: int) -> F32:
    """Return each value with ``half`` neighbours on either side, NaN beyond the ends, shape (value, 2 half + 1)."""
    return views(padded(values, half, half, np.nan), 2 * half + 1)
