"""Models without a network: what a recipe has to beat. No torch; scikit-learn only where it is used.

Each is fitted on training rows only and remembers them. One that cannot be fitted (no demographics in the data, say) does not
fail the run: it has no predictions and a reason that the report prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.models import class_baselines
from biosig_mtl.models.tabular import Choose, Estimate, Known, Shown, design, stimulus_table, subject_folds, varies
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import EMPTY, F32, F64, I64, RecipeError, WindowTable

ALPHAS = np.logspace(-1, 5, 13)


@dataclass(frozen=True)
class Answer:
    """Estimates (window, target) in the unit of the target, class numbers where the head has classes.

    A column of NaN is a target that this baseline does not answer. ``probabilities`` (window, class) by target of classes.
    """

    estimate: F64
    probabilities: Mapping[str, F64] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline; where it could not be fitted it answers None, and ``reason`` says why.

    ``models`` has one fitted model a target (None: not answered) on ``columns`` of the features.
    """

    name: str
    fitted_rows: I64
    reason: str
    columns: I64
    models: Mapping[str, Estimate | Choose | None]

    def answer(self, table: WindowTable, rows: I64) -> Answer | None:
        """Return the answers to rows of a table, of which no target is looked at; None where there is no fitted model."""
        if self.reason:
            return None
        values = np.asarray(table.values[rows])[:, self.columns]
        trial = _trial(table, rows) if self.name == _PER_TRIAL else _words(table, "stimulus", rows[:0])
        return self._tell(Shown(values.astype(np.float64), _words(table, "stimulus", rows), trial))

    def predict(self, values: NDArray[np.floating]) -> F64 | None:
        """Return estimates (window, target) from values (window, feature) alone; None where there is no fitted model."""
        if self.reason:
            return None
        return self._tell(Shown(np.asarray(values, dtype=np.float64)[:, self.columns])).estimate

    def _tell(self, shown: Shown) -> Answer:
        columns, shares = [], {}
        for target, model in self.models.items():
            told = np.full(len(shown.values), np.nan) if model is None else model(shown)
            if isinstance(told, tuple):
                told, shares[target] = told
            columns.append(told)
        return Answer(np.stack(columns, axis=1), shares)


def names_for(table: WindowTable) -> tuple[str, ...]:
    """Return the baselines to print beside a score: those that pressure needs, or those of the kinds of heads in use."""
    kinds = sorted({bool(head.classes) for head in table.head})
    wanted = [name for with_classes in kinds for name in (CLASSES if with_classes else NUMBERS)]
    if set(table.target_names) <= set(BLOOD_PRESSURE.target_names):
        wanted = list(PRESSURE)
    return tuple(name for name in dict.fromkeys(wanted) if name in BASELINES)


def fit(name: str, table: WindowTable, rows: I64, weight: F32 | None = None, seed: int = 0) -> Baseline:
    """Fit a baseline of `BASELINES` on ``rows`` of a table.

    Parameters
    ----------
    name
        One of `BASELINES`.
    table
        Values, names, targets, heads, subjects and stimuli.
    rows
        Training rows; nothing else is looked at.
    weight
        Of each of ``rows``; None weighs windows alike.
    seed
        Of the inner folds, of boosting and of random answers.

    Raises
    ------
    RecipeError
        There is no baseline of this name.
    """
    if name not in BASELINES:
        raise RecipeError(f"unknown baseline '{name}'; choose from {', '.join(BASELINES)}")
    rule = BASELINES[name]
    columns = _columns(table.names, rule.prefix)
    values = np.asarray(table.values[rows], dtype=np.float64)[:, columns]
    # A column that never varies (a missing flag in a complete set, a feature without a value) teaches nothing.
    chosen = varies(values)
    columns, values = columns[chosen], values[:, chosen]
    stimulus = _words(table, "stimulus", rows)
    if reason := _obstacle(rule, columns, stimulus, table):
        return Baseline(name, rows, reason, columns, {})
    weights = np.ones(len(rows)) if weight is None else np.asarray(weight, dtype=np.float64)
    subject, salt = table.subject[rows], crc32(np.ascontiguousarray(rows, dtype=np.int64).tobytes())
    models: dict[str, Estimate | Choose | None] = {}
    for target, head, raw in zip(table.target_names, table.head, table.targets[rows].T, strict=True):
        truth = head.encode(np.asarray(raw, dtype=np.float64))
        known = np.isfinite(truth)
        if not known.any():
            return Baseline(name, rows, f"target '{target}' is unknown in the training part", columns, {})
        fitter = rule.classes if head.classes else rule.numbers
        part = Known(values[known], truth[known], subject[known], weights[known], seed, stimulus[known], head, salt)
        models[target] = None if fitter is None else fitter(part)
    return Baseline(name, rows, "", columns, models)


