"""Lots with random content that depends on their number alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import store
from biosig_mtl.store import Lot
from biosig_mtl.types import Features, Rejected, Windows

DATASET: Mapping[str, Any] = {"dataset": "demo", "subject_level": "person"}
NAMES = ("pulse.a", "hr.b")


def one_record(rng: np.random.Generator, name: str, n: int) -> tuple[Windows, Features]:
    signal = rng.normal(0, 1, (n, 2, 50)).astype(np.float32)
    windows = Windows(
        record=name,
        subject=f"{name}-é",
        session="1",
        fs=25.0,
        onset_s=np.arange(0.0, 2.0 * n, 2.0),
        signal=signal,
        channels=("ppg", "ecg"),
        kinds=("ppg", "ecg"),
        sqi=rng.random((n, 2)).astype(np.float32),
        targets=rng.normal(100, 9, (n, 2)).astype(np.float32),
        target_names=("sbp", "dbp"),
        facts={
            "window_id": np.array([f"{name}{i}" for i in range(n)], "U16"),
            "fingerprints": rng.integers(1, 2**63, (n, 16), dtype=np.uint64),
            "n_beats": np.arange(n),
        },
    )
    values = rng.normal(0, 1, (n, len(NAMES))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    return windows, Features(values, NAMES, signal[:, :1] * 2, ("ppg_8hz",))


def a_lot(number: int, records: int = 3) -> Lot:
    rng = np.random.default_rng(number)
    names = [f"r{number:02d}{i}" for i in range(records)]
    made = [one_record(rng, name, int(rng.integers(0, 6))) for name in names]
    return Lot(
        windows=tuple(w for w, _ in made),
        features=tuple(f for _, f in made),
        records=(*names, f"bad{number}"),
        rejected=(Rejected(names[0], 4.0, "flat ppg"), Rejected(f"bad{number}", float("nan"), 'cannot, be "read"')),
        notes=((names[0], "one channel is missing"),),
        examples=({"title": names[0]},),
    )


@pytest.fixture(scope="session")
def lot() -> Callable[..., Lot]:
    """Return the maker of lots."""
    return a_lot


@pytest.fixture(scope="session")
def record_of() -> Callable[[np.random.Generator, str, int], tuple[Windows, Features]]:
    """Return the maker of the windows and features of one record."""
    return one_record


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Return the reader of all bytes below a folder."""
    return lambda folder: {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def write_store(lot: Callable[..., Lot]) -> Callable[..., Path]:
    """Return the writer of whatever lots are missing, and of the end where none is."""

    def written(folder: Path, count: int = 3) -> Path:
        store.write_plan(folder, {"lots": count})
        for i in store.missing_lots(folder, count):
            store.write_lot(folder, i, lot(i), DATASET)
        if not store.is_finished(folder):
            store.finish(folder, count)
        return folder

    return written


@pytest.fixture(scope="session")
def as_before() -> Callable[[Path], Path]:
    """Return what makes a finished store one of format 3: digests of whole files only, no seals, no sizes."""

    def stripped(folder: Path) -> Path:
        told = json.loads((folder / "store.json").read_text())
        for number in range(told["lots"]):
            path = folder / "lots" / f"{number:05d}.json"
            content = json.loads(path.read_text())
            for key in ("seal", "bytes", "arrays"):
                del content[key]
            path.write_text(json.dumps(content))
            told["sha256"][f"lots/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
        for key in ("seal", "bytes", "held"):
            del told[key]
        (folder / "store.json").write_text(json.dumps({**told, "format": 3}))
        return folder

    return stripped
