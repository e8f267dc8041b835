"""Grades of classes: what ``scores.json`` says of a target that is answered by one of several classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation import classification, intervals, trials
from biosig_mtl.evaluation.grades import mean_of, told
from biosig_mtl.evaluation.metrics import nanmean
from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.types import F64, I64, Predictions, Target

CLASS_PRIOR = "class_prior"
MAIN = "balanced_accuracy"
_COMPARED = (MAIN, "auc")


@dataclass(frozen=True, slots=True)
class Grade:
    """One predictor on one target of classes.

    ``figures`` are those of each subject (sorted by name), averaged over seeds; ``pooled`` those of all windows together;
    ``draws`` the pooled ones of every bootstrap sample; ``confusion`` counts windows of all seeds, reference by answer.
    ``chance`` is the balanced accuracy of each subject for one and the same answer everywhere: 1 ÷ classes that occur in the
    subject's reference, NaN for fewer than two.
    """

    subject: NDArray[np.str_]
    figures: Mapping[str, F64]
    pooled: Mapping[str, float]
    draws: Mapping[str, F64]
    confusion: I64
    chance: F64

    @property
    def chance_over_subjects(self) -> float:
        """The mean of `chance` over the subjects that have one; pooled where nobody has."""
        known = np.isfinite(self.chance)
        return float(self.chance[known].mean()) if known.any() else self.chance_pooled

    @property
    def chance_pooled(self) -> float:
        """1 ÷ classes that occur in the reference of all windows."""
        return 1 / max(int((self.confusion.sum(axis=1) > 0).sum()), 1)


def grade(given: Predictions, target: str, counts: I64) -> Grade:
    """Grade one predictor on one target; ``counts`` comes from `intervals.draw` for all subjects."""
    column = given.target_names.index(target)
    classes = given.head[column].classes
    shares = given.probabilities.get(target)
    everyone = np.unique(given.subject)
    single, pools, draws, confusion, chance = [], [], [], np.zeros((classes, classes)), []
    for seed in np.unique(given.seed):
        rows = np.flatnonzero(given.seed == seed)
        absent = np.setdiff1d(everyone, given.subject[rows])
        blank = np.full(absent.size, np.nan)
        # A subject that a seed did not test keeps its place, so that seeds can be averaged subject by subject.
        counted = classification.count(
            np.concatenate([given.y_true[rows, column], blank]),
            np.concatenate([given.y_pred[rows, column], blank]),
            None if shares is None else np.concatenate([shares[rows], np.full((absent.size, classes), np.nan)]),
            np.concatenate([given.subject[rows], absent]),
            classes,
        )
        single.append(classification.figures(counted, np.eye(everyone.size)))
        pools.append({k: float(v[0]) for k, v in classification.figures(counted, np.ones((1, everyone.size))).items()})
        draws.append(classification.figures(counted, counts))
        confusion += counted.confusion.sum(axis=0)
        occur = (counted.confusion.sum(axis=2) > 0).sum(axis=1)
        chance.append(np.where(occur > 1, 1 / np.maximum(occur, 1), np.nan))
    whole = confusion.astype(np.int64)
    return Grade(everyone, _mean(single), mean_of(pools), _mean(draws), whole, nanmean(np.stack(chance)))


def entry(target: Target, model: Predictions, own: Grade, graded: Mapping[str, Grade], counts: I64) -> dict[str, Any]:
    """Return the entry of one target; ``own`` is the model's grade, ``graded`` the baselines'."""
    head = model.head[model.target_names.index(target.name)]
    return {
        "unit": target.unit, "head": head.kind, "edges": list(head.edges), "classes": list(head.names()),
        "class_windows": trials.reference_shares(model, target.name),
        **summary(own, counts), **compared(own, graded, counts),
    }  # fmt: skip


def compared(own: Grade, graded: Mapping[str, Grade], counts: I64) -> dict[str, Any]:
    """Return what chance gives, whether the pooled figures' intervals lie above it, and how the best baseline does.

    Chance is that of the means over subjects: one who was given two of five classes only has a balanced accuracy of 0.5 for
    any constant answer among them, not of 0.2. The pooled figures are held against 1 ÷ classes that occur at all.

    Pooled, the probabilities of different folds are ranked together as they are; where folds disagree on the level, the pooled
    area under the curve is lower than that of each person.
    """
    pooled = {MAIN: own.chance_pooled, "auc": 0.5}
    return {
        "chance": {MAIN: own.chance_over_subjects, "auc": 0.5},
        "above_chance": {name: _above(own.draws[name], level, own.subject.size) for name, level in pooled.items()},
        "paired": against_best(own, graded, counts),
    }


def summary(own: Grade, counts: I64) -> dict[str, Any]:
    """Return the figures of one predictor: over subjects and pooled, with intervals over subjects.

    ``confusion[i][j]`` counts the windows of class *i* that were given class *j*, all seeds together.
    """
    undefined = {name: int(np.isnan(values).sum()) for name, values in own.figures.items()}
    return {
        **classification.over_subjects(own.figures),
        "undefined_subjects": {name: count for name, count in undefined.items() if count},
        **{f"{name}_ci95": intervals.mean_ci95(values, counts) for name, values in own.figures.items()},
        "pooled": own.pooled,
        "pooled_ci95": {name: intervals.samples_ci95(v, own.subject.size) for name, v in own.draws.items()},
        "confusion": own.confusion,
    }


def against(own: Grade, other: Grade, counts: I64) -> dict[str, Any]:
    """Return what is told of a baseline on one target, with the model's difference from it."""
    content = summary(other, counts)
    return {**content, "model_minus_baseline": differences(own, other, counts)}


def against_best(own: Grade, graded: Mapping[str, Grade], counts: I64) -> dict[str, Any]:
    """Compare with the baseline of the highest balanced accuracy, over subjects, or pooled where no subject has one."""
    rivals = {name: other for name, other in graded.items() if name not in ORACLES}
    if not rivals:
        empty = {"difference": None, "ci95": [None, None], "probability_better": None, "verdict": None}
        return {"best_baseline": None, "figure": MAIN, **empty}
    best = max(rivals, key=lambda name: _height(rivals[name]))
    return {"best_baseline": best, **differences(own, rivals[best], counts)}


def differences(own: Grade, other: Grade, counts: I64) -> dict[str, Any]:
    """Compare two predictors: balanced accuracy over subjects, then balanced accuracy and area under the curve pooled."""
    found = intervals.paired(own.figures[MAIN], other.figures[MAIN], counts, larger_is_better=True)
    return {"figure": MAIN, **told(found), "pooled": {name: told(_pooled(own, other, name)) for name in _COMPARED}}


def _pooled(own: Grade, other: Grade, figure: str) -> intervals.Paired:
    samples = own.draws[figure] - other.draws[figure]
    # One person says nothing about people.
    samples = samples if own.subject.size >= intervals.FEWEST else samples[:0]
    return intervals.compared(own.pooled[figure] - other.pooled[figure], samples, larger_is_better=True)


def _height(graded: Grade) -> tuple[float, float]:
    means = float(nanmean(graded.figures[MAIN])), graded.pooled[MAIN]
    return means[0] if np.isfinite(means[0]) else -1.0, means[1] if np.isfinite(means[1]) else -1.0


def _above(draws: F64, chance: float, people: int) -> bool | None:
    low, _ = intervals.samples_ci95(draws, people)
    return bool(low > chance) if np.isfinite(low) else None


def _mean(runs: list[dict[str, F64]]) -> dict[str, F64]:
    return {name: nanmean(np.stack([run[name] for run in runs])) for name in runs[0]}
