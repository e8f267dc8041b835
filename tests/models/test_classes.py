"""From what heads say to classes: golden values and laws."""

from __future__ import annotations

import math

import pytest
import torch

from biosig_mtl.models.answers import Answers, Heads
from biosig_mtl.models.classes import Classes, outputs_of
from biosig_mtl.types import Batch, Head, InputSpec

BINARY, THREE = Head("binary", (5.0,)), Head("classes", (4.0, 6.0))
RASCH = Head("rasch", (2.0, 4.0, 6.0, 8.0))


def empty(size: int, offset: torch.Tensor | None = None) -> Batch:
    nothing = torch.empty(size, 0)
    return Batch(torch.empty(size, 0, 0), nothing, nothing.bool(), torch.zeros(size, 3), torch.ones(size), offset=offset)


def test_logits_are_the_heads_own_and_estimates_expected_classes() -> None:
    torch.manual_seed(0)
    classes = Classes((Head(), BINARY, THREE))
    said = torch.randn(7, 3, 3)
    predictions, logits = classes(said, None)
    assert logits is not None
    assert torch.equal(predictions[:, 0], said[:, 0, 0])
    assert torch.equal(logits[:, 0], torch.zeros(7, 3))
    assert torch.equal(logits[:, 1, :2], said[:, 1, :2])
    assert (logits[:, 1, 2] == -math.inf).all()
    assert torch.equal(logits[:, 2], said[:, 2])
    torch.testing.assert_close(predictions[:, 1], torch.sigmoid(said[:, 1, 1] - said[:, 1, 0]))
    shares = torch.softmax(said[:, 2], 1)
    torch.testing.assert_close(predictions[:, 2], shares[:, 1] + 2 * shares[:, 2])


def test_gradients_are_finite_and_stay_with_their_head() -> None:
    said = torch.randn(7, 3, 3, requires_grad=True)
    predictions, logits = Classes((Head(), BINARY, THREE))(said, None)
    assert logits is not None
    (predictions[:, 1].sum() + torch.log_softmax(logits[:, 1], 1)[:, 0].sum()).backward()
    assert said.grad is not None
    assert torch.isfinite(said.grad).all()
    assert (said.grad[:, [0, 2]] == 0).all()
    assert (said.grad[:, 1, 2] == 0).all()
    assert (said.grad[:, 1, :2] != 0).all()


def test_the_rating_scale_model_by_hand() -> None:
    classes = Classes((RASCH,))
    assert classes.first is not None
    assert classes.steps is not None
    torch.testing.assert_close(classes.thresholds().detach(), torch.tensor([[-1.5, -0.5, 0.5, 1.5]]), atol=1e-4, rtol=0)
    theta = torch.tensor([0.3, -2.0])
    said = torch.zeros(2, 1, 5)
    said[:, 0, 0] = theta
    said[:, 0, 1:] = 99.0  # never looked at
    _, logits = classes(said, None)
    assert logits is not None
    shares = torch.softmax(logits[:, 0].detach(), 1)
    b = classes.thresholds().detach()[0]
    for i, t in enumerate(theta):
        weight = [1.0]
        for step in b:
            weight.append(weight[-1] * math.exp(float(t - step)))  # P(k) / P(k − 1) = exp(θ − b_k)
        expected = torch.tensor(weight) / sum(weight)
        torch.testing.assert_close(shares[i], expected)


def test_two_classes_are_raschs_model() -> None:
    head = Head("rasch", (5.0,))
    classes = Classes((head,))
    said = torch.randn(9, 1, 2)
    predictions, _ = classes(said, torch.full((9, 1), 0.7))
    b = classes.thresholds().detach()[0, 0]
    torch.testing.assert_close(predictions[:, 0].detach(), torch.sigmoid(said[:, 0, 0] - 0.7 - b))


def test_thresholds_always_rise_and_more_theta_is_a_higher_class() -> None:
    classes = Classes((Head(), RASCH, BINARY))
    with torch.no_grad():
        assert classes.steps is not None
        classes.steps.normal_(std=5.0)
    assert (classes.thresholds().diff(dim=1) > 0).all()
    said = torch.zeros(21, 3, 5)
    said[:, 1, 0] = torch.linspace(-9, 9, 21)
    assert (classes(said, None).predictions[:, 1].diff() > 0).all()


def test_severity_shifts_the_latent_number_and_nothing_else() -> None:
    torch.manual_seed(0)
    classes = Classes((Head(), RASCH, BINARY))
    said = torch.randn(5, 3, 5)
    severe = torch.randn(5, 3)
    shifted = said.clone()
    shifted[:, 1, 0] -= severe[:, 1]
    torch.testing.assert_close(classes(said, severe), classes(shifted, None))
    torch.testing.assert_close(classes(said, torch.zeros(5, 3)), classes(said, None))


def test_answers_use_the_offset_of_a_batch_only_where_it_has_one() -> None:
    spec = InputSpec((), 0, (), ("a", "b", "c"), (), (Head(), RASCH, BINARY))
    answers = Answers(spec, linear_skip=True, min_pulse_pressure=None)
    said = torch.randn(4, 3, 5)
    plain, severe = answers(said, empty(4)), answers(said, empty(4, torch.ones(4, 3)))
    assert (plain.predictions[:, 1] > severe.predictions[:, 1]).all()
    assert torch.equal(plain.predictions[:, [0, 2]], severe.predictions[:, [0, 2]])


@pytest.mark.parametrize("outputs", [1, 4])
def test_heads_say_as_much_as_they_are_asked(outputs: int) -> None:
    told = Heads(3, 8, 8, 0.0, outputs)(torch.randn(5, 3, 8))
    assert told.shape == ((5, 3) if outputs == 1 else (5, 3, 4))


def test_without_a_latent_number_there_are_no_thresholds() -> None:
    classes = Classes((BINARY, THREE))
    assert classes.thresholds().shape == (0, 2)
    assert not list(classes.parameters())


def test_the_number_of_outputs() -> None:
    assert outputs_of((Head(), Head())) == 1
    assert outputs_of((Head(), BINARY, RASCH)) == 5
