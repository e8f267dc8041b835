"""Refuse when unsure: how the error of what is kept falls as more is refused.

Source: El-Yaniv & Wiener 2010 (JMLR), "On the foundations of noise-free selective classification" (the risk–coverage curve);
Geifman, Uziel & El-Yaniv 2019 (ICLR), §3 (AURC, the area under it). Windows are ordered by how unsure one is of them, and the
surest are kept. Here the risk is the mean absolute error of the kept, and each person's windows weigh as much as another's, or
one long recording would be the whole curve. Windows that are equally unsure come in any order, and the curve is the mean over
all orders; so a constant has exactly the curve of chance. ``risk_pooled`` weighs windows alike instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation import intervals
from biosig_mtl.types import F64, I64

# Below a twentieth the mean is that of a few windows of a few people.
SHARES = np.linspace(0.05, 1.0, 20)
DRAWS = 500


@dataclass(frozen=True)
class Curve:
    """``risk`` (share,) is the error of the kept where a share of all is kept, surest first; ``aurc`` the mean over shares."""

    share: F64
    risk: F64

    @property
    def aurc(self) -> float:
        """Area under the curve, divided by its width: in the unit of the error."""
        return float(np.trapezoid(self.risk, self.share) / (self.share[-1] - self.share[0]))


def curve(error: F64, unsure: F64, weight: F64 | None = None) -> Curve:
    """Return the error of the kept for rising shares.

    Parameters
    ----------
    error
        Absolute errors (n,), in the unit of the target; all known.
    unsure
        The larger, the less sure (n,).
    weight
        Of each window (n,), 0 or more; None: all alike.

    Raises
    ------
    ValueError
        There are no windows, or their numbers differ.

    >>> curve(np.array([1.0, 3.0]), np.array([0.0, 1.0])).risk[[9, 19]].tolist()
    [1.0, 2.0]
    """
    if not error.size or error.shape != unsure.shape:
        raise ValueError(f"need as many errors as certainties, at least one, got {error.size} and {unsure.size}")
    mass = np.ones(error.size) if weight is None else weight
    order, ends = _ranked(unsure)
    return _along(mass[order], error[order], ends)


def _ranked(unsure: F64) -> tuple[I64, I64]:
    """Return the order of windows, surest first, and the places in it where one group of equally unsure ones ends."""
    order = np.argsort(unsure, kind="stable")
    rising = unsure[order]
    return order, np.append(np.flatnonzero(rising[1:] > rising[:-1]), unsure.size - 1)


def _along(mass: F64, error: F64, ends: I64) -> Curve:
    """Return the curve of ordered windows; between ``ends`` of equally unsure ones it is a straight sum."""
    kept = np.append(0.0, np.cumsum(mass)[ends])
    risk = np.append(0.0, np.cumsum(mass * error)[ends])
    return Curve(SHARES, np.interp(SHARES * kept[-1], kept, risk) / (SHARES * kept[-1]))


def facts(error: F64, unsure: Mapping[str, F64], subject: NDArray[np.str_], rng: np.random.Generator) -> dict[str, Any]:
    """Return curves and areas of several ways to be unsure, beside those of chance and of an oracle that knows the errors.

    Parameters
    ----------
    error
        Absolute errors (n,); NaN is unknown and left out.
    unsure
        By name (n,), the larger the less sure; where it is NaN the window is refused first.
    subject
        Whose window it is (n,).
    rng
        Draws people for the intervals.

    Returns
    -------
    dict
        ``shares``; ``random`` (the error of all) and ``oracle`` with ``risk`` and ``aurc``; ``by``: for each name ``risk``,
        ``risk_pooled``, ``aurc``, ``gain`` = 1 − AURC / that of chance with ``gain_ci95`` over people, and ``kept_half``, the
        error of the surer half. Empty where no error is known.
    """
    known = np.isfinite(error)
    if not known.any():
        return {}
    error, subject = error[known], subject[known]
    _, code, count = np.unique(subject, return_inverse=True, return_counts=True)
    mass = 1.0 / count[code]
    draws = intervals.draw(count.size, rng, DRAWS)
    best = curve(error, error, mass)
    flat = curve(error, np.zeros(error.size), mass)
    return {
        "shares": SHARES.tolist(),
        "random": {"risk": flat.risk.tolist(), "aurc": flat.aurc},
        "oracle": {"risk": best.risk.tolist(), "aurc": best.aurc},
        "by": {name: _one(error, values[known], (mass, code), draws) for name, values in unsure.items()},
    }


def _one(error: F64, unsure: F64, people: tuple[F64, I64], draws: I64) -> dict[str, Any]:
    mass, code = people
    told = np.where(np.isfinite(unsure), unsure, np.inf)
    found = curve(error, told, mass)
    order, ends = _ranked(told)
    gains = np.empty(len(draws))
    for number, drawn in enumerate(draws):
        weight = (mass * drawn[code])[order]
        gains[number] = 1.0 - _along(weight, error[order], ends).aurc / max(
            float(np.average(error[order], weights=weight)), 1e-12
        )
    return {
        "risk": found.risk.tolist(),
        "risk_pooled": curve(error, told).risk.tolist(),
        "aurc": found.aurc,
        "gain": _gain(found, error, mass),
        "gain_ci95": list(intervals.samples_ci95(gains, draws.shape[1])),
        "kept_half": float(np.interp(0.5, found.share, found.risk)),
    }


def _gain(found: Curve, error: F64, weight: F64) -> float:
    """Return the share of chance's area that is saved; errors of 0 leave nothing to save."""
    chance = float(np.average(error, weights=weight))
    return 1.0 - found.aurc / chance if chance > 0 else 0.0
