"""What is unknown does not count."""

from __future__ import annotations

import math

import pytest
import torch

from biosig_mtl.training.losses import Loss, mask_coverage, masked_loss


@pytest.mark.parametrize(("loss", "expected"), [("mae", 2.0), ("mse", 5.0), ("huber", 1.5)])
def test_losses_of_known_errors(loss: Loss, expected: float) -> None:
    predictions = torch.tensor([[1.0], [3.0]])
    told, present = masked_loss(predictions, torch.zeros(2, 1), torch.ones(2), loss)
    assert told.item() == pytest.approx(expected)
    assert present.all()


def test_unknown_targets_leave_loss_and_gradient_as_if_the_window_were_not_there() -> None:
    predictions = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    targets[2:4, 0] = math.nan
    weight = torch.rand(6, generator=torch.Generator().manual_seed(2))
    told, _ = masked_loss(predictions, targets, weight, "huber")
    told.sum().backward()  # type: ignore[no-untyped-call]
    keep = [0, 1, 4, 5]
    alone, _ = masked_loss(predictions[keep], targets[keep], weight[keep], "huber")
    assert told[0].item() == pytest.approx(alone[0].item())
    assert predictions.grad is not None
    assert (predictions.grad[2:4, 0] == 0).all()
    assert torch.isfinite(predictions.grad).all()


def test_a_target_without_any_value_has_no_loss_and_no_gradient() -> None:
    predictions = torch.randn(4, 2, requires_grad=True)
    told, present = masked_loss(predictions, torch.full((4, 2), math.nan), torch.ones(4), "mse")
    told.sum().backward()  # type: ignore[no-untyped-call]
    assert told.tolist() == [0, 0]
    assert not present.any()
    assert predictions.grad is not None
    assert not predictions.grad.any()


def test_weights_weigh_windows() -> None:
    predictions, targets = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
    told, _ = masked_loss(predictions, targets, torch.tensor([3.0, 1.0]), "mae")
    assert told.item() == pytest.approx(1.25)


def test_mask_coverage_is_zero_where_everything_is_let_through() -> None:
    assert mask_coverage(torch.full((2, 3, 4, 5), 1 / 3)).item() == pytest.approx(0.0, abs=1e-12)
    assert mask_coverage(torch.zeros(2, 3, 4, 5)).item() == 1.0
