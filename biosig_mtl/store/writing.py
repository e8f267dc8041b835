"""Writing: plan, lots, and the merge that finishes a store."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.store.files import REFERENCE, TRACK, commit, make_folder, parquet, read_json, sha256, sidecar, to_json
from biosig_mtl.types import DataError, Features, Rejected, Windows

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 3


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
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        commit(path, text.encode())


def missing_lots(folder: Path, count: int) -> list[int]:
    """Return the numbers of the lots that are still to be written."""
    return [i for i in range(count) if not all(path.is_file() for path in _files(folder, i))]


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
    shard = save({k: np.ascontiguousarray(v) for k, v in arrays.items()}) if arrays else b""
    table = parquet(_rows(lot, dataset)) if arrays else b""
    first = lot.features[0] if lot.features else None
    content = {
        "lot": number,
        "windows": sum(len(w) for w in lot.windows),
        "sha256": {"safetensors": sha256(shard), "parquet": sha256(table)},
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
    commit(base, to_json(content).encode())
    return content


def finish(
    folder: Path, count: int, rejected: Iterable[Rejected] = (), about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Merge the lots into one index; return the summary that is also written as ``store.json``.

    ``rejected`` are records that were refused before any lot (at listing). ``about`` is what a reader should be told of the
    data whatever is done with them: ``simulated``, and ``reasons`` why features cannot be known from such windows.
    """
    import pandas as pd

    sidecars = [read_json(sidecar(folder, i), "windows") for i in range(count)]
    full = [s for s in sidecars if s["windows"]]
    for key in ("names", "waveform_channels", "target_names", "fs", "tracks", REFERENCE):
        if any(s.get(key) != full[0].get(key) for s in full):
            hint = ", with the hz of every track in the recipe" if key == "tracks" else ""
            raise DataError(f"{folder}: the lots do not agree on their {key}; delete this folder and run prepare again{hint}")
    frames = [pd.read_parquet(sidecar(folder, s["lot"]).with_suffix(".parquet")) for s in full]
    for s, frame in zip(full, frames, strict=True):
        frame.insert(0, "lot", s["lot"])
    index = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    commit(folder / "index.parquet", parquet(index))
    refused = [(r.record, None if math.isnan(r.onset_s) else r.onset_s, r.reason) for r in rejected]
    refused += [tuple(row) for s in sidecars for row in s["rejected"]]
    used = sorted(set(index["record"])) if len(index) else []
    worked = {r for s in sidecars for r in s["records"]}
    silent = worked - set(used) - {r for r, _, _ in refused}
    refused += [(r, None, "shorter than one window") for r in sorted(silent)]
    refused = list(dict.fromkeys(refused))  # every piece of a long record says again why the whole of it cannot be used
    commit(folder / "rejected.csv", rejected_csv(refused).encode())
    records = worked | {r for r, _, _ in refused}
    windows = len(index)
    summary = {
        "format": FORMAT,
        "lots": count,
        "windows": windows,
        "windows_rejected": sum(onset is not None for _, onset, _ in refused),
        "records": len(records),
        "records_used": len(used),
        "records_rejected": len(records) - len(used),
        "notes": [note for s in sidecars for note in s["notes"]],
        "about": dict(about or {}),
        "subjects": int(index["subject"].nunique()) if windows else 0,
        "sha256": {name: sha256((folder / name).read_bytes()) for name in ("index.parquet", "rejected.csv", "plan.json")}
        | {f"lots/{s['lot']:05d}.{kind}": s["sha256"][kind] for s in sidecars for kind in ("safetensors", "parquet")}
        | {f"lots/{s['lot']:05d}.json": sha256(sidecar(folder, s["lot"]).read_bytes()) for s in sidecars},
    }
    for leftover in (*folder.glob(".*.tmp"), *folder.glob("lots/.*.tmp")):  # of writers that were killed
        leftover.unlink(missing_ok=True)
    commit(folder / "store.json", to_json(summary).encode())
    return summary


def rejected_csv(rows: Iterable[tuple[str, float | str | None, str]]) -> str:
    """Return ``rejected.csv``: a header, and a row each; the onset is empty where a whole record was refused."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["record", "onset_s", "reason"])
    writer.writerows([record, "" if onset is None else onset, reason] for record, onset, reason in rows)
    return text.getvalue()


def _files(folder: Path, number: int) -> tuple[Path, Path, Path]:
    base = sidecar(folder, number)
    return base, base.with_suffix(".safetensors"), base.with_suffix(".parquet")


def _arrays(lot: Lot) -> dict[str, NDArray[Any]]:
    pairs = [(w, f) for w, f in zip(lot.windows, lot.features, strict=True) if len(w)]
    if not pairs:
        return {}
    return {
        "values": np.concatenate([f.values for _, f in pairs]),
        "waveform": np.concatenate([f.waveform for _, f in pairs]),
        "targets": np.concatenate([w.targets for w, _ in pairs]),
        "fingerprints": np.concatenate([w.facts["fingerprints"] for w, _ in pairs]),
        **{f"{TRACK}{name}": _track(name, [f for _, f in pairs]) for name in pairs[0][1].tracks},
        **({REFERENCE: np.concatenate(told)} if (told := [w.reference.signal for w, _ in pairs if w.reference]) else {}),
    }


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

    return pd.concat([_frame(w, dataset) for w in lot.windows if len(w)], ignore_index=True)


def _frame(windows: Windows, dataset: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

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
    return pd.DataFrame(columns)
