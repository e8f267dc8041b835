"""Broken files: a one-line error that names the file, or a partial read that says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data.readers import READERS, entry_for, open_source
from biosig_mtl.types import DataError, Entry, RecipeError, Source

REFUSED = {
    "header_only.csv": "has a heading and no rows",
    "empty.csv": "the file is empty",
    "lfs_pointer/a103l.hea": "is a Git-LFS pointer, not data; fetch it with `git lfs pull`",
    "lfs_pointer/a103l.mat": "is a Git-LFS pointer, not data; fetch it with `git lfs pull`",
    "truncated_in_header.edf": "ends within its header (3000 of 9472 bytes)",
    "missing_segments_s00001/3975656_layout.hea": "is the layout of a record with segments",
    **{f"missing_segments_s00001/3975656_{n:04d}.hea": f"3975656_{n:04d}.dat: no such file" for n in range(5, 12)},
}
PARTIAL = {
    "truncated_mid_record.edf": "truncated_mid_record.edf: holds 20 of 273 data records, 93% are missing",
    "ppgbp_231_1_4200samples.txt": "ppgbp_231_1_4200samples.txt: 4200 samples where 2100 are usual",
    "wfdb_truncated_dat/3400715.hea": "3400715.dat: holds 1666 of 7500 samples, 78% are missing",
    "missing_segments_s00001/s00001-2896-10-10-00-31.hea": (
        "7 of 16 segments missing: 3975656_0005, 3975656_0006, 3975656_0007, 3975656_0008 and 3 more"
    ),
}
WHOLE = {f"missing_segments_s00001/3975656_{n:04d}.hea" for n in (1, 2, 3, 4, 12, 13, 14, 15, 16)}
# Samples are opened by their header, which is in one of the tables above.
BESIDE = (".dat",)

SUFFIXES = {
    "wfdb": ".hea", "ppg_bp": ".txt", "table": ".parquet", "edf": ".bdf", "mne": ".fif", "e4": ".zip", "stress_predict": ".zip",
    "mahnob": ".bdf", "deap": ".dat", "deap_bdf": ".bdf", "faced": ".pkl", "wesad": ".pkl", "case": ".csv", "gameemo": ".csv",
}  # fmt: skip


def test_every_bad_file_is_in_one_of_the_tables(data_root: Path) -> None:
    folder = data_root / "bad"
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix not in BESIDE}
    assert names == set(REFUSED) | set(PARTIAL) | WHOLE


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(data_root: Path, name: str) -> None:
    with pytest.raises(DataError) as error:
        open_source(entry_for(data_root / "bad" / name))
    assert REFUSED[name] in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 3


@pytest.mark.parametrize("name", PARTIAL)
def test_what_is_partly_there_is_read_with_a_note(data_root: Path, name: str) -> None:
    source = open_source(entry_for(data_root / "bad" / name))
    record = source.read(0, 600)
    assert record.notes == (PARTIAL[name],)
    assert all(np.isfinite(c.samples).any() for n, c in record.channels.items() if n != "abp")


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_segments_that_are_there_are_read(data_root: Path, name: str) -> None:
    record = open_source(entry_for(data_root / "bad" / name)).read()
    assert record.notes == ()
    assert np.isfinite(record.channel("ecg").samples).any()


@pytest.mark.parametrize("format", list(READERS))
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", b"\xff" * 3000]
)
def test_every_reader_refuses_garbage(tmp_path: Path, format: str, content: bytes) -> None:
    suffix = SUFFIXES.get(format, ".mat")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    for place in (path, tmp_path, tmp_path / f"none{suffix}"):
        with pytest.raises(DataError) as error:
            open_source(Entry("own", "x", "x", "1", place, format)).read()
        assert str(place) in str(error.value)
        assert "\n" not in str(error.value)


def test_the_format_is_found_by_suffix_and_company(tmp_path: Path) -> None:
    for name, message in (
        ("x.odd", "format not known; readable are"),
        ("x.dat", r"its header x\.hea is missing"),
        ("y.mat", "is no MATLAB file"),
    ):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(DataError, match=message):
            entry_for(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        entry_for(tmp_path / "x")
    with pytest.raises(RecipeError, match="unknown format 'wfbd'; did you mean 'wfdb'"):
        open_source(Entry("own", "x", "x", "1", tmp_path, "wfbd"))
    (tmp_path / "x.hea").write_text("x 1", encoding="ascii")
    for name in ("x", "x.dat", "x.hea"):
        assert entry_for(tmp_path / name).path == tmp_path / "x.hea"
    assert entry_for("a/b.fif.gz").format == "mne"
    assert entry_for("a/b.CSV").format == "table"


def test_a_lone_recording_is_its_own_subject(data_root: Path) -> None:
    entry = entry_for(data_root / "readers" / "wfdb" / "a103l")
    source = open_source(entry)
    assert isinstance(source, Source)
    assert (entry.record, entry.subject, entry.format) == ("a103l", "a103l", "wfdb")
    assert {n: c.source_name for n, c in source.read(0, 1).channels.items()} == {"ppg": "PLETH", "ecg": "II"}
