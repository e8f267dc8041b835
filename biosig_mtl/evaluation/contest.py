"""A contest of models on the same windows: Δ_m against single-task networks, ranks, and who may be called better.

The people are the sample: every interval is drawn over subjects, and all models are drawn together, so a difference is that of
the same people. Seeds (other folds, other starts) are averaged within a person first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.evaluation import class_grades, grades, intervals
from biosig_mtl.types import F64, I64, Predictions


@dataclass(frozen=True, slots=True)
class Errors:
    """What one model gets wrong of one target.

    ``of_subject`` (subject,) is the mean absolute error of each subject, or the share of wrong answers where the target has
    classes. ``point`` is the mean over subjects, or 1 − balanced accuracy over all windows; ``draws`` (repeat,) the same of
    every bootstrap sample. ``ccc`` is the mean concordance over subjects (numbers only).
    """

    of_subject: F64
    point: float
    draws: F64
    ccc: float = math.nan


def errors(given: Predictions, counts: I64) -> dict[str, Errors]:
    """Return the errors of every target that is answered (a column of NaN is not), by name.

    ``counts`` comes from `intervals.draw` for all subjects of the windows.
    """
    found = {}
    for t, (name, head) in enumerate(zip(given.target_names, given.head, strict=True)):
        if not np.isfinite(given.y_pred[:, t]).any():
            continue
        found[name] = _of_classes(given, name, counts) if head.classes else _of_numbers(given, name, counts)
    return found


def _of_numbers(given: Predictions, name: str, counts: I64) -> Errors:
    graded = grades.grade(given, name)
    known = np.isfinite(graded.mae)
    weight = counts[:, known].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = (weight @ graded.mae[known]) / weight.sum(axis=1)
    ccc = graded.subjects.figures["ccc"]
    told = float(np.nanmean(ccc)) if np.isfinite(ccc).any() else math.nan
    return Errors(graded.mae, float(graded.mae[known].mean()) if known.any() else math.nan, draws, told)


def _of_classes(given: Predictions, name: str, counts: I64) -> Errors:
    graded = class_grades.grade(given, name, counts)
    right = np.asarray(graded.figures["accuracy"])
    main = class_grades.MAIN
    return Errors(1.0 - right, 1.0 - float(graded.pooled[main]), 1.0 - np.asarray(graded.draws[main]))


@dataclass(frozen=True, slots=True)
class Gain:
    """Δ_m of one model in per cent, its 95 % interval over subjects, and the verdict on it; positive is better.

    ``of_target`` has the gain of every target with its interval.
    """

    value: float
    ci95: tuple[float, float]
    verdict: str
    of_target: Mapping[str, tuple[float, tuple[float, float]]]


def gain(model: Mapping[str, Errors], reference: Mapping[str, Errors]) -> Gain:
    """Return Δ_m = 100 · mean over targets of (S_t − M_t) / S_t, S the reference's error and M the model's.

    Maninis et al., CVPR 2019, eq. 4, with the sign that makes positive better. A target that either does not answer makes Δ_m
    unknown: a mean over other targets would be another figure.

    >>> one = Errors(np.array([1.0, 2.0]), 1.5, np.array([1.5, 1.0]))
    >>> gain({"sbp": one}, {"sbp": one}).value
    0.0
    """
    each = {name: (reference[name].point, model[name].point) for name in reference if name in model}
    drawn = {name: 100.0 * _share(reference[name].draws, model[name].draws) for name in each}
    points = {name: float(100.0 * _share(np.float64(s), np.float64(m))) for name, (s, m) in each.items()}
    told = {name: (points[name], _ends(drawn[name])) for name in each}
    if len(each) < len(reference) or not each:
        return Gain(math.nan, (math.nan, math.nan), "not all targets", told)
    value, samples = float(np.mean(list(points.values()))), np.mean(list(drawn.values()), axis=0)
    judged = intervals.compared(value, samples if _spread(model) else np.empty(0), larger_is_better=True)
    return Gain(value, judged.ci95, judged.verdict, told)


def _share(reference: F64 | np.float64, model: F64 | np.float64) -> F64:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((reference - model) / reference, dtype=np.float64)


def _spread(model: Mapping[str, Errors]) -> bool:
    return all(np.isfinite(one.of_subject).sum() >= intervals.FEWEST for one in model.values())


def _ends(samples: F64) -> tuple[float, float]:
    return intervals.samples_ci95(samples, len(samples))


@dataclass(frozen=True, slots=True)
class Ranking:
    """Mean rank of every model over subjects (1 is best), and what may be said of differences.

    ``friedman_p`` is the p-value of "all are alike" (Friedman 1937); two models whose mean ranks differ by less than
    ``critical_difference`` (Nemenyi, α = 0.05; Demšar, JMLR 2006, §3.2.2) are not told apart. ``cliques`` are the largest
    groups of models that are not told apart.
    """

    ranks: Mapping[str, float]
    friedman_p: float
    critical_difference: float
    subjects: int
    cliques: tuple[tuple[str, ...], ...]


def ranking(contestants: Mapping[str, Mapping[str, Errors]]) -> Ranking:
    """Rank models within each subject by the mean over targets of its error, each target in units of its mean error.

    Only models that answer all targets are ranked, and only subjects whom all of them have.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    targets = max((tuple(found) for found in contestants.values()), key=len, default=())
    names = [name for name, found in contestants.items() if set(found) == set(targets) and targets]
    if len(names) < 3:
        return Ranking({}, math.nan, math.nan, 0, ())
    whole = np.stack([[contestants[name][t].of_subject for t in targets] for name in names])  # model, target, subject
    with np.errstate(invalid="ignore"):
        scaled = whole / np.nanmean(whole, axis=(0, 2), keepdims=True)
    table = scaled.mean(axis=1)
    table = table[:, np.isfinite(table).all(axis=0)]
    k, n = table.shape
    if n < intervals.FEWEST:
        return Ranking({}, math.nan, math.nan, n, ())
    ranks = rankdata(table, axis=0).mean(axis=1)
    alike = bool((table == table[:1]).all())
    p = 1.0 if alike else float(friedmanchisquare(*table).pvalue)
    q = float(studentized_range.ppf(0.95, k, np.inf)) / math.sqrt(2.0)
    difference = q * math.sqrt(k * (k + 1) / (6.0 * n))
    order = np.argsort(ranks, kind="stable")
    ordered = {names[i]: float(ranks[i]) for i in order}
    return Ranking(ordered, p, difference, n, _cliques(ordered, difference))


