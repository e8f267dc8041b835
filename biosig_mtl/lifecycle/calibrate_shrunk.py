"""What readings can tell without a signal: a calibrator that knows other people's pressures, and when the readings were taken.

    answer = a · nearest reading + b · mean reading + (1 − a − b) · median of other people

The shares a, b ≥ 0, a + b ≤ 1 differ by target, and by whether the query's stay has a reading. They are those of the least
absolute error on training people. What a method gains over this is what the signal gave; what this gains over holding, any
population would have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.training.calibration.known import Kept, Person, Shown
from biosig_mtl.types import F64, Bool

_A, _B = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21), indexing="ij"))
SHARES = np.stack([_A, _B], axis=1)[_A + _B <= 1 + 1e-9]


@dataclass(frozen=True, eq=False)
class Shrunk:
    """``share`` (2, 2, T), of the nearest reading and of the mean, in another stay and in one with a reading; medians (T,)."""

    share: F64
    median: F64

    @classmethod
    def fit(cls, shown: Shown, people: Sequence[Person]) -> Shrunk:
        """Fit the shares on people all of whose readings are known.

        Queries of a person weigh together as the root of their number: half-way between windows alike and people alike.
        """
        median = np.nanmedian(shown.truth, axis=0)
        laid = [_lay(shown, person) for person in people]
        same, near, mean = (np.concatenate([part[i] for part in laid]) for i in range(3))
        truth = np.concatenate([shown.truth[p.queries] for p in people])
        weight = np.concatenate([np.full(p.queries.size, p.queries.size**-0.5) for p in people])
        found = np.zeros((2, 2, truth.shape[1]))
        for stay in (0, 1):
            own = same == bool(stay)
            losses = [
                weight[own] @ np.abs(a * near[own] + b * mean[own] + (1 - a - b) * median - truth[own]) for a, b in SHARES
            ]
            # Without a training query of this kind the mean is held.
            best = SHARES[np.argmin(losses, axis=0)] if own.any() else np.tile([0.0, 1.0], (truth.shape[1], 1))
            found[stay] = best.T
        return cls(found, median)

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T); no feature and no estimate is looked at."""
        same, near, mean = _lay(shown, person)
        a, b = self.share[same.astype(int)].transpose(1, 0, 2)
        return np.asarray(a * near + b * mean + (1 - a - b) * self.median)

    def kept(self) -> Kept:
        """Return shares and medians."""
        return Kept(numbers={"share": self.share, "median": self.median})


def _lay(shown: Shown, person: Person) -> tuple[Bool, F64, F64]:
    """Return whether a query's stay has a reading (Q,), the nearest reading and the mean of all (Q, T).

    Nearest is by time within the stay, else by the order of the rows, which is that of time.
    """
    a, q = person.anchors, person.queries
    inside = shown.stay[q][:, None] == shown.stay[a][None, :]
    gap = np.nan_to_num(np.abs(shown.time_s[q][:, None] - shown.time_s[a][None, :]), nan=0.0)
    apart = np.abs(q[:, None] - a[None, :])
    nearest = np.where(inside, gap + 1e-6 * apart, 1e12 + apart).argmin(axis=1)
    level = shown.truth[a]
    return inside.any(axis=1), level[nearest], np.repeat(level.mean(axis=0)[None], q.size, axis=0)
