"""Laws of coverage: people weigh alike, what is unknown counts for nothing, classes are those of the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biosig_mtl.evaluation import coverage
from biosig_mtl.evaluation.coverage import Bounds


def bounds(subject: Any, truth: Any, half: Any = 10.0, **more: Any) -> Bounds:
    """Return intervals around 120 that reach ``half`` to either side."""
    told = np.asarray(truth, float)
    reach = np.broadcast_to(np.asarray(half, float), told.shape)
    ones = {"sqi": np.ones(told.size), "fold": np.zeros(told.size, int), "seed": np.zeros(told.size, int)}
    return Bounds(
        np.array(list(subject)), told, 120 - reach, 120 + reach, **{k: np.asarray(v) for k, v in (ones | more).items()}
    )


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_people_weigh_alike_and_windows_do_not() -> None:
    found = coverage.figures(bounds("aaab", [120, 120, 140, 120]), rng())
    assert found["coverage"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["pooled"] == pytest.approx(3 / 4)
    assert (found["n_windows"], found["n_subjects"]) == (4, 2)
    # One more window of a person who is always inside says nothing new of that person.
    assert coverage.figures(bounds("aaabb", [120, 120, 140, 120, 121]), rng())["coverage"] == found["coverage"]


def test_width_is_a_mean_over_people_and_ends_are_inside() -> None:
    found = coverage.figures(bounds("aab", [110, 130, 130.5], half=[10, 10, 20]), rng())
    assert found["width"] == pytest.approx((20 + 40) / 2)
    assert found["coverage"] == 1.0


def test_what_is_unknown_counts_for_nothing() -> None:
    known = coverage.figures(bounds("ab", [120, 150]), rng())
    more = coverage.figures(bounds("abac", [120, 150, np.nan, 150], half=[10, 10, 10, np.nan]), rng())
    assert more == known
    nothing = bounds("ab", [np.nan, np.nan])
    assert np.isnan(coverage.figures(nothing, rng())["coverage"])
    assert coverage.people(nothing)["quantiles"] == {}
    assert coverage.by_class(nothing, "sbp", rng()) == []
    assert coverage.by_quality(nothing, rng()) == []
    assert coverage.by_fold(nothing, rng()) == []


def test_the_interval_of_coverage_is_over_people() -> None:
    """A hundred windows of each of 20 people, each person held always or never: the interval is that of 20 coins."""
    held = np.repeat(np.arange(20) < 16, 100)
    found = coverage.figures(bounds(np.repeat(np.arange(20).astype(str), 100), np.where(held, 120, 200)), rng())
    low, high = found["coverage_ci95"]
    assert found["coverage"] == pytest.approx(0.8)
    assert low == pytest.approx(0.8 - 1.96 * np.sqrt(0.16 / 20), abs=0.05)
    assert high == pytest.approx(0.8 + 1.96 * np.sqrt(0.16 / 20), abs=0.05)
    assert all(np.isnan(end) for end in coverage.figures(bounds("aa", [120, 120]), rng())["coverage_ci95"])


def test_people_below_are_counted() -> None:
    found = coverage.people(bounds("aabbcc", [120, 120, 120, 180, 180, 180]))
    assert found["share_below"] == pytest.approx(2 / 3)
    assert found["quantiles"]["0.5"] == pytest.approx(0.5)
    assert found["below"] == coverage.POOR


def test_classes_are_those_of_the_truth_and_an_edge_belongs_above() -> None:
    found = coverage.by_class(bounds("abcdef", [90, 100, 139.9, 140, 160, 200], half=45), "sbp", rng())
    assert [(row["class"], row["n_windows"]) for row in found] == [("< 100", 1), ("100–140", 2), ("140–160", 1), ("≥ 160", 2)]
    assert [row["coverage"] for row in found] == [1.0, 1.0, 1.0, 0.5]
    few = coverage.by_class(bounds("ab", [59, 101], half=100), "dbp", rng())
    assert [row["class"] for row in few] == ["< 60", "≥ 100"]
    assert coverage.by_class(bounds("ab", [5, 6]), "valence", rng()) == []


def test_quarters_of_quality_hold_all_windows_worst_first() -> None:
    sqi = np.linspace(1.0, 0.3, 16)
    truth = np.where(sqi < 0.5, 200, 120)
    found = coverage.by_quality(bounds([f"p{i}" for i in range(16)], truth, sqi=sqi), rng())
    assert [row["n_windows"] for row in found] == [4, 4, 4, 4]
    assert found[0]["coverage"] == 0.0
    assert found[-1]["coverage"] == 1.0
    assert found[0]["sqi"][0] == pytest.approx(0.3)
    assert coverage.by_quality(bounds("abcdefgh", [120] * 8), rng()) == []
    unknown = np.where(np.arange(16) < 10, np.nan, sqi)
    assert coverage.by_quality(bounds([f"p{i}" for i in range(16)], truth, sqi=unknown), rng()) == []


def test_folds_of_each_seed_are_told_apart() -> None:
    found = coverage.by_fold(bounds("abab", [120, 200, 120, 120], fold=[0, 1, 1, 0], seed=[0, 0, 3, 3]), rng())
    assert [(row["seed"], row["fold"], row["coverage"]) for row in found] == [(0, 0, 1), (0, 1, 0), (3, 0, 1), (3, 1, 1)]
