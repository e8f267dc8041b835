"""What SIMULATED people see and feel: clips of four moods, and the course of valence and arousal through a session.

Nothing here is measured. Numbers are rounded by hand: clips lie in all four quadrants, everybody reacts a little differently,
and ratings follow what is felt with the noise and the habits of raters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from biosig_mtl.types import F64, I64

COURSE_HZ = 8.0
LEAD_S = 10.0
GAP_S = 4.0
# A mood comes up within seconds of a clip's start, and goes when it ends.
RISE_S, FALL_S = 4.0, 3.0


@dataclass(frozen=True, slots=True)
class Trials:
    """The clips of one session in the order in which they were shown; all arrays have shape (trial,).

    ``start_s`` and ``stop_s`` bound the clip from the start of the session; the rest before it is not in it. ``valence`` and
    ``arousal`` are what is felt, in [−1, 1]; the ratings run from 1 to 9.
    """

    stimulus: I64
    start_s: F64
    stop_s: F64
    valence: F64
    arousal: F64
    valence_rating: F64
    arousal_rating: F64

    @property
    def length_s(self) -> float:
        """Length of the session, whole seconds."""
        return float(np.ceil(self.stop_s[-1] + GAP_S))


@dataclass(frozen=True, slots=True)
class Course:
    """Valence and arousal through a session at `COURSE_HZ`, and the trial of every instant (the next one between two clips).

    All arrays have shape (time,). Both are 0 in rest.
    """

    t_s: F64
    valence: F64
    arousal: F64
    trial: I64


def moods(rng: Generator, count: int) -> tuple[F64, F64]:
    """Return valence and arousal of the clips, in [−1, 1], each quadrant in turn."""
    sign = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])[np.arange(count) % 4]
    return sign[:, 0] * rng.uniform(0.35, 0.9, count), sign[:, 1] * rng.uniform(0.35, 0.9, count)


def trials(rng: Generator, clips: tuple[F64, F64], rest_s: float, clip_s: float) -> Trials:
    """Return the session of one person: all clips in an order of their own, felt and rated in their own way.

    A feeling is the mood of the clip and a reaction of the person's own (SD 0.35): what others felt is no safe guess. A rating
    is 5 + 4 · habit · feeling + bias + noise, within 1 to 9: habits from 0.75 to 1.1, a bias of SD 0.3, noise of SD 0.6 points.
    """
    order = rng.permutation(clips[0].size)
    start: F64 = LEAD_S + rest_s + np.arange(order.size, dtype=np.float64) * (rest_s + clip_s + GAP_S)
    felt = [np.clip(mood[order] + rng.normal(0, 0.35, order.size), -1, 1) for mood in clips]
    rated: list[F64] = []
    for feeling in felt:
        habit, bias = rng.uniform(0.75, 1.1), rng.normal(0, 0.3)
        rating = 5 + 4 * habit * feeling + bias + rng.normal(0, 0.6, order.size)
        rated.append(np.asarray(np.round(np.clip(rating, 1, 9), 2), dtype=np.float64))
    return Trials(order, start, start + clip_s, felt[0], felt[1], rated[0], rated[1])


def course(session: Trials) -> Course:
    """Return how valence and arousal come and go through a session."""
    t_s = np.arange(int(session.length_s * COURSE_HZ)) / COURSE_HZ
    shown = t_s[:, None] - session.start_s
    over = np.maximum(t_s[:, None] - session.stop_s, 0)
    level = (1 - np.exp(-np.maximum(shown - over, 0) / RISE_S)) * np.exp(-over / FALL_S)
    trial = np.minimum(np.searchsorted(session.stop_s, t_s, side="right"), session.stop_s.size - 1)
    return Course(t_s, (level * session.valence).sum(axis=1), (level * session.arousal).sum(axis=1), trial)


def slow(rng: Generator, t_s: F64, periods_s: tuple[float, float]) -> F64:
    """Return a slow random course of about unit variance: four sines with periods between the two bounds."""
    shortest, longest = periods_s
    period = shortest * (longest / shortest) ** rng.uniform(0, 1, 4)
    weight, phase = rng.normal(0, 1, 4), rng.uniform(0, 2 * np.pi, 4)
    return np.asarray(np.sin(2 * np.pi * t_s[:, None] / period + phase) @ weight / np.sqrt(2))
