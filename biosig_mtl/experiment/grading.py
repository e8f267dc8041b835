"""From trained networks to predictions, baselines, intervals and the evidence of the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation import audit, scores
from biosig_mtl.experiment.members import CONTROL, MODEL, Result
from biosig_mtl.models import baselines
from biosig_mtl.training import subject_weights
from biosig_mtl.types import F64, I64, Bool, Fold, Predictions, WindowTable

LEVEL = 0.9
TARGET_MEDIAN = "target_median"
ALONE = "network without the kernel beside it"


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
    if all(r.alone is not None for r in results if r.job.variant == MODEL):
        variants[ALONE] = _variant(table, folds, [replace(r, test=r.alone) for r in results if r.alone is not None], MODEL)
    fitted = [_fitted(r) for r in results]
    made: dict[str, Predictions | scores.Absent] = {}
    for name in baselines.BASELINES:
        made[name], evidence = _baseline(table, folds, name, alpha)
        fitted += evidence
    if "transfer_test" in table.index:
        made[TARGET_MEDIAN] = _target_median(table, folds)
    return Graded(variants[MODEL], {k: v for k, v in variants.items() if k != MODEL}, made, tuple(fitted))


def _fitted(result: Result) -> audit.Fitted:
    fold = result.job.fold
    # Members validate on different training subjects, so together a fold's networks may have seen train and validation.
    what = f"scaler and networks, {result.job.variant}"
    return audit.Fitted(what, result.fitted_rows, fold.number, fold.seed, ("train", "validation"))


def predictions(table: WindowTable, parts: Sequence[tuple[Fold, F64]]) -> Predictions:
    """Join test predictions (n, T) of folds into one value."""
    rows = np.concatenate([fold.test for fold, _ in parts])
    return Predictions(
        row=rows,
        fold=np.concatenate([np.full(fold.test.size, fold.number) for fold, _ in parts]),
        seed=np.concatenate([np.full(fold.test.size, fold.seed) for fold, _ in parts]),
        subject=table.subject[rows],
        onset_s=table.index["onset_s"].to_numpy(np.float64)[rows],
        y_true=table.targets[rows].astype(np.float64),
        y_pred=np.concatenate([estimate for _, estimate in parts]),
        target_names=table.target_names,
    )


def _variant(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result], name: str) -> Predictions:
    parts = []
    for fold in folds:
        members = [r.test for r in results if r.job.variant == name and _same(r.job.fold, fold)]
        if members:
            parts.append((fold, np.mean(members, axis=0)))
    return predictions(table, parts)


def _same(one: Fold, other: Fold) -> bool:
    return (one.seed, one.number) == (other.seed, other.number)


def _baseline(
    table: WindowTable, folds: Sequence[Fold], name: str, alpha: float
) -> tuple[Predictions | scores.Absent, list[audit.Fitted]]:
    parts: list[tuple[Fold, F64]] = []
    evidence = []
    for fold in folds:
        side = np.sort(np.concatenate([fold.train, fold.validation]))
        fitted = baselines.fit(name, table, side, subject_weights(table.subject[side], alpha), seed=fold.seed)
        estimate = fitted.predict(table.values[fold.test])
        if estimate is None:
            return scores.Absent(fitted.reason), []
        parts.append((fold, estimate))
        evidence.append(audit.Fitted(f"baseline {name}", fitted.fitted_rows, fold.number, fold.seed, ("train", "validation")))
    return predictions(table, parts), evidence


def _target_median(table: WindowTable, folds: Sequence[Fold]) -> Predictions | scores.Absent:
    """Return the median of the target set's *other* subjects (each weighs the same): a predictor that knows the target."""
    parts = []
    for fold in folds:
        subject, truth = table.subject[fold.test], table.targets[fold.test].astype(np.float64)
        people = np.unique(subject)
        if people.size < 2:
            return scores.Absent("the target has one subject: there are no others to take the median of")
        medians = np.stack([_medians(truth[subject == person]) for person in people])
        others = {person: _medians(np.delete(medians, i, axis=0)) for i, person in enumerate(people)}
        parts.append((fold, np.stack([others[person] for person in subject])))
    return predictions(table, parts)


def _medians(values: F64) -> F64:
    """Return the median of each column's known values, shape (target,); NaN where none is known."""
    return np.array([np.median(known) if (known := column[~np.isnan(column)]).size else np.nan for column in values.T])


def half_widths(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result]) -> dict[tuple[int, int], F64]:
    """Return, for each (seed, fold), the half-width (T,) below which 90 % of the validation errors lie, each subject alike.

    The errors are those of networks on subjects that they did not learn from and that are not tested: split-conformal intervals
    by person, with the validation subjects as calibration set. They were used for early stopping too, so the width is a
    little too small; the measured coverage stands in ``scores.json``.
    """
    widths = {}
    for fold in folds:
        own = [r for r in results if r.job.variant == MODEL and _same(r.job.fold, fold)]
        rows = np.concatenate([r.validation_rows for r in own])
        errors = np.abs(np.concatenate([r.validation for r in own]) - table.targets[rows])
        weight = subject_weights(table.subject[rows], 1.0).astype(np.float64)
        widths[fold.seed, fold.number] = np.array([_quantile(e, weight) for e in errors.T])
    return widths


def _quantile(values: F64, weight: F64) -> float:
    known = np.isfinite(values)
    if not known.any():
        return float("nan")
    order = np.argsort(values[known], kind="stable")
    share = np.cumsum(weight[known][order]) / weight[known].sum()
    place = min(int(np.searchsorted(share, LEVEL)), order.size - 1)
    return float(values[known][order][place])


def interval_facts(model: Predictions, half: F64) -> dict[str, dict[str, float]]:
    """Return the measured coverage (each subject with a known value alike) and the mean width of the intervals, by target."""
    inside = np.abs(model.y_pred - model.y_true) <= half
    return {
        name: {
            "level": LEVEL,
            "coverage": _by_subject(model.subject, inside[:, j], ~np.isnan(model.y_true[:, j])),
            "width": float(2 * half[:, j].mean()),
        }
        for j, name in enumerate(model.target_names)
    }


def _by_subject(subject: NDArray[np.str_], inside: Bool, known: Bool) -> float:
    """Return the mean over subjects of the share of their known windows that are inside."""
    if not known.any():
        return float("nan")
    _, code = np.unique(subject[known], return_inverse=True)
    return float((np.bincount(code, inside[known]) / np.bincount(code)).mean())


def control_rows(model: Predictions, control: Predictions) -> I64:
    """Return which rows of the model's predictions the control also made (it is trained for the first seed only)."""
    return np.flatnonzero(np.isin(model.seed, np.unique(control.seed)))


def subset(given: Predictions, rows: I64) -> Predictions:
    """Return some rows of predictions."""
    return Predictions(
        given.row[rows], given.fold[rows], given.seed[rows], given.subject[rows], given.onset_s[rows], given.y_true[rows],
        given.y_pred[rows], given.target_names,
    )  # fmt: skip


__all__ = ["CONTROL", "MODEL", "Graded", "control_rows", "gather", "half_widths", "interval_facts", "predictions", "subset"]
