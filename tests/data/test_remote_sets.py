from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from biosig_mtl.data import manifest as manifests
from biosig_mtl.data import remote
from biosig_mtl.data.readers import open_source
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.places import Place
from biosig_mtl.types import DataError


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=3, records_per_subject=2, record_s=20.0), tmp_path_factory.mktemp("sets") / "cohort")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path / "cache"))
    remote._laid.cache_clear()
    return tmp_path / "cache"


def test_a_listing_says_of_the_set_what_the_set_says(near: Path) -> None:
    manifest = manifests.load("simulated_bp")
    listing = remote.lay(manifest, Place(f"file://{near}"))
    own, laid = manifests.entries(manifest, near), manifests.entries(manifest, listing)
    assert len(own) > 3
    assert [e.record for e in laid.entries] == [e.record for e in own.entries]
    assert [r.reason for r in laid.rejected] == [r.reason for r in own.rejected]
    for here, there in zip(own.entries, laid.entries, strict=True):
        for suffix in (".hea", ".dat"):
            assert there.path.with_suffix(suffix).stat().st_size == here.path.with_suffix(suffix).stat().st_size


def test_samples_are_fetched_record_by_record_and_taken_away(near: Path, own_cache: Path) -> None:
    manifest = manifests.load("simulated_bp")
    listing = remote.lay(manifest, Place(f"file://{near}"))
    staged = remote.Staged(own_cache / "staged" / "one")
    for here, there in zip(
        manifests.entries(manifest, near).entries, manifests.entries(manifest, listing).entries, strict=True
    ):
        entry = staged.entry(there, listing)
        assert staged.entry(there, listing).path == entry.path  # not fetched twice
        read, known = open_source(entry).read(), open_source(here).read()
        assert set(read.channels) == set(known.channels)
        for name, channel in known.channels.items():
            np.testing.assert_array_equal(read.channels[name].samples, channel.samples)
        assert sum(p.is_file() for p in staged.folder.rglob("*")) <= 3
    staged.clear()
    assert not staged.folder.exists()


