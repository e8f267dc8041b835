"""CV+ by person: around each network's own estimate lie the errors of the people that this network did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.training.conformal import LEVEL, PLAIN, Errors, Ladder, Settings, scaled
from biosig_mtl.training.conformal_scale import alike
from biosig_mtl.types import F64, I64

# Windows × errors that are ranked at once.
AT_ONCE = 2_000_000
# Errors of one network that are ranked; of more, about so many stand for all, and none narrows.
KNOTS = 2000


def cv_plus(errors: Errors, said: F64, sqi: ArrayLike, level: float = LEVEL, settings: Settings = PLAIN) -> tuple[F64, F64]:
    """Return both ends (n,) of CV+ intervals in the unit of the target.

    Source: Barber, Candès, Ramdas & Tibshirani 2021 (Ann. Stat.), "Predictive inference with the jackknife+", §3.2; with people
    as unit Lee, Barber & Willett 2023, §4. With one network this is the split interval of `biosig_mtl.training.conformal`.

    Parameters
    ----------
    errors
        ``network`` is the row of ``said`` whose error it is; that network did not learn from the person.
    said
        Estimates (network, n) of the new windows.
    sqi
        Of the new windows (n,).
    level
        Nominal share. The proven one is 1 − 2 (1 − level); what is held is near ``level``.
    settings
        Only ``scale`` is used: sides are alike, and there are no classes.

    Raises
    ------
    ValueError
        No truth is known, or an error is of a network that said nothing.

    Where the people are too few for the level, the outermost end that was seen stands in.
    """
    held = errors.known()
    if not held.truth.size or held.network.max() >= len(said):
        raise ValueError(f"need known errors of the {len(said)} networks that speak, got {held.truth.size} errors")
    scores, scale = scaled(held, settings)
    network, far, mass = _of_networks(np.abs(scores), held)
    quality = np.broadcast_to(np.asarray(sqi, np.float64), said.shape)
    size = np.ones(said.shape) if scale is None else np.stack([scale.of(*each) for each in zip(said, quality, strict=True)])
    step = max(1, AT_ONCE // far.size)
    parts = []
    for start in range(0, said.shape[1], step):
        centre, wide = (values[network, start : start + step].T for values in (said, size))
        parts.append(np.stack([-_end(wide * far - centre, mass, level), _end(centre + wide * far, mass, level)]))
    low, high = np.concatenate(parts, axis=1) if parts else np.empty((2, 0))
    return low, high


def _of_networks(score: F64, held: Errors) -> tuple[I64, F64, F64]:
    """Return network, score and mass of the errors that are ranked, each (m,)."""
    mass = held.weight * alike(held.subject)
    found = []
    for number in np.unique(held.network):
        own = held.network == number
        order = np.argsort(score[own], kind="stable")
        thin = Ladder(score[own][order], np.cumsum(mass[own][order])).thin(KNOTS)
        found.append((np.full(thin.score.size, number), thin.score, np.diff(thin.mass, prepend=0.0)))
    network, scores, masses = (np.concatenate(column) for column in zip(*found, strict=True))
    return network, scores, masses


def _end(values: F64, mass: F64, level: float) -> F64:
    """Return the quantile of each row (n, m) whose columns have masses (m,), the new person's 1 lying beyond all."""
    order = np.argsort(values, axis=1)
    reached = np.cumsum(mass[order], axis=1) >= level * (mass.sum() + 1.0) - 1e-9 * (mass.sum() + 1.0)
    place = np.where(reached.any(axis=1), reached.argmax(axis=1), values.shape[1] - 1)
    return np.asarray(np.take_along_axis(values, np.take_along_axis(order, place[:, None], axis=1), axis=1)[:, 0])
