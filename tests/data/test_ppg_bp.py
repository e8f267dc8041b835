"""PPG-BP's own folder: people, cuff values, doubles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.ppg_bp import read_people
from biosig_mtl.types import DataError

HEADS = ["Num.", "subject_ID", "Sex(M/F)", "Age(year)", "Height(cm)", "Weight(kg)", "Systolic Blood Pressure(mmHg)",
         "Diastolic Blood Pressure(mmHg)", "Heart Rate(b/m)"]  # fmt: skip


def write_set(root: Path, rows: list[list[object]], above: int = 1) -> Path:
    folder = root / "Data File" / "0_subject"
    folder.mkdir(parents=True)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for _ in range(above):
        sheet.append(["cardiovascular dataset"])
    for row in [HEADS, *rows]:
        sheet.append(row)
    book.save(root / "Data File" / "PPG-BP dataset.xlsx")
    return folder


def write_segment(folder: Path, name: str, seed: int, samples: int = 2100) -> None:
    values = 2000 + np.random.default_rng(seed).integers(-100, 100, samples)
    (folder / f"{name}.txt").write_text("\t".join(f"{v:.1f}" for v in values), encoding="ascii")


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    folder = write_set(
        tmp_path,
        [
            [1, 2, "Female", 45, 152, 63, 161, 89, 97],
            [2, 10, "Male", None, 170, "?", 120, 80, 60],
            [3, 3, "Male", 30, 170, 60, 110, 70, 60],
            [4, 99, "Male", 30, 170, 60, 110, 70, 60],
        ],
    )
    for name, seed in {"2_1": 1, "2_2": 1, "2_3": 2, "10_1": 3, "10_2": 4, "3_1": 4, "3_2": 5, "7_1": 6}.items():
        write_segment(folder, name, seed)
    return tmp_path


def test_people_and_cuff_values_come_from_the_spreadsheet(small_set: Path) -> None:
    listing = manifest.entries(manifest.load("ppg_bp"), small_set)
    assert [e.record for e in listing.entries] == ["2_1", "2_3", "3_2", "10_1"]
    first, last = listing.entries[0], listing.entries[-1]
    assert {x.name: (x.value, x.unit, x.source, x.time_s) for x in first.labels} == {
        "sbp": (161.0, "mmHg", "cuff", None),
        "dbp": (89.0, "mmHg", "cuff", None),
    }
    assert first.demographics == {"age_years": 45.0, "height_cm": 152.0, "weight_kg": 63.0, "sex_male": 0.0}
    assert last.demographics == {"height_cm": 170.0, "sex_male": 1.0}
    assert (first.subject, first.session, first.dataset) == ("2", "1", "ppg_bp")


def test_doubles_and_orphans_are_refused_with_a_reason(small_set: Path) -> None:
    rejected = {r.record: r.reason for r in manifest.entries(manifest.load("ppg_bp"), small_set).rejected}
    assert rejected == {
        "2_2": "identical to 2_1",
        "3_1": "identical to 10_2 of another subject: nobody knows whose it is",
        "10_2": "identical to 3_1 of another subject: nobody knows whose it is",
        "7_1": "subject 7 is not in the spreadsheet",
        "99": "subject 99 is in the spreadsheet and has no signal",
    }
    assert all(math.isnan(r.onset_s) for r in manifest.entries(manifest.load("ppg_bp"), small_set).rejected)


def test_a_segment_is_read_in_parts(small_set: Path) -> None:
    entry = manifest.entries(manifest.load("ppg_bp"), small_set).entries[0]
    source = open_source(entry)
    whole = source.read()
    assert (whole.channel("ppg").fs, whole.channel("ppg").unit, source.duration_s) == (1000.0, "a.u.", 2.1)
    parts = [source.read(a, b).channel("ppg").samples for a, b in ((0, 0.7), (0.7, 2.1))]
    np.testing.assert_array_equal(np.concatenate(parts), whole.channel("ppg").samples)
    assert whole.labels == entry.labels


def test_a_glued_segment_has_a_seam_and_a_note(tmp_path: Path) -> None:
    write_segment(tmp_path, "231_1", 0, samples=4200)
    record = open_source(entry_for(tmp_path / "231_1.txt")).read()
    assert record.seams_s.tolist() == [2.1]
    assert record.notes == ("231_1.txt: 4200 samples where 2100 are usual",)


def test_broken_sets_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"spreadsheet 'PPG-BP dataset\.xlsx' is missing"):
        read_people(tmp_path)
    (tmp_path / "PPG-BP dataset.xlsx").write_bytes(b"no zip at all")
    with pytest.raises(DataError, match="not readable as a spreadsheet"):
        read_people(tmp_path)
    (tmp_path / "PPG-BP dataset.xlsx").unlink()
    write_set(tmp_path, [])
    with pytest.raises(DataError, match="no texts <subject>_<segment>"):
        manifest.entries(manifest.load("ppg_bp"), tmp_path)
    (tmp_path / "1_1.txt").write_text("1.0\t2.0\tx", encoding="ascii")
    entry = entry_for(tmp_path / "1_1.txt")
    assert entry.format == "table"
    with pytest.raises(DataError, match=r"1_1\.txt"):
        open_source(entry)
    (tmp_path / "1_1.txt").write_text("1.0\t2.0" * 60 + "\t--", encoding="ascii")
    with pytest.raises(DataError, match="expected numbers with tabs"):
        open_source(entry_for(tmp_path / "1_1.txt"))


def test_a_spreadsheet_without_the_columns_is_refused(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["a", "b"])
    book.save(tmp_path / "x.xlsx")
    with pytest.raises(DataError, match="no row of headings with 'subject_ID'"):
        read_people(tmp_path)
    sheet.append(["subject_ID", "Systolic", "Sex"])
    book.save(tmp_path / "x.xlsx")
    with pytest.raises(DataError, match="no column that begins with 'age'"):
        read_people(tmp_path)


def test_the_real_set_has_its_known_doubles(data_root: Path) -> None:
    """Golden: 135 subjects, 405 segments; four doubles within a subject, one across two (the set's README)."""
    found = manifest.load("ppg_bp")
    listing = manifest.entries(found, data_root / "bp" / "ppg_bp")
    assert len(listing) == 399
    assert len({e.subject for e in listing.entries}) == 135
    assert {r.record for r in listing.rejected} == {"23_3", "24_1", "146_2", "148_2", "185_3", "216_2"}
    assert all(len(e.labels) == 2 and len(e.demographics) == 4 for e in listing.entries)
    glued = [e.record for e in listing.entries if open_source(e).read(0, 0.1).seams_s.size]
    assert glued == ["231_1", "231_2"]
