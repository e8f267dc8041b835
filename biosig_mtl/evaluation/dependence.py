"""How dependent splits are, beside what chance would give: uHSIC with a permutation test.

The unbiased Hilbert–Schmidt independence criterion (Song et al., JMLR 2012, eq. 5; Gaussian kernel, median rule, normalised to
1 for a copy) as the training's term has it, here with a null: the pairing of the two splits is broken at random, many times (a
permutation test of HSIC: Gretton et al., A Kernel Statistical Test of Independence, NIPS 2007). Windows of one person are no
independent draws, so whole people change places where there are enough of them; every person then has the same number of
windows, so that the exchange is exact. That is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64

PERMUTATIONS = 199
FEWEST_PEOPLE = 8  # with fewer there are too few ways to change places
FEWEST = 8  # windows; below this uHSIC is noise
MOST = 384  # windows of the test, which needs their square for every permutation


@dataclass(frozen=True, slots=True)
class Dependence:
    """Dependence between K splits; all arrays (K, K).

    ``p`` is (1 + permutations with at least this uHSIC) ÷ (1 + permutations), ``null95`` the 95 % quantile of the permuted
    ones; both NaN on the diagonal. ``permuted`` says what changed places, ``subjects`` or ``windows``, ``units`` how many.
    """

    uhsic: F64
    p: F64
    null95: F64
    permuted: str
    units: int
    windows: int
    permutations: int


def centred_kernels(v: NDArray[np.floating]) -> F32:
    """Return U-centred Gaussian kernel matrices (K, n, n), each of norm 1, of points (K, n, d): their products are uHSIC.

    Székely & Rizzo 2014. A split that is constant gives a matrix of zeros: it depends on nothing.
    """
    found = []
    for points in np.asarray(v, np.float64):
        n = len(points)
        square = (points**2).sum(axis=1)
        distance = np.maximum(square[:, None] + square - 2 * points @ points.T, 0.0)
        median = float(np.median(distance[np.triu_indices(n, 1)]))
        kernel = np.exp(-distance / median) if median > 1e-9 else np.zeros((n, n))
        np.fill_diagonal(kernel, 0.0)
        rows = kernel.sum(axis=1)
        kernel = kernel - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(kernel, 0.0)
        size = float(np.sqrt((kernel**2).sum()))
        found.append(kernel / size if size > 1e-9 else np.zeros((n, n)))
    return np.stack(found).astype(np.float32)


def dependence(
    v: NDArray[np.floating], subject: NDArray[np.str_], rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> Dependence | None:
    """Return the dependence between splits (K, n, d), standardised, of windows of people ``subject`` (n,).

    None for fewer than `FEWEST` windows. A p-value of people can be no smaller than 1 ÷ (1 + permutations).

    Raises
    ------
    ValueError
        Splits and people are not of the same windows, or there is no permutation.
    """
    if v.shape[1] != len(subject) or permutations < 1:
        raise ValueError(f"need a subject a window and permutations >= 1, got {v.shape[1]}, {len(subject)}, {permutations}")
    rows, people = _rows(subject)
    if rows.size < FEWEST:
        return None
    kernels = centred_kernels(v[:, rows])
    k, n = len(kernels), rows.size
    flat = kernels.reshape(k, -1)
    drawn = np.full((permutations, k, k), np.nan)
    each = n // people if people else 1
    for i in range(permutations):
        order = rng.permutation(people or n)
        order = (order[:, None] * each + np.arange(each)).ravel()
        for j in range(1, k):
            drawn[i, :j, j] = flat[:j] @ kernels[j][order[:, None], order].ravel()
    found = (flat @ flat.T).astype(np.float64)
    p, null = np.full((k, k), np.nan), np.full((k, k), np.nan)
    for a, b in combinations(range(k), 2):
        p[a, b] = p[b, a] = (1 + (drawn[:, a, b] >= found[a, b] - 1e-7).sum()) / (1 + permutations)
        null[a, b] = null[b, a] = np.quantile(drawn[:, a, b], 0.95)
    return Dependence(found, p, null, "subjects" if people else "windows", people or n, n, permutations)


def _rows(subject: NDArray[np.str_]) -> tuple[I64, int]:
    """Return rows with as many windows of every person, people one after the other, and their number.

    The number a person is what uses most windows. With fewer than `FEWEST_PEOPLE` people: evenly spaced rows, and 0.
    """
    _, code, count = np.unique(subject, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    if count.size < FEWEST_PEOPLE:
        return np.asarray(np.linspace(0, len(subject) - 1, min(len(subject), MOST)).astype(np.int64)), 0
    most = max(MOST // count.size, 1)
    # No more than this may be asked of everybody without leaving too few people.
    asked = [
        (m * min(int((count >= m).sum()), MOST // m), m) for m in range(1, most + 1) if (count >= m).sum() >= FEWEST_PEOPLE
    ]
    each = max(asked)[1]
    starts = np.concatenate([[0], np.cumsum(count)[:-1]])
    people = np.flatnonzero(count >= each)
    people = people[np.linspace(0, people.size - 1, min(people.size, MOST // each)).astype(int)]
    inside = (np.linspace(0, 1, each)[None] * (count[people, None] - 1)).astype(int)
    return np.asarray(order[(starts[people, None] + inside).ravel()], dtype=np.int64), people.size
