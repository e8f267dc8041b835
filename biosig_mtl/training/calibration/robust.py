"""Linear models of least absolute error: what is judged by the mean absolute error is fitted to it."""

from __future__ import annotations

import numpy as np

from biosig_mtl.types import F64

ROUNDS = 80
FLOOR = 1e-3  # of residuals, as a share of their mean: a smaller one would have all the weight


def least_absolute(design: F64, target: F64, weight: F64, penalty: float = 1e-4) -> F64:
    """Return slopes (P,), without an offset, of the least weighted absolute error plus a small ridge.

    Parameters
    ----------
    design, target, weight
        (n, P), (n,) and (n,).
    penalty
        Of squared slopes, as a share of the mean square of a column: it decides where columns say the same, or nothing.

    Notes
    -----
    Iteratively reweighted least squares (Schlossmacher, JASA 68, 1973): each round solves least squares with weights 1 / |r|.
    """
    slopes = np.zeros(design.shape[1])
    if not design.size:
        return slopes
    scale = np.sqrt(np.average(np.square(design), axis=0, weights=weight))
    alive = scale > 0
    x = design[:, alive] / scale[alive]
    found = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        size = np.abs(target - x @ found)
        w = weight / np.maximum(size, FLOOR * max(float(size.mean()), 1e-12))
        w = w / w.mean()
        gram = (x * w[:, None]).T @ x + penalty * len(x) * np.eye(x.shape[1])
        new = np.linalg.solve(gram, (x * w[:, None]).T @ target)
        done = float(np.abs(new - found).max(initial=0.0)) < 1e-7 * (1.0 + float(np.abs(new).max(initial=0.0)))
        found = new
        if done:
            break
    slopes[alive] = found / scale[alive]
    return slopes
