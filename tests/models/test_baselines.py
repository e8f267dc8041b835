"""Baselines: known truths, nothing outside the training rows, honest refusals, speed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.models import baselines
from biosig_mtl.types import RecipeError, WindowTable

NAMES = ("person.age_years", "person.bmi", "person.bmi.missing", "hr.mean_per_min", "pulse.a", "pulse.b", "pulse.empty")


def make_table(n_subjects: int = 60, seed: int = 0, *, person: bool = True) -> WindowTable:
    rng = np.random.default_rng(seed)
    n = 3 * n_subjects
    values = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    values[:, 2] = 0.0
    values[:, 6] = np.nan
    if not person:
        values[:, :3] = np.nan
    shown = np.where(np.isnan(values), 0.0, values)
    sbp = 125 + 8 * shown[:, 0] + 5 * shown[:, 3] + 4 * shown[:, 4] + rng.normal(size=n)
    dbp = 75 + 3 * shown[:, 1] + 2 * shown[:, 5] ** 2
    values[rng.random(values.shape) < 0.02] = np.nan
    index = pd.DataFrame({"subject": np.repeat([f"s{i}" for i in range(n_subjects)], 3)})
    targets = np.stack([sbp, dbp], 1).astype(np.float32)
    return WindowTable(index, values, NAMES, np.empty((n, 0, 0), np.float32), (), 125.0, targets, ("sbp", "dbp"))


@pytest.mark.parametrize("name", baselines.PRESSURE)
def test_every_baseline_sees_training_rows_only(name: str) -> None:
    table = make_table()
    rows = np.arange(120)
    fitted = baselines.fit(name, table, rows)
    assert np.array_equal(fitted.fitted_rows, rows)
    spoiled = WindowTable(
        table.index, table.values.copy(), table.names, table.waveform, (), 125.0, table.targets.copy(), table.target_names
    )
    spoiled.values[120:] = 1e6
    spoiled.targets[120:] = -1e6
    again = baselines.fit(name, spoiled, rows)
    first, second = fitted.predict(table.values), again.predict(table.values)
    assert first is not None
    assert second is not None
    assert first.shape == (180, 2)
    assert np.isfinite(first).all()
    assert np.array_equal(first, second)


def test_constants_are_weighted_mean_and_median() -> None:
    table = make_table()
    rows = np.arange(5)
    weight = np.array([1, 1, 1, 1, 6], np.float32)
    mean = baselines.fit("train_mean", table, rows, weight).predict(table.values[:1])
    median = baselines.fit("train_median", table, rows, weight).predict(table.values[:1])
    assert mean is not None
    assert median is not None
    assert mean[0] == pytest.approx(np.average(table.targets[:5], axis=0, weights=weight), rel=1e-6)
    assert median[0] == pytest.approx(table.targets[4])
    plain = baselines.fit("train_median", table, rows).predict(table.values[:1])
    assert plain is not None
    assert plain[0] == pytest.approx(np.median(table.targets[:5], axis=0))


def test_ridge_finds_a_linear_truth_that_parts_of_the_features_cannot() -> None:
    table = make_table()
    error = {}
    for name in ("train_mean", "demographics", "heart_rate", "ridge"):
        told = baselines.fit(name, table, np.arange(120)).predict(table.values[120:])
        assert told is not None
        error[name] = float(np.abs(told - table.targets[120:])[:, 0].mean())
    assert error["ridge"] < 0.35 * error["train_mean"]
    assert error["ridge"] < error["demographics"] < error["train_mean"]
    assert error["ridge"] < error["heart_rate"] < error["train_mean"]


def test_ridge_equals_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(40, 3)), rng.normal(size=40), rng.random(40)
    solved = baselines._solve(x, y, w, np.array([2.0]))[:, 0]
    centred, target = x - np.average(x, axis=0, weights=w), y - np.average(y, weights=w)
    slope = np.linalg.solve(centred.T @ (w[:, None] * centred) + 2.0 * np.eye(3), centred.T @ (w * target))
    assert solved[1:] == pytest.approx(slope)
    assert solved[0] == pytest.approx(np.average(y, weights=w) - np.average(x, axis=0, weights=w) @ slope)


def test_boosting_finds_what_is_not_linear() -> None:
    table = make_table(200)
    told = {}
    for name in ("ridge", "gradient_boosting"):
        answer = baselines.fit(name, table, np.arange(450), seed=1).predict(table.values[450:])
        assert answer is not None
        told[name] = np.abs(answer - table.targets[450:])[:, 1].mean()
    assert told["gradient_boosting"] < told["ridge"]


def test_rows_are_repeated_as_their_weight_says() -> None:
    assert np.array_equal(baselines._replicated(np.ones(7)), np.arange(7))
    counts = np.bincount(baselines._replicated(np.array([1.0, 3.0, 0.0, 4.0])), minlength=4)
    assert counts.tolist() == [1, 1, 0, 2] or counts.tolist() == [0, 2, 0, 2]


def test_unknown_targets_do_not_count() -> None:
    table = make_table()
    targets = table.targets.copy()
    targets[:60, 1] = np.nan
    partial = WindowTable(table.index, table.values, table.names, table.waveform, (), 125.0, targets, table.target_names)
    told = baselines.fit("train_mean", partial, np.arange(120)).predict(table.values[:1])
    assert told is not None
    assert told[0, 1] == pytest.approx(table.targets[60:120, 1].mean(), rel=1e-6)
    targets[:, 1] = np.nan
    absent = baselines.fit("train_mean", partial, np.arange(120))
    assert absent.predict(table.values) is None
    assert "'dbp' is unknown" in absent.reason


def test_a_baseline_that_cannot_be_fitted_says_why() -> None:
    fitted = baselines.fit("demographics", make_table(person=False), np.arange(120))
    assert fitted.predict(np.zeros((1, 7))) is None
    assert "no 'person.…' feature" in fitted.reason
    with pytest.raises(RecipeError, match="choose from train_mean"):
        baselines.fit("deep", make_table(), np.arange(3))


def test_one_subject_is_enough_for_ridge() -> None:
    told = baselines.fit("ridge", make_table(), np.arange(3)).predict(make_table().values)
    assert told is not None
    assert np.isfinite(told).all()
