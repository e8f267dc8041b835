"""Ten thousand small records, one in twenty broken: all accounted for, and the work takes no longer than with whole ones."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from biosig_mtl import store
from tests.benchmarks.timing import alone
from tests.faults import broken_cohort
from tests.faults.test_fault_broken_records import check

pytestmark = pytest.mark.benchmark

RECORDS = 10_000
MOST = 1.05
START = """from biosig_mtl import pipeline, recipe; work = lambda root, into: pipeline.prepare(
        recipe.load(arguments[0]), Path(root), Path(into), workers=1); work(arguments[3], arguments[2] + "-start")"""
JOB = "work(arguments[1], arguments[2])"


def test_broken_records_cost_nothing(tmp_path: Path) -> None:
    """CPU seconds of a process each, in turns, the shorter of two; the wall seconds beside them are those of a busy machine."""
    recipe = tmp_path / "broken.yaml"
    recipe.write_text(broken_cohort.RECIPE, encoding="utf-8")
    broken_cohort.write_cohort(tmp_path / "few", 24, 0)
    broken = broken_cohort.write_cohort(tmp_path / "broken", RECORDS)
    broken_cohort.write_cohort(tmp_path / "whole", RECORDS, 0)
    cpu_s: dict[str, float] = {}
    wall_s: dict[str, float] = {}
    for turn, which in enumerate(("whole", "broken", "broken", "whole")):
        into, began = tmp_path / f"store{turn}", time.monotonic()
        took = alone(START, JOB, recipe, tmp_path / which, into, tmp_path / "few")["cpu_s"]
        cpu_s[which] = min(cpu_s.get(which, took), took)
        wall_s[which] = min(wall_s.get(which, 1e9), time.monotonic() - began)
        check(next(into.glob("*/store.json")).parent, RECORDS, broken if which == "broken" else {})
    ratio = cpu_s["broken"] / cpu_s["whole"]
    told = store.summary(next((tmp_path / "store1").glob("*/store.json")).parent)
    ways = ", ".join(f"{count} {way}" for way, count in sorted(Counter(broken.values()).items()))
    sys.stdout.write(
        f"\n{told['records']} records in = {told['records_used']} used + {told['records_rejected']} refused ({ways})\n"
        f"CPU {cpu_s['broken']:.1f} s with broken records, {cpu_s['whole']:.1f} s with whole ones: {ratio:.3f} times; "
        f"wall {wall_s['broken']:.0f} s and {wall_s['whole']:.0f} s\n"
    )
    assert ratio <= MOST
