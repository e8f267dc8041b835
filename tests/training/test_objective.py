"""Losses of heads: golden values, identities, and finite gradients where nothing varies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biosig_mtl.training.losses import CCC_LEAST, Objective, class_terms, concordance_loss, masked_loss
from biosig_mtl.training.scoring import validation_scores
from biosig_mtl.training.severity import Severity, has_raters
from biosig_mtl.types import Head

ONE = torch.ones(40)


def ccc(x: np.ndarray, y: np.ndarray) -> float:
    return float(2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


# ------------------------------------------------------------------------------------------------------------ concordance
def test_concordance_of_identity_is_one_and_of_a_constant_zero() -> None:
    y = torch.randn(40, generator=torch.Generator().manual_seed(0))
    assert float(concordance_loss(y, y, ONE)) == pytest.approx(0.0, abs=1e-6)
    assert float(concordance_loss(torch.full((40,), 3.0), y, ONE)) == pytest.approx(1.0, abs=1e-6)
    assert float(concordance_loss(-(y - y.mean()) + y.mean(), y, ONE)) == pytest.approx(2.0, abs=1e-5)


def test_concordance_is_its_formula_and_the_unknown_does_not_count() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 2, 60), rng.normal(0, 1, 60)
    told = concordance_loss(torch.tensor(x), torch.tensor(y), torch.ones(60))
    assert float(told) == pytest.approx(1 - ccc(x, y), abs=1e-7)
    some = y.copy()
    some[::3] = np.nan
    known = ~np.isnan(some)
    told = concordance_loss(torch.tensor(x), torch.tensor(some), torch.ones(60))
    assert float(told) == pytest.approx(1 - ccc(x[known], y[known]), abs=1e-7)
    weight = rng.integers(1, 4, 60)
    told = concordance_loss(torch.tensor(x), torch.tensor(y), torch.tensor(weight, dtype=torch.float64))
    assert float(told) == pytest.approx(1 - ccc(np.repeat(x, weight), np.repeat(y, weight)), abs=1e-7)


@pytest.mark.parametrize(
    ("x", "y"),
    [(0.0, 0.0), (2.0, 2.0), (1.0, -1.0), (0.0, None), (None, 0.0)],
    ids=["both zero", "same constant", "two constants", "constant estimate", "constant truth"],
)
@pytest.mark.parametrize("size", [1, 40])
def test_gradients_of_concordance_are_finite(x: float | None, y: float | None, size: int) -> None:
    rng = torch.Generator().manual_seed(0)
    said = torch.full((size,), x) if x is not None else torch.randn(size, generator=rng)
    true = torch.full((size,), y) if y is not None else torch.randn(size, generator=rng)
    said.requires_grad_()
    for truth in (true, torch.full((size,), math.nan)):
        said.grad = None
        loss = concordance_loss(said, truth, torch.ones(size))
        loss.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(loss)
        assert said.grad is not None
        assert torch.isfinite(said.grad).all()


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-5, 5))
def test_concordance_does_not_change_with_a_common_scale(seed: int, gain: float, offset: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 40, generator=rng, dtype=torch.float64)
    plain = concordance_loss(x, y, ONE)
    torch.testing.assert_close(concordance_loss(gain * x + offset, gain * y + offset, ONE), plain, atol=1e-5, rtol=1e-5)
    assert 0 <= float(plain) <= 2


def test_few_windows_fall_back_to_the_plain_loss() -> None:
    objective = Objective.fit((Head(ccc=1.0), Head(ccc=0.25)), "huber", np.zeros((3, 2)), np.ones(3))
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 40, 2, generator=rng)
    y[CCC_LEAST - 1 :, 0] = math.nan  # one window too few
    losses, present = objective(x, None, y, ONE)
    plain, _ = masked_loss(x, y, ONE, "huber")
    assert present.all()
    assert losses[0] == plain[0]
    torch.testing.assert_close(losses[1], 0.75 * plain[1] + 0.25 * concordance_loss(x[:, 1], y[:, 1], ONE))


# ---------------------------------------------------------------------------------------------------------------- classes
def test_neighbours_of_the_true_class_by_hand() -> None:
    # q_k ∝ exp(−½ ((k − 1) / 0.5)²) for k = 0, 1, 2: exp(−2), 1, exp(−2)
    side = math.exp(-2)
    q = np.array([side, 1, side]) / (1 + 2 * side)
    logits = torch.tensor([[0.2, -0.3, 1.0]])
    logs = torch.log_softmax(logits, 1)[0].numpy()
    told = class_terms(logits, torch.tensor([1.0]), 0.5)
    assert float(told) == pytest.approx(-(q * logs).sum(), abs=1e-6)
    # Least where the shares are the neighbours' own: the entropy of q.
    least = class_terms(torch.log(torch.tensor(q, dtype=torch.float32))[None], torch.tensor([1.0]), 0.5)
    assert float(least) == pytest.approx(-(q * np.log(q)).sum(), abs=1e-6)


def test_a_near_miss_costs_less_than_a_far_one_only_with_order() -> None:
    sure = 8.0 * torch.eye(5)
    ordinal = class_terms(sure, torch.zeros(5), 1.0)
    assert (ordinal.diff()[1:] > 0).all()
    nominal = class_terms(sure, torch.zeros(5))
    torch.testing.assert_close(nominal[1:], nominal[1:].mean().expand(4))
    torch.testing.assert_close(class_terms(sure, torch.arange(5.0), 1e-2), class_terms(sure, torch.arange(5.0)))


def test_cross_entropy_is_torchs_and_the_unknown_has_no_gradient() -> None:
    logits = torch.randn(6, 4, requires_grad=True)
    numbers = torch.tensor([0.0, 3.0, math.nan, 2.0, 2.0, math.nan])
    terms = class_terms(logits, numbers)
    known = ~torch.isnan(numbers)
    expected = torch.nn.functional.cross_entropy(logits[known], numbers[known].long(), reduction="none")
    torch.testing.assert_close(terms[known], expected)
    terms.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[~known] == 0).all()
    assert torch.isfinite(logits.grad).all()


def test_a_balanced_head_gives_classes_the_same_total_weight() -> None:
    numbers = np.array([[0.0]] * 6 + [[2.0]] * 2 + [[np.nan]])  # class 1 never occurs
    head = Head("classes", (4.0, 6.0), balanced=True)
    objective = Objective.fit((head,), "huber", numbers, np.ones(9))
    each = objective.window_weight(0, torch.from_numpy(numbers[:, 0]), torch.ones(9))
    assert float(each[:6].sum()) == pytest.approx(4.0)
    assert float(each[6:8].sum()) == pytest.approx(4.0)
    assert each[8] == 0
    plain = Objective.fit((Head("classes", (4.0, 6.0)),), "huber", numbers, np.ones(9))
    assert plain.window_weight(0, torch.from_numpy(numbers[:, 0]), torch.ones(9)).tolist() == [1.0] * 8 + [0.0]
    logits = torch.randn(9, 1, 3)
    losses, _ = objective(torch.zeros(9, 1), logits, torch.from_numpy(numbers).float(), torch.ones(9))
    terms = class_terms(logits[:, 0], torch.from_numpy(numbers[:, 0]))
    assert float(losses) == pytest.approx(float(terms[:6].mean() + terms[6:8].mean()) / 2, abs=1e-6)


def test_any_mix_of_heads_is_masked_target_by_target() -> None:
    heads = (Head(), Head("binary", (5.0,)), Head("ordinal", (3.0, 6.0)), Head("rasch", (5.0,)))
    objective = Objective.fit(heads, "huber", np.zeros((2, 4)), np.ones(2))
    rng = torch.Generator().manual_seed(0)
    said, logits = torch.randn(8, 4, generator=rng), torch.randn(8, 4, 3, generator=rng)
    logits[:, [1, 3], 2] = -math.inf
    said.requires_grad_()
    logits.requires_grad_()
    targets = torch.tensor([[0.3, 1.0, 2.0, 0.0]]).repeat(8, 1)
    targets[:, 1] = math.nan
    targets[2:, 2] = math.nan
    losses, present = objective(said, logits, targets, torch.ones(8))
    assert present.tolist() == [True, False, True, True]
    assert losses[1] == 0
    losses.sum().backward()  # type: ignore[no-untyped-call]
    grad: Tensor | None = logits.grad
    assert grad is not None
    assert torch.isfinite(grad).all()
    assert (grad[:, :2] == 0).all()
    assert (grad[:2, 2] != 0).all()
    assert (grad[2:, 2] == 0).all()
    assert said.grad is not None
    assert (said.grad[:, 1:] == 0).all()
    assert (said.grad[:, 0] != 0).all()


# ------------------------------------------------------------------------------------------------------------------ scores
def test_the_score_of_classes_is_one_for_knowing_nothing_and_weighs_subjects_alike() -> None:
    heads = (Head(), Head("classes", (4.0, 6.0)))
    objective = Objective.fit(heads, "huber", np.zeros((2, 2)), np.ones(2))
    subject = np.array(["a"] * 6 + ["b"] * 2)
    targets = np.stack([np.zeros(8), np.r_[np.arange(6) % 3, 2.0, np.nan]], axis=1).astype(np.float32)
    even = validation_scores(objective, torch.ones(8, 2), torch.zeros(8, 2, 3), targets, subject)
    assert even == pytest.approx([1.0, 1.0])
    sure = torch.zeros(8, 2, 3)
    sure[6, 1, 2] = 50.0  # b's only known window is right
    assert validation_scores(objective, torch.ones(8, 2), sure, targets, subject)[1] == pytest.approx(0.5)
    nothing = validation_scores(objective, torch.ones(8, 2), sure, targets * np.nan, subject)
    assert np.isnan(nothing).all()


# ---------------------------------------------------------------------------------------------------------------- severity
def test_severities_have_mean_zero_and_belong_to_latent_heads() -> None:
    heads = (Head(), Head("rasch", (3.0, 6.0)))
    severity = Severity(np.array(["b", "a", "b", "c"]), heads)
    assert float(severity.penalty().detach()) == 0.0
    with torch.no_grad():
        severity.raw.normal_()
    every = severity.all()
    assert severity.people.tolist() == ["a", "b", "c"]
    torch.testing.assert_close(every.mean(0), torch.zeros(2))
    assert (every[:, 0] == 0).all()
    assert torch.equal(severity(torch.tensor([3, 0, 2])), every[[2, 1, 1]])
    assert float(severity.penalty().detach()) == pytest.approx(float(every[:, 1].square().mean().detach()))
    assert has_raters(heads)
    assert not has_raters((Head("ordinal", (3.0,)), Head()))
