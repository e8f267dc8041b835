"""Windows that are the same recording twice: by hash, by shared waveform, by correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, I64, Bool, Fold

SAME = 0.999
LIMIT = 20_000  # windows that are compared each with each: 2·10⁸ pairs, a few seconds
SHARED = 2  # stretches of waveform that two windows must share; a single one can be chance (one such pair in uci_kachuee)
_DEVICE = 3
_BLOCK = 2048
_DIMENSIONS = 64


def part_of(fold: Fold, windows: int) -> I64:
    """Return the part of every window as a number (train 0, validation 1, calibration 2, test 3), −1 for none."""
    part = np.full(windows, -1, np.int64)
    for number, rows in enumerate(fold.parts().values()):
        part[rows] = number
    return part


def shared_codes(code: I64, known: Bool, folds: Sequence[Fold]) -> I64:
    """Return how many codes a window has in common with windows in other parts of a fold (its worst fold), shape (window,).

    Parameters
    ----------
    code
        Codes of each window, shape (window, code), numbered from 0.
    known
        Which of them exist, same shape.
    folds
        Assignments of windows to parts.
    """
    worst = np.zeros(len(code), np.int64)
    row, column = np.nonzero(known)
    codes = code[row, column]
    for fold in folds:
        part = part_of(fold, len(code))[row]
        used = part >= 0
        # The smallest and the largest part that a code occurs in: two different ones mean that it crosses.
        low = np.full(int(codes.max(initial=-1)) + 1, len(fold.parts()))
        high = np.full(low.size, -1)
        np.minimum.at(low, codes[used], part[used])
        np.maximum.at(high, codes[used], part[used])
        crosses = used & (low[codes] < high[codes])
        worst = np.maximum(worst, np.bincount(row[crosses], minlength=len(code)))
    return worst


def personal(code: I64, known: Bool, subject: NDArray[np.str_]) -> Bool:
    """Return which codes (shape as ``code``) can tell people apart: those of fewer than three subjects.

    What three people share to the last bit is the test pattern of a monitor, not a pulse. Measured on uci_kachuee: one
    square-wave pattern occurs in seven subjects, while every true copy joins two.
    """
    _, person = np.unique(subject, return_inverse=True)
    row, column = np.nonzero(known)
    pairs = np.unique(np.stack([code[row, column], person[row]]), axis=1)
    people = np.bincount(pairs[0], minlength=int(code.max(initial=-1)) + 1)
    return known & (people[code] < _DEVICE)


def linked_subjects(fingerprints: NDArray[np.uint64], subject: NDArray[np.str_]) -> list[tuple[str, str]]:
    """Return pairs of subjects that share waveform at two places or more, sorted: a splitter should keep them together.

    Parameters
    ----------
    fingerprints
        Content-defined hashes, shape (window, hash), 0 where there is none.
    subject
        Subject of every window, shape (window,).
    """
    _, code = np.unique(fingerprints, return_inverse=True)
    code = code.reshape(fingerprints.shape)
    names, person = np.unique(subject, return_inverse=True)
    row, column = np.nonzero(personal(code, fingerprints != 0, subject))
    seen = np.unique(np.stack([code[row, column], person[row]]), axis=1)
    # A code of two subjects now stands twice, side by side.
    twice = np.nonzero(np.diff(seen[0]) == 0)[0]
    pairs, count = np.unique(np.stack([seen[1][twice], seen[1][twice + 1]]), axis=1, return_counts=True)
    return [(str(names[a]), str(names[b])) for a, b in pairs[:, count >= SHARED].T]


def crossing(pairs: I64, folds: Sequence[Fold], windows: int) -> I64:
    """Return those of ``pairs`` (shape (pair, 2)) whose windows lie in two parts of some fold."""
    if pairs.size == 0:
        return pairs.reshape(0, 2)
    crosses = np.zeros(len(pairs), bool)
    for fold in folds:
        part = part_of(fold, windows)[pairs]
        crosses |= (part >= 0).all(axis=1) & (part[:, 0] != part[:, 1])
    return pairs[crosses]


def alike(waveform: F32) -> I64:
    """Return all pairs of windows with a correlation of at least 0.999, shape (pair, 2), the smaller number first.

    Exact, though most pairs are decided in 64 dimensions: averaging over stretches of samples is a projection, so the distance
    of two z-scored windows can only shrink, and a pair that is far there is far everywhere. Constant windows are left out.

    Parameters
    ----------
    waveform
        One channel, shape (window, time), finite.
    """
    unit, rows = _unit(waveform)
    short = _project(unit)
    energy = np.einsum("wd,wd->w", short, short)
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(unit), _BLOCK):
        for other in range(start, len(unit), _BLOCK):
            a, b = slice(start, start + _BLOCK), slice(other, other + _BLOCK)
            near = _near(short[a], short[b], energy[a], energy[b]) + np.array([start, other])
            near = near[near[:, 0] < near[:, 1]]
            pairs.extend(_same(unit, near[i : i + _BLOCK]) for i in range(0, len(near), _BLOCK))
    return rows[np.concatenate(pairs)]


def _unit(waveform: F32) -> tuple[F32, I64]:
    """Return windows with mean 0 and length 1 (products are correlations), and the numbers of those that have a shape."""
    centred = waveform.astype(np.float32) - waveform.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    length = np.sqrt(np.einsum("wt,wt->w", centred, centred))
    rows = np.nonzero(length > 0)[0]
    return np.asarray(centred[rows] / length[rows, None], dtype=np.float32), rows


def _project(unit: F32) -> F32:
    step = max(1, -(-unit.shape[1] // _DIMENSIONS))
    starts = np.arange(0, unit.shape[1], step)
    size = np.diff(np.append(starts, unit.shape[1]))
    return np.asarray(np.add.reduceat(unit, starts, axis=1) / np.sqrt(size), dtype=np.float32)


def _near(a: F32, b: F32, energy_a: F32, energy_b: F32) -> NDArray[np.int64]:
    """Return pairs within the distance that a correlation of 0.999 allows, with a margin for float32."""
    limit = 2 * (1 - SAME) + 1e-4
    product = a @ b.T
    product -= energy_a[:, None] / 2
    return np.argwhere(product >= (energy_b[None, :] - limit) / 2)


def _same(unit: F32, pairs: I64) -> I64:
    correlation = np.einsum("pt,pt->p", unit[pairs[:, 0]].astype(np.float64), unit[pairs[:, 1]].astype(np.float64))
    return np.asarray(pairs[correlation >= SAME - 1e-7], dtype=np.int64)
