"""Indices of quality that the beats of a channel tell: agreement, rhythm, and the pressures of an artery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.sliding import padded, running_sum
from biosig_mtl.types import F32, F64, I64, Beats, Bool, Channel

# Beats that touch so many seconds on either side of the middle of a second speak for it.
BEATS_S = 2.0
RATES_PER_MIN = (35.0, 180.0)
# Where the signal begins or ends, so much of it may belong to a beat that is not complete.
CUT_S = 1.2
# The lengths of neighbours can hardly differ more than this; what lies beyond is told as this.
LARGEST_RATIO = 10.0
# Pressures and pulse pressures beyond these are none of an artery (Sun, Reisner and Mark 2006, table 1).
PULSE_MMHG, LOWEST_MMHG, HIGHEST_MMHG = (10.0, 200.0), 20.0, 300.0
# Places in MARKS of beats that are false, misplaced, or followed by a missing one.
DOUBTFUL = (2, 3)
# Fixed-point scale of what is summed over beats.
SCALE = 2.0**24


@dataclass(frozen=True)
class BeatTable:
    """Complete beats, and which of them touch ±2 s of the middle of every second: those from ``low`` to before ``high``.

    ``onset peak end following`` have shape (beat,): the last tells whether the next beat starts where this one ends.
    ``middle low high`` have shape (second,); samples count as those of the beats.
    """

    onset: I64
    peak: I64
    end: I64
    low: I64
    high: I64
    following: Bool
    middle: F64

    def mean(self, values: NDArray[np.generic]) -> F64:
        """Return the mean over the touching beats along the last axis, NaN where there are none."""
        total = running_sum(values, SCALE)
        number = self.high - self.low
        mean = (total[..., self.high] - total[..., self.low]) / SCALE / np.maximum(number, 1)
        return np.where(number > 0, mean, np.nan)

    def greatest(self, values: F64) -> F64:
        """Return the greatest value among the touching beats, NaN where there are none."""
        if not values.size:
            return np.full(self.low.size, np.nan)
        bounds = np.stack([self.low, self.high], axis=1).ravel()
        most = np.maximum.reduceat(np.append(values, -np.inf), np.minimum(bounds, values.size))[::2]
        return np.where(self.high > self.low, most, np.nan)

    def to_next(self, values: NDArray[np.floating]) -> F64:
        """Return the change from every beat to the one that follows at its end, 0 where none does."""
        change = np.zeros(self.onset.size)
        change[:-1] = np.where(self.following[:-1], np.diff(values.astype(np.float64)), 0)
        return change


def table_of(beats: Beats, start_s: float, count: int) -> tuple[BeatTable, Bool]:
    """Return the complete beats as a table for ``count`` seconds, and which of all beats they are."""
    whole = beats.end >= 0
    onset, peak, end = beats.onset[whole], beats.peak[whole], beats.end[whole]
    middle = np.rint((start_s + np.arange(count) + 0.5) * beats.fs) - np.rint(start_s * beats.fs)
    reach = np.rint(BEATS_S * beats.fs)
    low, high = np.searchsorted(end, middle - reach), np.searchsorted(onset, middle + reach)
    following = np.append(end[:-1] == onset[1:], False) if onset.size else np.zeros(0, bool)
    return BeatTable(onset, peak, end, low, np.maximum(high, low), following, middle), whole


def of_beats(beats: Beats, stretches: tuple[I64, I64], start_s: float, count: int) -> tuple[dict[str, F64], BeatTable]:
    """Return what the beats that touch ±2 s of the middle of every second tell of it, and the table of complete beats.

    ``stretches`` are first sample and one past the last of every piece of the channel without gap or seam, at ``beats.fs``.
    """
    table, whole = table_of(beats, start_s, count)
    quality, length = beats.quality[whole], (table.end - table.onset) / beats.fs
    ratio = np.exp(np.abs(table.to_next(np.log(np.maximum(length, 1e-3)))))
    ratio[1:] = np.maximum(ratio[1:], ratio[:-1])
    possible = (length >= 60 / RATES_PER_MIN[1]) & (length <= 60 / RATES_PER_MIN[0])
    mark = beats.mark[whole]
    doubtful = (mark == DOUBTFUL[0]) | (mark == DOUBTFUL[1])
    told = np.stack((beats.polarity[whole], quality, beats.confirmed[whole], doubtful, possible), dtype=np.float64)
    turned, template, confirmed, false, even = table.mean(told)
    return {
        "template": template,
        "worst": 1 - table.greatest(1 - quality.astype(np.float64)),
        "confirmed": confirmed,
        "doubtful": false,
        "rate": even,
        "ratio": np.minimum(table.greatest(ratio), LARGEST_RATIO),
        "covered": _covered(table, stretches, beats.fs, table.middle),
        "polarity": np.where(turned < 0, -1.0, np.where(np.isfinite(turned), 1.0, np.nan)),
    }, table


def _covered(table: BeatTable, stretches: tuple[I64, I64], fs: float, middle: F64) -> F64:
    """Return the share of the signal within ±2 s that complete beats fill; at every end of it one beat may be incomplete."""
    low, high = middle - np.rint(BEATS_S * fs), middle + np.rint(BEATS_S * fs)
    there = _inside(*stretches, low, high)
    filled = _inside(table.onset, table.end, low, high)
    ends = sum(np.searchsorted(edges, high, side="right") - np.searchsorted(edges, low) for edges in stretches)
    return np.where(there > 0, np.clip((filled + ends * np.rint(CUT_S * fs)) / np.maximum(there, 1), 0, 1), 0)


def _inside(start: I64, stop: I64, low: F64, high: F64) -> F64:
    """Return how many samples of spans that do not overlap lie between ``low`` and ``high``."""
    if not start.size:
        return np.zeros(low.size)
    length = stop - start
    total = padded(np.cumsum(length), 1, 0)
    at = np.stack((low, high))
    before = np.searchsorted(start, at) - 1
    below, until = np.where(before >= 0, total[before] + np.clip(at - start[before], 0, length[before]), 0)
    inside: F64 = until - below
    return inside


def perfusion(table: BeatTable, raw: F32, mean: F64, fs: float) -> F64:
    """Return the height of the pulses in per cent of the mean of the channel as recorded, shape (second,).

    NaN where that mean is not above the height of the pulses: then it is no offset of light. ``mean`` is that of every second.
    """
    if not table.peak.size:
        return np.full(table.low.size, np.nan)
    height = np.abs(raw[table.peak].astype(np.float64) - raw[table.onset])
    at = np.clip((table.peak / fs).astype(np.int64), 0, mean.size - 1)
    physical = (mean[at] > height) & (height > 0)
    number = table.mean(physical)
    sum_of = table.mean(np.where(physical, 100 * height / np.where(physical, mean[at], 1), 0))
    return np.where(number > 0.5, sum_of / np.where(number > 0, number, 1), np.nan)


def rise(table: BeatTable) -> F64:
    """Return the mean share of a beat that its rise from foot to peak takes, shape (second,)."""
    return table.mean((table.peak - table.onset) / np.maximum(table.end - table.onset, 1))


def pressures(table: BeatTable, channel: Channel) -> dict[str, F64]:
    """Return what the pressures of the beats tell: ``pressure``, ``pulse_pressure``, ``upstroke`` and ``jump``.

    Sun JX, Reisner AT, Mark RG. A signal abnormality index for arterial blood pressure waveforms. Computers in Cardiology
    2006;33:13. Deviation: the numbers stay numbers; one beat beyond a limit lowers a share and flags nothing. NaN where the
    unit is not mmHg.
    """
    if channel.unit.strip().lower() != "mmhg":
        return dict.fromkeys(("pressure", "pulse_pressure", "upstroke", "jump"), np.full(table.low.size, np.nan))
    samples = np.nan_to_num(channel.samples.astype(np.float64))
    diastolic, systolic = samples[table.onset], samples[table.peak]
    pulse = systolic - diastolic
    fits = (diastolic >= LOWEST_MMHG) & (systolic <= HIGHEST_MMHG) & (pulse >= PULSE_MMHG[0]) & (pulse <= PULSE_MMHG[1])
    rise_s = np.maximum(table.peak - table.onset, 1) / channel.fs
    jump = np.maximum(np.abs(table.to_next(systolic)), np.abs(table.to_next(diastolic)))
    return {
        "pressure": table.mean(fits),
        "pulse_pressure": table.mean(pulse),
        "upstroke": table.mean(pulse / rise_s),
        "jump": table.greatest(jump),
    }
