"""Odd things among the data files: nothing hangs, nothing ends the run, each has its reason."""

from __future__ import annotations

import csv
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from tests.faults.conftest import Bench, contents, one_line

NAME = "s002_1"


@pytest.fixture
def data(bench: Bench) -> Path:
    return Path(shutil.copytree(bench.cohort, bench.place / "data"))


def told(bench: Bench, into: str = "store") -> dict[str, str]:
    """Return the reason of every record that was refused whole."""
    path = next((bench.place / into).glob("*/rejected.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        return {row["record"]: row["reason"] for row in csv.DictReader(file) if not row["onset_s"]}


def refused(bench: Bench, data: Path) -> str:
    """Prepare; return why the record was refused. All others are used as ever."""
    made = bench.prepare(data=data, limit_s=30)
    assert (made.code, made.errors, made.hung) == (0, [], False), made.err
    reasons = told(bench)
    plain = told_of_the_undisturbed(bench)
    assert {k: v for k, v in reasons.items() if k != NAME} == {k: v for k, v in plain.items() if k != NAME}
    assert str(data) not in reasons[NAME]
    assert "unexpected" not in reasons[NAME]
    return reasons[NAME]


def told_of_the_undisturbed(bench: Bench) -> dict[str, str]:
    with (bench.store / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return {row["record"]: row["reason"] for row in csv.DictReader(file) if not row["onset_s"]}


def replaced(data: Path, suffix: str) -> Path:
    path = data / "s002" / f"{NAME}{suffix}"
    path.unlink()
    return path


@pytest.mark.parametrize("suffix", [".hea", ".dat"])
@pytest.mark.parametrize("kind", ["fifo", "loop", "dangling", "folder", "device", "socket"])
def test_what_is_no_file(bench: Bench, data: Path, kind: str, suffix: str) -> None:
    path = replaced(data, suffix)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as one:
            # The name of a socket may have 108 bytes.
            here = Path.cwd()
            os.chdir(path.parent)
            try:
                one.bind(path.name)
            finally:
                os.chdir(here)
    assert f"{NAME}{suffix}" in refused(bench, data)


def test_a_folder_that_holds_itself(bench: Bench, data: Path) -> None:
    (data / "s002" / "again").symlink_to(data)
    (data / "loop").symlink_to("loop")
    made = bench.prepare(data=data, limit_s=30)
    assert (made.code, made.errors) == (0, [])
    assert bench.unlike_the_store() == []


def test_a_folder_of_a_subject_that_is_a_loop(bench: Bench, data: Path) -> None:
    shutil.rmtree(data / "s002")
    (data / "s002").symlink_to("s002")
    assert "s002" in refused(bench, data)


def test_files_of_others_with_names_of_all_kinds(bench: Bench, data: Path) -> None:
    """Bytes that are no UTF-8, a name of the greatest length, line ends: they lie there and matter to nobody."""
    for name in (b"caf\xe9.hea", b"x" * 255, b"a\nb.dat", b"\xff\xfe"):
        Path(os.fsdecode(os.fsencode(data / "s002") + b"/" + name)).write_bytes(b"x")
    made = bench.prepare(data=data)
    assert (made.code, made.errors) == (0, [])
    assert bench.unlike_the_store() == []


def test_a_data_folder_whose_name_is_no_utf8(bench: Bench, data: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(bench.place) + b"/caf\xe9"))
    data.rename(odd)
    made = bench.nursery.order("prepare", "demo_bp", "--data", odd, "--store", bench.place / "store", small_lots="forked")
    assert (made.code, made.errors) == (0, [])
    assert bench.unlike_the_store() == []
    (odd / "records.csv").unlink()
    made = bench.nursery.order("prepare", "demo_bp", "--data", odd, "--store", bench.place / "other")
    one_line(made, 3, "records.csv")


def test_a_path_of_great_depth(bench: Bench) -> None:
    deep = bench.place / "/".join(["d" * 200] * 15)
    deep.mkdir(parents=True)
    data = Path(shutil.copytree(bench.cohort, deep / "data"))
    made = bench.prepare(data=data)
    assert (made.code, made.errors) == (0, [])
    assert bench.unlike_the_store() == []
    # Longer than the system allows.
    one_line(bench.prepare("/".join(["d" * 200] * 25)), 3, "File name too long")
    one_line(bench.prepare("d" * 300), 3, "File name too long")


def test_an_empty_or_missing_folder(bench: Bench) -> None:
    empty = bench.place / "empty"
    empty.mkdir()
    one_line(bench.prepare(data=empty), 3, str(empty), "records.csv")
    one_line(bench.prepare(data=bench.place / "none"), 3, "no such folder")
    one_line(bench.prepare(data=bench.cohort / "records.csv"), 3, "no such folder")
    assert not (bench.place / "store").exists()


def test_a_data_folder_without_one_good_record(bench: Bench, data: Path) -> None:
    for path in data.rglob("*.dat"):
        path.write_bytes(b"")
    made = bench.prepare(data=data)
    one_line(made, 3, "no window came through")
    assert len(told(bench)) == 6
    one_line(bench.train(store=bench.place / "store"), 3, "no window came through")


def test_a_file_that_vanishes_while_it_is_prepared(bench: Bench, data: Path) -> None:
    """It was there when the records were listed."""
    watched = bench.place / "store"

    def take_away() -> None:
        until = time.monotonic() + 20
        while not list(watched.glob("*/plan.json")) and time.monotonic() < until:
            time.sleep(0.0005)
        (data / "s006" / "s006_1.dat").unlink()

    taker = threading.Thread(target=take_away)
    taker.start()
    made = bench.prepare(data=data)
    taker.join()
    assert (made.code, made.errors) == (0, []), made.err
    assert "s006_1.dat" in told(bench)["s006_1"]


def test_a_file_that_grows_and_shrinks_while_it_is_prepared(bench: Bench, data: Path) -> None:
    """Whatever was read: the run ends, and the next one sees that the data are other ones."""
    path = data / "s006" / "s006_1.dat"
    whole = path.read_bytes()
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            for share in (3, 2, 1):
                path.write_bytes(whole[: len(whole) // share])

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        made = bench.prepare(data=data)
    finally:
        stop.set()
        disturber.join()
    assert (made.code, made.errors, made.hung) == (0, [], False), made.err
    path.write_bytes(whole)
    assert bench.prepare(data=data).code == 0
    found = [contents(folder) for folder in (bench.place / "store").iterdir() if folder.name == bench.store.name]
    assert len(found) == 1
