"""What is exported for other tools reads back equal."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from biosig_mtl import store
from biosig_mtl.store import Lot, exporting, shards
from biosig_mtl.types import DataError, RecipeError, WindowTable


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, lot: Callable[..., Lot]) -> Path:
    made = tmp_path_factory.mktemp("store") / "abc"
    store.write_plan(made, {"lots": 2})
    for i in range(2):
        store.write_lot(made, i, lot(i), {"dataset": "demo"})
    store.finish(made, 2)
    return made


@pytest.fixture(scope="module")
def table(folder: Path) -> WindowTable:
    return store.read(folder)


def same_arrays(found: Any, table: WindowTable) -> None:
    for name in ("values", "waveform", "targets"):
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(getattr(table, name)))
    for name in ("names", "waveform_channels", "target_names"):
        assert tuple(found.attrs[name]) == getattr(table, name)
    assert found.attrs["fs"] == table.fs


def test_hdf5(folder: Path, table: WindowTable, tmp_path: Path) -> None:
    out = store.export(folder, "hdf5", tmp_path / "new" / "out.h5")
    with h5py.File(out) as file:
        same_arrays(file, table)
        for column in table.index:
            found = file["index"][column]
            values = found.asstr()[:] if h5py.check_string_dtype(found.dtype) else found[:]
            np.testing.assert_array_equal(values, table.index[column].to_numpy())


def test_zarr(folder: Path, table: WindowTable, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    out = store.export(folder, "zarr", tmp_path / "out.zarr")
    same_arrays(zarr.open_group(str(out), mode="r"), table)
    pd.testing.assert_frame_equal(pd.read_parquet(out / "index.parquet"), table.index)


def test_parquet(folder: Path, table: WindowTable, tmp_path: Path) -> None:
    frame = pd.read_parquet(store.export(folder, "parquet", tmp_path / "out.parquet"))
    pd.testing.assert_frame_equal(frame[list(table.index.columns)], table.index)
    np.testing.assert_array_equal(frame[list(table.names)].to_numpy(), table.values)


@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_a_store_is_copied_a_few_rows_at_a_time(
    folder: Path, table: WindowTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr(exporting, "_BLOCK", 3 * table.waveform[:1].nbytes)
    monkeypatch.setattr(shards.Sharded, "__array__", None)  # nobody asks for the whole
    out = store.export(folder, kind, tmp_path / "out")
    found = h5py.File(out) if kind == "hdf5" else zarr.open_group(str(out), mode="r")
    np.testing.assert_array_equal(found["waveform"][:], table.waveform[:])
    if kind == "hdf5":
        found.close()


def test_exporting_twice_writes_over(folder: Path, tmp_path: Path) -> None:
    for kind in ("hdf5", "zarr", "parquet"):
        for _ in range(2):
            assert store.export(folder, kind, tmp_path / kind).exists()


def test_errors_are_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown export format 'hdf'; did you mean 'hdf5'"):
        store.export(folder, "hdf", tmp_path / "x")
    with pytest.raises(DataError, match="not a finished window store"):
        store.export(tmp_path, "hdf5", tmp_path / "x")
    (tmp_path / "file").write_text("in the way")
    for kind in ("hdf5", "parquet", "zarr"):
        with pytest.raises(DataError, match="cannot be written") as error:
            store.export(folder, kind, tmp_path / "file" / "x")
        assert "\n" not in str(error.value)
        with pytest.raises(DataError, match="cannot be written"):
            store.export(folder, kind if kind != "zarr" else "parquet", tmp_path)


def test_zarr_is_an_extra(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "zarr":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'biosig-mtl\[zarr\]'"):
        store.export(folder, "zarr", tmp_path / "x")
