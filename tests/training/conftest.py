"""Small window tables with a known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from biosig_mtl.types import WindowTable

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
