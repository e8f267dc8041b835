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
from biosig_mtl.training.warm_start import PENALTIES, Start, heads_start, ridge_start
from biosig_mtl.types import Fold, Head, WindowTable

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


def test_heads_start_near_where_logistic_regression_ends() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    heads = (Head("classes", (4.0, 6.0)), Head(), Head("rasch", (4.0, 6.0)), Head("binary", (5.0,)))
    logits = np.stack([np.zeros(4000), 0.4 * x[:, 0] - 0.5, -0.3 * x[:, 1]], axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    drawn = (rng.random((4000, 1)) > np.cumsum(shares, axis=1)).sum(1).astype(float)
    told = [drawn, 2.0 * x[:, 1] + 1.0, 1.0 + 0.5 * x[:, 0], np.full(4000, np.nan)]
    subject = np.repeat([f"s{i}" for i in range(40)], 100)
    start = Start(x, np.stack(told, axis=1), subject, np.ones((4, 4000)), 0)
    slopes, offsets = heads_start(start, heads, 3)
    assert slopes.shape == (12, 2)
    first = slopes[:3] - slopes[0]
    assert first[1:] == pytest.approx(np.array([[0.4, 0.0], [0.0, -0.3]]), abs=0.1)
    # At the mean of the inputs the start says the shares that the classes have.
    said = np.exp(offsets[:3] + slopes[:3] @ x.mean(0))
    assert said / said.sum() == pytest.approx(np.bincount(drawn.astype(int)) / 4000, abs=0.01)
    assert slopes[3] == pytest.approx([0.0, 2.0], abs=0.02)
    assert offsets[3] == pytest.approx(1.0, abs=0.02)
    assert not slopes[4:6].any()  # a regression speaks in column 0
    assert slopes[6] == pytest.approx([0.5, 0.0], abs=0.02)
    assert offsets[6] == pytest.approx(0.0, abs=0.02)  # the mean class is where θ is 0
    assert not slopes[9:].any()
    assert not offsets[9:].any()


def test_a_rare_class_does_not_blow_up_its_slopes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    numbers = np.zeros((400, 1))
    numbers[7] = 1.0
    start = Start(x, numbers, np.repeat([f"s{i}" for i in range(20)], 20), np.ones((1, 400)), 0)
    slopes, offsets = heads_start(start, (Head("classes", (4.0, 6.0)),), 3)
    assert np.abs(slopes).max() < 1.0
    assert np.isfinite(offsets).all()
