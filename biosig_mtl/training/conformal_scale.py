"""How large an error to expect of a window: a fitted function of the estimate and of the quality of the signal.

A scale only shares the width out between windows; what is held is settled afterwards by the people's errors divided by it
(Lei, G'Sell, Rinaldo, Tibshirani & Wasserman 2018, JASA, §5.2, "locally weighted"). It is the exponential of a straight line,
fitted to log(|error| + c) by least squares with each person alike; c, a tenth of the median error, keeps small errors from
ruling. The spread of MC dropout and the estimates of all targets were tried as further inputs: neither ranks errors better
(docs/intervals.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64

PARTS = 5
FAR = 3.0  # standard deviations; beyond, the line is level, for nothing was seen there
SMALL = 0.1


@dataclass(frozen=True)
class Scale:
    """exp(``level`` + ``slope`` · clipped standard scores of (estimate, sqi)) in the unit of the target; arrays are (2,)."""

    level: float
    slope: F64
    centre: F64
    spread: F64

    def of(self, estimate: F64, sqi: F64) -> F64:
        """Return the scale (n,) > 0 of windows; of unknown quality it is that of the usual one."""
        given = np.stack([estimate, np.where(np.isfinite(sqi), sqi, self.centre[1])], axis=1)
        return np.asarray(np.exp(self.level + np.clip((given - self.centre) / self.spread, -FAR, FAR) @ self.slope))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"level": self.level} | {name: getattr(self, name).tolist() for name in ("slope", "centre", "spread")}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Scale:
        """Read what `to_json` wrote."""
        slope, centre, spread = (np.array(told[name], np.float64) for name in ("slope", "centre", "spread"))
        return cls(float(told["level"]), slope, centre, spread)


def alike(subject: NDArray[np.str_]) -> F64:
    """Return 1 / n (n_windows,) for each window of a person with n windows: all people weigh alike.

    >>> alike(np.array(["a", "b", "a"])).tolist()
    [0.5, 1.0, 0.5]
    """
    _, code, count = np.unique(subject, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[code])


def fit_scale(subject: NDArray[np.str_], estimate: F64, sqi: F64, residual: F64) -> Scale:
    """Fit a scale to known errors (n,), each person alike; a ridge as heavy as one person keeps the slopes small."""
    weight = alike(subject)
    far = np.abs(residual)
    floor = SMALL * float(np.median(far)) or 1e-6
    quality = np.where(np.isfinite(sqi), sqi, np.nan_to_num(np.nanmean(sqi) if np.isfinite(sqi).any() else 1.0))
    given = np.stack([estimate, quality], axis=1)
    centre = np.asarray(np.average(given, axis=0, weights=weight), np.float64)
    spread = np.asarray(np.sqrt(np.average((given - centre) ** 2, axis=0, weights=weight)), np.float64)
    spread[spread < 1e-9] = 1.0
    sides = np.clip((given - centre) / spread, -FAR, FAR)
    design = np.column_stack([np.ones(far.size), sides])
    left = design.T @ (weight[:, None] * design) + np.diag([0.0, 1.0, 1.0])
    found = np.asarray(np.linalg.solve(left, design.T @ (weight * np.log(far + floor))), np.float64)
    return Scale(float(found[0]), found[1:], centre, spread)


def cross_fitted(subject: NDArray[np.str_], estimate: F64, sqi: F64, residual: F64) -> F64:
    """Return the scale (n,) of each window by a fit on other people: a fifth of them at a time, in the order of their names."""
    people, code = np.unique(subject, return_inverse=True)
    part = np.arange(people.size) % min(PARTS, people.size)
    made = np.empty(estimate.size)
    for number in np.unique(part):
        own = (part == number)[code]
        fitted = fit_scale(subject[~own], estimate[~own], sqi[~own], residual[~own])
        made[own] = fitted.of(estimate[own], sqi[own])
    return made
