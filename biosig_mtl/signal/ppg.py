"""Beats of a photoplethysmogram: where it rises, what looks like the pulses near by, what fits the rhythm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biosig_mtl.signal import templates
from biosig_mtl.signal.detection import Detection, Group, in_parts, log_odds, log_ratio, pulses_alike, sensible, sure
from biosig_mtl.signal.sliding import moving_max, moving_mean, padded, rows_around
from biosig_mtl.signal.trace import Trace
from biosig_mtl.types import F32, F64, I64, Bool

RISE_S = 0.15
# A rise that is shorter than that makes a plateau; a second mean gives it one top.
TOP_S = 0.064
APART_S = 0.09
AROUND_S = 1.5
PEAK_S, FOOT_S, TILT = 0.32, 0.3, 0.15
# Elgendi 2013, section 3: windows of a systolic peak and of a beat, and the offset, here a share of the local mean.
BLOCK_S, BEAT_S, OFFSET, OFFSET_S, DRIFT_S = 0.111, 0.667, 0.02, 12.0, 1.5
SECOND_NEAR_S, SECOND_HZ = 0.06, 30.0
# Which way up the wave is: skewness of its slope, added up over stretches of so many seconds, so many on either side.
TURN_S, TURN_BLOCKS, UPSIDE_DOWN = 5.0, 2, -0.8
STEEPEST, STANDING_UP = np.float32(4), 5.2
# Log-odds of a candidate: constant, height below and above the usual one, contrast, likeness and its cube, height of the rise.
# Fitted by tests/benchmarks/fit_odds.py on the simulated cohort with noise, whose pulses are known.
ODDS = (-2.29, -3.38, -4.82, 1.38, -1.00, 6.35, 3.44)
LEAST_CONTRAST, LEAST_ODDS = 0.4, 0.6
REACH_S = templates.REACH_S + TURN_S * (TURN_BLOCKS + 1)


def ppg_beats(trace: Trace) -> Detection:
    """Return feet and systolic peaks.

    Candidates are the crests, 0.09 s apart, of the sum of rises over 0.15 s. Four numbers speak for one: its sum and its rise
    from foot to peak against what is usual near by, its contrast to the mean of 1.5 s around, and the likeness of the pulse to
    those within some 12 s. What is chosen of them is decided by `biosig_mtl.signal.choice`. A wave that is upside down (it
    falls faster than it rises) is turned before.

    Notes
    -----
    The sum of rises is that of Zong 2003 (Computers in Cardiology 30:259), made for pressure. The second detector is Elgendi's
    (PLoS ONE 2013;8:e76585): two moving averages, with the offset taken locally and drift removed by a moving mean, so that it
    works on unfiltered signals too. The rest is our own method.
    """
    x, down = upright(trace)
    ((at, foot, peak, height, contrast, rise),) = in_parts(replace(trace, values=x), _look, AROUND_S)
    above = log_ratio(height, trace.usual(at, height))
    seen = sensible(trace, at, above)
    at, foot, peak = at[seen], foot[seen], peak[seen]
    above, contrast, rise = above[seen], contrast[seen], rise[seen]
    taller = np.clip(log_ratio(rise, trace.usual(at, rise)), -2, 0.7)
    like = pulses_alike(trace, x, at, sure(above, contrast))
    looks = np.stack((np.minimum(above, 0), np.maximum(above, 0), contrast, like, np.maximum(like, 0) ** 3, taller), axis=1)
    whole = (foot > trace.run_start(at)) & (foot < peak) if at.size else np.zeros(0, bool)
    second = _elgendi(trace, x, peak)
    polarity = np.where(down[peak], -1, 1).astype(np.int8) if at.size else np.zeros(0, np.int8)
    found = Detection(foot, peak, looks, log_odds(looks, ODDS), second, polarity, (LEAST_CONTRAST, LEAST_ODDS))
    return found.take(whole)


def upright(trace: Trace) -> tuple[F32, Bool]:
    """Return the samples with upside-down stretches turned, and where they were.

    A pulse rises faster than it falls; so the skewness of the slope tells. But behind a high-pass filter in the sensor the fall
    is as steep as the rise: a curve whose peaks stand up from its middle level is not turned.
    """
    x = trace.values
    block = trace.samples(TURN_S)
    lead = trace.first % block
    # A step of the sensor is steeper than any pulse: it counts no more than a pulse does.
    slope = _skewness(trace.slope(), block, lead, clip=STEEPEST)
    near = np.arange(slope.size)[:, None] + np.arange(2 * TURN_BLOCKS + 1)
    # Every stretch votes with its own skewness, so that a movement does not outvote the others.
    turned = padded(np.clip(slope, -2, 2), TURN_BLOCKS, TURN_BLOCKS)[near].sum(axis=1) < UPSIDE_DOWN
    if turned.any():
        curve = _skewness(x, block, lead, clip=None)
        turned &= padded(np.clip(curve, -2, 2), TURN_BLOCKS, TURN_BLOCKS)[near].sum(axis=1) < STANDING_UP
    if not turned.any():
        return x, np.zeros(x.size, bool)
    down = np.repeat(turned, block)[lead : lead + x.size]
    return np.where(down, -x, x), down


def _skewness(x: F32, block: int, lead: int, *, clip: np.float32 | None) -> F64:
    """Return the third standardised moment of blocks on a grid of the recording, 0 where there are only crumbs of a filter.

    ``clip``: slopes have mean zero; they are cut off at so many times their mean size.
    """
    size = -(-(lead + x.size) // block)
    filled = np.zeros(size * block, np.float32)
    filled[lead : lead + x.size] = x
    rows = filled.reshape(size, block)
    if clip is None:
        count = np.full(size, block)
        count[0], count[-1] = count[0] - lead, count[-1] - (size * block - lead - x.size)
        rows = rows - (np.einsum("ij->i", rows) / np.maximum(count, 1).astype(np.float32))[:, None]
        rows.reshape(-1)[:lead] = 0
        rows.reshape(-1)[lead + x.size :] = 0
    else:
        most = clip * np.einsum("ij->i", np.abs(rows))[:, None] / np.float32(block)
        rows = np.clip(rows, -most, most)
    square = rows * rows
    variance, third = (np.asarray(v.sum(axis=1), np.float64) / block for v in (square, square * rows))
    near = np.arange(size)[:, None] + np.arange(2 * TURN_BLOCKS + 1)
    highest = padded(variance, TURN_BLOCKS, TURN_BLOCKS)[near].max(axis=1)
    alive = variance > np.maximum(1e-4 * highest, np.finfo(np.float32).tiny)
    return np.where(alive, third, 0) / np.where(alive, variance, 1) ** 1.5


def _look(part: Trace) -> tuple[Group]:
    """Return candidates with foot and peak, height, contrast and rise."""
    rises = np.maximum(part.slope(), 0)
    total = moving_mean(moving_mean(rises, part.samples(RISE_S)), part.samples(TOP_S))
    at = part.crests(total, APART_S)
    contrast = log_ratio(total[at], part.mean_around(total, at, AROUND_S))
    foot, peak, rise = _ends(part, part.values, at)
    return ((at, foot, peak, total[at], contrast, rise),)


def _ends(trace: Trace, x: F32, at: I64) -> tuple[I64, I64, F32]:
    """Return foot and peak around the rise of every candidate, and the height between them."""
    if not at.size:
        return at, at, np.empty(0, np.float32)
    before, after = trace.samples(FOOT_S), trace.samples(PEAK_S)
    rows = rows_around(x, at, before, after)
    rising, falling = rows[:, : before + 1], rows[:, before:]
    # A flat diastole is as low far from the rise as near it, but for noise: the nearer point wins.
    far = np.linspace(TILT, 0, before + 1, dtype=np.float32)
    height = falling.max(axis=1) - rising.min(axis=1)
    tilted = rising + height[:, None] * far
    # Neither lies beyond the edge of a run, and the foot not before the rise before it.
    start, stop = np.maximum(trace.run_start(at), np.append(-1, at[:-1]) + 1), trace.run_stop(at)
    edge = np.flatnonzero((at - before < start) | (at + after > stop))
    if edge.size:
        tilted[edge[:, None], np.arange(before + 1)] += np.where(
            np.arange(-before, 1) < (start - at)[edge, None], np.float32(np.inf), np.float32(0)
        )
        falling = falling.copy()
        falling[edge] = np.where(np.arange(after) < (stop - at)[edge, None], falling[edge], np.float32(-np.inf))
    low, high = tilted.argmin(axis=1), falling.argmax(axis=1)
    row = np.arange(at.size)
    rise = falling[row, high] - rising[row, low]
    return at - before + low, at + high, rise


def _elgendi(trace: Trace, x: F32, peak: I64) -> Bool:
    """Return which peaks stand in a block of Elgendi's."""
    if not peak.size:
        return np.zeros(0, bool)
    # Its windows are long: some 30 samples a second are enough, on a grid of the recording.
    step = max(int(trace.fs / SECOND_HZ), 1)
    lead = -trace.first % step
    coarse = x[lead::step]
    if not coarse.size:
        return np.zeros(peak.size, bool)

    def wide(seconds: float) -> int:
        return max(round(seconds * trace.fs / step), 1)

    clipped = np.maximum(coarse - moving_mean(coarse, wide(DRIFT_S)), 0) ** 2
    clipped[~trace.finite[lead::step]] = 0
    block = moving_mean(clipped, wide(BLOCK_S)) - moving_mean(clipped, wide(BEAT_S))
    block -= np.float32(OFFSET) * moving_mean(clipped, wide(OFFSET_S))
    near: Bool = moving_max(block, wide(SECOND_NEAR_S))[np.clip((peak - lead) // step, 0, block.size - 1)] > 0
    return near
