"""What the beat detectors look at: one channel without gaps, where it may be trusted, and what is usual near an instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.runs import first_sample, hold, long_runs, runs, seam_samples
from biosig_mtl.types import F64, I64, Bool, Channel, Record

# Steps smaller than this share of the greatest value near by are below what a float32 can tell.
RESOLUTION = 2.5e-7
# Around every instant a signal's own extremes are looked for so far; a finite span keeps parts and wholes alike.
NEAR_S = 5.0
# A flat stretch this long holds no beat. An ECG may well be flat between T and P; a pulse is not.
FLAT_S = {"ecg": 1.0}
FLAT_DEFAULT_S = 0.4
# A pressure that rests this long on the highest or lowest value near by was cut off there and is not a pressure.
RAIL_S = {"abp": 0.12}
# Local levels: maxima of half a second, over two seconds, and their median over some six seconds on either side.
BLOCK_S, SPAN_BLOCKS, MEDIAN_BLOCKS = 0.5, 4, 12
REACH_S = NEAR_S + (SPAN_BLOCKS + MEDIAN_BLOCKS + 1) * BLOCK_S


@dataclass(frozen=True)
class Trace:
    """Samples of a channel as float64 with gaps filled, shape (sample,).

    ``starts`` and ``stops`` bound the runs between gaps and seams; ``dead`` marks flat and saturated stretches; ``first`` is
    the number of the first sample in the recording.
    """

    x: F64
    fs: float
    first: int
    starts: I64
    stops: I64
    dead: Bool
    finite: Bool
    unit: str

    def samples(self, seconds: float) -> int:
        """Return a duration in samples, at least one."""
        return max(round(seconds * self.fs), 1)

    def run_start(self, at: I64) -> I64:
        """Return where the run of each position starts."""
        return self.starts[np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)]

    def run_stop(self, at: I64) -> I64:
        """Return where the run of each position stops."""
        return self.stops[np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)]

    def slope(self, x: F64, half: int = 1) -> F64:
        """Return x[i + half] − x[i − half], zero where that would reach over the edge of a run."""
        d = np.zeros_like(x)
        d[half:-half] = x[2 * half :] - x[: -2 * half]
        if self.starts.size > 1 or not self.finite.all():
            for shift in range(-half, half):
                d[np.clip(self.starts + shift, 0, x.size - 1)] = 0
                d[np.clip(self.stops + shift, 0, x.size - 1)] = 0
            d[~self.finite] = 0
        return d

    def level(self, envelope: F64) -> F64:
        """Return the usual height of an envelope near each of its blocks of half a second, shape (block,).

        The median over some ±6 s of maxima over 2 s: two seconds hold a beat, and the median does not follow an artefact.
        """
        block = self.samples(BLOCK_S)
        lead = self.first % block
        size = -(-(lead + envelope.size) // block)
        padded = np.full(size * block, -np.inf)
        padded[lead : lead + envelope.size] = np.where(self.finite, envelope, -np.inf)
        highest = padded.reshape(size, block).max(axis=1)
        over = _around(highest, SPAN_BLOCKS // 2, -np.inf)[:, :SPAN_BLOCKS].max(axis=1)
        over = np.where(np.isfinite(over), over, np.nan)
        window = np.sort(_around(over, MEDIAN_BLOCKS, np.nan), axis=1)
        known = np.isfinite(window).sum(axis=1)
        median: F64 = window[np.arange(size), np.maximum(known - 1, 0) // 2]
        return median

    def level_at(self, envelope: F64, at: I64) -> F64:
        """Return the usual height of an envelope near each position."""
        block = self.samples(BLOCK_S)
        return self.level(envelope)[(self.first % block + at) // block]

    def crest(self, x: F64, half_s: float) -> I64:
        """Return where ``x`` is the greatest within ±``half_s``."""
        from scipy.ndimage import maximum_filter1d

        inner = x[1:-1]
        at = np.flatnonzero((inner > x[:-2]) & (inner >= x[2:])) + 1
        highest = maximum_filter1d(x, 2 * self.samples(half_s) + 1, mode="nearest")
        crests: I64 = at[x[at] >= highest[at]]
        return crests


def trace(record: Record, channel: Channel) -> Trace:
    """Return the trace of a channel; flat and saturated stretches are looked for in the channel that it was filtered from."""
    finite = np.isfinite(channel.samples)
    seams = seam_samples(record, channel.fs, finite.size)
    source = record.channels.get(channel.source_name, channel)
    if (source.kind, source.fs, source.samples.size) != (channel.kind, channel.fs, channel.samples.size):
        source = channel
    known = np.isfinite(source.samples)
    raw = hold(source.samples.astype(np.float64), known)
    rest = plateaus(raw, known, channel.fs)
    dead = rest.flat(FLAT_S.get(channel.kind, FLAT_DEFAULT_S))
    if channel.kind in RAIL_S:
        dead |= rest.clipped(RAIL_S[channel.kind])
    x = hold(channel.samples.astype(np.float64), finite)
    starts, stops = runs(finite, seams)
    return Trace(x, channel.fs, first_sample(record, channel.fs), starts, stops, dead, finite, channel.unit)


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


def plateaus(raw: F64, known: Bool, fs: float) -> Plateaus:
    """Return where a signal rests, to the resolution of a float32."""
    from scipy.ndimage import maximum_filter1d

    if raw.size < 2:
        return Plateaus(known[1:] & False, known & False, fs)
    near = 2 * round(NEAR_S * fs) + 1
    high = maximum_filter1d(raw, near, mode="nearest")
    low = -maximum_filter1d(-raw, near, mode="nearest")
    tiny = RESOLUTION * np.maximum(high, -low)
    same = (np.abs(np.diff(raw)) <= tiny[1:]) & known[1:] & known[:-1]
    return Plateaus(same, (raw >= high - tiny) | (raw <= low + tiny), fs)


def _around(values: F64, half: int, beyond: float) -> F64:
    """Return each value with ``half`` neighbours on either side, shape (value, 2 half + 1)."""
    ends = np.full(half, beyond)
    return np.lib.stride_tricks.sliding_window_view(np.concatenate((ends, values, ends)), 2 * half + 1)


def moving_mean(x: F64, width: int) -> F64:
    """Return the mean over ``width`` samples around each sample; beyond the ends the last value is held."""
    from scipy.ndimage import uniform_filter1d

    mean: F64 = uniform_filter1d(x, max(width, 1), mode="nearest")
    return mean
