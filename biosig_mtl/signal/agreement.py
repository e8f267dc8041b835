"""How far a beat agrees with its neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.trace import Trace
from biosig_mtl.types import F32, I64, Bool

POINTS = 64
NEIGHBOURS = 8
NEAR_S = 10.0
# Two rounds, each over neighbours that need their own end.
REACH_S = 2 * NEAR_S + 3.0
# An ECG beat is compared from here to here around its R peak; a pulse from onset to onset, stretched to the same length.
QRS_S = (-0.2, 0.4)
# A typical beat stands in for neighbours as long as there are fewer than so many.
ENOUGH = 2
# Correlation that counts as no agreement at all.
WORST = 0.5


def agreement(seen: Trace, kind: str, onset: I64, peak: I64, end: I64) -> F32:
    """Return the agreement of every beat with the beats near by, in [0, 1], shape (beat,).

    The correlation r of a beat with the mean of up to eight neighbours on either side within 10 s, in two rounds: in the second
    a neighbour counts by the square of its own r of the first, which does what a median does at a tenth of the cost. Then
    (r − 0.5) / 0.5, not below 0. A pulse whose end is unknown cannot be compared and gets 0. With fewer than two neighbours a
    typical beat stands in.
    """
    complete = (end >= 0) if kind != "ecg" else np.ones(onset.size, bool)
    out = np.zeros(onset.size, np.float32)
    if not complete.any():
        return out
    onset, peak, end = onset[complete], peak[complete], end[complete]
    beats = _shapes(seen, kind, onset, peak, end)
    pairs = _near(peak, seen.samples(NEAR_S))
    typical = _typical(kind)
    if kind == "ecg":
        typical = typical * np.where((beats @ typical).mean() < 0, np.float32(-1), np.float32(1))
    r = _against(beats, np.ones(beats.shape[0], np.float32), pairs, typical)
    r = _against(beats, np.maximum(r, 0) ** 2, pairs, typical)
    out[complete] = np.clip((r - WORST) / (1 - WORST), 0, 1)
    return out


def _shapes(seen: Trace, kind: str, onset: I64, peak: I64, end: I64) -> F32:
    """Return beats on a common grid with mean zero and length one, shape (beat, point)."""
    if kind == "ecg":
        begin = (peak + QRS_S[0] * seen.fs)[:, None]
        span = np.full((peak.size, 1), (QRS_S[1] - QRS_S[0]) * seen.fs)
    else:
        begin, span = onset.astype(np.float64)[:, None], (end - onset)[:, None]
    at = np.clip(begin + span * (np.arange(POINTS) / POINTS), 0, seen.x.size - 1.001)
    whole = at.astype(np.int64)
    part = at - whole
    shapes = seen.x[whole] * (1 - part) + seen.x[whole + 1] * part
    return _unit(shapes - shapes.mean(axis=1, keepdims=True))


def _unit(shapes: NDArray[np.floating]) -> F32:
    length = np.sqrt((shapes**2).sum(axis=1, keepdims=True))
    return np.asarray(shapes / np.where(length > 0, length, 1), np.float32)


def _near(peak: I64, reach: int) -> list[Bool]:
    """Return for every distance 1 … 8 which beats have the later neighbour that far down the list near enough."""
    return [np.abs(peak[k:] - peak[:-k]) <= reach for k in range(1, NEIGHBOURS + 1)]


def _against(beats: F32, weight: F32, pairs: list[Bool], typical: F32) -> F32:
    """Return the correlation of every beat with the weighted mean of its neighbours."""
    weighted = beats * weight[:, None]
    mean = np.zeros_like(beats)
    count = np.zeros(beats.shape[0], np.float32)
    for k, near in enumerate(pairs, start=1):
        if near.any():
            mean[:-k] += np.where(near[:, None], weighted[k:], 0)
            mean[k:] += np.where(near[:, None], weighted[:-k], 0)
            count[:-k] += near
            count[k:] += near
    mean += np.maximum(ENOUGH - count, 0)[:, None] * typical
    return np.asarray((beats * _unit(mean)).sum(axis=1), np.float32)


def _typical(kind: str) -> F32:
    """Return a textbook beat on the common grid."""
    at = np.arange(POINTS) / POINTS
    if kind == "ecg":
        at = QRS_S[0] + at * (QRS_S[1] - QRS_S[0])
        shape = np.exp(-((at / 0.025) ** 2)) + 0.2 * np.exp(-(((at - 0.28) / 0.06) ** 2))
    else:
        shape = np.exp(-(((at - 0.24) / 0.12) ** 2)) + 0.45 * np.exp(-(((at - 0.5) / 0.16) ** 2))
    unit: F32 = _unit((shape - shape.mean())[None])[0]
    return unit
