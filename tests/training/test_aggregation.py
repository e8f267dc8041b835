"""Rules between gradients: what they are shown, what they are not, and that training goes on whatever a batch lacks."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.training.aggregation import AGGREGATORS, Aggregation, Rule
from biosig_mtl.training.batches import Scaler, spec_of, to_batch
from biosig_mtl.training.descent import Descent
from biosig_mtl.training.gradients import shared_columns, task_gradients
from biosig_mtl.training.loop import FitResult, TrainingData, fit
from biosig_mtl.training.losses import masked_loss
from biosig_mtl.training.settings import TrainingSettings
from biosig_mtl.training.weighting import Weighting
from biosig_mtl.types import Batch, Fold, RecipeError, WindowTable

MakeTable = Callable[..., WindowTable]
FOLD = Fold(train=np.arange(48), validation=np.arange(48, 64), test=np.arange(64, 80))
QUICK = TrainingSettings(epochs=3, batch_size=16, mi_ramp_epochs=2, patience=0)


def installed(word: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("torchjd", *AGGREGATORS[word].needs))


HERE = [word for word in AGGREGATORS if installed(word)]


def network(table: WindowTable, name: str = "split_merge") -> nn.Module:
    torch.manual_seed(0)
    settings = models.MODELS[name].settings(width=8, stride=8, dropout=0.0)
    return models.build(name, settings, spec_of(table))


def trained(table: WindowTable, settings: TrainingSettings) -> FitResult:
    return fit(network(table), TrainingData(table, FOLD, Scaler.fit(table, FOLD.train)), settings, 0)


def judged(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return losses, which are present, and something that belongs to no target."""
    out = model(batch)
    losses, present = masked_loss(out.predictions, batch.targets, batch.weight, "huber")
    rest = out.splits.square().mean() if out.splits is not None else out.predictions.square().mean()
    return losses, present, rest


def gradient(model: nn.Module, batch: Batch, word: str, share: float = 0.0) -> dict[str, Tensor]:
    """Return the gradient of every weight that has one."""
    losses, present, rest = judged(model, batch)
    Descent(model, [], word, 0.0)(losses, present, share * rest if share else None, lambda _: losses)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain(model: nn.Module, batch: Batch, share: float = 0.0) -> dict[str, Tensor]:
    model.zero_grad()
    losses, _, rest = judged(model, batch)
    (losses.sum() + share * rest).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGGREGATORS, "rows", Rule("Sum"))
    monkeypatch.setitem(AGGREGATORS, "mean", Rule("Mean", "count"))


def batch_of(table: WindowTable) -> Batch:
    return to_batch(table, np.arange(32), Scaler.fit(table, np.arange(48)))


# ------------------------------------------------------------------------------------------------------------- one sum
def test_the_words_of_the_recipe_are_the_rules_here() -> None:
    assert set(get_args(Weighting)) == {"sum", "fixed", "uncertainty", "dwa", *AGGREGATORS}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("name", ["split_merge", "hard_sharing"])
@pytest.mark.parametrize("word", ["sum", "rows", "mean"])
@pytest.mark.parametrize("absent", [False, True])
def test_sums_of_any_kind_are_what_autograd_says(make_table: MakeTable, name: str, word: str, absent: bool) -> None:
    table = make_table()
    if absent:
        table.targets[:32, 1] = np.nan
    batch, model = batch_of(table), network(table, name)
    expected, found = plain(model, batch, 0.3), gradient(model, batch, word, 0.3)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.allclose(found[key], value, atol=1e-6), key


