"""Episodes side by side: what each query has to go on, as columns, and more episodes from later in the same courses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.training.calibration.known import Person, Shown
from biosig_mtl.types import F64, I64, Bool, DataError

COPIES = 8  # episodes of a person that methods are fitted on: the first readings, and seven that begin later
FEWEST = 4  # people
FAR = 1e9  # further off than any window of the same stay


@dataclass(frozen=True, eq=False)
class Laid:
    """Queries of many people (M,), and what is told of each; columns of targets are (M, T).

    ``hold`` is the mean of the person's readings and ``held`` the mean of the estimates at the same windows; ``near`` and
    ``near_held`` are those of the nearest reading: in the stay of the query the nearest in time, else the nearest in the order
    of the rows. ``same`` says whether that reading is of the same stay, and ``gap_s`` how long ago it was (0 where nobody
    knows). ``told`` is False where no reading tells a target: estimates stand in for readings there. ``values`` (M, F) are the
    mean features of the person's anchors.
    """

    query: I64
    person: I64
    estimate: F64
    hold: F64
    held: F64
    near: F64
    near_held: F64
    same: Bool
    gap_s: F64
    told: Bool
    values: F64

    def design(self, target: int) -> F64:
        """Return the columns (M, 8) of a target that a linear answer about ``hold`` has, stay by stay: same, then other."""
        t = target
        columns = np.stack(
            [
                self.near[:, t] - self.hold[:, t],
                self.estimate[:, t] - self.hold[:, t],
                self.estimate[:, t] - self.held[:, t],
                self.near_held[:, t] - self.held[:, t],
            ],
            axis=1,
        )
        same = self.same[:, [t]]
        return np.concatenate([np.where(same, columns, 0.0), np.where(same, 0.0, columns)], axis=1)

    def finish(self, answers: F64) -> F64:
        """Return answers (M, T) with the plain estimate where no reading tells the target."""
        return np.asarray(np.where(self.told, answers, self.estimate), dtype=np.float64)


def lay(shown: Shown, people: Sequence[Person]) -> Laid:
    """Lay episodes side by side; only the truth of anchors is read."""
    laid = [_one(shown, person, number) for number, person in enumerate(people)]
    names = list(Laid.__dataclass_fields__)
    return Laid(**{name: np.concatenate([getattr(one, name) for one in laid]) for name in names})


def _one(shown: Shown, person: Person, number: int) -> Laid:
    a, q = person.anchors, person.queries
    truth, estimate = shown.truth[a], shown.estimate
    known = np.isfinite(truth)
    told = known.any(axis=0)
    # Where nothing is told of a target all readings are as estimated, so that nothing moves.
    use = known | ~told
    level = np.where(known, truth, np.where(use, estimate[a], 0.0))
    at = np.where(use, estimate[a], 0.0)
    count = use.sum(axis=0)
    hold, held = level.sum(axis=0) / count, at.sum(axis=0) / count
    gap, far = _gaps(shown, person)
    many, targets = q.size, truth.shape[1]
    nearest = np.stack([np.where(use[:, t], far, np.inf).argmin(axis=1) for t in range(targets)], axis=1)
    column = np.arange(targets)
    own = np.take_along_axis(gap, nearest, axis=1)
    wide = (many, targets)
    return Laid(
        query=q, person=np.full(many, number), estimate=estimate[q],
        hold=np.broadcast_to(hold, wide), held=np.broadcast_to(held, wide),
        near=level[nearest, column], near_held=at[nearest, column],
        same=np.isfinite(own), gap_s=np.where(np.isfinite(own), own, 0.0),
        told=np.broadcast_to(told, wide), values=np.broadcast_to(shown.values[a].mean(axis=0), (many, shown.values.shape[1])),
    )  # fmt: skip


def _gaps(shown: Shown, person: Person) -> tuple[F64, F64]:
    """Return seconds (Q, K) between queries and anchors, infinite in another stay, and how far off an anchor counts (Q, K).

    Within a stay without known times an anchor is 0 s off, and the order of the rows decides among anchors.
    """
    a, q = person.anchors, person.queries
    apart = np.abs(q[:, None] - a[None, :]).astype(np.float64)
    gap = np.abs(shown.time_s[q][:, None] - shown.time_s[a][None, :])
    gap = np.where(np.isfinite(gap), gap, 0.0)
    same = shown.stay[q][:, None] == shown.stay[a][None, :]
    return np.where(same, gap, np.inf), np.where(same, gap + 1e-6 * apart, FAR + apart)


def spread(people: Sequence[Person], rng: np.random.Generator, copies: int = COPIES) -> list[Person]:
    """Return episodes of every person: the given one, and others whose readings begin later, drawn by chance.

    The later ones ask for every window that is left, without an embargo: what a method learns of a person should not rest on
    the one window that happened to come first.
    """
    found = []
    for person in people:
        found.append(person)
        count, rows = person.anchors.size, np.concatenate([person.anchors, person.queries])
        room = rows.size - count
        starts = rng.choice(np.arange(1, room), min(copies - 1, room - 1), replace=False) if room > 1 else ()
        found += [Person(person.name, rows[s : s + count], rows[s + count :]) for s in sorted(starts)]
    return found


def weights(laid: Laid, people: Sequence[Person]) -> F64:
    """Return a weight for every query, 1 / √(queries of its person), mean 1: half-way between windows and people alike.

    Ours: results are read both ways, as a mean over windows and as a mean over people.
    """
    _, whose = np.unique([person.name for person in people], return_inverse=True)
    one = whose[laid.person]
    weight = 1.0 / np.sqrt(np.bincount(one)[one])
    return np.asarray(weight / weight.mean(), dtype=np.float64)


def check_people(people: Sequence[Person]) -> int:
    """Return the number of readings that all people have.

    Raises
    ------
    DataError
        There are too few people with a query to learn from, or they have different numbers of readings.
    """
    counts = {person.anchors.size for person in people}
    asked = len({person.name for person in people if person.queries.size})
    if asked < FEWEST:
        raise DataError(f"{asked} people have windows after their readings, too few to learn calibration from: need {FEWEST}")
    if len(counts) != 1:
        raise DataError(f"people have {', '.join(map(str, sorted(counts)))} readings: fit on the same number of each")
    return int(counts.pop())
