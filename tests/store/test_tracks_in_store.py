"""Laws of stores with tracks: every modality comes back at its own rate, and lots that disagree are refused in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import store
from biosig_mtl.experiment import tables
from biosig_mtl.types import DataError, Features, Track, Windows
from tests.experiment.affect import one_trial, rated, write_store

DATASET = {"dataset": "simulated_affect", "subject_level": "person"}
PEOPLE, CLIPS, COUNT = 3, 2, 2


def made(person: int, clip: int) -> tuple[Windows, Features]:
    return one_trial(person, clip, rated(person, clip), COUNT, "self")


def a_lot(*trials: tuple[Windows, Features]) -> store.Lot:
    windows, features = zip(*trials, strict=True)
    return store.Lot(windows, features, tuple(w.record for w in windows), ())


def slower(features: Features, hz: float = 4.0) -> Features:
    """Return features whose skin conductance came at another rate."""
    eda = features.tracks["eda"]
    other = replace(eda, fs=hz, signal=np.ascontiguousarray(eda.signal[:, :, ::2]))
    return replace(features, tracks={**features.tracks, "eda": other})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("s") / "store", people=range(PEOPLE), count=COUNT, clips=CLIPS)


def test_every_modality_comes_back_bit_by_bit_at_its_own_rate(place: Path) -> None:
    table = store.read(place)
    wanted = [made(person, clip)[1].tracks for person in range(PEOPLE) for clip in range(CLIPS)]
    assert set(table.tracks) == {"eeg", "eda"}
    for name, fs, channels in (("eeg", 32.0, ("F3", "F4")), ("eda", 8.0, ("eda",))):
        track = table.tracks[name]
        assert (track.fs, track.channels) == (fs, channels)
        np.testing.assert_array_equal(np.asarray(track.signal), np.concatenate([t[name].signal for t in wanted]))
        assert np.isnan(np.asarray(track.signal)).any()
    assert len(table) == PEOPLE * CLIPS * COUNT
    assert table.tracks["eeg"].signal[3].shape == (2, 64)
    np.testing.assert_array_equal(table.tracks["eda"].signal[[5, 0], 0], np.asarray(table.tracks["eda"].signal)[[5, 0], 0])
    assert store.verify(place) == []


def test_trials_are_told_by_clip_and_person(place: Path) -> None:
    table = store.read(place)
    assert np.unique(table.trial).tolist() == [f"p{p}/1/clip{c}" for p in range(PEOPLE) for c in range(CLIPS)]
    assert table.stimulus.tolist() == ["clip0"] * COUNT + ["clip1"] * COUNT + (["clip0"] * COUNT + ["clip1"] * COUNT) * 2


def test_records_of_one_lot_that_differ_in_rate_are_refused(tmp_path: Path) -> None:
    windows, features = made(0, 1)
    with pytest.raises(DataError, match=r"features\.tracks\.eda: records differ in rate or length; say its hz in the recipe"):
        store.write_lot(tmp_path, 0, a_lot(made(0, 0), (windows, slower(features))), DATASET)


def other_channels(features: Features) -> Features:
    eeg = features.tracks["eeg"]
    return replace(features, tracks={**features.tracks, "eeg": Track(("F3", "Cz"), eeg.fs, eeg.signal)})


def one_track_less(features: Features) -> Features:
    return replace(features, tracks={"eeg": features.tracks["eeg"]})


@pytest.mark.parametrize("change", [slower, other_channels, one_track_less])
def test_lots_that_do_not_agree_on_their_tracks_are_refused(change: Any, tmp_path: Path) -> None:
    store.write_plan(tmp_path, {})
    windows, features = made(1, 0)
    store.write_lot(tmp_path, 0, a_lot(made(0, 0)), DATASET)
    store.write_lot(tmp_path, 1, a_lot((windows, change(features))), DATASET)
    with pytest.raises(DataError, match=r"the lots do not agree on their tracks; .*, with the hz of every track in the recipe"):
        store.finish(tmp_path, 2)


def test_damage_to_a_track_is_found(tmp_path: Path) -> None:
    place = write_store(tmp_path / "s", people=range(2), count=COUNT, clips=CLIPS)
    path = place / "lots" / "00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    (problem,) = store.verify(place)
    assert "00001.safetensors: content does not match its sha256" in problem


def test_a_store_of_before_there_were_tracks_is_read(tmp_path: Path, as_before: Any) -> None:
    place = tmp_path / "s"
    store.write_plan(place, {})
    windows, features = made(0, 0)
    store.write_lot(place, 0, a_lot((windows, replace(features, tracks={}))), DATASET)
    store.finish(place, 1)
    path = as_before(place) / "lots" / "00000.json"
    told = json.loads(path.read_text())
    assert told.pop("tracks") == {}
    path.write_text(json.dumps(told))
    assert store.read(place).tracks == {}


def test_hdf5_holds_every_track_with_its_rate(place: Path, tmp_path: Path) -> None:
    import h5py

    table = store.read(place)
    with h5py.File(store.export(place, "hdf5", tmp_path / "s.h5"), "r") as file:
        for name, track in table.tracks.items():
            np.testing.assert_array_equal(file[f"track_{name}"][:], np.asarray(track.signal))
            assert file[f"track_{name}"].attrs["fs"] == track.fs
            assert list(file[f"track_{name}"].attrs["channels"]) == list(track.channels)


def test_zarr_holds_every_track_with_its_rate(place: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    table = store.read(place)
    group = zarr.open_group(str(store.export(place, "zarr", tmp_path / "s.zarr")), mode="r")
    for name, track in table.tracks.items():
        np.testing.assert_array_equal(group[f"track_{name}"][:], np.asarray(track.signal))
        assert dict(group[f"track_{name}"].attrs) == {"channels": list(track.channels), "fs": track.fs}


# ------------------------------------------------------------------------------------------------------------------- transfer
def test_two_stores_join_with_their_tracks(place: Path, tmp_path: Path) -> None:
    other = write_store(tmp_path / "other", people=range(7, 9), count=COUNT, clips=CLIPS)
    table = tables.read([place, other])
    one, two = store.read(place), store.read(other)
    assert len(table) == len(one) + len(two)
    for name, track in table.tracks.items():
        whole = np.concatenate([np.asarray(one.tracks[name].signal), np.asarray(two.tracks[name].signal)])
        np.testing.assert_array_equal(np.asarray(track.signal), whole)
        np.testing.assert_array_equal(track.signal[[0, len(table) - 1]], whole[[0, -1]])
    assert table.index["transfer_test"].sum() == len(two)


def test_people_of_both_stores_are_left_out_of_the_source_with_their_tracks(place: Path, tmp_path: Path) -> None:
    again = write_store(tmp_path / "again", people=(2, 7), count=COUNT, clips=CLIPS, dataset="another")
    table = tables.read([place, again])
    kept = np.flatnonzero(np.isin(store.read(place).subject, ["p0", "p1"]))
    assert len(table) == kept.size + 2 * CLIPS * COUNT
    np.testing.assert_array_equal(
        np.asarray(table.tracks["eda"].signal)[: kept.size], np.asarray(store.read(place).tracks["eda"].signal)[kept]
    )


def test_stores_with_other_tracks_do_not_join(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    store.write_plan(other, {})
    windows, features = made(5, 0)
    store.write_lot(other, 0, a_lot((windows, slower(features))), DATASET)
    store.finish(other, 1)
    with pytest.raises(DataError, match="the two data sets of a transfer differ in tracks: prepare both with the same recipe"):
        tables.read([place, other])
