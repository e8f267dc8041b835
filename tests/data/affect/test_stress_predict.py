"""Stress-Predict: labels by the second, on the clock of the wristband."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data import manifest
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError, Record
from tests.data.affect import writers_b as write


def listed(root: Path) -> Listing:
    return manifest.entries(manifest.load("stress_predict"), root)


def subject(root: Path, rows: list[str], name: str = "S02") -> None:
    write.zipped(root / f"{name}.zip", write.e4_texts(write.e4_streams()))
    (root / f"{name}_labels.csv").write_text("\n".join(["time_unix_s,stress", *rows]) + "\n", encoding="utf-8")


def usual() -> list[str]:
    """Label seconds 9 to 58: stress from second 30 on."""
    return [f"{int(write.UNIX) + t},{int(t >= 30)}" for t in range(9, 59)]


def read(root: Path) -> Record:
    return open_source(listed(root).entries[0]).read()


def test_labels_lie_on_the_clock_of_the_wristband(tmp_path: Path) -> None:
    subject(tmp_path, usual())
    record = read(tmp_path)
    stress = record.channel("stress")
    assert (stress.kind, stress.unit, stress.fs, record.duration_s) == ("label", "0..1", 1.0, 60.0)
    expected = np.full(60, np.nan)
    expected[9:59] = np.arange(9, 59) >= 30
    np.testing.assert_array_equal(stress.samples, expected)
    assert {n: c.kind for n, c in record.channels.items()} == {
        "ppg": "ppg", "eda": "eda", "temp": "temp", "hr": "other", "stress": "label"
    }  # fmt: skip
    parts = [open_source(listed(tmp_path).entries[0]).read(a, b).channel("stress").samples for a, b in ((0, 21), (21, 60))]
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_a_shift_of_the_labels_shifts_the_channel(tmp_path: Path) -> None:
    rows = [f"{int(r.split(',')[0]) + 5},{r.split(',')[1]}" for r in usual()]
    subject(tmp_path, rows)
    record = read(tmp_path)
    assert int(np.flatnonzero(record.channel("stress").samples == 1)[0]) == 35
    # Four of the shifted labels lie after the end.
    assert "S02_labels.csv: 4 labels lie outside of the recording" in record.notes


def test_seconds_that_are_missing_stay_unknown(tmp_path: Path) -> None:
    subject(tmp_path, [r for n, r in enumerate(usual()) if n not in {3, 4}])
    assert np.flatnonzero(np.isnan(read(tmp_path).channel("stress").samples)).tolist() == [*range(9), 12, 13, 59]


def test_who_has_no_labels_or_no_export_is_listed_with_the_reason(tmp_path: Path) -> None:
    subject(tmp_path, usual())
    write.zipped(tmp_path / "S01.zip", write.e4_texts(write.e4_streams(20)))
    (tmp_path / "subjects.csv").write_text("subject,dur_min\nS01,1\nS02,1\nS25,1\n", encoding="utf-8")
    listing = listed(tmp_path)
    assert [e.record for e in listing.entries] == ["S02"]
    assert {r.record: r.reason for r in listing.rejected} == {
        "S01": "no labels: S01_labels.csv is missing",
        "S25": "S25.zip is missing",
    }


@pytest.mark.parametrize(
    ("spot", "row", "says"),
    [
        (3, "{},7", "line 5: stress is 7; its scale is 0 to 1"),
        (3, "{},", "line 5: stress is nan; its scale is 0 to 1"),
        (3, "{},yes", "line 5: 'yes' in column 'stress' is no number"),
        (3, "1644227583,0", "line 5: its time is missing, or not later"),
        (3, ",0", "line 5: its time is missing"),
    ],
)
def test_wrong_labels_are_named_with_file_and_line(spot: int, row: str, says: str, tmp_path: Path) -> None:
    rows = usual()
    rows[spot] = row.format(int(write.UNIX) + 12)
    subject(tmp_path, rows)
    with pytest.raises(DataError, match=rf"S02_labels\.csv, {says}") as error:
        read(tmp_path)
    assert "\n" not in str(error.value)


def test_labels_of_another_day_are_refused(tmp_path: Path) -> None:
    subject(tmp_path, [f"{int(write.UNIX) + 86400 + t},0" for t in range(20)])
    with pytest.raises(DataError, match="none of its labels lies within the recording"):
        read(tmp_path)


def test_changed_labels_make_another_record(tmp_path: Path) -> None:
    subject(tmp_path, usual())
    before = listed(tmp_path).entries[0].options
    subject(tmp_path, usual()[:-1])
    assert listed(tmp_path).entries[0].options != before


# ------------------------------------------------------------------------------------------------------------------- real
def test_real_subjects(data_root: Path) -> None:
    root = data_root / "emotion" / "stress_predict"
    listing = listed(root)
    assert len(listing) == 23
    assert [r.record for r in listing.rejected] == ["S01"]
    shares = {}
    for entry in listing.entries[::8]:
        record = open_source(entry).read()
        stress = record.channel("stress").samples
        known = ~np.isnan(stress)
        assert set(np.unique(stress[known])) == {0.0, 1.0}
        assert known.mean() > 0.95
        shares[entry.record] = float(stress[known].mean())
        assert record.channel("ppg").samples.size == 64 * stress.size
    # Facts of the set's own table of subjects.
    assert shares == pytest.approx({"S02": 0.326, "S10": 0.331, "S18": 0.328}, abs=2e-3)
