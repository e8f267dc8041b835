"""From trained networks to predictions, baselines and the evidence of the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from biosig_mtl.evaluation import audit, oracles, scores
from biosig_mtl.experiment.members import CONTROL, MODEL, TWIN, Estimated, Result
from biosig_mtl.models import baselines
from biosig_mtl.tasks import BLOOD_PRESSURE, within_scale
from biosig_mtl.training import subject_weights
from biosig_mtl.types import F32, F64, I64, Fold, Predictions, WindowTable

TARGET_MEDIAN = "target_median"
ELAPSED = "elapsed_time"
CONTINUOUS = "continuous"  # the source of labels that follow the clock of a recording
ALONE = "network without the kernel beside it"
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Graded:
    """Predictions of the run's variants and baselines on the same windows, and what was fitted on what."""

    model: Predictions
    variants: Mapping[str, Predictions]
    baselines: Mapping[str, Predictions | scores.Absent]
    fitted: tuple[audit.Fitted, ...]


def gather(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result], alpha: float) -> Graded:
    """Average the members of each fold, fit the baselines on the same training sides, and note who was fitted on what.

    Parameters
    ----------
    table
        All windows.
    folds
        Of all seeds.
    results
        Of all jobs.
    alpha
        How subjects are balanced in training; the baselines are weighted alike.
    """
    variants = {name: _variant(table, folds, results, name) for name in dict.fromkeys(r.job.variant for r in results)}
    if CONTROL in variants:
        variants[CONTROL] = _shuffles(table, folds, [r for r in results if r.job.variant == CONTROL])
    if all(r.alone is not None for r in results if r.job.variant == MODEL):
        variants[ALONE] = _variant(table, folds, [replace(r, test=r.alone) for r in results if r.alone is not None], MODEL)
    fitted = [_fitted(r) for r in results]
    made: dict[str, Predictions | scores.Absent] = {}
    for name in baselines.names_for(table):
        made[name], evidence = _baseline(table, folds, name, alpha)
        fitted += evidence
    if set(table.index.get("label_source", ())) == {CONTINUOUS}:
        made[ELAPSED], evidence = _elapsed(table, folds, alpha)
        fitted += evidence
    if not of_pressure(table):
        made[oracles.SUBJECT_MEAN] = oracles.subject_mean(variants[MODEL])
    if "transfer_test" in table.index:
        made[TARGET_MEDIAN] = _target_median(table, folds)
    return Graded(variants[MODEL], {k: v for k, v in variants.items() if k != MODEL}, made, tuple(fitted))


def of_pressure(table: WindowTable) -> bool:
    """Whether all targets are pressures, whose trials are no trials of a stimulus."""
    return set(table.target_names) <= set(BLOOD_PRESSURE.target_names)


def _fitted(result: Result) -> audit.Fitted:
    fold = result.job.fold
    # Members validate on different training subjects, so together a fold's networks may have seen train and validation.
    what = f"scaler and networks, {result.job.variant}"
    parts = ("train", "validation")
    return audit.Fitted(what, result.fitted_rows, fold.number, fold.seed, parts, twin=result.job.variant == TWIN)


def predictions(table: WindowTable, parts: Sequence[tuple[Fold, Estimated]]) -> Predictions:
    """Join answers to the test windows of folds into one value."""
    rows = np.concatenate([fold.test for fold, _ in parts])
    estimate = np.concatenate([found.estimate for _, found in parts])
    truth = table.targets[rows].astype(np.float64)
    shares = {}
    for j, (name, head) in enumerate(zip(table.target_names, table.head, strict=True)):
        if head.classes:
            truth[:, j] = head.encode(truth[:, j])
            told = [found.shares.get(name) for _, found in parts]
            if all(share is not None for share in told):
                shares[name] = np.concatenate([share for share in told if share is not None])
    return Predictions(
        row=rows,
        fold=np.concatenate([np.full(fold.test.size, fold.number) for fold, _ in parts]),
        seed=np.concatenate([np.full(fold.test.size, fold.seed) for fold, _ in parts]),
        subject=table.subject[rows],
        onset_s=table.index["onset_s"].to_numpy(np.float64)[rows],
        y_true=truth,
        y_pred=estimate,
        target_names=table.target_names,
        heads=table.heads,
        probabilities=shares,
        trial=np.empty(0, dtype=str) if of_pressure(table) else table.trial[rows],
        stimulus=table.stimulus[rows],
    )


