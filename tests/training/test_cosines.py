"""Cosines between the gradients of targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.training.batches import Scaler, spec_of
from biosig_mtl.training.cosines import cosine_columns, cosines, fixed_positions, mean_cosines, measured
from biosig_mtl.training.loop import FitResult, TrainingData, fit
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.types import Fold, WindowTable

MakeTable = Callable[..., WindowTable]
FOLD = Fold(train=np.arange(48), validation=np.arange(48, 64), test=np.arange(64, 80))
QUICK = TrainingSettings(epochs=3, batch_size=16, mi_ramp_epochs=2, patience=0)


def test_only_what_a_pair_shares_counts() -> None:
    rows = torch.tensor([[1.0, 1.0, 5.0, 0.0], [1.0, -1.0, 0.0, 7.0], [2.0, 0.0, 1.0, 1.0]])
    found = cosines(rows, [0, 1, 3], 4)
    assert found[0, 1] == pytest.approx(0.0)
    assert found[0, 3] == found[3, 0] == pytest.approx(7 / math.sqrt(26 * 5))
    assert found[1, 3] == pytest.approx(9 / math.sqrt(50 * 5))
    assert np.isnan(found[2]).all()
    assert np.isnan(np.diag(found)).all()
    assert np.isnan(cosines(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [0, 1], 2)).all()


def test_there_is_a_column_for_each_pair_and_none_for_one_target() -> None:
    matrix = np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]])
    assert cosine_columns(("a", "b", "c"), matrix) == {"cosine_a_b": 1.0, "cosine_a_c": 2.0, "cosine_b_c": 3.0}
    assert cosine_columns(("a",), matrix[:1, :1]) == {}


def test_the_mean_is_over_what_is_known() -> None:
    parts = [np.array([[math.nan, x], [x, math.nan]]) for x in (0.5, math.nan, 1.0)]
    assert mean_cosines(parts, 2)[0, 1] == 0.75
    assert np.isnan(mean_cosines([], 2)).all()


def test_measuring_uses_no_chance_and_leaves_gradients_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    x, chance = torch.randn(8, 3), torch.get_rng_state()

    def judge() -> tuple[Tensor, Tensor]:
        return model(x).square().mean(0), torch.tensor([True, True])

    first, second = measured(judge, model), measured(judge, model)
    assert np.isfinite(first[0, 1])
    assert first.tobytes() == second.tobytes()
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(p.grad is None for p in model.parameters())


def test_targets_that_want_the_same_agree_and_opposite_ones_do_not() -> None:
    model, x = nn.Linear(3, 1), torch.randn(8, 3)
    for sign in (1.0, -1.0):

        def judge(sign: float = sign) -> tuple[Tensor, Tensor]:
            said = model(x).mean()
            return torch.stack([said, sign * 2 * said]), torch.tensor([True, True])

        assert measured(judge, model)[0, 1] == pytest.approx(sign)


def test_the_fixed_batch_is_the_seeds() -> None:
    before = torch.get_rng_state()
    assert torch.equal(fixed_positions(20, 8, 1), fixed_positions(20, 8, 1))
    assert not torch.equal(fixed_positions(20, 8, 1), fixed_positions(20, 8, 2))
    assert len(fixed_positions(5, 8, 1)) == 5
    assert torch.equal(torch.get_rng_state(), before)


# ----------------------------------------------------------------------------------------------------------- in training
def trained(table: WindowTable, settings: TrainingSettings, name: str = "hard_sharing") -> FitResult:
    torch.manual_seed(0)
    model = models.build(name, models.MODELS[name].settings(width=8), spec_of(table))
    return fit(model, TrainingData(table, FOLD, Scaler.fit(table, FOLD.train)), settings, 0)


@pytest.mark.parametrize("weighting", ["sum", "uncertainty", "mgda"])
@pytest.mark.parametrize("name", ["hard_sharing", "split_merge"])
def test_the_history_has_them(make_table: MakeTable, weighting: Any, name: str) -> None:
    found = trained(make_table(), replace(QUICK, weighting=weighting), name)
    told = [row["cosine_sbp_dbp"] for row in found.history]
    assert all(-1.0 <= value <= 1.0 for value in told)
    assert len(set(told)) == 3


def test_a_target_that_the_fixed_batch_has_not_has_none(make_table: MakeTable) -> None:
    table = make_table()
    table.targets[fixed_positions(48, 16, 0).numpy(), 1] = np.nan
    assert all(math.isnan(row["cosine_sbp_dbp"]) for row in trained(table, QUICK).history)
    # A rule meets the target in other batches.
    met = trained(table, replace(QUICK, weighting="mgda")).history
    assert all(math.isfinite(row["cosine_sbp_dbp"]) for row in met)


def test_one_target_has_no_column(make_table: MakeTable) -> None:
    table = replace(make_table(), targets=make_table().targets[:, :1], target_names=("sbp",))
    for weighting in ("sum", "mgda"):
        found = trained(table, replace(QUICK, weighting=weighting))
        assert not [key for key in found.history[0] if key.startswith("cosine")]
