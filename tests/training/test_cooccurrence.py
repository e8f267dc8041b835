"""Laws of soft labels from another target: the equation, who gets a gradient, and that it teaches what it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, fit, predict, spec_of
from biosig_mtl.training.augmentation import NO_AUGMENTATION
from biosig_mtl.training.cooccurrence import Cooccurrence, CooccurrenceLoss, View, cooccurrence_losses, counted
from biosig_mtl.training.hooks import Hooks
from biosig_mtl.types import Batch, DataError, Fold, Head, Output, RecipeError, WindowTable

CLASSED = (Head("binary", (0.5,)), Head("classes", (4.0, 6.0)))
NOTHING = nn.Module()


def batch_of(targets: Any, weight: Any = None) -> Batch:
    given = torch.tensor(targets, dtype=torch.float32)
    n = len(given)
    empty = torch.empty(n, 0, 0)
    return Batch(empty, torch.empty(n, 0), torch.empty(n, 0, dtype=torch.bool), given, torch.tensor(weight or [1.0] * n))


def said(logits: Tensor) -> Output:
    return Output(logits[..., 0], logits=logits)


def table_of(targets: Any, heads: tuple[Head, ...], values: Any = None, subjects: int = 4) -> WindowTable:
    given = np.asarray(targets, np.float32)
    n = len(given)
    inputs = np.zeros((n, 1), np.float32) if values is None else np.asarray(values, np.float32)
    index = pd.DataFrame({"subject": [f"s{i % subjects}" for i in range(n)]})
    names = tuple(f"hr.{j}" for j in range(inputs.shape[1]))
    return WindowTable(
        index, inputs, names, np.empty((n, 0, 0), np.float32), (), 1.0, given, ("stress", "arousal"), heads=heads
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ the equation
def test_the_loss_is_the_cross_entropy_of_the_mixed_rows() -> None:
    """By hand: ŷ_A = (¾, ¼), rows (1, 0, 0) and (0, ½, ½), so q = (¾, ⅛, ⅛); ŷ_B uniform on three gives log 3."""
    loss = CooccurrenceLoss(View(0, 2), View(1, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), weight=2.0)
    logits = torch.tensor([[[np.log(3.0), 0.0, -np.inf], [0.0, 0.0, 0.0]]], dtype=torch.float32)
    assert loss.wanted(said(logits))[0].tolist() == pytest.approx([0.75, 0.125, 0.125])
    assert float(loss(NOTHING, said(logits), batch_of([[1.0, np.nan]]), 0)) == pytest.approx(2.0 * np.log(3.0), rel=1e-5)


def test_only_windows_that_lack_the_label_count_and_by_their_weight() -> None:
    loss = CooccurrenceLoss(View(0, 2), View(1, 2), torch.eye(2))
    logits = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    each = [float(loss(NOTHING, said(logits[i : i + 1]), batch_of([[0.0, np.nan]]), 0)) for i in range(3)]
    found = loss(NOTHING, said(logits), batch_of([[0.0, np.nan], [np.nan, 1.0], [0.0, np.nan]], [1.0, 5.0, 3.0]), 0)
    assert float(found) == pytest.approx((each[0] + 3 * each[2]) / 4, rel=1e-5)
    assert float(loss(NOTHING, said(logits), batch_of([[np.nan, 1.0]] * 3), 0)) == 0.0


def test_no_gradient_reaches_the_target_that_teaches() -> None:
    loss = CooccurrenceLoss(View(0, 2), View(1, 2), torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    logits = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss(NOTHING, said(logits), batch_of([[1.0, np.nan]] * 4), 0).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert bool((logits.grad[:, 0] == 0).all())
    assert bool((logits.grad[:, 1] != 0).all())


def test_the_weight_rises_over_epochs() -> None:
    loss = CooccurrenceLoss(View(0, 2), View(1, 2), torch.eye(2), ramp_epochs=4)
    given = said(torch.ones(1, 2, 2)), batch_of([[1.0, np.nan]])
    told = [float(loss(NOTHING, *given, epoch)) for epoch in (0, 2, 4, 9)]
    assert told == pytest.approx([0.0, np.log(2) / 2, np.log(2), np.log(2)])


# ------------------------------------------------------------------------------------------------------------- soft classes
def test_soft_bins_are_shares_that_harden_as_they_get_narrow() -> None:
    value = torch.linspace(-3.0, 3.0, 13)[:, None]
    for softness in (0.05, 0.5, 5.0):
        shares = View(0, 3, (-1.0, 1.2), softness).shares(Output(value))
        assert shares.sum(1).tolist() == pytest.approx([1.0] * 13, abs=1e-5)
        assert bool((shares >= 0).all())
    hard = View(0, 3, (-1.1, 1.2), 0.01).shares(Output(value)).argmax(1)
    assert hard.tolist() == np.digitize(value[:, 0].numpy(), (-1.1, 1.2), right=True).tolist()


def test_a_regression_is_pulled_into_the_class_that_it_should_have() -> None:
    loss = CooccurrenceLoss(View(0, 2, (0.0,)), View(1, 2, (0.0,)), torch.eye(2))
    value = torch.tensor([[4.0, -3.0]], requires_grad=True)
    loss(NOTHING, Output(value), batch_of([[1.0, np.nan]]), 0).backward()  # type: ignore[no-untyped-call]
    assert value.grad is not None
    assert float(value.grad[0, 0]) == 0.0
    assert float(value.grad[0, 1]) < -0.1


def test_edges_are_brought_to_scaled_units() -> None:
    table = table_of(np.tile([[0.0, 60.0], [1.0, 100.0]], (4, 1)), (Head("binary", (0.5,)), Head()))
    scaler = Scaler.fit(table, np.arange(8))
    made = cooccurrence_losses([Cooccurrence("stress", "arousal", edges={"arousal": (90.0,)})], table, np.arange(8), scaler)
    assert made[0].told.edges == pytest.approx((0.5,))
    assert made[0].table.argmax(1).tolist() == [0, 1]


# ---------------------------------------------------------------------------------------------------------------- the table
def test_a_counted_table_is_that_of_the_windows_with_both_labels() -> None:
    a = np.array([0, 0, 0, 1, 1, np.nan, 1])
    b = np.array([0, 0, 1, 1, 1, 0, np.nan])
    assert counted(a, b, (2, 2), np.ones(7), 0.0) == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))
    assert counted(a, b, (3, 2), np.ones(7), 0.0)[2] == pytest.approx([0.4, 0.6])
    drawn = counted(a, b, (3, 2), np.ones(7), 2.0)
    assert drawn.sum(axis=1) == pytest.approx(np.ones(3))
    assert drawn[1] == pytest.approx([0.8 / 4, 3.2 / 4])


def test_only_training_rows_are_counted_and_each_person_has_the_same_say() -> None:
    targets = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 9.0], [1.0, 9.0], [0.0, 9.0], [1.0, 5.0]])
    table = table_of(targets, CLASSED)
    table.index["subject"] = ["p", "p", "q", "q", "q", "r"]
    rows = np.arange(4)
    pair = Cooccurrence("stress", "arousal", pseudo=0.0)
    found = cooccurrence_losses([pair], table, rows, Scaler.fit(table, rows))[0].table
    # p: two windows of (0, low), q: one of (0, high) and one of (1, high), all with the weight of half a person.
    assert found.numpy() == pytest.approx(np.array([[2 / 3, 0, 1 / 3], [0, 0, 1]]))


def test_a_given_table_needs_no_window_with_both() -> None:
    targets = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, 3.0], [np.nan, 8.0]])
    table, rows = table_of(targets, CLASSED), np.arange(4)
    scaler = Scaler.fit(table, rows)
    with pytest.raises(DataError, match="no training window has both"):
        cooccurrence_losses([Cooccurrence("stress", "arousal")], table, rows, scaler)
    given = ((0.5, 0.3, 0.2), (0.1, 0.3, 0.6))
    found = cooccurrence_losses([Cooccurrence("stress", "arousal", given)], table, rows, scaler)[0].table
    assert found.numpy() == pytest.approx(np.array(given))
    with pytest.raises(RecipeError, match="need a table of 2 rows of 3, got 3 of 2"):
        cooccurrence_losses([Cooccurrence("stress", "arousal", ((0.5, 0.5),) * 3)], table, rows, scaler)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Cooccurrence("stress", "calm"), "no target 'calm'; there are stress, arousal"),
        (Cooccurrence("stress", "arousal", edges={"stress": (0.5,)}), "'stress' has classes of its own"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(pair: Cooccurrence, said: str) -> None:
    table = table_of([[0.0, 1.0], [1.0, 9.0]], CLASSED)
    with pytest.raises(RecipeError, match=said):
        cooccurrence_losses([pair], table, np.arange(2), Scaler.fit(table, np.arange(2)))


def test_a_regression_without_edges_and_heads_without_logits_are_refused() -> None:
    table = table_of([[0.0, 1.0], [1.0, 9.0]], (Head(), Head()))
    with pytest.raises(RecipeError, match="answered by a number: give its edges"):
        cooccurrence_losses([Cooccurrence("stress", "arousal")], table, np.arange(2), Scaler.fit(table, np.arange(2)))
    with pytest.raises(ValueError, match="need logits"):
        View(0, 2).shares(Output(torch.zeros(1, 1)))


@pytest.mark.parametrize(
    "words",
    [
        {"told": "stress"},
        {"softness": 0.0},
        {"weight": -1.0},
        {"edges": {"arousal": (5.0, 4.0)}},
        {"edges": {"calm": (5.0,)}},
        {"table": ((0.5, 0.6),)},
        {"table": ((0.5, 0.5), (1.0,))},
    ],
)
def test_nonsense_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        Cooccurrence(**{"given": "stress", "told": "arousal"} | words)


# ------------------------------------------------------------------------------------------------------------- known answer
def known_answer(seed: int) -> tuple[WindowTable, Fold]:
    """Return windows of 60 people who are calm where they are neither at rest nor stressed; two of 24 told whether they are.

    The 24 were all asked how stressed they are (three classes), so that stress can be learned; calm follows from it, but not by
    any threshold, and two people's windows are few to learn a band from.
    """
    rng = np.random.default_rng(seed)
    people, per = 60, 8
    values = rng.normal(size=(people * per, 8))
    slopes = rng.normal(size=8)
    stress = values @ slopes / np.linalg.norm(slopes) + 0.1 * rng.normal(size=len(values))
    calm = (np.abs(stress) < 0.67).astype(float)
    person = np.repeat(np.arange(people), per)
    calm = np.where((person >= 2) & (person < 24), np.nan, calm)
    heads = Head("classes", (-0.67, 0.67)), Head("binary", (0.5,))
    table = table_of(np.stack([stress, calm], axis=1), heads, values)
    table.index["subject"] = [f"s{one:02d}" for one in person]
    row = np.arange(len(person))
    return table, Fold(row[person < 24], row[(person >= 24) & (person < 30)], row[person >= 30], seed=seed)


def accuracy(table: WindowTable, fold: Fold, *, matched: bool) -> float:
    scaler = Scaler.fit(table, fold.train)
    torch.manual_seed(fold.seed)
    settings = HardSharingSettings(width=8, dropout=0.0, linear_skip=False, use_waveform=False)
    model = models.build("hard_sharing", settings, spec_of(table))
    pairs = [Cooccurrence("stress", "arousal", ramp_epochs=3)] if matched else []
    hooks = Hooks(extra=cooccurrence_losses(pairs, table, fold.train, scaler))
    training = TrainingSettings(epochs=15, lr=0.01, batch_size=32, patience=0, augmentation=NO_AUGMENTATION)
    fit(model, TrainingData(table, fold, scaler, hooks), training, seed=fold.seed)
    found = predict(model, table, fold.test, scaler)[:, 1] > 0.5
    return float((found == (table.targets[fold.test, 1] > 0.5)).mean())


def test_a_target_with_few_labels_learns_from_one_with_many() -> None:
    """Both seeds gain, and clearly: 0.55 and 0.61 of right answers without the table, 0.69 and 0.84 with it; chance is 0.5."""
    alone, with_it = (
        np.array([accuracy(*known_answer(seed), matched=matched) for seed in (0, 1)]) for matched in (False, True)
    )
    assert (with_it > alone + 0.05).all(), (alone, with_it)
