"""Laws of batches that each come from one set: one set a batch, shares kept in the mean, all windows reached, no memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from biosig_mtl.training.sampling import OneSetBatches, Sampling
from biosig_mtl.types import RecipeError

CODE = np.repeat([0, 1, 2], [300, 90, 10])
NAMES, COUNTS = ("a", "b", "c"), (300, 90, 10)


def order(alpha: float = 0.5) -> OneSetBatches:
    return OneSetBatches(CODE, Sampling(alpha).shares(NAMES, COUNTS))


def epochs(many: int, size: int = 16, seed: int = 0, alpha: float = 0.5) -> list[list[torch.Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    return [list(order(alpha)(size, rng)) for _ in range(many)]


def test_every_batch_comes_from_one_set() -> None:
    assert all(np.unique(CODE[batch.numpy()]).size == 1 for epoch in epochs(5) for batch in epoch)


@pytest.mark.parametrize("size", [1, 16, 64, 1000])
def test_an_epoch_has_as_many_batches_and_windows_as_without_the_order(size: int) -> None:
    for epoch in epochs(4, size):
        assert len(epoch) == math.ceil(len(CODE) / size)
        assert sum(len(batch) for batch in epoch) == pytest.approx(len(CODE), abs=3)
        assert max(len(batch) for batch in epoch) <= size


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_each_set_has_its_share_of_the_batches(alpha: float) -> None:
    drawn = np.zeros(3)
    for epoch in epochs(400, 64, alpha=alpha):
        drawn += np.bincount([CODE[int(batch[0])] for batch in epoch], minlength=3)
    assert drawn / drawn.sum() == pytest.approx(Sampling(alpha).shares(NAMES, COUNTS), abs=0.02)


def test_given_weights_replace_the_sizes() -> None:
    assert Sampling(1.0, {"a": 1, "b": 1, "c": 2}).shares(NAMES, COUNTS).tolist() == [0.25, 0.25, 0.5]
    assert Sampling(1.0).shares(NAMES, COUNTS) == pytest.approx(np.array(COUNTS) / 400)
    with pytest.raises(RecipeError, match="one for each of a, b, c, got a"):
        Sampling(1.0, {"a": 1}).shares(NAMES, COUNTS)


def test_a_set_without_windows_has_no_share() -> None:
    assert Sampling(0.0).shares(NAMES, (4, 0, 4)).tolist() == [0.5, 0.0, 0.5]
    assert Sampling(0.0, {"a": 1, "b": 9, "c": 1}).shares(NAMES, (4, 0, 4)).tolist() == [0.5, 0.0, 0.5]


def test_within_an_epoch_windows_of_a_set_are_seen_equally_often() -> None:
    for epoch in epochs(3, alpha=0.0):
        seen = np.bincount(torch.cat(epoch).numpy(), minlength=len(CODE))
        for number in range(3):
            own = seen[number == CODE]
            assert own.max() - own.min() <= 1


def test_all_windows_are_reached_over_epochs() -> None:
    # Of the largest set an epoch sees 0.48 of the windows: 20 epochs miss one of 300 with a chance of 300 · 0.52²⁰ < 0.001.
    seen = torch.cat([batch for epoch in epochs(20) for batch in epoch])
    assert np.unique(seen.numpy()).size == len(CODE)


def test_the_same_generator_gives_the_same_batches_and_another_does_not() -> None:
    first, again, other = ([batch.tolist() for batch in epochs(1, seed=seed)[0]] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_stopped_training_goes_on_with_the_same_batches() -> None:
    made, rng = order(), torch.Generator().manual_seed(3)
    list(made(16, rng))
    state = rng.get_state()
    second = [batch.tolist() for batch in made(16, rng)]
    later = torch.Generator()
    later.set_state(state)
    assert [batch.tolist() for batch in order()(16, later)] == second


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="0 <= alpha <= 1"):
        Sampling(1.5)
    with pytest.raises(ValueError, match="weights > 0"):
        Sampling(weights={"a": 0.0})
    with pytest.raises(ValueError, match="windows of sets 0 to 0"):
        OneSetBatches(CODE, np.ones(1))
    with pytest.raises(ValueError, match="sum to 1"):
        OneSetBatches(CODE, np.ones(3))
    with pytest.raises(ValueError, match="without windows"):
        OneSetBatches(np.zeros(3, np.int64), np.array([0.5, 0.5]))
