"""Laws of the score: what a perfect, a late, a doubled and an absent detector get."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.scoring import STRICT_S, WIDE_S, constant_lag, differences, matches, pooled, score

TRUTH = np.cumsum(np.random.default_rng(0).uniform(0.6, 1.1, 200))


def test_a_perfect_detector_is_perfect() -> None:
    got = score(TRUTH, TRUTH)
    assert (got.f1, got.strict_f1, got.sensitivity, got.ppv) == (1, 1, 1, 1)
    assert (got.lag_s, got.jitter_s, got.sd_s) == pytest.approx((0, 0, 0), abs=1e-12)


@pytest.mark.parametrize("lag_s", [-0.19, -0.04, 0.083, 0.2])
def test_a_constant_lag_costs_nothing_and_is_told(lag_s: float) -> None:
    got = score(TRUTH, TRUTH + lag_s)
    assert (got.f1, got.strict_f1) == (1, 1)
    assert got.lag_s == pytest.approx(lag_s, abs=1e-9)
    assert got.jitter_s == pytest.approx(0, abs=1e-9)


def test_pulses_after_r_peaks_keep_their_beat() -> None:
    got = score(TRUTH, TRUTH + 0.42, (0.0, 0.8))
    assert got.lag_s == pytest.approx(0.42, abs=1e-9)
    assert got.hits == TRUTH.size


def test_jitter_is_the_standard_deviation_of_normal_scatter_and_hardly_sees_an_outlier() -> None:
    scatter = np.random.default_rng(1).normal(0, 0.008, TRUTH.size)
    got = score(TRUTH, TRUTH + 0.05 + scatter)
    assert got.jitter_s == pytest.approx(0.008, rel=0.25)
    assert got.sd_s == pytest.approx(0.008, rel=0.15)
    scatter[10] = 0.12
    outlier = score(TRUTH, TRUTH + 0.05 + scatter)
    assert outlier.jitter_s == pytest.approx(got.jitter_s, rel=0.05)
    assert outlier.sd_s > got.sd_s + 0.002


def test_a_double_is_a_false_positive() -> None:
    got = score(TRUTH, np.sort(np.concatenate((TRUTH, TRUTH[50:60] + 0.03))))
    assert (got.n_found, got.hits) == (210, 200)
    assert (got.sensitivity, got.ppv) == (1, 200 / 210)
    assert got.f1 == 400 / 410


def test_what_is_missed_and_what_is_made_up_count_apart() -> None:
    between = (TRUTH[20:25] + TRUTH[21:26]) / 2
    got = score(TRUTH, np.sort(np.concatenate((TRUTH[8:], between))))
    assert (got.n_true, got.n_found, got.hits) == (200, 197, 192)
    assert got.sensitivity == 192 / 200
    assert got.ppv == 192 / 197


def test_the_strict_tolerance_sees_what_the_wide_one_forgives() -> None:
    off = np.where(np.arange(TRUTH.size) % 4 == 0, 0.1, 0.0)
    got = score(TRUTH, TRUTH + off)
    assert got.f1 == 1
    assert got.strict_hits == 150


def test_what_lies_outside_the_annotated_time_is_not_judged() -> None:
    early = np.arange(5) * 0.05
    assert early.max() < TRUTH[0] - WIDE_S
    assert score(TRUTH, np.concatenate((early, TRUTH))).f1 == 1


def test_nothing_found_and_nothing_to_find() -> None:
    none = np.empty(0)
    got = score(TRUTH, none)
    assert (got.f1, got.sensitivity, got.n_found) == (0, 0, 0)
    assert np.isnan([got.lag_s, got.jitter_s, got.sd_s]).all()
    assert score(none, none).f1 == 1
    assert score(none, TRUTH).f1 == 0
    assert np.isnan(constant_lag(TRUTH, TRUTH + 1000, (-0.2, 0.2)))


def test_a_handful_of_beats_that_fit_two_lags_equally_well_is_scored() -> None:
    got = score(np.array([1.0, 3.0]), np.array([0.85, 3.15]))
    assert (got.n_true, got.hits) == (2, 1)
    assert abs(got.lag_s) == pytest.approx(0.15)


def test_matching_is_one_to_one_greatest_and_the_same_both_ways() -> None:
    # Both true beats can be matched only if the first takes the early one.
    assert matches(np.array([1.0, 1.1]), np.array([0.9, 1.12]), WIDE_S) == 2
    assert matches(np.array([1.0]), np.array([0.95, 1.0, 1.05]), WIDE_S) == 1
    rng = np.random.default_rng(2)
    for _ in range(50):
        one, two = np.sort(rng.uniform(0, 20, 30)), np.sort(rng.uniform(0, 20, 25))
        assert matches(one, two, WIDE_S) == matches(two, one, WIDE_S) <= 25
        assert matches(one, two, STRICT_S) <= matches(one, two, WIDE_S)
        assert differences(one, two, STRICT_S).size <= matches(one, two, STRICT_S)


def test_differences_are_those_of_mutual_neighbours() -> None:
    got = differences(np.array([1.0, 2.0, 3.0]), np.array([1.01, 1.02, 2.9, 9.0]), WIDE_S)
    np.testing.assert_allclose(got, [0.01, -0.1])


def test_recordings_are_added_up_and_each_loses_its_own_lag() -> None:
    got = pooled([(TRUTH, TRUTH + 0.1), (TRUTH, TRUTH[::2] - 0.1), (TRUTH, TRUTH + 0.02)])
    assert (got.n_true, got.n_found, got.hits, got.strict_hits) == (600, 500, 500, 500)
    assert got.lag_s == pytest.approx(0.02)
    assert got.jitter_s == pytest.approx(0, abs=1e-9)
