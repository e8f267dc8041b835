"""Preparation on one worker and on two, by processes and by Dask over TCP; what the driver costs a record; and 1,000 workers.

``pytest -m benchmark -s tests/benchmarks/test_bench_scale.py``. The set is simulated once (``$BENCH_SCALE`` keeps it between
runs) and big enough for two minutes on one core; ``$BENCH_HOURS`` makes it another size. Only ratios of one run on a quiet
machine mean anything. The 1,000 workers are a simulation: one driver that serves them one after the other, at the cost measured
here.
"""

from __future__ import annotations

import heapq
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from biosig_mtl import pipeline
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import preparing
from biosig_mtl.pipeline.engines import Account, Dask, Engine, Local, drive
from biosig_mtl.recipe import load
from tests.pipeline import stubs

pytestmark = [pytest.mark.benchmark, pytest.mark.filterwarnings("default")]

HOURS = int(os.environ.get("BENCH_HOURS", "480"))
PEOPLE = 4
TINY = 200
NO_OPS = 2000
PROJECTED = (1, 2, 100, 1000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("BENCH_SCALE")
    return Path(kept) if kept else tmp_path_factory.mktemp("scale")


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, float]]:
    """Gather figures; show them at the end, and write them where ``$BENCH_OUT`` says."""
    found: dict[str, float] = {}
    yield found
    sys.stdout.write("\n" + "".join(f"{name}: {value:.4g}\n" for name, value in found.items()))
    if out := os.environ.get("BENCH_OUT"):
        Path(out).mkdir(parents=True, exist_ok=True)
        (Path(out) / "scale.json").write_text(json.dumps(found, indent=1) + "\n")


def many(folder: Path, records: int, record_s: float) -> Path:
    """Return a set of many records: those of a few simulated people again and again, under names of their own.

    Simulating an hour takes longer than preparing it; the samples are links to the few files, the headers are files.
    """
    if (folder / "records.csv").is_file():
        return folder
    few = write(Cohort(n_subjects=PEOPLE, records_per_subject=1, record_s=record_s, fault_share=0), folder / "few")
    head, *rows = (few / "records.csv").read_text().splitlines()
    columns = head.split(",")
    made = [head]
    for i in range(records):
        row = dict(zip(columns, rows[i % len(rows)].split(","), strict=True))
        source = few / row["path"]
        target = folder / f"d{i // 1000:03d}" / f"r{i:06d}"
        target.parent.mkdir(exist_ok=True)
        target.with_suffix(".dat").hardlink_to(source.with_suffix(".dat"))
        text = source.with_suffix(".hea").read_text().replace(source.name, target.name)
        target.with_suffix(".hea").write_text(text)
        row |= {"record": target.name, "subject": f"p{i:06d}", "path": target.relative_to(folder).as_posix()}
        made.append(",".join(row.values()))
    (folder / "records.csv").write_text("\n".join(made) + "\n")
    return folder


def seconds(engine: Engine, root: Path, into: Path) -> float:
    shutil.rmtree(into, ignore_errors=True)
    began_s = time.perf_counter()
    prepared = pipeline.prepare_by(load("demo_bp"), root, into, pipeline.Way(engine))
    spent_s = time.perf_counter() - began_s
    assert prepared.finished
    assert prepared.summary.account == Account()
    return spent_s


def test_two_workers_beside_one(place: Path, results: dict[str, float]) -> None:
    root = many(place / "hours", HOURS, 3600.0)
    into = place / "stores"
    spent = {
        "processes": [seconds(Local(n), root, into) for n in (1, 2)],
        "dask": [seconds(Dask(workers=n), root, into) for n in (1, 2)],
    }
    for name, (one_s, two_s) in spent.items():
        results |= {f"{name}, one worker, s": one_s, f"{name}, two workers, s": two_s, f"{name}, ratio": one_s / two_s}
    results["record-hours per second of one worker"] = HOURS / spent["processes"][0]
    results["megabytes per second of one worker"] = HOURS * 2.7 / spent["processes"][0]


def test_overhead_of_a_record(place: Path, results: dict[str, float]) -> None:
    """CPU of a whole preparation of tiny records, planning, writing and merging included, less that of their steps alone."""
    root = many(place / "tiny", TINY, 30.0)
    recipe = load("demo_bp")
    made, plan = pipeline.preparation(recipe), preparing.plan_of(recipe, root, place / "x", None)
    pieces = [piece for lot in plan.lots for piece in lot]
    spent: dict[str, list[float]] = {"whole": [], "steps": []}
    for turn in range(3):
        shutil.rmtree(place / "tiny_stores", ignore_errors=True)
        began_s = time.process_time()
        pipeline.prepare(recipe, root, place / "tiny_stores")
        spent["whole"].append(time.process_time() - began_s)
        began_s = time.process_time()
        for piece in pieces:
            pipeline.work_piece(made, piece)
        spent["steps"].append(time.process_time() - began_s)
        if not turn:  # imports
            spent = {name: [] for name in spent}
    results["overhead of a record, ms"] = 1e3 * (statistics.median(spent["whole"]) - statistics.median(spent["steps"])) / TINY


def test_cost_of_handing_out_and_a_thousand_workers(results: dict[str, float], tmp_path: Path) -> None:
    (lot, *_) = stubs.lots_of(tmp_path, [f"record-{i:04d}" for i in range(24)])
    jobs = [stubs.StubJob(lot.folder, i, lot.pieces) for i in range(NO_OPS)]
    task_s = 64 * 2**20 / 1e6 / results.get("megabytes per second of one worker", 11.0)
    engines: dict[str, Engine] = {"processes": Local(1), "dask": Dask(workers=1)}
    for name, engine in engines.items():
        with engine.open(stubs.nothing, len(jobs)) as crew:
            sum(1 for _ in drive(crew, jobs[:50], Account()))
            began_s = time.perf_counter()
            assert sum(1 for _ in drive(crew, jobs, Account())) == NO_OPS
            cost_s = (time.perf_counter() - began_s) / NO_OPS
        results[f"{name}, a lot handed out and back, ms"] = 1e3 * cost_s
        for workers in PROJECTED:
            results[f"{name}, {workers} workers of {task_s:.1f} s a lot, share of their time at work"] = busy(
                workers, cost_s, task_s
            )


def busy(workers: int, cost_s: float, task_s: float, lots: int = 110_000) -> float:
    """Return the share of their time that workers work when one driver serves them one after the other (simulated).

    110,000 lots are those of 7 TB.
    """
    free = [0.0] * workers
    heapq.heapify(free)
    driver_s = 0.0
    for _ in range(lots):
        driver_s = max(driver_s, free[0]) + cost_s
        heapq.heapreplace(free, driver_s + task_s)
    return lots * task_s / (workers * max(free))
