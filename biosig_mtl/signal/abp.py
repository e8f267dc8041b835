"""Beats of an arterial pressure curve: foot (diastole) and systolic peak, as samples of the curve itself in mmHg."""

from __future__ import annotations

import numpy as np

from biosig_mtl.signal.runs import span_argmax
from biosig_mtl.signal.trace import Trace, moving_mean
from biosig_mtl.types import I64, Bool

# Zong 2003: window of the slope sum.
SUM_S = 0.128
REFRACTORY_S = 0.22
SMALLEST = 0.4
SMALLEST_PULSE = 0.3
# Where the unit is mmHg: the noise of a line that is closed or open to the air.
SMALLEST_PULSE_MMHG = 3.0
FOOT_S, PEAK_S = 0.25, 0.4
REACH_S = 2.0


def abp_beats(trace: Trace) -> tuple[I64, I64, Bool]:
    """Return feet, systolic peaks and which are beats; what is not a beat has a foot only (a rise cut off by the end of a run).

    Zong W, Heldt T, Moody GB, Mark RG. An open-source algorithm to detect onset of arterial blood pressure pulses. Computers in
    Cardiology 2003;30:259: the sum of rises over 0.128 s. Deviations: a threshold from what is usual on both sides in place of
    one that follows the past, and the foot as the lowest, the peak as the highest point around the rise, so that both are
    pressures that were recorded.
    """
    x = trace.x
    # Extremes are looked for in the mean of three samples: else a label is the extreme of the noise (0.9 mmHg for 1).
    soft = moving_mean(x, 3)
    rises = np.maximum(trace.slope(soft), 0)
    total = moving_mean(rises, trace.samples(SUM_S))
    found = trace.crest(total, REFRACTORY_S)
    found = found[(total[found] >= SMALLEST * trace.level_at(total, found)) & (total[found] > 0) & trace.finite[found]]
    if not found.size:
        return found, found, np.ones(0, bool)
    half = trace.samples(SUM_S / 2)
    low = np.maximum(found - trace.samples(FOOT_S), trace.run_start(found))
    foot = span_argmax(-soft, low, np.minimum(found + half, trace.run_stop(found)))
    after = np.append(foot[1:], x.size)
    high = np.minimum(np.minimum(found + trace.samples(PEAK_S), trace.run_stop(found)), np.maximum(after, found + 1))
    peak = span_argmax(soft, foot, high)
    pulse = x[peak] - x[foot]
    envelope = np.zeros(x.size)
    envelope[peak] = pulse
    floor = SMALLEST_PULSE_MMHG if trace.unit.lower() == "mmhg" else 0.0
    real = (
        (pulse > floor)
        & (pulse >= SMALLEST_PULSE * trace.level_at(envelope, peak))
        & (foot > trace.run_start(foot))
        & (peak > foot)
    )
    return foot[real], peak[real], (peak < trace.run_stop(peak) - 1)[real]
