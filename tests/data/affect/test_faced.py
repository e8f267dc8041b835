"""FACED: clips with the class of their emotion, and channels in an order that is told to be disputed."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from biosig_mtl.data.affect import faced
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect.reading import assert_parts_join, labels, listed


def written(path: Path, shape: tuple[int, ...] = (28, 32, 750)) -> np.ndarray[Any, Any]:
    data = np.random.default_rng(0).standard_normal(shape)
    path.parent.mkdir(exist_ok=True)
    # Files of the set come from numpy 1.
    path.write_bytes(pickle.dumps(data, 4).replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray"))
    return data


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faced, "SAMPLES", 750)


def test_a_clip_has_the_class_of_its_emotion_and_no_arousal(tmp_path: Path) -> None:
    data = written(tmp_path / "Processed_data" / "sub000.pkl")
    found, rejected = listed("faced", tmp_path)
    assert (len(found), rejected) == (28, {})
    valence = [labels(e)["valence"] for e in found.values()]
    assert valence == [-1.0] * 12 + [0.0] * 4 + [1.0] * 12
    assert [labels(found[f"sub000/{n:02d}"])["emotion"] for n in (1, 4, 13, 16, 17, 28)] == [0, 1, 4, 4, 5, 8]
    assert all(set(labels(e)) == {"valence", "emotion"} for e in found.values())
    record = open_source(found["sub000/05"]).read()
    assert (record.duration_s, record.stimulus, record.subject) == (3.0, "5", "sub000")
    np.testing.assert_array_equal(record.channel("Fz").samples, data[4, 2].astype(np.float32))
    assert record.channel("Fz").fs == 250
    assert "A1" not in record.channels


def test_the_order_of_channels_can_be_said(tmp_path: Path) -> None:
    data = written(tmp_path / "sub000.pkl")
    order = [*faced.ELECTRODES[:16], "A1", "A2", *faced.ELECTRODES[16:30]]
    entry = listed("faced", tmp_path, electrodes=order)[0]["sub000/01"]
    record = open_source(entry).read()
    np.testing.assert_array_equal(record.channel("CP1").samples, data[0, 18].astype(np.float32))
    assert record.notes == ()
    for wrong in (order[:31], [*order[:31], "Fp1"], "Fp1"):
        with pytest.raises(DataError, match="32 different names"):
            open_source(replace(entry, options={"trial": 0, "electrodes": wrong}))


def test_doubt_about_the_order_is_told(tmp_path: Path) -> None:
    for name in ("sub060", "sub061"):
        written(tmp_path / f"{name}.pkl")
    found, _ = listed("faced", tmp_path)
    notes = [open_source(found[f"{name}/01"]).read(0, 1).notes for name in ("sub060", "sub061")]
    assert [len(n) for n in notes] == [1, 2]
    assert "order of channels is disputed" in notes[0][0]
    assert "second cohort" in notes[1][1]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_the_electrode_file_of_the_set_decides(tmp_path: Path, kind: str) -> None:
    data = written(tmp_path / "Processed_data" / "sub000.pkl")
    order = faced.ELECTRODES[::-1]
    path = tmp_path / f"Electrode_Location.{kind}"
    if kind == "csv":
        path.write_text("number,name,x\n" + "".join(f"{n},{name.upper()},0.5\n" for n, name in enumerate(order, 1)))
    else:
        book = openpyxl.Workbook()
        for number, name in enumerate(order, 1):
            book.worksheets[0].append([number, name, 0.5])
        book.save(path)
    entry = listed("faced", tmp_path)[0]["sub000/01"]
    record = open_source(entry).read()
    np.testing.assert_array_equal(record.channel("Fp1").samples, data[0, 31].astype(np.float32))
    assert record.notes == (f"order of channels is that of {path.name}",)
    path.write_bytes(path.read_bytes()[: 40 if kind == "csv" else 400])
    record = open_source(entry).read()
    np.testing.assert_array_equal(record.channel("Fp1").samples, data[0, 0].astype(np.float32))
    assert "disputed" in record.notes[0]


def test_parts_join_to_the_whole(tmp_path: Path) -> None:
    written(tmp_path / "sub000.pkl")
    assert_parts_join(listed("faced", tmp_path)[0]["sub000/28"], 1.1, 2.5)


def test_files_of_another_shape_or_kind_cost_one_line(tmp_path: Path) -> None:
    written(tmp_path / "sub000.pkl", (28, 30, 750))
    (tmp_path / "sub001.pkl").write_bytes(pickle.dumps({"x": 1}))
    (tmp_path / "sub002.pkl").write_bytes(pickle.dumps(np.array([[1], None], dtype=object)))
    _, rejected = listed("faced", tmp_path)
    assert "need an array of shape (28, 32, 750), found (28, 30, 750)" in rejected["sub000"]
    assert "found dict" in rejected["sub001"]
    assert "no plain number" in rejected["sub002"]
