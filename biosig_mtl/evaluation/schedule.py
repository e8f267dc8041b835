"""How often one must recalibrate: the error of a plan that takes a new reading at equal intervals.

Under a plan that takes a reading every T, estimates are as old as 0 to T, all ages alike. So the error of the plan is the mean
over ages up to T of the error at that age, and the error at an age is measured on all pairs of a reading and a later window:
every window is tried as the moment of calibration, not one choice of moments alone. The longest T that keeps a limit is the
answer, drawn over subjects for its interval. Where recordings are too short to have pairs of an age, nothing is told of it:
neither is the error extrapolated nor is a recording of minutes asked about hours.

Deviation from a plan in use: people whose recordings are short tell of short ages only, so the ages are not all of the same
people; the number of people of each age is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biosig_mtl.evaluation import intervals
from biosig_mtl.types import F64, I64

EVERY_S = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0)
EVERY_WINDOWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
FEWEST_PEOPLE = 20
MEAN_LIMIT = 8.0  # mmHg
WITHIN, SHARE_LIMIT = 10.0, 0.85


@dataclass(frozen=True, eq=False)
class Pairs:
    """Errors of answers to windows (n,) after one reading each: whose they are, how old the reading was, what was wrong."""

    person: I64
    subject: I64
    age: F64
    error: F64

    def __post_init__(self) -> None:
        """Refuse columns of unlike length."""
        if len({self.person.size, self.subject.size, self.age.size, self.error.size}) != 1:
            raise ValueError(f"need as many persons, subjects, ages and errors, got {self.person.size} and others")


def plan(pairs: Pairs, every: Sequence[float], counts: I64, fewest: int = FEWEST_PEOPLE) -> dict[str, Any]:
    """Return the errors of plans, and how often one must recalibrate.

    Parameters
    ----------
    pairs
        Ages of 0 are left out: a reading is not an answer to itself.
    every
        Intervals T to try, rising; each is also the upper edge of a bin of ages.
    counts
        How often each subject number is drawn, shape (repeat, subject), from `held.draws`.
    fewest
        People without whom nothing is told of an age.

    Returns
    -------
    dict
        ``intervals``: a row for every T as far as it can be told: ``every``, ``mae`` and ``within_10`` with ``…_ci95``, and
        ``n_people`` of its oldest ages. ``longest`` is the last T that can be told, None if there is none. ``mean`` and
        ``share`` are the answers for `MEAN_LIMIT` and `SHARE_LIMIT`: ``every`` (0 = not even the shortest, None = cannot be
        told), its ``ci95`` over subjects, and ``at_least`` where the longest T that can be told still keeps the limit.
    """
    edges = np.concatenate([[0.0], np.asarray(every, dtype=np.float64)])
    if (np.diff(edges) <= 0).any():
        raise ValueError(f"need intervals that rise from above 0, got {', '.join(map(str, every))}")
    size, close, people = _by_age(pairs, edges, counts)
    told = int(np.logical_and.accumulate(people >= fewest).sum())
    width = np.diff(edges)[:told]
    mae, share = ((np.cumsum(each[:, :told] * width, axis=1) / edges[1 : told + 1]) for each in (size, close))
    rows = []
    for i in range(told):
        ends = [list(intervals.samples_ci95(each[1:, i], int(people[i]))) for each in (mae, share)]
        rows.append({
            "every": float(edges[i + 1]), "mae": float(mae[0, i]), "mae_ci95": ends[0], "within_10": float(share[0, i]),
            "within_10_ci95": ends[1], "n_people": int(people[i]),
        })  # fmt: skip
    return {
        "intervals": rows, "longest": rows[-1]["every"] if rows else None,
        "mean": _answer(mae <= MEAN_LIMIT, edges[: told + 1]), "share": _answer(share >= SHARE_LIMIT, edges[: told + 1]),
    }  # fmt: skip


def _by_age(pairs: Pairs, edges: F64, counts: I64) -> tuple[F64, F64, I64]:
    """Return the mean |error| and the share within limits (1 + repeat, bin), people alike, and the number of people (bin,).

    The first row is that of all subjects, the others are bootstrap samples.
    """
    # An age that is an edge belongs to the plan of that interval.
    place = np.digitize(pairs.age, edges, right=True) - 1
    known = (place >= 0) & (place < edges.size - 1) & np.isfinite(pairs.error)
    bins = edges.size - 1
    person = np.unique(pairs.person, return_inverse=True)[1]
    cell = person[known] * bins + place[known]
    _, first, code, many = np.unique(cell, return_index=True, return_inverse=True, return_counts=True)
    error = pairs.error[known]
    means = [np.bincount(code, each, minlength=first.size) / many for each in (error, (error <= WITHIN).astype(float))]
    subject, where = pairs.subject[known][first], place[known][first]
    drawn = np.vstack([np.ones(counts.shape[1], np.int64), counts])
    sums = np.zeros((3, counts.shape[1], bins))
    for row, values in zip(sums, (*means, np.ones(first.size)), strict=True):
        np.add.at(row, (subject, where), values)
    size, close, weight = (drawn @ each for each in sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        return size / weight, close / weight, np.bincount(where, minlength=bins)


def _answer(kept: Any, edges: F64) -> dict[str, Any]:
    """Return the longest interval up to which a limit is kept throughout, from (1 + repeat, interval) bool."""
    if edges.size < 2:
        return {"every": None, "ci95": [None, None], "at_least": False}
    upto = np.cumprod(kept, axis=1).sum(axis=1)
    longest = edges[upto]
    low, high = np.percentile(longest[1:], [2.5, 97.5], method="nearest")
    return {"every": float(longest[0]), "ci95": [float(low), float(high)], "at_least": bool(upto[0] == edges.size - 1)}


def in_words(told: Mapping[str, Any], criterion: str, unit: str) -> str:
    """Write an answer of `plan` (``mean`` or ``share``) for people; ``unit`` is ``s`` or ``windows``."""
    answer = told[criterion]
    if answer["every"] is None:
        return "cannot be told: too few people have windows far enough apart"
    low, high = (_written(end, unit) for end in answer["ci95"])
    if answer["every"] == 0:
        best = "" if answer["ci95"][1] == 0 else f" (95 % interval: never to every {high})"
        return f"not even a reading every {_written(told['intervals'][0]['every'], unit)} is enough{best}"
    every = f"every {_written(answer['every'], unit)}"
    if answer["at_least"]:
        least = "" if answer["ci95"][0] == answer["every"] else f" (95 % interval from {low})"
        return f"{every} is enough{least}, and these recordings tell of no longer one"
    return f"{every} (95 % interval {low} to {high})"


def _written(value: float, unit: str) -> str:
    """Write an interval.

    >>> _written(90.0, "s"), _written(7200.0, "s"), _written(1.0, "windows"), _written(0.0, "s")
    ('90 s', '2 h', '1 window', 'never')
    """
    if value == 0:
        return "never"
    if unit != "s":
        return f"{value:g} window" + ("" if value == 1 else "s")
    size, word = (1.0, "s") if value < 120 else (60.0, "min") if value < 7200 else (3600.0, "h")
    return f"{value / size:g} {word}"
