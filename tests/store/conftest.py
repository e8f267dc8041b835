"""Lots with random content that depends on their number alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