@pytest.mark.parametrize("word", HERE)
def test_gradients_that_agree_give_their_sum(word: str) -> None:
    row = torch.randn(50, generator=torch.Generator().manual_seed(0))
    much = 3 if word == "cagrad" else 2  # 1 + c times the sum
    assert torch.allclose(Aggregation(word)(torch.stack([row, row])), much * row, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("word", [w for w in HERE if w not in {"pcgrad", "graddrop"}])
def test_swapping_the_targets_changes_nothing(word: str) -> None:
    rows = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(Aggregation(word)(rows), Aggregation(word)(rows.flip(0)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("word", ["upgrad", "mgda", "pcgrad", "config", "dualproj"])
def test_no_target_pays_for_another(word: str) -> None:
    if not installed(word):
        pytest.skip("a package is not installed")
    rows = torch.tensor([[1.0, 0.0, 0.2], [-2.0, 1.0, 0.2]])
    assert (rows @ rows.sum(0) < 0).any()
    # The quadratic programs are solved with a little ridge, hence not exactly 0.
    assert (rows @ Aggregation(word)(rows) > -0.01).all()


@pytest.mark.parametrize("word", HERE)
def test_a_row_of_zeros_and_a_single_row_do_not_count(word: str) -> None:
    rows = torch.randn(3, 20, generator=torch.Generator().manual_seed(1))
    rows[1] = 0.0
    rule = Aggregation(word)
    torch.manual_seed(0)
    with_zeros = rule(rows)
    rule = Aggregation(word)
    torch.manual_seed(0)
    assert torch.equal(with_zeros, rule(rows[[0, 2]]))
    assert with_zeros.abs().sum() > 0
    assert torch.equal(rule(rows[:2]), rows[0])
    assert torch.equal(rule(rows[:0]), torch.zeros(20))


# --------------------------------------------------------------------------------------------------- what a rule is shown
@pytest.mark.parametrize("word", ["mgda", "aligned_mtl"])
def test_what_belongs_to_no_target_is_not_weighed(make_table: MakeTable, word: str) -> None:
    table = make_table()
    batch, model = batch_of(table), network(table)
    without, much = gradient(model, batch, word), gradient(model, batch, word, 50.0)
    _, _, rest = judged(model, batch)
    named = dict(model.named_parameters())
    alone = torch.autograd.grad(50.0 * rest, list(named.values()), allow_unused=True)
    for (key, value), other in zip(named.items(), alone, strict=True):
        expected = without.get(key, torch.zeros_like(value)) + (0.0 if other is None else other)
        assert torch.allclose(much.get(key, torch.zeros_like(value)), expected, rtol=1e-4, atol=1e-5), key


def test_only_shared_weights_are_weighed_to_the_slice(make_table: MakeTable) -> None:
    table = make_table()
    batch, model = batch_of(table), network(table)
    losses, _, _ = judged(model, batch)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows, _ = task_gradients(list(losses), list(named.values()))
    parts = dict(zip(named, torch.split(shared_columns(rows), [p.numel() for p in named.values()]), strict=True))
    shared = {name: part.view_as(named[name]) for name, part in parts.items()}
    # The backbone is shared, heads are not, although the heads of all targets lie in one tensor.
    assert any(part.any() for name, part in shared.items() if name.startswith("tokens."))
    assert not any(part.any() for name, part in shared.items() if name.startswith(("heads.", "answers.")))
    expected, found = plain(model, batch), gradient(model, batch, "mgda")
    different = 0
    for name, here in shared.items():
        if name in expected:
            assert torch.allclose(found[name][~here], expected[name][~here], atol=1e-6)
            different += int((found[name][here] - expected[name][here]).abs().gt(1e-5).sum())
    assert different > 100


def test_learnt_weights_of_losses_get_their_plain_gradient(make_table: MakeTable) -> None:
    table = make_table()
    batch, model = batch_of(table), network(table)
    size = nn.Parameter(torch.zeros(2))
    losses, present, _ = judged(model, batch)
    Descent(model, [size], "mgda", 0.0)(torch.exp(-size) * losses, present, None, lambda _: losses)
    assert size.grad is not None
    assert torch.allclose(size.grad, -losses.detach())


# ----------------------------------------------------------------------------------------------------------- in training
@pytest.mark.parametrize("word", HERE)
def test_a_target_without_labels_does_not_stop_training(make_table: MakeTable, word: Any) -> None:
    table = make_table()
    table.targets[2:64, 1] = np.nan
    table.targets[8:24] = np.nan
    before = network(table).state_dict()
    found = trained(table, replace(QUICK, weighting=word, batch_size=8, average=0.0))
    assert all(math.isfinite(row["loss"]) for row in found.history)
    moved = [k for k, v in before.items() if k.startswith("tokens.") and not torch.equal(v, found.state[k])]
    assert len(moved) > 5


def test_every_rule_trains_its_own_network_and_repeats_itself(make_table: MakeTable) -> None:
    table = make_table()
    words: list[Any] = ["sum", *HERE]
    runs = {word: trained(table, replace(QUICK, weighting=word, epochs=2)) for word in words}
    ends = {word: torch.cat([v.flatten().double() for v in run.state.values()]) for word, run in runs.items()}
    for i, word in enumerate(words):
        for other in words[:i]:
            assert not torch.equal(ends[word], ends[other]), (word, other)
    random: list[Any] = ["pcgrad", "graddrop"]
    for word in random:
        again = trained(table, replace(QUICK, weighting=word, epochs=2))
        assert repr(again.history) == repr(runs[word].history)


# -------------------------------------------------------------------------------------------------------------- failures
@pytest.mark.parametrize(
    ("word", "missing", "message"),
    [
        ("upgrad", "quadprog", r"'upgrad' needs quadprog: pip install \"biosig-mtl\[grad\]\""),
        ("mgda", "torchjd", r"'mgda' needs torchjd: pip install \"biosig-mtl\[grad\]\""),
        ("cagrad", "cvxpy", "'cagrad' needs cvxpy.*: pip install cvxpy clarabel"),
        ("nash_mtl", "ecos", "'nash_mtl' needs .*ecos: pip install cvxpy ecos"),
    ],
)
def test_a_missing_package_is_told_with_the_way_to_get_it(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch, word: Any, missing: str, message: str
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(RecipeError, match=message):
        trained(make_table(), replace(QUICK, weighting=word))


class Lost:
    def __call__(self, rows: Tensor) -> Tensor:
        return rows.sum(0) * math.nan


def test_a_rule_that_says_nothing_finite_is_passed_over_and_told(
    make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchjd.aggregation

    monkeypatch.setattr(torchjd.aggregation, "MGDA", Lost)
    found = trained(make_table(), replace(QUICK, weighting="mgda"))
    assert any("'mgda' found no direction 9 times" in told for told in found.warnings)
    monkeypatch.undo()
    expected = trained(make_table(), QUICK)
    assert [row["loss"] for row in found.history] == pytest.approx([row["loss"] for row in expected.history], rel=1e-4)


class Bargaining:
    """Remembers how often it was asked, where Nash-MTL keeps its last bargain."""

    def __init__(self, n_tasks: int) -> None:
        self.weighting = SimpleNamespace(prvs_alpha=np.zeros(n_tasks))

    def __call__(self, rows: Tensor) -> Tensor:
        self.weighting.prvs_alpha = self.weighting.prvs_alpha + 1
        return torch.from_numpy(self.weighting.prvs_alpha).to(rows) @ rows


def test_memory_is_kept_by_number_of_targets_through_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchjd.aggregation

    monkeypatch.setattr(torchjd.aggregation, "Bargaining", Bargaining, raising=False)
    monkeypatch.setitem(AGGREGATORS, "bargaining", Rule("Bargaining", counts=True, remembers=True))
    one, other = Aggregation("bargaining"), Aggregation("bargaining")
    for tasks in (2, 3, 2):
        one(torch.ones(tasks, 4))
    other.load_state_dict(one.state_dict())
    assert other(torch.ones(2, 4)).tolist() == [6.0] * 4  # asked the third time by two targets
    assert other(torch.ones(3, 4)).tolist() == [6.0] * 4  # the second time by three


@pytest.mark.skipif("nash_mtl" not in HERE, reason="cvxpy or ecos is not installed")
def test_the_last_bargain_is_remembered() -> None:
    rows = torch.randn(4, 2, 30, generator=torch.Generator().manual_seed(0))
    one, other = Aggregation("nash_mtl"), Aggregation("nash_mtl")
    for row in rows[:3]:
        one(row)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(rows[3]), other(rows[3]))


def test_a_rule_without_memory_has_an_empty_state() -> None:
    rule = Aggregation("mgda")
    rule(torch.eye(3))
    assert rule.state_dict() == {"skipped": 0, "kept": {}}
