"""Writing: the plan and the lots of a store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.store.files import (
    KINDS,
    REFERENCE,
    TRACK,
    commit,
    flush_names,
    lot_file,
    make_folder,
    read_json,
    sealed,
    sha256,
    sidecar,
    sizes,
    to_json,
)
from biosig_mtl.store.frames import parquet
from biosig_mtl.types import DataError, Features, Rejected, Windows

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 4

_KINDS = {"float32": "F32", "float64": "F64", "int64": "I64", "uint64": "U64"}


@dataclass(frozen=True, slots=True)
class Lot:
    """What one task wrote: windows of some records, the records it worked, what it refused, what its readers noted (record and
    sentence), and example windows to draw.
    """

    windows: tuple[Windows, ...]
    features: tuple[Features, ...]
    records: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[tuple[str, str], ...] = ()
    examples: tuple[Mapping[str, Any], ...] = ()


def write_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write what the store will hold (once; the same plan again changes nothing)."""
    make_folder(folder / "lots")
    text = to_json(plan)
    path = folder / "plan.json"
    if not _says(path, text.encode()):
        commit(path, text.encode())


def missing_lots(folder: Path, count: int) -> list[int]:
    """Return the numbers of the lots that are still to be written: those without a whole sidecar and two files of its sizes.

    Raises
    ------
    DataError
        The folder cannot be read.
    """
    there = sizes(folder)
    return [i for i in range(count) if not _is_there(folder, i, there)]


def _is_there(folder: Path, number: int, there: Mapping[str, int]) -> bool:
    if not all(lot_file(number, kind) in there for kind in ("json", *KINDS)):
        return False
    try:
        told = read_json(sidecar(folder, number), "windows").get("bytes", {})
    except DataError:
        return False
    return all(there[lot_file(number, kind)] == told.get(kind) for kind in KINDS)


def _says(path: Path, content: bytes) -> bool:
    """Whether a file is there and holds just this."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def write_lot(folder: Path, number: int, lot: Lot, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Write one lot; the sidecar, written last, is its commit mark.

    Parameters
    ----------
    folder
        The digest's folder.
    number
        Which lot of the plan this is.
    lot
        Its content.
    dataset
        Columns that are the same for every row (``dataset``, ``subject_level`` …).
    """
    from safetensors.numpy import save

    arrays = _arrays(lot)
    shard = save(arrays) if arrays else b""
    table = parquet(_rows(lot, dataset)) if arrays else b""
    first = lot.features[0] if lot.features else None
    content = {
        "lot": number,
        "windows": sum(len(w) for w in lot.windows),
        "sha256": {"safetensors": sha256(shard), "parquet": sha256(table)},
        "bytes": {"safetensors": len(shard), "parquet": len(table)},
        "arrays": {k: {"shape": list(v.shape), "kind": _KINDS[v.dtype.name], "sha256": _digest(v)} for k, v in arrays.items()},
        "names": list(first.names) if first else [],
        "waveform_channels": list(first.waveform_channels) if first else [],
        "tracks": {n: {"channels": list(t.channels), "fs": float(t.fs)} for n, t in first.tracks.items()} if first else {},
        "target_names": list(lot.windows[0].target_names) if lot.windows else [],
        "fs": float(lot.windows[0].fs) if lot.windows else None,
        "records": list(lot.records),
        "rejected": [[r.record, None if math.isnan(r.onset_s) else r.onset_s, r.reason] for r in lot.rejected],
        "notes": [list(note) for note in lot.notes],
        "examples": list(lot.examples),
        **_told_reference(lot),
    }
    base = sidecar(folder, number)
    commit(base.with_suffix(".safetensors"), shard)
    commit(base.with_suffix(".parquet"), table)
    flush_names(base.parent)
    commit(base, sealed(content))
    return content


def _arrays(lot: Lot) -> dict[str, NDArray[Any]]:
    pairs = [(w, f) for w, f in zip(lot.windows, lot.features, strict=True) if len(w)]
    if not pairs:
        return {}
    made = {
        "values": np.concatenate([f.values for _, f in pairs]),
        "waveform": np.concatenate([f.waveform for _, f in pairs]),
        "targets": np.concatenate([w.targets for w, _ in pairs]),
        "fingerprints": np.concatenate([w.facts["fingerprints"] for w, _ in pairs]),
        **{f"{TRACK}{name}": _track(name, [f for _, f in pairs]) for name in pairs[0][1].tracks},
        **({REFERENCE: np.concatenate(told)} if (told := [w.reference.signal for w, _ in pairs if w.reference]) else {}),
    }
    return {name: np.ascontiguousarray(array) for name, array in made.items()}


def _digest(array: NDArray[Any]) -> str:
    return sha256(array.reshape(-1).view(np.uint8).data)


def _told_reference(lot: Lot) -> dict[str, Any]:
    """Return what the sidecar says of the reference waveform: nothing where there is none, as before there was the word."""
    found = next((w.reference for w in lot.windows if w.reference), None)
    return {REFERENCE: {"channels": list(found.channels), "fs": float(found.fs)}} if found else {}


def _track(name: str, features: list[Features]) -> NDArray[Any]:
    parts = [f.tracks[name].signal for f in features]
    if len({part.shape[1:] for part in parts}) > 1:
        raise DataError(f"features.tracks.{name}: records differ in rate or length; say its hz in the recipe")
    return np.concatenate(parts)


def _rows(lot: Lot, dataset: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    records = [_columns(w, dataset) for w in lot.windows if len(w)]
    if any(list(columns) != list(records[0]) for columns in records):
        return pd.concat([pd.DataFrame(columns) for columns in records], ignore_index=True)
    # One table of a lot and not one of each record: a table costs some 4 ms however short it is.
    return pd.DataFrame({name: np.concatenate([np.asarray(columns[name]) for columns in records]) for name in records[0]})


def _columns(windows: Windows, dataset: Mapping[str, Any]) -> dict[str, Any]:
    n = len(windows)
    length_s = windows.signal.shape[2] / windows.fs
    columns: dict[str, Any] = {key: np.full(n, value) for key, value in dataset.items()}
    columns |= {key: np.full(n, getattr(windows, key)) for key in ("subject", "session", "record", "stimulus")}
    columns |= {
        "onset_s": windows.onset_s,
        "end_s": windows.onset_s + length_s,
        "fs": np.full(n, windows.fs),
        "timing_reliable": np.full(n, windows.timing_reliable),
        # Of the channels that are there: an optional one that is not usable is zero throughout.
        "sqi": windows.sqi.min(axis=1, initial=1.0, where=windows.signal.any(axis=2)),
    }
    columns |= {f"sqi_{name}": trail.sqi for name, trail in windows.trails.items()}
    columns |= {f"sqi_{name}": windows.sqi[:, j] for j, name in enumerate(windows.channels)}
    columns |= {name: windows.targets[:, j] for j, name in enumerate(windows.target_names)}
    columns |= {key: value for key, value in windows.facts.items() if key != "fingerprints"}
    return columns
