"""Beats of a photoplethysmogram: systolic peaks by two moving averages, feet before the steepest rise."""

from __future__ import annotations

import numpy as np

from biosig_mtl.signal.runs import span_argmax
from biosig_mtl.signal.trace import Trace, moving_mean
from biosig_mtl.types import I64, Bool

# Elgendi 2013, section 3: windows of a systolic peak and of a beat, and the offset.
PEAK_S, BEAT_S, OFFSET = 0.111, 0.667, 0.02
# The offset is a share of the mean over so long, where the paper takes the whole recording.
OFFSET_S = 12.0
DRIFT_S = 1.5
# A rise below this share of the usual rise near by is a dicrotic wave or noise.
SMALLEST_RISE = 0.3
LONGEST_RISE_S = 0.45
REACH_S = OFFSET_S / 2 + DRIFT_S + BEAT_S


def ppg_beats(trace: Trace) -> tuple[I64, I64, Bool]:
    """Return feet, systolic peaks and which are beats; what is not a beat has a foot only (a rise cut off by the end of a run).

    Elgendi M, Norton I, Brearley M, Abbott D, Schuurmans D. Systolic peak detection in acceleration photoplethysmograms.
    PLoS ONE 2013;8:e76585, with the offset taken locally, drift removed by a moving mean so that unfiltered signals do too,
    and the rise from the foot compared with what is usual near by.
    """
    x, fs = trace.x, trace.fs
    clipped = np.maximum(moving_mean(x, trace.samples(0.04)) - moving_mean(x, trace.samples(DRIFT_S)), 0) ** 2
    clipped[~trace.finite] = 0
    offset = OFFSET * moving_mean(clipped, trace.samples(OFFSET_S))
    wide = moving_mean(clipped, trace.samples(BEAT_S))
    block = moving_mean(clipped, trace.samples(PEAK_S)) > wide + offset
    step = np.diff(block.astype(np.int8), prepend=0, append=0)
    begin, end = np.flatnonzero(step == 1), np.flatnonzero(step == -1)
    begin = np.maximum(begin, trace.run_start(end - 1)) if trace.starts.size else begin
    long = end - begin >= PEAK_S * fs
    begin, end = begin[long], end[long]
    peak = span_argmax(x, begin, end)
    peak = _climb(trace, peak)
    foot, steepest = feet(trace, peak)
    rise = x[peak] - x[foot]
    envelope = np.zeros(x.size)
    envelope[peak] = rise
    usual = trace.level_at(envelope, peak)
    real = (rise >= SMALLEST_RISE * usual) & (rise > 0) & (foot > trace.run_start(peak)) & (foot < steepest)
    foot, peak = foot[real], peak[real]
    return foot, peak, peak < trace.run_stop(peak) - 1


def _climb(trace: Trace, peak: I64) -> I64:
    """Return the top of the hill that each position stands on, where that is within 0.1 s."""
    near = trace.samples(0.1)
    return span_argmax(
        trace.x, np.maximum(peak - near // 4, trace.run_start(peak)), np.minimum(peak + near, trace.run_stop(peak))
    )


def feet(trace: Trace, peak: I64) -> tuple[I64, I64]:
    """Return the foot and the steepest point before each peak."""
    x = trace.x
    slope = trace.slope(x)
    before = np.concatenate(([-1], peak[:-1]))
    low = np.maximum(np.maximum(peak - trace.samples(LONGEST_RISE_S), trace.run_start(peak)), before + 1)
    steepest = span_argmax(slope, low, np.maximum(peak, low + 1))
    at = np.arange(x.size)
    falling = np.maximum.accumulate(np.where(slope <= 0, at, -1))[steepest]
    turn = np.maximum(falling, low)
    # Noise on the rise may turn the slope early: the lowest point shortly before counts, if it is lower.
    foot = span_argmax(-x, np.maximum(turn - trace.samples(0.08), low), np.maximum(steepest, turn + 1))
    return foot, steepest
