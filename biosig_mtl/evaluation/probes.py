"""Linear probes: what can be read off an embedding by a straight line, on people that the line was not fitted on.

A probe says what an embedding *tells*, not what a network *uses* (Alain & Bengio, ICLR 2017 workshop; Hewitt & Liang, EMNLP
2019, on how much probes overstate): read it beside the removal test. A split that tells who a person is better than what it is
for has learned people.

Ours: ridge for numbers and, for classes, ridge on class indicators with balanced weights instead of a logistic one. Both are
linear, and the closed form is cheap enough for every fold; of many classes indicators may hide some behind others (Hastie,
Tibshirani & Friedman, The Elements of Statistical Learning, §4.2), so what is told of persons is a lower end in that. Folds
hold out whole people, the penalty is chosen by the other folds; each person weighs the same in R². Who a person is can only be
asked within persons: the windows of each are cut into consecutive thirds, and a probe fitted on two tells the third.
Neighbouring windows may overlap at the cuts, which makes that easier.

Intervals draw people and keep what the folds told. For embeddings of noise (12 to 40 people, 200 draws) their lower end lay
above chance in 0.5 to 5 % (nominal 2.5 %), their upper end below chance in 15 to 44 %: the level of the left-out people pulls
against that of the others. So above chance may be believed, and below chance means no more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation.intervals import draw, samples_ci95
from biosig_mtl.types import F64, I64

FOLDS = 5
THIRDS = 3
FEWEST_PEOPLE = 6
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
REPEATS = 400
TARGET, NUISANCE, PERSON = "target", "nuisance", "person"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read: ``values`` (n,), numbers, or class numbers where ``classes`` is not 0; NaN where unknown.

    ``kind`` is `TARGET`, `NUISANCE` or `PERSON` (values are then the numbers of the people).
    """

    name: str
    kind: str
    values: F64
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe reached: R², or balanced accuracy with the ``chance`` of its classes, and a 95 % interval over people.

    ``skill`` is R², or balanced accuracy scaled so that chance is 0 and all right is 1. Where it could not be asked,
    ``why`` says why, and numbers are NaN.
    """

    name: str
    kind: str
    metric: str
    value: float
    ci95: tuple[float, float]
    chance: float
    windows: int
    people: int
    why: str = ""

    @property
    def skill(self) -> float:
        """The figure on a scale from chance (0) to perfect (1)."""
        return (self.value - self.chance) / (1.0 - self.chance)


def probe(x: NDArray[np.floating], asked: Asked, subject: NDArray[np.str_]) -> Probe:
    """Read ``asked`` off an embedding (n, d) of windows of people ``subject`` (n,)."""
    known = np.flatnonzero(np.isfinite(asked.values))
    if asked.kind == PERSON:
        known = known[_often(asked.values[known], THIRDS)]
    y, people = asked.values[known], subject[known]
    why = _why_not(asked, y, people)
    metric = "balanced_accuracy" if asked.classes else "r2"
    classes = np.unique(y)
    chance = 1 / max(classes.size, 2) if asked.classes else 0.0
    n_people = int(np.unique(people).size)
    if why:
        nan = float("nan")
        return Probe(asked.name, asked.kind, metric, nan, (nan, nan), chance, known.size, n_people, why)
    part = _thirds(y) if asked.kind == PERSON else subject_parts(people)
    _, code = np.unique(people, return_inverse=True)
    given = _standardised(np.asarray(x[known], np.float64))
    if asked.classes:
        value, ci95 = _classes(given, np.searchsorted(classes, y), part, code)
    else:
        value, ci95 = _numbers(given, y, part, code)
    return Probe(asked.name, asked.kind, metric, value, ci95, chance, known.size, n_people)


def subject_parts(subject: NDArray[np.str_]) -> I64:
    """Return a fold for every window, whole people together."""
    people, code = np.unique(subject, return_inverse=True)
    part = np.random.default_rng(0).permutation(people.size) % min(FOLDS, people.size)
    return np.asarray(part[code], dtype=np.int64)


def tells_persons(private: Sequence[Probe], target: str, margin: float = 0.1) -> Probe | None:
    """Return the probe of the person where a private split tells the person better than its target, else None.

    Compared are skills; the person's must be larger by ``margin`` and certainly above chance (lower end of its interval).
    """
    own = next((one for one in private if one.kind == TARGET and one.name == target), None)
    person = next((one for one in private if one.kind == PERSON), None)
    if own is None or person is None or not np.isfinite([own.skill, person.skill]).all():
        return None
    sure = person.ci95[0] > person.chance
    return person if sure and person.skill > max(own.skill, 0.0) + margin else None


def _why_not(asked: Asked, y: F64, people: NDArray[np.str_]) -> str:
    n = np.unique(people).size
    if asked.kind == PERSON:
        return "" if n >= 2 else f"fewer than 2 people have {THIRDS} windows"
    if n < FEWEST_PEOPLE:
        return f"known of {n} people, needs {FEWEST_PEOPLE}"
    if np.ptp(y) == 0:
        return "the same in all windows"
    if asked.classes and min(np.unique(people[y == one]).size for one in np.unique(y)) < 2:
        return "a class that only one person has"
    return ""


def _often(y: F64, least: int) -> NDArray[np.bool_]:
    _, code, count = np.unique(y, return_inverse=True, return_counts=True)
    return np.asarray(count[code] >= least)


def _thirds(y: F64) -> I64:
    """Return which consecutive third of a person's windows each is in; windows are in the order of time."""
    part = np.zeros(y.size, np.int64)
    for one in np.unique(y):
        rows = np.flatnonzero(y == one)
        part[rows] = np.arange(rows.size) * THIRDS // rows.size
    return part


