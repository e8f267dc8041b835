"""Laws of the engines of one machine: a death costs a try, never a neighbour; a culprit is named, and never anybody else."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl.pipeline.engines import TRIES, Account, Here, Local, drive
from biosig_mtl.pipeline.engines import local as local_engine
from biosig_mtl.pipeline.engines.answering import answer, outcome
from biosig_mtl.pipeline.working import UnreachedError
from biosig_mtl.types import DataError
from tests.pipeline import stubs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")


def worked(
    engine: Any, jobs: list[stubs.StubJob], function: Any = stubs.work
) -> tuple[dict[int, tuple[str, ...]], Account, list[str]]:
    account = Account()
    told: list[str] = []
    with engine.open(function, len(jobs)) as crew:
        done = dict(drive(crew, jobs, account, told.append))
    return done, account, told


def left(folder: Path) -> list[Path]:
    return list(folder.glob("lots/.*"))


@pytest.mark.parametrize("word", ["kill", "crash"])
def test_a_record_that_kills_is_left_out_and_its_neighbours_are_kept(tmp_path: Path, word: str) -> None:
    jobs = stubs.lots_of(tmp_path, ["a", "b"], ["c", f"{word}-1", "d"], ["e"], ["f", "g"])
    done, account, told = worked(Local(2), jobs)
    assert done == {0: ("a", "b"), 1: ("c", "d"), 2: ("e",), 3: ("f", "g")}
    assert account.quarantined == [f"{word}-1"]
    assert account.retries == TRIES == 3
    assert len(told) == TRIES
    assert told[-1] == f"{word}-1: left out: its worker died 3 times at this record (a crash, or no memory left)"
    assert all(f"at record {word}-1 " in line for line in told[:-1])
    assert left(tmp_path) == []


def test_a_single_kill_blames_nobody(tmp_path: Path) -> None:
    jobs = stubs.lots_of(tmp_path, ["a", "once-1"], ["once-2", "b"], ["c"])
    done, account, told = worked(Local(2), jobs)
    assert done == {0: ("a", "once-1"), 1: ("once-2", "b"), 2: ("c",)}
    assert (account.quarantined, account.retries) == ([], 2)
    assert sorted(told) == [f"a worker died at record once-{i} (SIGKILL; 1 of 3); its lot is tried again" for i in (1, 2)]


def test_two_culprits_in_one_lot_are_both_found(tmp_path: Path) -> None:
    done, account, _ = worked(Local(1), stubs.lots_of(tmp_path, ["crash-1", "a", "kill-2", "b"]))
    assert done == {0: ("a", "b")}
    assert account.quarantined == ["crash-1", "kill-2"]


def test_a_record_that_hangs_is_ended_and_says_so(tmp_path: Path) -> None:
    jobs = stubs.lots_of(tmp_path, ["a", "hang-1", "b"], ["slow-1"] * 8, limit_s=0.3)
    done, account, told = worked(Local(2), jobs)
    assert done == {0: ("a", "b"), 1: ("slow-1",) * 8}  # the limit is one of a record, not of a lot
    assert account.quarantined == ["hang-1"]
    assert told[0] == "a worker died at record hang-1 (too slow; 1 of 3); its lot is tried again"
    assert told[-1] == "hang-1: left out: this record took longer than 0.3 s, 3 times"
    assert left(tmp_path) == []


@pytest.mark.parametrize("engine", [Here(), Local(2)])
def test_memory_that_runs_out_is_a_death(tmp_path: Path, engine: Any) -> None:
    done, account, told = worked(engine, stubs.lots_of(tmp_path, ["a", "hungry-1", "b"], ["c"]))
    assert done == {0: ("a", "b"), 1: ("c",)}
    assert account.quarantined == ["hungry-1"]
    assert "no memory left; 1 of 3" in told[0]
    assert left(tmp_path) == []


def test_a_lot_that_cannot_be_written_is_told_after_everything_else_was_worked(tmp_path: Path) -> None:
    jobs = stubs.lots_of(tmp_path, ["heavy-1"], ["a"], ["heavy-2"], ["b"])
    with pytest.raises(DataError, match=r"lot [02] \(and 1 more lots\): its worker died 3 times while it was written; give"):
        worked(Local(2), jobs)
    assert sorted(p.name for p in tmp_path.glob("*.done")) == ["1.done", "3.done"]


def test_workers_that_never_begin_are_not_started_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 workers ended before they began anything \(exit code 7\)"):
        worked(Local(2), stubs.lots_of(tmp_path, ["a"], ["b"]), stubs.never_begins)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full-1", "lots: cannot be written: No space left on device"),
        ("bug-1", "a worker met an unexpected ZeroDivisionError: nob"),
    ],
)
def test_an_error_comes_back_as_itself(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        worked(Local(2), stubs.lots_of(tmp_path, ["a"], [name]))
    assert left(tmp_path) == []
    assert not [child for child in multiprocessing.active_children() if "Loky" not in type(child).__name__]  # of other tests


def test_a_worker_that_is_killed_while_it_waits_is_replaced(tmp_path: Path) -> None:
    jobs = stubs.lots_of(tmp_path, ["a"], ["b"])
    account = Account()
    with Local(1).open(stubs.work, 2) as crew:
        for member in multiprocessing.active_children():
            os.kill(member.pid or 0, signal.SIGKILL)
            member.join()
        assert dict(drive(crew, jobs, account)) == {0: ("a",), 1: ("b",)}
    assert account.quarantined == []


def test_no_process_outlives_a_run_that_is_stopped(tmp_path: Path) -> None:
    jobs = stubs.lots_of(tmp_path, ["a"], ["hang-1"], ["hang-2"])

    def stop() -> Iterator[Any]:
        with Local(2).open(stubs.work, 3) as crew:
            for one in drive(crew, jobs, Account()):
                yield one
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(stop())
    assert not [child for child in multiprocessing.active_children() if "Loky" not in type(child).__name__]  # of other tests


def test_workers_are_no_more_than_jobs_and_no_less_than_one() -> None:
    with Local(8).open(stubs.work, 1) as crew:
        assert crew.slots() == 1
    with Local(2).open(stubs.work, 0) as crew:
        assert crew.slots() == 1
    with pytest.raises(ValueError, match="need workers >= 1, got 0"):
        Local(0)


def test_the_linear_algebra_of_a_worker_has_one_thread_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    with local_engine._one_thread():
        assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "4")
    assert "OMP_NUM_THREADS" not in os.environ


def test_exit_codes_are_told_in_words() -> None:
    assert local_engine._how(3) == "exit code 3"
    assert local_engine._how(-signal.SIGSEGV) == "SIGSEGV"
    assert local_engine._how(-99) == "signal 99"


def test_processes_are_started_afresh_where_there_is_no_server_to_split_them_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    Local(2).warm()
    done, _, _ = worked(Local(1), stubs.lots_of(tmp_path, ["a"]))
    assert done == {0: ("a",)}


def test_everything_that_is_imported_beforehand_is_there() -> None:
    assert "biosig_mtl.pipeline" in importlib.import_module("biosig_mtl.pipeline.engines.warm").NEEDED


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells threads")
def test_what_is_imported_beforehand_starts_no_thread_but_one_that_minds_itself() -> None:
    # A process that is split off has only half of what other threads held; jemalloc's own knows of that.
    code = (
        "import biosig_mtl.pipeline.engines.warm, threading; from pathlib import Path; print(threading.active_count(), "
        "*sorted(p.read_text().strip() for p in Path('/proc/self/task').glob('*/comm'))[:-1])"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() in (["1"], ["1", "jemalloc_bg_thd"])


def _unreached(_job: object) -> None:
    raise UnreachedError("s3://x: cannot be read (a.dat): ConnectionError; run the same command again")


def test_a_finer_kind_of_our_errors_travels_as_what_it_is() -> None:
    with pytest.raises(DataError, match=r"^s3://x: cannot be read"):
        outcome(answer(_unreached, None))
