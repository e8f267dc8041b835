"""Groups of equal make-up: whole subjects, stimuli or trials are dealt out so that every group has some of each class."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, I64

Names = NDArray[np.str_]

# Inner edges of the pressure classes, by target.
CLASS_EDGES: dict[str, tuple[float, ...]] = {"sbp": (100.0, 140.0, 160.0), "dbp": (60.0, 80.0, 100.0)}
# Targets without fixed classes are cut at these quantiles of the medians: with four classes for each of two ratings, a cohort
# of the usual size (15 to 40 people) would have more classes than people.
QUANTILES = (1 / 3, 2 / 3)


def assign(subject: Names | I64, targets: F32, target_names: tuple[str, ...], parts: int, seed: int) -> I64:
    """Assign every window to one of ``parts`` groups of whole subjects, stratified by the class of the subject's medians.

    Subjects are taken class by class (largest class first), shuffled within the class, and each goes to the group that has the
    fewest subjects of that class, then the fewest subjects, then the fewest windows. Returns shape (window,). What is said
    here of subjects holds of stimuli just as well, where ``subject`` names them.
    """
    people, code = np.unique(subject, return_inverse=True)
    return _spread(code, _classes(code, targets, target_names, people.size), parts, seed)[code]


def deal(owner: Names | I64, trial: Names | I64, parts: int, seed: int) -> I64:
    """Assign every window to one of ``parts`` groups of whole trials: the trials of each owner are dealt out evenly."""
    _, first, code = np.unique(trial, return_index=True, return_inverse=True)
    return _spread(code, np.unique(owner[first], return_inverse=True)[1], parts, seed)[code]


def _spread(code: I64, classes: I64, parts: int, seed: int) -> I64:
    """Return the group of each unit, shape (unit,), from its number in every window and its class."""
    rng = np.random.default_rng(seed)
    windows = np.bincount(code, minlength=classes.size)
    load = np.zeros((parts, 2), np.int64)
    group = np.empty(classes.size, np.int64)
    found, sizes = np.unique(classes, return_counts=True)
    for label in found[np.argsort(-sizes, kind="stable")]:
        members = rng.permutation(np.flatnonzero(classes == label))
        here = np.zeros(parts, np.int64)
        for one in members:
            best = int(np.lexsort((load[:, 1], load[:, 0], here))[0])
            group[one] = best
            here[best] += 1
            load[best] += (1, windows[one])
    return group


def _classes(code: I64, targets: F32, target_names: tuple[str, ...], people: int) -> I64:
    """Return the joint class of each subject's median targets, shape (subject,)."""
    order = np.argsort(code, kind="stable")
    bounds = np.searchsorted(code[order], np.arange(people + 1))
    label = np.zeros(people, np.int64)
    for j, name in enumerate(target_names):
        values = targets[order, j]
        median = np.array([_median(values[a:b]) for a, b in pairwise(bounds)])
        known = median[~np.isnan(median)]
        edges = CLASS_EDGES.get(name) or (tuple(np.quantile(known, QUANTILES)) if known.size else ())
        label = label * 5 + np.where(np.isnan(median), 4, np.digitize(median, edges))
    return label


def _median(values: F32) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")
