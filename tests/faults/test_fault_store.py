"""A store that was cut short or in which a bit flipped: the file is named, and what the message advises mends it."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Bench, contents, one_line


@pytest.fixture
def store(bench: Bench) -> Path:
    """Return a copy of the undisturbed store."""
    shutil.copytree(bench.store.parent, bench.place / "store")
    return bench.place / "store" / bench.store.name


def files(bench: Bench) -> list[str]:
    """Return one file of each kind: the middle one of its like."""
    kinds: dict[str, list[str]] = {}
    for name in contents(bench.store):
        kinds.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    return [names[len(names) // 2] for names in kinds.values()]


def is_told_and_mended(bench: Bench, store: Path, name: str) -> None:
    """Training names the file, and what the message advises gives the same bytes again."""
    path = store / name
    made = bench.train(store=store.parent)
    if made.code:
        assert path.name in one_line(made, 3), made.err
    else:
        # What is not read cannot mislead: the run is that of the whole store.
        assert bench.unlike_the_run() == [], name
    checked = bench.nursery.order("store", "verify", store)
    assert checked.code == 3, (name, checked.out)
    assert path.name in checked.out + checked.err
    path.unlink()
    again = bench.prepare()
    assert (again.code, again.errors) == (0, []), again.err
    assert bench.unlike_the_store() == [], name
    shutil.rmtree(bench.place / "run", ignore_errors=True)


def test_a_flipped_bit_is_named(bench: Bench, store: Path) -> None:
    rng = random.Random(3)
    for name in files(bench):
        path = store / name
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        is_told_and_mended(bench, store, name)


def test_a_truncated_file_is_named(bench: Bench, store: Path) -> None:
    rng = random.Random(4)
    for turn, name in enumerate(files(bench)):
        path = store / name
        content = path.read_bytes()
        path.write_bytes(content[: (0, rng.randrange(1, len(content)), len(content) - 1)[turn % 3]])
        is_told_and_mended(bench, store, name)


def test_a_missing_file_comes_back(bench: Bench, store: Path) -> None:
    for name in files(bench):
        (store / name).unlink()
        again = bench.prepare()
        assert (again.code, again.errors) == (0, []), (name, again.err)
        assert bench.unlike_the_store() == [], name


def test_a_file_that_is_a_folder_is_named(bench: Bench, store: Path) -> None:
    for name in files(bench):
        path = store / name
        content = path.read_bytes()
        path.unlink()
        path.mkdir()
        # A store without its last file is not finished: nobody looks for what is in its place.
        words = ["holds no finished store"] if name.endswith("store.json") else [path.name]
        for made, told in ((bench.train(store=store.parent), words), (bench.prepare(), [path.name])):
            assert made.code in {0, 3}, made.err
            assert made.errors == [] if made.code == 0 else one_line(made, 3, *told), name
        path.rmdir()
        path.write_bytes(content)
        shutil.rmtree(bench.place / "run", ignore_errors=True)


def test_a_store_whose_disk_fails(bench: Bench) -> None:
    for turn, name in enumerate(files(bench)):
        told = {"call": ("open", "read")[turn % 2], "errno": ("EIO", "EACCES")[turn % 2], "match": f"{bench.store.name}/{name}"}
        made = bench.train(error=told)
        assert made.code in {0, 3}, made.err
        assert made.errors == [] if made.code == 0 else Path(name).name in one_line(made, 3), name
        shutil.rmtree(bench.place / "run", ignore_errors=True)
