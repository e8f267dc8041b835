"""One nursery for all tests of faults, a tiny cohort, its store and a finished run, all made without a fault."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl.data.synthetic import Cohort, write
from tests.faults.nursery import Nursery, Outcome, nursery

COHORT = Cohort(n_subjects=6, records_per_subject=1, record_s=20, fault_share=0.34)
TINY = (
    "split.folds=2",
    "split.negative_control=false",
    "training.epochs=2",
    "training.ensemble=1",
    "model.width=8",
    "model.heads=2",
    "model.kernel_landmarks=0",
)
SETS = tuple(word for setting in TINY for word in ("--set", setting))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Forks, signals and limits are those of POSIX; what is wrapped is found below /proc."""
    if not sys.platform.startswith("linux"):
        for item in items:
            if "tests/faults" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="forks and signals as Linux has them"))


@dataclass(frozen=True)
class Bench:
    """Where commands run: a place of its own for every test, and what an undisturbed run gives."""

    nursery: Nursery
    cohort: Path
    store: Path
    run: Path
    place: Path

    def prepare(self, into: str | Path = "store", *, data: Path | None = None, workers: int = 1, **more: Any) -> Outcome:
        """Prepare the cohort, a lot a record, into a folder of this test."""
        words = ("prepare", "demo_bp", "--data", data or self.cohort, "--store", self.place / into, "--workers", workers)
        return self.nursery.order(*words, **{"small_lots": "forked", **more})

    def train(self, out: str | Path = "run", *, workers: int = 1, **more: Any) -> Outcome:
        """Train on the undisturbed store (or ``store``), into a folder of this test."""
        store = more.pop("store", self.store.parent)
        words = ("train", "demo_bp", "--store", store, "--out", self.place / out, "--workers", workers, *SETS)
        return self.nursery.order(*words, quick=1, **more)

    def unlike_the_store(self, into: str | Path = "store") -> list[str]:
        """Return the files in which a folder of stores is not the undisturbed one."""
        return differing(contents(self.place / into), contents(self.store.parent))

    def unlike_the_run(self, out: str | Path = "run") -> list[str]:
        """Return the files in which a run folder is not the undisturbed one."""
        return differing(contents(self.place / out), contents(self.run))


def one_line(outcome: Outcome, code: int, *words: str) -> str:
    """Return the error that a command ended with: one line of ours, the right code, no traceback, nothing that hung."""
    told = (outcome.code, outcome.err[-2000:])
    assert not outcome.hung, told
    assert outcome.code == code, told
    assert len(outcome.errors) == 1, told
    line = outcome.errors[0]
    assert line.startswith("biosig-mtl: "), told
    assert all(word in line for word in words), told
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of files that are not in both, or not the same; what is told of the machine is left aside."""
    names = (one.keys() | other.keys()) - {"environment.json"}
    return sorted(name for name in names if one.get(name) != other.get(name))


@pytest.fixture(scope="session")
def open_place() -> Iterator[Path]:
    """Return a folder that other users may enter too, as pytest's own may not be."""
    place = Path(tempfile.mkdtemp(prefix="biosig-faults-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(open_place: Path) -> Iterator[Bench]:
    with nursery() as process:
        assert process.threads == 1, "a fork of several threads may stand still"
        cohort = write(COHORT, open_place / "cohort")
        bench = Bench(process, cohort, open_place, open_place, open_place)
        words = ("prepare", "demo_bp", "--data", cohort, "--store", open_place / "stores", "--workers", 1)
        made = process.learn(*words, small_lots="forked")
        assert made.code == 0, made.err
        store = next((open_place / "stores").glob("*/store.json")).parent
        bench = Bench(process, cohort, store, open_place / "whole", open_place)
        made = process.learn("train", "demo_bp", "--store", store.parent, "--out", bench.run, "--workers", 1, *SETS, quick=1)
        assert made.code == 0, made.err
        yield bench


@pytest.fixture
def bench(undisturbed: Bench, open_place: Path) -> Iterator[Bench]:
    place = Path(tempfile.mkdtemp(prefix="t", dir=open_place))
    place.chmod(0o755)
    yield Bench(undisturbed.nursery, undisturbed.cohort, undisturbed.store, undisturbed.run, place)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def second(bench: Bench) -> Iterator[Bench]:
    """The same place with a nursery of its own, so that two commands can run at once."""
    with nursery() as process:
        yield replace(bench, nursery=process)


@pytest.fixture(scope="session")
def kills() -> Callable[[int], int]:
    """Return how many kills a test makes: its own number, or ``$BIOSIG_KILLS`` for a long run by hand."""
    return lambda usual: int(os.environ.get("BIOSIG_KILLS", usual))
