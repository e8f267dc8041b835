"""Records in are records used and records refused, and every reason is the right one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from biosig_mtl import pipeline, recipe, store
from tests.faults import broken_cohort
from tests.faults.broken_cohort import WAYS, write_cohort


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> recipe.Recipe:
    path = tmp_path_factory.mktemp("r") / "broken.yaml"
    path.write_text(broken_cohort.RECIPE, encoding="utf-8")
    return recipe.load(str(path))


def check(folder: Path, records: int, broken: dict[str, str]) -> None:
    """Hold a store to the law."""
    told = store.summary(folder)
    assert (told["records"], told["records_rejected"]) == (records, len(broken))
    assert told["records_used"] + told["records_rejected"] == records
    used = set(store.read(folder).index["record"])
    assert len(used) == told["records_used"]
    assert not used & broken.keys()
    reasons: dict[str, list[str]] = {}
    for record, _, reason in store.read_rejected(folder):
        reasons.setdefault(record, []).append(reason)
    assert reasons.keys() == broken.keys(), "nobody is refused without a fault"
    for record, way in broken.items():
        for reason in reasons[record]:
            assert re.search(WAYS[way][1], reason), (way, reason)
            assert "unexpected" not in reason
            assert "/tmp" not in reason


def test_every_broken_record_has_its_reason(plan: recipe.Recipe, tmp_path: Path) -> None:
    broken = write_cohort(tmp_path / "data", 600)
    assert len(broken) == 30
    assert set(broken.values()) == set(WAYS)
    check(pipeline.prepare(plan, tmp_path / "data", tmp_path / "store"), 600, broken)


def test_a_whole_cohort_is_used_whole(plan: recipe.Recipe, tmp_path: Path) -> None:
    assert write_cohort(tmp_path / "data", 24, broken_share=0) == {}
    check(pipeline.prepare(plan, tmp_path / "data", tmp_path / "store"), 24, {})
