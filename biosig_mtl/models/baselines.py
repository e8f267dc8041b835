"""Models without a network: what a recipe has to beat. No torch; scikit-learn only where it is used.

Each is fitted on training rows only and remembers them. One that cannot be fitted (no demographics in the data, say) does not
fail the run: it has no predictions and a reason that the report prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64, RecipeError, WindowTable

Predict = Callable[[NDArray[np.floating]], F64]
ALPHAS = np.logspace(-1, 5, 13)
INNER_FOLDS = 5
CLIP = 5.0
WINSOR = (0.01, 0.99)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline: `predict` maps values (n, F) to estimates (n, T) in the unit of the target.

    Where it could not be fitted, `predict` gives None and ``reason`` says why.
    """

    name: str
    fitted_rows: I64
    reason: str
    model: Predict | None

    def predict(self, values: NDArray[np.floating]) -> F64 | None:
        """Return estimates (n, T), None where there is no fitted model."""
        return None if self.model is None else self.model(values)


@dataclass(frozen=True)
class Known:
    """Training part of one target: what is known of it."""

    values: F64
    target: F64
    subject: NDArray[np.str_]
    weight: F64
    seed: int


FitTarget = Callable[[Known], Predict]


def fit(name: str, table: WindowTable, rows: I64, weight: F32 | None = None, seed: int = 0) -> Baseline:
    """Fit a baseline of `BASELINES` on ``rows`` of a table.

    Parameters
    ----------
    name
        One of `BASELINES`.
    table
        Values, names, targets and subjects.
    rows
        Training rows; nothing else is looked at.
    weight
        Of each of ``rows``; None weighs windows alike.
    seed
        Of the inner folds and of boosting.
    """
    if name not in BASELINES:
        raise RecipeError(f"unknown baseline '{name}'; choose from {', '.join(BASELINES)}")
    prefix, fit_target = BASELINES[name]
    columns = _columns(table.names, prefix)
    values = np.asarray(table.values[rows], dtype=np.float64)[:, columns]
    # A column that never varies (a missing flag in a complete set, a feature without a value) teaches nothing.
    columns = columns[_varies(values)]
    values = values[:, _varies(values)]
    if prefix is not None and not columns.size:
        wanted = f"'{prefix}…'" if prefix else "any"
        return Baseline(name, rows, f"no {wanted} feature with values in the training part", None)
    weights = np.ones(len(rows)) if weight is None else np.asarray(weight, dtype=np.float64)
    models: list[Predict] = []
    for t, target in enumerate(np.asarray(table.targets[rows], dtype=np.float64).T):
        known = np.isfinite(target)
        if not known.any():
            return Baseline(name, rows, f"target '{table.target_names[t]}' is unknown in the training part", None)
        models.append(fit_target(Known(values[known], target[known], table.subject[rows][known], weights[known], seed)))
    return Baseline(name, rows, "", _together(models, columns))


def _columns(names: Sequence[str], prefix: str | None) -> I64:
    if prefix is None:
        return np.empty(0, dtype=np.int64)
    return np.array([i for i, name in enumerate(names) if name.startswith(prefix)], dtype=np.int64)


def _varies(values: F64) -> NDArray[np.bool_]:
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.asarray(low < high)


def _together(models: Sequence[Predict], columns: I64) -> Predict:
    def predict(values: NDArray[np.floating]) -> F64:
        chosen = np.asarray(values, dtype=np.float64)[:, columns]
        return np.stack([model(chosen) for model in models], axis=1)

    return predict


# ------------------------------------------------------------------------------------------------------------- constants
def _constant(value: float) -> Predict:
    return lambda values: np.full(len(values), value)


def _mean(known: Known) -> Predict:
    return _constant(float(np.average(known.target, weights=known.weight)))


def _median(known: Known) -> Predict:
    """Weighted median: the smallest value with at least half of the weight at or below it."""
    order = np.argsort(known.target, kind="stable")
    share = np.cumsum(known.weight[order]) / known.weight.sum()
    return _constant(float(known.target[order][np.searchsorted(share, 0.5)]))


