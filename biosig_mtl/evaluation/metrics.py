"""Figures of agreement: per subject first, then their mean over subjects; pooled over windows beside it.

Error means estimate − reference, in the unit of the target. A figure that does not exist (a correlation of two windows, or of a
constant) is NaN and is counted, never replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biosig_mtl.types import F64, I64

FIGURES = ("mae", "me", "sd", "rmse", "r", "ccc", "mapd", "cp5", "cp10", "cp15")
_LEAST = 3  # windows below which two points always agree or disagree perfectly
_CONSTANT = 1e-9  # a spread below this share of the magnitude is a constant written with rounding errors


@dataclass(frozen=True, slots=True)
class PerSubject:
    """Figures of every subject: ``figures[name]`` and ``windows`` (finite pairs) have shape (subject,)."""

    subject: NDArray[np.str_]
    windows: I64
    figures: Mapping[str, F64]


def per_subject(y_true: ArrayLike, y_pred: ArrayLike, subject: ArrayLike) -> PerSubject:
    """Return the figures of each subject, sorted by subject name.

    Parameters
    ----------
    y_true, y_pred
        Reference and estimate, shape (window,). Pairs that are not finite on both sides do not count.
    subject
        Subject of every window, shape (window,). A subject without a finite pair stays in the list with NaN figures.

    Returns
    -------
    PerSubject
        ``mae me sd rmse`` in the unit of the target (``sd`` with n − 1, NaN for one window), ``r`` (Pearson) and ``ccc``
        (Lin 1989, with n in the denominators) NaN for fewer than three windows or where the reference is constant; a constant
        estimate of a reference that varies has no ``r``, and a ``ccc`` of 0. ``mapd`` in percent of the reference,
        ``cp5 cp10 cp15`` the share of windows whose error is at most 5, 10, 15 units.

    >>> per_subject([120, 130], [125, 128], ["a", "a"]).figures["mae"].tolist()
    [3.5]
    """
    true, pred = _pair(y_true, y_pred)
    names, code = np.unique(np.asarray(subject, dtype=str), return_inverse=True)
    if code.shape != true.shape:
        raise ValueError(f"need one subject a window, got {code.size} subjects for {true.size} windows")
    keep = np.isfinite(true) & np.isfinite(pred)
    return PerSubject(
        names, np.bincount(code[keep], minlength=names.size), _figures(true[keep], pred[keep], code[keep], names.size)
    )


def pooled(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Return the same figures with every window weighing the same, whoever it comes from."""
    true, pred = _pair(y_true, y_pred)
    keep = np.isfinite(true) & np.isfinite(pred)
    figures = _figures(true[keep], pred[keep], np.zeros(int(keep.sum()), np.int64), 1)
    return {name: float(value[0]) for name, value in figures.items()}


def average(runs: Sequence[PerSubject]) -> PerSubject:
    """Return the mean over runs (seeds) of every subject's figures; a NaN run does not count."""
    if not runs:
        raise ValueError("need at least one run")
    if any(not np.array_equal(run.subject, runs[0].subject) for run in runs):
        raise ValueError("the runs score different subjects")
    figures = {name: nanmean(np.stack([run.figures[name] for run in runs])) for name in FIGURES}
    return PerSubject(runs[0].subject, np.max([run.windows for run in runs], axis=0), figures)


def over_subjects(scored: PerSubject) -> dict[str, float]:
    """Return the mean over subjects of each figure: every subject weighs the same."""
    return {name: float(nanmean(values)) for name, values in scored.figures.items()}


def undefined(scored: PerSubject) -> dict[str, int]:
    """Return how many subjects have no value of a figure, for the figures where any has none."""
    counts = {name: int(np.isnan(values).sum()) for name, values in scored.figures.items()}
    return {name: count for name, count in counts.items() if count}


