"""Finishing: the merge of all lots into one index, and the summary that vouches for every file."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_mtl.store.files import (
    KINDS,
    REFERENCE,
    commit,
    commit_by,
    flush_names,
    lot_file,
    read_bytes,
    read_json,
    sealed,
    sha256,
    sidecar,
)
from biosig_mtl.store.frames import joint_schema, table_of, write_index
from biosig_mtl.store.shards import digest_and_size
from biosig_mtl.store.writing import FORMAT
from biosig_mtl.types import DataError, Rejected

if TYPE_CHECKING:
    import pyarrow as pa

_ALIKE = ("names", "waveform_channels", "target_names", "fs", "tracks", REFERENCE)


def finish(
    folder: Path, count: int, rejected: Iterable[Rejected] = (), about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge the lots into one index; return the summary that is also written as ``store.json``.

    ``rejected`` are records that were refused before any lot (at listing). ``about`` is what a reader should be told of the
    data whatever is done with them: ``simulated``, and ``reasons`` why features cannot be known from such windows.

    Only sidecars and tables of the lots are read, never their arrays, and the tables are never all in memory.

    Raises
    ------
    DataError
        A lot is missing or damaged, the lots do not agree, or the disk is full.
    """
    sidecars, digests = _sidecars(folder, count)
    _check_alike(folder, sidecars)
    used, subjects = _write_index(folder, sidecars)
    worked = {r for s in sidecars for r in s["records"]}
    refused = _refused(rejected, sidecars, worked - used)
    commit(folder / "rejected.csv", rejected_csv(refused).encode())
    records = worked | {r for r, _, _ in refused}
    summary = {
        "format": FORMAT,
        "lots": count,
        "windows": sum(s["windows"] for s in sidecars),
        "windows_rejected": sum(onset is not None for _, onset, _ in refused),
        "records": len(records),
        "records_used": len(used),
        "records_rejected": len(records) - len(used),
        "notes": [note for s in sidecars for note in s["notes"]],
        "about": dict(about or {}),
        "subjects": len(subjects),
        "held": _held(sidecars),
        **_vouched(folder, sidecars, digests),
    }
    for leftover in (*folder.glob(".*.tmp"), *folder.glob("lots/.*.tmp")):  # of writers that were killed
        leftover.unlink(missing_ok=True)
    flush_names(folder)
    commit(folder / "store.json", sealed(summary))
    flush_names(folder)
    return summary


def rejected_csv(rows: Iterable[tuple[str, float | str | None, str]]) -> str:
    """Return ``rejected.csv``: a header, and a row each; the onset is empty where a whole record was refused."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["record", "onset_s", "reason"])
    writer.writerows([record, "" if onset is None else onset, reason] for record, onset, reason in rows)
    return text.getvalue()


def _sidecars(folder: Path, count: int) -> tuple[list[dict[str, Any]], list[tuple[str, int]]]:
    """Return what the lots tell of themselves, without their examples, and digest and size of each sidecar."""
    told, digests = [], []
    for number in range(count):
        path = sidecar(folder, number)
        content = read_json(path, "arrays")
        raw = read_bytes(path)
        digests.append((sha256(raw), len(raw)))
        told.append({**content, "lot": number, "examples": len(content["examples"])})
    return told, digests


def _check_alike(folder: Path, sidecars: Sequence[Mapping[str, Any]]) -> None:
    full = [s for s in sidecars if s["windows"]]
    for key in _ALIKE:
        if any(s.get(key) != full[0].get(key) for s in full):
            hint = ", with the hz of every track in the recipe" if key == "tracks" else ""
            raise _disagree(folder, key, hint)
    for s in full:
        for name in s["arrays"].keys() | full[0]["arrays"].keys():
            if _form(s, name) != _form(full[0], name):
                raise _disagree(folder, f"{name}, {_form(full[0], name)} and {_form(s, name)}")


def _form(told: Mapping[str, Any], name: str) -> list[Any] | None:
    """Return the shape of a window in one array of a lot, None where it has no such array."""
    return list(told["arrays"][name]["shape"][1:]) if name in told["arrays"] else None


def _disagree(folder: Path, what: str, hint: str = "") -> DataError:
    return DataError(f"{folder}: the lots do not agree on their {what}; delete this folder and run prepare again{hint}")


def _write_index(folder: Path, sidecars: Sequence[Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """Write ``index.parquet``, one lot after the other; return the records and the subjects that have windows."""
    import pyarrow.compute as pc

    full = [s for s in sidecars if s["windows"]]
    schemas = list(dict.fromkeys(_table(folder, s).schema for s in full))
    found: dict[str, set[str]] = {"record": set(), "subject": set()}

    def tables() -> Iterator[pa.Table]:
        for s in full:
            table = _table(folder, s)
            for key, names in found.items():
                names.update(map(str, pc.unique(table.column(key)).to_pylist()))
            yield table

    commit_by(folder / "index.parquet", lambda file: write_index(file, tables(), joint_schema(schemas)))
    return found["record"], found["subject"]


def _table(folder: Path, told: Mapping[str, Any]) -> pa.Table:
    """Return the rows of a lot, their bytes compared with the digest in its sidecar, behind the number of the lot."""
    import pyarrow as pa

    path = folder / lot_file(told["lot"], "parquet")
    table = table_of(read_bytes(path, told["sha256"]["parquet"]), path)
    return table.add_column(0, "lot", pa.array([told["lot"]] * table.num_rows, pa.int64()))


def _refused(
    rejected: Iterable[Rejected], sidecars: Sequence[Mapping[str, Any]], silent: set[str]
) -> list[tuple[str, float | None, str]]:
    """Return every window and record that was refused, with its reason; ``silent`` are records that nothing is known of."""
    refused = [(r.record, None if math.isnan(r.onset_s) else r.onset_s, r.reason) for r in rejected]
    refused += [(record, onset, reason) for s in sidecars for record, onset, reason in s["rejected"]]
    known = {record for record, _, _ in refused}
    refused += [(record, None, "shorter than one window") for record in sorted(silent - known)]
    return list(dict.fromkeys(refused))  # every piece of a long record says again why the whole of it cannot be used


def _held(sidecars: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a reader would else have to open every sidecar for."""
    full = [s for s in sidecars if s["windows"]]
    first = full[0] if full else {}
    return {
        **{key: first[key] for key in _ALIKE if key in first},
        "windows": [s["windows"] for s in sidecars],
        "examples": [s["lot"] for s in sidecars if s["examples"]],
        "arrays": {
            name: {
                "kind": first["arrays"][name]["kind"],
                "shape": first["arrays"][name]["shape"][1:],
                "sha256": [s["arrays"][name]["sha256"] for s in full],
            }
            for name in first.get("arrays", {})
        },
    }


def _vouched(folder: Path, sidecars: Sequence[Mapping[str, Any]], digests: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Return digest and size of every file."""
    sums, sizes = {}, {}
    for name in ("index.parquet", "rejected.csv", "plan.json"):
        sums[name], sizes[name] = digest_and_size(folder / name)
    for told, (digest, size) in zip(sidecars, digests, strict=True):
        for kind in KINDS:
            sums[lot_file(told["lot"], kind)] = told["sha256"][kind]
            sizes[lot_file(told["lot"], kind)] = told["bytes"][kind]
        sums[lot_file(told["lot"], "json")], sizes[lot_file(told["lot"], "json")] = digest, size
    return {"sha256": sums, "bytes": sizes}
