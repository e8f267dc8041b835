"""Grades of numbers: what ``scores.json`` says of a target that is answered by regression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from biosig_mtl.evaluation import intervals, metrics, standards
from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.types import F64, I64, Predictions, Target

MEDIAN = "train_median"
# Inner edges of the classes that errors are told by (those of bp-benchmark).
CLASS_EDGES = {"sbp": (100.0, 140.0, 160.0), "dbp": (60.0, 80.0, 100.0)}
_AGREEMENT = ("ccc", "rmse")


@dataclass(frozen=True, slots=True)
class Grade:
    """One predictor on one target: figures of each subject, averaged over seeds, and pooled ones.

    ``draws`` are the pooled figures of every bootstrap sample, the mean over seeds.
    """

    subjects: metrics.PerSubject
    pooled: Mapping[str, float]
    draws: Mapping[str, F64]

    @property
    def mae(self) -> F64:
        """Mean absolute error of every subject."""
        return self.subjects.figures["mae"]


def grade(given: Predictions, target: str, counts: I64 | None = None) -> Grade:
    """Grade one predictor on one target; ``counts`` (`intervals.draw`) also draws the pooled figures."""
    column = given.target_names.index(target)
    everyone = np.unique(given.subject)
    runs, pools, draws = [], [], []
    for seed in np.unique(given.seed):
        rows = given.seed == seed
        true, pred, subject = given.y_true[rows, column], given.y_pred[rows, column], given.subject[rows]
        # A subject that a seed did not test keeps its place with NaN, so that seeds can be averaged subject by subject.
        absent = np.setdiff1d(everyone, subject)
        blank = np.full(absent.size, np.nan)
        padded = [np.concatenate(pair) for pair in ((true, blank), (pred, blank), (subject, absent))]
        runs.append(metrics.per_subject(*padded))
        pools.append({**metrics.pooled(true, pred), "r_between_subjects": metrics.between_subjects_r(true, pred, subject)})
        if counts is not None:
            draws.append(metrics.pooled_draws(padded[0], padded[1], padded[2], counts))
    drawn = {name: metrics.nanmean(np.stack([d[name] for d in draws])) for name in draws[0]} if draws else {}
    return Grade(metrics.average(runs), mean_of(pools), drawn)


def entry(
    target: Target, reference: str, model: Predictions, own: Grade, graded: Mapping[str, Grade], counts: I64
) -> dict[str, Any]:
    """Return the entry of one target; ``own`` is the model's grade, ``graded`` the baselines'."""
    spread = _label_spread(model, target.name)
    content = {
        "unit": target.unit, **summary(own, counts), **compared(own, graded, counts),
        "r_between_subjects": own.pooled["r_between_subjects"], "label_sd": spread,
        "explained_deviation": spread / own.pooled["sd"] if own.pooled["sd"] > 0 else None,
        "bland_altman": mean_of([metrics.bland_altman(*run) for run in _by_seed(model, target.name)]),
        "classes": classes(model, target.name),
    }  # fmt: skip
    return {**content, **_screens(target, reference, model)}


def compared(own: Grade, graded: Mapping[str, Grade], counts: I64) -> dict[str, Any]:
    """Return MASE (against the training median) and the comparison with the best baseline."""
    median = graded.get(MEDIAN)
    return {
        "mase": ratio(own.mae, median.mae) if median else None,
        "mase_ci95": intervals.ratio_ci95(own.mae, median.mae, counts) if median else [None, None],
        "paired": against_best(own, graded, counts),
    }


def summary(own: Grade, counts: I64) -> dict[str, Any]:
    """Return the figures of one predictor: over subjects and pooled, with intervals over subjects."""
    figures = own.subjects.figures
    ends = {f"{name}_ci95": intervals.mean_ci95(figures[name], counts) for name in ("mae", "me", "r", *_AGREEMENT)}
    people = own.subjects.subject.size
    return {
        **metrics.over_subjects(own.subjects), "undefined_subjects": metrics.undefined(own.subjects), **ends,
        "pooled": own.pooled,
        "pooled_ci95": {name: intervals.samples_ci95(own.draws[name], people) for name in ("mae", "rmse", "r", "ccc")},
    }  # fmt: skip


def against(own: Grade, other: Grade, median: Grade | None, counts: I64) -> dict[str, Any]:
    """Return what is told of a baseline on one target, with the model's difference from it."""
    figures = other.subjects.figures
    return {
        "mae": float(metrics.nanmean(other.mae)), "mae_ci95": intervals.mean_ci95(other.mae, counts),
        "mase": ratio(other.mae, median.mae) if median else None,
        "mase_ci95": intervals.ratio_ci95(other.mae, median.mae, counts) if median else [None, None],
        "me": float(metrics.nanmean(figures["me"])),
        **{name: float(metrics.nanmean(figures[name])) for name in _AGREEMENT},
        **{f"{name}_ci95": intervals.mean_ci95(figures[name], counts) for name in _AGREEMENT},
        "pooled": {name: other.pooled[name] for name in ("mae", "me", "sd", "rmse", "ccc")},
        "model_minus_baseline": differences(own, other, counts),
    }  # fmt: skip


