"""Spherical splines: what an electrode would have measured, from the others around it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from biosig_mtl import montage
from biosig_mtl.types import F64

STIFFNESS = 4
"""Order m of the splines; 4 is what Perrin et al. recommend."""
TERMS = 50
RIDGE = 1e-5


@lru_cache(maxsize=256)
def spline_weights(wanted: tuple[str, ...], known: tuple[str, ...]) -> F64:
    """Return the weights with which the known electrodes give the wanted ones, shape (wanted, known); rows sum to one.

    Perrin, Pernier, Bertrand & Echallier, "Spherical splines for scalp potential and current density mapping",
    Electroencephalogr Clin Neurophysiol 72:184 (1989), eq. 1–3, with m = 4 and 50 terms of the series. Positions from
    `biosig_mtl.montage`. Deviation: a ridge of 1e-5 on the diagonal, as is usual, for electrodes that lie close together.

    Raises
    ------
    ValueError
        The place of an electrode is not known, or no electrode is known.
    """
    to, at = montage.positions(wanted), montage.positions(known)
    if np.isnan(to).any() or np.isnan(at).any() or not len(at):
        raise ValueError("need electrodes whose places are known")
    count = len(at)
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = _spline(at @ at.T) + RIDGE * np.eye(count)
    system[count, count] = 0
    target = np.ones((len(to), count + 1))
    target[:, :count] = _spline(to @ at.T)
    return np.asarray(np.linalg.solve(system, target.T)[:count].T)


def _spline(cosine: F64) -> F64:
    """Return g(x) of Perrin et al., eq. 3."""
    n = np.arange(1, TERMS + 1)
    series = np.concatenate(([0.0], (2 * n + 1) / (n * (n + 1.0)) ** STIFFNESS))
    return np.asarray(np.polynomial.legendre.legval(np.clip(cosine, -1, 1), series) / (4 * np.pi))
