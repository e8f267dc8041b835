"""Blocks are a matter of speed alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features.rowwise import in_blocks, power


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_blocks_change_no_bit(block: int) -> None:
    x = np.random.default_rng(0).normal(size=(23, 50)).astype(np.float32)
    made = in_blocks(lambda rows: {"sum": x[rows].sum(axis=1), "power": power(x[rows], 64)[:, 3]}, 23, block)
    assert_array_equal(made["sum"], x.sum(axis=1))
    assert_array_equal(made["power"], power(x, 64)[:, 3])


def test_names_are_told_without_rows() -> None:
    x = np.empty((0, 5))
    assert {name: value.shape for name, value in in_blocks(lambda rows: {"a": x[rows].sum(axis=1)}, 0, 4).items()} == {
        "a": (0,)
    }


def test_power_is_that_of_the_windowed_row() -> None:
    x = np.random.default_rng(1).normal(size=(2, 40)).astype(np.float32)
    assert_allclose(power(x, 128), np.abs(np.fft.rfft(x * np.hanning(40), 128)) ** 2, rtol=1e-3, atol=1e-4)
