"""Shrink: how far to trust a reading, the network and its change, told apart by whether the reading is of the same stay.

    answer = hold + a·(near − hold) + b·(estimate − hold) + c·(estimate − held) + d·(near_held − held)

``hold`` is the mean reading, ``near`` the nearest one, ``held`` and ``near_held`` the network's estimates at the same windows.
The four slopes are fitted by least absolute error on other people, once for queries in the stay of a reading and once for
others. b > 0 is regression to the mean: an extreme reading comes back, all the more by another day; c is what a change seen by
the network is worth. The best linear guess of a level from a noisy reading and a noisy estimate is of this form (Kelley's
formula; kriging with two sources); ours are the fit to the absolute error and the two kinds of stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.training.calibration.courses import Laid, check_people, lay, spread, weights
from biosig_mtl.training.calibration.known import Calibrator, Kept, Person, Shown
from biosig_mtl.training.calibration.robust import least_absolute
from biosig_mtl.training.calibration.words import number
from biosig_mtl.types import F64


@dataclass(frozen=True, eq=False)
class Shrink:
    """Slopes (T, 8): a, b, c, d in the stay of the nearest reading, then the same in another stay."""

    slopes: F64

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T); see `Calibrator.answer`."""
        return self.tell(lay(shown, [person]))

    def tell(self, laid: Laid) -> F64:
        """Return answers (M, T) to queries of many people."""
        moved = [laid.design(t) @ slopes for t, slopes in enumerate(self.slopes)]
        return laid.finish(laid.hold + np.stack(moved, axis=1))

    def kept(self) -> Kept:
        """Return the slopes."""
        return Kept(numbers={"slopes": self.slopes})


@dataclass(frozen=True)
class ShrinkMethod:
    """Fits `Shrink`."""

    name: str = "shrink"
    needs: tuple[str, ...] = ()

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Calibrator:
        """Fit the slopes; see `Method.fit`."""
        check_people(people)
        episodes = spread(people, rng)
        laid = lay(shown, episodes)
        return fit_shrink(shown, laid, weights(laid, episodes))

    def restore(self, kept: Kept) -> Calibrator:
        """Make the calibrator again; see `Method.restore`."""
        return Shrink(number(kept, "slopes", 2))


def fit_shrink(shown: Shown, laid: Laid, weight: F64) -> Shrink:
    """Fit the slopes on laid episodes, weighted (M,)."""
    slopes = []
    for t in range(len(shown.targets)):
        away = shown.truth[laid.query, t] - laid.hold[:, t]
        known = np.isfinite(away) & laid.told[:, t]
        slopes.append(least_absolute(laid.design(t)[known], away[known], weight[known]))
    return Shrink(np.stack(slopes))
