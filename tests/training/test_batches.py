"""Scaling from training rows only, batches, weights, augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from biosig_mtl.training.batches import (
    NO_AUGMENTATION,
    Augmentation,
    BatchSource,
    Scaler,
    check_table,
    shuffled,
    spec_of,
    subject_weights,
    to_batch,
)
from biosig_mtl.types import DataError, WindowTable

MakeTable = Callable[..., WindowTable]


def test_the_scaler_looks_at_its_rows_only(make_table: MakeTable) -> None:
    table = make_table()
    rows = np.arange(40)
    scaler = Scaler.fit(table, rows)
    for array in (table.values, table.waveform, table.targets):
        array[40:] = 1e6
    again = Scaler.fit(table, rows)
    for name in ("feature_center", "feature_scale", "waveform_center", "waveform_scale", "target_mean", "target_scale"):
        assert np.array_equal(getattr(scaler, name), getattr(again, name))
    assert np.array_equal(scaler.fitted_rows, rows)


def test_scaled_training_rows_are_standard_and_come_back(make_table: MakeTable) -> None:
    table = make_table(200)
    scaler = Scaler.fit(table, np.arange(800))
    values, missing = scaler.values(table.values)
    assert np.array_equal(missing, np.isnan(table.values))
    assert np.isfinite(values).all()
    assert values.dtype == np.float32
    assert np.abs(values[~missing].mean()) < 0.05
    assert values[~missing].std() == pytest.approx(1.0, abs=0.1)
    scaled = scaler.targets(table.targets)
    assert scaled.mean(0) == pytest.approx([0, 0], abs=1e-5)
    assert scaled.std(0) == pytest.approx([1, 1], abs=1e-5)
    assert scaler.unscale(scaled) == pytest.approx(table.targets, rel=1e-5)
    assert scaler.waveform(table.waveform).std(axis=(0, 2)) == pytest.approx([1, 1], abs=0.05)


def test_broken_features_become_zero_or_are_cut(make_table: MakeTable) -> None:
    table = make_table()
    table.values[:, 1] = np.nan
    table.values[:, 2] = 7.0
    table.values[0, 3] = np.inf
    table.values[1, 4] = 1e9
    scaler = Scaler.fit(table, np.arange(80))
    values, missing = scaler.values(table.values)
    assert (values[:, 1:3] == 0).all()
    assert missing[:, 1].all()
    assert missing[0, 3]
    assert values[1, 4] == 5.0
    unseen, _ = scaler.values(np.full((1, 6), 8.0, np.float32))
    assert unseen[0, 2] == 0.0  # a feature that never varied in training says nothing later


def test_scaler_refusals(make_table: MakeTable) -> None:
    table = make_table()
    with pytest.raises(DataError, match="no windows in the training part"):
        Scaler.fit(table, np.arange(0))
    table.targets[:40, 1] = np.nan
    with pytest.raises(DataError, match="'dbp' is unknown"):
        Scaler.fit(table, np.arange(40))


def test_batches_hold_the_rows_that_were_asked_for(make_table: MakeTable) -> None:
    table = make_table()
    rows = np.arange(10, 50)
    scaler = Scaler.fit(table, rows)
    whole = to_batch(table, rows, scaler)
    source = BatchSource(table, rows, scaler, waveform=True)
    assert len(source) == 40
    picked = source.batch(torch.tensor([3, 1]))
    for name in ("waveform", "values", "missing", "targets", "weight"):
        assert torch.equal(getattr(picked, name), getattr(whole, name)[[3, 1]])
    parts = list(source.in_order(16))
    assert [len(p.values) for p in parts] == [16, 16, 8]
    assert BatchSource(table, rows, scaler, waveform=False).batch(torch.tensor([0])).waveform.numel() == 0


def test_a_broken_waveform_is_named(make_table: MakeTable) -> None:
    table = make_table()
    scaler = Scaler.fit(table, np.arange(80))
    table.waveform[13, 1, 5] = np.nan
    with pytest.raises(DataError, match="window 13 of subject s03: channel 'vpg'"):
        to_batch(table, np.arange(80), scaler)


def test_tables_without_waveform_or_features(make_table: MakeTable) -> None:
    table = replace(make_table(), waveform=np.empty((80, 0, 0), np.float32), waveform_channels=())
    assert to_batch(table, np.arange(3), Scaler.fit(table, np.arange(80))).waveform.numel() == 0
    assert spec_of(table).samples == 0
    bare = replace(make_table(), values=np.empty((80, 0), np.float32), names=())
    assert to_batch(bare, np.arange(3), Scaler.fit(bare, np.arange(80))).values.shape == (3, 0)


def test_a_table_with_other_inputs_is_refused(make_table: MakeTable) -> None:
    table = make_table()
    spec = spec_of(table)
    check_table(table, spec)
    with pytest.raises(DataError, match=r"other features .*: pulse\.z"):
        check_table(replace(table, names=(*table.names[:-1], "pulse.z")), replace(spec, features=table.names[:-1]))
    with pytest.raises(DataError, match="their order"):
        check_table(replace(table, target_names=("dbp", "sbp")), spec)
    with pytest.raises(DataError, match="64 samples, the model was made for 32"):
        check_table(table, replace(spec, samples=32))


def test_order_comes_from_its_own_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (shuffled(50, 8, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.cat(first).sort().values, torch.arange(50))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_subject_weights(alpha: float) -> None:
    subject = np.array(["a"] * 9 + ["b"] * 3)
    weight = subject_weights(subject, alpha)
    assert weight.mean() == pytest.approx(1.0)
    assert weight[-1] / weight[0] == pytest.approx(3.0**alpha)
    if alpha == 1.0:
        assert weight[:9].sum() == pytest.approx(weight[9:].sum())


def test_augmentation_changes_inputs_only_and_is_repeatable(make_table: MakeTable) -> None:
    table = make_table()
    batch = to_batch(table, np.arange(80), Scaler.fit(table, np.arange(80)))
    change = Augmentation(shift_samples=5, feature_dropout=0.3)
    first, again = (change.apply(batch, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first.waveform, again.waveform)
    assert torch.equal(first.values, again.values)
    assert torch.equal(first.targets, batch.targets)
    assert (first.missing & batch.missing).sum() == batch.missing.sum()
    assert 0.2 < float((first.missing & ~batch.missing).float().mean()) < 0.4
    assert (first.values[first.missing] == 0).all()
    still = NO_AUGMENTATION.apply(batch, torch.Generator())
    assert torch.equal(still.waveform, batch.waveform)
    assert torch.equal(still.values, batch.values.masked_fill(batch.missing, 0.0))


def test_a_shift_moves_all_channels_of_a_window_together(make_table: MakeTable) -> None:
    table = make_table()
    batch = to_batch(table, np.arange(20), Scaler.fit(table, np.arange(80)))
    batch.waveform[:] = torch.arange(64.0)
    moved = Augmentation(0.0, 9, 0.0, 0.0, 0.0).apply(batch, torch.Generator().manual_seed(0)).waveform
    shift = moved[:, 0, 32] - 32
    assert set(shift.tolist()) <= set(range(-9, 10))
    assert len(set(shift.tolist())) > 5
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], (torch.arange(64) + shift[:, None]).clamp(0, 63))


def test_augmentation_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match=">= 0"):
        Augmentation(noise=-0.1)
    with pytest.raises(ValueError, match="feature_dropout"):
        Augmentation(feature_dropout=1.0)
