"""The MATLAB cells: every cell a record, seams where blocks were glued."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.uci_mat import count_cells, find_seams
from biosig_mtl.types import DataError


def waves(samples: int, start: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    t = (start + np.arange(samples)) / 125
    return np.stack([np.sin(7 * t) + 0.3 * np.sin(14 * t), 90 + 30 * np.sin(7 * t), np.sin(7 * t) ** 21], axis=1)


def glued() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Four blocks; a piece of time is missing before the third."""
    return np.concatenate([waves(2000), waves(2000, 2047)])


def write_cells(path: Path, cells: list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_dataset("Part_1", (len(cells), 1), dtype=h5py.ref_dtype)
        for number, cell in enumerate(cells):
            references[number, 0] = file.create_dataset(f"#refs#/r{number}", data=cell).ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")


def test_a_joint_is_a_seam_only_where_time_jumps() -> None:
    assert find_seams(glued()).tolist() == [2000]
    assert find_seams(waves(4000)).size == 0
    assert find_seams(waves(700)).size == 0
    assert find_seams(waves(1002)).size == 0


def test_seams_do_not_depend_on_the_unit() -> None:
    scaled = glued() * [1000, 0.133, 1e-3] + [5, 0, -2]
    assert find_seams(scaled).tolist() == [2000]


@pytest.mark.parametrize("upright", [True, False])
def test_cells_are_read_whichever_way_they_lie(tmp_path: Path, upright: bool) -> None:
    cell = glued()
    write_cells(tmp_path / "Part_1.mat", [waves(1000), cell if upright else cell.T])
    entry = entry_for(tmp_path / "Part_1.mat", options={"key": "Part_1", "cell": 1})
    source = open_source(entry)
    record = source.read(8.0, 24.0)
    assert (source.duration_s, record.start_s, record.notes) == (32.0, 8.0, ())
    assert record.seams_s.tolist() == [16.0]
    for column, name in enumerate(("ppg", "abp", "ecg")):
        np.testing.assert_array_equal(record.channel(name).samples, cell[1000:3000, column].astype(np.float32))
    assert record.channel("abp").unit == "mmHg"


def test_slabs_find_the_same_seams_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = np.concatenate([waves(3000), waves(2000, 3047), waves(3400, 5100)])
    write_cells(tmp_path / "Part_1.mat", [cell])
    whole = find_seams(cell) / 125
    for blocks in (1, 2, 3):
        monkeypatch.setattr("biosig_mtl.data.readers.uci_mat._SLAB", blocks)
        np.testing.assert_array_equal(open_source(entry_for(tmp_path / "Part_1.mat")).read(0, 1).seams_s, whole)
    assert whole.tolist() == [24.0, 40.0]


def test_one_of_many_cells_is_told(tmp_path: Path) -> None:
    write_cells(tmp_path / "p.mat", [waves(1000), waves(1000)])
    assert open_source(entry_for(tmp_path / "p.mat")).read().notes == ("p.mat: cell 1 of 2 is read",)
    with pytest.raises(DataError, match="no cell 2 in 'Part_1'; it has Part_1: 2"):
        open_source(entry_for(tmp_path / "p.mat", options={"key": "Part_1", "cell": 2}))


def test_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    write_cells(tmp_path / "other.mat", [waves(1000)])
    for link in (h5py.ExternalLink("other.mat", "/Part_1"), h5py.SoftLink("/Part_1")):
        write_cells(tmp_path / "p.mat", [waves(1000)])
        with h5py.File(tmp_path / "p.mat", "r+") as file:
            file["Part_2"] = link
        with pytest.raises(DataError, match="'Part_2' is a link to elsewhere"):
            count_cells(tmp_path / "p.mat")


def test_samples_kept_elsewhere_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(8 * 3000))
    with h5py.File(tmp_path / "p.mat", "w", userblock_size=512) as file:
        outside = file.create_dataset("#refs#/r0", (1000, 3), dtype="f8", external=[(str(tmp_path / "secret.bin"), 0, 24000)])
        references = file.create_dataset("Part_1", (1, 1), dtype=h5py.ref_dtype)
        references[0, 0] = outside.ref
    with (tmp_path / "p.mat").open("r+b") as stream:
        stream.write(b"MATLAB")
    with pytest.raises(DataError, match="keeps its samples elsewhere"):
        open_source(entry_for(tmp_path / "p.mat"))


def test_files_that_are_no_cells_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = np.zeros(3)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB")
    with pytest.raises(DataError, match=r"holds no MATLAB cells \(it has x\)"):
        count_cells(path)
    write_cells(path, [np.zeros((10, 2))])
    with pytest.raises(DataError, match="is not a table of PPG, ABP and ECG"):
        open_source(entry_for(path))
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(2000))
    with pytest.raises(DataError, match=r"is MATLAB v5; save it with -v7\.3"):
        count_cells(path)
    write_cells(path, [waves(2000)])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"p\.mat"):
        open_source(entry_for(path))


def test_seams_of_real_cells_agree_with_the_known_cuts(data_root: Path) -> None:
    """Truth: the WFDB copy of the set was cut at its seams (records.csv), its first pieces lie in these cells."""
    folder = data_root / "bp" / "uci_kachuee"
    cuts: dict[str, set[float]] = {}
    known: dict[str, float] = {}
    with (folder / "records.csv").open(encoding="utf-8") as stream:
        for row in sorted(csv.DictReader(stream), key=lambda r: float(r["source_start_s"])):
            start, source = float(row["source_start_s"]), row["source_record"]
            if start == known.get(source, 0.0):  # pieces that follow each other without a hole
                cuts.setdefault(source, set()).add(start)
                known[source] = start + float(row["length_s"])
    with (folder / "uci_layout_dev_index.csv").open(encoding="utf-8") as stream:
        names = [row["record"] for row in csv.DictReader(stream)]
    right = wrong = missed = 0
    for number, name in enumerate(names):
        source = open_source(entry_for(folder / "uci_layout_dev.mat", options={"key": "Part_1", "cell": number}))
        end = min(known[name], source.duration_s)
        truth = {s for s in cuts[name] if 0 < s < end}
        found = {s for s in source.read(0, 1).seams_s.tolist() if s < end}
        right, wrong, missed = right + len(truth & found), wrong + len(found - truth), missed + len(truth - found)
    assert missed == 0
    assert right >= 15
    assert wrong == 0
