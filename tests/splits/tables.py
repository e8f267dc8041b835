"""Window tables of people whose windows know their recording, stimulus and time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from biosig_mtl.types import Fold, WindowTable

LENGTH_S = 4.0
QUADRANTS = {"HVHA": (7.5, 7.0), "HVLA": (7.0, 2.5), "LVHA": (2.0, 7.5), "LVLA": (2.5, 3.0)}


def table_of(subject: Any, targets: Any, names: tuple[str, ...] = ("sbp", "dbp"), **columns: Any) -> WindowTable:
    """Return one window a row; without further columns each is a recording of its own, under no stimulus."""
    n = len(subject)
    plain = {
        "session": "1",
        "stimulus": "",
        "record": [f"r{i}" for i in range(n)],
        "onset_s": np.zeros(n),
        "end_s": np.full(n, LENGTH_S),
    }
    index = pd.DataFrame({"subject": np.asarray(subject, str), "dataset": "demo", **(plain | columns)})
    return WindowTable(
        index,
        np.zeros((n, 1), np.float32),
        ("a",),
        np.zeros((n, 1, 4), np.float32),
        ("ppg",),
        125.0,
        np.asarray(targets, np.float32).reshape(n, len(names)),
        names,
    )


def random_table(seed: int, people: int, holes: float = 0.1) -> WindowTable:
    """Return windows of pressures, a few for each person, in no order."""
    rng = np.random.default_rng(seed)
    subject = np.repeat([f"s{i}" for i in rng.permutation(people)], rng.integers(1, 9, people))
    base = {name: rng.normal(mean, 25, 2) for name, mean in zip(np.unique(subject), rng.normal(110, 20, people), strict=True)}
    targets = np.array([base[s] + rng.normal(0, 3, 2) - [0, 30] for s in subject])
    targets[rng.random(targets.shape) < holes] = np.nan
    order = rng.permutation(subject.size)
    return table_of(subject[order], targets[order])


def affect_table(seed: int = 0, people: int = 9, versions: int = 2, windows: int = 12, stride_s: float = 2.0) -> WindowTable:
    """Return overlapping windows of trials: every person rates ``versions`` stimuli of every quadrant, once each.

    Stimuli are named after their quadrant and version (``HVHA1``); a trial is one recording, and its windows are in no order.
    """
    rng = np.random.default_rng(seed)
    stimuli = [f"{quadrant}{k + 1}" for quadrant in QUADRANTS for k in range(versions)]
    rows = [
        (f"p{p}", name, f"p{p}_{name}", 1.0 + stride_s * k, rating[0], rating[1])
        for p in range(people)
        for name in stimuli
        for rating in [np.clip(np.add(QUADRANTS[name[:4]], rng.normal(0, 0.8, 2)), 1, 9)]
        for k in range(windows)
    ]
    frame = pd.DataFrame(rows, columns=["subject", "stimulus", "record", "onset_s", "valence", "arousal"])
    frame = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    columns = {key: frame[key].to_numpy() for key in ("stimulus", "record", "onset_s")} | {"end_s": frame["onset_s"] + LENGTH_S}
    return table_of(frame["subject"], frame[["valence", "arousal"]].to_numpy(), ("valence", "arousal"), **columns)


def people(table: WindowTable, rows: Any) -> set[str]:
    """Return who the windows are of."""
    return set(table.subject[rows])


def digest(folds: Iterable[Fold]) -> str:
    """Return 16 hex digits that tell whether folds are the same, window by window."""
    found = hashlib.sha256()
    for fold in folds:
        found.update(f"{fold.seed} {fold.number} {fold.leaky}".encode())
        for part, rows in fold.parts().items():
            found.update(part.encode() + rows.astype("<i8").tobytes())
    return found.hexdigest()[:16]
