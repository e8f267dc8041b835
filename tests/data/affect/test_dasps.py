"""DASPS: which window is which, whose rating it has, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.affect.dasps import CHANNELS
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_b as write


def listed(root: Path) -> Listing:
    return manifest.entries(manifest.load("dasps"), root)


def test_windows_are_named_rated_and_placed(tmp_path: Path) -> None:
    # Each value tells its window, its sample and its channel.
    k, t, c = np.ogrid[:12, :1920, :14]
    write.dasps(tmp_path / "mat" / "S02.mat", (1000 * k + t / 10 + c / 1000).astype(np.float32))
    write.dasps_table(tmp_path / "ratings.csv")
    listing = listed(tmp_path)
    assert [e.record for e in listing.entries] == [f"S02/situation{s}/{p}" for s in range(1, 7) for p in ("listen", "recall")]
    assert {(e.stimulus, *((x.name, x.value, x.unit) for x in e.labels)) for e in listing.entries[4:6]} == {
        ("situation3", ("valence", 3.0, "1..9"), ("arousal", 7.0, "1..9"))
    }
    source = open_source(listing.entries[5])
    record = source.read()
    assert (source.duration_s, record.subject, record.stimulus) == (15.0, "S02", "situation3")
    assert {(ch.kind, ch.unit, ch.fs) for ch in record.channels.values()} == {("eeg", "uV", 128.0)}
    for number, name in enumerate(CHANNELS):
        np.testing.assert_allclose(record.channel(name).samples, 5000 + np.arange(1920) / 10 + number / 1000, rtol=1e-6)
    parts = [source.read(a, b).channel("T8").samples for a, b in ((0, 3.21), (3.21, 99))]
    np.testing.assert_array_equal(np.concatenate(parts), record.channel("T8").samples)


def test_swapped_rows_of_labels_are_caught(tmp_path: Path) -> None:
    write.dasps(tmp_path / "mat" / "S02.mat", labels=write.dasps_labels()[::-1])
    write.dasps_table(tmp_path / "ratings.csv")
    listing = listed(tmp_path)
    # Situation 4 is rated 4 and 3; all six differ when they change places.
    assert len(listing) == 0
    assert "valence 9, arousal 1; ratings.csv says valence 1, arousal 9" in listing.rejected[0].reason


def test_another_order_of_windows_is_caught(tmp_path: Path) -> None:
    labels = write.dasps_labels()[:, [*range(0, 12, 2), *range(1, 12, 2)]]
    write.dasps(tmp_path / "S02.mat", labels=labels)
    listing = listed(tmp_path)
    assert len(listing) == 0
    assert "the two windows of situation 1 have different ratings" in listing.rejected[0].reason


@pytest.mark.parametrize("value", [np.nan, 0.0, 9.5, -3.0])
def test_a_rating_off_the_scale_is_named_and_the_others_are_kept(value: float, tmp_path: Path) -> None:
    labels = write.dasps_labels()
    labels[1, 4:6] = value
    write.dasps(tmp_path / "S02.mat", labels=labels)
    listing = listed(tmp_path)
    assert len(listing) == 10
    assert [r.record for r in listing.rejected] == ["S02/situation3/listen", "S02/situation3/recall"]
    assert f"S02.mat, window 5: arousal is '{value}'; its scale is 1 to 9" in listing.rejected[0].reason


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"data": np.zeros((12, 1920, 13), "f4")}, r"'data' has shape \(12, 1920, 13\)"),
        ({"data": np.zeros((14, 1920, 12), "f4")}, r"'data' has shape \(14, 1920, 12\)"),
        ({"labels": np.ones((12, 2))}, r"'labels' has shape \(12, 2\)"),
        ({"labels": None}, "no 'labels'"),
        ({"data": h5py.ExternalLink("elsewhere.mat", "/data")}, "links are not followed"),
    ],
)
def test_other_shapes_and_links_are_refused(arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tmp_path / "S02.mat"
    write.dasps(path)
    with h5py.File(path, "r+") as file:
        for name, value in arrays.items():
            del file[name]
            if value is not None:
                file[name] = value
    listing = listed(tmp_path)
    assert len(listing) == 0
    assert re.search(says, listing.rejected[0].reason)
    assert "S02.mat" in listing.rejected[0].reason


def test_a_cut_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "S02.mat"
    write.dasps(path)
    entry = listed(tmp_path).entries[3]
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(DataError, match=r"S02\.mat: not readable") as error:
        open_source(entry)
    assert "\n" not in str(error.value)
    assert "S02.mat: not readable" in listed(tmp_path).rejected[0].reason


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file mat/S\*\.mat of DASPS"):
        listed(tmp_path)


# ------------------------------------------------------------------------------------------------------------------- real
def test_real_ratings_are_those_of_the_table(data_root: Path) -> None:
    root = data_root / "emotion" / "dasps"
    listing = listed(root)
    assert (len(listing), listing.rejected) == (180, ())
    assert len({e.subject for e in listing.entries}) == 15
    assert len({(e.subject, e.stimulus) for e in listing.entries}) == 90
    means = {n: np.mean([x.value for e in listing.entries for x in e.labels if x.name == n]) for n in ("valence", "arousal")}
    assert means["valence"] < means["arousal"]  # unpleasant situations
    record = open_source(listing.entries[0]).read()
    assert 1 < np.std(record.channel("O1").samples) < 100


def test_real_fif_holds_the_same_windows(data_root: Path) -> None:
    root = data_root / "emotion" / "dasps"
    described = manifest.load("dasps")
    fif = manifest.entries(replace(described, options={**described.options, "variant": "fif"}), root)
    assert [e.record for e in fif.entries] == ["S02/situation1", "S02/situation2", "S04/situation1", "S04/situation2"]
    windows = {e.record: e for e in listed(root).entries}
    for entry in fif.entries:
        record = open_source(entry).read()
        both = [windows[f"{entry.record}/{phase}"] for phase in ("listen", "recall")]
        assert {w.labels for w in both} == {entry.labels}
        assert record.seams_s.tolist() == [15.0]
        for name in CHANNELS:
            joined = np.concatenate([open_source(w).read().channel(name).samples for w in both])
            np.testing.assert_allclose(record.channel(name).samples, joined, atol=1e-4)


def test_real_edf_is_readable_but_not_listed(data_root: Path) -> None:
    record = open_source(entry_for(data_root / "emotion" / "dasps" / "edf" / "S02.edf")).read(0, 10)
    assert [n for n, c in record.channels.items() if c.kind == "eeg"] == list(CHANNELS)
