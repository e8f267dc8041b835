"""From windows to trials: one answer for all windows of one stimulus (or record) of one session of one subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from biosig_mtl.types import F64, I64, Predictions


def select(given: Predictions, rows: I64) -> Predictions:
    """Return some rows of predictions, with all that belongs to them."""
    named = {
        name: getattr(given, name)[rows]
        for name in ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred", "trial", "stimulus")
        if getattr(given, name).size
    }
    return replace(given, **named, probabilities={name: shares[rows] for name, shares in given.probabilities.items()})


def by_trial(given: Predictions) -> Predictions:
    """Return one prediction a trial and seed.

    A number is the mean of the windows' estimates, beside the mean of their references. Of classes, the probabilities are the
    mean of the windows'; the answer is the likeliest class of that mean, unless all windows agree on another one (decided by
    some other rule). The reference is the commonest class of the windows, the lower of two equally common. Windows whose
    reference or estimate is unknown do not count, target by target.

    Raises
    ------
    ValueError
        Nobody told which trial a window belongs to.
    """
    if given.trial.size != given.row.size:
        raise ValueError(f"need the trial of every window, got {given.trial.size} for {given.row.size} windows")
    code, first = _code(given)
    one = select(given, first)
    true, pred = np.empty_like(one.y_true, dtype=float), np.empty_like(one.y_pred, dtype=float)
    shares: dict[str, F64] = {}
    for j, (name, head) in enumerate(zip(given.target_names, given.head, strict=True)):
        sides = given.y_true[:, j].astype(float), given.y_pred[:, j].astype(float)
        keep = np.isfinite(sides[0]) & np.isfinite(sides[1])
        if not head.classes:
            true[:, j], pred[:, j] = (_mean(side, keep, code, first.size) for side in sides)
            continue
        votes = [_votes(side, keep, (code, first.size), head.classes) for side in sides]
        told = given.probabilities.get(name)
        mean = votes[1] if told is None else np.stack([_mean(c, keep, code, first.size) for c in told.T], axis=1)
        unanimous = votes[1].max(axis=1, initial=0) == 1
        answer = np.where(unanimous, np.nan_to_num(votes[1]).argmax(axis=1), np.nan_to_num(mean).argmax(axis=1))
        known = np.isfinite(votes[0][:, 0])
        true[:, j], pred[:, j] = (np.where(known, side, np.nan) for side in (np.nan_to_num(votes[0]).argmax(axis=1), answer))
        if told is not None:
            shares[name] = mean
    return replace(one, y_true=true, y_pred=pred, probabilities=shares)


def facts(given: Predictions, target: str) -> dict[str, Any]:
    """Return how many trials of a target have a reference, of how many windows, and in how many trials the reference varies."""
    code, _ = _code(given)
    true = given.y_true[:, given.target_names.index(target)].astype(float)
    known = np.isfinite(true)
    code, true = code[known], true[known]
    windows = np.bincount(code)
    low, high = np.full(windows.size, np.inf), np.full(windows.size, -np.inf)
    np.minimum.at(low, code, true)
    np.maximum.at(high, code, true)
    seeds = max(np.unique(given.seed).size, 1)
    return {
        "n_trials": round(int((windows > 0).sum()) / seeds),
        "windows_a_trial": float(np.median(windows[windows > 0])) if true.size else None,
        "trials_whose_reference_varies": round(int((low < high).sum()) / seeds),
    }


def reference_shares(given: Predictions, target: str) -> Mapping[str, int]:
    """Return how many windows of the first seed have each class of a target as their reference, by name of the class."""
    j = given.target_names.index(target)
    head = given.head[j]
    true = given.y_true[given.seed == given.seed.min(initial=np.iinfo(np.int64).max), j]
    counts = np.bincount(true[np.isfinite(true)].astype(np.int64), minlength=head.classes)
    return dict(zip(head.names(), counts.tolist(), strict=True))


def _code(given: Predictions) -> tuple[I64, I64]:
    """Return the number of each row's trial (of its seed), and the first row of each trial."""
    key = np.zeros(given.row.size, np.int64)
    for side in (given.seed, given.subject, given.trial):
        names, part = np.unique(side, return_inverse=True)
        key = key * names.size + part
    _, first, code = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(code, dtype=np.int64), np.asarray(first, dtype=np.int64)


def _mean(values: F64, keep: Any, code: I64, trials: int) -> F64:
    count = np.bincount(code[keep], minlength=trials)
    return np.asarray(np.bincount(code[keep], values[keep], minlength=trials) / np.where(count > 0, count, np.nan))


def _votes(values: F64, keep: Any, trials: tuple[I64, int], classes: int) -> F64:
    """Return the share of each class among a trial's windows, shape (trial, class), NaN where none is known."""
    code, n = trials
    cell = code[keep] * classes + values[keep].astype(np.int64)
    counts = np.bincount(cell, minlength=n * classes).reshape(n, classes)
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.where(total > 0, total, np.nan))
