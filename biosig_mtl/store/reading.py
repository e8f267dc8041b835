"""Reading: a finished store as one table, of which no byte is used before it was compared with its digest.

Opening compares the summary (with its seal), the size of every file, the index and the features. Waveforms are compared lot by
lot when a window of theirs is first asked for, once a process. What is changed on the disk after that is not seen.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.store.files import (
    REFERENCE,
    TRACK,
    changed,
    damaged,
    lot_file,
    once_more,
    read_bytes,
    read_json,
    sidecar,
    sizes,
    unreadable,
)
from biosig_mtl.store.frames import index_frame
from biosig_mtl.store.shards import Shard, Sharded, digest_and_size, each, header_of, joined
from biosig_mtl.types import F32, DataError, Track, WindowTable

_LAST = "store.json"
# A summary that names other files is none of ours: what it names is never opened.
_NAMES = re.compile(r"(index\.parquet|rejected\.csv|plan\.json|lots/\d{5,9}\.(json|parquet|safetensors))")
_SUMMARIES = 8
_summaries: dict[tuple[str, int, int, int], dict[str, Any]] = {}


def is_finished(folder: Path) -> bool:
    """Whether every lot was written and merged, and no file was taken away or shortened since; nothing else is opened.

    Raises
    ------
    DataError
        ``store.json`` is damaged, or the folder cannot be read.
    """
    there = sizes(folder)
    return _LAST in there and not _misfits(summary(folder), there)


def summary(folder: Path) -> dict[str, Any]:
    """Return ``store.json``; raise `DataError` where the store is not finished or the file was changed.

    It is read again only after it was written again.
    """
    path = folder / _LAST
    try:
        told = once_more(path.stat)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder}: not a finished window store; run `biosig-mtl prepare` again to complete it") from error
    except OSError as error:
        raise unreadable(path, error) from error
    key = (str(path), told.st_mtime_ns, told.st_size, told.st_ino)
    if key not in _summaries:
        content = read_json(path, "sha256")
        if not _is_summary(content):
            raise damaged(path)
        while len(_summaries) >= _SUMMARIES:
            _summaries.pop(next(iter(_summaries)))
        _summaries[key] = content
    return dict(_summaries[key])


def _is_summary(content: Mapping[str, Any]) -> bool:
    sums, sizes_ = content["sha256"], content.get("bytes", {})
    told = isinstance(sums, dict) and isinstance(sizes_, dict) and isinstance(content.get("lots"), int)
    return told and all(map(_NAMES.fullmatch, sums))


def _misfits(told: Mapping[str, Any], there: Mapping[str, int]) -> list[str]:
    """Return the names of files that are missing or have another size than was written."""
    expected = told.get("bytes", {})
    return [name for name in told["sha256"] if name not in there or there[name] != expected.get(name, there[name])]


def read(folder: Path) -> WindowTable:
    """Open a finished store: index and features are in memory, waveforms are memory-mapped when they are asked for.

    Raises
    ------
    DataError
        The store is unfinished, a file is missing, cannot be read or was changed (each is named), or no window came through.
    """
    told = summary(folder)
    for name in _misfits(told, sizes(folder)):
        raise damaged(folder / name)
    try:
        held, shards = _shards(folder, told)
        index, values, targets = _memories(folder, told, shards)
        if index.empty:
            raise DataError(f"{folder}: no window came through; the reasons are in {folder / 'rejected.csv'}")
        if values is None or targets is None or not len(index) == len(values) == len(targets):
            raise damaged(folder / "index.parquet")
        return WindowTable(
            index=index,
            values=cast("F32", values),
            names=tuple(held["names"]),
            waveform=cast("F32", shards["waveform"]),
            waveform_channels=tuple(held["waveform_channels"]),
            fs=float(held["fs"]),
            targets=cast("F32", targets),
            target_names=tuple(held["target_names"]),
            tracks={name: _signal(shards[f"{TRACK}{name}"], about) for name, about in held.get("tracks", {}).items()},
            reference=_signal(shards[REFERENCE], held[REFERENCE]) if REFERENCE in held else None,
        )
    except (LookupError, TypeError, ValueError, AttributeError, OSError, MemoryError, RuntimeError) as error:
        raise unreadable(folder / _LAST, error) from error


def _memories(folder: Path, told: Mapping[str, Any], shards: Mapping[str, Sharded]) -> tuple[Any, ...]:
    """Return what a table holds in memory: index, values and targets, of a large store side by side."""
    path = folder / "index.parquet"

    def act(number: int) -> Any:
        if not number:
            return index_frame(read_bytes(path, told["sha256"][path.name]), path)
        key = ("values", "targets")[number - 1]
        return joined(shards[key].parts) if key in shards else None

    return tuple(each(act, range(3), path.stat().st_size))


def _signal(signal: Sharded, about: Mapping[str, Any]) -> Track:
    return Track(tuple(about["channels"]), float(about["fs"]), cast("F32", signal))


def _shards(folder: Path, told: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Sharded]]:
    """Return what the lots have in common, and their arrays by name, unopened."""
    if "held" not in told:
        return _shards_of_before(folder, told)
    held = told["held"]
    full = [(i, n) for i, n in enumerate(held["windows"]) if n]
    found = {}
    for key, about in held["arrays"].items():
        kind, rest, digests = about["kind"], tuple(about["shape"]), about["sha256"]
        found[key] = Sharded(
            [
                Shard(folder / lot_file(number, "safetensors"), key, (rows, *rest), kind, digest)
                for (number, rows), digest in zip(full, digests, strict=True)
            ]
        )
    return held, found


def _shards_of_before(folder: Path, told: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Sharded]]:
    """Do as `_shards` for a store of format 3, which tells digests of whole files only: every lot is opened."""
    first: dict[str, Any] = {}
    parts: dict[str, list[Shard]] = {}
    for number in range(told["lots"]):
        about = read_json(sidecar(folder, number), "windows")
        if not about["windows"]:
            continue
        first = first or about
        name = lot_file(number, "safetensors")
        for key, entry in header_of(folder / name).items():
            shape = tuple(entry["shape"]) if key != "__metadata__" else ()
            if shape:
                shard = Shard(folder / name, key, shape, entry["dtype"], told["sha256"][name], whole=True)
                parts.setdefault(key, []).append(shard)
    return first, {key: Sharded(found) for key, found in parts.items()}


def read_fingerprints(folder: Path) -> NDArray[np.uint64]:
    """Return the fingerprints of all windows, shape (window, fingerprint).

    Raises
    ------
    DataError
        As `read`.
    """
    try:
        return joined(_shards(folder, summary(folder))[1]["fingerprints"].parts)
    except (LookupError, TypeError, ValueError, AttributeError, OSError, MemoryError, RuntimeError) as error:
        raise unreadable(folder / _LAST, error) from error


def read_examples(folder: Path) -> list[dict[str, Any]]:
    """Return example windows with their beats and fiducials, in the order of the lots."""
    told = summary(folder)
    numbers = told["held"]["examples"] if "held" in told else range(told["lots"])
    return [
        example
        for i in numbers
        for example in read_json(sidecar(folder, i), "windows", told["sha256"][lot_file(i, "json")])["examples"]
    ]


def read_rejected(folder: Path) -> list[tuple[str, str, str]]:
    """Return the rows of ``rejected.csv``: record, window onset (empty for a whole record), reason."""
    content = read_bytes(folder / "rejected.csv", summary(folder)["sha256"]["rejected.csv"])
    rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
    return [(row["record"], row["onset_s"], row["reason"]) for row in rows]


def verify(folder: Path) -> list[str]:
    """Compare every file with its digest; return one sentence a damaged or missing file."""
    problems = []
    for name, expected in summary(folder)["sha256"].items():
        path = folder / name
        try:
            digest, _ = digest_and_size(path)
        except DataError as error:
            problems.append(str(error))
        else:
            problems += [] if digest == expected else [str(changed(path))]
    return problems
