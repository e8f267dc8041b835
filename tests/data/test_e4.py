"""Exports of the Empatica E4: one clock out of many, and nothing that a zip claims is believed."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from biosig_mtl.data import manifest
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.e4 import lay
from biosig_mtl.data.readers.e4_session import Stream
from biosig_mtl.types import DataError, RecipeError, Record
from tests.data.affect import writers_b as write


def read(path: Path) -> Record:
    return open_source(entry_for(path)).read()


@pytest.mark.parametrize("kind", ["folder", "zip", "nested", "tags_S01"])
def test_every_form_of_an_export_gives_the_same(kind: str, tmp_path: Path) -> None:
    streams = write.e4_streams()
    texts = write.e4_texts(streams)
    if kind == "tags_S01":
        texts["tags_S01.csv"] = texts.pop("tags.csv")
    path = (
        write.folder(tmp_path / "S01", texts)
        if kind == "folder"
        else write.zipped(tmp_path / "S01.zip", texts, "a/b/" * (kind == "nested"))
    )
    record = read(path)
    assert (record.name, record.subject, record.duration_s) == ("S01", "S01", 60.0)
    assert {n: (c.kind, c.unit, c.fs, c.source_name) for n, c in record.channels.items()} == {
        "ppg": ("ppg", "NU", 64.0, "BVP"), "eda": ("eda", "uS", 4.0, "EDA"), "temp": ("temp", "degC", 4.0, "TEMP"),
        "acc_x": ("acc", "g", 32.0, "ACC_X"), "acc_y": ("acc", "g", 32.0, "ACC_Y"), "acc_z": ("acc", "g", 32.0, "ACC_Z"),
        "hr": ("other", "bpm", 1.0, "HR"),
    }  # fmt: skip
    np.testing.assert_allclose(record.channel("ppg").samples, streams["BVP"], rtol=1e-6)
    np.testing.assert_allclose(record.channel("eda").samples, streams["EDA"], rtol=1e-6)
    np.testing.assert_allclose(record.channel("acc_z").samples, streams["ACC"][:, 2] / 64, rtol=1e-6)
    hr = record.channel("hr").samples
    assert np.isnan(hr[:10]).all()
    np.testing.assert_allclose(hr[10:], streams["HR"], rtol=1e-6)
    notes = " | ".join(record.notes)
    assert "IBI.csv: 2 intervals" in notes
    assert "pressed 2 times, at 12, 40 s" in notes or "pressed 2 times, at 13, 40 s" in notes
    assert "EDA.csv: the first sample is exactly 0" in notes


@given(cuts=st.lists(st.floats(0, 61, allow_nan=False), min_size=1, max_size=4))
def test_parts_that_meet_are_the_whole(cuts: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "whole.zip"
    if not path.is_file():
        write.zipped(path, write.e4_texts(write.e4_streams()))
    source = open_source(entry_for(path))
    edges = [0.0, *sorted(cuts), 100.0]
    parts = [source.read(a, b) for a, b in pairwise(edges)]
    for name, channel in source.read().channels.items():
        np.testing.assert_array_equal(np.concatenate([p.channels[name].samples for p in parts]), channel.samples)


def test_each_file_has_its_own_start(tmp_path: Path) -> None:
    streams = write.e4_streams(20)
    starts = {"BVP": write.UNIX + 2.25, "EDA": write.UNIX, "TEMP": write.UNIX + 1.0}
    record = read(write.zipped(tmp_path / "a.zip", write.e4_texts(streams, starts)))
    ppg, temp = record.channel("ppg").samples, record.channel("temp").samples
    # Earliest is the EDA; the pulse begins 2.25 s after it and so ends 2.25 s later, within a second that is filled up.
    assert record.duration_s == 23.0
    assert np.isnan(ppg[:144]).all()
    np.testing.assert_allclose(ppg[144 : 144 + 1280], streams["BVP"], rtol=1e-6)
    assert np.isnan(ppg[144 + 1280 :]).all()
    np.testing.assert_allclose(temp[4:84], streams["TEMP"], rtol=1e-6)


@given(offset=st.floats(-5, 5), fs=st.sampled_from([1, 4, 32, 64]))
def test_a_stream_is_laid_within_half_a_sample(offset: float, fs: int) -> None:
    x = np.arange(1, 8 * fs + 1, dtype=np.float32)
    laid = lay(x, Stream("x", 1000 + offset, fs, x[:, None]), 1000.0, 8)
    there = np.flatnonzero(~np.isnan(laid))
    # Sample n was taken at offset + n / fs.
    taken = offset + (laid[there] - 1) / fs
    assert np.abs(taken - there / fs).max(initial=0) <= 0.5 / fs + 1e-9
    assert there.size >= min(8 * fs - abs(offset) * fs - 1, 8 * fs)


def test_empty_files_and_missing_ones_are_told(tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    texts["TEMP.csv"], texts["HR.csv"] = "", "1644227584.0\n1.0\n"
    del texts["EDA.csv"]
    record = read(write.zipped(tmp_path / "a.zip", texts))
    assert set(record.channels) == {"ppg", "acc_x", "acc_y", "acc_z"}
    assert {"TEMP.csv: holds no samples", "HR.csv: holds no samples", "the export holds no EDA, TEMP"} <= set(record.notes)


def test_a_cut_line_of_acceleration_is_told(tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    texts["ACC.csv"] += "1,2\n"
    record = read(write.zipped(tmp_path / "a.zip", texts))
    assert "ACC.csv: ends within a line: it was cut" in record.notes
    assert record.channel("acc_y").samples.size == 20 * 32


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("BVP.csv", "64.000000", "many", r"BVP\.csv, line 2: 'many' is no number"),
        ("BVP.csv", "64.000000", "0.5", r"BVP\.csv, line 2: 0\.5 Hz"),
        ("BVP.csv", "64.000000", "nan", r"line 2: nan Hz"),
        ("EDA.csv", "1644227574.000000", "-5", r"EDA\.csv, line 1: -5 is no time"),
        ("EDA.csv", "1644227574.000000", "1544227574.0", r"four days apart"),
        ("ACC.csv", "32.000000, 32.000000, 32.000000", "32.0, 64.0, 32.0", r"ACC\.csv: begins with 3 starts and 3 rates"),
    ],
)
def test_wrong_headers_are_refused_in_one_line(file: str, old: str, new: str, says: str, tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    texts[file] = texts[file].replace(old, new, 1)
    with pytest.raises(DataError, match=says) as error:
        read(write.zipped(tmp_path / "a.zip", texts))
    assert "a.zip" in str(error.value)
    assert "\n" not in str(error.value)


def test_garbage_among_samples_names_its_line(tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    rows = texts["EDA.csv"].split("\n")
    rows[41] = "0.1x"
    texts["EDA.csv"] = "\n".join(rows)
    with pytest.raises(DataError, match=r"EDA\.csv, line 42: '0\.1x' is no number"):
        read(write.zipped(tmp_path / "a.zip", texts))


# ------------------------------------------------------------------------------------------------------------ hostile zips
@pytest.mark.parametrize("name", ["../BVP.csv", "/BVP.csv", "a/../../BVP.csv", "C:/BVP.csv", "..\\BVP.csv"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    write.zipped(tmp_path / "a.zip", texts | {name: texts["BVP.csv"]})
    with pytest.raises(DataError, match="leads out of it: refused"):
        read(tmp_path / "a.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    texts: dict[str, str | bytes] = dict(write.e4_texts(write.e4_streams(20)))
    texts["BVP.csv"] = b"1644227574.0\n64.0\n" + b"0\n" * (8 << 20)
    write.zipped(tmp_path / "a.zip", texts)
    with pytest.raises(DataError, match="would unpack to 16 MB"):
        read(tmp_path / "a.zip")


def test_a_claimed_size_is_not_believed(tmp_path: Path) -> None:
    path = write.zipped(tmp_path / "a.zip", write.e4_texts(write.e4_streams(20)))
    held = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("BVP.csv").file_size
    at = held.rindex(b"PK\x01\x02", 0, held.rindex(b"BVP.csv"))
    for claim in (1 << 30, size // 2):
        held[at + 24 : at + 28] = claim.to_bytes(4, "little")
        path.write_bytes(held)
        with pytest.raises(DataError, match=r"a\.zip: ('BVP\.csv' would unpack|not readable as a zip)"):
            read(path)


def test_an_encrypted_zip_is_one_line(tmp_path: Path) -> None:
    path = write.zipped(tmp_path / "a.zip", write.e4_texts(write.e4_streams(20)))
    held = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = held.find(mark)
        while at >= 0:
            held[at + flags] |= 1
            at = held.find(mark, at + 4)
    path.write_bytes(held)
    with pytest.raises(DataError, match=r"a\.zip: 'BVP\.csv' is encrypted; unpack"):
        read(path)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_zip_is_one_line(keep: float, tmp_path: Path) -> None:
    path = write.zipped(tmp_path / "a.zip", write.e4_texts(write.e4_streams(20)))
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(DataError) as error:
        read(path)
    assert "\n" not in str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_any_damage_is_read_or_refused_in_one_line(data: st.DataObject, tmp_path: Path) -> None:
    path = write.zipped(tmp_path / "a.zip", write.e4_texts(write.e4_streams(12)))
    held = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        held[data.draw(st.integers(0, len(held) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(held[: data.draw(st.integers(len(held) // 2, len(held)))])
    said = "a.zip"
    try:
        assert read(path).channels
    except DataError as error:
        said = str(error)
    assert "a.zip" in said
    assert "\n" not in said


def test_a_damaged_member_is_one_line(tmp_path: Path) -> None:
    path = write.zipped(tmp_path / "a.zip", write.e4_texts(write.e4_streams(20)))
    held = bytearray(path.read_bytes())
    held[200:260] = b"\0" * 60
    path.write_bytes(held)
    with pytest.raises(DataError, match=r"a\.zip: not readable as a zip"):
        read(path)


def test_several_sessions_in_one_zip_are_refused(tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    path = write.zipped(tmp_path / "a.zip", {f"{f}/{n}": t for f in ("one", "two") for n, t in texts.items()})
    with pytest.raises(DataError, match="holds several sessions"):
        read(path)


def test_other_zips_and_folders_are_no_exports(tmp_path: Path) -> None:
    path = write.zipped(tmp_path / "a.zip", {"readme.txt": "nothing"})
    with pytest.raises(DataError, match=r"a\.zip: is no export of an Empatica E4"):
        read(path)
    with pytest.raises(DataError, match="is a folder, not a recording"):
        entry_for(tmp_path)


def test_listing_finds_zips_and_folders_in_natural_order(tmp_path: Path) -> None:
    texts = write.e4_texts(write.e4_streams(20))
    write.folder(tmp_path / "P10" / "one", texts)
    (tmp_path / "P2").mkdir()
    write.zipped(tmp_path / "P2" / "a.zip", texts)
    write.zipped(tmp_path / "P2" / "z.zip", {"readme.txt": "nothing"})
    listing = manifest.entries(manifest.load("empatica_e4"), tmp_path)
    assert [(e.record, e.subject) for e in listing.entries] == [("P2/a", "P2"), ("P10/one", "P10")]
    assert [r.record for r in listing.rejected] == ["P2/z"]
    assert open_source(listing.entries[1]).read().channel("ppg").samples.size == 20 * 64


@pytest.mark.parametrize("pattern", ["(", "S[0-9]+"])
def test_a_wrong_pattern_of_subjects_is_refused(pattern: str, tmp_path: Path) -> None:
    described = manifest.load("empatica_e4")
    with pytest.raises(RecipeError, match=r"options\.subject_pattern"):
        manifest.entries(replace(described, options={"subject_pattern": pattern}), tmp_path)


def test_the_same_place_with_another_content_is_read_anew(tmp_path: Path) -> None:
    for seed in (1, 2):
        streams = write.e4_streams(20, seed)
        record = read(write.zipped(tmp_path / "a.zip", write.e4_texts(streams)))
        np.testing.assert_allclose(record.channel("ppg").samples, streams["BVP"], rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------------- real
def test_real_folder_is_the_real_zip(data_root: Path) -> None:
    inside = read(data_root / "readers" / "e4_csv" / "S01")
    zipped = read(data_root / "emotion" / "stress_predict" / "S01.zip")
    assert inside.duration_s == zipped.duration_s
    for name, channel in inside.channels.items():
        np.testing.assert_allclose(channel.samples, zipped.channels[name].samples, atol=0.051)
    assert np.nanmedian(inside.channel("temp").samples) == pytest.approx(30.6, abs=3)
    assert np.isnan(inside.channel("hr").samples[:10]).all()
    assert not np.isnan(inside.channel("hr").samples[10])
