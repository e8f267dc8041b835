"""The graded run: everything that ``scores.json`` holds (schema 1), built from predictions.

Several seeds: every figure is computed per seed and subject, then averaged over seeds; predictions of different seeds are never
averaged into one, because that would be an ensemble that nobody trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from biosig_mtl.evaluation import intervals, metrics, standards
from biosig_mtl.types import EMPTY, F64, I64, Check, Predictions, Scores, Target, Task

SCHEMA = 1
MEDIAN = "train_median"
LOW_COVERAGE = 0.9
# Inner edges of the classes that errors are told by (those of bp-benchmark).
CLASS_EDGES = {"sbp": (100.0, 140.0, 160.0), "dbp": (60.0, 80.0, 100.0)}


@dataclass(frozen=True, slots=True)
class Protocol:
    """What was done, in the words of ``scores.json``.

    ``coverage`` is the share of windows that were not rejected. ``reference`` is how the labels were measured (``invasive``,
    ``cuff``, ``simulated``, ``unknown``). ``stamps`` are shown large on the report. ``extras`` are further top-level keys, such
    as ``negative_control``, ``ablation``, ``demographics``.
    """

    dataset: str
    protocol: str
    folds: int
    seeds: tuple[int, ...]
    model: str
    n_rejected: int
    coverage: float
    reference: str = "unknown"
    stamps: tuple[str, ...] = ()
    extras: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Absent:
    """A baseline that could not be made, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Graded:
    """One predictor on one target: figures of each subject, averaged over seeds, and pooled ones."""

    subjects: metrics.PerSubject
    pooled: Mapping[str, float]

    @property
    def mae(self) -> F64:
        return self.subjects.figures["mae"]


Baselines = Mapping[str, "Predictions | Absent"]


