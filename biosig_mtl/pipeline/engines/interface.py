"""What an engine is: something that works jobs elsewhere, and tells of each whether it was done or its worker died."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Lot(Protocol):
    """What an engine needs to know of a job: where its crumbs lie, and what may be left out of it.

    ``pieces`` have a ``name``; ``skip`` are the positions of those that are refused unread, with the reason.
    """

    @property
    def folder(self) -> Path:
        """The store's folder."""

    @property
    def number(self) -> int:
        """Which lot of the plan it is."""

    @property
    def pieces(self) -> Sequence[Any]:
        """What is worked one after the other."""

    @property
    def skip(self) -> Mapping[int, str]:
        """Positions of pieces that are left out, with the reason."""

    @property
    def run(self) -> str:
        """Mark of the crumbs of this run."""

    @property
    def limit_s(self) -> float | None:
        """Seconds that a piece may take."""


Function = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A job came back with what its function returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Died:
    """The worker that had a job in hand is no more, or had no memory left.

    ``sure``: it can have been nobody's doing but the job's own, as a segmentation fault of a process that had nothing else in
    hand. A process that was killed from outside may have been the victim of its neighbour.
    """

    how: str
    sure: bool = False


Outcome = Done | Died


class Crew(Protocol):
    """Workers at work."""

    def slots(self) -> int:
        """Return how many jobs may be in hand at once: more would only wait in somebody's memory."""

    def start(self, ticket: int, job: Any) -> None:
        """Hand out a job; ``ticket`` is given back with its outcome."""

    def wait(self) -> list[tuple[int, Outcome]]:
        """Return what came of some jobs that were in hand, at least of one.

        Raises
        ------
        BiosigError
            What the function itself raised, or the engine is gone.
        """


class Engine(Protocol):
    """Where jobs are worked."""

    def warm(self) -> None:
        """Begin whatever takes its time to start, while the caller still plans."""

    def open(self, function: Function, most: int) -> AbstractContextManager[Crew]:
        """Bring up workers for at most ``most`` jobs; they are gone when the context ends."""
