"""How losses of targets become one number."""

from __future__ import annotations

import math

import pytest
import torch

from biosig_mtl.training.weighting import LossWeights, Weighting

LOSSES, BOTH = torch.tensor([2.0, 4.0]), torch.tensor([True, True])


@pytest.mark.parametrize(
    ("kind", "expected"), [("sum", 6.0), ("dwa", 6.0), ("fixed", 7.0), ("uncertainty", 3.0), ("mgda", 6.0)]
)
def test_the_first_total(kind: Weighting, expected: float) -> None:
    weights = LossWeights(kind, 2, (1.5, 1.0) if kind == "fixed" else ())
    assert weights(LOSSES, BOTH).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["sum", "dwa", "uncertainty"])
def test_an_absent_target_contributes_nothing(kind: Weighting) -> None:
    weights = LossWeights(kind, 2)
    losses = torch.tensor([2.0, 99.0], requires_grad=True)
    weights(losses, torch.tensor([True, False])).backward()
    assert losses.grad is not None
    assert losses.grad[1] == 0
    if weights.log_variance is not None:
        assert weights.log_variance.grad is not None
        assert weights.log_variance.grad[1] == 0


def test_dwa_waits_two_epochs_then_favours_the_target_that_falls_slower() -> None:
    weights = LossWeights("dwa", 2)
    weights.end_epoch(torch.tensor([1.0, 1.0]))
    assert weights.weights.tolist() == [1, 1]
    weights.end_epoch(torch.tensor([0.5, 0.9]))
    expected = 2 * torch.softmax(torch.tensor([0.5, 0.9]) / 2, 0)
    assert torch.allclose(weights.weights, expected)
    weights.end_epoch(torch.tensor([math.nan, 0.8]))
    assert torch.isfinite(weights.weights).all()
    assert weights.weights.sum().item() == pytest.approx(2.0)


def test_uncertainty_learns_the_size_of_each_loss() -> None:
    weights = LossWeights("uncertainty", 2)
    assert weights.log_variance is not None
    optimiser = torch.optim.SGD(weights.parameters(), lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        weights(LOSSES, BOTH).backward()
        optimiser.step()
    assert torch.allclose(weights.log_variance.detach(), LOSSES.log(), atol=1e-2)


def test_fixed_weights_need_one_per_target() -> None:
    with pytest.raises(ValueError, match=r"one fixed weight per target \(2\), got 1"):
        LossWeights("fixed", 2, (1.0,))


def test_uncertainty_becomes_negative_where_losses_are_small() -> None:
    weights = LossWeights("uncertainty", 2)
    assert weights.log_variance is not None
    small = torch.tensor([0.01, 0.02])
    with torch.no_grad():
        weights.log_variance.copy_(small.log())
    assert weights(small, BOTH).item() < 0
