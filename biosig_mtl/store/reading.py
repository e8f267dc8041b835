"""Reading: a finished store as one memory-mapped table, and its integrity."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.store.files import REFERENCE, TRACK, damaged, read_json, sha256, sidecar
from biosig_mtl.types import F32, DataError, Track, WindowTable

_ARRAYS = ("values", "waveform", "targets", "fingerprints")


def is_finished(folder: Path) -> bool:
    """Whether every lot was written and merged, and no file was taken away since."""
    if not (folder / "store.json").is_file():
        return False
    return all((folder / name).is_file() for name in summary(folder)["sha256"])


def summary(folder: Path) -> dict[str, Any]:
    """Return ``store.json``; raise `DataError` where the store is not finished."""
    path = folder / "store.json"
    if not path.is_file():
        raise DataError(f"{folder}: not a finished window store; run `biosig-mtl prepare` again to complete it")
    return read_json(path, "sha256")


def read(folder: Path) -> WindowTable:
    """Open a finished store; waveforms and features are memory-mapped.

    Raises
    ------
    DataError
        The store is unfinished, or no window came through.
    """
    import pandas as pd

    count = summary(folder)["lots"]
    try:
        index = pd.read_parquet(folder / "index.parquet")
    except (OSError, ValueError) as error:
        raise damaged(folder / "index.parquet") from error
    if index.empty:
        raise DataError(f"{folder}: no window came through; the reasons are in {folder / 'rejected.csv'}")
    sidecars = [read_json(sidecar(folder, i), "windows") for i in range(count)]
    full = [s for s in sidecars if s["windows"]]
    maps = [_memory_map(sidecar(folder, s["lot"]).with_suffix(".safetensors")) for s in full]
    joined = {key: np.concatenate([m[key] for m in maps]) for key in ("values", "targets")}
    return WindowTable(
        index=index,
        values=joined["values"],
        names=tuple(full[0]["names"]),
        waveform=cast("F32", Sharded([m["waveform"] for m in maps])),
        waveform_channels=tuple(full[0]["waveform_channels"]),
        fs=float(full[0]["fs"]),
        targets=joined["targets"],
        target_names=tuple(full[0]["target_names"]),
        tracks={name: _signal(f"{TRACK}{name}", told, maps) for name, told in full[0].get("tracks", {}).items()},
        reference=_signal(REFERENCE, full[0][REFERENCE], maps) if REFERENCE in full[0] else None,
    )


def _signal(key: str, told: Mapping[str, Any], maps: Sequence[Mapping[str, NDArray[Any]]]) -> Track:
    signal = cast("F32", Sharded([m[key] for m in maps]))
    return Track(tuple(told["channels"]), float(told["fs"]), signal)


def read_fingerprints(folder: Path) -> NDArray[np.uint64]:
    """Return the fingerprints of all windows, shape (window, fingerprint)."""
    lots = sorted(set(_index_lots(folder)))
    return np.concatenate([_memory_map(sidecar(folder, i).with_suffix(".safetensors"))["fingerprints"] for i in lots])


def read_examples(folder: Path) -> list[dict[str, Any]]:
    """Return example windows with their beats and fiducials, in the order of the lots."""
    count = summary(folder)["lots"]
    return [e for i in range(count) for e in read_json(sidecar(folder, i), "windows")["examples"]]


def read_rejected(folder: Path) -> list[tuple[str, str, str]]:
    """Return the rows of ``rejected.csv``: record, window onset (empty for a whole record), reason."""
    with (folder / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return [(row["record"], row["onset_s"], row["reason"]) for row in csv.DictReader(file)]


def verify(folder: Path) -> list[str]:
    """Compare every file with its digest; return one sentence a damaged or missing file."""
    problems = []
    for name, expected in summary(folder)["sha256"].items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif sha256(path.read_bytes()) != expected:
            problems.append(f"{path}: content does not match its sha256; delete it and run prepare again")
    return problems


class Sharded:
    """Arrays of equal trailing shape as one, along the first axis; it is indexed as NumPy does.

    Only the rows asked for are read, unless the index begins with ``...`` or has arrays on its later axes.
    """

    def __init__(self, parts: Sequence[F32]) -> None:
        """Join memory-mapped parts without reading them."""
        self._parts = list(parts)
        self._starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, *, copy: Any = None) -> NDArray[Any]:
        """Read everything."""
        del copy
        return np.concatenate(self._parts).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read some rows."""
        if isinstance(rows, tuple):
            first, rest = (rows[0], rows[1:]) if rows else (..., ())
            if first is None or first is ... or not all(isinstance(r, int | np.integer | slice) for r in rest):
                return np.asarray(np.asarray(self)[rows])
            taken = self[first]
            return np.asarray(taken[(*[slice(None)] * (taken.ndim - self.ndim + 1), *rest)])
        picked = np.arange(len(self))[rows]
        if picked.ndim == 0:
            part = int(np.searchsorted(self._starts, picked, side="right")) - 1
            return np.asarray(self._parts[part][int(picked) - self._starts[part]])
        shape, picked = picked.shape, picked.ravel()
        out = np.empty((picked.size, *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self._starts, picked, side="right") - 1
        for part in np.unique(owner):
            here = np.flatnonzero(owner == part)
            out[here] = self._parts[part][picked[here] - self._starts[part]]
        return out.reshape(*shape, *self.shape[1:])


def _memory_map(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file as views of a memory map; the header gives offsets and shapes."""
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U64": np.uint64}
    try:
        raw = np.memmap(path, mode="r", dtype=np.uint8)
        size = int(raw[:8].view(np.uint64)[0])
        header = json.loads(raw[8 : 8 + size].tobytes())
        out = {}
        for name in (*_ARRAYS, *(key for key in header if key.startswith(TRACK) or key == REFERENCE)):
            entry = header[name]
            start, stop = (8 + size + offset for offset in entry["data_offsets"])
            out[name] = raw[start:stop].view(kinds[entry["dtype"]]).reshape(entry["shape"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise damaged(path) from error
    return out


def _index_lots(folder: Path) -> list[int]:
    import pandas as pd

    return [int(i) for i in pd.read_parquet(folder / "index.parquet", columns=["lot"])["lot"]]
