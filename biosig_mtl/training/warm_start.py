"""A ridge solution as the start of a network's linear skip.

A few hundred windows are too few for gradient steps to find what a closed form finds at once: the network then starts where
ridge ends and learns what ridge cannot say. Our extension; networks without a linear skip (``paper_mode``) start as usual.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64

PENALTIES = np.logspace(0, 5, 11)
INNER_FOLDS = 5


def ridge_start(inputs: F64, targets: F64, subject: NDArray[np.str_], weight: F64, seed: int) -> tuple[F64, F64]:
    """Return slopes (T, P) and offsets (T,) of a ridge for every target.

    Parameters
    ----------
    inputs
        Scaled values and missing flags of the training rows, (n, P), without NaN.
    targets
        What the skip should answer, (n, T), NaN where unknown.
    subject, weight
        Of each row. The penalty of each target is the best, on the weighted absolute error, of inner folds by subject.
    seed
        Of the inner folds.
    """
    slopes, offsets = np.zeros((targets.shape[1], inputs.shape[1])), np.zeros(targets.shape[1])
    people, code = np.unique(subject, return_inverse=True)
    rng = torch.Generator().manual_seed(seed)
    part = torch.randperm(people.size, generator=rng).numpy() % min(INNER_FOLDS, people.size)
    for t, target in enumerate(targets.T):
        known = np.isfinite(target)
        if not known.any():
            continue
        x, y, w, fold = inputs[known], target[known], weight[known], part[code][known]
        solved = _solve(x, y, w, np.array([_penalty(x, y, w, fold)]))[:, 0]
        offsets[t], slopes[t] = solved[0], solved[1:]
    return slopes, offsets


def _penalty(x: F64, y: F64, weight: F64, fold: I64) -> float:
    errors = np.zeros(PENALTIES.size)
    for k in np.unique(fold):
        held = fold == k
        if held.all():
            return float(PENALTIES[-1])
        solved = _solve(x[~held], y[~held], weight[~held], PENALTIES)
        errors += weight[held] @ np.abs(x[held] @ solved[1:] + solved[0] - y[held, None])
    return float(PENALTIES[int(np.argmin(errors))])


def _solve(x: F64, y: F64, weight: F64, penalties: F64) -> F64:
    """Return offset and slopes (1 + P, penalty) of weighted ridge for several penalties from one decomposition."""
    mean_x, mean_y = np.average(x, axis=0, weights=weight), np.average(y, weights=weight)
    centred = x - mean_x
    values, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    rotated = vectors.T @ ((centred * weight[:, None]).T @ (y - mean_y))
    slopes = vectors @ (rotated[:, None] / (np.maximum(values, 0.0)[:, None] + penalties))
    return np.concatenate([(mean_y - mean_x @ slopes)[None], slopes])
