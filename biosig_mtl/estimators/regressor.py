"""`SplitMergeRegressor`: several numbers at once, in the grammar of scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_array, check_is_fitted

from biosig_mtl.estimators.joint import JointNetwork, checked_answers, checked_weight
from biosig_mtl.estimators.tables import Answers
from biosig_mtl.types import F64, I64


class SplitMergeRegressor(RegressorMixin, JointNetwork):  # type: ignore[misc]
    """Joint regression of one or several targets by Split 'n' Merge, or by another network of `biosig_mtl.models.MODELS`.

    Parameters
    ----------
    model
        Word of the network: ``split_merge``, ``hard_sharing``, ``mmoe`` … (`biosig_mtl.models.MODELS`).
    width, dropout
        Size of a token, and the share of dropped units.
    epochs, batch_size, lr, weight_decay, patience
        AdamW. Training stops after ``patience`` epochs without a better validation score and keeps the best weights; 0 = never.
    loss
        ``huber``, ``mae`` or ``mse`` of scaled targets.
    independence
        Weight of the term that keeps the splits distinct; 0 = off.
    kernel_landmarks
        Centres of a kernel ridge beside the network; 0 = none. It is fitted on training rows, and its share is chosen on what
        is held back: where nothing is, there is no kernel. Good where people are few.
    ensemble
        Networks whose estimates are averaged; each holds back another validation part.
    validation
        Share of persons (of rows, where ``fit`` is given no ``groups``) that is held back to stop by. With fewer than ten
        nothing is held back, and all epochs are trained.
    balance_groups
        α of row weights n_rows(person)^−α, where groups are given: 1 gives every person the same say, 0 every row.
    waveform_shape
        (C, L): the last C × L columns of a 2-d X are a waveform (`beside` puts them there). None: all columns are features.
    fs
        Rate of the waveform in Hz; it sets ``stride`` where that is None, to about a quarter of a second.
    stride
        Samples a token of the waveform: 4, 8, 16, 32, 64, 128 or 256; None: from ``fs``, else 32.
    model_options, training_options
        Further words of the network's settings and of `biosig_mtl.training.TrainingSettings`, as in a recipe.
    device
        Where to train, as torch names it; estimates are computed on the processor.
    random_state
        Seed. The same seed and rows, in any order, give the same networks.

    Attributes
    ----------
    members_
        Trained networks with their scalers. Scales are fitted inside ``fit``, on training rows alone.
    history_
        One mapping an epoch and network: ``member epoch loss validation`` …
    warnings_
        What went wrong in training without stopping it.
    target_names_, n_outputs_, n_features_in_, feature_names_in_
        As they were given. For X of shape (row, channel, time) ``n_features_in_`` is the number of channels.

    Notes
    -----
    X is a feature table (n, F), in which NaN is a missing feature, or waveforms (n, C, L) without NaN. Columns of a DataFrame
    whose names have a dot (``pulse.rise_s``) make one token a family, all others one token together.

    Without ``groups`` the validation part is drawn by rows that differ: where people have several rows, stopping then looks at
    people that are learned from, and networks are trained for too long. No warning is given at every fit: give the groups.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 3))
    >>> y = np.stack([120 + 10 * X[:, 0], 80 + 5 * X[:, 1]], axis=1)
    >>> model = SplitMergeRegressor(width=8, epochs=2, random_state=0).fit(X, y, groups=np.repeat(np.arange(20), 2))
    >>> model.predict(X).shape
    (40, 2)
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
        loss: Literal["huber", "mae", "mse"] = "huber",
        independence: float = 0.1,
        kernel_landmarks: int = 0,
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
        self.loss = loss
        self.independence = independence
        self.kernel_landmarks = kernel_landmarks
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
        """Train.

        Parameters
        ----------
        X
            (n, F) or (n, C, L), see the notes of the class.
        y
            (n,) or (n, T). NaN is an unknown target: a row without any known one is left out.
        sample_weight
            (n,). Whole numbers are counts: a row of weight 3 is learned from as if it was there three times, one of weight 0 as
            if it was not there. Otherwise (or where counts would make the rows ten times as many) twice as many rows as there
            are are drawn in proportion to their weight, once for the whole fit; a fit then takes twice as long.
        groups
            (n,): whose the rows are. Persons are then held back whole.

        Raises
        ------
        ValueError
            Shapes do not fit, a value is infinite, a target is unknown in every row, fewer than two rows are left.
        RecipeError
            A parameter is no word or value that the network or its training knows.
        DataError
            The loss stops being finite.
        """
        made = self._checked(X, reset=True)
        given, names, flat = checked_answers(y)
        values: F64 = check_array(given, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y")
        return self._fit(made, Answers(values, names, flat=flat), checked_weight(sample_weight, made), groups)

    def predict(self, X: Any) -> F64:
        """Return estimates in the unit of y, (n,) where y was 1-d and (n, T) otherwise; all targets are always estimated."""
        return self._shaped(self._estimates(X)[0])

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[F64, F64]:
        """Return lower and upper bounds, each of the shape that `predict` returns.

        Split conformal by person: the bound is where errors on held-back rows reach ``level``, each person with the same say
        and one more person with an error without bound (Vovk et al. 2005, §4.1, for persons in place of rows as Dunn, Wasserman
        & Ramdas 2022, their pooled CDF). Exact for a row of a new person where one network holds back persons it never looked
        at. Two deviations: training stopped by the same rows (and the share of a kernel was chosen by them), which makes bounds
        a little too narrow, and with an ensemble errors are those of single networks, which makes them a little too wide.

        Raises
        ------
        ValueError
            So few persons were held back that no finite bound has this level.
        """
        check_is_fitted(self, "members_")
        if not 0 < level < 1:
            raise ValueError(f"need 0 < level < 1, got {level}")
        middle = self._estimates(X)[0]
        half = np.array([half_width(np.abs(column), self.fitted_.unit, level) for column in self.fitted_.errors.T])
        if not np.isfinite(half).all():
            need, have = math.ceil(level / (1 - level) - 1e-9), int(np.unique(self.fitted_.unit).size)
            raise ValueError(
                f"an interval of {level:.0%} needs {need} persons (rows, without groups) held back with every target known, "
                f"got {have}: raise validation or ensemble, or fit on more people"
            )
        return self._shaped(middle - half), self._shaped(middle + half)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R², the mean over targets; rows without a target do not count for that target."""
        truth, _, _ = checked_answers(y)
        given = np.asarray(truth, np.float64)
        said = self.predict(X).reshape(given.shape)
        weight = None if sample_weight is None else np.asarray(sample_weight)
        each = []
        for t in range(given.shape[1]):
            known = ~np.isnan(given[:, t])
            each.append(r2_score(given[known, t], said[known, t], sample_weight=None if weight is None else weight[known]))
        return float(np.mean(each))

    def _shaped(self, values: F64) -> F64:
        return values[:, 0] if self.fitted_.answers.flat else values


def half_width(errors: F64, unit: I64, level: float) -> float:
    """Return the half-width that errors (m,) of persons ``unit`` (m,) stay below with this level, infinite where too few.

    >>> half_width(np.arange(1.0, 10.0), np.arange(9), 0.9), half_width(np.arange(1.0, 9.0), np.arange(8), 0.9)
    (9.0, inf)
    """
    known = np.isfinite(errors)
    errors, unit = errors[known], unit[known]
    _, code, counts = np.unique(unit, return_inverse=True, return_counts=True)
    order = np.argsort(errors, kind="stable")
    shares: NDArray[np.float64] = np.cumsum(1.0 / counts[code[order]]) / (len(counts) + 1)
    reached = np.flatnonzero(shares >= level - 1e-12)
    return float(errors[order][reached[0]]) if reached.size else math.inf
