"""How far a piece of signal looks like its neighbours: correlation with a weighted mean of what is near by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.sliding import grouped
from biosig_mtl.types import F32, I64

# Neighbours are those in the same stretch of so many seconds and in two such stretches on either side.
BLOCK_S, BLOCKS = 5.0, 2
REACH_S = BLOCK_S * (BLOCKS + 1)
# A typical piece stands in as long as the neighbours weigh less than this together.
ENOUGH = 2.0


def unit(rows: NDArray[np.floating]) -> F32:
    """Return rows with mean zero and length one (a constant row becomes zeros)."""
    rows = rows - (np.einsum("ij->i", rows) / rows.dtype.type(rows.shape[1]))[:, None]
    length = np.sqrt(dots(rows, rows))
    return np.asarray(rows / np.where(length > 0, length, 1)[:, None], np.float32)


def dots(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the scalar product of every row with its partner.

    Not by a matrix product: its last bit depends on the place of a row.
    """
    return np.asarray(np.einsum("ij,ij->i", one, other))


def likeness(rows: F32, weight: F32, block: I64, typical: F32) -> F32:
    """Return the correlation of every row with the weighted mean of its neighbours, itself left out, shape (row,).

    Parameters
    ----------
    rows
        Unit rows, shape (row, point).
    weight
        How much each counts for the others, in [0, 1].
    block
        The stretch that each lies in, sorted.
    typical
        A unit row, or one for each row.
    """
    if not block.size:
        return np.empty(0, np.float32)
    weighted = rows * weight[:, None]
    own, begin = grouped(block)
    # Sums of one stretch each on a grid of the recording, added in a fixed order: the same wherever the record starts.
    sums = np.zeros((int(own[-1] - own[0]) + 1 + 2 * BLOCKS, rows.shape[1] + 1), np.float32)
    sums[own - own[0] + BLOCKS, :-1] = np.add.reduceat(weighted, begin, axis=0)
    sums[own - own[0] + BLOCKS, -1] = np.add.reduceat(weight, begin)
    count = sums.shape[0] - 2 * BLOCKS
    near = sums[:count].copy()
    for shift in range(1, 2 * BLOCKS + 1):
        near += sums[shift : shift + count]
    others = near[block - own[0]]
    mean = others[:, :-1] - weighted
    short = np.maximum(ENOUGH - (others[:, -1] - weight), 0)
    if short.any():
        mean += short[:, None] * typical
    length = np.sqrt(dots(mean, mean))
    return np.asarray(dots(rows, mean) / np.where(length > 0, length, 1), np.float32)


@lru_cache(maxsize=16)
def pulse(points: int, step_s: float, before_s: float) -> F32:
    """Return a textbook pulse whose rise is ``before_s`` behind the first point."""
    t = np.arange(points) * step_s - before_s
    row: F32 = unit(np.where(t < 0.1, 0.5 * (1 + np.tanh(t / 0.05)), np.exp(-(t - 0.1) / 0.25))[None])[0]
    return row
