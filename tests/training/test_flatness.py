"""Steps that look for flat minima."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from biosig_mtl import models
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.descent import Descent
from biosig_mtl.training.flatness import Chance, ascent, moved_weights
from biosig_mtl.training.loop import FitResult, TrainingData, fit
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Fold, Head, WindowTable

MakeTable = Callable[..., WindowTable]
FOLD = Fold(train=np.arange(48), validation=np.arange(48, 64), test=np.arange(64, 80))
QUICK = TrainingSettings(epochs=2, batch_size=16, mi_ramp_epochs=0, patience=0)


class Valley(nn.Module):
    """Losses c_t (u v − 1)² + (w_t − u v)²: least wherever u v = 1 = w_t; the curvature there grows with u² + v²."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.tensor(0.2))
        self.own = nn.Parameter(torch.tensor([0.9, 1.1]))

    def forward(self) -> Tensor:
        losses: Tensor = torch.tensor([1.0, 2.0]) * (self.u * self.v - 1).square() + (self.own - self.u * self.v).square()
        return losses


def descended(word: str, radius: float, steps: int = 250) -> Valley:
    model = Valley()
    descent = Descent(model, [], word, radius)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.015)
    present = torch.tensor([True, True])
    for _ in range(steps):
        descent(model(), present, None, lambda weights: functional_call(model, dict(weights), ()))
        optimiser.step()
    return model


@pytest.mark.parametrize("word", ["sum", "pcgrad", "upgrad"])
def test_of_two_minima_the_flat_one_is_found(word: str) -> None:
    sharp, flat = descended(word, 0.0), descended(word, 0.1)
    assert sharp().sum() < 1e-3
    assert flat().sum() < 0.05
    spread = [float(model.u.detach() ** 2 + model.v.detach() ** 2) for model in (sharp, flat)]
    assert spread[0] > 8.0
    assert spread[1] < 4.0  # the flattest has 2


def test_the_gradient_is_that_of_the_card() -> None:
    model, radius = Valley(), 0.1
    present = torch.tensor([True, True])

    def at(weights: Mapping[str, Tensor]) -> Tensor:
        losses: Tensor = functional_call(model, dict(weights), ())
        return losses

    Descent(model, [], "mgda", radius)(model(), present, None, at)
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    names = dict(model.named_parameters())

    def row(task: int, weights: Mapping[str, Tensor]) -> Tensor:
        parts = torch.autograd.grad(at(weights)[task], list(weights.values()))
        return torch.cat([part.flatten() for part in parts])

    g = torch.stack([row(t, names) for t in range(2)])
    moved = []
    for t in range(2):
        step = torch.zeros(4)
        step[:2] = radius * g[t, :2] / g[t, :2].norm()
        step[2 + t] = radius * g[t, 2 + t].sign()
        moved.append(row(t, moved_weights(names, step)))
    flat = torch.stack(moved) - g
    from torchjd.aggregation import MGDA

    expected = 2 * MGDA()(g[:, :2]) + 2 * MGDA()(flat[:, :2])
    assert torch.allclose(found[:2], expected, atol=1e-4)
    assert torch.allclose(found[2:], torch.stack(moved).sum(0)[2:], atol=1e-5)


def test_the_way_up_has_its_length_twice_and_none_where_there_is_no_slope() -> None:
    row, shared = torch.tensor([3.0, 4.0, -2.0]), torch.tensor([True, True, False])
    assert torch.allclose(ascent(row, shared, 0.5), torch.tensor([0.3, 0.4, -0.5]))
    assert torch.equal(ascent(torch.zeros(3), shared, 0.5), torch.zeros(3))


def test_chance_can_be_had_again_and_is_left_alone() -> None:
    drop = nn.Dropout(0.5)
    chance = Chance(nn.Linear(1, 1))
    first = drop(torch.ones(50))
    after = torch.get_rng_state()
    with chance.again():
        assert torch.equal(drop(torch.ones(50)), first)
    assert torch.equal(torch.get_rng_state(), after)


# ----------------------------------------------------------------------------------------------------------- in training
def trained(table: WindowTable, settings: TrainingSettings, **words: Any) -> FitResult:
    torch.manual_seed(0)
    model = models.build("split_merge", models.MODELS["split_merge"].settings(width=8, stride=8, **words), spec_of(table))
    return fit(model, TrainingData(table, FOLD, Scaler.fit(table, FOLD.train)), settings, 0)


def distance(one: FitResult, other: FitResult) -> float:
    return max(float((one.state[k] - v).abs().max()) for k, v in other.state.items() if v.is_floating_point())


def test_a_radius_of_nothing_is_nothing_and_dropout_is_the_same_in_all_passes(make_table: MakeTable) -> None:
    table = make_table()
    plain = trained(table, QUICK, dropout=0.3)
    tiny = trained(table, replace(QUICK, flat_radius=1e-7), dropout=0.3)
    wide = trained(table, replace(QUICK, flat_radius=0.5), dropout=0.3)
    # Were the masks drawn anew, the tiny radius would not give nearly the losses of none.
    assert [row["loss"] for row in tiny.history] == pytest.approx([row["loss"] for row in plain.history], rel=1e-2)
    assert distance(wide, plain) > 3 * distance(tiny, plain)


def test_raters_are_as_severe_in_every_pass(make_affect: MakeTable) -> None:
    table = make_affect(heads=(Head("rasch", (4.0, 6.0)), Head()))
    found = trained(table, replace(QUICK, weighting="pcgrad", flat_radius=0.05))
    assert np.isfinite([row["loss"] for row in found.history]).all()
