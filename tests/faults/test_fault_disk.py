"""What a disk does to those who write: full, read-only, gone. One line, and a later run ends with the same bytes."""

from __future__ import annotations

import errno as numbers
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Bench, one_line

CALLS = ("open", "write", "fsync", "replace")


def recovers_to_the_same_store(bench: Bench, into: str = "store") -> None:
    """A plain run after the fault ends, and its files are those of an undisturbed one."""
    again = bench.prepare(into)
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_store(into) == []


# ----------------------------------------------------------------------------------------------------------------- the disk
@pytest.mark.parametrize(
    ("call", "errno"),
    [*((call, "ENOSPC") for call in CALLS), ("open", "EROFS"), ("write", "EDQUOT"), ("fsync", "EIO"), ("replace", "ESTALE")],
)
def test_a_store_that_cannot_be_written(bench: Bench, call: str, errno: str) -> None:
    told = {"call": call, "errno": errno, "match": f"{bench.place}/store", "nth": 5}
    made = bench.prepare(error=told)
    one_line(made, 3, str(bench.place), os.strerror(getattr(numbers, errno)))
    assert not list(bench.place.glob("store/*/store.json"))
    assert not list(bench.place.rglob("*.tmp")), "a writer that lives sweeps up after itself"
    recovers_to_the_same_store(bench)


@pytest.mark.parametrize("call", ["open", "write", "replace"])
@pytest.mark.parametrize("nth", [1, 12])
def test_a_run_folder_that_cannot_be_written(bench: Bench, call: str, nth: int) -> None:
    told = {"call": call, "errno": "ENOSPC", "match": f"{bench.place}/run", "nth": nth}
    made = bench.train(error=told)
    one_line(made, 3, str(bench.place), "No space left on device")
    assert not (bench.place / "run" / "scores.json").exists()
    again = bench.train()
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_run() == []


@pytest.mark.parametrize("size", [1500, 20_000])
def test_a_file_that_may_not_grow(bench: Bench, size: int) -> None:
    """RLIMIT_FSIZE: the kernel refuses, whoever writes."""
    one_line(bench.prepare(limits={"FSIZE": size}), 3, str(bench.place), "File too large")
    recovers_to_the_same_store(bench)


@pytest.mark.parametrize("size", [1500, 10_000])
def test_a_file_of_a_training_that_may_not_grow(bench: Bench, size: int) -> None:
    one_line(bench.train(limits={"FSIZE": size}), 3, str(bench.place), "File too large")
    again = bench.train()
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_run() == []


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Path]:
    """Yield a folder that is a disk of its own with 256 KiB."""
    place = bench.place / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no disk may be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(bench: Bench, small_disk: Path) -> None:
    one_line(bench.prepare("disk/store"), 3, str(small_disk), "No space left on device")
    # The store on a full disk can be read, and somebody makes room.
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    recovers_to_the_same_store(bench, "disk/store")


def test_a_full_disk_while_training(bench: Bench, small_disk: Path) -> None:
    one_line(bench.train("disk/run"), 3, str(small_disk), "No space left on device")
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = bench.train("disk/run")
    assert (again.code, again.errors) == (0, [])
    assert bench.unlike_the_run("disk/run") == []


def test_a_disk_that_is_read_only(bench: Bench, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    one_line(bench.prepare("disk/store"), 3, str(small_disk), "Read-only file system")
    one_line(bench.train("disk/run"), 3, str(small_disk), "Read-only file system")


def test_a_full_or_missing_temporary_folder(bench: Bench) -> None:
    """Nothing of a preparation or a training needs one."""
    nowhere = {name: str(bench.place / "nowhere") for name in ("TMPDIR", "TEMP", "TMP")}
    assert bench.prepare(env=nowhere).code == 0
    assert bench.unlike_the_store() == []
    made = bench.train(env=nowhere)
    assert (made.code, made.errors) == (0, [])
    assert bench.unlike_the_run() == []
