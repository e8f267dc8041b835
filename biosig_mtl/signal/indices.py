"""The numbers that tell of the quality of a channel, second by second; `INDICES` names them all.

Every number comes from a few seconds around its own, so a part of a recording with context gives the bits of the whole: sums of
a second each, sums of whole numbers, and nothing that runs over the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.runs import first_sample, hold
from biosig_mtl.signal.sliding import padded
from biosig_mtl.signal.trace import RESOLUTION, plateaus
from biosig_mtl.types import F32, F64, I64, Bool, Channel, Record

INDICES: Mapping[str, str] = {
    "missing": "share of the second without samples",
    "flat": "share of the second in which the channel as recorded rests for 0.2 s or more (ECG: 0.6 s)",
    "clipped": "share of the second in which it rests for 0.08 s (ECG: 0.032 s) at an end of its range within ±5 s",
    "template": "mean agreement of the beats that touch ±2 s with the beats around them, 0–1",
    "worst": "agreement of that beat among them which agrees least, 0–1",
    "confirmed": "share of those beats that a second detector found too",
    "doubtful": "share of those beats whose place in the rhythm says that they are false, misplaced, or that one is missing",
    "rate": "share of those beats that last as long as 35–180 a minute do",
    "ratio": "greatest ratio of the lengths of two successive beats among them, 1 or more",
    "covered": "share of the ±2 s that complete beats fill",
    "polarity": "1 where most of those beats point up, −1 where they are upside down (ABP: the rise takes over 0.58)",
    "snr": "power in the band of the signal (0.5–8 Hz; ECG 1–40 Hz) as a share of all above 0.5 Hz, over 4 s as recorded",
    "mains": "power within 1 Hz of 50 and 60 Hz as a share of all above 0.5 Hz; NaN where the sampling rate holds neither",
    "entropy": "spectral entropy within the band of the signal, 0 for a single tone to 1 for white noise",
    "relative_power": "power in 1–2.25 Hz as a share of that in 0.5–8 Hz (pulses)",
    "qrs_power": "power in 5–15 Hz as a share of that in 5–40 Hz (ECG)",
    "skewness": "third standardised moment over 5 s",
    "kurtosis": "fourth standardised moment over 5 s, less 3",
    "crossings": "how often a second the channel crosses its mean of that second, over 5 s",
    "perfusion": "height of the pulses in per cent of the mean as recorded; NaN where that is no offset of light (PPG)",
    "pressure": "share of those beats with pressures and pulse pressure that an artery can have (ABP)",
    "pulse_pressure": "mean pulse pressure of those beats in mmHg (ABP)",
    "upstroke": "mean steepness from foot to systole in mmHg/s: low in a damped line (ABP)",
    "jump": "greatest change of systolic or diastolic pressure from one of those beats to the next, in mmHg (ABP)",
    "flushed": "1 where a pressure rests as it does in a flushed line or in one open to the air, else 0 (ABP)",
    "motion": "standard deviation of the acceleration's magnitude in g over 2 s, where the record has an accelerometer",
}
"""Every index and what it is. A track holds NaN where it cannot be told; not every kind of channel has every index."""

FLAT_S, FLAT_DEFAULT_S = {"ecg": 0.6}, 0.2
CLIPPED_S, CLIPPED_DEFAULT_S = {"ecg": 0.032}, 0.08
# Moments are taken over so many seconds.
MOMENT_S = 5
# A pressure all within so much for a second has no pulse; below or above these means the line is open to the air or flushed.
STILL_MMHG, OPEN_MMHG, FLUSHED_MMHG = 8.0, 20.0, 150.0


@dataclass(frozen=True)
class Seconds:
    """The seconds of a channel: ``first`` sample of each (shape (second,)), and how many samples there are.

    Seconds count from the start of the recording, so a part finds the same ones.
    """

    first: I64
    size: int
    fs: float

    def sums(self, values: NDArray[np.floating]) -> F64:
        """Return the sum over every second, 0 beyond the end of the channel."""
        if not (self.size and self.first.size):
            return np.zeros(self.first.size)
        total = np.add.reduceat(values, np.minimum(self.first, self.size - 1)).astype(np.float64)
        total[self.first >= self.size] = 0
        return np.asarray(total)

    def shares(self, mask: Bool) -> F64:
        """Return the share of every second that is marked."""
        if not mask.any():
            return np.zeros(self.first.size)
        return np.clip(self.sums(mask.astype(np.float32)) / np.maximum(self.lengths, 1), 0, 1)

    @cached_property
    def lengths(self) -> I64:
        """Samples of every second, shape (second,)."""
        ends = np.minimum(padded(self.first, 0, 1, self.size), self.size)
        lengths: I64 = ends[1:] - ends[:-1]
        return lengths


def seconds_of(record: Record, channel: Channel, count: int) -> Seconds:
    """Return the first ``count`` seconds of a record as samples of a channel."""
    first = np.rint((record.start_s + np.arange(count)) * channel.fs) - np.rint(record.start_s * channel.fs)
    return Seconds(first.astype(np.int64), channel.samples.size, channel.fs)


def resting(record: Record, raw: Channel, seconds: Seconds) -> tuple[dict[str, F64], F32]:
    """Return ``missing``, ``flat`` and ``clipped`` of a channel as recorded, and its samples with gaps filled."""
    known = np.isfinite(raw.samples)
    whole = hold(raw.samples, known)
    rest = plateaus(whole, known, raw.fs, first_sample(record, raw.fs))
    flat = rest.flat(FLAT_S.get(raw.kind, FLAT_DEFAULT_S))
    clipped = rest.clipped(CLIPPED_S.get(raw.kind, CLIPPED_DEFAULT_S))
    shares = {"missing": seconds.shares(~known), "flat": seconds.shares(flat), "clipped": seconds.shares(clipped)}
    return shares, whole


def means(samples: F32, seconds: Seconds) -> F64:
    """Return the mean of the known samples of every second, NaN where there are none."""
    known = np.isfinite(samples)
    if known.all():
        n, total = seconds.lengths.astype(np.float64), seconds.sums(samples)
    else:
        n, total = seconds.sums(known.astype(np.float32)), seconds.sums(np.where(known, samples, np.float32(0)))
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def flushed(samples: F32, seconds: Seconds) -> F64:
    """Return 1 for seconds of a pressure in mmHg that has no pulse and lies below 20 or above 150, else 0, shape (second,)."""
    if not (seconds.size and seconds.first.size):
        return np.zeros(seconds.first.size)
    at = np.minimum(seconds.first, seconds.size - 1)
    low, high = np.minimum.reduceat(samples, at), np.maximum.reduceat(samples, at)
    still = (high - low < STILL_MMHG) & ((high < OPEN_MMHG) | (low > FLUSHED_MMHG))
    return still.astype(np.float64)


def moments(samples: F32, seconds: Seconds) -> dict[str, F64]:
    """Return ``skewness``, ``kurtosis`` and ``crossings`` over five seconds around every second.

    Each second is taken about its own mean in single precision, and the seconds are put together in double.
    """
    known = np.isfinite(samples)
    every = bool(known.all())
    x = samples if every else np.where(known, samples, np.float32(0))
    n = seconds.lengths.astype(np.float64) if every else seconds.sums(known.astype(np.float32))
    mean = seconds.sums(x) / np.maximum(n, 1)
    d = x - np.repeat(mean.astype(np.float32), seconds.lengths)[: x.size]
    if not every:
        d[~known] = 0
    up = d > 0
    crossings = np.zeros(x.size, np.float32)
    np.not_equal(up[1:], up[:-1], out=crossings[1:], casting="unsafe")
    square = d * d
    second, crossed = seconds.sums(square), seconds.sums(crossings)
    third, fourth = seconds.sums(np.multiply(d, square, out=d)), seconds.sums(np.multiply(square, square, out=square))
    lasted, crossed = _five((n > 0).astype(np.float64), crossed).sum(axis=1)
    rate = np.where(lasted > 0, crossed / np.maximum(lasted, 1), np.nan)
    return _standardised(n, mean, (second, third, fourth)) | {"crossings": rate}


def _standardised(n: F64, mean: F64, central: tuple[F64, F64, F64]) -> dict[str, F64]:
    """Return skewness and kurtosis of five seconds from number, mean and central sums of each."""
    number, mean, second, third, fourth = _five(n, mean, *central)
    total = np.maximum(number.sum(axis=0), 1)
    middle = (number * mean).sum(axis=0) / total
    off = np.where(number > 0, mean - middle, 0)
    square = off * off
    m2 = (second + number * square).sum(axis=0) / total
    m3 = (third + 3 * off * second + number * square * off).sum(axis=0) / total
    m4 = (fourth + 4 * off * third + 6 * square * second + number * square * square).sum(axis=0) / total
    # What float32 leaves of a constant is not a signal.
    alive = m2 > (4 * RESOLUTION * middle) ** 2
    m2 = np.where(alive, m2, 1)
    return {
        "skewness": np.where(alive, m3 / m2**1.5, np.nan),
        "kurtosis": np.where(alive, m4 / m2**2 - 3, np.nan),
    }


def _five(*rows: F64) -> F64:
    """Return every second of some rows with its neighbours, shape (row, 5, second); nothing beyond the ends."""
    half, size = MOMENT_S // 2, rows[0].size
    out = np.zeros((len(rows), MOMENT_S, size))
    for k in range(-half, half + 1):
        to, of = slice(max(-k, 0), max(size - max(k, 0), 0)), slice(max(k, 0), max(size - max(-k, 0), 0))
        for row, values in enumerate(rows):
            out[row, k + half, to] = values[of]
    return out