def _cliques(ordered: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    """Return the largest runs of neighbours in rank whose ends are less than the critical difference apart."""
    names, ranks = list(ordered), np.array(list(ordered.values()))
    found: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = int(np.searchsorted(ranks, ranks[first] + difference, side="left")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(tuple(names[a : b + 1]) for a, b in found)


def headline(gains: Mapping[str, Gain], joint: Sequence[str], ours: str, variants: Sequence[str] = ()) -> str:
    """Say in a few sentences whether joint training helps and how our network does; ``joint`` are the networks that share.

    ``variants`` are told apart: what they add to a network may gain without anything being shared.

    Raises
    ------
    ValueError
        No joint network is among the gains.
    """
    known = {name: gains[name] for name in joint if name in gains and math.isfinite(gains[name].value)}
    if not known:
        raise ValueError("need a joint network to tell of, got none")
    helped = [name for name, one in known.items() if one.verdict == "better"]
    hurt = [name for name, one in known.items() if one.verdict == "worse"]
    best = max(known, key=lambda name: known[name].value)
    told = f"the best joint network is {best}, Δm {_told(known[best])}"
    if helped:
        text = f"Joint training beats single-task networks for {len(helped)} of {len(known)} joint networks; {told}."
    else:
        text = f"Joint training does not beat single-task networks here: no interval of Δm lies above 0; {told}."
    if hurt:
        text += f" It does harm in {len(hurt)} of {len(known)}: {', '.join(hurt)}."
    if ours in known and best != ours:
        text += f" {ours}: Δm {_told(known[ours])}."
    if gained := [name for name in variants if name in gains and gains[name].verdict == "better"]:
        text += f" Variants with a gain, whatever they owe it to: {', '.join(gained)}."
    return text


def _told(one: Gain) -> str:
    # −0.0 is noise of rounding, not a direction.
    value, low, high = (round(x, 1) + 0.0 for x in (one.value, *one.ci95))
    return f"{value:+.1f} % (95 % interval {low:+.1f} to {high:+.1f})".replace("-", "−")
