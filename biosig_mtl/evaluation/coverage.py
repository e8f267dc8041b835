"""How often intervals hold the truth: over people, in each class of the truth, by signal quality, and fold by fold.

A share over people is the mean of each person's own share (a long recording does not weigh more), with its 95 % interval from a
bootstrap over people. Coverage in the mean says little of the extremes: an interval around an estimate that shrinks to the mean
holds the middle always and the high pressures seldom. So classes are told too, by the *truth*, which is for reading only: at
prediction time nobody knows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation import intervals
from biosig_mtl.types import F64, I64, Bool

# Inner edges in mmHg; a value on an edge belongs to the class above it.
EDGES: Mapping[str, tuple[float, ...]] = {"sbp": (100.0, 140.0, 160.0), "dbp": (60.0, 80.0, 100.0)}
POOR = 0.8  # a person below it is poorly served by intervals of 90 %
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Bounds:
    """Intervals of one target with the truth, all (n,) in its unit; ``sqi`` in [0, 1]. What is NaN counts for nothing."""

    subject: NDArray[np.str_]
    truth: F64
    lower: F64
    upper: F64
    sqi: F64
    fold: I64
    seed: I64

    def at(self, rows: NDArray[Any]) -> Bounds:
        """Return some of the windows."""
        return Bounds(*(getattr(self, field.name)[rows] for field in fields(self)))

    def known(self) -> Bounds:
        """Return the windows with a truth and an interval."""
        return self.at(np.isfinite(self.truth) & np.isfinite(self.lower) & np.isfinite(self.upper))

    @property
    def inside(self) -> Bool:
        """Whether the truth is held."""
        return np.asarray((self.lower <= self.truth) & (self.truth <= self.upper))


def by_person(subject: NDArray[np.str_], values: NDArray[Any]) -> F64:
    """Return the mean of each person's windows (person,), in the order of their names."""
    _, code = np.unique(subject, return_inverse=True)
    return np.asarray(np.bincount(code, np.asarray(values, np.float64)) / np.bincount(code))


def figures(bounds: Bounds, rng: np.random.Generator) -> dict[str, Any]:
    """Return what is held and how wide the intervals are.

    Keys: ``coverage`` (over people) with ``coverage_ci95``, ``width`` (over people, in the unit), ``pooled`` (over windows),
    ``n_windows``, ``n_subjects``. NaN where nothing is known.
    """
    held = bounds.known()
    if not held.truth.size:
        return {"coverage": np.nan, "coverage_ci95": [np.nan, np.nan], "width": np.nan, "pooled": np.nan} | _counts(held)
    share = by_person(held.subject, held.inside)
    return {
        "coverage": float(share.mean()),
        "coverage_ci95": list(intervals.mean_ci95(share, intervals.draw(share.size, rng))),
        "width": float(by_person(held.subject, held.upper - held.lower).mean()),
        "pooled": float(held.inside.mean()),
    } | _counts(held)


def _counts(held: Bounds) -> dict[str, int]:
    return {"n_windows": int(held.truth.size), "n_subjects": int(np.unique(held.subject).size)}


def people(bounds: Bounds) -> dict[str, Any]:
    """Return how coverage differs between people: the share of them below `POOR`, and quantiles of their coverage."""
    held = bounds.known()
    if not held.truth.size:
        return {"below": POOR, "share_below": np.nan, "quantiles": {}}
    share = by_person(held.subject, held.inside)
    return {
        "below": POOR,
        "share_below": float((share < POOR).mean()),
        "quantiles": {f"{q:g}": float(np.quantile(share, q)) for q in QUANTILES},
    }


def by_class(bounds: Bounds, target: str, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the figures in each class of the truth that has windows, lowest first; other targets than pressures have none."""
    edges = EDGES.get(target)
    if edges is None:
        return []
    held = bounds.known()
    place = np.digitize(held.truth, edges)
    return [
        {"class": name, **figures(held.at(place == number), rng)}
        for number, name in enumerate(names_of(edges))
        if (place == number).any()
    ]


def names_of(edges: tuple[float, ...]) -> list[str]:
    """Return a name for each class between edges.

    >>> names_of((100.0, 140.0, 160.0))
    ['< 100', '100–140', '140–160', '≥ 160']
    """
    inner = [f"{low:g}–{high:g}" for low, high in pairwise(edges)]
    return [f"< {edges[0]:g}", *inner, f"≥ {edges[-1]:g}"]


def by_quality(bounds: Bounds, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the figures in quarters of signal quality, worst first; nothing where it is unknown or everywhere the same."""
    held = bounds.known()
    held = held.at(np.isfinite(held.sqi))
    if held.truth.size < 8 or np.ptp(held.sqi) == 0:
        return []
    edges = np.unique(np.quantile(held.sqi, [0.25, 0.5, 0.75]))
    place = np.searchsorted(edges, held.sqi, side="left")
    parts = [held.at(place == number) for number in range(edges.size + 1) if (place == number).any()]
    return [{"sqi": [float(part.sqi.min()), float(part.sqi.max())], **figures(part, rng)} for part in parts]


def by_fold(bounds: Bounds, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the figures of each fold of each seed; one without known truths is left out."""
    held = bounds.known()
    pairs = sorted(set(zip(held.seed.tolist(), held.fold.tolist(), strict=True)))
    return [
        {"seed": seed, "fold": fold, **figures(held.at((held.seed == seed) & (held.fold == fold)), rng)} for seed, fold in pairs
    ]
