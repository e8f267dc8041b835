"""Stores for other tools: Zarr, HDF5, Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from biosig_mtl.recipe import choose
from biosig_mtl.store.frames import parquet
from biosig_mtl.store.reading import read
from biosig_mtl.types import DataError, WindowTable

_BLOCK = 1 << 26  # bytes that are copied at once


def export(folder: Path, kind: str, out: Path) -> Path:
    """Write a store for other tools: ``zarr`` (extra), ``hdf5`` or ``parquet`` (features and index only).

    Raises
    ------
    RecipeError
        Unknown kind.
    DataError
        The store is not finished, or ``out`` cannot be written.
    """
    write = _EXPORTS[choose(kind, _EXPORTS, "export format")]
    table = read(folder)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(table, out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    return out


def _export_parquet(table: WindowTable, out: Path) -> None:
    import pandas as pd

    values = pd.DataFrame(table.values, columns=list(table.names))
    out.write_bytes(parquet(pd.concat([table.index, values], axis=1)))


def _export_hdf5(table: WindowTable, out: Path) -> None:
    import h5py

    with h5py.File(out, "w") as file:
        for name, array in _exported(table).items():
            _copy(array, file.create_dataset(name, array.shape, array.dtype))
        file.attrs["names"] = list(table.names)
        file.attrs["waveform_channels"] = list(table.waveform_channels)
        file.attrs["target_names"] = list(table.target_names)
        file.attrs["fs"] = table.fs
        for name, track in table.tracks.items():
            file[f"track_{name}"].attrs.update({"channels": list(track.channels), "fs": track.fs})
        index = file.create_group("index")
        for column in table.index:
            values = table.index[column].to_numpy()
            text = values.dtype.kind in "OU"
            index.create_dataset(str(column), data=values, dtype=h5py.string_dtype() if text else None)


def _export_zarr(table: WindowTable, out: Path) -> None:
    try:
        import zarr
    except ImportError as error:
        raise DataError("export to zarr needs the extra: pip install 'biosig-mtl[zarr]'") from error
    group = zarr.open_group(str(out), mode="w")
    for name, array in _exported(table).items():
        _copy(array, group.create_array(name, shape=array.shape, dtype=array.dtype))
    for name, track in table.tracks.items():
        group[f"track_{name}"].attrs.update(channels=list(track.channels), fs=track.fs)
    group.attrs.update(
        names=list(table.names),
        waveform_channels=list(table.waveform_channels),
        target_names=list(table.target_names),
        fs=table.fs,
    )
    out.joinpath("index.parquet").write_bytes(parquet(table.index))


_EXPORTS = {"zarr": _export_zarr, "hdf5": _export_hdf5, "parquet": _export_parquet}


def _exported(table: WindowTable) -> dict[str, NDArray[Any]]:
    """Return the arrays of a table by name; waveforms are not read yet."""
    told = {f"track_{name}": track.signal for name, track in table.tracks.items()}
    if table.reference is not None:
        told["reference"] = table.reference.signal
    return {"values": table.values, "waveform": table.waveform, "targets": table.targets, **told}


def _copy(array: NDArray[Any], out: Any) -> None:
    """Copy an array a block of rows at a time: a store may be larger than memory."""
    rows = max(_BLOCK // max(array[:1].nbytes, 1), 1)
    for start in range(0, len(array), rows):
        out[start : start + rows] = array[start : start + rows]
