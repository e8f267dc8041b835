"""Intervals over people."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.evaluation import intervals


def test_draws_are_samples_with_replacement() -> None:
    counts = intervals.draw(7, np.random.default_rng(0), 500)
    assert counts.shape == (500, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean() == 1
    with pytest.raises(ValueError, match="need subjects >= 1"):
        intervals.draw(0, np.random.default_rng(0))


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    """Known truth: for 400 values the interval is mean ± 1.96·SD/√n."""
    values = np.random.default_rng(0).normal(10, 3, 400)
    low, high = intervals.mean_ci95(values, intervals.draw(400, np.random.default_rng(1)))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.04)
    assert high == pytest.approx(values.mean() + half, abs=0.04)


def test_counts_are_the_same_as_drawing_rows() -> None:
    values = np.random.default_rng(0).normal(size=30)
    counts = intervals.draw(30, np.random.default_rng(3), 200)
    rows = [np.repeat(np.arange(30), c) for c in counts]
    expected = np.percentile([values[r].mean() for r in rows], [2.5, 97.5])
    assert intervals.mean_ci95(values, counts) == pytest.approx(tuple(expected))


def test_coverage_is_near_95_percent() -> None:
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        low, high = intervals.mean_ci95(rng.normal(0, 1, 60), intervals.draw(60, rng, 300))
        hits += low <= 0 <= high
    assert 0.90 <= hits / 200 <= 0.985


def test_unknown_subjects_do_not_count() -> None:
    values = np.array([1.0, 2, 3, 4, np.nan])
    counts = intervals.draw(5, np.random.default_rng(0))
    low, high = intervals.mean_ci95(values, counts)
    assert 1 <= low < 2.5 < high <= 4
    assert np.isnan(intervals.mean_ci95([1.0, np.nan], counts[:, :2])).all()
    assert np.isnan(intervals.ratio_ci95([1.0, np.nan], [1.0, 1.0], counts[:, :2])).all()


def test_a_ratio_is_drawn_together() -> None:
    """A model whose error is always 0.8 of the other's has a ratio without spread, however different people are."""
    other = np.random.default_rng(0).uniform(1, 30, 50)
    low, high = intervals.ratio_ci95(0.8 * other, other, intervals.draw(50, np.random.default_rng(1)))
    assert low == pytest.approx(0.8)
    assert high == pytest.approx(0.8)


@pytest.mark.parametrize(("shift", "verdict"), [(-2.0, "better"), (2.0, "worse"), (0.0, "not distinguishable")])
def test_a_paired_difference_is_judged_by_its_interval(shift: float, verdict: str) -> None:
    rng = np.random.default_rng(0)
    other = rng.uniform(5, 25, 80)
    noise = rng.normal(0, 1, 80)
    found = intervals.paired(other + shift + noise - noise.mean(), other, intervals.draw(80, rng))
    assert found.verdict == verdict
    assert found.difference == pytest.approx(shift)
    assert found.ci95[0] <= found.difference <= found.ci95[1]


def test_comparing_is_antisymmetric() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.uniform(5, 25, 40), rng.uniform(5, 25, 40)
    counts = intervals.draw(40, rng)
    one, two = intervals.paired(a, b, counts), intervals.paired(b, a, counts)
    assert one.difference == pytest.approx(-two.difference)
    assert one.ci95 == pytest.approx((-two.ci95[1], -two.ci95[0]))
    assert one.probability_better == pytest.approx(1 - two.probability_better)


def test_the_same_predictor_twice_is_a_tie() -> None:
    values = np.random.default_rng(0).uniform(5, 25, 40)
    found = intervals.paired(values, values, intervals.draw(40, np.random.default_rng(0)))
    assert (found.difference, found.ci95, found.probability_better) == (0, (0, 0), 0.5)
    assert found.verdict == intervals.NOT_DISTINGUISHABLE


def test_one_subject_proves_nothing() -> None:
    counts = intervals.draw(1, np.random.default_rng(0))
    found = intervals.paired([1.0], [5.0], counts)
    assert (found.difference, found.verdict) == (-4, intervals.NOT_DISTINGUISHABLE)
    assert np.isnan(found.ci95).all()
    assert np.isnan(intervals.paired([np.nan], [5.0], counts).difference)


def test_sides_must_fit() -> None:
    counts = intervals.draw(3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="the same subjects on both sides"):
        intervals.paired([1.0, 2], [1.0], counts)
    with pytest.raises(ValueError, match="draws of 2 subjects"):
        intervals.mean_ci95([1.0, 2], counts)


def test_where_more_is_better_the_verdict_turns_and_the_difference_does_not() -> None:
    rng = np.random.default_rng(5)
    a = rng.uniform(0.6, 0.8, 40)
    b = a - 0.1 + rng.normal(0, 0.02, 40)
    counts = intervals.draw(40, rng)
    less, more = intervals.paired(a, b, counts), intervals.paired(a, b, counts, larger_is_better=True)
    assert (less.verdict, more.verdict) == ("worse", "better")
    assert (less.difference, less.ci95) == (more.difference, more.ci95)
    assert less.probability_better == 1 - more.probability_better == 0
    assert intervals.paired(b, a, counts, larger_is_better=True).verdict == "worse"
    assert intervals.paired(a, a, counts, larger_is_better=True).probability_better == 0.5


def test_samples_say_nothing_without_people() -> None:
    assert np.isnan(intervals.samples_ci95([1.0, 2, 3], 1)).all()
    assert np.isnan(intervals.samples_ci95([np.nan, np.nan], 5)).all()
    assert intervals.samples_ci95(np.append(np.arange(101.0), np.nan), 5) == pytest.approx((2.5, 97.5))
    nothing = intervals.compared(0.3, [])
    assert (nothing.difference, nothing.verdict) == (0.3, intervals.NOT_DISTINGUISHABLE)
