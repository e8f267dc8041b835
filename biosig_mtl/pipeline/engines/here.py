"""The engine of one worker: this very process."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from biosig_mtl.pipeline.engines.interface import Died, Done, Function, Outcome


@dataclass(frozen=True)
class Here:
    """Work in this process, one job after the other. A crash of a job is a crash of the run."""

    def warm(self) -> None:
        """Do nothing: this process is there."""

    @contextlib.contextmanager
    def open(self, function: Function, most: int) -> Iterator[_Alone]:
        """Return the crew of one."""
        del most
        yield _Alone(function)


class _Alone:
    def __init__(self, function: Function) -> None:
        self._function = function
        self._waiting: deque[tuple[int, Any]] = deque()

    def slots(self) -> int:
        return 1

    def start(self, ticket: int, job: Any) -> None:
        self._waiting.append((ticket, job))

    def wait(self) -> list[tuple[int, Outcome]]:
        ticket, job = self._waiting.popleft()
        try:
            return [(ticket, Done(self._function(job)))]
        except MemoryError:
            # Nothing else is at work in this run, though other programs may be.
            return [(ticket, Died("no memory left"))]
