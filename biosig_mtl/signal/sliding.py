"""Sums and extremes over a sliding window, in log₂(width) passes of whole arrays.

Windows of 1, 2, 4, 8 … samples are put together from two of half the length, and any other width from those. Every result is
the same operations in the same order wherever the array starts, which a running sum is not: so a part of a recording gives the
bits of the whole. In single precision it is also several times faster than the filters of scipy.ndimage.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)
# So many windows are worked at once: what lies between them stays in the cache, and no new memory has to be asked for.
AT_ONCE = 16384


def sliding_sum(x: NDArray[Float], width: int) -> NDArray[Float]:
    """Return the sum over ``x[i : i + width]`` for every whole window, shape (sample − width + 1,)."""
    out = np.empty(x.size - width + 1, x.dtype)
    for begin in range(0, out.size, AT_ONCE):
        _sum(x[begin : begin + AT_ONCE + width - 1], width, out[begin : begin + AT_ONCE])
    return out


def sliding_max(x: NDArray[Float], width: int) -> NDArray[Float]:
    """Return the maximum over ``x[i : i + width]`` for every whole window, shape (sample − width + 1,)."""
    out = np.empty(x.size - width + 1, x.dtype)
    for begin in range(0, out.size, AT_ONCE):
        _max(x[begin : begin + AT_ONCE + width - 1], width, out[begin : begin + AT_ONCE])
    return out


def _sum(x: NDArray[Float], width: int, out: NDArray[Float]) -> None:
    taken, part, size, first = 0, x, 1, True
    while True:
        if width & size:
            piece = part[taken : taken + out.size]
            if first:
                out[:] = piece
            else:
                np.add(out, piece, out=out)
            taken, first = taken + size, False
        if 2 * size > width:
            return
        part = part[:-size] + part[size:]
        size *= 2


def _max(x: NDArray[Float], width: int, out: NDArray[Float]) -> None:
    part, size = x, 1
    while 2 * size <= width:
        part = np.maximum(part[:-size], part[size:])
        size *= 2
    np.maximum(part[: out.size], part[width - size : width - size + out.size], out=out)


def moving_mean(x: NDArray[Float], width: int) -> NDArray[Float]:
    """Return the mean over ``width`` samples around each sample; beyond the ends the last value is held."""
    width = max(width, 1)
    if width == 1 or not x.size:
        return x
    total = sliding_sum(held(x, width // 2, width - 1 - width // 2), width)
    total *= x.dtype.type(1 / width)
    return total


def moving_max(x: NDArray[Float], half: int) -> NDArray[Float]:
    """Return the maximum within ``half`` samples on either side of each sample."""
    if half < 1 or not x.size:
        return x
    return sliding_max(held(x, half, half), 2 * half + 1)


def running_sum(values: NDArray[np.generic], steps: float = 2.0**20) -> NDArray[np.int64]:
    """Return the running sum along the last axis, 0 first, in whole steps of 1 ÷ ``steps``; shape (…, value + 1).

    Whole numbers add up exactly, so that a difference of two places is the same wherever the record starts.
    """
    whole = np.rint(np.asarray(values, np.float64) * steps).astype(np.int64)
    total = np.zeros((*whole.shape[:-1], whole.shape[-1] + 1), np.int64)
    np.cumsum(whole, axis=-1, out=total[..., 1:])
    return total


def held(x: NDArray[Float], before: int, after: int) -> NDArray[Float]:
    """Return the array with its end values held for so many samples more on either side."""
    longer = np.empty(before + x.size + after, x.dtype)
    longer[:before], longer[before : before + x.size], longer[before + x.size :] = x[0], x, x[-1]
    return longer


def rows_around(x: NDArray[Float], at: NDArray[np.int64], before: int, after: int, step: int = 1) -> NDArray[Float]:
    """Return ``x[at − before : at + after : step]`` for every position, shape (position, −(−(before + after) // step)).

    Beyond the ends of the array the end values are held.
    """
    rows: NDArray[Float] = views(held(x, before, after), before + after)[at, ::step]
    return rows


def views(x: NDArray[Any], width: int) -> NDArray[Any]:
    """Return every window of ``width`` samples of an array, shape (sample − width + 1, width), not to be written to.

    That is what `numpy.lib.stride_tricks.sliding_window_view` gives, for one axis and in a twentieth of its time: work on a
    single window of a recording asks for some fifty of them.
    """
    x = np.ascontiguousarray(x)
    found: NDArray[Any] = np.ndarray((x.size - width + 1, width), x.dtype, x, 0, (x.itemsize, x.itemsize))
    found.flags.writeable = False
    return found


def padded(x: NDArray[Any], before: int, after: int, value: float = 0) -> NDArray[Any]:
    """Return the array with so many times ``value`` on either side; `numpy.pad` takes ten times as long over a short one."""
    longer = np.full(before + x.size + after, value, x.dtype)
    longer[before : before + x.size] = x
    return longer


def grouped(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the different numbers of a sorted array, at least one, and where each comes first."""
    begin = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    begin = padded(begin, 1, 0)
    return numbers[begin], begin
