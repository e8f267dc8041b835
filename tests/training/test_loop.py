"""The training loop: learns, repeats itself bit by bit, goes on after a kill, reads no test window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from biosig_mtl import models
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training.batches import NO_AUGMENTATION, Scaler, spec_of
from biosig_mtl.training.loop import FitResult, TrainingData, fit, predict
from biosig_mtl.training.packing import pack
from biosig_mtl.training.precision import bf16_pays
from biosig_mtl.training.scoring import subject_mae
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.training.state import fingerprint
from biosig_mtl.types import DataError, Fold, WindowTable

MakeTable = Callable[..., WindowTable]
FOLD = Fold(train=np.arange(48), validation=np.arange(48, 64), test=np.arange(64, 80))
QUICK = TrainingSettings(epochs=4, batch_size=16, mi_ramp_epochs=2, patience=0)


def network(table: WindowTable, seed: int = 0, **words: Any) -> nn.Module:
    torch.manual_seed(seed)
    small = {"width": 8, "heads": 2, "stride": 8, "merge": "gate"}
    return models.build("split_merge", SplitMergeSettings(**{**small, **words}), spec_of(table))


def trained(table: WindowTable, settings: TrainingSettings, seed: int = 0, **words: Any) -> tuple[nn.Module, FitResult]:
    model = network(table, **words)
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train))
    return model, fit(model, data, settings, seed)


def same(first: FitResult, second: FitResult) -> bool:
    weights = first.state.keys() == second.state.keys() and all(
        torch.equal(first.state[k], second.state[k]) for k in first.state
    )
    return weights and repr(first.history) == repr(second.history) and first.best_epoch == second.best_epoch


@pytest.mark.parametrize("merge", ["cross_attention", "gate"])
def test_it_can_learn_32_windows_by_heart(make_table: MakeTable, merge: str) -> None:
    table = make_table(8)
    fold = Fold(train=np.arange(32), validation=np.arange(0), test=np.arange(0))
    scaler = Scaler.fit(table, fold.train)
    settings = TrainingSettings(
        epochs=120, batch_size=32, lr=1e-2, weight_decay=0.0, loss="mse", average=0.0, augmentation=NO_AUGMENTATION
    )
    model = network(table, merge=merge, dropout=0.0, linear_skip=False, width=16)
    found = fit(model, TrainingData(table, fold, scaler), settings, 0)
    error = predict(model, table, fold.train, scaler) - table.targets
    assert (1 - (error**2).mean(0) / table.targets.var(0) > 0.95).all()
    assert any("no validation windows" in w for w in found.warnings)
    assert found.best_epoch == 119


def test_it_learns_what_holds_for_new_subjects(make_table: MakeTable) -> None:
    table = make_table(60)
    fold = Fold(train=np.arange(160), validation=np.arange(160, 200), test=np.arange(200, 240))
    scaler = Scaler.fit(table, fold.train)
    model = network(table)
    found = fit(model, TrainingData(table, fold, scaler), TrainingSettings(epochs=25, batch_size=32, lr=5e-3), 0)
    error = np.abs(predict(model, table, fold.test, scaler) - table.targets[fold.test]).mean(0)
    plain = np.abs(table.targets[fold.train].mean(0) - table.targets[fold.test]).mean(0)
    assert (error < 0.8 * plain).all()
    assert found.best_score == min(row["validation"] for row in found.history)
    assert not model.training


def test_shuffled_labels_teach_nothing(make_table: MakeTable) -> None:
    table = make_table(60)
    fold = Fold(train=np.arange(160), validation=np.arange(160, 200), test=np.arange(200, 240))
    truth = table.targets.copy()
    table.targets[:200] = np.random.default_rng(0).permutation(table.targets[:200])
    scaler = Scaler.fit(table, fold.train)
    model = network(table)
    fit(model, TrainingData(table, fold, scaler), TrainingSettings(epochs=15, batch_size=32), 0)
    error = np.abs(predict(model, table, fold.test, scaler) - truth[fold.test]).mean(0)
    plain = np.abs(np.median(truth[fold.train], axis=0) - truth[fold.test]).mean(0)
    assert (error > 0.9 * plain).all()


# ------------------------------------------------------------------------------------------------------------ determinism
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(make_table: MakeTable) -> None:
    table = make_table()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    runs = []
    for seed in (0, 0, 1):
        with torch.random.fork_rng(devices=[]):
            model = network(table)
        data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train))
        runs.append(fit(model, data, QUICK, seed))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_test_windows_are_never_read(make_table: MakeTable) -> None:
    table = make_table()
    _, expected = trained(table, QUICK)
    table.values[64:], table.targets[64:], table.waveform[64:] = 1e6, -1e6, np.nan
    _, found = trained(table, QUICK)
    assert same(expected, found)


@pytest.mark.parametrize("weights", [{"mi_weight": 0.0}, {"mi": "none"}])
def test_a_weight_of_zero_is_the_same_as_no_term(make_table: MakeTable, weights: dict[str, Any]) -> None:
    table = make_table()
    _, without = trained(table, replace(QUICK, mi="none", mi_weight=0.1))
    _, zero = trained(table, replace(QUICK, **weights))
    assert all(torch.equal(without.state[k], zero.state[k]) for k in zero.state)
    _, more = trained(table, replace(QUICK, mi_weight=5.0))
    assert not all(torch.equal(without.state[k], more.state[k]) for k in more.state)


class _KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"mi": "vclub", "weighting": "uncertainty", "average": 0.0},
        {"mi": "xcov", "weighting": "dwa", "average": 0.9},
        {"weighting": "upgrad", "flat_radius": 0.05},
        {"weighting": "pcgrad"},
        {"weighting": "graddrop", "mi": "vclub"},
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(make_table: MakeTable, tmp_path: Path, words: dict[str, Any]) -> None:
    table = make_table()
    settings = replace(QUICK, epochs=6, **words)
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train))
    expected = fit(network(table), data, settings, 7)

    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == 3:
            raise _KilledError

    with pytest.raises(_KilledError):
        fit(network(table), data, settings, 7, tmp_path, kill)
    seen: list[float] = []
    # The network given the second time has another start: everything comes from the state.
    found = fit(network(table, seed=99), data, settings, 7, tmp_path, lambda row: seen.append(row["epoch"]))
    assert seen == [4, 5]
    assert same(expected, found)
    again = fit(network(table, seed=99), data, settings, 7, tmp_path, lambda row: seen.append(row["epoch"]))
    assert seen == [4, 5]
    assert same(expected, again)


def test_the_state_of_another_run_or_a_broken_one_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train))
    fit(network(table), data, replace(QUICK, epochs=1), 0, tmp_path)
    with pytest.raises(DataError, match="other settings, seed or windows"):
        fit(network(table), data, replace(QUICK, epochs=1), 1, tmp_path)
    (tmp_path / "state.safetensors").write_bytes(pack({"fingerprint": name_of(data), "state": {"model": {}}}))
    with pytest.raises(DataError, match="the training state does not fit the network"):
        fit(network(table), data, replace(QUICK, epochs=1), 0, tmp_path)
    (tmp_path / "state.safetensors").write_bytes(pack({"fingerprint": name_of(data), "state": [1]}))
    with pytest.raises(DataError, match="not readable as a training state"):
        fit(network(table), data, replace(QUICK, epochs=1), 0, tmp_path)


def name_of(data: TrainingData) -> str:
    return fingerprint(replace(QUICK, epochs=1), 0, data.fold)


# --------------------------------------------------------------------------------------------------------------- settings
def test_early_stopping_keeps_the_best_epoch(make_table: MakeTable) -> None:
    table = make_table()
    model, found = trained(table, replace(QUICK, epochs=80, patience=3, lr=0.02))
    scores = [row["validation"] for row in found.history]
    assert len(scores) < 80
    assert found.best_epoch == int(np.argmin(scores)) == len(scores) - 4
    scaler = Scaler.fit(table, FOLD.train)
    told = predict(model, table, FOLD.validation, scaler)
    errors = (told - table.targets[FOLD.validation]) / scaler.target_scale
    assert subject_mae(errors, table.subject[FOLD.validation]).mean() == pytest.approx(min(scores), rel=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        {"loss": "mae"},
        {"weighting": "fixed", "fixed_weights": (1.0, 0.5)},
        {"amp": "bf16"},
        {"amp": "auto"},
        {"mask_coverage_weight": 0.5},
        {"private_head_weight": 0.0},
        {"weighting": "mgda", "mask_coverage_weight": 0.5, "amp": "bf16"},
        {"weighting": "uncertainty", "flat_radius": 0.05},
        {"average": 0.0, "mi_pairs": "private"},
    ],
)
def test_every_choice_trains(make_table: MakeTable, words: dict[str, Any]) -> None:
    table = make_table()
    _, found = trained(table, replace(QUICK, epochs=2, **words))
    assert math.isfinite(found.history[-1]["loss"])
    assert math.isfinite(found.best_score)


@pytest.mark.parametrize("name", sorted(models.MODELS))
def test_every_model_trains_and_predicts(make_table: MakeTable, make_affect: MakeTable, name: str) -> None:
    table = make_affect() if name == "histn" else make_table()
    torch.manual_seed(0)
    model = models.build(name, models.MODELS[name].settings(width=8), spec_of(table))
    scaler = Scaler.fit(table, FOLD.train)
    fit(model, TrainingData(table, FOLD, scaler), replace(QUICK, epochs=1), 0)
    told = predict(model, table, FOLD.test, scaler)
    assert told.shape == (16, 2)
    assert told.dtype == np.float64
    twice = predict([model, model], table, FOLD.test, scaler)
    assert told == pytest.approx(twice)
    assert predict(model, table, FOLD.test[:0], scaler).shape == (0, 2)
    assert predict(model, table, FOLD.test[3:4], scaler)[0] == pytest.approx(told[3], abs=1e-3)


def test_ordered_pressures_are_ordered_after_training(make_table: MakeTable) -> None:
    table = make_table()
    model, _ = trained(table, QUICK, ordered=True, min_pulse_pressure_mmhg=30.0)
    told = predict(model, table, np.arange(80), Scaler.fit(table, FOLD.train))
    assert (told[:, 0] - told[:, 1] > 30.0 - 1e-3).all()


def test_small_batches_are_counted(make_table: MakeTable) -> None:
    table = make_table()
    _, found = trained(table, replace(QUICK, batch_size=22, mi_ramp_epochs=0))  # 22 + 22 + 4
    assert [row["mi_skipped"] for row in found.history] == [1, 1, 1, 1]
    assert all(math.isfinite(row["mi"]) for row in found.history)


def test_a_target_may_be_missing_in_a_batch_in_an_epoch_and_in_validation(make_table: MakeTable) -> None:
    table = make_table()
    table.targets[2:64, 1] = np.nan
    model, found = trained(table, replace(QUICK, weighting="dwa"))
    assert all(math.isfinite(row["loss"]) for row in found.history)
    assert any("'dbp' is unknown in all validation windows" in w for w in found.warnings)
    assert np.isfinite(predict(model, table, FOLD.test, Scaler.fit(table, FOLD.train))).all()


def test_a_loss_that_is_not_finite_stops_the_run(make_table: MakeTable) -> None:
    table = make_table()
    model = network(table)
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    data = TrainingData(table, FOLD, Scaler.fit(table, FOLD.train))
    with pytest.raises(DataError, match="not finite in epoch 0"):
        fit(model, data, QUICK, 0)


def test_the_last_epoch_being_the_best_is_told(make_table: MakeTable) -> None:
    _, found = trained(make_table(), replace(QUICK, epochs=2, lr=1e-4))
    assert any("train longer" in w for w in found.warnings)


def test_subject_mae_weighs_subjects_alike_and_skips_the_unknown() -> None:
    errors = np.array([[1.0, np.nan], [3.0, 2.0], [-10.0, np.nan], [np.nan, np.nan]])
    subject = np.array(["a", "a", "b", "c"])
    assert subject_mae(errors, subject).tolist() == [6.0, 2.0]
    assert np.isnan(subject_mae(errors * np.nan, subject)).all()


def test_the_timing_trial_leaves_network_and_chance_alone(make_table: MakeTable) -> None:
    table = make_table()
    model = network(table)
    before, chance = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    from biosig_mtl.training.batches import to_batch

    bf16_pays(model, to_batch(table, FOLD.train, Scaler.fit(table, FOLD.train)))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), chance)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"epochs": 0}, "epochs >= 1"),
        ({"mi_weight": -1.0}, "mi_weight >= 0"),
        ({"lr": 0.0}, "lr and grad_clip > 0"),
        ({"average": 1.0}, "average < 1"),
        ({"weighting": "fixed"}, "fixed_weights"),
        ({"flat_radius": -0.1}, "flat_radius >= 0"),
    ],
)
def test_settings_refuse_nonsense(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**words)
