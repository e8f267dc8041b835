"""K-EmoCon: stamped samples, ratings of five seconds, two devices in one file."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError, Entry, RecipeError, Record
from tests.data.affect import writers_b as write


def listed(root: Path, **options: object) -> Listing:
    described = manifest.load("kemocon")
    return manifest.entries(replace(described, options={**described.options, **options}), root)


def only(root: Path, **options: object) -> Entry:
    listing = listed(root, **options)
    assert [r.reason for r in listing.rejected] == []
    return listing.entries[0]


def read(root: Path, **options: object) -> Record:
    return open_source(only(root, **options)).read()


def test_samples_and_ratings_lie_on_one_clock(tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    source = open_source(only(tmp_path))
    record = source.read()
    # 150.25 s before the debate of 30 s: the record begins on a whole second of the debate's clock, 0.75 s before the rest.
    assert (record.name, record.duration_s) == ("P1", 181.0)
    # Two minutes of rest would end at 120.75 s; seven ratings of 5 s lie between its end and the debate.
    assert record.baseline_s == (0.75, 116.0)
    ppg = record.channel("ppg").samples
    assert np.isnan(ppg[:48]).all()
    np.testing.assert_array_equal(ppg[48 : 48 + 1000], np.arange(1000))
    np.testing.assert_array_equal(record.channel("acc_y").samples[24:100], np.full(76, -0.5))
    for name, sign in (("arousal", 1), ("valence", -1)):
        rated = record.channel(name)
        assert (rated.kind, rated.unit, rated.fs) == ("label", "1..5", 1.0)
        assert np.isnan(rated.samples[:151]).all()
        steps = 1 + np.arange(6) % 5
        np.testing.assert_array_equal(rated.samples[151:], np.repeat(steps if sign > 0 else 6 - steps, 5))
    # The chest strap gives a rate, not an ECG.
    assert record.channel("hr_chest").samples[151:153].tolist() == [71, 72]
    assert "ecg" not in {c.kind for c in record.channels.values()}
    parts = [source.read(a, b) for a, b in pairwise([0.0, 0.7, 100.2, 999.0])]
    for name, channel in record.channels.items():
        np.testing.assert_array_equal(np.concatenate([p.channels[name].samples for p in parts]), channel.samples)


def test_the_rater_is_chosen_by_an_option(tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    own, partner = read(tmp_path), read(tmp_path, rater="partner")
    assert own.channel("arousal").samples[151] == 1
    assert partner.channel("arousal").samples[151] == 2
    assert partner.channel("valence").samples[151] == 3
    assert read(tmp_path, rater="external").channel("arousal").samples[151] == 1
    with pytest.raises(RecipeError, match="unknown rater 'slf'; did you mean 'self'"):
        listed(tmp_path, rater="slf")


@pytest.mark.parametrize(("pid", "kept"), [(31, "A013E1"), (32, "A01A3A")])
def test_of_two_devices_the_right_one_is_kept(pid: int, kept: str, tmp_path: Path) -> None:
    write.kemocon(tmp_path, pid=pid, devices=("A01525", kept))
    ppg = read(tmp_path).channel("ppg").samples
    np.testing.assert_array_equal(ppg[48:148], 1000 + np.arange(100))


def test_two_devices_of_someone_else_are_refused(tmp_path: Path) -> None:
    write.kemocon(tmp_path, pid=1, devices=("A013E1", "A01A3A"))
    with pytest.raises(DataError, match=r"E4_BVP\.csv: holds rows of several devices \(A013E1, A01A3A\)"):
        read(tmp_path)


def test_ratings_may_end_early(tmp_path: Path) -> None:
    write.kemocon(tmp_path, rated=4)
    assert np.flatnonzero(~np.isnan(read(tmp_path).channel("valence").samples)).tolist() == list(range(151, 171))


def test_of_ratings_that_outlast_the_debate_the_last_are_kept(tmp_path: Path) -> None:
    write.kemocon(tmp_path, rated=9)
    record = read(tmp_path)
    # Nine ratings of a debate that has room for six: the fourth is of its first five seconds.
    np.testing.assert_array_equal(record.channel("arousal").samples[151:], np.repeat(1 + np.arange(3, 9) % 5, 5))
    assert np.isnan(record.channel("arousal").samples[:151]).all()
    assert "P1.self.csv: lasts longer than the debate; the first 3 ratings are left out" in record.notes


def test_the_folder_may_be_called_raw(tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    before = read(tmp_path)
    (tmp_path / "raw").mkdir()
    for name in ("e4_data", "neurosky_polar_data", "emotion_annotations"):
        (tmp_path / name).rename(tmp_path / "raw" / name)
    after = read(tmp_path)
    assert set(after.channels) == set(before.channels)
    np.testing.assert_array_equal(after.channel("valence").samples, before.channel("valence").samples)


def test_samples_on_one_place_and_empty_files_are_told(tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    path = tmp_path / "e4_data" / "1" / "E4_HR.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*rows, rows[5]]) + "\n", encoding="utf-8")
    (tmp_path / "e4_data" / "1" / "E4_EDA.csv").write_text("timestamp,value,device_serial\n1000,0.1,A\n", encoding="utf-8")
    record = read(tmp_path)
    assert "E4_HR.csv: 1 samples fall on the place of another; the later row counts" in record.notes
    assert "E4_EDA.csv: holds nothing of the session" in record.notes
    assert np.isnan(record.channel("eda").samples).all()


def test_who_is_not_complete_is_told(tmp_path: Path) -> None:
    for pid in (1, 2, 4):
        write.kemocon(tmp_path, pid=pid)
    (tmp_path / "emotion_annotations" / "self_annotations" / "P4.self.csv").unlink()
    listing = listed(tmp_path)
    assert [e.record for e in listing.entries] == ["P1"]
    reasons = {r.record: r.reason for r in listing.rejected}
    assert "not among the 21 participants" in reasons["P2"]
    assert reasons["P4"] == "emotion_annotations/self_annotations/P4.self.csv is missing"
    assert [e.record for e in listed(tmp_path, complete_only=False).entries] == ["P1", "P2"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("15,3,3", "15,6,3", "line 4: arousal is 6; its scale is 1 to 5"),
        ("15,3,3", "15,3,", "line 4: valence is nan; its scale is 1 to 5"),
        ("15,3,3", "15,3,high", "line 4: 'high' in column 'valence' is no number"),
        ("15,3,3", "5,3,3", "the column 'seconds' is missing values or does not grow"),
        ("arousal", "excitement", "no column 'arousal'"),
    ],
)
def test_wrong_ratings_are_named(old: str, new: str, says: str, tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    path = tmp_path / "emotion_annotations" / "self_annotations" / "P1.self.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=rf"P1\.self\.csv[:,] {says}") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_swapped_columns_are_found_by_name(tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    path = tmp_path / "emotion_annotations" / "self_annotations" / "P1.self.csv"
    before = read(tmp_path).channel("valence").samples
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("\n".join(",".join([r[0], r[2], r[1], *r[3:]]) for r in rows) + "\n", encoding="utf-8")
    np.testing.assert_array_equal(read(tmp_path).channel("valence").samples, before)


def test_wrong_times_of_a_person_are_told(tmp_path: Path) -> None:
    write.kemocon(tmp_path)
    table = tmp_path / "metadata" / "subjects.csv"
    table.write_text(table.read_text(encoding="utf-8") + "4,200,100,300\n5,x,1,2\n", encoding="utf-8")
    reasons = {r.record: r.reason for r in listed(tmp_path).rejected}
    assert "line 3: the debate begins at 100 and ends at 300 ms" in reasons["P4"]
    assert "line 4" in reasons["P5"]
