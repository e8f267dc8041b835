"""Small stores of affect: two modalities as features and as tracks, four clips a person, and recipes that learn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import store
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.types import F32, Features, Head, Track, Windows, WindowTable

NAMES = ("eeg_de.alpha.F3", "eeg_de.alpha.F4", "eeg_asym.alpha.F3-F4", "eda.scl_mean_us", "hr.mean")
TINY = (
    "split.scheme=subject_kfold",
    "split.folds=2",
    "split.negative_control=false",
    "training.epochs=1",
    "training.per_subject=none",
    "model.width=8",
    "model.heads=2",
)
Rate = Callable[[int, int], tuple[float, float]]


def rated(person: int, clip: int) -> tuple[float, float]:
    """Return ratings that every second clip raises."""
    return 2.0 + 2 * clip - 0.5 * (person % 2), 8.0 - 2 * clip + 0.25 * (person % 3)


def one_trial(person: int, clip: int, ratings: tuple[float, float], count: int, source: str) -> tuple[Windows, Features]:
    rng = np.random.default_rng([person, clip])
    waves = rng.normal(size=(count, 2, 64)).astype(np.float32)
    skin = rng.normal(size=(count, 1, 16)).astype(np.float32)
    values = rng.normal(size=(count, len(NAMES))).astype(np.float32)
    values[:, 0] += np.float32(np.nan_to_num(ratings[0]))
    if (person, clip) == (1, 1):
        waves[:], values[:, :3] = np.nan, np.nan
    if (person, clip) == (2, 0):
        skin[:], values[:, 3] = np.nan, np.nan
    name = f"p{person}/clip{clip}"
    windows = Windows(
        record=name,
        subject=f"p{person}",
        session="1",
        fs=32.0,
        onset_s=np.arange(0.0, 2.0 * count, 2.0),
        signal=np.nan_to_num(waves),
        channels=("F3", "F4"),
        kinds=("eeg", "eeg"),
        sqi=np.ones((count, 2), np.float32),
        targets=np.tile(np.array(ratings, np.float32), (count, 1)),
        target_names=("valence", "arousal"),
        facts={
            "window_id": np.array([f"{name}{i}"[-16:] for i in range(count)], "U16"),
            "fingerprints": rng.integers(1, 2**63, (count, 16), dtype=np.uint64),
            "label_source": np.full(count, source),
        },
        stimulus=f"clip{clip}",
    )
    tracks = {"eeg": Track(("F3", "F4"), 32.0, waves), "eda": Track(("eda",), 8.0, skin)}
    return windows, Features(values, NAMES, np.empty((count, 0, 0), np.float32), (), tracks)


def write_store(
    folder: Path,
    rate: Rate = rated,
    *,
    people: Sequence[int] = range(6),
    count: int = 3,
    clips: int = 4,
    source: str = "self",
    dataset: str = "simulated_affect",
) -> Path:
    """Write a finished store of ``count`` windows for each of ``clips`` clips of everybody, a lot a person."""
    store.write_plan(folder, {"affect": 1})
    for number, person in enumerate(people):
        made = [one_trial(person, clip, rate(person, clip), count, source) for clip in range(clips)]
        windows, features = zip(*made, strict=True)
        lot = store.Lot(windows, features, tuple(w.record for w in windows), ())
        store.write_lot(folder, number, lot, {"dataset": dataset, "subject_level": "person"})
    store.finish(folder, len(people))
    return folder


def recipe(*overrides: str) -> Recipe:
    """Return the recipe of the simulated cohort, tiny."""
    return load("demo_affect", [*TINY, *overrides])


def answering(valence: str, arousal: str | None = None) -> str:
    """Return the override that gives both targets a head."""
    told = f"model.answers={{valence: {valence}"
    return f"{told}, arousal: {arousal}}}" if arousal else f"{told}}}"


def memory_table(values: F32, targets: F32, subjects: Sequence[str], heads: tuple[Head, ...] = (), **more: Any) -> WindowTable:
    """Return a table of the first columns of `NAMES`, one record a subject."""
    import pandas as pd

    n = len(subjects)
    index = pd.DataFrame({"subject": list(subjects), "session": "1", "record": list(subjects), "stimulus": ""})
    index = index.assign(onset_s=np.arange(float(n)), sqi=1.0, window_id=[f"w{i}" for i in range(n)])
    nothing = np.empty((n, 0, 0), np.float32)
    given: dict[str, Any] = {"names": NAMES[: values.shape[1]]} | more
    names = given.pop("names")
    return WindowTable(index, values, names, nothing, (), 32.0, targets, ("valence", "arousal"), heads=heads, **given)
