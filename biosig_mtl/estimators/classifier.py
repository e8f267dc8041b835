"""`SplitMergeClassifier`: several classes at once, in the grammar of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length

from biosig_mtl.estimators.joint import JointNetwork, checked_answers, checked_weight
from biosig_mtl.estimators.tables import Answers
from biosig_mtl.types import F64, Head

# A share of exactly 0 has no logarithm.
_LEAST = np.finfo(np.float64).tiny


def _one_column(estimator: Any) -> bool:
    return not isinstance(getattr(estimator, "classes_", None), list)


class SplitMergeClassifier(ClassifierMixin, JointNetwork):  # type: ignore[misc]
    """Joint classification of one or several targets by Split 'n' Merge, or by another network of `biosig_mtl.models.MODELS`.

    Parameters
    ----------
    balanced
        Weigh the classes of each target alike in the loss.
    model, width, dropout, epochs, batch_size, lr, weight_decay, patience, independence, ensemble, validation, balance_groups
        As in `SplitMergeRegressor`.
    waveform_shape, fs, stride, model_options, training_options, device, random_state
        As in `SplitMergeRegressor`.

    Attributes
    ----------
    classes_
        Classes in order; a list of them, one a target, where y has several columns.
    members_, history_, warnings_, target_names_, n_outputs_, n_features_in_, feature_names_in_
        As in `SplitMergeRegressor`.

    Notes
    -----
    X and groups are as in `SplitMergeRegressor`. In y NaN (None in columns of words) is an unknown class.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 3))
    >>> model = SplitMergeClassifier(width=8, epochs=2, random_state=0).fit(X, np.where(X[:, 0] > 0, "high", "low"))
    >>> model.predict(X).dtype.kind, model.predict_proba(X).shape
    ('U', (40, 2))
    """

    def __init__(  # noqa: PLR0913 (scikit-learn wants every parameter by its name)
        self,
        *,
        model: str = "split_merge",
        width: int = 32,
        dropout: float = 0.1,
        epochs: int = 40,
        batch_size: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        patience: int = 10,
        balanced: bool = False,
        independence: float = 0.1,
        ensemble: int = 1,
        validation: float = 0.2,
        balance_groups: float = 1.0,
        waveform_shape: tuple[int, int] | None = None,
        fs: float | None = None,
        stride: int | None = None,
        model_options: Mapping[str, Any] | None = None,
        training_options: Mapping[str, Any] | None = None,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.width = width
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.patience = patience
        self.balanced = balanced
        self.independence = independence
        self.ensemble = ensemble
        self.validation = validation
        self.balance_groups = balance_groups
        self.waveform_shape = waveform_shape
        self.fs = fs
        self.stride = stride
        self.model_options = model_options
        self.training_options = training_options
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train; parameters as in `SplitMergeRegressor.fit`, and y holds classes, (n,) or (n, T).

        Raises
        ------
        ValueError
            As there, or a target has a single class, or numbers that are no classes.
        RecipeError, DataError
            As there.
        """
        made = self._checked(X, reset=True)
        given, names, flat = checked_answers(y)
        check_consistent_length(made, given)
        weight = checked_weight(sample_weight, made)
        counted = np.ones(len(given), bool) if weight is None else weight > 0
        classes, numbers = zip(*(_encoded(column, counted) for column in given.T), strict=True)
        for name, found in zip(names, classes, strict=True):
            if len(found) < 2:
                raise ValueError(f"need at least 2 classes of '{name}', got {len(found)} class")
        self.classes_ = classes[0] if flat else list(classes)
        heads = tuple(_head(len(found), balanced=self.balanced) for found in classes)
        return self._fit(made, Answers(np.stack(numbers, axis=1), names, heads, flat), weight, groups)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most likely class of each row, (n,) where y was 1-d and (n, T) otherwise."""
        shares = self._shares(X)
        each = [found[share.argmax(axis=1)] for found, share in zip(self._each_classes(), shares, strict=True)]
        return each[0] if self.fitted_.answers.flat else np.stack(each, axis=1)

    def predict_proba(self, X: Any) -> F64 | list[F64]:
        """Return the shares (n, C) of the classes; a list of them, one a target, where y had two axes."""
        shares = self._shares(X)
        return shares[0] if self.fitted_.answers.flat else shares

    @available_if(_one_column)  # type: ignore[untyped-decorator]  # scikit-learn ships no types
    def decision_function(self, X: Any) -> F64:
        """Return log odds (n,) of the second of two classes, or logarithms (n, C) of the shares; only for y of one axis."""
        logs: F64 = np.log(np.maximum(self._shares(X)[0], _LEAST))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs

    def _shares(self, X: Any) -> list[F64]:
        shares = self._estimates(X)[1]
        return [shares[t] for t in range(self.n_outputs_)]

    def _each_classes(self) -> list[NDArray[Any]]:
        return self.classes_ if isinstance(self.classes_, list) else [self.classes_]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _head(classes: int, *, balanced: bool) -> Head:
    edges = tuple(k + 0.5 for k in range(classes - 1))
    return Head("binary" if classes == 2 else "classes", edges, balanced=balanced)


def _encoded(column: NDArray[Any], counted: NDArray[np.bool_]) -> tuple[NDArray[Any], F64]:
    """Return the classes of one column among the rows that count, and the number of each row's class, NaN where unknown."""
    import pandas as pd

    unknown = np.asarray(pd.isna(column), bool)
    known = column[~unknown]
    if column.dtype.kind in "fc":
        assert_all_finite(known, input_name="y")
    if known.dtype.kind == "O" and all(isinstance(value, str) for value in known):
        known = known.astype(str)
    if known.size:
        check_classification_targets(known)
    classes = np.unique(known[counted[~unknown]])
    numbers = np.full(len(column), np.nan)
    numbers[~unknown] = np.where(np.isin(known, classes), np.searchsorted(classes, known), np.nan)
    return classes, numbers
