"""R peaks of an electrocardiogram: where the slope has energy, what looks like the QRS near by, what fits the rhythm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from biosig_mtl.signal import templates
from biosig_mtl.signal.choice import SURE
from biosig_mtl.signal.detection import Detection, Group, confirmed, in_parts, log_odds, log_ratio, sensible, sure
from biosig_mtl.signal.sliding import moving_mean, rows_around, running_sum
from biosig_mtl.signal.trace import Trace
from biosig_mtl.types import F32, F64, I64, Bool

SLOPE_S = 0.016
SOFT_S = 0.02
ENERGY_S = 0.06
APART_S = 0.08
AROUND_S = 1.2
APEX_S = 0.09
BASELINE_S = 0.4
# The sign of the apex is decided together over so long on either side; R and S of equal size count as R.
POLARITY_S = 10.0
UPWARD = 1.3
# A QRS is compared from here to here around its apex, on a grid of about 8 ms.
QRS_S, GRID_HZ = (0.1, 0.1), 125.0
SECOND_APART_S, SECOND_SMALLEST, SECOND_NEAR_S = 0.25, 0.4, 0.06
# Log-odds of a candidate: constant, height below and above the usual one, contrast, likeness and its cube, size of the apex;
# fitted by tests/benchmarks/fit_odds.py on the simulated cohort with noise and on simulated arrhythmias.
ODDS = (-2.40, 1.01, -5.55, 3.35, -0.99, 5.02, 0.25)
# Mean contrast and log-odds near by under which a stretch is noise or hum.
LEAST_CONTRAST, LEAST_ODDS = 0.55, 1.0
# A T wave stands so soon behind its QRS and is less steep than this share of it.
T_WAVE_S, T_WAVE = 0.36, 0.5
REACH_S = POLARITY_S + templates.REACH_S


def ecg_beats(trace: Trace) -> Detection:
    """Return R peaks (a beat starts at its R peak).

    Candidates are the crests, 80 ms apart, of the root of the slope's energy over 60 ms. Four numbers speak for one: its height
    and the size of its apex against the usual near by, its contrast to the mean of 1.2 s around, and the likeness of its QRS
    to those within some 12 s. A wave soon behind a certain QRS and not half as steep is doubted (T waves). What is chosen of
    them is decided by `biosig_mtl.signal.choice`. The apex is that of whichever sign most QRS near by have.

    Notes
    -----
    The envelope is the usual one (Pan & Tompkins 1985, IEEE Trans. Biomed. Eng. 32:230, with the slope alone and a window of
    60 ms); in place of thresholds that follow the past there is likeness and rhythm on both sides. Our own method.
    """
    (at, up_at, down_at, height, contrast, highest, lowest), (crest, crest_height) = in_parts(trace, _look, AROUND_S)
    above = log_ratio(height, trace.usual(at, height))
    seen = sensible(trace, at, above)
    at, up_at, down_at, above = at[seen], up_at[seen], down_at[seen], above[seen]
    contrast, highest, lowest = contrast[seen], highest[seen], lowest[seen]
    up = _mostly_up(trace, at, above, (highest, lowest))
    apex, swing = np.where(up, up_at, down_at), np.abs(np.where(up, highest, lowest))
    qrs = _qrs(trace, apex)
    typical = _typical(qrs.shape[1], trace.fs) * np.where(up, np.float32(1), np.float32(-1))[:, None]
    like = templates.likeness(qrs, sure(above, contrast), trace.block(at, templates.BLOCK_S), typical)
    taller = np.clip(log_ratio(swing, trace.usual(at, swing)), -2, 1)
    looks = np.stack((np.minimum(above, 0), np.maximum(above, 0), contrast, like, np.maximum(like, 0) ** 3, taller), axis=1)
    second = confirmed(trace, crest, crest_height, apex, (SECOND_SMALLEST, SECOND_NEAR_S))
    polarity = np.where(up, 1, -1).astype(np.int8)
    odds = _without_t(trace, apex, height[seen], log_odds(looks, ODDS))
    return Detection(apex, apex, looks, odds, second, polarity, (LEAST_CONTRAST, LEAST_ODDS))


def _without_t(trace: Trace, apex: I64, height: F32, odds: F64) -> F64:
    """Return log-odds with doubt about T waves: soon behind a certain QRS, and not half as steep (Pan & Tompkins 1985)."""
    certain = np.flatnonzero(odds >= SURE)
    if not certain.size:
        return odds
    before = np.searchsorted(apex[certain], apex) - 1
    leader = certain[np.maximum(before, 0)]
    soon = (before >= 0) & (apex - apex[leader] <= trace.samples(T_WAVE_S)) & (height < T_WAVE * height[leader])
    return np.where(soon, np.minimum(odds, -1.0), odds)


def _look(part: Trace) -> tuple[Group, Group]:
    """Return candidates with their highest and lowest point, height and contrast; and the crests of the second detector."""
    x = part.values
    slope = moving_mean(part.slope(part.samples(SLOPE_S)), part.samples(SOFT_S))
    energy = np.sqrt(np.maximum(moving_mean(slope * slope, part.samples(ENERGY_S)), 0))
    at = part.crests(energy, APART_S)
    level = x - moving_mean(x, part.samples(BASELINE_S))
    contrast = log_ratio(energy[at], part.mean_around(energy, at, AROUND_S))
    half = part.samples(APEX_S)
    rows = rows_around(level, at, half, half + 1)
    start, stop = part.run_start(at), np.maximum(part.run_stop(at) - 1, 0)
    ends = (
        [np.clip(at - half + place, start, stop) for place in (rows.argmax(axis=1), rows.argmin(axis=1))]
        if at.size
        else [at, at]
    )
    size = np.abs(level)
    crest = part.crests(size, SECOND_APART_S)
    return (at, *ends, energy[at], contrast, *(level[end] for end in ends)), (crest, size[crest])


def _mostly_up(trace: Trace, at: I64, above: F32, ends: tuple[F32, F32]) -> Bool:
    """Return whether the QRS near each candidate point up rather than down; in doubt, up."""
    highest, lowest = ends
    lean = (highest * UPWARD + lowest) / np.maximum(np.abs(highest) + np.abs(lowest), np.finfo(np.float32).tiny)
    lean *= np.exp(np.minimum(above, 0))
    votes = running_sum(lean)
    near = trace.samples(POLARITY_S)
    up: Bool = votes[np.searchsorted(at, at + near, side="right")] - votes[np.searchsorted(at, at - near)] >= 0
    return up


def _qrs(trace: Trace, apex: I64) -> F32:
    before, after = (trace.samples(s) for s in QRS_S)
    return templates.unit(rows_around(trace.values, apex, before, after, max(int(trace.fs / GRID_HZ), 1)))


@lru_cache(maxsize=16)
def _typical(points: int, fs: float) -> F32:
    """Return a narrow upright wave on the grid of the QRS."""
    t = np.arange(points) * max(int(fs / GRID_HZ), 1) / fs - QRS_S[0]
    wave = sum(size * np.exp(-(((t - at) / 0.013) ** 2)) for at, size in ((0.0, 1.0), (-0.03, -0.2), (0.035, -0.3)))
    typical: F32 = templates.unit(np.asarray(wave)[None])[0]
    return typical
