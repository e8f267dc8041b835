"""Laws of the second audit: a good run passes, and what was tampered with is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from biosig_mtl import experiment
from biosig_mtl.types import BiosigError, Check, DataError
from tests.experiment.conftest import Run


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "copy"))


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {c.name: c for c in checks}


def test_a_good_run_passes_again(run: Run) -> None:
    checks = experiment.audit_again(run.folder, run.store.parent)
    assert all(c.passed for c in checks), [c for c in checks if not c.passed]
    names = [c.name for c in checks]
    assert names[0] == "model_files"
    assert names[1:] == [c["name"] for c in run.scores.content["audit"]["checks"]]


def test_without_its_store_the_run_s_own_checks_are_told(run: Run, tmp_path: Path) -> None:
    checks = experiment.audit_again(run.folder, tmp_path)
    assert "are not in" in by_name(checks)["stores"].detail
    assert len(checks) == 2 + len(run.scores.content["audit"]["checks"])


def test_a_subject_moved_to_two_parts_is_found(run: Run, copy: Path) -> None:
    frame = pd.read_parquet(copy / "folds.parquet")
    one = frame.index[(frame["part"] == "train") & (frame["fold"] == 0)][0]
    frame.loc[one, "part"] = "test"
    frame.to_parquet(copy / "folds.parquet", index=False)
    checks = by_name(experiment.audit_again(copy, run.store.parent))
    assert not checks["subject_overlap"].passed
    assert "1 of 14 subjects" in checks["subject_overlap"].detail


def test_a_line_taken_out_of_the_scores_hides_nothing(run: Run, copy: Path) -> None:
    content = json.loads((copy / "scores.json").read_text())
    content["audit"]["checks"] = [c for c in content["audit"]["checks"] if c["name"] != "subject_overlap"]
    (copy / "scores.json").write_text(json.dumps(content))
    assert "subject_overlap" in by_name(experiment.audit_again(copy, run.store.parent))


def test_an_altered_network_is_refused(run: Run, copy: Path) -> None:
    path = next((copy / "model").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        experiment.audit_again(copy, run.store.parent)


@pytest.mark.parametrize("name", ["recipe.yaml", "scores.json", "environment.json", "folds.parquet", "model/model.json"])
@pytest.mark.parametrize("how", ["missing", "garbage"])
def test_a_damaged_run_folder_is_one_line(run: Run, copy: Path, name: str, how: str) -> None:
    if how == "missing":
        (copy / name).unlink()
    else:
        (copy / name).write_text("{}" if name.endswith("json") else "garbage")
    with pytest.raises(BiosigError) as error:
        experiment.audit_again(copy, run.store.parent)
    assert "\n" not in str(error.value)
    assert str(copy) in str(error.value)


def test_folds_of_another_store_are_refused(run: Run, copy: Path) -> None:
    frame = pd.read_parquet(copy / "folds.parquet")
    frame.loc[0, "row"] = 10_000
    frame.to_parquet(copy / "folds.parquet", index=False)
    with pytest.raises(DataError, match="names windows that the store has not"):
        experiment.audit_again(copy, run.store.parent)
