"""The nouns of personal calibration: what a method is shown of windows, whom it calibrates, and what it is.

A person gives K reference readings (anchors); a method then answers the person's other windows (queries). It is fitted on
people whose readings are all known, and it never learns what is true of a query: the conductor writes NaN there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import F64, I64, Bool, WindowTable

MAIN = "network"
"""The name of the estimates that the run's networks give; every `Shown` has them."""


@dataclass(frozen=True, eq=False)
class Person:
    """One episode: rows of a `Shown` whose reading is known (K,), and rows to answer (Q,), both in the order of time.

    A query is never an anchor.
    """

    name: str
    anchors: I64
    queries: I64

    def __post_init__(self) -> None:
        """Refuse a person without a reading, or one who is asked for what was told."""
        if not self.anchors.size:
            raise ValueError(f"need one reading or more, got none of {self.name}")
        if np.isin(self.queries, self.anchors).any():
            raise ValueError(f"need queries that are no anchors, got some of {self.name}")


@dataclass(frozen=True, eq=False)
class View:
    """One trained network, and the rows (n,) of people it did not learn from: only those are fit to learn from it."""

    member: Member
    unseen: Bool


@dataclass(frozen=True, eq=False)
class Shown:
    """What a method may see of windows: row *i* of every member is the same window.

    Parameters
    ----------
    values
        Features (n, F), standardised on the people that methods are fitted on, 0 where one is missing.
    estimates
        Estimates (n, T) without calibration, in the unit of the target, by name: always `MAIN`, the networks of the run;
        others as they are at hand. All are out of sample: no estimate is by something that learned from the same person.
    truth
        What the reference read (n, T); NaN wherever a method may not know it.
    targets
        Names of the targets (T,).
    subject
        Number of the group (n,) that splits were drawn by: rows of two numbers are surely of two people.
    stay
        Number of the stretch of time (n,) (a session, a stay) within which times can be compared.
    time_s
        Seconds since the stay began (n,), NaN where nobody knows.
    quality
        Quality of the window (n,), 0 to 1.
    names
        Names of the features (F,).
    views
        The networks, for methods that change them; empty where none is at hand.
    table
        The windows themselves, for the networks; its targets are ``truth``, with the same NaN, and no column of its index tells
        more (readings and what describes the reference lie there in a store).
    """

    values: F64
    estimates: Mapping[str, F64]
    truth: F64
    targets: tuple[str, ...]
    subject: I64
    stay: I64
    time_s: F64
    quality: F64
    names: tuple[str, ...] = ()
    views: tuple[View, ...] = ()
    table: WindowTable | None = None

    def __post_init__(self) -> None:
        """Refuse columns of unlike length."""
        if MAIN not in self.estimates:
            raise ValueError(f"need estimates named '{MAIN}', got {', '.join(self.estimates) or 'none'}")
        n, targets = self.truth.shape
        if targets != len(self.targets):
            raise ValueError(f"need a name a target, got {len(self.targets)} for {targets}")
        columns = (self.values, *self.estimates.values(), self.subject, self.stay, self.time_s, self.quality)
        if any(len(column) != n for column in columns):
            raise ValueError(f"need {n} rows everywhere, got {sorted({len(column) for column in columns})}")

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.truth)

    @property
    def estimate(self) -> F64:
        """The estimates (n, T) of the run's networks."""
        return self.estimates[MAIN]


@dataclass(frozen=True)
class Kept:
    """A fitted calibrator as numbers and words, for `biosig_mtl.training.calibration.keeping`."""

    words: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Calibrator(Protocol):
    """A method that was fitted for K readings a person."""

    def answer(self, shown: Shown, person: Person) -> F64:
        """Return answers (Q, T) in the unit of the target, from the truth of the anchors alone.

        The answer to a query depends on no other query. A target that no anchor tells has the estimate without calibration.
        """

    def kept(self) -> Kept:
        """Return what `Method.restore` makes the same calibrator from."""


class Method(Protocol):
    """A way to calibrate."""

    @property
    def name(self) -> str:
        """Its name in the table of methods."""

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs that not every `Shown` has: ``views`` (with them goes the table)."""

    def fit(self, shown: Shown, people: Sequence[Person], rng: np.random.Generator) -> Calibrator:
        """Fit on people all of whose readings are known, each with as many anchors as the people to come will have.

        Raises
        ------
        DataError
            There are too few people, or a thing in ``needs`` is not there.
        """

    def restore(self, kept: Kept) -> Calibrator:
        """Make a calibrator of what it was kept as; raise `DataError` where that is not whole."""


def since_s(shown: Shown, person: Person) -> F64:
    """Return the seconds (Q,) from each query back to the nearest anchor of its stay; infinite where its stay has none."""
    gap = np.abs(shown.time_s[person.queries][:, None] - shown.time_s[person.anchors][None, :])
    same = shown.stay[person.queries][:, None] == shown.stay[person.anchors][None, :]
    return np.asarray(np.where(same & np.isfinite(gap), gap, np.inf).min(axis=1), dtype=np.float64)
