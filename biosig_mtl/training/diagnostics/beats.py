"""From time to phase: where in the pulse a time step lies, so that masks of many beats can be laid over each other.

Phase 0 is the steepest part of a systolic upstroke, phase 1 that of the next; in between, phase is linear in time. Beats are
found in the stored waveform itself, with no help from the beats of the preparation, which a store does not keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64, Bool

BINS = 32
REACH_S = 0.2  # an upstroke is the steepest place within this time on either side
STEEP = 0.5  # share of the window's steep end (98 % quantile) that an upstroke must have: a dicrotic wave has about a third
SHORTEST_S, LONGEST_S = 0.3, 2.0  # beats of 30 to 200 per minute
SHIFTS = 199
FEWEST_PEOPLE = 8  # below this many a p-value over people says nothing


@dataclass(frozen=True)
class Curve:
    """Something by phase, of S people. ``mean`` (bins,) and ``sd`` (bins,) are over people, each weighing the same.

    Each person's own level is taken away before ``sd``: it is how much people differ in shape. ``modulation`` is the standard
    deviation of ``mean`` over phase; ``p`` is the share of `SHIFTS` draws in which curves of people that are turned against
    each other at random have as much: small where people share a shape. NaN below `FEWEST_PEOPLE`.
    """

    mean: F64
    sd: F64
    modulation: float
    p: float


def upstrokes(slope: NDArray[np.floating], fs: float) -> Bool:
    """Return where the upstrokes of the pulse are in slopes (n, L): highest within `REACH_S`, and steep for the window."""
    from scipy.ndimage import maximum_filter1d

    reach = 2 * max(1, round(REACH_S * fs)) + 1
    steep = STEEP * np.quantile(slope, 0.98, axis=1, keepdims=True)
    found = (slope == maximum_filter1d(slope, reach, axis=1, mode="nearest")) & (slope > steep) & (steep > 0)
    # Neither the ends of a window, which may be the flank of an upstroke, nor the later part of a plateau.
    found[:, 1:] &= slope[:, 1:] > slope[:, :-1]
    found[:, [0, -1]] = False
    return np.asarray(found)


def phases(marks: Bool, fs: float) -> F64:
    """Return the phase of every sample (n, L) between upstrokes; NaN where there is none on either side or a beat is odd."""
    n, length = marks.shape
    place = np.arange(length)
    last = np.maximum.accumulate(np.where(marks, place, -1), axis=1)
    coming = np.minimum.accumulate(np.where(marks, place, length)[:, ::-1], axis=1)[:, ::-1]
    after = np.concatenate([coming[:, 1:], np.full((n, 1), length)], axis=1)
    beat = after - last
    known = (last >= 0) & (after < length) & (beat >= SHORTEST_S * fs) & (beat <= LONGEST_S * fs)
    return np.where(known, (place - last) / np.maximum(beat, 1), np.nan)


def at_tokens(phase: F64, tokens: int) -> F64:
    """Return the phase in the middle of each of N tokens that share the window among them, (n, N), of phases (n, L)."""
    length = phase.shape[1]
    middle = ((np.arange(tokens) + 0.5) * length / tokens).astype(int)
    return np.asarray(phase[:, np.minimum(middle, length - 1)])


def curve(values: NDArray[np.floating], phase: F64, code: I64) -> Curve | None:
    """Return values (n, M) by phase (n, M), of people ``code`` (n,); None where no phase is known."""
    known = np.isfinite(phase) & np.isfinite(values)
    if not known.any():
        return None
    where = np.minimum((phase[known] * BINS).astype(int), BINS - 1)
    person = np.broadcast_to(code[:, None], phase.shape)[known]
    people = int(code.max()) + 1
    given = np.asarray(values[known], np.float64)
    own = np.bincount(person, given, people) / np.maximum(np.bincount(person, minlength=people), 1)
    cell = person * BINS + where
    count = np.bincount(cell, minlength=people * BINS).reshape(people, BINS)
    total = np.bincount(cell, given - own[person], people * BINS).reshape(people, BINS)
    return _over_people(np.asarray(total), np.asarray(count, np.int64), float(own[np.unique(person)].mean()))


def _over_people(total: F64, count: I64, level: float) -> Curve:
    here = count.any(axis=1)
    each, there = total[here] / np.maximum(count[here], 1), count[here] > 0
    n = there.sum(axis=0)
    mean = _mean(each, there)
    square = np.where(there, (each - mean) ** 2, 0.0).sum(axis=0)
    sd = np.where(n > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan)
    modulation = float(np.nanstd(mean))
    return Curve(level + mean, sd, modulation, _p(each, there, modulation))


def _mean(each: F64, there: Bool) -> F64:
    n = there.sum(axis=-2)
    return np.where(n > 0, np.where(there, each, 0.0).sum(axis=-2) / np.maximum(n, 1), np.nan)


def _p(each: F64, there: Bool, modulation: float) -> float:
    people = len(each)
    if people < FEWEST_PEOPLE:
        return float("nan")
    turn = np.random.default_rng(0).integers(0, BINS, (SHIFTS, people, 1))
    place = (np.arange(BINS) + turn) % BINS
    person = np.arange(people)[:, None]
    drawn = np.nanstd(_mean(each[person, place], there[person, place]), axis=-1)
    return float((1 + (drawn >= modulation * (1 - 1e-9)).sum()) / (1 + SHIFTS))
