"""What was usual for a person so far, as running sums: the columns of `biosig_mtl.training.person` without the past rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biosig_mtl.training.person import CLIP, CONSTANT, LEAST, SUFFIX
from biosig_mtl.types import F32, F64, Features


class Past:
    """Counts and sums of every feature of one person, up to now.

    `columns` gives bit for bit what `biosig_mtl.training.person.past_z` gives for the same rows in the same order.
    """

    def __init__(self) -> None:
        """Start with nothing known."""
        self._count: F64 | None = None
        self._first = self._sum = self._squares = np.empty(0)

    def copy(self) -> Past:
        """Return another that can go on by itself."""
        other = Past()
        other._count = self._count
        other._first, other._sum, other._squares = self._first, self._sum, self._squares
        return other

    def extended(self, made: Features) -> Features:
        """Take in the rows of some features, in order of time; return them with a column more for every feature."""
        values = np.asarray(made.values, np.float64)
        rows = [self._row(row) for row in values]
        add = np.stack(rows) if rows else np.empty((0, values.shape[1]), np.float32)
        names = tuple(f"{name}{SUFFIX['past']}" for name in made.names)
        return replace(made, values=np.concatenate([made.values, add], axis=1), names=(*made.names, *names))

    def _row(self, row: F64) -> F32:
        if self._count is None:
            self._count = np.zeros(row.size)
            self._first, self._sum, self._squares = np.zeros(row.size), np.zeros(row.size), np.zeros(row.size)
        known = np.isfinite(row)
        filled = np.where(known, row, 0.0)
        # About the first known value, so that squares of large numbers do not cancel.
        self._first = np.where(known & (self._count == 0), filled, self._first)
        off = np.where(known, filled - self._first, 0.0)
        self._count, self._sum, self._squares = self._count + known, self._sum + off, self._squares + off**2
        count = np.maximum(self._count, 1)
        mean = self._sum / count
        spread = np.sqrt(np.maximum(self._squares / count - mean**2, 0.0))
        alive = spread > CONSTANT * (np.abs(self._first) + np.abs(mean))
        z = np.where(alive, (off - mean) / np.where(alive, spread, 1.0), 0.0)
        return np.where(known & (self._count >= LEAST), np.clip(z, -CLIP, CLIP), np.nan).astype(np.float32)
