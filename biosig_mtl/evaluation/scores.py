"""The graded run: everything that ``scores.json`` holds (schema 1), built from predictions.

Several seeds: every figure is computed per seed and subject, then averaged over seeds; predictions of different seeds are never
averaged into one, because that would be an ensemble that nobody trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from biosig_mtl.evaluation import class_grades, classification, grades, intervals, trials
from biosig_mtl.evaluation.controls import mase as mase
from biosig_mtl.evaluation.grades import MEDIAN as MEDIAN
from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.types import EMPTY, I64, Check, Predictions, Scores, Target, Task

SCHEMA = 1
LOW_COVERAGE = 0.9


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
        Predictions of the test windows, all folds and seeds together. Where it tells the trial of each window, every target
        also has its figures by trial (``trial_level``).
    baselines
        Predictions of each baseline for the same windows, or `Absent`; a column of NaN is a target that the baseline does not
        answer. ``train_median`` is what ``mase`` is measured against. Those of `oracles.ORACLES` are printed, never the best.
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
    compared = {name: given for name, given in usable.items() if isinstance(given, Predictions)}
    for target in task.targets:
        if target.name not in model.target_names:
            continue
        entry, others = _target(target, protocol.reference, model, compared, counts)
        targets[target.name] = entry
        for name, other in others.items():
            told.setdefault(name, {})[target.name] = other
    content: dict[str, Any] = {
        "schema": SCHEMA, "task": task.name, "dataset": protocol.dataset, "protocol": protocol.protocol,
        "folds": protocol.folds, "seeds": list(protocol.seeds), "model": protocol.model, "n_subjects": subjects.size,
        "n_windows": np.unique(model.row).size, "n_rejected": protocol.n_rejected, "coverage": protocol.coverage,
        "coverage_sufficient": bool(protocol.coverage >= LOW_COVERAGE), "reference": protocol.reference,
        "stamps": list(protocol.stamps), "targets": targets,
        "baselines": {name: told[name] for name in baselines if name in told},
        "audit": {"passed": all(c.passed for c in checks),
                  "checks": [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in checks]},
    }  # fmt: skip
    if taken := sorted(set(protocol.extras) & set(content)):
        raise ValueError(f"extra keys would overwrite those of the schema: {', '.join(taken)}")
    return Scores(plain({**content, **protocol.extras}))


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
    lacking = ~np.isfinite(given.y_pred)
    answered = ~lacking.all(axis=0)
    silent = int(lacking[:, answered].any(axis=1).sum()) if answered.any() else given.row.size
    if silent:
        return Absent(f"{silent} of {given.row.size} windows without a prediction")
    if given.trial.size == given.row.size or model.trial.size != model.row.size:
        return given
    _, first = np.unique(model.row, return_index=True)
    return replace(given, trial=model.trial[first][np.searchsorted(rows, given.row)])


def _target(
    target: Target, reference: str, model: Predictions, others: Mapping[str, Predictions], counts: I64
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the entry of one target and what is told of each baseline on it, windows first, then by trial."""
    column = model.target_names.index(target.name)
    rivals = {name: given for name, given in others.items() if np.isfinite(given.y_pred[:, column]).any()}
    grader = _classes if model.head[column].classes else _numbers
    entry, told = grader(target, reference, model, rivals, counts)
    facts = trials.facts(model, target.name) if model.trial.size == model.row.size else {}
    if facts and model.head[column].classes and 2 * facts["trials_whose_reference_varies"] > facts["n_trials"]:
        # One class for a whole session of several states would be an answer to a question that nobody asked.
        varied = f"{facts['trials_whose_reference_varies']} of {facts['n_trials']}"
        entry["trial_level"] = {**facts, "unavailable": f"the class of the reference changes within {varied} trials"}
    elif facts:
        joined = {name: trials.by_trial(given) for name, given in rivals.items()}
        level, by_name = grader(target, None, trials.by_trial(model), joined, counts)
        entry["trial_level"] = facts | level
        told = {name: {**content, "trial_level": by_name[name]} for name, content in told.items()}
    return entry, {name: {**content, "oracle": True} if name in ORACLES else content for name, content in told.items()}


def _numbers(
    target: Target, reference: str | None, model: Predictions, rivals: Mapping[str, Predictions], counts: I64
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Grade a regression; for trials (no reference named) only the figures and the comparisons."""
    own = grades.grade(model, target.name, counts)
    graded = {name: grades.grade(given, target.name, counts) for name, given in rivals.items()}
    told = {name: grades.against(own, other, graded.get(MEDIAN), counts) for name, other in graded.items()}
    if reference is None:
        return {**grades.summary(own, counts), **grades.compared(own, graded, counts)}, told
    return grades.entry(target, reference, model, own, graded, counts), told


def _classes(
    target: Target, reference: str | None, model: Predictions, rivals: Mapping[str, Predictions], counts: I64
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Grade classes; for trials (no reference named) only the figures and the comparisons."""
    own = class_grades.grade(model, target.name, counts)
    graded = {name: class_grades.grade(given, target.name, counts) for name, given in rivals.items()}
    told = {name: class_grades.against(own, other, counts) for name, other in graded.items()}
    prior = rivals.get(class_grades.CLASS_PRIOR)
    if prior is not None and target.name in prior.probabilities:
        true = prior.y_true[:, prior.target_names.index(target.name)]
        told[class_grades.CLASS_PRIOR]["expected"] = classification.expected(true, prior.probabilities[target.name])
    if reference is None:
        return {**class_grades.summary(own, counts), **class_grades.compared(own, graded, counts)}, told
    return class_grades.entry(target, model, own, graded, counts), told
