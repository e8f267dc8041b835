"""Small trained networks and window tables for what is done with them afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from biosig_mtl import experiment, pipeline
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.recipe import load
from biosig_mtl.types import Batch, Head, InputSpec, TrackSpec, WindowTable

MakeTable = Callable[..., WindowTable]
PLAIN = InputSpec(("ppg", "vpg"), 96, ("pulse.a", "pulse.b", "person.age"), ("sbp", "dbp"))
TRACKS = (TrackSpec("eeg", ("F3", "F4", "Cz"), 128, 64.0), TrackSpec("eda", ("eda",), 40, 4.0))
SEVERAL = InputSpec((), 0, ("eeg_de.alpha.F3", "eeg_de.alpha.Cz", "eda.scl"), ("valence", "arousal"), TRACKS)
ORDINAL = Head("ordinal", (3.0, 5.0, 7.0))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


def windows(spec: InputSpec, size: int = 7, seed: int = 0) -> Batch:
    """Return a batch of noise, in which some features are missing."""
    rng = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(size, len(spec.waveform_channels), spec.samples, generator=rng),
        torch.randn(size, len(spec.features), generator=rng),
        torch.rand(size, len(spec.features), generator=rng) < 0.2,
        torch.randn(size, len(spec.targets), generator=rng),
        torch.ones(size),
        {t.name: torch.randn(size, len(t.channels), t.samples, generator=rng) for t in spec.tracks},
        {t.name: torch.ones(size, len(t.channels), dtype=torch.bool) for t in spec.tracks},
    )


def small_table(subjects: int = 16, per: int = 5, seed: int = 0) -> WindowTable:
    """Return a table whose pressures and third number come from the features."""
    rng = np.random.default_rng(seed)
    n = subjects * per
    values = rng.normal(size=(n, 3)).astype(np.float32)
    sbp, dbp = 120 + 9 * values[:, 0], 75 + 5 * values[:, 1]
    index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(subjects)], per), "map": (2 * dbp + sbp) / 3})
    waveform = rng.normal(size=(n, 2, 96)).astype(np.float32)
    targets = np.stack([sbp, dbp], axis=1).astype(np.float32)
    return WindowTable(index, values, PLAIN.features, waveform, PLAIN.waveform_channels, 32.0, targets, PLAIN.targets)


@dataclass(frozen=True)
class Run:
    """A finished run, the folder of its stores, and a store of the same windows with the heart rate among its features."""

    folder: Path
    stores: Path
    with_rate: Path


TINY = (
    "split.folds=2", "training.epochs=2", "training.ensemble=1", "model.width=8", "model.heads=2", "split.ablations=[]",
    "model.kernel_landmarks=8", "split.negative_control=false",
)  # fmt: skip


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = write(Cohort(n_subjects=12, records_per_subject=1, record_s=30, fault_share=0.1), tmp_path_factory.mktemp("d") / "c")
    stores, out = tmp_path_factory.mktemp("s"), tmp_path_factory.mktemp("r") / "run"
    recipe = load("demo_bp", (*TINY, "features.families=[perfusion, person]"))
    experiment.run(recipe, [pipeline.prepare(recipe, root, stores)], out)
    with_rate = pipeline.prepare(load("demo_bp", (*TINY, "features.families=[rate]")), root, stores)
    return Run(out, stores, with_rate)