def _standardised(x: F64) -> F64:
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0))


def held_out(x: F64, y: F64, weight: F64, part: I64) -> tuple[F64, F64]:
    """Return for every window what a ridge fitted on the other parts tells of y (n, m), and their mean, both (n, m).

    ``weight`` (n,) weighs windows. The penalty is, part by part, the one that does best where each of the other parts is in
    turn left out as well.
    """
    n, d = x.shape
    wide = np.concatenate([x, np.ones((n, 1))], axis=1)
    parts = np.unique(part)
    # Sums of each part: leaving parts out is then a difference of small matrices.
    gram = np.stack([(wide[part == g] * weight[part == g, None]).T @ wide[part == g] for g in parts])
    cross = np.stack([(wide[part == g] * weight[part == g, None]).T @ y[part == g] for g in parts])
    square = np.array([(weight[part == g, None] * y[part == g] ** 2).sum() for g in parts])
    told, mean = np.empty_like(y), np.empty_like(y)
    total, products = gram.sum(axis=0), cross.sum(axis=0)
    for g, one in enumerate(parts):
        rest, seen = total - gram[g], products - cross[g]
        loss = np.zeros(len(PENALTIES))
        for h in range(len(parts)):
            if h != g and len(parts) > 2:
                slopes = _solve(rest - gram[h], seen - cross[h], d)
                fit = np.einsum("pdm,de,pem->p", slopes, gram[h], slopes)
                loss += fit - 2 * np.einsum("pdm,dm->p", slopes, cross[h]) + square[h]
        best = _solve(rest, seen, d)[int(np.argmin(loss))]
        told[part == one] = wide[part == one] @ best
        mean[part == one] = seen[-1] / rest[-1, -1]
    return told, mean


def _solve(gram: F64, cross: F64, d: int) -> F64:
    """Return slopes (penalty, d + 1, m); the last row, the offset, is not penalised but for a trace against zero division."""
    penalty = np.concatenate([np.ones(d), [1e-9]])
    size = max(float(gram[-1, -1]), 1e-12)
    system = gram + np.array(PENALTIES)[:, None, None] * size * np.diag(penalty)
    return np.asarray(np.linalg.solve(system, np.broadcast_to(cross, (len(PENALTIES), *cross.shape))))


def _numbers(x: F64, y: F64, part: I64, code: I64) -> tuple[float, tuple[float, float]]:
    count = np.bincount(code)
    weight = 1.0 / count[code]
    weight /= weight.mean()
    told, mean = held_out(x, y[:, None], weight, part)
    wrong = np.bincount(code, (y - told[:, 0]) ** 2) / count
    away = np.bincount(code, (y - mean[:, 0]) ** 2) / count
    samples = draw(count.size, np.random.default_rng(0), REPEATS).astype(np.float64)
    spread = 1 - (samples @ wrong) / np.maximum(samples @ away, 1e-12)
    return float(1 - wrong.sum() / away.sum()), samples_ci95(spread, count.size)


def _classes(x: F64, y: I64, part: I64, code: I64) -> tuple[float, tuple[float, float]]:
    size = np.bincount(y)
    weight = 1.0 / size[y]
    weight /= weight.mean()
    told, _ = held_out(x, np.eye(size.size)[y], weight, part)
    right = (told.argmax(axis=1) == y).astype(np.float64)
    people = int(code.max()) + 1
    cell = code * size.size + y
    hits = np.bincount(cell, right, people * size.size).reshape(people, -1)
    asked = np.bincount(cell, minlength=people * size.size).reshape(people, -1)
    samples = draw(people, np.random.default_rng(0), REPEATS).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A draw may lack a class: its recall is then unknown, and the others make the mean.
        recall = (samples @ hits) / (samples @ asked)
    return float((hits.sum(axis=0) / size).mean()), samples_ci95(np.nanmean(recall, axis=1), people)
