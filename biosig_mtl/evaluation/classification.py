"""Figures of classes, all from sums of each subject: so a subject, everybody together and every bootstrap sample cost the same.

A figure that does not exist (one class only in the reference of a subject) is NaN and is counted, never replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biosig_mtl.types import F64, I64

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "auc")
# Classes come from edges on a scale, so three or more of them have neighbours.
ORDERED = ("class_mae", "seq2hr", "tri_p")
_CELLS = 50_000_000  # subjects × different scores up to which the area under the curve is exact
_LEVELS = 20_000  # beyond: neighbouring scores are taken as tied, which moves the area by less than 10⁻⁴
_BLOCK = 2_000_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Sums of each of S subjects, sorted by name.

    ``confusion`` has shape (subject, class, class): windows of one class that were given another. ``wins`` has shape
    (curve, subject, subject): of all pairs of a window of the class (of the first subject) and a window of another class (of
    the second), how many have the higher score on the former, ties counting half; one curve for two classes, else one a
    class; none where there are no probabilities. ``neighbours`` (subject,) counts windows whose two likeliest classes are
    neighbours and hold the true one; NaN without probabilities.
    """

    subject: NDArray[np.str_]
    confusion: F64
    wins: F64
    neighbours: F64


def count(y_true: ArrayLike, y_pred: ArrayLike, shares: F64 | None, subject: ArrayLike, classes: int) -> Counted:
    """Sum up each subject's answers.

    Parameters
    ----------
    y_true, y_pred
        Class numbers, shape (window,). Pairs that are not finite on both sides do not count.
    shares
        Predicted probabilities, shape (window, class), or None: then there is no area under the curve.
    subject
        Subject of every window. A subject without a finite pair stays in the list.
    classes
        Number of classes, 2 or more.

    Raises
    ------
    ValueError
        Shapes differ, or a class number is not 0 … classes − 1.
    """
    true, pred = np.asarray(y_true, dtype=float), np.asarray(y_pred, dtype=float)
    names, code = np.unique(np.asarray(subject, dtype=str), return_inverse=True)
    if true.ndim != 1 or true.shape != pred.shape or code.shape != true.shape:
        raise ValueError(f"need three vectors of one length, got shapes {true.shape}, {pred.shape}, {code.shape}")
    if shares is not None and shares.shape != (true.size, classes):
        raise ValueError(f"need probabilities of shape ({true.size}, {classes}), got {shares.shape}")
    keep = np.isfinite(true) & np.isfinite(pred)
    if shares is not None:
        keep &= np.isfinite(shares).all(axis=1)
    t, p, who = (_whole(true[keep], classes), _whole(pred[keep], classes), code[keep])
    n = int(names.size)
    cell = (who * classes + t) * classes + p
    confusion = np.bincount(cell, minlength=n * classes**2).reshape(n, classes, classes).astype(float)
    if shares is None:
        return Counted(names, confusion, np.empty((0, n, n)), np.full(n, np.nan))
    known = np.asarray(shares[keep], dtype=float)
    curves = [1] if classes == 2 else list(range(classes))
    wins = np.stack([_wins(known[:, k], t == k, who, n) for k in curves])
    hits: F64 = np.bincount(who[_top_two(known, t)], minlength=n).astype(float)
    return Counted(names, confusion, wins, hits)


def figures(counted: Counted, weights: ArrayLike) -> dict[str, F64]:
    """Return all figures of weighted sums of subjects, each of shape (row of weights,).

    Parameters
    ----------
    counted
        From `count`.
    weights
        How often each subject counts, shape (row, subject): the unit matrix for each subject alone, a row of ones for all
        windows together, draws of `intervals.draw` for the bootstrap.

    Returns
    -------
    dict
        ``accuracy``; ``balanced_accuracy``: mean recall of the classes that occur; ``macro_f1``: mean over classes that occur
        in the reference or the answers; ``kappa`` (Cohen 1960); ``auc``: Mann–Whitney with ties counting half, for three or
        more classes the mean of each class against the rest. These four are NaN where the reference has one class only. For
        three or more classes also ``class_mae`` (mean distance in classes), ``seq2hr`` (share of windows whose two likeliest
        classes are neighbours and hold the true one) and ``tri_p`` (share of answers at most one class off), both of HiSTN
        (Kuang, arXiv 2408.15255); with three classes they are high by chance, so read them beside the baselines'.
    """
    w = np.asarray(weights, dtype=float)
    if w.ndim != 2 or w.shape[1] != counted.subject.size:
        raise ValueError(f"need weights of {counted.subject.size} subjects, got shape {w.shape}")
    table = np.tensordot(w, counted.confusion, axes=1)
    n = table.sum(axis=(1, 2))
    total = np.where(n > 0, n, np.nan)
    told = _of_table(table, total) | {"auc": _area(counted, w, table)}
    varied = (table.sum(axis=2) > 0).sum(axis=1) > 1
    told = {name: value if name == "accuracy" else np.where(varied, value, np.nan) for name, value in told.items()}
    return told if table.shape[1] < 3 else told | _ordered(counted, w, table, total)


