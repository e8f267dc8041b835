"""A data set and its store at an address: the same store as from folders, whoever worked it and whoever was killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from biosig_mtl import pipeline, store
from biosig_mtl import recipe as recipes
from biosig_mtl.cli import main
from biosig_mtl.data import remote
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import preparing
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import DataError


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=3, records_per_subject=2, record_s=40.0), tmp_path_factory.mktemp("sets") / "cohort")


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return recipes.load("demo_bp")


@pytest.fixture(autouse=True)
def small_lots_and_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(preparing, "LOT_RECORDS", 2)
    remote._laid.cache_clear()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_store_made_from_afar_is_the_store(near: Path, recipe: Recipe, tmp_path: Path) -> None:
    own = pipeline.prepare(recipe, near, tmp_path / "own")
    far = f"file://{tmp_path / 'far'}"
    made = pipeline.prepare(recipe, f"file://{near}", far)
    assert made.name == own.name
    assert contents(tmp_path / "far" / own.name) == contents(own)
    found = pipeline.find_store(recipe, far, "simulated_bp")
    assert contents(found) == contents(own)
    assert len(store.read(found)) > 0
    assert not any((tmp_path / "cache" / "staged").glob("*/*.dat"))


def test_what_is_there_is_not_done_again(near: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = f"file://{tmp_path / 'far'}"
    made = pipeline.prepare_by(recipe, near, far, pipeline.Way())
    whole = contents(tmp_path / "far")
    number = sorted((tmp_path / "far" / made.folder.name / "lots").glob("*.json"))[1].stem
    for gone in (f"lots/{number}.json", "store.json"):
        (tmp_path / "far" / made.folder.name / gone).unlink()
    shutil.rmtree(tmp_path / "cache")  # another machine
    again = pipeline.prepare_by(recipe, near, far, pipeline.Way())
    assert again.summary.wrote == 1
    assert contents(tmp_path / "far") == whole
    monkeypatch.setattr(store, "write_lot", None)
    third = pipeline.prepare_by(recipe, near, Path(far), pipeline.Way())
    assert third.finished
    assert third.summary.wrote == 0


def test_a_record_that_was_taken_away_is_refused_without_the_place_of_its_copy(
    near: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path / "set"
    shutil.copytree(near, far)
    lay = remote.lay

    def and_take(manifest: object, place: object) -> Path:
        listing = lay(manifest, place)  # type: ignore[arg-type]
        min(far.rglob("*.dat")).unlink()
        return listing

    monkeypatch.setattr(remote, "lay", and_take)
    made = pipeline.prepare(recipe, f"file://{far}", tmp_path / "stores")
    refused = [reason for _, onset, reason in store.read_rejected(made) if not onset]
    assert any("not there" in reason for reason in refused)
    assert not any(str(tmp_path / "cache") in reason for reason in refused)


def test_a_store_that_is_not_there_is_told(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no finished store of simulated_bp"):
        pipeline.find_store(recipe, f"file://{tmp_path / 'none'}", "simulated_bp")


def test_the_command_takes_addresses(near: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "demo_bp", "--data", f"file://{near}", "--store", f"file://{tmp_path / 'far'}", "--workers", "2"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0, capsys.readouterr().err
    assert "windows of" in capsys.readouterr().out
    assert len(list((tmp_path / "far").glob("*/store.json"))) == 1
    with pytest.raises(SystemExit) as left:
        main([*words[:3], "memory://x", *words[4:]])
    assert left.value.code == 2
    assert "addresses begin with" in capsys.readouterr().err
