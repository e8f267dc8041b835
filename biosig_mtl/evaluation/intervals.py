"""Uncertainty over people: bootstrap intervals in which the subject, not the window, is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.types import F64, I64

REPEATS = 2000
FEWEST = 2  # people without whom there is no spread between people
NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True, slots=True)
class Paired:
    """Model minus baseline on the same subjects: negative is better for an error, positive for a share of right answers.

    ``probability_better`` is the share of draws in which the model is the better one.
    """

    difference: float
    ci95: tuple[float, float]
    probability_better: float
    verdict: str


def draw(subjects: int, rng: np.random.Generator, repeats: int = REPEATS) -> I64:
    """Return how often each subject comes in each bootstrap sample, shape (repeat, subject).

    Counts instead of row numbers: one matrix product then gives the statistic of every sample, and using one matrix for several
    statistics resamples them jointly.
    """
    if subjects < 1 or repeats < 1:
        raise ValueError(f"need subjects >= 1 and repeats >= 1, got {subjects}, {repeats}")
    return np.asarray(rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=repeats), dtype=np.int64)


def mean_ci95(values: ArrayLike, counts: I64) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over subjects.

    Parameters
    ----------
    values
        One figure a subject, shape (subject,). NaN does not count.
    counts
        From `draw`, shape (repeat, subject).

    Returns
    -------
    tuple of float
        Low and high; both NaN for fewer than two subjects with a value, because one person says nothing about people.
    """
    vector = np.asarray(values, dtype=float)
    if np.isfinite(vector).sum() < FEWEST:
        return float("nan"), float("nan")
    return _percentiles(_means(vector, counts))


def ratio_ci95(numerator: ArrayLike, denominator: ArrayLike, counts: I64) -> tuple[float, float]:
    """Return the interval of mean(numerator) ÷ mean(denominator) with both sides drawn together (for MASE)."""
    top, bottom = _together(numerator, denominator)
    if np.isfinite(top).sum() < FEWEST:
        return float("nan"), float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        return _percentiles(_means(top, counts) / _means(bottom, counts))


def paired(model: ArrayLike, other: ArrayLike, counts: I64, *, larger_is_better: bool = False) -> Paired:
    """Compare two figures (errors, unless ``larger_is_better``) on the same subjects.

    The verdict is ``better`` or ``worse`` where the 95 % interval of the mean difference leaves out 0, else
    ``not distinguishable``. Source: paired bootstrap, Efron & Tibshirani 1993, §16; percentile interval (§13.3).
    """
    left, right = _together(model, other)
    difference = left - right
    known = np.isfinite(difference)
    only = float(difference[known].mean()) if known.any() else float("nan")
    means = _means(difference, counts) if known.sum() >= FEWEST else np.empty(0)
    return compared(only, means, larger_is_better=larger_is_better)


def compared(difference: float, samples: ArrayLike, *, larger_is_better: bool = False) -> Paired:
    """Judge a difference (model − other) by its bootstrap samples; without samples nothing is distinguishable."""
    means = np.asarray(samples, dtype=float)
    means = means[np.isfinite(means)]
    if not means.size:
        return Paired(difference, (float("nan"), float("nan")), float("nan"), NOT_DISTINGUISHABLE)
    low, high = _percentiles(means)
    below, above = ("worse", "better") if larger_is_better else ("better", "worse")
    verdict = below if high < 0 else above if low > 0 else NOT_DISTINGUISHABLE
    gain = means if larger_is_better else -means
    # A tie (the same predictor twice) is no evidence for either side.
    probability = float(np.mean(gain > 0) + 0.5 * np.mean(gain == 0))
    return Paired(difference, (low, high), probability, verdict)


def samples_ci95(samples: ArrayLike, subjects: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of a figure of bootstrap samples of ``subjects`` people, NaN for fewer than two."""
    values = np.asarray(samples, dtype=float)
    if subjects < FEWEST or not np.isfinite(values).any():
        return float("nan"), float("nan")
    return _percentiles(values)


def _together(a: ArrayLike, b: ArrayLike) -> tuple[F64, F64]:
    left, right = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if left.shape != right.shape:
        raise ValueError(f"need the same subjects on both sides, got {left.size} and {right.size}")
    known = np.isfinite(left) & np.isfinite(right)
    return np.where(known, left, np.nan), np.where(known, right, np.nan)


def _means(values: F64, counts: I64) -> F64:
    if counts.shape[1] != values.size:
        raise ValueError(f"need draws of {values.size} subjects, got draws of {counts.shape[1]}")
    known = np.isfinite(values)
    weight = counts.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        # A sample can by chance hold no subject with a value: 0 / 0 is NaN and left out of the percentiles.
        return np.asarray((weight @ np.where(known, values, 0.0)) / (weight @ known.astype(float)))


def _percentiles(samples: F64) -> tuple[float, float]:
    known = samples[np.isfinite(samples)]
    if not known.size:  # a ratio to an error of 0, say
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
