"""A data set and its store at an address: the same store as from folders, whoever worked it and whoever was killed."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from biosig_mtl import pipeline, store
from biosig_mtl import recipe as recipes
from biosig_mtl.cli import main
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data import remote
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.pipeline import lots, preparing
from biosig_mtl.places import Place
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import DataError, Entry


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
    made = pipeline.prepare(recipe, f"file://{near}", far, workers=2)
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


def test_a_line_that_broke_ends_the_run_and_refuses_no_record(
    near: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pipeline.prepare(recipe, near, tmp_path / "own")
    fetch, turns = Place.fetch, iter(range(10**6))

    def breaks(self: Place, name: str, path: Path) -> Path:
        if name.endswith(".dat") and next(turns) >= 3:
            raise DataError(f"{self.url}: cannot be read ({name}): ConnectionError; run the same command again")
        return fetch(self, name, path)

    monkeypatch.setattr(Place, "fetch", breaks)
    with pytest.raises(DataError, match="run the same command again"):
        pipeline.prepare(recipe, f"file://{near}", tmp_path / "stores")
    done = list((tmp_path / "stores" / own.name / "lots").glob("*.json"))
    assert done  # what was whole is kept
    monkeypatch.setattr(Place, "fetch", fetch)
    made = pipeline.prepare(recipe, f"file://{near}", tmp_path / "stores")
    assert contents(made) == contents(own)


def test_a_full_disk_for_copies_ends_the_run(
    near: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote.Staged, "entry", full)
    with pytest.raises(DataError, match="cannot be fetched: No space left"):
        pipeline.prepare(recipe, f"file://{near}", tmp_path / "stores")


def test_a_long_recording_is_cut_from_afar_as_it_is_cut_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = tmp_path / "set"
    far.mkdir()
    (far / "long.edf").write_bytes(edf(7300, 4))
    monkeypatch.setattr(lots, "_BIG_BYTES", 1)
    manifest = replace(manifests.load("simulated_bp"), format="edf")
    listing = remote.lay(manifest, Place(f"file://{far}"))
    cuts = [
        lots.cut(
            [Entry("set", "long", "long", "1", root / "long.edf", "edf")],
            lots.Sizes(),
            piece_s=3600.0,
            most_records=9,
            at_hand=lambda entry, root=root: remote.staged().entry(entry, root),  # type: ignore[misc]
        )[1]
        for root in (far, listing)
    ]
    assert cuts == [[3], [3]]


def edf(records: int, samples: int) -> bytes:
    """Return an EDF file of one signal, with records of a second."""
    words = [("0", 8), ("X", 80), ("X", 80), ("01.01.01", 8), ("00.00.00", 8), ("512", 8), ("", 44)]
    words += [(str(records), 8), ("1", 8), ("1", 4), ("PPG", 16), ("", 80), ("mV", 8), ("-1", 8), ("1", 8)]
    words += [("-32768", 8), ("32767", 8), ("", 80), (str(samples), 8), ("", 32)]
    return b"".join(word.encode().ljust(width) for word, width in words) + b"\0\1" * (records * samples)


def test_a_store_that_is_not_there_is_told(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no finished store of simulated_bp"):
        pipeline.find_store(recipe, f"file://{tmp_path / 'none'}", "simulated_bp")


def test_the_command_takes_addresses(near: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["prepare", "demo_bp", "--data", f"file://{near}", "--store", f"file://{tmp_path / 'far'}", "--workers", "2"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert out.startswith(f"file://{tmp_path / 'far'}/")
    assert "windows of" in out
    assert len(list((tmp_path / "far").glob("*/store.json"))) == 1
    with pytest.raises(SystemExit) as left:
        main([*words[:3], "memory://x", *words[4:]])
    assert left.value.code == 2
    assert "addresses begin with" in capsys.readouterr().err
