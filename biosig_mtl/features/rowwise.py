"""Work in blocks of rows that stay in the cache: the same numbers, bit for bit, with less waiting for memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from biosig_mtl.types import F32, F64

Columns = Mapping[str, F32 | F64]
# Samples that are worked at once.
SAMPLES = 32768


def in_blocks(make: Callable[[slice], Columns], rows: int, block: int) -> dict[str, F32 | F64]:
    """Return the columns that ``make`` makes of ``block`` rows at a time, put together; each of shape (row,).

    ``make`` must work row by row. It is called once where there are no rows: that tells the names.
    """
    made = [make(slice(k, k + block)) for k in range(0, max(rows, 1), max(block, 1))]
    if len(made) == 1:
        return dict(made[0])
    return {name: np.concatenate([part[name] for part in made]) for name in made[0]}


def power(x: F32, length: int) -> F32:
    """Return the squared spectrum of the Hann-windowed rows, filled with zeros to ``length``; shape (row, length // 2 + 1)."""
    spectrum = np.fft.rfft(x * _hann(x.shape[1]), length, axis=1)
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


@lru_cache(maxsize=16)
def _hann(samples: int) -> F32:
    window: F32 = np.hanning(samples).astype(np.float32)
    return window