def _obstacle(rule: Rule, columns: I64, stimulus: NDArray[np.str_], table: WindowTable) -> str:
    """Return why a baseline cannot be fitted, empty where it can."""
    if rule.prefix is not None and not columns.size:
        wanted = f"'{rule.prefix}…'" if rule.prefix else "any"
        return f"no {wanted} feature with values in the training part"
    if rule.stimulus and not (stimulus != "").any():
        return "the data set names no stimulus"
    if all((rule.classes if head.classes else rule.numbers) is None for head in table.head):
        return "it answers " + ("numbers, not classes" if rule.classes is None else "classes, not numbers")
    return ""


def _columns(names: Sequence[str], prefix: str | None) -> I64:
    if prefix is None:
        return np.empty(0, dtype=np.int64)
    return np.array([i for i, name in enumerate(names) if name.startswith(prefix)], dtype=np.int64)


def _words(table: WindowTable, column: str, rows: I64) -> NDArray[np.str_]:
    """Return a column of words, empty words where the table has no such column."""
    return table.index[column].to_numpy(dtype=str)[rows] if column in table.index else np.full(rows.size, "")


def _trial(table: WindowTable, rows: I64) -> NDArray[np.str_]:
    known = {"session", "stimulus", "record"} <= set(table.index.columns)
    return replace(table, index=table.index.iloc[rows]).trial if known else np.empty(0, dtype=str)


# ------------------------------------------------------------------------------------------------------------- constants
def _constant(value: float) -> Estimate:
    return lambda shown: np.full(len(shown.values), value)


def _mean(known: Known) -> Estimate:
    return _constant(float(np.average(known.target, weights=known.weight)))


def _median(known: Known) -> Estimate:
    """Weighted median: the smallest value with at least half of the weight at or below it."""
    order = np.argsort(known.target, kind="stable")
    share = np.cumsum(known.weight[order]) / known.weight.sum()
    return _constant(float(known.target[order][np.searchsorted(share, 0.5)]))


def _stimulus_mean(known: Known) -> Estimate:
    """Answer the mean of the training windows of the same stimulus: no physiology at all."""
    look_up = stimulus_table(known, known.target[:, None])
    return lambda shown: look_up(shown)[:, 0]


# ----------------------------------------------------------------------------------------------------------------- ridge
def _ridge(known: Known) -> Estimate:
    """Ridge whose penalty is chosen by subject-grouped inner folds on the weighted mean absolute error."""
    prepared = design(known.values)
    x = prepared(known.values)
    offset, *weights = _solve(x, known.target, known.weight, np.array([_penalty(x, known)]))[:, 0]
    slope = np.array(weights)
    return lambda shown: prepared(shown.values) @ slope + offset


def _penalty(x: F64, known: Known) -> float:
    fold = subject_folds(known.subject, known.seed)
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


# -------------------------------------------------------------------------------------------------------------- boosting
def _boosting(known: Known) -> Estimate:
    """Histogram gradient boosting on the absolute error; a modest forest, for sets of a few thousand windows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="absolute_error", learning_rate=0.06, max_iter=120, max_leaf_nodes=12, min_samples_leaf=20,
        l2_regularization=1.0, max_features=0.5, early_stopping=False, random_state=known.seed,
    )  # fmt: skip
    rows = _replicated(known.weight)
    model.fit(known.values[rows], known.target[rows])
    return lambda shown: np.asarray(model.predict(shown.values), dtype=np.float64)


def _replicated(weight: F64) -> I64:
    """Return as many rows as there are weights, each about as often as its weight says.

    The weighted median of every leaf costs scikit-learn forty times the plain one; repeating rows says nearly the same.
    """
    share = np.cumsum(weight) / weight.sum()
    return np.searchsorted(share, (np.arange(weight.size) + 0.5) / weight.size).astype(np.int64)


# ----------------------------------------------------------------------------------------------------------------- tables
@dataclass(frozen=True)
class Rule:
    """What a baseline sees and answers: features whose name begins with ``prefix`` (None: none at all), how it is fitted to a
    target of numbers or of classes (None: it does not answer such), and whether it needs to know the stimulus.
    """

    prefix: str | None
    numbers: Callable[[Known], Estimate] | None = None
    classes: Callable[[Known], Choose] | None = None
    stimulus: bool = False


BASELINES: dict[str, Rule] = {
    "train_mean": Rule(None, _mean),
    "train_median": Rule(None, _median),
    "demographics": Rule("person.", _ridge),
    "heart_rate": Rule("hr.mean", _ridge),
    "majority": Rule(None, None, class_baselines.majority),
    "class_prior": Rule(None, None, class_baselines.class_prior),
    "stimulus_mean": Rule(None, _stimulus_mean, class_baselines.stimulus_classes, stimulus=True),
    "ridge": Rule("", _ridge),
    "logistic": Rule("", None, class_baselines.logistic),
    "gradient_boosting": Rule("", _boosting, class_baselines.boosting),
}
PRESSURE = ("train_mean", "train_median", "demographics", "heart_rate", "ridge", "gradient_boosting")
NUMBERS = ("train_mean", "train_median", "stimulus_mean", "ridge", "gradient_boosting")
CLASSES = ("majority", "class_prior", "stimulus_mean", "logistic", "gradient_boosting")
_PER_TRIAL = "class_prior"
