"""A small run and simulated recordings for the tests of streams. Its networks are untrained: no law asks for good ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from biosig_mtl import models, pipeline, recipe
from biosig_mtl.data.synthetic import Cohort, simulate
from biosig_mtl.inference import Predictor
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.training import checkpoint
from biosig_mtl.training.batches import spec_of
from biosig_mtl.training.person import relative
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F32, Channel, Features, Record, Windows, WindowTable

FS = 125.0
NAMES = {"ppg": ("PLETH", "NU"), "ecg": ("II", "mV")}
RATES = {"ppg": FS, "ecg": FS}


@cache
def recording(seconds: int = 420, seed: int = 4, noise: str = "moderate") -> Record:
    """Return a simulated PPG and ECG at 125 Hz."""
    cohort = Cohort(
        n_subjects=1,
        records_per_subject=1,
        record_s=seconds,
        fault_share=0,
        seed=seed,
        noise=noise,  # type: ignore[arg-type]
    )
    made = simulate(cohort, 0)[0].channels
    return Record("r", "s", "1", {n: Channel(n, n, unit, FS, made[word]) for n, (word, unit) in NAMES.items()})


def samples(record: Record, start: int, stop: int) -> dict[str, F32]:
    """Return the samples of every channel between two positions."""
    return {name: channel.samples[start:stop] for name, channel in record.channels.items()}


def cut(record: Record, start_s: float, stop_s: float) -> Record:
    """Return a part of a record as a recording of its own."""
    channels = {
        n: replace(c, samples=c.samples[round(start_s * c.fs) : round(stop_s * c.fs)]) for n, c in record.channels.items()
    }
    return replace(record, channels=channels)


def write_run(folder: Path, *overrides: str, networks: int = 2, rest_s: tuple[float, float] | None = None) -> Path:
    """Write the model of a run on the simulated recording."""
    made = recipe.load("demo_bp", overrides)
    prepared = replace(pipeline.preparation(made).unlabelled(), rest_s=rest_s)
    _, windows, features = prepared.apply(recording())
    rng = np.random.default_rng(0)
    targets = rng.normal((120.0, 70.0), (15.0, 8.0), (len(windows), 2)).astype(np.float32)
    table = relative(_table(windows, features, targets), made.training.get("per_subject", "none"))
    saved = {}
    for number in range(networks):
        torch.manual_seed(number)
        model = models.build("hard_sharing", HardSharingSettings(width=8), spec_of(table))
        place = saved[f"model-seed0-fold{number}-member0"] = folder / "work" / f"n{number}"
        checkpoint.save(place, "hard_sharing", model, Scaler.fit(table, np.arange(len(table))))
    checkpoint.collect(folder / "model", saved, made.to_dict(), {"half_width": [10.0, 6.0]})
    return folder


def _table(windows: Windows, features: Features, targets: F32) -> WindowTable:
    return WindowTable(
        index=pd.DataFrame({"subject": np.full(len(windows), "s"), "onset_s": windows.onset_s}),
        values=features.values,
        names=features.names,
        waveform=features.waveform,
        waveform_channels=features.waveform_channels,
        fs=windows.fs,
        targets=targets,
        target_names=windows.target_names,
    )


def batch(predictor: Predictor, record: Record) -> tuple[pd.DataFrame, dict[float, str]]:
    """Return what the whole recording gives: estimates by onset, and the reasons of refused windows."""
    _, windows, features = predictor.preparation.apply(record)
    refused = {r.onset_s: r.reason for r in windows.rejected}
    return predictor.frame([(windows, features)]).set_index("onset_s"), refused