def decided(found: Estimated, table: WindowTable) -> Estimated:
    """Return what networks answer: a number within its scale, or of a target with classes the one with the largest share."""
    numbers = [name if not head.classes else "" for name, head in zip(table.target_names, table.head, strict=True)]
    estimate = within_scale(numbers, found.estimate)
    for name, share in found.shares.items():
        estimate[:, table.target_names.index(name)] = share.argmax(axis=1)
    return Estimated(estimate, found.shares)


def _variant(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result], name: str) -> Predictions:
    parts = []
    for fold in folds:
        members = [Estimated(r.test, r.shares) for r in results if r.job.variant == name and _same(r.job.fold, fold)]
        if members:
            parts.append((fold, decided(mean_of(members), table)))
    return predictions(table, parts)


def _shuffles(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result]) -> Predictions:
    """Return the predictions of every shuffle by itself, each after the first under a seed of its own.

    A network that learned from shuffled labels leans some way by chance, and the mean of several leans as far: averaged
    predictions of many shuffles would tell no more than those of one. Figures are averaged over seeds instead.
    """
    parts = []
    for member in sorted({r.job.member for r in results}):
        one = _variant(table, folds, [r for r in results if r.job.member == member], CONTROL)
        parts.append(replace(one, seed=np.full(one.seed.size, -member)) if member else one)
    names = ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred", "trial", "stimulus")
    whole: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    shares = {name: np.concatenate([part.probabilities[name] for part in parts]) for name in parts[0].probabilities}
    return replace(parts[0], **whole, probabilities=shares)


def mean_of(members: Sequence[Estimated]) -> Estimated:
    """Return the mean of several networks' predictions and shares."""
    shares = {name: np.mean([m.shares[name] for m in members], axis=0) for name in members[0].shares}
    return Estimated(np.mean([m.estimate for m in members], axis=0), shares)


def _same(one: Fold, other: Fold) -> bool:
    return (one.seed, one.number) == (other.seed, other.number)


def fit_baseline(fit: Callable[[WindowTable, I64, F32, int], B], table: WindowTable, fold: Fold, alpha: float) -> B:
    """Fit a baseline on all that a fold learns from, its subjects weighed as in training."""
    side = np.sort(np.concatenate([fold.train, fold.validation]))
    return fit(table, side, subject_weights(table.subject[side], alpha), fold.seed)


def _baseline(
    table: WindowTable, folds: Sequence[Fold], name: str, alpha: float
) -> tuple[Predictions | scores.Absent, list[audit.Fitted]]:
    parts: list[tuple[Fold, Estimated]] = []
    evidence = []
    for fold in folds:
        fitted = fit_baseline(partial(baselines.fit, name), table, fold, alpha)
        answer = fitted.answer(table, fold.test)
        if answer is None:
            return scores.Absent(fitted.reason), []
        parts.append((fold, Estimated(answer.estimate, answer.probabilities)))
        evidence.append(audit.Fitted(f"baseline {name}", fitted.fitted_rows, fold.number, fold.seed, ("train", "validation")))
    return predictions(table, parts), evidence


def _elapsed(table: WindowTable, folds: Sequence[Fold], alpha: float) -> tuple[Predictions | scores.Absent, list[audit.Fitted]]:
    """Return a baseline that sees the time since the start of the recording and nothing else.

    Where everybody goes through one schedule, the clock alone tells the state: a score is worth what it is above this one.
    """
    clock = table.index["onset_s"].to_numpy(np.float64)[:, None].astype(np.float32)
    found, evidence = _baseline(replace(table, values=clock, names=("clock.onset_s",)), folds, "gradient_boosting", alpha)
    return found, [replace(fit, what=f"baseline {ELAPSED}") for fit in evidence]


def _target_median(table: WindowTable, folds: Sequence[Fold]) -> Predictions | scores.Absent:
    """Return the median of the target set's *other* subjects (each weighs the same): a predictor that knows the target."""
    if any(head.classes for head in table.head):
        return scores.Absent("classes have no median")
    parts = []
    for fold in folds:
        subject, truth = table.subject[fold.test], table.targets[fold.test].astype(np.float64)
        people = np.unique(subject)
        if people.size < 2:
            return scores.Absent("the target has one subject: there are no others to take the median of")
        medians = np.stack([_medians(truth[subject == person]) for person in people])
        others = {person: _medians(np.delete(medians, i, axis=0)) for i, person in enumerate(people)}
        parts.append((fold, Estimated(np.stack([others[person] for person in subject]), {})))
    return predictions(table, parts)


def _medians(values: F64) -> F64:
    """Return the median of each column's known values, shape (target,); NaN where none is known."""
    return np.array([np.median(known) if (known := column[~np.isnan(column)]).size else np.nan for column in values.T])


__all__ = ["CONTROL", "MODEL", "TWIN", "Graded", "gather", "mean_of", "predictions"]
