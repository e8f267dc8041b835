"""Lean forms of what numpy has: the same numbers, for one axis and short arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.signal.sliding import grouped, padded, running_sum, views
from biosig_mtl.signal.sqi import sqi, terms


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30), st.integers(1, 30), st.sampled_from([1, 2, -1]))
def test_views_are_the_sliding_windows_of_numpy(numbers: list[int], width: int, step: int) -> None:
    x = np.array(numbers, np.float32)[::step]
    if width > x.size + 1:
        with pytest.raises(ValueError, match=r"negative dimensions|incompatible"):
            views(x, width)
    elif width <= x.size:
        assert np.array_equal(views(x, width), np.lib.stride_tricks.sliding_window_view(x, width))


def test_views_cannot_be_written_to() -> None:
    x = np.arange(5.0)
    with pytest.raises(ValueError, match="read-only"):
        views(x, 2)[0, 0] = 7


@given(st.lists(st.integers(-9, 9), max_size=9), st.integers(0, 4), st.integers(0, 4), st.integers(-3, 3))
def test_padded_is_the_constant_padding_of_numpy(numbers: list[int], before: int, after: int, value: int) -> None:
    x = np.array(numbers, np.int64)
    made = padded(x, before, after, value)
    assert np.array_equal(made, np.pad(x, (before, after), constant_values=value))
    assert made.dtype == x.dtype


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30))
def test_grouped_are_the_unique_numbers_of_a_sorted_array(numbers: list[int]) -> None:
    x = np.sort(np.array(numbers, np.int64))
    for made, told in zip(grouped(x), np.unique(x, return_index=True), strict=True):
        assert np.array_equal(made, told)


def test_running_sums_of_rows_are_those_of_each() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 7))
    assert np.array_equal(running_sum(rows), [running_sum(row) for row in rows])


def test_without_any_index_that_a_rule_knows_nothing_is_taken_off() -> None:
    snr = np.array([0.0, 1.0], np.float32)
    assert terms({"snr": snr}) == {}
    assert np.array_equal(sqi({"snr": snr}), [0.5, 1.0])
