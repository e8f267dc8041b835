"""What models on a table of features share: what they are shown, columns fit for sums, whom to leave out inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64, Bool, Head

INNER_FOLDS = 5
CLIP = 5.0
WINSOR = (0.01, 0.99)
_NOBODY: NDArray[np.str_] = np.empty(0, dtype=str)


@dataclass(frozen=True)
class Shown:
    """What a fitted baseline may look at: values (window, feature); stimulus and trial (window,), empty arrays if not told."""

    values: NDArray[np.floating]
    stimulus: NDArray[np.str_] = field(default_factory=lambda: _NOBODY)
    trial: NDArray[np.str_] = field(default_factory=lambda: _NOBODY)


@dataclass(frozen=True)
class Known:
    """Training part of one target: what is known of it.

    ``target`` holds numbers, or class numbers where ``head`` has classes. ``salt`` differs from fold to fold: chance that has
    to be drawn anew in each is seeded by it.
    """

    values: F64
    target: F64
    subject: NDArray[np.str_]
    weight: F64
    seed: int
    stimulus: NDArray[np.str_] = field(default_factory=lambda: _NOBODY)
    head: Head = field(default_factory=Head)
    salt: int = 0


Estimate = Callable[[Shown], F64]
# The class that is answered, shape (window,), and the probabilities, shape (window, class).
Choose = Callable[[Shown], tuple[F64, F64]]


def varies(values: F64) -> Bool:
    """Return which columns hold two different finite numbers."""
    finite = np.isfinite(values)
    low = np.where(finite, values, np.inf).min(axis=0, initial=np.inf)
    high = np.where(finite, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.asarray(low < high)


def design(values: F64) -> Callable[[NDArray[np.floating]], F64]:
    """Return the map to standardised columns, missing values at the mean with a flag column where any is missing."""
    finite = np.isfinite(values)
    safe = np.where(finite, values, np.nan)
    low, high = np.nanquantile(safe, WINSOR, axis=0)
    trimmed = np.clip(safe, low, high)
    center, scale = np.nanmean(trimmed, axis=0), np.nanstd(trimmed, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    flagged = ~finite.all(axis=0)

    def prepared(raw: NDArray[np.floating]) -> F64:
        known = np.isfinite(raw)
        scaled = np.clip((np.where(known, raw, center) - center) / scale, -CLIP, CLIP)
        return np.concatenate([scaled, ~known[:, flagged]], axis=1)

    return prepared


def subject_folds(subject: NDArray[np.str_], seed: int) -> I64:
    """Return an inner fold for every window, whole subjects together; all 0 where there is one subject."""
    people, code = np.unique(subject, return_inverse=True)
    part = np.random.default_rng(seed).permutation(people.size) % min(INNER_FOLDS, people.size)
    return np.asarray(part[code], dtype=np.int64)


def stimulus_table(known: Known, columns: F64) -> Callable[[Shown], F64]:
    """Return the map to the weighted mean of ``columns`` (training window, k) over the training windows of the same stimulus.

    A stimulus that the training part does not know (or that has no name) gets the mean over the whole training part.
    """
    everyone = np.average(columns, axis=0, weights=known.weight)
    named = known.stimulus != ""
    names, code = np.unique(known.stimulus[named], return_inverse=True)
    weight = known.weight[named]
    total = np.bincount(code, weight, minlength=names.size)
    sums = np.stack([np.bincount(code, weight * c, minlength=names.size) for c in columns[named].T], axis=1)
    # Training rows of weight 0 say nothing.
    means = np.where(total[:, None] > 0, sums / np.where(total > 0, total, 1.0)[:, None], everyone)

    def look_up(shown: Shown) -> F64:
        stimulus = shown.stimulus if shown.stimulus.size else np.full(len(shown.values), "")
        place = np.minimum(np.searchsorted(names, stimulus), max(names.size - 1, 0))
        found = names[place] == stimulus if names.size else np.zeros(stimulus.size, bool)
        return np.where(found[:, None], means[place] if names.size else everyone, everyone)

    return look_up
