"""What regressor and classifier share: the words of a network, the way from arrays to networks, files without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, check_is_fitted, validate_data

from biosig_mtl import models
from biosig_mtl.estimators import stored
from biosig_mtl.estimators.networks import Plan, estimates, train
from biosig_mtl.estimators.tables import Answers, Fitted, Layout, layout, rows_of, table_of, unknown_table
from biosig_mtl.models.encoders import STRIDES
from biosig_mtl.recipe import build, choose
from biosig_mtl.training import TrainingSettings
from biosig_mtl.types import F64

STRIDE = 32
STRIDE_S = 0.25  # about a quarter of a second a token, where the rate is told


class JointNetwork(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Abstract: an estimator that learns several targets with one network; `SplitMergeRegressor` and `SplitMergeClassifier`."""

    def save(self, path: str | Path) -> Path:
        """Write the fitted estimator into a folder: safetensors and JSON, no pickle; return the folder.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            There is nothing to save yet.
        ValueError
            A parameter is no plain word, number or mapping (a ``random_state`` that is a generator is saved as None).
        """
        check_is_fitted(self, "members_")
        return stored.save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return an estimator that `save` wrote; raise `DataError` where it is none, is another's, or was altered."""
        return stored.load(cls, Path(path))

    # ----------------------------------------------------------------------------------------------------------- tags
    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    # -------------------------------------------------------------------------------------------------------- fitting
    def _fit(self, X: F64, answers: Answers, weight: F64 | None, groups: Any) -> Self:
        """Train on checked arrays."""
        check_consistent_length(X, answers.values, groups)
        plan = layout(X.shape, getattr(self, "feature_names_in_", None), self.waveform_shape, self.fs)
        _need_whole_waveforms(X, plan)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows = rows_of(X, answers, weight, None if groups is None else np.asarray(groups), seed)
        if len(rows.index) < 2:
            raise ValueError(f"need at least 2 rows with a known target, got n_samples={len(rows.index)}")
        known = replace(answers, values=answers.values[rows.index])
        nobody = ~np.isfinite(known.values).any(axis=0)
        if nobody.any():
            raise ValueError(f"target '{answers.names[int(np.argmax(nobody))]}' is unknown in every row: drop it from y")
        table = table_of(X[rows.index], plan, known, rows.unit)
        found = train(table, rows, self._plan(grouped=rows.grouped, width=table.waveform.shape[-1]), seed)
        self.members_ = found.members
        self.history_ = found.history
        self.warnings_ = found.warnings
        self.target_names_ = answers.names
        self.n_outputs_ = len(answers.names)
        known = replace(answers, values=answers.values[:0])
        self.fitted_ = Fitted(plan, known, found.errors, found.unit)
        return self

    def _plan(self, *, grouped: bool, width: int) -> Plan:
        """Return the plan of the words; raise `RecipeError` for a wrong one."""
        name = choose(self.model, models.MODELS, "model")
        words: dict[str, Any] = {"width": self.width, "dropout": self.dropout}
        if width:
            words["stride"] = _stride(self.stride, self.fs)
        words |= {"kernel_landmarks": self.kernel_landmarks} if getattr(self, "kernel_landmarks", 0) else {}
        training: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "patience": self.patience,
            "mi_weight": self.independence,
            "balance_subjects": self.balance_groups if grouped else 0.0,
        }
        training |= {"loss": self.loss} if hasattr(self, "loss") else {}
        return Plan(
            model=name,
            settings=build(models.MODELS[name].settings, words | dict(self.model_options or {}), "model_options"),
            training=build(TrainingSettings, training | dict(self.training_options or {}), "training_options"),
            members=self.ensemble,
            validation=self.validation,
            device=self.device,
        )

    # -------------------------------------------------------------------------------------------------------- arrays
    def _checked(self, X: Any, *, reset: bool) -> F64:
        """Return X as numbers; NaN is a missing feature."""
        made: F64 = validate_data(
            self, X, reset=reset, allow_nd=True, dtype=np.float64, ensure_all_finite="allow-nan", order="C"
        )
        if not reset and made.shape[1:] != self.fitted_.layout.shape:
            raise ValueError(f"need X with rows of shape {self.fitted_.layout.shape} as in fit, got {made.shape[1:]}")
        return made

    def _estimates(self, X: Any) -> tuple[F64, Mapping[int, F64]]:
        """Return estimates (n, T), and shares (n, C) of classes by the number of the target."""
        check_is_fitted(self, "members_")
        made = self._checked(X, reset=False)
        _need_whole_waveforms(made, self.fitted_.layout)
        return estimates(self.members_, unknown_table(made, self.fitted_.layout, self.fitted_.answers))


def checked_weight(weight: Any, X: F64) -> F64 | None:
    """Return weights (n,) as numbers; raise `ValueError` where one is negative, or all are zero."""
    return None if weight is None else _check_sample_weight(weight, X, dtype=np.float64, ensure_non_negative=True)


def _need_whole_waveforms(X: F64, plan: Layout) -> None:
    """Raise `ValueError` where a waveform holds NaN: a network listens to whole windows."""
    broken = np.isnan(plan.split(X)[1]).any(axis=2) if plan.channels else np.zeros((0, 0), bool)
    if broken.any():
        row, channel = np.argwhere(broken)[0]
        raise ValueError(f"row {row}: {plan.channels[channel]} of the waveform has NaN: fill the gap, or leave the row out")


def _stride(stride: int | None, fs: float | None) -> int:
    """Return samples a token: as told, or about a quarter of a second."""
    if stride is not None or fs is None:
        return STRIDE if stride is None else stride
    return min(STRIDES, key=lambda s: abs(np.log(s / (STRIDE_S * fs))))


def checked_answers(y: Any) -> tuple[NDArray[Any], tuple[str, ...], bool]:
    """Return y as (n, T), the names of its columns, and whether it was given as one column.

    Raises
    ------
    ValueError
        There is no y, it has more than two axes, or no column.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None")
    names = getattr(y, "columns", None)
    made = np.asarray(y)
    if made.ndim not in {1, 2} or (made.ndim == 2 and made.shape[1] == 0):
        raise ValueError(f"need y of shape (row,) or (row, target), got {made.shape}")
    flat = made.ndim == 1
    made = made.reshape(len(made), -1)
    words = tuple(str(name) for name in names) if names is not None else tuple(f"y{k}" for k in range(made.shape[1]))
    return made, words, flat
