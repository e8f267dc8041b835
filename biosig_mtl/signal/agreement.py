"""How far a beat agrees with its neighbours."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from biosig_mtl.signal import templates
from biosig_mtl.signal.sliding import rows_around
from biosig_mtl.signal.trace import Trace
from biosig_mtl.types import F32, I8, I64, Bool

POINTS = 32
# Two rounds, each over neighbours that need their own end.
REACH_S = 2 * templates.REACH_S + 3.0
# An ECG beat is compared from here to here around its R peak; a pulse from onset to onset, stretched to the same length.
QRS_S = (0.2, 0.4)
# Correlation that counts as no agreement at all.
WORST = 0.5


def agreement(seen: Trace, kind: str, ends: tuple[I64, I64, I64], polarity: I8) -> F32:
    """Return the agreement of every beat with the beats near by, in [0, 1], shape (beat,).

    The correlation r of a beat with the mean of those within some 12 s (`biosig_mtl.signal.templates`), in two rounds: in the
    second a neighbour counts by the square of its own r of the first, which does what a median does at a tenth of the cost.
    Then (r − 0.5) / 0.5, not below 0. A pulse whose end is unknown cannot be compared and gets 0. With fewer than two
    neighbours a typical beat stands in.

    Parameters
    ----------
    seen
        The channel.
    kind
        ``ppg``, ``ecg`` or ``abp``.
    ends
        Onset, peak and end of the beats in samples, each of shape (beat,).
    polarity
        −1 where a beat points down.
    """
    onset, peak, end = ends
    complete: Bool = (end >= 0) if kind != "ecg" else np.ones(onset.size, bool)
    out = np.zeros(onset.size, np.float32)
    if not complete.any():
        return out
    onset, peak, end, sign = onset[complete], peak[complete], end[complete], polarity[complete].astype(np.float32)
    rows = templates.unit(_electric(seen, peak) if kind == "ecg" else _pulses(seen, onset, end)) * sign[:, None]
    typical = _typical(kind, rows.shape[1], seen.fs)
    block = seen.block(peak, templates.BLOCK_S)
    r = templates.likeness(rows, np.ones(rows.shape[0], np.float32), block, typical)
    r = templates.likeness(rows, np.maximum(r, 0) ** 2, block, typical)
    out[complete] = np.clip((r - WORST) / (1 - WORST), 0, 1)
    return out


def _electric(seen: Trace, peak: I64) -> F32:
    before, after = (seen.samples(s) for s in QRS_S)
    return rows_around(seen.values, peak, before, after, _step(seen.fs))


def _step(fs: float) -> int:
    return max(int(fs / 62.5), 1)


def _pulses(seen: Trace, onset: I64, end: I64) -> F32:
    """Return pulses from onset to end on a common grid, shape (beat, point)."""
    share = np.arange(POINTS, dtype=np.float32) / np.float32(POINTS)
    at = (end - onset).astype(np.float32)[:, None] * share
    whole = at.astype(np.int32)
    part = at - whole
    where = whole + onset[:, None].astype(np.int32)
    low = seen.values.take(where, mode="clip")
    return low + part * (seen.values.take(where + 1, mode="clip") - low)


@lru_cache(maxsize=16)
def _typical(kind: str, points: int, fs: float) -> F32:
    """Return a textbook beat on the common grid."""
    if kind == "ecg":
        at = np.arange(points) * _step(fs) / fs - QRS_S[0]
        shape = np.exp(-((at / 0.025) ** 2)) + 0.2 * np.exp(-(((at - 0.28) / 0.06) ** 2))
    else:
        at = np.arange(points) / points
        shape = np.exp(-(((at - 0.24) / 0.12) ** 2)) + 0.45 * np.exp(-(((at - 0.5) / 0.16) ** 2))
    typical: F32 = templates.unit(shape[None])[0]
    return typical
