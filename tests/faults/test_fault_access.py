"""Recordings and stores that may not be read, or whose disk fails: a record is refused with its reason, or one line is said."""

from __future__ import annotations

import errno as numbers
import os
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Bench, one_line
from tests.faults.injections import NOBODY


# ------------------------------------------------------------------------------------------------------------- permissions
@pytest.fixture
def guest(bench: Bench) -> Bench:
    """The place belongs to nobody, who runs the commands."""
    if os.geteuid() == 0:
        os.chown(bench.place, NOBODY, NOBODY)
    return bench


def test_a_store_in_a_folder_of_somebody_else(guest: Bench) -> None:
    closed = guest.place / "closed"
    closed.mkdir(mode=0o555)
    one_line(guest.prepare("closed/store", uid=NOBODY), 3, str(closed), "Permission denied")
    one_line(guest.train("closed/run", uid=NOBODY), 3, str(closed), "Permission denied")
    closed.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(closed, NOBODY, NOBODY)
    made = guest.prepare("closed/store", uid=NOBODY)
    assert (made.code, made.errors) == (0, []), made.err
    assert guest.unlike_the_store("closed/store") == []


def test_a_store_that_only_others_may_read(guest: Bench) -> None:
    store = guest.place / "store"
    shutil.copytree(guest.store.parent, store)
    for path in (store, *store.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = guest.prepare(uid=NOBODY)
    assert (done.code, done.errors) == (0, []), "what is finished is only read"
    table = next(store.glob("*/index.parquet"))
    table.chmod(0)
    if os.geteuid() == 0:
        os.chown(table, 0, 0)
    one_line(guest.train(uid=NOBODY, store=store), 3, "index.parquet")
    for path in (store, *store.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_data_file_that_may_not_be_read(guest: Bench) -> None:
    data = Path(shutil.copytree(guest.cohort, guest.place / "data"))
    (data / "s003" / "s003_1.dat").chmod(0)
    made = guest.prepare(data=data, uid=NOBODY)
    assert (made.code, made.errors) == (0, []), made.err
    rejected = next(guest.place.glob("store/*/rejected.csv")).read_text(encoding="utf-8")
    lines = [line for line in rejected.splitlines() if line.startswith("s003_1,,")]
    assert len(lines) == 1
    assert "s003_1.dat" in lines[0]
    assert "ermission denied" in lines[0]


@pytest.mark.parametrize("which", ["", "s003", "records.csv"])
def test_a_data_folder_that_may_not_be_read(guest: Bench, which: str) -> None:
    data = Path(shutil.copytree(guest.cohort, guest.place / "data"))
    (data / which).chmod(0)
    made = guest.prepare(data=data, uid=NOBODY)
    if which == "s003":
        assert (made.code, made.errors) == (0, []), made.err
        assert (
            "s003_1,,s003/s003_1.hea: its folder is not readable: Permission denied"
            in next(guest.place.glob("store/*/rejected.csv")).read_text()
        )
    else:
        one_line(made, 3, str(data), "ermission denied")
    (data / which).chmod(0o755)


# ------------------------------------------------------------------------------------------------------------- the recordings
@pytest.mark.parametrize(
    ("call", "name", "errno"),
    [
        ("open", "s002_1.dat", "ESTALE"),
        ("read", "s002_1.dat", "EIO"),
        ("open", "s002_1.hea", "EIO"),
        ("read", "s002_1.hea", "ESTALE"),
    ],
)
def test_a_data_file_whose_disk_fails(bench: Bench, call: str, name: str, errno: str) -> None:
    """A trouble that passes changes nothing; with one that stays the record is refused, with its name and the reason."""
    told = {"call": call, "errno": errno, "match": name}
    made = bench.prepare("passing", error={**told, "times": 2})
    assert (made.code, made.errors) == (0, []), made.err
    assert bench.unlike_the_store("passing") == []
    made = bench.prepare(error=told)
    assert (made.code, made.errors) == (0, []), made.err
    rejected = next(bench.place.glob("store/*/rejected.csv")).read_text(encoding="utf-8")
    lines = [line for line in rejected.splitlines() if line.startswith("s002_1,,")]
    assert len(lines) == 1
    assert "s002_1" in lines[0].partition(",,")[2]
    assert "unexpected" not in lines[0]
    assert os.strerror(getattr(numbers, errno)) in lines[0]
    assert str(bench.cohort) not in rejected


@pytest.mark.parametrize("call", ["open", "read"])
def test_an_index_whose_disk_fails(bench: Bench, call: str) -> None:
    told = {"call": call, "errno": "EIO", "match": "records.csv"}
    one_line(bench.prepare(error=told), 3, "records.csv", "Input/output error")
    assert bench.prepare().code == 0
    assert bench.unlike_the_store() == []