def between_subjects_r(y_true: ArrayLike, y_pred: ArrayLike, subject: ArrayLike) -> float:
    """Return the correlation of subject means: what is left to judge where each subject has one reference value."""
    true, pred = _pair(y_true, y_pred)
    keep = np.isfinite(true) & np.isfinite(pred)
    _, code = np.unique(np.asarray(subject, dtype=str)[keep], return_inverse=True)
    count = np.bincount(code)
    return pooled(np.bincount(code, true[keep]) / count, np.bincount(code, pred[keep]) / count)["r"]


def bland_altman(y_true: ArrayLike, y_pred: ArrayLike, subject: ArrayLike) -> dict[str, float]:
    """Return bias and limits of agreement, plain and corrected for repeated measures, and the slope of error on mean.

    Source: Bland & Altman 2007, J Biopharm Stat 17:571, §3 (true value varies): the variance of the error is the sum of a
    within-subject part (mean square inside subjects) and a between-subject part from a one-way analysis of variance with
    unequal numbers of windows. Deviation: a negative estimate of the between-subject part counts as 0.
    ``corrected_*`` are NaN where no subject has two windows or there is one subject only.
    """
    true, pred = _pair(y_true, y_pred)
    keep = np.isfinite(true) & np.isfinite(pred)
    error, middle = (pred - true)[keep], ((pred + true) / 2)[keep]
    names, code = np.unique(np.asarray(subject, dtype=str)[keep], return_inverse=True)
    plain = pooled(true, pred)
    total_sd = float(np.sqrt(sum(variance_parts(error, code))))
    spread = ((middle - middle.mean()) ** 2).sum() if error.size else 0.0
    slope = float((error * (middle - middle.mean())).sum() / spread) if spread > 0 else float("nan")
    return {
        "bias": plain["me"], "low": plain["me"] - 1.96 * plain["sd"], "high": plain["me"] + 1.96 * plain["sd"],
        "corrected_low": plain["me"] - 1.96 * total_sd, "corrected_high": plain["me"] + 1.96 * total_sd,
        "slope": slope, "n_subjects": float(names.size), "n_windows": float(error.size),
    }  # fmt: skip


def variance_parts(error: F64, code: I64) -> tuple[float, float]:
    """Return the (within, between) subject variance of ``error``; ``code`` numbers the subjects 0, 1, …."""
    count = np.bincount(code).astype(float)
    n, total = count.size, float(count.sum())
    if n < 2 or total <= n:
        return float("nan"), float("nan")
    mean = np.bincount(code, error) / count
    within = float(((error - mean[code]) ** 2).sum() / (total - n))
    between_square = float((count * (mean - error.mean()) ** 2).sum() / (n - 1))
    typical = (total**2 - float((count**2).sum())) / ((n - 1) * total)
    return within, max(0.0, (between_square - within) / typical)


