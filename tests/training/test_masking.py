"""Masked pre-training: what is hidden is hidden, what is given is all that is read, and something is learned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch

from biosig_mtl.models import MODELS, build
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.training import Scaler, spec_of, to_batch
from biosig_mtl.training.masking import (
    MaskedPretraining,
    MaskingSettings,
    TokenMaker,
    Unlabelled,
    draw_shown,
    pretrain,
    stretches_of,
    token_makers,
)
from biosig_mtl.types import Batch, DataError, Track, WindowTable
from tests.training.conftest import MakeTable

FEW = MaskingSettings(epochs=2, batch_size=16)


def network(table: WindowTable, name: str = "hard_sharing", **words: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(name, MODELS[name].settings(**{"width": 8, "stride": 16, **words}), spec_of(table))


def windows(table: WindowTable, rows: np.ndarray[Any, Any] | None = None) -> Unlabelled:
    rows = np.arange(len(table)) if rows is None else rows
    return Unlabelled(table, rows, Scaler.fit(table, rows))


def task_of(table: WindowTable, **words: Any) -> tuple[MaskedPretraining, Batch]:
    rows = np.arange(len(table))
    batch = to_batch(table, rows, Scaler.fit(table, rows))
    return MaskedPretraining(token_makers(network(table, **words))[0], batch, FEW).eval(), batch


def some_hidden(task: MaskedPretraining, batch: Batch, seed: int = 0) -> torch.Tensor:
    there = task.there(batch)
    return torch.from_numpy(there & ~draw_shown(there, task.modality, FEW, np.random.default_rng(seed)))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# ------------------------------------------------------------------------------------------------------------ what is shown
def test_as_many_tokens_are_shown_as_asked_for_and_only_what_is_there() -> None:
    rng = np.random.default_rng(0)
    there = rng.random((500, 24)) < 0.8
    modality = np.repeat([0, 1, 2], [16, 6, 2])
    shown = draw_shown(there, modality, MaskingSettings(keep=(0.25, 0.25)), rng)
    assert not (shown & ~there).any()
    np.testing.assert_array_equal(shown.sum(1), np.rint(0.25 * there.sum(1)))


def test_shares_of_modalities_are_those_of_the_dirichlet() -> None:
    modality = np.repeat([0, 1], 100)
    there = np.ones((4000, 200), bool)
    shares = {}
    for alpha in (1.0, 1000.0):
        settings = MaskingSettings(keep=(0.2, 0.2), concentration=alpha)
        shares[alpha] = draw_shown(there, modality, settings, np.random.default_rng(0))[:, :100].sum(1) / 40
    # A Dirichlet of two with α = 1 is uniform: mean 1/2, variance 1/12; a large α is a half.
    assert abs(shares[1.0].mean() - 0.5) < 0.02
    assert abs(shares[1.0].var() - 1 / 12) < 0.01
    assert shares[1000.0].std() < 0.02


@pytest.mark.parametrize(("count", "shown"), [(0, 0), (1, 1), (2, 1)])
def test_of_few_tokens_one_is_shown(count: int, shown: int) -> None:
    there = np.arange(5)[None] < np.full((30, 1), count)
    settings = MaskingSettings(keep=(0.9, 0.95))
    found = draw_shown(there, np.array([0, 0, 1, 1, 1]), settings, np.random.default_rng(0))
    assert (found.sum(1) == shown).all()


@pytest.mark.parametrize("encoder", ["conv", "patch"])
@pytest.mark.parametrize("samples", [64, 70, 33])
def test_every_sample_and_feature_belongs_to_one_token(make_table: MakeTable, encoder: str, samples: int) -> None:
    table = make_table(subjects=3, samples=samples)
    task, batch = task_of(table, encoder=encoder)
    n = len(task.modality)
    found = stretches_of(cast("TokenMaker", task.tokens), n)
    assert found[0].units * found[0].patch >= samples > (found[0].units - 1) * found[0].patch
    assert found[0].first + found[0].units <= found[1].first
    assert sorted(c for one in found for c in one.columns) == list(range(len(table.names)))
    assert [one.first for one in found[1:]] == list(range(n - len(found) + 1, n))
    everything = task.hide(batch, torch.ones(len(table), n, dtype=torch.bool))
    assert not everything.waveform.any()
    assert everything.missing.all()
    assert not everything.values.any()


# ------------------------------------------------------------------------------------------------------- hidden is hidden
def changed(task: MaskedPretraining, batch: Batch, hidden: torch.Tensor) -> Batch:
    """Return the batch with other content wherever it is hidden."""
    waveform, values = batch.waveform.clone(), batch.values.clone()
    tracks = {name: track.clone() for name, track in batch.tracks.items()}
    for one in task.stretches:
        for unit in range(one.units):
            rows = hidden[:, one.first + unit]
            part = slice(unit * one.patch, (unit + 1) * one.patch)
            if one.columns:
                values[np.ix_(rows.numpy(), np.array(one.columns))] += 3.0
            elif one.track:
                tracks[one.track][rows, :, part] = 7.0
            else:
                waveform[rows, :, part] = 7.0
    return replace(batch, waveform=waveform, values=values.masked_fill(batch.missing, 0.0), tracks=tracks)


@pytest.mark.parametrize("kind", ["pressure", "affect", "montage"])
def test_hidden_content_does_not_reach_the_tokens(kind: str, request: pytest.FixtureRequest) -> None:
    table = request.getfixturevalue("make_table" if kind == "pressure" else "make_affect")()
    task, batch = task_of(table, montage=kind == "montage")
    hidden = some_hidden(task, batch)
    other = changed(task, batch, hidden)
    assert hidden.any(1).all()
    with torch.no_grad():
        assert torch.equal(task.tokens(task.hide(batch, hidden)), task.tokens(task.hide(other, hidden)))
        assert not torch.equal(task.tokens(batch), task.tokens(other))
        # It is what has to be told, though.
        first, second = task(batch, hidden), task(other, hidden)
    assert not torch.equal(first, second)


def test_the_spread_of_hidden_stretches_does_not_reach_the_tokens(make_affect: MakeTable) -> None:
    table = make_affect()
    task, batch = task_of(table)
    one = next(s for s in task.stretches if s.track == "eeg")
    hidden = torch.zeros(len(table), len(task.modality), dtype=torch.bool)
    hidden[:, one.first : one.first + 3] = True
    signal = table.tracks["eeg"].signal.copy()
    signal[:, :, : 3 * one.patch] *= 5
    louder = replace(table, tracks={**table.tracks, "eeg": Track(table.tracks["eeg"].channels, 64.0, signal)})
    rows = np.arange(len(table))
    after = to_batch(louder, rows, Scaler.fit(table, rows))
    shown, again = task.hide(batch, hidden).tracks["eeg"], task.hide(after, hidden).tracks["eeg"]
    assert not torch.allclose(batch.tracks["eeg"][..., 3 * one.patch :], after.tracks["eeg"][..., 3 * one.patch :])
    torch.testing.assert_close(shown, again, rtol=1e-4, atol=1e-4)


def test_a_track_that_is_hidden_altogether_is_absent(make_affect: MakeTable) -> None:
    task, batch = task_of(make_affect())
    one = next(s for s in task.stretches if s.track == "eda")
    hidden = torch.zeros(len(batch.values), len(task.modality), dtype=torch.bool)
    hidden[:5, one.first : one.first + one.units] = True
    after = task.hide(batch, hidden)
    assert not after.present["eda"][:5].any()
    assert torch.equal(after.present["eda"][5:], batch.present["eda"][5:])
    assert torch.equal(after.present["eeg"], batch.present["eeg"])


def test_nothing_is_asked_where_nothing_is_known(make_affect: MakeTable) -> None:
    task, batch = task_of(make_affect())
    gone = replace(batch, values=torch.zeros_like(batch.values), missing=torch.ones_like(batch.missing))
    gone = replace(gone, present={name: torch.zeros_like(p) for name, p in batch.present.items()})
    assert not task.there(gone).any()
    assert task(gone, torch.ones(len(batch.values), len(task.modality), dtype=torch.bool)) is None


def test_windows_do_not_know_of_each_other(make_affect: MakeTable) -> None:
    task, batch = task_of(make_affect())
    hidden = some_hidden(task, batch)
    half = Batch(
        batch.waveform[:9], batch.values[:9], batch.missing[:9], batch.targets[:9], batch.weight[:9],
        {k: v[:9] for k, v in batch.tracks.items()}, {k: v[:9] for k, v in batch.present.items()},
    )  # fmt: skip
    with torch.no_grad():
        row, part = task.tokens(task.hide(batch, hidden)), task.tokens(task.hide(half, hidden[:9]))
    torch.testing.assert_close(row[:9], part)


# --------------------------------------------------------------------------------------------------- what training may read
@pytest.mark.parametrize("kind", ["make_table", "make_affect"])
def test_only_the_rows_given_are_read_and_no_target(kind: str, request: pytest.FixtureRequest) -> None:
    table: WindowTable = request.getfixturevalue(kind)()
    rows = np.arange(len(table) // 2)
    other = replace(
        table,
        values=np.where(np.arange(len(table))[:, None] < len(rows), table.values, 9.0).astype(np.float32),
        waveform=np.concatenate([table.waveform[: len(rows)], -table.waveform[len(rows) :] + 4]),
        tracks={
            name: replace(t, signal=np.concatenate([t.signal[: len(rows)], t.signal[len(rows) :] * 3]))
            for name, t in table.tracks.items()
        },
    )
    unlabelled = replace(other, targets=np.full_like(table.targets, np.nan))
    scaler = Scaler.fit(table, rows)
    first, second = network(table), network(table)
    told = [pretrain(m, Unlabelled(t, rows, scaler), FEW, 3) for m, t in ((first, table), (second, unlabelled))]
    assert told[0] == told[1]
    assert same(first, second)
    third = network(table)
    pretrain(third, Unlabelled(table, rows[1:], scaler), FEW, 3)
    assert not same(first, third)


def test_the_seed_is_all_chance_and_other_chance_is_left_alone(make_table: MakeTable) -> None:
    table = make_table()
    made = []
    for seed in (1, 1, 2):
        model = network(table, dropout=0.2)
        torch.manual_seed(5)
        pretrain(model, windows(table), FEW, seed)
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
        made.append(model)
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_only_tokens_move(make_table: MakeTable) -> None:
    table = make_table()
    before, after = network(table), network(table)
    pretrain(after, windows(table), FEW, 0)
    moved = {n for (n, p), q in zip(before.named_parameters(), after.parameters(), strict=True) if not torch.equal(p, q)}
    assert moved
    assert all(name.startswith("tokens.") for name in moved)
    assert all(p.grad is None for p in cast("Any", after).tokens.parameters())


def test_networks_of_one_task_each_start_alike(make_table: MakeTable) -> None:
    table = make_table()
    model = network(table, "single_task")
    pretrain(model, windows(table), FEW, 0)
    first, second = token_makers(model)
    assert same(first, second)


def test_a_wave_and_a_feature_are_learned_to_be_told(make_table: MakeTable) -> None:
    table = make_table(subjects=30)
    # pulse.b and hr.mean say the same.
    values = table.values.copy()
    values[:, 2] = values[:, 1]
    told = pretrain(
        network(replace(table, values=values), width=16, dropout=0.0),
        windows(replace(table, values=values)),
        MaskingSettings(epochs=25, batch_size=16, lr=3e-3, keep=(0.4, 0.6)), 0,
    )  # fmt: skip
    assert told[0] > 0.95
    assert told[-1] < 0.85


def test_no_epochs_leave_the_network_as_it_is(make_table: MakeTable) -> None:
    table = make_table(subjects=3)
    before, after = network(table), network(table)
    assert pretrain(after, windows(table), MaskingSettings(epochs=0), 0) == ()
    assert same(before, after)


# ------------------------------------------------------------------------------------------------------------- refused, odd
def test_what_has_no_tokens_is_refused(make_table: MakeTable) -> None:
    with pytest.raises(DataError, match=r"has none: choose another model\.name"):
        pretrain(torch.nn.Linear(2, 2), windows(make_table(subjects=3)), FEW, 0)


def test_a_loss_without_end_is_refused(make_table: MakeTable) -> None:
    table = make_table(subjects=3)
    model = network(table)
    with torch.no_grad():
        cast("Any", model).tokens.norm.weight.fill_(math.inf)
    with pytest.raises(DataError, match="not finite in epoch 0"):
        pretrain(model, windows(table), FEW, 0)


def test_windows_with_one_token_teach_nothing(make_table: MakeTable) -> None:
    table = make_table(subjects=3)
    one = replace(
        table, values=table.values[:, :2], names=table.names[:2], waveform=table.waveform[:, :0], waveform_channels=()
    )
    assert all(math.isnan(loss) for loss in pretrain(network(one), windows(one), FEW, 0))


@pytest.mark.parametrize("samples", [8, 128])
def test_slow_or_short_eeg_is_told_as_it_can_be(make_affect: MakeTable, samples: int) -> None:
    table = make_affect()
    slow = {name: replace(t, signal=t.signal[..., :samples], fs=4.0) for name, t in table.tracks.items()}
    task, batch = task_of(replace(table, tracks=slow))
    assert not next(s for s in task.stretches if s.track == "eeg").bands
    loss = task(batch, some_hidden(task, batch))
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    "words",
    [{"epochs": -1}, {"batch_size": 0}, {"layers": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"warmup": 1.0},
     {"keep": (0.0, 0.5)}, {"keep": (0.5, 0.2)}, {"keep": (0.5, 1.0)}, {"concentration": 0.0}],
)  # fmt: skip
def test_nonsense_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need "):
        MaskingSettings(**words)


def test_odd_widths_have_one_head(make_table: MakeTable) -> None:
    table = make_table(subjects=3)
    model = build("hard_sharing", HardSharingSettings(width=6, stride=16), spec_of(table))
    assert len(pretrain(model, windows(table), FEW, 0)) == 2
