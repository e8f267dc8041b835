"""The ridge that a linear skip starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from biosig_mtl import models
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.loop import TrainingData, fit, predict
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.training.warm_start import PENALTIES, ridge_start
from biosig_mtl.types import Fold, WindowTable

MakeTable = Callable[..., WindowTable]


def test_it_finds_a_linear_truth_and_leaves_unknown_targets_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = np.stack([x @ [1.0, -2.0, 0.0, 0.5] + 3.0 + 0.01 * rng.normal(size=300), np.full(300, np.nan)], axis=1)
    subject = np.repeat([f"s{i}" for i in range(60)], 5)
    slopes, offsets = ridge_start(x, y, subject, np.ones(300), 0)
    assert slopes[0] == pytest.approx([1.0, -2.0, 0.0, 0.5], abs=0.02)
    assert offsets[0] == pytest.approx(3.0, abs=0.02)
    assert not slopes[1].any()
    assert offsets[1] == 0.0


def test_noise_is_shrunk_away() -> None:
    rng = np.random.default_rng(0)
    slopes, offsets = ridge_start(
        rng.normal(size=(60, 40)), rng.normal(size=(60, 1)) + 7.0, np.repeat([f"s{i}" for i in range(20)], 3), np.ones(60), 0
    )
    assert np.abs(slopes).max() < 0.1
    assert offsets[0] == pytest.approx(7.0, abs=0.5)


def test_one_subject_gets_the_strongest_penalty() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=(9, 1))
    slopes, _ = ridge_start(x, y, np.full(9, "s"), np.ones(9), 0)
    assert np.abs(slopes).max() < 9 / PENALTIES[-1] * 9


@pytest.mark.parametrize("ordered", [False, True])
def test_a_network_starts_where_ridge_ends(make_table: MakeTable, *, ordered: bool) -> None:
    table = make_table(60)
    fold = Fold(train=np.arange(200), validation=np.arange(0), test=np.arange(200, 240))
    scaler = Scaler.fit(table, fold.train)
    torch.manual_seed(0)
    model = models.build("split_merge", SplitMergeSettings(width=8, stride=8, ordered=ordered), spec_of(table))
    still = TrainingSettings(epochs=1, lr=1e-9, average=0.0)
    fit(model, TrainingData(table, fold, scaler), still, 0)
    error = np.abs(predict(model, table, fold.test, scaler) - table.targets[fold.test]).mean(0)
    plain = np.abs(table.targets[fold.train].mean(0) - table.targets[fold.test]).mean(0)
    assert (error < 0.85 * plain).all()
    torch.manual_seed(0)
    model = models.build("split_merge", SplitMergeSettings(width=8, stride=8, ordered=ordered), spec_of(table))
    fit(model, TrainingData(table, fold, scaler), replace(still, skip_start="zero"), 0)
    told = predict(model, table, fold.test, scaler)
    assert (np.abs(told - table.targets[fold.test]).mean(0) > 0.85 * plain).all()