def test_a_file_that_is_not_there_is_missing_and_never_zeros(near: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    shutil.copytree(near, far)
    manifest = manifests.load("simulated_bp")
    listing = remote.lay(manifest, Place(f"file://{far}"))
    entry = manifests.entries(manifest, listing).entries[0]
    next(far.rglob(f"{entry.path.stem}.dat")).unlink()  # after it was listed
    with pytest.raises(DataError, match="not there"):
        remote.Staged(tmp_path / "staged").entry(entry, listing)


def test_a_set_on_this_machine_is_left_alone(near: Path) -> None:
    entry = manifests.entries(manifests.load("simulated_bp"), near).entries[0]
    assert remote.staged().entry(entry, near) is entry


def test_an_empty_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file; see `biosig-mtl data describe simulated_bp`"):
        remote.lay(manifests.load("simulated_bp"), Place(f"file://{tmp_path / 'none'}"))


def test_segments_come_with_their_record(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (far / "100.hea").write_text("100/3 1 125 30\n# a comment\n100_1 10\n~ 10\n100_2 10\n../../etc 5\n")
    for k in (1, 2):
        (far / f"100_{k}.hea").write_text(f"100_{k} 1 125 10\n100_{k}.dat 16 200/mV 12 0 0 0 0 PLETH\n")
        (far / f"100_{k}.dat").write_bytes(np.arange(10, dtype="<i2").tobytes())
    (far / "other.hea").write_text("other 1 125 10\nother.dat 16 200/mV 12 0 0 0 0 PLETH\n")
    (far / "other.dat").write_bytes(b"\0" * 20)
    manifest = manifests.load("mit_bih")
    listing = remote.lay(manifest, Place(f"file://{far}"))
    own = next(e for e in manifests.entries(manifest, listing).entries if e.path.stem == "100")
    staged = remote.Staged(tmp_path / "staged")
    staged.entry(own, listing)
    assert {p.name for p in staged.folder.iterdir()} == {"100.hea", "100_1.hea", "100_2.hea", "100_1.dat", "100_2.dat"}


def test_files_of_one_stem_come_together(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    for name in ("a[1].set", "a[1].fdt", "a1.fdt", "b.vhdr", "b_raw.eeg"):
        (far / name).write_bytes(b"x")
    (far / "b.vhdr").write_text("Brain Vision\nDataFile=b_raw.eeg\nMarkerFile=none.vmrk\n")
    place, staged = Place(f"file://{far}"), remote.Staged(tmp_path / "staged")
    staged._fetch(place, "a[1].set", far)
    assert {p.name for p in staged.folder.iterdir()} == {"a[1].set", "a[1].fdt"}
    staged.clear()
    staged._fetch(place, "b.vhdr", far)
    assert {p.name for p in staged.folder.iterdir()} == {"b.vhdr", "b_raw.eeg"}


def test_sets_that_are_listed_by_opening_their_files_are_copied_whole(tmp_path: Path) -> None:
    far = tmp_path / "far" / "Data File" / "0_subject"
    far.mkdir(parents=True)
    (far / "1_1.txt").write_text("1\t2\t3")
    listing = remote.lay(manifests.load("ppg_bp"), Place(f"file://{tmp_path / 'far'}"))
    assert (listing / "Data File" / "0_subject" / "1_1.txt").read_text() == "1\t2\t3"
    assert remote._laid(listing) == ""
    (listing / remote.MARK).write_text("{")
    remote._laid.cache_clear()
    with pytest.raises(DataError, match="not readable"):
        remote._laid(listing)


def test_everybody_stages_in_a_folder_of_their_own(own_cache: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["biosig_mtl.data.remote"])
    with ProcessPoolExecutor(1, mp_context=context) as one, ProcessPoolExecutor(1, mp_context=context) as two:
        elsewhere = [pool.submit(_own_folder).result() for pool in (one, two)]
    with ThreadPoolExecutor(1) as threads:
        thread = threads.submit(_own_folder).result()
    assert len({*elsewhere, thread, _own_folder()}) == 4
    assert _own_folder() == _own_folder()
    assert not list(own_cache.rglob("staged/*"))  # processes that ended took theirs along


def _own_folder() -> str:
    return str(remote.staged().folder)


def test_a_second_listing_leaves_the_first_alone(near: Path) -> None:
    manifest, place = manifests.load("simulated_bp"), Place(f"file://{near}")
    first = remote.lay(manifest, place)
    names = sorted(p.relative_to(first) for p in first.rglob("*"))
    second = remote.lay(manifest, place)
    assert first != second
    assert (
        sorted(p.relative_to(first) for p in first.rglob("*"))
        == names
        == sorted(p.relative_to(second) for p in second.rglob("*"))
    )


def test_a_listing_that_was_cut_short_is_never_taken_for_data(
    near: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise DataError("the line broke")

    monkeypatch.setattr(remote, "bring", broken)
    with pytest.raises(DataError, match="the line broke"):
        remote.lay(manifests.load("simulated_bp"), Place(f"file://{near}"))
    (left,) = (own_cache / "listings").iterdir()
    assert remote._laid(left) == f"file://{near}"


def test_what_killed_runs_left_goes_after_a_month(near: Path, own_cache: Path) -> None:
    old, young = (own_cache / "listings" / name for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    remote.lay(manifests.load("simulated_bp"), Place(f"file://{near}"))
    assert young.is_dir()
    assert not old.exists()


def test_names_that_no_file_system_takes_name_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.hea"
    path.write_text(f"a 1 125 10\n{'x' * 5000} 16\na\x01.dat 16\na.dat 16\n")
    assert list(remote._company(path, PurePosixPath("a.hea"), tmp_path)) == ["a", "a.hea", "a.dat", "a.dat.hea"]


def test_a_mark_in_somebody_s_data_set_is_not_believed(near: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    shutil.copytree(near, far)
    (far / remote.MARK).write_text('{"url": "http://127.0.0.1:1", "whole": false}')
    entry = manifests.entries(manifests.load("simulated_bp"), far).entries[0]
    assert remote.staged().entry(entry, far) is entry
    listing = remote.lay(manifests.load("simulated_bp"), Place(f"file://{far}"))
    assert remote._laid(listing) == f"file://{far}"
