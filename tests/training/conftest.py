"""Small window tables with a known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from biosig_mtl.types import Head, Track, WindowTable

MakeTable = Callable[..., WindowTable]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_table() -> MakeTable:
    """Return a maker of tables: ``subjects`` × ``per`` windows, pressures that depend on features and on the waveform."""

    def make(subjects: int = 20, per: int = 4, samples: int = 64, seed: int = 0) -> WindowTable:
        rng = np.random.default_rng(seed)
        n = subjects * per
        values = rng.normal(size=(n, 6)).astype(np.float32)
        rate = rng.uniform(1.0, 2.0, n)
        time = np.arange(samples) / 32
        waveform = np.sin(2 * np.pi * rate[:, None] * time)[:, None].repeat(2, axis=1) + 0.05 * rng.normal(size=(n, 2, samples))
        sbp = 125 + 10 * values[:, 0] + 8 * (rate - 1.5) + 4 * values[:, 3] ** 2
        dbp = 75 + 4 * values[:, 1] - 6 * (rate - 1.5)
        values[rng.random(values.shape) < 0.05] = np.nan
        index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(subjects)], per)})
        names = ("pulse.a", "pulse.b", "hr.mean", "person.age", "person.bmi", "ppg.snr")
        targets = np.stack([sbp, dbp], axis=1).astype(np.float32)
        return WindowTable(index, values, names, waveform.astype(np.float32), ("ppg", "vpg"), 32.0, targets, ("sbp", "dbp"))

    return make


@pytest.fixture
def make_affect() -> MakeTable:
    """Return a maker of tables with EEG and EDA: valence is in the EEG's power at 10 Hz, arousal in both, both on 1…9.

    Every seventh window has no EEG, every eleventh no EDA; the last electrode is missing in every fifth.
    """

    def make(
        subjects: int = 20,
        per: int = 4,
        heads: tuple[Head, ...] = (),
        electrodes: tuple[str, ...] = ("F3", "F4", "Cz", "O1"),
        seed: int = 0,
    ) -> WindowTable:
        rng = np.random.default_rng(seed)
        n = subjects * per
        moved, calm = rng.normal(size=(2, n))
        time = np.arange(128) / 64
        alpha = np.exp(0.8 * moved)[:, None, None] * np.sin(
            2 * np.pi * (10 * time + rng.uniform(0, 1, (n, len(electrodes), 1)))
        )
        eeg = (20 * (alpha + rng.normal(size=alpha.shape))).astype(np.float32)
        eda = (5 + calm[:, None, None] + 0.1 * rng.normal(size=(n, 1, 40))).astype(np.float32)
        eeg[::7], eda[::11], eeg[::5, -1] = np.nan, np.nan, np.nan
        names = ("eeg_de.alpha.F3", "eeg_de.alpha.F4", "eeg_asym.alpha", "eda.scl", "hr.mean")
        told = [moved, moved, rng.normal(size=n), calm, rng.normal(size=n)]
        values = (np.stack(told, axis=1) + 0.5 * rng.normal(size=(n, 5))).astype(np.float32)
        values[::7, :3] = np.nan
        targets = np.stack([5 + 1.5 * moved, 5 + moved + calm], axis=1).clip(1, 9).astype(np.float32)
        index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(subjects)], per)})
        tracks = {"eeg": Track(electrodes, 64.0, eeg), "eda": Track(("eda",), 4.0, eda)}
        empty = np.empty((n, 0, 0), np.float32)
        return WindowTable(index, values, names, empty, (), 64.0, targets, ("valence", "arousal"), tracks, heads)

    return make
