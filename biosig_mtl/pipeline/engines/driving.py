"""Driving a crew through its jobs: back-pressure, retries, and who is to blame when a worker dies.

Nothing here knows what a job does or where. A job is handed out when a worker is free for it. Where a worker died, the crumb it
left names the record it had in hand, and the job is handed out again. A record at which `TRIES` workers died is left out of its
lot with the reason; the last of the tries is made with nothing else at work where the death may have been a neighbour's doing
(memory that ran out, a signal from outside). Records that nobody died at are never blamed, and nothing is remembered from one
run to the next: an operator who kills a run three times blames nobody.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from biosig_mtl.pipeline.engines import crumbs
from biosig_mtl.pipeline.engines.interface import Crew, Died, Done
from biosig_mtl.types import DataError

TRIES = 3
LEFT_OUT = "; left out"

Tell = Callable[[str], None]


@dataclass
class Account:
    """What happened on the way: tries that were repeated, and the records that were left out after `TRIES` deaths."""

    retries: int = 0
    quarantined: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Blame:
    """How often workers died at one record; ``alone`` once it is to be tried with nothing else at work."""

    deaths: int = 0
    sure: int = 0
    too_long: int = 0


def drive(crew: Crew, jobs: Iterable[Any], account: Account, tell: Tell | None = None) -> Iterator[Any]:
    """Yield what the function returned for each job, in the order in which they end.

    Parameters
    ----------
    crew
        The workers.
    jobs
        Taken one by one as workers become free: a million of them need no memory here.
    account
        Is filled.
    tell
        Called with a line for every death.

    Raises
    ------
    DataError
        Workers die before they begin or while they write: no record is to blame. Everything else was worked before.
    """
    return _Driver(crew, jobs, account, tell or (lambda _line: None)).run()


class _Driver:
    def __init__(self, crew: Crew, jobs: Iterable[Any], account: Account, tell: Tell) -> None:
        self._crew, self._account, self._tell = crew, account, tell
        self._new = iter(jobs)
        self._again: deque[Any] = deque()
        self._alone: deque[Any] = deque()
        self._in_hand: dict[int, Any] = {}
        self._is_alone = False
        self._tickets = itertools.count()
        self._blame: dict[tuple[int, int], _Blame] = {}
        self._in_vain = 0
        self._lost: dict[int, str] = {}

    def run(self) -> Iterator[Any]:
        while self._hand_out():
            for ticket, outcome in self._crew.wait():
                job = self._in_hand.pop(ticket)
                if isinstance(outcome, Done):
                    self._in_vain = 0
                    yield outcome.result
                else:
                    self._died(job, outcome)
        if self._lost:
            number, why = next(iter(self._lost.items()))
            more = f" (and {len(self._lost) - 1} more lots)" if len(self._lost) > 1 else ""
            raise DataError(f"lot {number}{more}: {why}; give the workers more memory, or take fewer of them, and run again")

    def _hand_out(self) -> bool:
        """Give work to whoever is free; return whether anything is in hand."""
        self._is_alone = self._is_alone and bool(self._in_hand)
        slots = max(1, self._crew.slots())
        while len(self._in_hand) < slots and not self._is_alone:
            job = self._again.popleft() if self._again else next(self._new, None)
            if job is None:
                break
            self._start(job)
        if not self._in_hand and self._alone:
            self._is_alone = True
            self._start(self._alone.popleft())
        return bool(self._in_hand)

    def _start(self, job: Any) -> None:
        ticket = next(self._tickets)
        self._in_hand[ticket] = job
        self._crew.start(ticket, job)

    def _died(self, job: Any, died: Died) -> None:
        self._account.retries += 1
        deaths = crumbs.take(job.folder, job.number, job.run)
        if not deaths:
            self._nobody_to_blame(job, died)
            return
        self._in_vain = 0
        skip = dict(job.skip)
        to_be_sure = False
        for death in deaths:
            blame = self._blame.setdefault((job.number, death.position), _Blame())
            blame.deaths += 1
            blame.sure += died.sure or death.too_long or self._is_alone
            blame.too_long += death.too_long
            if blame.deaths >= TRIES and blame.sure:
                self._condemn(job, death.position, blame, skip)
            else:
                to_be_sure |= blame.deaths >= TRIES - 1 and not blame.sure
                self._tell_of(job, death.position, blame, died)
        if job.number not in self._lost:
            (self._alone if to_be_sure else self._again).append(replace(job, skip=skip))

    def _nobody_to_blame(self, job: Any, died: Died) -> None:
        """Try again what was not begun; give up where no worker ever begins anything."""
        self._in_vain += 1
        if self._in_vain >= TRIES * max(1, self._crew.slots()):
            raise DataError(
                f"{self._in_vain} workers ended before they began anything ({died.how}); finished lots are kept: see that a "
                "worker can start (memory, the same installation, `if __name__ == '__main__':` in a script), and run again"
            )
        self._again.append(job)

    def _condemn(self, job: Any, position: int, blame: _Blame, skip: dict[int, str]) -> None:
        if position == crumbs.WRITING:
            self._lost[job.number] = f"its worker died {TRIES} times while it was written"
            return
        name = job.pieces[position].name
        part = name.removeprefix(str(getattr(getattr(job.pieces[position], "entry", None), "record", name)))
        skip[position] = quarantine_reason(job.limit_s if blame.too_long >= TRIES else None, part.strip())
        self._account.quarantined.append(name)
        self._tell(f"{name}: left out: {skip[position].removesuffix(LEFT_OUT)}")

    def _tell_of(self, job: Any, position: int, blame: _Blame, died: Died) -> None:
        where = "while a lot was written" if position == crumbs.WRITING else f"at record {job.pieces[position].name}"
        what = "too slow" if blame.too_long else died.how
        self._tell(f"a worker died {where} ({what}; {blame.deaths} of {TRIES}); its lot is tried again")


def quarantine_reason(limit_s: float | None = None, part: str = "") -> str:
    """Return why a record is left out: the same words on every engine, whatever the signals were."""
    here = f"this record {part}" if part else "this record"
    if limit_s is not None:
        return f"{here} took longer than {limit_s:g} s, {TRIES} times{LEFT_OUT}"
    return f"its worker died {TRIES} times at {here} (a crash, or no memory left){LEFT_OUT}"
