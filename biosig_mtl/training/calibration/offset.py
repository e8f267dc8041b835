"""Offset: the estimates of a person are moved by what they were wrong by at the readings.

    answer = mean reading + s · (estimate − mean estimate at the readings)

With share s = 1 this is the usual offset correction and needs no fit; a fitted s says how much of a change that the network
sees can be believed (s = 0 is holding the mean reading).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.training.calibration.courses import check_people, lay, spread, weights
from biosig_mtl.training.calibration.known import Calibrator, Kept, Person, Shown
from biosig_mtl.training.calibration.robust import least_absolute
from biosig_mtl.training.calibration.words import number
from biosig_mtl.types import F64


@dataclass(frozen=True, eq=False)
class Offset:
    """A share (T,) of every estimated change is believed."""

    share: F64

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T); see `Calibrator.answer`."""
        laid = lay(shown, [person])
        return laid.finish(laid.hold + self.share * (laid.estimate - laid.held))

    def kept(self) -> Kept:
        """Return the share."""
        return Kept(numbers={"share": self.share})


@dataclass(frozen=True)
class OffsetMethod:
    """`Offset` with share 1, or with a share of least absolute error, cut to 0…1, where it is ``fitted``."""

    name: str = "offset"
    fitted: bool = False
    needs: tuple[str, ...] = ()

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Calibrator:
        """Fit the share; see `Method.fit`."""
        if not self.fitted:
            return Offset(np.ones(len(shown.targets)))
        check_people(people)
        episodes = spread(people, rng)
        laid = lay(shown, episodes)
        weight = weights(laid, episodes)
        share = []
        for t in range(len(shown.targets)):
            truth = shown.truth[laid.query, t]
            known = np.isfinite(truth) & laid.told[:, t]
            change = (laid.estimate - laid.held)[known, t]
            share.append(least_absolute(change[:, None], (truth - laid.hold[:, t])[known], weight[known])[0])
        return Offset(np.clip(np.array(share), 0.0, 1.0))

    def restore(self, kept: Kept) -> Calibrator:
        """Make the calibrator again; see `Method.restore`."""
        return Offset(number(kept, "share", 1))
