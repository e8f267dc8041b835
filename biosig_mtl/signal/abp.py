"""Beats of an arterial pressure curve: foot (diastole) and systolic peak, as samples of the curve itself in mmHg."""

from __future__ import annotations

import numpy as np

from biosig_mtl.signal import templates
from biosig_mtl.signal.detection import CONTRAST, Detection, Group, confirmed, in_parts, log_ratio, pulses_alike
from biosig_mtl.signal.sliding import moving_mean, rows_around
from biosig_mtl.signal.trace import Trace
from biosig_mtl.types import F32, I64

# Zong 2003: window of the slope sum.
SUM_S = 0.128
# A rise that is shorter than that makes a plateau; a second mean gives it one top.
TOP_S = 0.064
APART_S = 0.22
SOFT_S = 0.024
SMALLEST = 0.4
SMALLEST_PULSE = 0.3
# Where the unit is mmHg: the noise of a line that is closed or open to the air.
SMALLEST_PULSE_MMHG = 3.0
FOOT_S, PEAK_S, TILT = 0.25, 0.4, 0.2
SECOND_APART_S, SECOND_SMALLEST, SECOND_NEAR_S = 0.3, 0.5, 0.06
BASELINE_S = 1.5
AROUND_S = 1.5
# Noise has a mean likeness below 0.45, curves of 50 stays, damped ones too, above 0.7; hum has no contrast, 180 beats a minute
# have 0.6.
ODDS_OF_LIKE, LEAST_CONTRAST, LEAST_ODDS = 6.0, 0.35, 3.3
REACH_S = templates.REACH_S


def abp_beats(trace: Trace) -> Detection:
    """Return feet and systolic peaks; what is not a beat has a foot only (a rise cut off by the end of a run).

    Zong W, Heldt T, Moody GB, Mark RG. An open-source algorithm to detect onset of arterial blood pressure pulses. Computers in
    Cardiology 2003;30:259: the sum of rises over 0.128 s. Deviations: a threshold from what is usual on both sides in place of
    one that follows the past, and the foot as the lowest, the peak as the highest point around the rise, so that both are
    pressures that were recorded.
    """
    x = trace.values
    (at, height, contrast), (crest, crest_height) = in_parts(trace, _look, AROUND_S)
    high = height >= SMALLEST * trace.usual(at, height)
    at, contrast = at[high], contrast[high]
    if not at.size:
        return _nothing()
    foot = _lowest(trace, at)
    following = np.maximum(np.append(foot[1:], x.size), at + 1)
    peak = _highest(trace, foot, np.minimum(at + trace.samples(PEAK_S), following))
    pulse = x[peak] - x[foot]
    floor = SMALLEST_PULSE_MMHG if trace.unit.lower() == "mmhg" else 0.0
    real = (pulse > floor) & (pulse >= SMALLEST_PULSE * trace.usual(at, pulse)) & (foot > trace.run_start(foot)) & (peak > foot)
    at, foot, peak, contrast = at[real], foot[real], peak[real], contrast[real]
    second = confirmed(trace, crest, crest_height, peak, (SECOND_SMALLEST, SECOND_NEAR_S))
    like = pulses_alike(trace, x, at, np.ones(at.size, np.float32))
    looks = np.stack((np.zeros_like(like), like, contrast), axis=1)
    odds = ODDS_OF_LIKE * like.astype(np.float64)
    return Detection(foot, peak, looks, odds, second, np.ones(at.size, np.int8), (LEAST_CONTRAST, LEAST_ODDS))


def _look(part: Trace) -> tuple[Group, Group]:
    """Return candidates with height and contrast; and the crests of the second detector."""
    x = part.values
    rises = np.maximum(moving_mean(part.slope(), _soft_width(part)), 0)
    total = moving_mean(moving_mean(rises, part.samples(SUM_S)), part.samples(TOP_S))
    at = part.crests(total, APART_S)
    level = x - moving_mean(x, part.samples(BASELINE_S))
    crest = part.crests(level, SECOND_APART_S)
    return (at, total[at], log_ratio(total[at], part.mean_around(total, at, AROUND_S))), (crest, level[crest])


def _soft_width(trace: Trace) -> int:
    return max(trace.samples(SOFT_S) | 1, 3)


def _soft(trace: Trace, at: I64, before: int, after: int) -> F32:
    """Return rows of the mean over 24 ms: else a label is the extreme of the noise (0.9 mmHg for 1)."""
    width = _soft_width(trace)
    half = width // 2
    rows = rows_around(trace.values, at, before + half, after + half)
    total = rows[:, : before + after].copy()
    for shift in range(1, width):
        total += rows[:, shift : shift + before + after]
    return total * np.float32(1 / width)


def _lowest(trace: Trace, at: I64) -> I64:
    before, after = trace.samples(FOOT_S), trace.samples(SUM_S / 2)
    rows = _soft(trace, at, before, after)
    height = rows[:, before:].max(axis=1) - rows.min(axis=1)
    start, stop = (trace.run_start(at) - at).astype(np.int32), (trace.run_stop(at) - at).astype(np.int32)
    edge = np.flatnonzero((start > -before) | (stop < after))
    if edge.size:
        place = np.arange(-before, after, dtype=np.int32)
        out = (place < start[edge, None]) | (place >= stop[edge, None])
        rows[edge] = np.where(out, np.float32(np.inf), rows[edge])
    # A slow diastole is about as low far from the rise as near it, and its lowest point is where noise is lowest (0.5 mmHg too
    # low for 1 mmHg of noise at 50 beats a minute): the nearer point wins.
    near = np.linspace(TILT, 0, before, dtype=np.float32)
    lowest: I64 = at - before + (rows[:, :before] + height[:, None] * near).argmin(axis=1)
    return lowest


def _highest(trace: Trace, foot: I64, stop: I64) -> I64:
    limit = (np.minimum(stop, trace.run_stop(foot)) - foot).astype(np.int32)
    after = max(int(limit.max(initial=1)), 1)
    rows = _soft(trace, foot, 0, after)
    rows[np.arange(after, dtype=np.int32) >= limit[:, None]] = -np.inf
    highest: I64 = foot + rows.argmax(axis=1)
    return highest


def _nothing() -> Detection:
    none, looks = np.empty(0, np.int64), np.empty((0, CONTRAST + 1), np.float32)
    return Detection(none, none, looks, np.empty(0, np.float64), np.empty(0, bool), np.empty(0, np.int8), (0.0, 0.0))