def expected(y_true: ArrayLike, shares: F64) -> dict[str, float]:
    """Return the figures, all windows together, to expect of answers drawn at random with the probabilities ``shares``.

    They follow from the expected confusion; ``macro_f1`` is that of the expectation, not the expectation of it.
    """
    true = np.asarray(y_true, dtype=float)
    keep = np.isfinite(true)
    classes = shares.shape[1]
    t = _whole(true[keep], classes)
    table: F64 = np.stack([np.bincount(t, column, minlength=classes) for column in shares[keep].T.astype(float)], axis=1)
    told = figures(Counted(np.array(["all"]), table[None], np.empty((0, 1, 1)), np.full(1, np.nan)), np.ones((1, 1)))
    return {name: float(told[name][0]) for name in ("accuracy", "balanced_accuracy", "macro_f1", "kappa")}


def over_subjects(per_subject: Mapping[str, F64]) -> dict[str, float]:
    """Return the mean over subjects of each figure without the NaN: every subject weighs the same."""
    return {
        name: float(np.mean(known)) if (known := values[np.isfinite(values)]).size else float("nan")
        for name, values in per_subject.items()
    }


def _whole(values: F64, classes: int) -> I64:
    numbers = values.astype(np.int64)
    if (numbers != values).any() or ((numbers < 0) | (numbers >= classes)).any():
        raise ValueError(f"need class numbers 0 to {classes - 1}")
    return numbers


def _of_table(table: F64, total: F64) -> dict[str, F64]:
    right = np.diagonal(table, axis1=1, axis2=2)
    truth, answer = table.sum(axis=2), table.sum(axis=1)
    accuracy = right.sum(axis=1) / total
    by_chance = (truth * answer).sum(axis=1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truth > 0, right / truth, np.nan)
        f1 = np.where(truth + answer > 0, 2 * right / (truth + answer), np.nan)
        kappa = (accuracy - by_chance) / (1 - by_chance)
    return {"accuracy": accuracy, "balanced_accuracy": _mean(recall), "macro_f1": _mean(f1), "kappa": kappa}


def _mean(values: F64) -> F64:
    """Return the mean over the last axis without the NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    size = known.sum(axis=1)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / np.where(size > 0, size, np.nan))


def _area(counted: Counted, weights: F64, table: F64) -> F64:
    curves = len(counted.wins)
    if not curves:
        return np.full(len(weights), np.nan)
    truth = table.sum(axis=2)
    inside = truth[:, -curves:]
    pairs = inside * (truth.sum(axis=1, keepdims=True) - inside)
    won = np.stack([((weights @ wins) * weights).sum(axis=1) for wins in counted.wins], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _mean(np.where(pairs > 0, won / pairs, np.nan))


def _ordered(counted: Counted, weights: F64, table: F64, total: F64) -> dict[str, F64]:
    number = np.arange(table.shape[1])
    off = np.abs(number[:, None] - number)
    return {
        "class_mae": (table * off).sum(axis=(1, 2)) / total,
        "seq2hr": weights @ counted.neighbours / total,
        "tri_p": (table * (off <= 1)).sum(axis=(1, 2)) / total,
    }


def _top_two(shares: F64, true: I64) -> NDArray[np.bool_]:
    first, second = np.argsort(-shares, axis=1, kind="stable")[:, :2].T
    return np.asarray((np.abs(first - second) == 1) & ((first == true) | (second == true)))


def _wins(score: F64, positive: NDArray[np.bool_], code: I64, people: int) -> F64:
    """Return won pairs (subject of the positive, subject of the negative): a sum over scores from low to high."""
    different, level = np.unique(score, return_inverse=True)
    levels = different.size
    if people * levels > _CELLS:
        level = level * _LEVELS // levels
        levels = _LEVELS
    order = np.argsort(level, kind="stable")
    level, who, yes = level[order], code[order], positive[order]
    width = max(1, min(levels, _BLOCK // max(people, 1)))
    won, below = np.zeros((people, people)), np.zeros((people, 1))
    for start in range(0, levels, width):
        rows = slice(*np.searchsorted(level, [start, start + width]))
        cell = who[rows] * width + level[rows] - start
        here = [np.bincount(cell[pick], minlength=people * width) for pick in (yes[rows], ~yes[rows])]
        high, low = (side.reshape(people, width).astype(float) for side in here)
        won += high @ (below + low.cumsum(axis=1) - low / 2).T
        below += low.sum(axis=1, keepdims=True)
    return won