def score(
    task: Task, protocol: Protocol, model: Predictions, baselines: Baselines, checks: Sequence[Check], rng: np.random.Generator
) -> Scores:
    """Grade a run.

    Parameters
    ----------
    task
        Names and units of the targets.
    protocol
        What was done.
    model
        Predictions of the test windows, all folds and seeds together.
    baselines
        Predictions of each baseline for the same windows, or `Absent`. ``train_median`` is what ``mase`` is measured against.
    checks
        Answers of the audit.
    rng
        Draws the bootstrap samples: the same people for the model and all baselines.

    Raises
    ------
    ValueError
        The model has no predictions, or an extra key would overwrite one of the schema.
    """
    if model.row.size == 0:
        raise ValueError("need predictions of at least one test window")
    subjects = np.unique(model.subject)
    counts = intervals.draw(subjects.size, rng)
    usable = {name: _usable(given, model) for name, given in baselines.items()}
    targets: dict[str, Any] = {}
    told: dict[str, dict[str, Any]] = {n: {"unavailable": b.reason} for n, b in usable.items() if isinstance(b, Absent)}
    for target in task.targets:
        graded = {name: _grade(given, target.name) for name, given in usable.items() if isinstance(given, Predictions)}
        own = _grade(model, target.name)
        targets[target.name] = _target(target, protocol.reference, model, own, graded, counts)
        for name, other in graded.items():
            told.setdefault(name, {})[target.name] = _baseline(own, other, graded.get(MEDIAN), counts)
    content: dict[str, Any] = {
        "schema": SCHEMA, "task": task.name, "dataset": protocol.dataset, "protocol": protocol.protocol,
        "folds": protocol.folds, "seeds": list(protocol.seeds), "model": protocol.model, "n_subjects": subjects.size,
        "n_windows": np.unique(model.row).size, "n_rejected": protocol.n_rejected, "coverage": protocol.coverage,
        "coverage_sufficient": bool(protocol.coverage >= LOW_COVERAGE), "reference": protocol.reference,
        "stamps": list(protocol.stamps), "targets": targets, "baselines": {name: told[name] for name in baselines},
        "audit": {"passed": all(c.passed for c in checks),
                  "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks]},
    }  # fmt: skip
    if taken := sorted(set(protocol.extras) & set(content)):
        raise ValueError(f"extra keys would overwrite those of the schema: {', '.join(taken)}")
    return Scores(plain({**content, **protocol.extras}))


def mase(model: Predictions, median: Predictions, target: str, rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Return MAE of the model ÷ MAE of the training median on the same windows (means over subjects), with its interval."""
    own, other = _grade(model, target).mae, _grade(median, target).mae
    if own.shape != other.shape:
        raise ValueError(f"need the same subjects on both sides, got {own.size} and {other.size}")
    return _ratio(own, other), intervals.ratio_ci95(own, other, intervals.draw(own.size, rng))


def to_json(scores: Scores) -> str:
    """Return the text of ``scores.json``: undefined numbers are null."""
    return json.dumps(plain(scores.content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """Turn numpy values, tuples and mappings into what JSON can hold; numbers that are not finite become None.

    >>> plain({"r": np.float32("nan"), "ci": (np.int64(1), 2.5)})
    {'r': None, 'ci': [1, 2.5]}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def _usable(given: Predictions | Absent, model: Predictions) -> Predictions | Absent:
    """Return the baseline, or why it cannot be compared: it must speak of the same windows, with a number for each."""
    if isinstance(given, Absent):
        return given
    rows = np.unique(model.row)
    if not np.array_equal(np.unique(given.row), rows):
        differ = np.setxor1d(given.row, rows).size
        return Absent(f"predicted other windows than the model ({differ} differ)")
    silent = int((~np.isfinite(given.y_pred)).any(axis=1).sum())
    return Absent(f"{silent} of {given.row.size} windows without a prediction") if silent else given


def _grade(given: Predictions, target: str) -> _Graded:
    column = given.target_names.index(target)
    everyone = np.unique(given.subject)
    runs, pools = [], []
    for seed in np.unique(given.seed):
        rows = given.seed == seed
        true, pred, subject = given.y_true[rows, column], given.y_pred[rows, column], given.subject[rows]
        # A subject that a seed did not test keeps its place with NaN, so that seeds can be averaged subject by subject.
        absent = np.setdiff1d(everyone, subject)
        blank = np.full(absent.size, np.nan)
        padded = [np.concatenate(pair) for pair in ((true, blank), (pred, blank), (subject, absent))]
        runs.append(metrics.per_subject(*padded))
        pools.append({**metrics.pooled(true, pred), "r_between_subjects": metrics.between_subjects_r(true, pred, subject)})
    return _Graded(metrics.average(runs), _mean_of(pools))


def _target(
    target: Target, reference: str, model: Predictions, own: _Graded, graded: Mapping[str, _Graded], counts: I64
) -> dict[str, Any]:
    """Return the entry of one target."""
    median = graded.get(MEDIAN)
    spread = _label_spread(model, target.name)
    content = {
        "unit": target.unit, **metrics.over_subjects(own.subjects), "undefined_subjects": metrics.undefined(own.subjects),
        "mae_ci95": intervals.mean_ci95(own.mae, counts), "me_ci95": intervals.mean_ci95(own.subjects.figures["me"], counts),
        "mase": _ratio(own.mae, median.mae) if median else None,
        "mase_ci95": intervals.ratio_ci95(own.mae, median.mae, counts) if median else [None, None],
        "paired": _against_best(own, graded, counts),
        "r_between_subjects": own.pooled["r_between_subjects"], "label_sd": spread,
        "explained_deviation": spread / own.pooled["sd"] if own.pooled["sd"] > 0 else None,
        "pooled": own.pooled,
        "bland_altman": _mean_of([metrics.bland_altman(*run) for run in _by_seed(model, target.name)]),
        "classes": classes(model, target.name),
    }  # fmt: skip
    return {**content, **_screens(target, reference, model)}


def _screens(target: Target, reference: str, model: Predictions) -> dict[str, Any]:
    if target.unit != "mmHg":
        return {}
    numbers = _mean_of([standards.readings(*run, target.name) for run in _by_seed(model, target.name)])
    return {
        "iso81060_2": standards.iso81060_2(numbers, target.name, reference),
        "bhs": standards.bhs(numbers),
        "ieee1708": standards.ieee1708(numbers),
    }


def _against_best(own: _Graded, graded: Mapping[str, _Graded], counts: I64) -> dict[str, Any]:
    """Compare with the baseline of the lowest error; choosing it on the test windows can only make the comparison harder."""
    if not graded:
        return {"best_baseline": None, "difference": None, "ci95": [None, None], "probability_better": None, "verdict": None}
    best = min(graded, key=lambda name: float(metrics.nanmean(graded[name].mae)))
    return {"best_baseline": best, **_paired(own, graded[best], counts)}


def _baseline(own: _Graded, other: _Graded, median: _Graded | None, counts: I64) -> dict[str, Any]:
    return {
        "mae": float(metrics.nanmean(other.mae)), "mae_ci95": intervals.mean_ci95(other.mae, counts),
        "mase": _ratio(other.mae, median.mae) if median else None,
        "mase_ci95": intervals.ratio_ci95(other.mae, median.mae, counts) if median else [None, None],
        "me": float(metrics.nanmean(other.subjects.figures["me"])),
        "pooled": {name: other.pooled[name] for name in ("mae", "me", "sd")},
        "model_minus_baseline": _paired(own, other, counts),
    }  # fmt: skip


def _paired(own: _Graded, other: _Graded, counts: I64) -> dict[str, Any]:
    found = intervals.paired(own.mae, other.mae, counts)
    return {
        "difference": found.difference, "ci95": list(found.ci95), "probability_better": found.probability_better,
        "verdict": found.verdict,
    }  # fmt: skip


def _ratio(own: F64, other: F64) -> float:
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
        pool = _mean_of([metrics.pooled(true, pred) for true, pred, _ in inside])
        name = f"< {high:g}" if low == -math.inf else f"≥ {low:g}" if high == math.inf else f"{low:g}–{high:g}"
        windows, people = inside[0][0].size, np.unique(inside[0][2]).size
        table.append({"class": name, "n_windows": windows, "n_subjects": people, **{k: pool[k] for k in ("mae", "me", "sd")}})
    return table


def _by_seed(model: Predictions, target: str) -> list[tuple[F64, F64, Any]]:
    column = model.target_names.index(target)
    pick = [model.seed == seed for seed in np.unique(model.seed)]
    return [(model.y_true[rows, column], model.y_pred[rows, column], model.subject[rows]) for rows in pick]


def _label_spread(model: Predictions, target: str) -> float:
    true = _by_seed(model, target)[0][0]
    true = true[np.isfinite(true)]
    return float(np.std(true, ddof=1)) if true.size > 1 else float("nan")


def _mean_of(dicts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: float(metrics.nanmean(np.array([d[key] for d in dicts], dtype=float))) for key in dicts[0]}
