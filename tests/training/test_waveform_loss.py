"""Laws of learning to tell the reference waveform: what is unknown does not count, and off it is as if it were not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from biosig_mtl.models import build
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, fit, spec_of
from biosig_mtl.training.batches import NO_AUGMENTATION, BatchSource, to_batch
from biosig_mtl.training.waveform import at_points, start_waveform, waveform_loss, waveform_terms, waveforms
from biosig_mtl.types import Batch, DataError, Fold, Output, RecipeError, Track, WindowTable
from tests.training.conftest import MakeTable

SETTINGS = SplitMergeSettings(width=16, heads=1, stride=8, dropout=0.0, waveform_head=True, waveform_points=32)
NAN = float("nan")


@pytest.fixture
def told(make_table: MakeTable) -> WindowTable:
    """Return a table whose waveforms begin at any phase; the reference moves with them, and its level with feature 0."""
    table = make_table(subjects=40, per=4)
    rng = np.random.default_rng(3)
    angle = 2 * np.pi * (1.5 * np.arange(64) / 32 + rng.uniform(0, 1, (len(table), 1)))
    level = 90 + 8 * np.nan_to_num(table.values[:, :1])
    pressure = (level + 20 * np.sin(angle))[:, None].astype(np.float32)
    waveform = np.sin(angle)[:, None].repeat(2, axis=1).astype(np.float32)
    return replace(table, waveform=waveform, reference=Track(("abp",), 32.0, pressure))


def parts(table: WindowTable) -> Fold:
    rows = np.arange(len(table))
    return Fold(rows[:120], rows[120:140], rows[140:])


def network(table: WindowTable, settings: SplitMergeSettings = SETTINGS) -> SplitMerge:
    torch.manual_seed(1)
    made = build("split_merge", settings, spec_of(table))
    assert isinstance(made, SplitMerge)
    return made


# -------------------------------------------------------------------------------------------------------------- points
def test_points_on_samples_are_the_samples_and_others_lie_between() -> None:
    wave = torch.tensor([[0.0, 2.0, 4.0, 8.0]])
    assert torch.equal(at_points(wave, 4), wave)
    assert torch.equal(at_points(wave, 2), wave[:, ::2])
    assert torch.equal(at_points(wave, 8), torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 8.0]]))
    torch.testing.assert_close(at_points(wave, 3), torch.tensor([[0.0, 2 + 2 / 3, 4 + 8 / 3]]))


@pytest.mark.parametrize(("length", "points"), [(1000, 200), (1000, 999), (7, 49), (240, 7)])
def test_every_resolution_of_a_line_lies_on_it(length: int, points: int) -> None:
    line = torch.arange(length, dtype=torch.float64)[None] / length
    wanted = (torch.arange(points, dtype=torch.float64) / points).clamp(max=(length - 1) / length)
    torch.testing.assert_close(at_points(line, points)[0], wanted)


def test_a_point_beside_an_unknown_sample_is_unknown() -> None:
    found = at_points(torch.tensor([[0.0, NAN, 4.0, 8.0]]), 8)[0]
    assert torch.isnan(found).tolist() == [False, True, True, True, False, False, False, False]


# ---------------------------------------------------------------------------------------------------------------- loss
def test_the_loss_is_the_mean_over_valid_points_then_over_windows() -> None:
    reference = torch.tensor([[0.0, 0.0, NAN, NAN], [0.0, 0.0, 0.0, 0.0], [NAN] * 4])
    estimate = torch.tensor([[1.0, 1.0, 9.0, 9.0], [3.0, 3.0, 3.0, 3.0], [7.0] * 4])
    # Huber with δ = 1: ½ at 1 and 2½ at 3; the weights are 1 and 3, and the third window does not count.
    found = waveform_loss(estimate, reference, torch.tensor([1.0, 3.0, 100.0]))
    assert float(found) == pytest.approx((0.5 * 1 + 2.5 * 3) / 4)


def test_what_is_unknown_has_no_gradient_and_nothing_known_no_loss() -> None:
    reference = torch.tensor([[0.0, NAN, 0.0], [NAN, NAN, NAN]])
    estimate = torch.ones(2, 3, requires_grad=True)
    waveform_loss(estimate, reference, torch.ones(2)).backward()  # type: ignore[no-untyped-call]
    assert estimate.grad is not None
    assert torch.equal(estimate.grad, torch.tensor([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]))
    nothing = torch.ones(2, 3, requires_grad=True)
    loss = waveform_loss(nothing, torch.full((2, 3), NAN), torch.ones(2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0.0
    assert nothing.grad is not None
    assert not nothing.grad.any()


# ---------------------------------------------------------------------------------------------- scale, batches and inputs
def test_the_scale_is_that_of_known_points_of_training_rows(told: WindowTable) -> None:
    assert told.reference is not None
    signal = np.array(told.reference.signal)
    signal[0, 0, :10] = NAN
    known = replace(told, reference=replace(told.reference, signal=signal))
    fold = parts(known)
    scaler = Scaler.fit(known, fold.train)
    part = signal[fold.train]
    assert scaler.reference is not None
    np.testing.assert_allclose(scaler.reference, [np.nanmean(part), np.nanstd(part)], rtol=1e-6)
    signal[fold.test] += 1000
    other = Scaler.fit(known, fold.train).reference
    assert other is not None
    np.testing.assert_array_equal(other, scaler.reference)
    scaled = scaler.reference_waveform(part)
    assert np.isnan(scaled).sum() == 10
    np.testing.assert_allclose([np.nanmean(scaled), np.nanstd(scaled)], [0, 1], atol=1e-4)


def test_nothing_a_network_is_given_tells_of_the_reference(told: WindowTable) -> None:
    assert told.reference is not None
    plain = replace(told, reference=None)
    other = replace(told, reference=replace(told.reference, signal=-np.asarray(told.reference.signal)))
    rows = np.arange(12)
    assert spec_of(told) == spec_of(plain)
    given = [to_batch(t, rows, Scaler.fit(t, rows)) for t in (plain, told, other)]
    for batch in given:
        assert batch.reference is None
        for name in ("waveform", "values", "missing", "targets", "weight"):
            assert torch.equal(getattr(batch, name), getattr(given[0], name)), name
        assert batch.tracks == batch.present == {}


def test_batches_carry_the_reference_once_it_is_asked_for(told: WindowTable) -> None:
    assert told.reference is not None
    rows = np.array([9, 3, 30])
    scaler = Scaler.fit(told, np.arange(100))
    source = BatchSource(told, rows, scaler, waveform=True)
    model = network(told)
    start_waveform(model, source, scaler)
    batch = source.batch(torch.tensor([2, 0]))
    assert batch.reference is not None
    wanted = scaler.reference_waveform(np.asarray(told.reference.signal)[[30, 9], 0])
    np.testing.assert_array_equal(batch.reference.numpy(), wanted)
    head = model.waveform_head
    assert head is not None
    np.testing.assert_allclose(head.in_units(batch.reference), np.asarray(told.reference.signal)[[30, 9], 0], rtol=1e-4)


def test_what_cannot_be_learned_is_said_in_words(told: WindowTable) -> None:
    rows = np.arange(20)
    plain = replace(told, reference=None)
    scaler = Scaler.fit(plain, rows)
    source = BatchSource(plain, rows, scaler, waveform=True)
    with pytest.raises(RecipeError, match=r"no waveform head: set model\.waveform_head"):
        start_waveform(network(told, replace(SETTINGS, waveform_head=False)), source, scaler)
    with pytest.raises(RecipeError, match=r"set windows\.reference_waveform and prepare again"):
        start_waveform(network(told), source, scaler)
    with pytest.raises(DataError, match="fitted on windows without a reference waveform"):
        scaler.reference_waveform(np.zeros((1, 4)))
    source.reference = True
    with pytest.raises(DataError, match="the windows have no reference waveform"):
        source.batch(torch.tensor([0]))


# ------------------------------------------------------------------------------------------------------------ training
def test_the_term_is_there_only_where_a_batch_carries_the_reference() -> None:
    batch = Batch(torch.empty(1, 0, 0), torch.empty(1, 0), torch.empty(1, 0), torch.zeros(1, 1), torch.ones(1))
    told = replace(batch, reference=torch.zeros(1, 4))
    out = Output(torch.zeros(1, 1), reference=torch.ones(1, 2))
    assert [float(term) for term in waveform_terms(out, told, 3.0)] == [1.5]
    assert list(waveform_terms(out, batch, 3.0)) == []
    assert list(waveform_terms(replace(out, reference=None), told, 3.0)) == []


def test_a_network_learns_phase_and_level(told: WindowTable) -> None:
    assert told.reference is not None
    fold, scaler = parts(told), Scaler.fit(told, parts(told).train)
    model = network(told)
    source = BatchSource(told, fold.train, scaler, waveform=True)
    start_waveform(model, source, scaler)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        for positions in torch.split(torch.randperm(len(source), generator=rng), 40):
            batch = source.batch(positions)
            (loss,) = waveform_terms(model(batch), batch, 1.0)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    truth = np.asarray(told.reference.signal)[fold.test, 0]
    # Twice as fine as it was learned at, and as fine as the samples are.
    found = waveforms(model, told, fold.test, scaler, 64)
    assert found.shape == truth.shape
    constant = np.abs(truth - np.asarray(told.reference.signal)[fold.train].mean()).mean()
    assert np.abs(found - truth).mean() < 0.4 * constant
    assert np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(found, truth, strict=True)]) > 0.95
    coarse = waveforms(model, told, fold.test, scaler, 16)
    np.testing.assert_allclose(found[:, ::4], coarse, rtol=1e-4)
    assert waveforms(model, told, fold.test[:0], scaler, 5).shape == (0, 5)


def test_with_weight_zero_training_is_bit_for_bit_that_without_a_head(told: WindowTable) -> None:
    settings = TrainingSettings(epochs=2, batch_size=32, augmentation=replace(NO_AUGMENTATION, noise=0.1))
    fold, scaler = parts(told), Scaler.fit(told, parts(told).train)
    states = []
    for table, chosen in ((told, SETTINGS), (replace(told, reference=None), replace(SETTINGS, waveform_head=False))):
        model = network(table, replace(chosen, dropout=0.2))
        states.append(fit(model, TrainingData(table, fold, scaler), settings, seed=3).state)
    with_head, plain = states
    assert plain.keys() < with_head.keys()
    assert all(torch.equal(with_head[name], plain[name]) for name in plain)
    assert {name.split(".")[0] for name in with_head.keys() - plain.keys()} == {"waveform_head"}