def nanmean(values: F64) -> F64:
    """Return the mean over the first axis without the NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=0) / np.where(count, count, np.nan))


def _pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[F64, F64]:
    true, pred = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    if true.ndim != 1 or true.shape != pred.shape:
        raise ValueError(f"need two vectors of one length, got shapes {true.shape} and {pred.shape}")
    return true, pred


def _figures(true: F64, pred: F64, code: I64, n: int) -> dict[str, F64]:
    error = pred - true
    size = np.abs(error)
    count = np.bincount(code, minlength=n).astype(float)
    count[count == 0] = np.nan

    def mean(values: F64) -> F64:
        return np.asarray(np.bincount(code, values, minlength=n) / count)

    me, mse = mean(error), mean(error**2)
    centred = mean((error - me[code]) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "mae": mean(size),
            "me": me,
            "sd": np.sqrt(centred * count / np.where(count > 1, count - 1, np.nan)),
            "rmse": np.sqrt(mse),
            **_agreement(true, pred, code, n),
            "mapd": mean(100 * size / np.where(true == 0, np.nan, np.abs(true))),
            **{f"cp{limit}": mean((size <= limit).astype(float)) for limit in (5, 10, 15)},
        }


def _agreement(true: F64, pred: F64, code: I64, n: int) -> dict[str, F64]:
    """Return Pearson's r and Lin's concordance, from deviations (two passes: sums of squares of pressures would cancel)."""
    count = np.bincount(code, minlength=n).astype(float)
    count[count < _LEAST] = np.nan
    centre = [np.bincount(code, side, minlength=n) / count for side in (true, pred)]
    off = [side - middle[code] for side, middle in zip((true, pred), centre, strict=True)]
    variance = [np.bincount(code, deviation**2, minlength=n) / count for deviation in off]
    covariance = np.bincount(code, off[0] * off[1], minlength=n) / count
    return concordance((centre[0], centre[1]), (variance[0], variance[1]), covariance)


def concordance(centre: tuple[F64, F64], variance: tuple[F64, F64], covariance: F64) -> dict[str, F64]:
    """Return ``r`` and ``ccc`` from the moments of reference and estimate (Lin 1989, Biometrics 45:255, eq. 2.5).

    Both are NaN where the reference is constant: nobody can agree with the changes of what does not change. Where only the
    estimate is constant, ``r`` is NaN and ``ccc`` 0, which is its limit for an estimate that hardly varies.
    """
    flat = [~(s > (_CONSTANT * (1 + np.abs(m))) ** 2) for s, m in zip(variance, centre, strict=True)]
    with np.errstate(invalid="ignore", divide="ignore"):
        r = covariance / np.sqrt(variance[0] * variance[1])
        ccc = 2 * covariance / (variance[0] + variance[1] + (centre[0] - centre[1]) ** 2)
    known = ~np.isnan(variance[0] + variance[1])
    ccc = np.where(flat[1] & known, 0.0, ccc)
    return {"r": np.where(flat[0] | flat[1], np.nan, np.clip(r, -1, 1)), "ccc": np.where(flat[0], np.nan, ccc)}


def pooled_draws(y_true: ArrayLike, y_pred: ArrayLike, subject: ArrayLike, counts: I64) -> dict[str, F64]:
    """Return pooled ``mae rmse r ccc`` of every bootstrap sample of subjects, each of shape (repeat,).

    Sums of each subject are multiplied by how often it was drawn, so no window is copied.

    Parameters
    ----------
    y_true, y_pred, subject
        As for `per_subject`.
    counts
        From `intervals.draw` for the sorted names of all subjects, shape (repeat, subject).
    """
    true, pred = _pair(y_true, y_pred)
    names, code = np.unique(np.asarray(subject, dtype=str), return_inverse=True)
    if counts.shape[1] != names.size:
        raise ValueError(f"need draws of {names.size} subjects, got draws of {counts.shape[1]}")
    keep = np.isfinite(true) & np.isfinite(pred)
    true, pred, code = true[keep], pred[keep], code[keep]
    # Deviations from one middle: without it the sums of squares would cancel.
    middle = float(true.mean()) if true.size else 0.0
    x, y, error = true - middle, pred - middle, pred - true
    terms = (np.ones(x.size), x, y, x * x, y * y, x * y, np.abs(error), error**2)
    sums = np.stack([np.bincount(code, term, minlength=names.size) for term in terms], axis=1)
    n, *rest = (counts.astype(float) @ sums).T
    n = np.where(n > 0, n, np.nan)
    mean_x, mean_y, xx, yy, xy, size, square = (total / n for total in rest)
    few = n < _LEAST
    spread = [np.where(few, np.nan, np.maximum(s - m * m, 0.0)) for s, m in ((xx, mean_x), (yy, mean_y))]
    agreement = concordance((mean_x + middle, mean_y + middle), (spread[0], spread[1]), xy - mean_x * mean_y)
    return {"mae": size, "rmse": np.sqrt(square), **agreement}
