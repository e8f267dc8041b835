"""What calibration is worth: errors of calibrated answers, and their gain over holding the value that calibration gave.

Whoever writes down a person's reading and repeats it is hard to beat, and a method that does not beat it has told nothing of
the signal. So every figure here stands beside that of holding, on the same windows, and the difference has an interval over
people. A gain below 0 is a smaller error.

An extreme reading tends to come back, and a method that has learned this gains over holding without a look at the signal. Where
`SHRUNK` is among the answers, the gain over it is told, too: that is what the signal gave.

What is drawn in the bootstrap is the subject, which may be a group of people that the data set could not tell apart; people are
what is averaged. So an interval is never narrower than a merger of people allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from biosig_mtl.evaluation import intervals, metrics
from biosig_mtl.evaluation.intervals import Paired
from biosig_mtl.types import F64, I64, Bool

HOLD_MEAN, HOLD_LAST = "hold_mean", "hold_last"
HOLDS = (HOLD_MEAN, HOLD_LAST)
# The readings, drawn to the median of other people: what can be had without a signal.
SHRUNK = "hold_shrunk"
POOLED, PEOPLE = "pooled", "people"
OTHER_STAY = "other stay"
# Inner edges of the time since calibration and of the size of the change, in seconds and mmHg.
SINCE_S = (15.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
CHANGE = (5.0, 10.0, 15.0, 20.0)


@dataclass(frozen=True, eq=False)
class Asked:
    """Answers to the same queries (n,), one target, one K.

    Parameters
    ----------
    person, subject
        Numbers of the person and of the group that is drawn in the bootstrap.
    truth
        What the reference read.
    level
        The mean of the person's anchors: what has changed is told from here.
    since_s
        Seconds since calibration; infinite in another stay, where nobody knows.
    told
        Answers by name of the method; always `HOLD_MEAN` and `HOLD_LAST`.
    """

    person: I64
    subject: I64
    truth: F64
    level: F64
    since_s: F64
    told: Mapping[str, F64]

    def __post_init__(self) -> None:
        """Refuse columns of unlike length, and answers without the one to beat."""
        if set(HOLDS) - set(self.told):
            raise ValueError(f"need answers of {' and '.join(HOLDS)}, got {', '.join(self.told) or 'none'}")
        columns = (self.person, self.subject, self.level, self.since_s, *self.told.values())
        if any(column.shape != self.truth.shape for column in columns):
            raise ValueError(f"need {self.truth.size} rows everywhere, got {sorted({c.size for c in columns})}")

    def __len__(self) -> int:
        """Return the number of queries."""
        return self.truth.size

    def only(self, rows: Bool) -> Asked:
        """Return some of the queries."""
        named = {key: getattr(self, key)[rows] for key in ("person", "subject", "truth", "level", "since_s")}
        return replace(self, **named, told={name: each[rows] for name, each in self.told.items()})

    def error(self, name: str) -> F64:
        """Return the absolute error (n,) of a method."""
        return np.asarray(np.abs(self.told[name] - self.truth))

    def weight(self, how: str) -> F64:
        """Return what each query weighs: alike (`POOLED`), or so that every person does (`PEOPLE`)."""
        if how == POOLED:
            return np.ones(len(self))
        _, code, many = np.unique(self.person, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / many[code])


def draws(asked: Asked, seed: int = 0) -> I64:
    """Return how often each subject number is drawn (repeat, subject); numbers without a query are never drawn."""
    present = np.unique(asked.subject)
    counts = intervals.draw(present.size, np.random.default_rng(seed))
    spread = np.zeros((len(counts), int(present.max(initial=-1)) + 1), np.int64)
    spread[:, present] = counts
    return spread


def mean_with_samples(values: F64, weight: F64, subject: I64, counts: I64) -> tuple[float, F64]:
    """Return the weighted mean of values (n,), and that of every bootstrap sample (repeat,) from `draws`.

    Both sums of a subject are drawn together, so a subject with many windows is drawn with all of them.
    """
    known = np.isfinite(values)
    size = counts.shape[1]
    top = np.bincount(subject[known], (weight * values)[known], minlength=size)
    bottom = np.bincount(subject[known], weight[known], minlength=size)
    if not bottom.sum():
        return float("nan"), np.full(len(counts), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        samples = (counts @ top) / (counts @ bottom)
    return float(top.sum() / bottom.sum()), np.asarray(samples)


def gain(asked: Asked, name: str, over: str, how: str, counts: I64) -> Paired:
    """Return the error of a method less that of another on the same queries; below 0 the first is the better one."""
    difference = asked.error(name) - asked.error(over)
    value, samples = mean_with_samples(difference, asked.weight(how), asked.subject, counts)
    enough = np.unique(asked.subject).size >= intervals.FEWEST
    return intervals.compared(value, samples if enough else np.empty(0))


def plain_gain(found: Paired) -> dict[str, Any]:
    """Return a gain as ``calibration.json`` holds it."""
    return {
        "difference": found.difference, "ci95": list(found.ci95), "probability_better": found.probability_better,
        "verdict": found.verdict,
    }  # fmt: skip


def figures(asked: Asked, name: str, counts: I64) -> dict[str, Any]:
    """Return the errors of a method, over windows and as the mean over people, with its gains over both ways of holding."""
    told: dict[str, Any] = {}
    people = np.unique(asked.subject).size
    per = metrics.per_subject(asked.truth, asked.told[name], asked.person.astype(str))
    plain = {POOLED: metrics.pooled(asked.truth, asked.told[name]), PEOPLE: metrics.over_subjects(per)}
    for how in (POOLED, PEOPLE):
        _, samples = mean_with_samples(asked.error(name), asked.weight(how), asked.subject, counts)
        told[how] = {
            **{key: plain[how][key] for key in ("mae", "me", "sd", "rmse", "cp5", "cp10", "cp15")},
            "mae_ci95": list(intervals.samples_ci95(samples, people)),
            "gain": {over: plain_gain(gain(asked, name, over, how, counts)) for over in (*HOLDS, SHRUNK) if over in asked.told},
        }
    return told


def best_hold(asked: Asked, how: str) -> str:
    """Return the way of holding that errs less over these windows, or over these people: the one to beat.

    It is chosen by the tested windows, which can only make the comparison harder.
    """
    weight = asked.weight(how)
    return min(HOLDS, key=lambda name: float(asked.error(name) @ weight))


def by_since(asked: Asked, names: Sequence[str], counts: I64) -> list[dict[str, Any]]:
    """Return errors and gains by time since calibration, a row a bin that has queries; another stay is a bin of its own."""
    edges = (0.0, *SINCE_S, np.inf)
    place = np.where(np.isinf(asked.since_s), len(edges), np.digitize(asked.since_s, SINCE_S))
    labels = {i: _span(low, high) for i, (low, high) in enumerate(pairwise(edges))} | {len(edges): OTHER_STAY}
    return _by(asked, place, labels, names, counts)


def by_change(asked: Asked, names: Sequence[str], counts: I64) -> list[dict[str, Any]]:
    """Return errors and gains by how far the reference has moved from the anchors, a row a bin that has queries.

    It is read with care: the bins are made by the truth, so holding errs little in the first and much in the last whatever the
    signal, and a method must lose something in the first to gain in the last.
    """
    place = np.digitize(np.abs(asked.truth - asked.level), CHANGE)
    edges = (0.0, *CHANGE, np.inf)
    labels = {
        i: f"{low:g}–{high:g}" if np.isfinite(high) else f"{low:g} and more" for i, (low, high) in enumerate(pairwise(edges))
    }
    return _by(asked, place, labels, names, counts)


def _by(asked: Asked, place: I64, labels: Mapping[int, str], names: Sequence[str], counts: I64) -> list[dict[str, Any]]:
    rows = []
    for number, label in labels.items():
        own = place == number
        if own.any():
            part = asked.only(own)
            # The better way to hold in this very bin: a gain over the worse one would be none.
            over = best_hold(part, POOLED)
            rows.append({
                "bin": label, "n_windows": len(part), "n_people": int(np.unique(part.person).size),
                "best_hold": over, "hold": float(part.error(over).mean()), "change": float(np.mean(part.truth - part.level)),
                "methods": {
                    name: {"mae": float(part.error(name).mean()), "gain": plain_gain(gain(part, name, over, POOLED, counts))}
                    for name in names
                },
            })  # fmt: skip
    return rows


def _span(low: float, high: float) -> str:
    """Write a stretch of time for people.

    >>> _span(0.0, 15.0), _span(300.0, 600.0), _span(86400.0, float("inf"))
    ('0–15 s', '5–10 min', 'more than 24 h')
    """
    ends = low if np.isinf(high) else high
    size, unit = (1.0, "s") if ends < 120 else (60.0, "min") if ends < 7200 else (3600.0, "h")
    return f"more than {low / size:g} {unit}" if np.isinf(high) else f"{low / size:g}–{high / size:g} {unit}"
