"""Irregularity and long memory of intervals: sample entropy and detrended fluctuation analysis, all windows at once."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from biosig_mtl.types import F64, I64

# Template length, and tolerance as a share of the SD.
TEMPLATE, TOLERANCE = 2, 0.2
# 10^m values at the least, for m = 2 (Richman & Moorman 2000; Pincus & Goldberger 1994).
ENTROPY_LEAST = 100
# Differences that are looked at together: they fit into the cache.
AT_ONCE = 65536
SCALES = tuple(range(4, 17))
# Four boxes of the largest scale.
DFA_LEAST = 64


def sample_entropy(nn: F64, count: I64) -> F64:
    """Return the sample entropy of the intervals of every window, shape (window,), NaN below `ENTROPY_LEAST` intervals.

    Richman & Moorman, Am. J. Physiol. 278 (2000) H2039, with m = 2 and r = 0.2 SD (n − 1): −ln of the share of pairs of
    templates of two intervals, each at most r apart, that stay so with a third one. NaN where no pair does.

    Parameters
    ----------
    nn
        Intervals in order of time, shape (window, slot), NaN behind the last one. Gaps are closed.
    count
        How many there are, shape (window,).
    """
    out = np.full(count.size, np.nan)
    rows = np.flatnonzero(count >= ENTROPY_LEAST)
    if not rows.size:
        return out
    x, n = nn[rows], count[rows]
    known = np.isfinite(x)
    mean = np.cumsum(np.where(known, x, 0), axis=1)[:, -1] / n
    spread = np.where(known, x - mean[:, None], 0)
    limit = TOLERANCE * np.sqrt(np.cumsum(spread * spread, axis=1)[:, -1] / (n - 1))
    two, three = _alike(x, limit)
    two -= _alike_to_last(x, n, limit)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.log(three / two)
    out[rows] = np.where(three > 0, entropy, np.nan)
    return out


def _alike(x: F64, limit: F64) -> tuple[I64, I64]:
    """Return how many pairs of two and of three successive values are alike, each of shape (window,).

    Many lags at once, one bit for each: what is alike at the next place too is then the common bits of two words.
    """
    windows, slots = x.shape
    lags = 8 * int(np.clip(AT_ONCE // (8 * x.size), 1, 8))
    # Comparison with NaN is false, so nothing reaches behind the last interval.
    later = sliding_window_view(np.pad(x, ((0, 0), (0, lags)), constant_values=np.nan), lags, axis=1)
    two, three = np.zeros(windows, np.int64), np.zeros(windows, np.int64)
    for lag in range(1, slots, lags):
        away = later[:, lag:slots] - x[:, : slots - lag, None]
        near = np.packbits(np.abs(away, out=away) <= limit[:, None, None], axis=-1)
        pair = near[:, :-1] & near[:, 1:]
        two += np.bitwise_count(pair).sum(axis=(1, 2), dtype=np.int64)
        three += np.bitwise_count(pair[:, :-1] & near[:, 2:]).sum(axis=(1, 2), dtype=np.int64)
    return two, three


def _alike_to_last(x: F64, count: I64, limit: F64) -> I64:
    """Return how many pairs of two values are alike to the last two: that template has no third value, and does not count."""
    row = np.arange(count.size)
    ends = (x[row, count - TEMPLATE][:, None], x[row, count - 1][:, None])
    near = (np.abs(x[:, :-1] - ends[0]) <= limit[:, None]) & (np.abs(x[:, 1:] - ends[1]) <= limit[:, None])
    # The last template itself is among them.
    return np.asarray(np.count_nonzero(near, axis=1) - 1)


def alpha1(nn: F64, count: I64) -> F64:
    """Return the short-term scaling exponent of the intervals of every window, shape (window,), NaN below `DFA_LEAST`
    intervals and where they do not vary.

    Peng et al., Chaos 5 (1995) 82: fluctuation of the summed series about straight lines in boxes of 4 to 16 beats, slope of
    its logarithm over that of the box. Deviation: boxes overlap by half, which scatters less. Arguments as `sample_entropy`.
    """
    out = np.full(count.size, np.nan)
    rows = np.flatnonzero(count >= DFA_LEAST)
    if not rows.size:
        return out
    x, n = nn[rows], count[rows]
    known = np.isfinite(x)
    mean = np.cumsum(np.where(known, x, 0), axis=1)[:, -1] / n
    away = np.where(known, x - mean[:, None], 0)
    # What does not vary has no fluctuation to scale.
    away[np.abs(away).max(axis=1) <= 1e-9 * np.abs(mean)] = np.nan
    profile = np.cumsum(away, axis=1)
    log_f = np.stack([_fluctuation(profile, n, scale) for scale in SCALES])
    log_s = np.log(np.array(SCALES, float))
    centred = (log_s - log_s.mean())[:, None]
    with np.errstate(invalid="ignore"):
        slope = np.cumsum(centred * log_f, axis=0)[-1] / (centred**2).sum()
    out[rows] = np.where(np.isfinite(slope), slope, np.nan)
    return out


def _fluctuation(profile: F64, count: I64, scale: int) -> F64:
    """Return the logarithm of the root mean square about straight lines in boxes of ``scale`` beats, shape (window,)."""
    step = scale // 2
    boxes = sliding_window_view(profile, scale, axis=1)[:, ::step]
    inside = np.arange(boxes.shape[1]) * step + scale <= count[:, None]
    t = np.arange(scale) - (scale - 1) / 2
    level = boxes.mean(axis=2, keepdims=True)
    centred = boxes - level
    slope = (centred * t).sum(axis=2) / (t @ t)
    variance = ((centred - slope[..., None] * t) ** 2).mean(axis=2)
    # A running sum: padding at the end adds zeros and changes no bit.
    total = np.cumsum(np.where(inside, variance, 0), axis=1)[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(0.5 * np.log(total / inside.sum(axis=1)))
