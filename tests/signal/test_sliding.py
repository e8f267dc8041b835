"""Sliding sums and maxima against what they say they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.signal.sliding import AT_ONCE, held, moving_max, moving_mean, rows_around, sliding_max, sliding_sum
from biosig_mtl.types import F32

few = settings(max_examples=40, deadline=None)


def noise(size: int, seed: int) -> F32:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


@few
@given(width=st.integers(1, 70), more=st.integers(0, 90), seed=st.integers(0, 99))
def test_sums_and_maxima_are_those_of_the_windows(width: int, more: int, seed: int) -> None:
    x = np.round(noise(width + more, seed) * 100)  # whole numbers: sums are exact in any order
    windows = np.lib.stride_tricks.sliding_window_view(x, width)
    assert np.array_equal(sliding_sum(x, width), windows.sum(axis=1))
    assert np.array_equal(sliding_max(x, width), windows.max(axis=1))
    assert sliding_sum(x, width).dtype == np.float32


@few
@given(width=st.integers(1, 300), start=st.integers(0, 3 * AT_ONCE), length=st.integers(1, 500), seed=st.integers(0, 9))
def test_a_part_gives_the_bits_of_the_whole(width: int, start: int, length: int, seed: int) -> None:
    x = noise(3 * AT_ONCE + 1000, seed)
    part = x[start : start + width + length - 1]
    for found in (sliding_sum, sliding_max):
        assert np.array_equal(found(part, width), found(x, width)[start : start + length][: part.size - width + 1])


@few
@given(width=st.integers(1, 40), size=st.integers(1, 100), seed=st.integers(0, 99))
def test_moving_means_and_maxima_keep_the_length_and_hold_the_ends(width: int, size: int, seed: int) -> None:
    x = noise(size, seed)
    longer = np.pad(x.astype(np.float64), width, mode="edge")
    spot = np.arange(size)[:, None] + width
    mean = longer[spot + np.arange(-(width // 2), width - width // 2)].mean(axis=1)
    assert np.allclose(moving_mean(x, width), mean, atol=1e-5)
    highest = longer[spot + np.arange(-(width // 2), width // 2 + 1)].max(axis=1)
    assert np.array_equal(moving_max(x, width // 2), highest.astype(np.float32))


def test_a_constant_has_its_own_mean() -> None:
    for width in (2, 3, 5, 16, 33):
        assert np.allclose(moving_mean(np.full(50, 7.25, np.float32), width), 7.25, rtol=1e-6)


@pytest.mark.parametrize("x", [np.empty(0, np.float32), np.ones(1, np.float32)])
def test_nothing_and_one_sample_come_back(x: F32) -> None:
    assert np.array_equal(moving_mean(x, 9), x)
    assert np.array_equal(moving_max(x, 4), x)


def test_windows_of_one_change_nothing() -> None:
    x = noise(20, 0)
    assert np.array_equal(moving_mean(x, 1), x)
    assert np.array_equal(moving_mean(x, 0), x)
    assert np.array_equal(moving_max(x, 0), x)


@few
@given(
    at=st.lists(st.integers(0, 49), max_size=8),
    before=st.integers(0, 60),
    after=st.integers(1, 60),
    step=st.integers(1, 7),
    seed=st.integers(0, 9),
)
def test_rows_are_the_samples_around(at: list[int], before: int, after: int, step: int, seed: int) -> None:
    x, spot = noise(50, seed), np.array(at, np.int64)
    wanted = np.clip(spot[:, None] + np.arange(-before, after, step), 0, 49)
    rows = rows_around(x, spot, before, after, step)
    assert rows.shape == wanted.shape
    assert np.array_equal(rows, x[wanted])


def test_ends_are_held() -> None:
    assert held(np.array([1.0, 2.0]), 2, 1).tolist() == [1, 1, 1, 2, 2]