def differences(own: Grade, other: Grade, counts: I64) -> dict[str, Any]:
    """Compare two predictors on the mean absolute error, and beside it on CCC (larger is better) and RMSE."""
    sides = {name: (own.subjects.figures[name], other.subjects.figures[name]) for name in _AGREEMENT}
    return {
        **told(intervals.paired(own.mae, other.mae, counts)),
        "ccc": told(intervals.paired(*sides["ccc"], counts, larger_is_better=True)),
        "rmse": told(intervals.paired(*sides["rmse"], counts)),
        "pooled_ccc": told(pooled_difference(own, other, "ccc")),
    }


def pooled_difference(own: Grade, other: Grade, figure: str) -> intervals.Paired:
    """Compare a pooled figure of two predictors that is better the larger it is."""
    samples = own.draws[figure] - other.draws[figure]
    # One person says nothing about people.
    samples = samples if own.subjects.subject.size >= intervals.FEWEST else samples[:0]
    return intervals.compared(own.pooled[figure] - other.pooled[figure], samples, larger_is_better=True)


def against_best(own: Grade, graded: Mapping[str, Grade], counts: I64) -> dict[str, Any]:
    """Compare with the baseline of the lowest error; choosing it on the test windows can only make the comparison harder."""
    rivals = {name: other for name, other in graded.items() if name not in ORACLES}
    if not rivals:
        return {"best_baseline": None, "difference": None, "ci95": [None, None], "probability_better": None, "verdict": None}
    best = min(rivals, key=lambda name: float(metrics.nanmean(rivals[name].mae)))
    return {"best_baseline": best, **differences(own, rivals[best], counts)}


def told(found: intervals.Paired) -> dict[str, Any]:
    """Return a comparison as ``scores.json`` has it."""
    return {
        "difference": found.difference, "ci95": list(found.ci95), "probability_better": found.probability_better,
        "verdict": found.verdict,
    }  # fmt: skip


def ratio(own: F64, other: F64) -> float:
    """Return mean(own) ÷ mean(other), NaN where the other is 0."""
    below = float(metrics.nanmean(other))
    return float(metrics.nanmean(own)) / below if below > 0 else float("nan")


def classes(model: Predictions, target: str) -> list[dict[str, Any]]:
    """Return error by class of the reference: windows and subjects in it, MAE, ME and SD over its windows (mean over seeds)."""
    edges = CLASS_EDGES.get(target)
    if edges is None:
        return []
    bounds = [-math.inf, *edges, math.inf]
    runs = _by_seed(model, target)
    table = []
    for low, high in pairwise(bounds):
        inside = [[side[(run[0] >= low) & (run[0] < high)] for side in run] for run in runs]
        pool = mean_of([metrics.pooled(true, pred) for true, pred, _ in inside])
        name = f"< {high:g}" if low == -math.inf else f"≥ {low:g}" if high == math.inf else f"{low:g}–{high:g}"
        windows, people = inside[0][0].size, np.unique(inside[0][2]).size
        table.append({"class": name, "n_windows": windows, "n_subjects": people, **{k: pool[k] for k in ("mae", "me", "sd")}})
    return table


def mean_of(dicts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over runs without the NaN."""
    return {key: float(metrics.nanmean(np.array([d[key] for d in dicts], dtype=float))) for key in dicts[0]}


def _screens(target: Target, reference: str, model: Predictions) -> dict[str, Any]:
    if target.unit != "mmHg":
        return {}
    numbers = mean_of([standards.readings(*run, target.name) for run in _by_seed(model, target.name)])
    return {
        "iso81060_2": standards.iso81060_2(numbers, target.name, reference),
        "bhs": standards.bhs(numbers),
        "ieee1708": standards.ieee1708(numbers),
    }


def _by_seed(model: Predictions, target: str) -> list[tuple[F64, F64, Any]]:
    column = model.target_names.index(target)
    pick = [model.seed == seed for seed in np.unique(model.seed)]
    return [(model.y_true[rows, column], model.y_pred[rows, column], model.subject[rows]) for rows in pick]


def _label_spread(model: Predictions, target: str) -> float:
    true = _by_seed(model, target)[0][0]
    true = true[np.isfinite(true)]
    return float(np.std(true, ddof=1)) if true.size > 1 else float("nan")
