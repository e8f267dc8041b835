"""Irregularity and long memory of intervals: sample entropy and detrended fluctuation analysis, all windows at once."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from biosig_mtl.types import F64, I64

# Template length, and tolerance as a share of the SD.
TEMPLATE, TOLERANCE = 2, 0.2
# 10^m values at the least, for m = 2 (Richman & Moorman 2000; Pincus & Goldberger 1994).
ENTROPY_LEAST = 100
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
    x = nn[rows]
    slots = x.shape[1]
    # A lag moves whole rows: time runs down, so that what is compared stays in one piece.
    x = np.ascontiguousarray(x.T)
    known = np.isfinite(x)
    with_mean = np.where(known, x, 0)
    n = count[rows]
    mean = np.cumsum(with_mean, axis=0)[-1] / n
    spread = np.where(known, x - mean, 0)
    limit = TOLERANCE * np.sqrt(np.cumsum(spread * spread, axis=0)[-1] / (n - 1))
    two, three = np.zeros(rows.size, np.int64), np.zeros(rows.size, np.int64)
    for lag in range(1, slots - TEMPLATE):
        # Comparison with NaN is false, so nothing reaches behind the last interval.
        near = np.abs(x[lag:] - x[:-lag]) <= limit
        pair = near[:-2] & near[1:-1] & known[lag + TEMPLATE :]
        two += np.count_nonzero(pair, axis=0)
        three += np.count_nonzero(pair & near[2:], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.log(three / two)
    out[rows] = np.where(three > 0, entropy, np.nan)
    return out


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