# ----------------------------------------------------------------------------------------------------------------- ridge
def _design(values: F64) -> Callable[[NDArray[np.floating]], F64]:
    """Return the map to standardised columns, missing values at the mean with a flag column where any is missing."""
    finite = np.isfinite(values)
    safe = np.where(finite, values, np.nan)
    low, high = np.nanquantile(safe, WINSOR, axis=0)
    trimmed = np.clip(safe, low, high)
    center, scale = np.nanmean(trimmed, axis=0), np.nanstd(trimmed, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    flagged = ~finite.all(axis=0)

    def design(raw: NDArray[np.floating]) -> F64:
        known = np.isfinite(raw)
        scaled = np.clip((np.where(known, raw, center) - center) / scale, -CLIP, CLIP)
        return np.concatenate([scaled, ~known[:, flagged]], axis=1)

    return design


def _ridge(known: Known) -> Predict:
    """Ridge whose penalty is chosen by subject-grouped inner folds on the weighted mean absolute error."""
    design = _design(known.values)
    x = design(known.values)
    offset, *weights = _solve(x, known.target, known.weight, np.array([_penalty(x, known)]))[:, 0]
    slope = np.array(weights)
    return lambda values: design(values) @ slope + offset


def _penalty(x: F64, known: Known) -> float:
    fold = _subject_folds(known.subject, known.seed)
    if fold.max() == 0:
        return float(ALPHAS[-1])
    errors = np.zeros(ALPHAS.size)
    for k in range(fold.max() + 1):
        fit_part, held = fold != k, fold == k
        solved = _solve(x[fit_part], known.target[fit_part], known.weight[fit_part], ALPHAS)
        size = np.abs(x[held] @ solved[1:] + solved[0] - known.target[held, None])
        errors += (size * known.weight[held, None]).sum(axis=0)
    return float(ALPHAS[int(np.argmin(errors))])


def _solve(x: F64, y: F64, weight: F64, alphas: F64) -> F64:
    """Return offset and slopes (1 + F, alpha) of weighted ridge for several penalties from one decomposition."""
    mean_x, mean_y = np.average(x, axis=0, weights=weight), np.average(y, weights=weight)
    centred = x - mean_x
    values, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    rotated = vectors.T @ ((centred * weight[:, None]).T @ (y - mean_y))
    slopes = vectors @ (rotated[:, None] / (np.maximum(values, 0.0)[:, None] + alphas))
    return np.concatenate([(mean_y - mean_x @ slopes)[None], slopes])


def _subject_folds(subject: NDArray[np.str_], seed: int) -> I64:
    people, code = np.unique(subject, return_inverse=True)
    part = np.random.default_rng(seed).permutation(people.size) % min(INNER_FOLDS, people.size)
    return np.asarray(part[code], dtype=np.int64)


# -------------------------------------------------------------------------------------------------------------- boosting
def _boosting(known: Known) -> Predict:
    """Histogram gradient boosting on the absolute error; a modest forest, for sets of a few thousand windows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="absolute_error", learning_rate=0.06, max_iter=120, max_leaf_nodes=12, min_samples_leaf=20,
        l2_regularization=1.0, max_features=0.5, early_stopping=False, random_state=known.seed,
    )  # fmt: skip
    rows = _replicated(known.weight)
    model.fit(known.values[rows], known.target[rows])
    return lambda values: np.asarray(model.predict(values), dtype=np.float64)


def _replicated(weight: F64) -> I64:
    """Return as many rows as there are weights, each about as often as its weight says.

    The weighted median of every leaf costs scikit-learn forty times the plain one; repeating rows says nearly the same.
    """
    share = np.cumsum(weight) / weight.sum()
    return np.searchsorted(share, (np.arange(weight.size) + 0.5) / weight.size).astype(np.int64)


# Name → (prefix of the features that it sees, None for none at all; how one target is fitted).
BASELINES: dict[str, tuple[str | None, FitTarget]] = {
    "train_mean": (None, _mean),
    "train_median": (None, _median),
    "demographics": ("person.", _ridge),
    "heart_rate": ("hr.mean", _ridge),
    "ridge": ("", _ridge),
    "gradient_boosting": ("", _boosting),
}
