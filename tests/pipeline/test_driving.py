"""Laws of the driver, on crews that are only thought of: what is blamed, what is held, and when something is tried alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.pipeline.engines import TRIES, Account, crumbs, drive
from biosig_mtl.pipeline.engines.interface import Died, Done, Outcome
from biosig_mtl.types import DataError
from tests.pipeline import stubs


class Thought:
    """A crew in which culprits die and take with them whatever else is in hand, if ``together``."""

    def __init__(self, slots: int, rng: random.Random, *, together: bool = False, sure: bool = False) -> None:
        self._slots, self._rng, self._together, self._sure = slots, rng, together, sure
        self._hand: dict[int, stubs.StubJob] = {}
        self.most = 0
        self.alone: list[str] = []

    def slots(self) -> int:
        return self._slots

    def start(self, ticket: int, job: Any) -> None:
        self._hand[ticket] = job
        self.most = max(self.most, len(self._hand))

    def wait(self) -> list[tuple[int, Outcome]]:
        ticket = self._rng.choice(sorted(self._hand))
        fatal = self._fatal(self._hand[ticket])
        if fatal is None:
            job = self._hand.pop(ticket)
            kept = [p.name for i, p in enumerate(job.pieces) if i not in job.skip]
            return [(ticket, Done((job.number, tuple(kept))))]
        if len(self._hand) == 1:
            self.alone.append(self._hand[ticket].pieces[fatal].name)
        dead = list(self._hand.items()) if self._together else [(ticket, self._hand[ticket])]
        for one, job in dead:
            mark_of_death(job, fatal if one == ticket else self._rng.randrange(len(job.pieces)))
            del self._hand[one]
        return [(one, Died("SIGKILL", sure=self._sure)) for one, _ in dead]

    def _fatal(self, job: stubs.StubJob) -> int | None:
        return next((i for i, p in enumerate(job.pieces) if p.name.startswith("kill") and i not in job.skip), None)


def mark_of_death(job: stubs.StubJob, position: int) -> None:
    number = len(list(job.folder.glob(f"lots/.{job.number:05d}.*")))
    (job.folder / "lots" / f".{job.number:05d}.{job.run}.{number}.tmp").write_bytes(b"%08d\n" % position)


@settings(max_examples=60, deadline=None)
@given(
    lots=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=8),
    slots=st.integers(1, 5),
    seed=st.integers(0, 99),
    together=st.booleans(),
)
def test_culprits_are_left_out_and_nobody_else(
    tmp_path_factory: pytest.TempPathFactory, lots: list[list[bool]], slots: int, seed: int, together: bool
) -> None:
    folder = tmp_path_factory.mktemp("s")
    names = [[f"{'kill' if bad else 'good'}-{i}-{k}" for k, bad in enumerate(lot)] for i, lot in enumerate(lots)]
    crew, account = Thought(slots, random.Random(seed), together=together), Account()
    done = list(drive(crew, stubs.lots_of(folder, *names), account))
    assert sorted(done) == [(i, tuple(n for n in lot if n.startswith("good"))) for i, lot in enumerate(names)]
    assert sorted(account.quarantined) == sorted(n for lot in names for n in lot if n.startswith("kill"))
    assert crew.most <= slots
    assert not list(folder.glob("lots/.*"))
    # Where a neighbour could have been it, the last word was spoken with nobody else at work.
    assert set(account.quarantined) <= set(crew.alone)


def test_a_death_that_can_be_nobody_elses_doing_needs_no_trial_alone(tmp_path: Path) -> None:
    crew, account = Thought(2, random.Random(0), sure=True), Account()
    jobs = stubs.lots_of(tmp_path, ["kill-1"], *[["good"] for _ in range(40)])
    done = [number for number, _ in drive(crew, jobs, account)]
    assert account.quarantined == ["kill-1"]
    assert account.retries == TRIES
    assert done.index(0) < len(done) - 1  # it did not wait for the end


def test_jobs_are_taken_only_as_workers_become_free(tmp_path: Path) -> None:
    taken = []

    def endless() -> Iterator[stubs.StubJob]:
        (job,) = stubs.lots_of(tmp_path, ["good"])
        for i in range(1_000_000):
            taken.append(i)
            yield replace(job, number=i)

    driven = drive(Thought(3, random.Random(0)), endless(), Account())
    for worked in range(1, 50):
        next(driven)
        assert len(taken) <= worked + 3


def test_crumbs_of_other_runs_blame_nobody(tmp_path: Path) -> None:
    (job,) = stubs.lots_of(tmp_path, ["good", "kill-1"])
    for _ in range(5):
        mark_of_death(replace(job, run="ffff"), 0)
    account = Account()
    assert crumbs.are_left(tmp_path)
    assert list(drive(Thought(1, random.Random(0)), [job], account)) == [(0, ("good",))]
    assert account.quarantined == ["kill-1"]


def test_neighbours_that_were_never_begun_are_not_counted_but_workers_that_never_begin_are(tmp_path: Path) -> None:
    class NeverBegins(Thought):
        def wait(self) -> list[tuple[int, Outcome]]:
            ticket, _ = self._hand.popitem()
            return [(ticket, Died("exit code 1", sure=True))]

    crew = NeverBegins(2, random.Random(0))
    with pytest.raises(DataError, match="6 workers ended before they began anything") as error:
        list(drive(crew, stubs.lots_of(tmp_path, ["a"], ["b"]), Account()))
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------------------------ crumbs
def test_a_crumb_is_gone_when_its_lot_is_and_stays_where_memory_ran_out(tmp_path: Path) -> None:
    (tmp_path / "lots").mkdir()

    def end_with(error: BaseException | None) -> None:
        with crumbs.crumb(tmp_path, 7, "aa") as crumb:
            crumb.hold(3)
            if error is not None:
                raise error

    end_with(None)
    with pytest.raises(ZeroDivisionError):
        end_with(ZeroDivisionError())
    assert crumbs.take(tmp_path, 7, "aa") == []
    with pytest.raises(MemoryError):
        end_with(MemoryError())
    assert crumbs.are_left(tmp_path)
    assert crumbs.take(tmp_path, 7, "bb") == []
    assert crumbs.take(tmp_path, 7, "aa") == [crumbs.Death(3, too_long=False)]
    assert not crumbs.are_left(tmp_path)


def test_a_crumb_of_a_writer_that_died_before_a_word_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "lots").mkdir()
    (tmp_path / "lots" / ".00001.aa.bb.tmp").touch()
    assert crumbs.take(tmp_path, 1, "aa") == []
    assert not crumbs.are_left(tmp_path)


def test_a_store_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written to: No such file or directory"), crumbs.crumb(tmp_path, 1, "aa"):
        pass
