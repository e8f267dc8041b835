"""What the times of beats say of them: normal, premature, false or followed by a missing one."""

from __future__ import annotations

import numpy as np

from biosig_mtl.signal.choice import usual_interval
from biosig_mtl.types import I8, I64, Bool

NORMAL, ECTOPIC, DOUBTFUL, LONG = range(4)
REACH_S = 16.0
# An interval so much shorter than the usual one ends in a premature beat, if a longer one or a return to the rhythm follows.
EARLY, PAUSE = 0.82, 1.08
# Two intervals that fill one usual interval: the beat between them is false. One that fills two or more: beats are missing.
TOGETHER, MISSING = (0.8, 1.2), 1.65


def marks(peak: I64, follows: Bool, fs: float) -> I8:
    """Return the mark of every beat, a place in `biosig_mtl.types.MARKS`, shape (beat,).

    With the usual interval u near by (median of up to eleven within 12 s), and the intervals a before and b after a beat:
    *ectopic* where a < 0.82 u and b > 1.08 u, or b > a + 0.15 u and a + b > 1.2 u (an interpolated or supraventricular beat);
    *doubtful* where a + b lies within 20 % of u (one beat too many) or a < 0.35 u; *long* where b > 1.65 u without a
    premature beat before it. ``follows`` says that the next beat is known.

    The classes are those of Lipponen & Tarvainen (J. Med. Eng. Technol. 2019;43:173); the thresholds are ours, so that a beat
    depends on some seconds around it and not on the whole recording.
    """
    out = np.zeros(peak.size, np.int8)
    if peak.size < 3:
        return out
    usual = usual_interval(peak, np.ones(peak.size), fs)
    after = np.where(follows[:-1], np.diff(peak) / fs, np.nan)
    before, after = np.append(np.nan, after), np.append(after, np.nan)
    with np.errstate(invalid="ignore"):
        early = before < EARLY * usual
        pause = (after > PAUSE * usual) | ((after > before + 0.15 * usual) & (before + after > TOGETHER[1] * usual))
        both = before + after
        extra = early & (both >= TOGETHER[0] * usual) & (both <= TOGETHER[1] * usual)
        out[after > MISSING * usual] = LONG
        out[early & pause] = ECTOPIC
        out[extra | (before < 0.35 * usual)] = DOUBTFUL
    return out
