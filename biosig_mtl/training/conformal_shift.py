"""Weights for people of another kind: how much likelier a window is among new people than among those whose errors are known.

Source: Tibshirani, Barber, Candès & Ramdas 2019 (NeurIPS), "Conformal prediction under covariate shift", eq. 7 and §2.3: the
ratio is the odds of a logistic classifier between both sets. Only inputs of the new people are used, never labels. It helps
where the new inputs differ and the errors of like inputs do not; where the labels themselves lie elsewhere it cannot know.

Deviations. People weigh alike on both sides, and weights act on people (`biosig_mtl.training.conformal`). The classifier's
ridge is chosen by the log-loss on held-out *people* of both sets, because any two sets of people can be told apart by heart;
where no ridge beats a coin all weights are 1. Odds are clipped at the 99 % quantile of the known people's: one strange window
must not outweigh them. What that leaves is told as an effective number of people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.training.conformal_scale import alike
from biosig_mtl.types import F64, I64, Bool

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse: the smaller, the heavier
PARTS = 5
CLIP = 0.99
RANGE = (0.01, 0.99)  # quantiles of the known people beyond which an input counts as at the edge
MOST = 64  # windows of a person that the classifier learns from: more tell it nothing new
COIN = math.log(2.0)
_ARRAYS = ("fill", "low", "high", "centre", "spread", "coef")


@dataclass(frozen=True)
class Shift:
    """The likelihood ratio of inputs (n, F): the arrays have shape (F,), ``clip`` bounds it and ``mean`` is what is called 1.

    ``log_loss`` is that of held-out people, `COIN` for no difference.
    """

    fill: F64
    low: F64
    high: F64
    centre: F64
    spread: F64
    coef: F64
    intercept: float
    clip: float
    mean: float
    log_loss: float

    def ratio(self, given: NDArray[np.floating]) -> F64:
        """Return the weight (n,) > 0 of windows; over the known people its mean is 1."""
        odds = np.exp(np.minimum(self.standard(np.asarray(given, np.float64)) @ self.coef + self.intercept, 50.0))
        return np.asarray(np.minimum(odds, self.clip) / self.mean)

    def standard(self, given: F64) -> F64:
        """Return inputs (n, F) filled, cut and brought to one scale."""
        whole = np.clip(np.where(np.isfinite(given), given, self.fill), self.low, self.high)
        return np.asarray((whole - self.centre) / self.spread)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        numbers = {name: getattr(self, name) for name in ("intercept", "clip", "mean", "log_loss")}
        return {name: getattr(self, name).tolist() for name in _ARRAYS} | numbers

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Shift:
        """Read what `to_json` wrote."""
        arrays = {name: np.array(told[name], np.float64) for name in _ARRAYS}
        return cls(
            **arrays,
            intercept=float(told["intercept"]),
            clip=float(told["clip"]),
            mean=float(told["mean"]),
            log_loss=float(told["log_loss"]),
        )


def fit_shift(
    known: NDArray[np.floating], subject: NDArray[np.str_], new: NDArray[np.floating], new_subject: NDArray[np.str_]
) -> Shift:
    """Learn to tell new people's windows from known ones.

    Parameters
    ----------
    known, subject
        Inputs (n, F), NaN where missing, and people of the windows whose errors are known.
    new, new_subject
        Inputs (m, F) of windows without labels, and their people.

    Raises
    ------
    ValueError
        The two have other inputs, or one has fewer than two people.
    """
    sides = (np.asarray(known, np.float64), np.asarray(new, np.float64))
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f"need the same inputs on both sides, got {sides[0].shape[1]} and {sides[1].shape[1]}")
    if min(np.unique(subject).size, np.unique(new_subject).size) < 2:
        raise ValueError("need two people on both sides")
    frame = _frame(sides[0])
    rows = [_some(each) for each in (subject, new_subject)]
    inputs = np.concatenate([frame.standard(side[row]) for side, row in zip(sides, rows, strict=True)])
    is_new = np.repeat([False, True], [rows[0].size, rows[1].size])
    names = [each[row] for each, row in zip((subject, new_subject), rows, strict=True)]
    part = np.concatenate([np.unique(name, return_inverse=True)[1] % PARTS for name in names])
    # Each set as a whole weighs alike too, so that no difference is a ratio of 1; and the ridge weighs against people.
    many = [np.unique(name).size for name in names]
    weight = np.concatenate([alike(name) * sum(many) / (2 * own) for name, own in zip(names, many, strict=True)])
    ridge, loss = _choose(inputs, is_new, part, weight)
    coef, intercept = np.zeros(inputs.shape[1]), 0.0
    if ridge is not None:
        coef, intercept = _logistic(inputs, is_new, weight, ridge)
    odds = np.exp(np.minimum(frame.standard(sides[0]) @ coef + intercept, 50.0))
    clip = float(np.quantile(odds, CLIP))
    mean = float(np.average(np.minimum(odds, clip), weights=alike(subject)))
    parts = {name: getattr(frame, name) for name in _ARRAYS if name != "coef"}
    return Shift(**parts, coef=coef, intercept=intercept, clip=clip, mean=mean, log_loss=loss)


def _frame(known: F64) -> Shift:
    """Return how inputs are filled, cut and brought to one scale, with a ratio of 1 everywhere."""
    told = np.isfinite(known).any(axis=0)
    whole = np.where(told, known, 0.0)
    fill, low, high = np.nanquantile(whole, (0.5, *RANGE), axis=0)
    whole = np.clip(np.where(np.isfinite(whole), whole, fill), low, high)
    spread = whole.std(axis=0)
    nothing = np.zeros(known.shape[1])
    spread = np.where(spread > 1e-12, spread, 1.0)
    return Shift(fill, low, high, whole.mean(axis=0), spread, nothing, 0.0, math.inf, 1.0, COIN)


def _some(subject: NDArray[np.str_]) -> I64:
    """Return at most `MOST` rows of each person, evenly spaced."""
    order = np.argsort(subject, kind="stable")
    _, start, count = np.unique(subject[order], return_index=True, return_counts=True)
    picked = [
        order[first + np.unique(np.linspace(0, n - 1, min(n, MOST)).astype(np.int64))]
        for first, n in zip(start, count, strict=True)
    ]
    return np.sort(np.concatenate(picked))


def _choose(inputs: F64, is_new: Bool, part: I64, weight: F64) -> tuple[float | None, float]:
    """Return the ridge with the least log-loss on held-out people, None where a coin is as good, and the loss."""
    best: tuple[float | None, float] = (None, COIN)
    for ridge in RIDGES:
        told = np.empty(is_new.size)
        for number in np.unique(part):
            own = part == number
            if len(np.unique(is_new[~own])) < 2:
                told[own] = 0.0
                continue
            coef, intercept = _logistic(inputs[~own], is_new[~own], weight[~own], ridge)
            told[own] = inputs[own] @ coef + intercept
        loss = float(np.average(np.logaddexp(0.0, np.where(is_new, -told, told)), weights=weight))
        if loss < best[1]:
            best = (ridge, loss)
    return best


def _logistic(inputs: F64, is_new: Bool, weight: F64, ridge: float) -> tuple[F64, float]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=ridge, max_iter=1000).fit(inputs, is_new, sample_weight=weight)
    return np.asarray(fitted.coef_[0], np.float64), float(fitted.intercept_[0])
