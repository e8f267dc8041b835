"""Figures of agreement: known numbers, and laws that hold for any numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.evaluation import metrics


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    subject = np.repeat(["a", "b", "c", "d"], [5, 9, 3, 40])
    true = rng.normal(120, 15, subject.size)
    return true, true + rng.normal(2, 8, subject.size), subject


def test_figures_of_a_subject_are_those_of_numpy() -> None:
    true, pred, subject = example()
    scored = metrics.per_subject(true, pred, subject)
    for i, name in enumerate("abcd"):
        t, p = true[subject == name], pred[subject == name]
        e = p - t
        expected = {
            "mae": np.abs(e).mean(), "me": e.mean(), "sd": e.std(ddof=1), "rmse": np.sqrt((e**2).mean()),
            "r": np.corrcoef(t, p)[0, 1],
            "ccc": 2 * np.cov(t, p, ddof=0)[0, 1] / (t.var() + p.var() + (t.mean() - p.mean()) ** 2),
            "mapd": 100 * (np.abs(e) / t).mean(), "cp5": (np.abs(e) <= 5).mean(), "cp10": (np.abs(e) <= 10).mean(),
            "cp15": (np.abs(e) <= 15).mean(),
        }  # fmt: skip
        assert tuple(expected) == metrics.FIGURES
        for figure, value in expected.items():
            assert scored.figures[figure][i] == pytest.approx(value, rel=1e-12), figure
    assert scored.windows.tolist() == [5, 9, 3, 40]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_windows_does_not_matter(seed: int) -> None:
    true, pred, subject = example(seed)
    order = np.random.default_rng(seed).permutation(true.size)
    one, two = metrics.per_subject(true, pred, subject), metrics.per_subject(true[order], pred[order], subject[order])
    for name in metrics.FIGURES:
        np.testing.assert_allclose(one.figures[name], two.figures[name], rtol=1e-9)


def test_a_shift_of_both_sides_changes_only_the_relative_figure() -> None:
    true, pred, subject = example()
    one, two = metrics.per_subject(true, pred, subject), metrics.per_subject(true + 1e4, pred + 1e4, subject)
    for name in metrics.FIGURES:
        if name != "mapd":
            np.testing.assert_allclose(one.figures[name], two.figures[name], rtol=1e-6)


def test_a_repeated_subject_weighs_the_same_over_subjects_and_more_pooled() -> None:
    true, pred = np.array([100.0, 100.0]), np.array([110.0, 100.0])
    subject = np.array(["a", "b"])
    many = [np.concatenate([side, np.repeat(side[:1], 9)]) for side in (true, pred, subject)]
    assert metrics.over_subjects(metrics.per_subject(*many))["mae"] == 5
    assert metrics.pooled(many[0], many[1])["mae"] == pytest.approx(100 / 11)


def test_what_does_not_exist_is_nan_and_counted() -> None:
    subject = np.repeat(["constant", "one", "three", "two", "unknown"], [3, 1, 3, 2, 2])
    true = np.array([120.1, 120.1, 120.1, 100, 100, 110, 120, 90, 95, np.nan, 90])
    pred = np.array([121, 122, 123, 99, 101, 111, 119, 91, 92, 100, np.nan])
    scored = metrics.per_subject(true, pred, subject)
    np.testing.assert_array_equal(np.isnan(scored.figures["r"]), [True, True, False, True, True])
    np.testing.assert_array_equal(np.isnan(scored.figures["sd"]), [False, True, False, False, True])
    assert metrics.undefined(scored) == {
        "mae": 1, "me": 1, "sd": 2, "rmse": 1, "r": 4, "ccc": 4, "mapd": 1, "cp5": 1, "cp10": 1, "cp15": 1,
    }  # fmt: skip
    assert scored.windows.tolist() == [3, 1, 3, 2, 0]
    assert metrics.over_subjects(scored)["mae"] == pytest.approx(np.nanmean(scored.figures["mae"]))


def test_no_windows_give_no_figures() -> None:
    assert np.isnan(list(metrics.pooled([], []).values())).all()
    assert np.isnan(metrics.bland_altman([], [], [])["bias"])
    assert metrics.over_subjects(metrics.per_subject([], [], []))["mae"] != 0


def test_perfect_agreement() -> None:
    true = np.array([100.0, 110, 120])
    figures = metrics.pooled(true, true)
    assert [figures[name] for name in ("mae", "r", "ccc", "cp5")] == pytest.approx([0, 1, 1, 1])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two vectors of one length"):
        metrics.pooled([1, 2], [1])
    with pytest.raises(ValueError, match="one subject a window"):
        metrics.per_subject([1, 2], [1, 2], ["a"])


def test_seeds_are_averaged_subject_by_subject() -> None:
    one = metrics.per_subject([100, 100], [102, 110], ["a", "b"])
    two = metrics.per_subject([100, np.nan], [104, 110], ["a", "b"])
    both = metrics.average([one, two])
    assert both.figures["mae"].tolist() == [3, 10]
    assert both.windows.tolist() == [1, 1]
    with pytest.raises(ValueError, match="different subjects"):
        metrics.average([one, metrics.per_subject([1], [1], ["c"])])
    with pytest.raises(ValueError, match="at least one run"):
        metrics.average([])


def test_between_subjects_correlation_uses_the_means() -> None:
    subject = np.repeat(["a", "b", "c"], 2)
    true, pred = np.array([99, 101, 119, 121, 139, 141.0]), np.array([101, 99, 111, 109, 121, 119.0])
    assert metrics.between_subjects_r(true, pred, subject) == pytest.approx(1)


def test_limits_of_agreement_with_one_window_a_subject_have_no_corrected_form() -> None:
    got = metrics.bland_altman([100, 110, 120], [101, 112, 123], ["a", "b", "c"])
    assert got["bias"] == 2
    assert got["high"] == pytest.approx(2 + 1.96)
    assert np.isnan(got["corrected_low"])
    assert got["slope"] == pytest.approx(metrics_slope([100, 110, 120], [101, 112, 123]))


def metrics_slope(true: list[float], pred: list[float]) -> float:
    t, p = np.array(true), np.array(pred)
    return float(np.polyfit((t + p) / 2, p - t, 1)[0])


def test_corrected_limits_find_the_two_variances() -> None:
    """Known truth: errors made with a spread of 6 between and 4 within 400 subjects with unequal numbers of windows."""
    rng = np.random.default_rng(1)
    code = np.repeat(np.arange(400), rng.integers(1, 40, 400))
    error = rng.normal(0, 6, 400)[code] + rng.normal(0, 4, code.size)
    within, between = metrics.variance_parts(error, code)
    assert np.sqrt(within) == pytest.approx(4, rel=0.03)
    assert np.sqrt(between) == pytest.approx(6, rel=0.08)


def test_corrected_limits_are_wider_where_one_subject_fills_the_table() -> None:
    rng = np.random.default_rng(2)
    code = np.repeat(np.arange(20), [500, *[5] * 19])
    true = np.full(code.size, 120.0) + rng.normal(0, 1, code.size)
    got = metrics.bland_altman(true, true + rng.normal(0, 10, 20)[code] + rng.normal(0, 1, code.size), code.astype(str))
    assert got["corrected_high"] - got["corrected_low"] > 1.2 * (got["high"] - got["low"])


def test_no_difference_between_subjects_is_zero_not_negative() -> None:
    within, between = metrics.variance_parts(np.array([1.0, -1, 1, -1]), np.array([0, 0, 1, 1]))
    assert (within, between) == (2, 0)


def test_a_constant_estimate_agrees_with_nothing_and_a_constant_reference_with_nobody() -> None:
    true = np.array([1.0, 2, 3, 1, 2, 3, 5, 5, 5, 5, 5, 5])
    pred = np.array([2.0, 2, 2, 1, 2, 3, 5, 5, 5, 4, 5, 6])
    subject = np.repeat(["constant estimate", "identity", "both constant", "constant reference"], 3)
    scored = metrics.per_subject(true, pred, subject)
    told = dict(zip(scored.subject, zip(scored.figures["r"], scored.figures["ccc"], strict=True), strict=True))
    np.testing.assert_array_equal(told["constant estimate"], [np.nan, 0])
    np.testing.assert_allclose(told["identity"], [1, 1])
    np.testing.assert_array_equal(told["both constant"], [np.nan, np.nan])
    np.testing.assert_array_equal(told["constant reference"], [np.nan, np.nan])
    assert metrics.undefined(scored)["r"] == 3
    assert metrics.undefined(scored)["ccc"] == 2


def test_the_concordance_of_a_nearly_constant_estimate_goes_to_zero() -> None:
    """The 0 of a constant estimate is a limit, not a jump."""
    true, _, _ = example()
    middle = float(true.mean())
    small = [metrics.pooled(true, middle + e * (true - middle))["ccc"] for e in (1e-1, 1e-3, 1e-5)]
    assert small == pytest.approx([0.2 / 1.01, 2e-3, 2e-5], rel=1e-3)
    assert metrics.pooled(true, np.full(true.size, middle))["ccc"] == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_pooled_draw_is_the_figure_of_the_drawn_people(seed: int) -> None:
    true, pred, subject = example(seed)
    pred[::7] = np.nan
    counts = np.random.default_rng(seed).multinomial(4, [0.25] * 4, size=6)
    drawn = metrics.pooled_draws(true, pred, subject, counts)
    for i, weights in enumerate(counts):
        rows = np.concatenate([np.tile(np.flatnonzero(subject == s), w) for s, w in zip("abcd", weights, strict=True)])
        told = metrics.pooled(true[rows], pred[rows])
        for figure, values in drawn.items():
            assert values[i] == pytest.approx(told[figure], rel=1e-9, nan_ok=True), figure


def test_draws_must_be_of_all_subjects() -> None:
    with pytest.raises(ValueError, match="draws of 2 subjects, got draws of 3"):
        metrics.pooled_draws([1, 2], [1, 2], ["a", "b"], np.ones((5, 3), np.int64))
    nothing = metrics.pooled_draws([np.nan], [1.0], ["a"], np.ones((2, 1), np.int64))
    assert np.isnan(np.stack(list(nothing.values()))).all()


def test_pooled_draws_keep_their_digits_far_from_zero() -> None:
    """Sums of squares of numbers around a million would lose what varies by one."""
    true, pred, subject = example()
    counts = np.ones((1, 4), np.int64)
    near, far = (metrics.pooled_draws(true + shift, pred + shift, subject, counts) for shift in (0.0, 1e8))
    for figure in near:
        assert far[figure][0] == pytest.approx(near[figure][0], rel=1e-6), figure
