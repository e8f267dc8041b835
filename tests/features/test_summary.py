"""Summaries of ragged groups agree with numpy, group by group."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features.summary import by_window, pad, summarise


def test_quantiles_agree_with_numpy() -> None:
    rng = np.random.default_rng(3)
    window = np.sort(rng.integers(0, 40, 300))
    window = window[window != 7]
    values = rng.normal(size=(2, window.size)).astype(np.float32)
    values[0, rng.random(window.size) < 0.3] = np.nan
    values[1, ::17] = np.inf
    ordered = by_window(values, window, 40)
    for k in range(2):
        for w in range(40):
            group = values[k, window == w]
            group = group[np.isfinite(group)]
            expected = np.median(group) if group.size else np.nan
            assert_allclose(ordered.median[k, w], expected, rtol=1e-6)
            spread = np.subtract(*np.percentile(group, [75, 25])) if group.size >= 3 else np.nan
            assert_allclose(ordered.iqr()[k, w], spread, rtol=1e-4, atol=1e-6)
    assert np.isnan(ordered.median[:, 7]).all()


def test_padding_keeps_order_and_tells_what_is_not_there() -> None:
    out = pad(np.array([[1, 2, 3]], np.float32), np.array([0, 0, 2]), 3)
    assert_array_equal(out, [[[1, 2], [np.nan, np.nan], [3, np.nan]]])
    assert pad(np.empty((2, 0), np.float32), np.empty(0, np.int64), 0).shape == (2, 0, 1)


def test_names_carry_prefix_and_spread() -> None:
    beats = {"x": np.array([1.0, 2.0, 4.0], np.float32), "y": np.zeros(3, np.float32)}
    made = summarise(beats, np.zeros(3, np.int64), 1, "pulse.", ("x",))
    assert list(made) == ["pulse.x", "pulse.y", "pulse.x.iqr"]
    assert made["pulse.x"][0] == 2
    assert made["pulse.x.iqr"][0] == 1.5
    assert summarise(beats, np.zeros(3, np.int64), 1, "p.").keys() == {"p.x", "p.y"}


def test_what_is_sorted_in_double_stays_double() -> None:
    values = np.array([[1.0, 1.0 + 1e-12, 1.0 + 3e-12]])
    ordered = by_window(values, np.zeros(3, np.int64), 1)
    assert ordered.median[0, 0] == 1.0 + 1e-12
    assert ordered.median.dtype == np.float64


def test_infinite_values_are_missing_and_windows_may_be_empty() -> None:
    values = np.array([[1.0, np.inf, 3.0, -np.inf]], np.float32)
    ordered = by_window(values, np.array([1, 1, 1, 3]), 5)
    assert_array_equal(ordered.count, [[0, 2, 0, 0, 0]])
    assert_array_equal(ordered.median, [[np.nan, 2, np.nan, np.nan, np.nan]])
    assert values[0, 1] == np.inf
