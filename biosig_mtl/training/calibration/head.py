"""A head of one's own: K readings move the last layer of the network, under a prior that other people gave.

The last layer answers from hidden numbers h (H,) of a window. A person's residual (reading − estimate) is taken to be

    r = δ_person + δ_stay + w·h + noise,   δ_person ~ N(0, μ), δ_stay ~ N(0, ν), w ~ N(0, λ / H̄ I), noise ~ N(0, 1)

(H̄ the mean of |h|²), so that the posterior mean is a ridge in closed form, here by its kernel:

    answer = estimate + k(query, anchors) [k(anchors, anchors) + I]⁻¹ r,   k = μ + ν·(same stay) + λ h·h' / H̄

(Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, §2.1 and eq. 2.25). μ, ν and λ are chosen on a grid,
target by target, by the mean absolute error over training people. With several networks k is their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from biosig_mtl.training.calibration.courses import check_people, spread, weights
from biosig_mtl.training.calibration.courses import lay as lay_out
from biosig_mtl.training.calibration.known import Calibrator, Kept, Person, Shown
from biosig_mtl.training.calibration.looking import hidden_of, views_for
from biosig_mtl.training.calibration.words import number
from biosig_mtl.types import F64, I64

OF_PERSON = (0.0, 0.5, 2.0, 8.0, 32.0)
OF_STAY = (0.0, 1.0, 4.0, 16.0)
OF_HEAD = (0.0, 0.5, 2.0, 8.0)
COPIES = 4


@dataclass(frozen=True, eq=False)
class PersonHead:
    """The prior: ``spread`` (T, 3) has μ, ν and λ of every target, ``size`` (T,) is H̄."""

    spread: F64
    size: F64

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T); see `Calibrator.answer`."""
        pieces = _Pieces.of(shown, [person], self.size)
        moved = [pieces.moved(t, spread) for t, spread in enumerate(self.spread)]
        return np.asarray(shown.estimate[person.queries] + np.stack(moved, axis=1))

    def kept(self) -> Kept:
        """Return the prior."""
        return Kept(numbers={"spread": self.spread, "size": self.size})


@dataclass(frozen=True)
class PersonHeadMethod:
    """Chooses the prior of `PersonHead`."""

    name: str = "person_head"
    needs: tuple[str, ...] = ("views",)

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Calibrator:
        """Choose the prior; see `Method.fit`."""
        check_people(people)
        episodes = spread(people, rng, COPIES)
        size = _size(shown, people)
        pieces = _Pieces.of(shown, episodes, size)
        laid = lay_out(shown, episodes)
        weight = weights(laid, episodes)
        wrong = shown.truth[laid.query] - laid.estimate
        chosen = []
        for t in range(len(shown.targets)):
            known = np.isfinite(wrong[:, t]) & laid.told[:, t]
            grid = [np.array(spread) for spread in product(OF_PERSON, OF_STAY, OF_HEAD)]
            errors = [weight[known] @ np.abs(wrong[known, t] - pieces.moved(t, spread)[known]) for spread in grid]
            chosen.append(grid[int(np.argmin(errors))])
        return PersonHead(np.stack(chosen), size)

    def restore(self, kept: Kept) -> Calibrator:
        """Make the calibrator again; see `Method.restore`."""
        return PersonHead(number(kept, "spread", 2), number(kept, "size", 1))


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Of P people with K anchors and M queries together: residuals (P, K, T) with 0 where untold, and parts of kernels.

    ``between`` (P, K, K, T) and ``across`` (M, K, T) are h·h' / H̄ among anchors, and of queries with anchors; ``stays`` and
    ``across_stays`` say the same stay, ``told`` (P, K, T) which readings are told.
    """

    person: I64
    wrong: F64
    told: F64
    between: F64
    across: F64
    stays: F64
    across_stays: F64

    @classmethod
    def of(cls, shown: Shown, people: Sequence[Person], size: F64) -> _Pieces:
        wrong = np.stack([shown.truth[p.anchors] - shown.estimate[p.anchors] for p in people])
        told = np.isfinite(wrong)
        between, across = zip(*(_likeness(shown, person, size) for person in people), strict=True)
        stays = np.stack([shown.stay[p.anchors][:, None] == shown.stay[p.anchors][None, :] for p in people])
        across_stays = [shown.stay[p.queries][:, None] == shown.stay[p.anchors][None, :] for p in people]
        return cls(
            np.repeat(np.arange(len(people)), [p.queries.size for p in people]),
            np.where(told, wrong, 0.0), told.astype(np.float64), np.stack(between), np.concatenate(across),
            stays.astype(np.float64), np.concatenate(across_stays).astype(np.float64),
        )  # fmt: skip

    def moved(self, target: int, spread: F64) -> F64:
        """Return what is added (M,) to the estimates of a target."""
        person, stay, head = spread
        told = self.told[:, :, target]
        kernel = (person + stay * self.stays + head * self.between[..., target]) * told[:, :, None] * told[:, None, :]
        pull = np.linalg.solve(kernel + np.eye(told.shape[1]), self.wrong[:, :, [target]])[..., 0]
        across = person + stay * self.across_stays + head * self.across[..., target]
        return np.asarray((across * (pull * told)[self.person]).sum(axis=1))


def _likeness(shown: Shown, person: Person, size: F64) -> tuple[F64, F64]:
    """Return the mean over networks of h·h' / H̄ among anchors (K, K, T), and of queries with anchors (Q, K, T)."""
    found = []
    for view in views_for(shown, person):
        h = hidden_of(view, shown)
        a, q = h[person.anchors], h[person.queries]
        found.append((np.einsum("ath,bth->abt", a, a), np.einsum("qth,ath->qat", q, a)))
    between, across = (np.mean([pair[i] for pair in found], axis=0) for i in (0, 1))
    return between / size, across / size


def _size(shown: Shown, people: Sequence[Person]) -> F64:
    """Return the mean of |h|² (T,) over people."""
    each = []
    for person in people:
        found = [hidden_of(view, shown)[person.anchors] for view in views_for(shown, person)]
        each.append(np.mean([np.square(h).sum(axis=2).mean(axis=0) for h in found], axis=0))
    size = np.mean(each, axis=0)
    return np.asarray(np.where(size > 0, size, 1.0), dtype=np.float64)
