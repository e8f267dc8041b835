from __future__ import annotations

from pathlib import Path

import pytest

from biosig_mtl import recipe as recipes
from biosig_mtl.cli import main
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import preparing, projecting
from biosig_mtl.types import DataError


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=3, records_per_subject=2, record_s=40.0), tmp_path_factory.mktemp("sets") / "cohort")


def test_a_sample_tells_of_the_whole(near: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "LOT_RECORDS", 1)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    size, rates = projecting.measure(recipes.load("demo_bp"), near, sample=2)
    assert size.records == 6
    paths = [e.path for e in manifests.entries(manifests.load("simulated_bp"), near).entries]
    assert size.bytes == sum(p.with_suffix(suffix).stat().st_size for p in paths for suffix in (".hea", ".dat"))
    assert size.lot_bytes == pytest.approx(size.bytes / 6)
    assert rates.s_per_mb > 0
    assert rates.store_share > 0.1
    assert not list(tmp_path.iterdir())


def test_lots_without_content_project_nothing(near: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "work", lambda _: None)
    monkeypatch.setattr("biosig_mtl.pipeline.projecting.time.process_time", lambda: 1.0)
    with pytest.raises(DataError, match="nothing can be projected"):
        projecting.measure(recipes.load("demo_bp"), near, sample=1)


def test_the_verb_tells_time_and_price(near: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["project", "demo_bp", "--data", str(near), "--workers", "1,1000", "--price", "0.1", "--line", "1e-4"])
    assert left.value.code == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("simulated_bp: 6 records, ")
    assert "1000 processes: " in told[2]
    assert "waits for line" in told[2]
    for wrong in ("0", "two", "1,"):
        with pytest.raises(SystemExit) as left:
            main(["project", "demo_bp", "--data", str(near), "--workers", wrong])
        assert left.value.code == 2
        assert f"--workers {wrong}: " in capsys.readouterr().err
