"""Terms against forgetting: what they weigh, whom they hold, and that they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from biosig_mtl.lifecycle.consolidation import Consolidation, Rehearsal, Rehearsed, fisher
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.training import Scaler
from biosig_mtl.training.batches import BatchSource
from biosig_mtl.training.losses import Objective
from biosig_mtl.types import Batch, Head, Output, WindowTable
from tests.lifecycle.conftest import PLAIN, small_table

ROWS = np.arange(60)
NOTHING = Output(torch.zeros(1, 1))
NONE = torch.zeros(1, 1)
GIVEN = Batch(NONE, NONE, NONE, NONE, NONE)


class Linear(nn.Module):
    """Answers are linear in the features, so that the Fisher information is known: E[x²] of each weight."""

    def __init__(self, heads: tuple[Head, ...] = ()) -> None:
        super().__init__()
        self.spec = replace(PLAIN, heads=heads)
        self.map = nn.Linear(3, 2)
        self.idle = nn.Parameter(torch.ones(4))
        self.uses_waveform = False
        self.uses_tracks: tuple[str, ...] = ()
        self.shown: dict[str, tuple[str, ...]] = {}

    def forward(self, batch: Batch) -> Output:
        said = self.map(batch.values)
        logits = torch.stack([torch.zeros_like(said), said], dim=2) if self.spec.heads else None
        return Output(said, logits=logits, private=said, private_logits=logits)


def source(table: WindowTable, rows: np.ndarray = ROWS) -> BatchSource:
    return BatchSource(table, rows, Scaler.fit(table, ROWS), waveform=False)


def test_the_fisher_information_of_a_linear_answer_is_the_mean_square_of_what_it_sees() -> None:
    torch.manual_seed(0)
    table, model = small_table(subjects=200, per=5), Linear()
    given = source(table, np.arange(1000))
    found = fisher(model, given, torch.Generator().manual_seed(0), windows=1000)
    x = given.batch(torch.arange(1000)).values
    expected = x.square().mean(0)
    # Each figure is a mean of 1000 draws of x² ε², whose spread is about √8 of their mean.
    torch.testing.assert_close(found["map.weight"], expected.expand(2, 3), rtol=0.4, atol=0.0)
    torch.testing.assert_close(found["map.bias"], torch.ones(2), rtol=0.2, atol=0.0)
    assert not found["idle"].any()
    assert not model.map.weight.grad


def test_the_fisher_information_of_classes_is_that_of_a_logistic_answer() -> None:
    torch.manual_seed(0)
    table = small_table(subjects=100)
    table = replace(table, heads=(Head("binary", (120.0,)), Head("binary", (75.0,))))
    model = Linear(table.heads)
    nn.init.zeros_(model.map.weight)
    nn.init.zeros_(model.map.bias)
    found = fisher(model, source(table), torch.Generator().manual_seed(0))
    # p = ½: p (1 − p) = ¼ whatever label is drawn.
    torch.testing.assert_close(found["map.bias"], torch.full((2,), 0.25))


def test_what_was_never_known_taught_nothing() -> None:
    table = small_table()
    table.targets[:, 1] = np.nan
    table.targets[0, 1] = 70.0
    given = source(table, ROWS[1:])
    found = fisher(Linear(), given, torch.Generator().manual_seed(0))
    assert found["map.weight"][0].all()
    assert not found["map.weight"][1].any()


def test_the_fisher_information_leaves_the_network_as_it_was_and_tells_the_same_for_the_same_seed() -> None:
    torch.manual_seed(0)
    model = hard_sharing(HardSharingSettings(width=8, dropout=0.5, use_waveform=False), PLAIN).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    one, two = (fisher(model, source(small_table()), torch.Generator().manual_seed(3), windows=8) for _ in range(2))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all((value >= 0).all() for value in one.values())
    assert fisher(model, source(small_table(), ROWS[:0]), torch.Generator())["body.trunk.0.wide.weight"].sum() == 0


def test_the_penalty_is_half_the_weighted_square_of_the_way_gone() -> None:
    model = Linear()
    weigh = {"map.weight": torch.full((2, 3), 3.0), "map.bias": torch.tensor([0.0, 5.0])}
    term = Consolidation(model, weigh, strength=2.0)
    assert term(model, NOTHING, GIVEN, 0).item() == 0.0
    with torch.no_grad():
        model.map.weight[0, 0] = model.map.weight[0, 0] + 0.5
        model.map.bias.add_(1.0)
        model.idle.add_(7.0)
    penalty = term(model, NOTHING, GIVEN, 0)
    assert penalty.item() == pytest.approx(0.5 * 2.0 * (3.0 * 0.25 + 5.0))
    penalty.backward()  # type: ignore[no-untyped-call]
    assert model.map.bias.grad is not None
    assert model.map.bias.grad.tolist() == [0.0, 10.0]
    assert model.idle.grad is None
    with pytest.raises(ValueError, match="strength"):
        Consolidation(model, weigh, -1.0)


def rehearsal(old: nn.Module, table: WindowTable, size: int = 16, private: float = 0.0, seed: int = 0) -> Rehearsal:
    given = source(table)
    objective = Objective.fit(PLAIN.head, "mse", np.zeros((1, 2)), np.ones(1))
    return Rehearsal(old, Rehearsed(given, objective, size, private), torch.Generator().manual_seed(seed))


def test_rehearsal_is_the_old_loss_on_old_windows() -> None:
    torch.manual_seed(0)
    old, table = Linear(), small_table()
    given = source(table).batch(torch.arange(60))
    expected = (old(given).predictions - given.targets).square().mean(0).sum()
    torch.testing.assert_close(rehearsal(old, table, 60)(old, NOTHING, given, 0), expected)
    torch.testing.assert_close(rehearsal(old, table, 60, private=0.5)(old, NOTHING, given, 0), 1.5 * expected)
    first, second = rehearsal(old, table), rehearsal(old, table)
    told = [first(old, NOTHING, given, 0).item() for _ in range(3)]
    assert told == [second(old, NOTHING, given, 0).item() for _ in range(3)]
    assert len(set(told)) == 3


def test_rehearsal_passes_over_labels_that_are_unknown() -> None:
    old, table = Linear(), small_table()
    table.targets[:40] = np.nan
    term = rehearsal(old, table, 60)
    told = term(old, NOTHING, source(table).batch(torch.arange(2)), 0)
    assert torch.isfinite(told)
    told.backward()  # type: ignore[no-untyped-call]
    assert old.map.weight.grad is not None
    assert torch.isfinite(old.map.weight.grad).all()


def test_rehearsal_needs_windows() -> None:
    empty = Rehearsed(source(small_table(), ROWS[:0]), Objective.fit(PLAIN.head, "mse", np.zeros((1, 2)), np.ones(1)), 4, 0.0)
    with pytest.raises(ValueError, match="got none"):
        Rehearsal(Linear(), empty, torch.Generator())


def test_rehearsal_judges_classes() -> None:
    heads = (Head("binary", (120.0,)), Head("binary", (75.0,)))
    table = replace(small_table(), heads=heads)
    old = Linear(heads)
    objective = Objective.fit(heads, "mse", np.zeros((1, 2)), np.ones(1))
    given = source(table).batch(torch.arange(60))
    term = Rehearsal(old, Rehearsed(source(table), objective, 60, 1.0), torch.Generator())
    logits = old(given).predictions
    wanted = nn.functional.binary_cross_entropy_with_logits(logits, given.targets, reduction="none").mean(0).sum()
    torch.testing.assert_close(term(old, NOTHING, given, 0), 2.0 * wanted)
