"""One book for the session, and the recordings that are measured on."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl.data import synthetic
from tests.benchmarks import peers
from tests.benchmarks.book import Book

NOTES = (
    "CPU seconds (user and system) of one thread, medians of runs in turns; only ratios of one run mean anything.",
    "F1: beats matched one to one after each method's own constant lag in the recording was removed; bold: the best.",
    "MIT-BIH 100 and 105, 118e12 (noise stress): cardiologists' beats. BIDMC 01, MIMIC-III: R peaks that two peers agree on.",
    "Simulated: an hour of twelve people, 125 Hz, 2 % premature beats, irregular stretches; motion in 0, 10, 30 % of it.",
    "Lag: median of the sets; jitter: 1.48 × MAD on the simulated clean set (3 ms is the sampling grid); CPU: on a clean hour.",
)


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """Gather what is measured; write and show it at the end (``$BENCH_OUT`` names the folder)."""
    gathered = Book(peers.OURS, environment(), NOTES)
    yield gathered
    folder = Path(os.environ.get("BENCH_OUT") or tmp_path_factory.mktemp("bench"))
    sys.stdout.write(f"\n\n{gathered.write(folder)}\n{folder / 'benchmarks.md'}\n")
    sys.stdout.write("".join(f"{claim}\n" for claim in gathered.claims()))


@pytest.fixture(scope="session")
def real_root() -> Path | None:
    """Real recordings, if there are any: what is simulated is measured without them."""
    root = Path(os.environ.get("BIOSIG_DATA", Path(__file__).parents[3] / "shared" / "data"))
    return root.resolve() if root.is_dir() else None


@pytest.fixture(scope="session")
def neurokit() -> Any:
    """NeuroKit2, which is an extra."""
    if reason := peers.missing("neurokit2"):
        pytest.skip(reason)
    with peers.quiet():
        return importlib.import_module("neurokit2")


@pytest.fixture(scope="session")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a cohort of one clean hour: PPG, ECG and ABP at 125 Hz."""
    cohort = synthetic.Cohort(n_subjects=1, records_per_subject=1, record_s=3600, fault_share=0, seed=3, noise="clean")
    return synthetic.write(cohort, tmp_path_factory.mktemp("hour") / "cohort")


def environment() -> dict[str, str]:
    """Return versions and the kind of machine."""
    versions = {name: str(importlib.import_module(name).__version__) for name in ("numpy", "scipy")}
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    machine = {"python": platform.python_version(), "machine": platform.machine(), "OMP_NUM_THREADS": threads}
    return {**machine, "cores": str(os.cpu_count()), "load": load(), **versions, **peers.versions()}


def load() -> str:
    """Return how busy every core was in the last minute before the benchmarks: 1.00 is fully."""
    return f"{os.getloadavg()[0] / (os.cpu_count() or 1):.2f}"
