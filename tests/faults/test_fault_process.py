"""What happens to the process itself: signals, clocks, memory, streams that nobody reads, a missing home."""

from __future__ import annotations

import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Bench, one_line
from tests.faults.nursery import Outcome

YEAR_S = 365.25 * 86400.0


# ---------------------------------------------------------------------------------------------------------------- signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_preparation_that_is_asked_to_stop(bench: Bench, number: int, code: int, workers: int) -> None:
    soon = f"{bench.place}/store/*/lots/00001.json"
    # A terminal tells the whole group; a scheduler, one process.
    made = bench.prepare(workers=workers, signals=[(soon, number)], group=number == signal.SIGINT)
    one_line(made, code, "stopped; what was finished is kept, the same command goes on from there")
    again = bench.prepare()
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_store() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_training_that_is_asked_to_stop(bench: Bench, number: int, code: int) -> None:
    soon = f"{bench.place}/run/work/*/*/result.json"
    one_line(bench.train(signals=[(soon, number)]), code, "stopped; what was finished is kept")
    again = bench.train()
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_run() == []


# ----------------------------------------------------------------------------------------------------------------- clocks
@pytest.mark.parametrize("by_s", [-YEAR_S, YEAR_S])
def test_a_clock_that_jumps(bench: Bench, by_s: float) -> None:
    made = bench.prepare(clock={"by_s": by_s, "after": 3})
    assert (made.code, made.errors) == (0, []), made.err
    assert bench.unlike_the_store() == []
    made = bench.train(clock={"by_s": by_s, "after": 10})
    assert (made.code, made.errors) == (0, []), made.err
    assert bench.unlike_the_run() == []


# ----------------------------------------------------------------------------------------------------------------- memory
def test_a_record_that_is_too_large_for_the_memory(bench: Bench) -> None:
    """It is refused, or the run ends in a line; the neighbours are used, and there is no store that is not whole."""
    data = Path(shutil.copytree(bench.cohort, bench.place / "data"))
    header = data / "s002" / "s002_1.hea"
    first, rest = header.read_text(encoding="ascii").split("\n", 1)
    words = first.split()
    frames = 12_000 * 3500
    header.write_text(f"{words[0]} {words[1]} 12000 {frames}\n{rest}", encoding="ascii")
    with (data / "s002" / "s002_1.dat").open("r+b") as file:
        file.truncate(frames * 6)  # a hole: it takes no place on the disk
    made = bench.prepare(data=data, limits={"AS": 700 << 20})
    if made.code:
        one_line(made, 3, "memory")
    else:
        assert made.errors == [], made.err
        store = next(bench.place.glob("store/*"))
        assert bench.nursery.order("store", "verify", store).code == 0
        assert "memory" in next(
            line for line in (store / "rejected.csv").read_text().splitlines() if line.startswith("s002_1,,")
        )


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_memory_that_runs_out_is_one_line(bench: Bench, verb: str) -> None:
    """Where no record is to blame."""
    where = {"prepare": "biosig_mtl.store:finish", "train": "biosig_mtl.experiment.grading:gather"}[verb]
    work = bench.prepare if verb == "prepare" else bench.train
    one_line(work("made", raises={"where": where, "what": "MemoryError"}), 3, "not enough memory")
    again = work("made")
    assert (again.code, again.errors) == (0, [])
    assert (bench.unlike_the_store("made") if verb == "prepare" else bench.unlike_the_run("made")) == []


# ---------------------------------------------------------------------------------------------------------------- streams
@pytest.mark.parametrize("streams", [["out"], ["err"], ["out", "err"]])
@pytest.mark.parametrize("how", ["broken_pipes", "closed"])
def test_nobody_listens(bench: Bench, streams: list[str], how: str) -> None:
    """``| head -1`` and ``>&-``: what is said is lost, the work is not, and nothing else is said."""
    said: dict[str, Any] = {how: streams}
    made = bench.prepare(**said)
    assert made.code == 0, (made.out, made.err)
    assert "rror" not in made.out + made.err
    assert bench.unlike_the_store() == []
    made = bench.train(**said)
    assert made.code == 0, (made.out, made.err)
    assert bench.unlike_the_run() == []


def test_a_list_that_nobody_reads_to_its_end(bench: Bench) -> None:
    made = bench.nursery.order("data", "list", broken_pipes=["out"], env={"BIOSIG_DATA": str(bench.place)})
    assert (made.code, made.err) == (0, "")


def test_a_disk_that_takes_no_word(bench: Bench) -> None:
    """Standard output is a file on a full disk: told, once, where it can be told."""
    made = bench.nursery.order("data", "list", full=["out"])
    one_line(made, 3, "No space left on device")


def test_no_home(bench: Bench) -> None:
    for more in ({"unset": ["HOME"]}, {"env": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"}}):
        assert bench.prepare(**more).code == 0
        assert bench.unlike_the_store() == []
        assert bench.train(**more).code == 0
        assert bench.unlike_the_run() == []


# ------------------------------------------------------------------------------------------------------------ two at once
def test_two_writers_of_one_store(bench: Bench, second: Bench) -> None:
    """Both end, and the store is that of one."""
    found: list[Outcome] = []
    other = threading.Thread(target=lambda: found.append(second.prepare(bench.place / "store")))
    other.start()
    found.append(bench.prepare())
    other.join()
    assert [(one.code, one.errors) for one in found] == [(0, [])] * 2
    assert bench.unlike_the_store() == []


def test_two_trainings_of_one_run(bench: Bench, second: Bench) -> None:
    found: list[Outcome] = []
    other = threading.Thread(target=lambda: found.append(second.train(bench.place / "run")))
    other.start()
    found.append(bench.train())
    other.join()
    for one in found:
        assert one.code in {0, 3}, one.err
        assert len(one.errors) == (1 if one.code else 0), one.err
    assert bench.train().code == 0
    assert bench.unlike_the_run() == []


def test_a_reader_beside_a_writer(bench: Bench, second: Bench) -> None:
    """A reader sees no store, or the whole one."""
    writing = threading.Thread(target=bench.prepare)
    writing.start()
    try:
        for turn in range(4):
            read = second.train(bench.place / f"run{turn}", store=bench.place / "store")
            if read.code:
                one_line(read, 3, "holds no finished store")
            else:
                assert bench.unlike_the_run(f"run{turn}") == []
                break
    finally:
        writing.join()


def test_a_store_folder_that_is_a_file(bench: Bench) -> None:
    (bench.place / "store").write_text("x", encoding="utf-8")
    one_line(bench.prepare(), 3, str(bench.place / "store"))
    one_line(bench.train("store"), 3, str(bench.place / "store"))
    assert Path(bench.place / "store").read_text(encoding="utf-8") == "x"
