"""CASE: two clocks, one time; the rows of a clip are found without reading the others."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.affect import case
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_b as write


def listed(root: Path) -> Listing:
    return manifest.entries(manifest.load("case"), root)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8", newline="")


def test_clips_are_found_and_aligned_by_time(tmp_path: Path) -> None:
    made = write.case(tmp_path)
    listing = listed(tmp_path)
    # Shown in the order boring 1, amusing 1, scary 2, amusing 2; blue screens, start and end are no clips.
    assert [(e.record, e.subject, e.stimulus) for e in listing.entries] == [
        (f"sub_1/{s}", "sub_1", s) for s in ("amusing_1", "amusing_2", "boring_1", "scary_2")
    ]
    spans = {case.STIMULI[v]: (a, b) for v, a, b in made["spans"] if v in case.STIMULI}
    for entry in listing.entries:
        first, stop = spans[entry.stimulus]
        source = open_source(entry)
        record = source.read()
        assert record.duration_s == 3.0
        # The ECG tells its own time in seconds.
        np.testing.assert_allclose(record.channel("ecg").samples, np.arange(first, stop) / 1000, rtol=1e-6)
        inside = (made["stamps"] >= first) & (made["stamps"] < stop)
        for name in ("valence", "arousal"):
            np.testing.assert_allclose(record.channel(name).samples, made[name][inside], rtol=1e-6)
        parts = [source.read(a, b) for a, b in pairwise([0.0, 0.51, 1.3, 9.0])]
        for name, channel in record.channels.items():
            np.testing.assert_array_equal(np.concatenate([p.channels[name].samples for p in parts]), channel.samples)
    assert {n: (c.kind, c.unit, c.fs) for n, c in source.channels.items()} == {
        "ecg": ("ecg", "mV", 1000.0), "ppg": ("ppg", "%", 1000.0), "eda": ("eda", "uS", 1000.0), "resp": ("resp", "%", 1000.0),
        "temp": ("temp", "degC", 1000.0), "emg_zygo": ("emg", "uV", 1000.0), "emg_coru": ("emg", "uV", 1000.0),
        "emg_trap": ("emg", "uV", 1000.0), "valence": ("label", "0.5..9.5", 20.0), "arousal": ("label", "0.5..9.5", 20.0),
    }  # fmt: skip


def test_columns_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    made = write.case(tmp_path)
    path = tmp_path / "interpolated" / "annotations" / "sub_1.csv"
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("\n".join(",".join((r[0], r[2], r[1], r[3])) for r in rows) + "\n", encoding="utf-8")
    record = open_source(listed(tmp_path).entries[0]).read()
    assert path.read_text(encoding="utf-8").startswith("jstime,arousal,valence,video")
    inside = np.isin(np.round(made["valence"], 4), np.round(record.channel("valence").samples.astype(float), 4))
    assert inside.sum() == 60
    # Valence rises and arousal falls in the fixture: a swap would show.
    assert np.all(np.diff(record.channel("valence").samples) > 0)
    assert np.all(np.diff(record.channel("arousal").samples) < 0)


def test_a_wrong_name_of_a_rating_is_refused(tmp_path: Path) -> None:
    write.case(tmp_path)
    change(tmp_path / "interpolated" / "annotations" / "sub_1.csv", "valence", "pleasure")
    with pytest.raises(DataError, match=r"sub_1\.csv: no column 'valence'; it has jstime, pleasure, arousal, video"):
        open_source(listed(tmp_path).entries[0])


@pytest.mark.parametrize(("value", "says"), [("9.6", "valence is 9.6"), ("", "valence is nan"), ("0.4", "valence is 0.4")])
def test_a_rating_off_the_scale_is_named_with_its_line(value: str, says: str, tmp_path: Path) -> None:
    write.case(tmp_path)
    path = tmp_path / "interpolated" / "annotations" / "sub_1.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[30].split(",")
    cells[1] = value
    lines[30] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    boring = next(e for e in listed(tmp_path).entries if e.stimulus == "boring_1")
    with pytest.raises(DataError, match=rf"sub_1\.csv, line 31: {says}; its scale is 0\.5 to 9\.5"):
        open_source(boring)


def test_rows_that_are_missing_are_nan_and_the_rest_stays_in_place(tmp_path: Path) -> None:
    write.case(tmp_path)
    path = tmp_path / "interpolated" / "physiological" / "sub_1.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    # The second after the blue screen, of the clip that begins at 1000 ms.
    del lines[1 + 1500 : 1 + 1600]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    boring = next(e for e in listed(tmp_path).entries if e.stimulus == "boring_1")
    ecg = open_source(boring).read().channel("ecg").samples
    assert np.flatnonzero(np.isnan(ecg)).tolist() == list(range(500, 600))
    np.testing.assert_allclose(ecg[600:], np.arange(1600, 4000) / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("\n1500,", "\n1499,", "its time is missing, or not later"),
        ("\n1500,1.500,", "\n1500,,", "row '1500,,.*' holds a cell that is no number"),
        ("\n1500,1.500,", "\n1500,1.500,7,", r"row '1500,1\.500,7,.*' has 11 cells; need 10"),
        ("\n1500,1.500,", "\n1500,much,", "row '1500,much,.*' holds a cell that is no number"),
    ],
)
def test_wrong_rows_are_refused_in_one_line(old: str, new: str, says: str, tmp_path: Path) -> None:
    write.case(tmp_path)
    change(tmp_path / "interpolated" / "physiological" / "sub_1.csv", old, new)
    boring = next(e for e in listed(tmp_path).entries if e.stimulus == "boring_1")
    with pytest.raises(DataError, match=rf"sub_1\.csv: {says}") as error:
        open_source(boring).read()
    assert "\n" not in str(error.value)


def test_missing_files_and_clips_shown_twice_are_told(tmp_path: Path) -> None:
    write.case(tmp_path, subject=1)
    write.case(tmp_path, subject=2, order=(1, 2, 1))
    write.case(tmp_path, subject=10)
    (tmp_path / "interpolated" / "physiological" / "sub_10.csv").unlink()
    listing = listed(tmp_path)
    reasons = {r.record: r.reason for r in listing.rejected}
    assert {e.subject for e in listing.entries} == {"sub_1", "sub_2"}
    assert "video 1 is shown a second time" in reasons["sub_2"]
    assert reasons["sub_10"] == "interpolated/physiological/sub_10.csv is missing"
    with pytest.raises(DataError, match="no folder interpolated/annotations of CASE"):
        listed(tmp_path / "interpolated" / "annotations")


def test_little_is_read_of_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write.case(tmp_path, clip_s=20)
    entry = next(e for e in listed(tmp_path).entries if e.stimulus == "scary_2")
    source = open_source(entry)
    calls: list[int] = []
    parse = case._Table._time

    def counted(self: case._Table, line: bytes, column: int) -> float:
        calls.append(len(line))
        return parse(self, line, column)

    monkeypatch.setattr(case._Table, "_time", counted)
    source.read(0, 1)
    # Two bisections over some 85,000 rows: at most 2 · (16 kB of rows + log2 of the size).
    assert len(calls) < 2 * (16384 // 20 + 30)
