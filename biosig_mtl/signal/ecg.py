"""R peaks of an electrocardiogram: energy of the slope against what is usual near by."""

from __future__ import annotations

import numpy as np

from biosig_mtl.signal.runs import span_argmax
from biosig_mtl.signal.trace import Trace, moving_mean
from biosig_mtl.types import F64, I64, Bool

SLOPE_S = 0.016
ENERGY_S = 0.1
REFRACTORY_S = 0.2
SMALLEST = 0.4
APEX_S = 0.09
BASELINE_S = 0.4
# The sign of the apex is decided together over so long on either side; R and S of equal size count as R.
POLARITY_S = 10.0
UPWARD = 1.3
REACH_S = POLARITY_S + 1.0


def ecg_beats(trace: Trace) -> tuple[I64, I64, Bool]:
    """Return R peaks twice (a beat starts at its R peak) and which are beats (all).

    The square root of the slope's energy over 0.1 s, its maxima within ±0.2 s, a threshold of 0.4 of the usual maximum near by
    (`Trace.level`), and the apex of whichever sign most QRS near by have.
    """
    x = trace.x
    slope = trace.slope(moving_mean(x, trace.samples(0.02)), trace.samples(SLOPE_S))
    energy = np.sqrt(np.maximum(moving_mean(slope**2, trace.samples(ENERGY_S)), 0))
    found = trace.crest(energy, REFRACTORY_S)
    found = found[(energy[found] >= SMALLEST * trace.level_at(energy, found)) & (energy[found] > 0) & trace.finite[found]]
    apex = _apex(trace, found)
    apex = np.unique(apex[(apex > trace.run_start(apex)) & (apex < trace.run_stop(apex) - 1)])
    return apex, apex, np.ones(apex.size, bool)


def _apex(trace: Trace, at: I64) -> I64:
    if not at.size:
        return at
    x = trace.x - moving_mean(trace.x, trace.samples(BASELINE_S))
    half = trace.samples(APEX_S)
    low, high = np.maximum(at - half, trace.run_start(at)), np.minimum(at + half + 1, trace.run_stop(at))
    up, down = span_argmax(x, low, high), span_argmax(-x, low, high)
    return np.where(_mostly_up(trace, at, x[up], -x[down]), up, down)


def _mostly_up(trace: Trace, at: I64, up: F64, down: F64) -> Bool:
    """Return whether the QRS near each position point up rather than down; in doubt, up."""
    near = trace.samples(POLARITY_S)
    lean = (up * UPWARD - down) / np.maximum(up + down, np.finfo(np.float64).tiny)
    votes = np.concatenate(([0], np.cumsum(np.rint(lean * 1e6).astype(np.int64))))
    return votes[np.searchsorted(at, at + near, side="right")] - votes[np.searchsorted(at, at - near)] >= 0
