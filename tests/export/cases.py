"""Small runs of untrained networks, written as runs write them: what an export looks at, in no time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from biosig_mtl import models
from biosig_mtl.experiment import folder as folders
from biosig_mtl.recipe import Recipe, load
from biosig_mtl.training import Scaler, checkpoint, spec_of
from biosig_mtl.types import Fold, Head, Track, WindowTable

ELECTRODES = ("F3", "F4", "Cz", "O1")


def pressure_table(waveform: bool = True, subjects: int = 12, per: int = 4) -> WindowTable:
    rng = np.random.default_rng(0)
    n = subjects * per
    # Of very different sizes, as features are: what is scaled in single precision shows here.
    values = (rng.normal(size=(n, 6)) * [1, 0.01, 500, 10, 1, 3] + [0, 1000, 60_000, 50, 24, 0]).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    names = ("pulse.a", "pulse.b", "hr.mean", "person.age_years", "person.bmi", "ppg.snr")
    wave = rng.normal(3, 2, (n, 2, 96 if waveform else 0)).astype(np.float32)
    targets = np.stack([rng.normal(120, 15, n), rng.normal(75, 9, n)], axis=1).astype(np.float32)
    return WindowTable(_index(subjects, per), values, names, wave, ("ppg", "vpg"), 32.0, targets, ("sbp", "dbp"))


def affect_table(heads: tuple[Head, ...] = (), subjects: int = 12, per: int = 4) -> WindowTable:
    rng = np.random.default_rng(1)
    n = subjects * per
    eeg = (20 * rng.normal(size=(n, len(ELECTRODES), 128)) + 7).astype(np.float32)
    eda = (5 + rng.normal(size=(n, 1, 40))).astype(np.float32)
    # Whole modalities and single channels are missing, and one electrode is dead.
    eeg[::7], eda[::5], eeg[::3, -1], eeg[1, 0] = np.nan, np.nan, np.nan, 4.0
    names = ("eeg_de.alpha.F3", "eeg_de.alpha.F4", "eeg_asym.alpha", "eda.scl", "hr.mean")
    values = rng.normal(size=(n, 5)).astype(np.float32)
    values[::7, :3] = np.nan
    targets = rng.uniform(1, 9, (n, 2)).astype(np.float32)
    tracks = {"eeg": Track(ELECTRODES, 64.0, eeg), "eda": Track(("eda",), 4.0, eda)}
    bare = np.empty((n, 0, 0), np.float32)
    return WindowTable(_index(subjects, per), values, names, bare, (), 64.0, targets, ("valence", "arousal"), tracks, heads)


def _index(subjects: int, per: int) -> pd.DataFrame:
    n = subjects * per
    subject = np.repeat([f"s{i:02d}" for i in range(subjects)], per)
    words = {"session": "1", "stimulus": "", "dataset": "own"}
    onset = np.tile(8.0 * np.arange(per), subjects)
    ids = [f"{i:016x}" for i in range(n)]
    return pd.DataFrame({"subject": subject, "record": subject, "onset_s": onset, "sqi": 0.9, "window_id": ids, **words})


def folds_of(table: WindowTable, count: int = 2) -> list[Fold]:
    people = np.unique(table.subject)
    folds = []
    for k in range(count):
        test = np.isin(table.subject, people[k::count])
        validation = np.isin(table.subject, people[(k + 1) % count :: count][:1])
        rows = np.flatnonzero
        folds.append(Fold(rows(~test & ~validation), rows(validation & ~test), rows(test), number=k))
    return folds


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Give every number of a network a value: what is born as zero would hide what is forgotten."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and not name.endswith(("live", "target_mean", "target_scale")):
                value.add_(0.2 * torch.randn_like(value))
    return model


def write_run(
    out: Path,
    table: WindowTable,
    model: str = "hard_sharing",
    recipe: Recipe | None = None,
    members: int = 2,
    stretch: float = 1.0,
    extra: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write a run of untrained networks, ``members`` of each of two folds; ``stretch`` makes estimates differ more."""
    torch.manual_seed(0)
    recipe = recipe or load("demo_bp" if "sbp" in table.target_names else "demo_affect")
    folds, saved = folds_of(table), {}
    for fold in folds:
        scaler = Scaler.fit(table, fold.train)
        wide = np.array([1.0 if head.classes else stretch for head in table.head])
        scaler = replace(scaler, target_scale=scaler.target_scale * wide)
        for k in range(members):
            kind = models.MODELS[model].settings
            net = shaken(models.build(model, kind(**{"width": 8, **settings}), spec_of(table))).eval()
            answers: Any = net.answers
            answers.set_target_scale(
                torch.from_numpy(scaler.target_mean).float(), torch.from_numpy(scaler.target_scale).float()
            )
            name = f"model-seed0-fold{fold.number}-member{k}"
            checkpoint.save(out / "saved" / name, model, net, scaler)
            saved[name] = out / "saved" / name
    half = [None if head.classes else 20.0 + j for j, head in enumerate(table.head)]
    checkpoint.collect(out / "model", saved, recipe.to_dict(), {"half_width": half, "interval_level": 0.9, **(extra or {})})
    folders.write_recipe(out, recipe)
    folders.write_folds(out, table, folds)
    return out


def part(table: WindowTable, rows: slice | np.ndarray[Any, Any]) -> WindowTable:
    return replace(
        table,
        index=table.index.iloc[rows].reset_index(drop=True),
        values=table.values[rows],
        waveform=table.waveform[rows],
        targets=table.targets[rows],
        tracks={name: replace(track, signal=track.signal[rows]) for name, track in table.tracks.items()},
    )
