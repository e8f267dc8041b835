"""What lets the audit find windows that share waveform: content-defined fingerprints."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from biosig_mtl.types import F32, Bool

FINGERPRINTS = 16
_RUN = 64  # samples that one fingerprint covers: half a second at 125 Hz, too long for two people to share by chance


_AT_ONCE = 1024


def fingerprints(raw: F32) -> NDArray[np.uint64]:
    """Return up to 16 content-defined hashes a window, shape (window, 16), 0 where there are fewer.

    Each hash covers 64 raw samples that start at a local maximum; the smallest hashes are kept (a min-hash sketch). Two windows
    that share waveform at *any* shift therefore share hashes, whatever their position on the grid. Runs with fewer than
    16 distinct values are passed over: coarse quantisation makes those equal by chance.
    """
    n, size = raw.shape
    out = np.zeros((n, FINGERPRINTS), np.uint64)
    if n == 0 or size < _RUN + 2:
        return out
    runs = sliding_window_view(raw[:, 1:], _RUN, axis=1)[:, :-1]
    middle = raw[:, 1 : 1 + runs.shape[1]]
    maximum = (middle > raw[:, : runs.shape[1]]) & (middle >= raw[:, 2 : 2 + runs.shape[1]])
    row, column = np.nonzero(maximum)
    mixed, told = np.empty(row.size, np.uint64), np.empty(row.size, bool)
    # Some runs at a time stay in the cache.
    for begin in range(0, row.size, _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        mixed[part], told[part] = _hashes(np.ascontiguousarray(runs[row[part], column[part]]))
    row, mixed = row[told], mixed[told]
    order = np.lexsort((mixed, row))
    row, mixed = row[order], mixed[order]
    rank = np.arange(row.size) - np.searchsorted(row, row, side="left")
    small = rank < FINGERPRINTS
    out[row[small], rank[small]] = mixed[small]
    return out


@cache
def _weights() -> NDArray[np.uint64]:
    return np.random.default_rng(20220125).integers(1, 2**63, _RUN, dtype=np.uint64) | np.uint64(1)


def _hashes(runs: F32) -> tuple[NDArray[np.uint64], Bool]:
    """Return the hash of every run, not 0, and whether it has enough distinct values."""
    mixed = (runs.view(np.uint32) * _weights()).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    runs.sort(axis=1)
    distinct = (runs[:, 1:] > runs[:, :-1]).sum(axis=1) + 1
    return np.maximum(mixed * np.uint64(0xBF58476D1CE4E5B9), np.uint64(1)), distinct >= _RUN // 4
