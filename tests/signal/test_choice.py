"""The choice of beats among candidates against the enumeration of every path."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.signal import choice
from biosig_mtl.signal.choice import BACK, CUT_S, LONGEST, SHORTEST_S, SURE, USUAL_S, choose, fit, usual_interval
from biosig_mtl.types import F64, I64

FS = 125.0
ROUNDS = getattr(choice, "ROUNDS", 1)
few = settings(max_examples=60, deadline=None)


def best_path(at: I64, odds: F64, fs: float, usual: F64) -> list[int]:
    """Return the places of the best path: log-odds of its beats and the fit of its intervals, summed."""
    places = range(at.size)
    best, winner = 0.0, list[int]()
    for path in chain.from_iterable(combinations(places, k) for k in range(1, at.size + 1)):
        mine = np.array(path)
        total = odds[mine].sum() + fit(np.diff(at[mine]) / fs, usual[mine[1:]]).sum()
        if total > best:
            best, winner = total, list(path)
    return winner


def enumerated(at: I64, odds: F64, fs: float) -> list[int]:
    """Return the best path in two rounds: in the second the usual interval is that of the beats of the first."""
    usual = usual_interval(at, odds, fs)
    path = list[int]()
    for _ in range(ROUNDS):
        path = best_path(at, odds, fs, usual)
        usual = usual_interval(at, np.where(np.isin(np.arange(at.size), path), 1.0, -1.0), fs)
    return path


@few
@given(count=st.integers(1, 9), seed=st.integers(0, 10**6), densest=st.integers(20, 110))
def test_without_anchors_it_is_the_best_of_all_paths(count: int, seed: int, densest: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(10, densest, count))  # all within one stretch of 16 s
    odds = rng.uniform(-4.5, 0.99 * SURE, count)
    assert at[-1] < CUT_S * FS
    assert np.flatnonzero(choose(at, odds, FS, 0)).tolist() == enumerated(at, odds, FS)


def step_by_step(at: I64, odds: F64, fs: float, usual: F64) -> list[int]:
    """Return the best path where a beat follows one of the twelve candidates before it, or any earlier one at a fixed price."""
    best, before = np.full(at.size, -np.inf), np.full(at.size, -1)
    for j in range(at.size):
        options = [(0.0, -1)]
        options += [(best[i] + fit(np.array([(at[j] - at[i]) / fs]), usual[[j]])[0], i) for i in range(max(j - BACK, 0), j)]
        options += [(best[i] + LONGEST, i) for i in range(max(j - BACK, 0))]
        value, before[j] = max(options)
        best[j] = value + odds[j]
    path, last = list[int](), int(best.argmax()) if best.max() > 0 else -1
    while last >= 0:
        path.append(last)
        last = int(before[last])
    return path[::-1]


@few
@given(seed=st.integers(0, 10**6), count=st.integers(10, 60))
def test_longer_stretches_are_searched_by_the_same_rule(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.choice(np.arange(int(CUT_S * FS)), count, replace=False))
    odds = np.where(rng.random(count) < 0.3, rng.uniform(1, 0.99 * SURE, count), rng.uniform(-4.9, -2, count))
    usual, path = usual_interval(at, odds, FS), list[int]()
    for _ in range(ROUNDS):
        path = step_by_step(at, odds, FS, usual)
        usual = usual_interval(at, np.where(np.isin(np.arange(count), path), 1.0, -1.0), FS)
    assert np.flatnonzero(choose(at, odds, FS, 0)).tolist() == path


@few
@given(seed=st.integers(0, 10**6), fs=st.sampled_from([100.0, 125.0, 250.0]), steps=st.integers(1, 400))
def test_it_does_not_matter_where_a_part_starts(seed: int, fs: float, steps: int) -> None:
    rng = np.random.default_rng(seed)
    # Distances on a coarse grid, so that ties are frequent.
    at = np.cumsum(rng.integers(1, 11, 80) * round(0.08 * fs))
    odds = np.round(rng.normal(1, 3, 80))
    early = choose(at, odds, fs, steps)
    assert np.array_equal(early, choose(at + steps, odds, fs, 0))
    assert np.array_equal(usual_interval(at, odds, fs), usual_interval(at + steps, odds, fs))


@few
@given(seed=st.integers(0, 10**6))
def test_of_two_within_the_shortest_interval_one_is_chosen_unless_both_are_sure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.integers(8, 90, 60))
    odds = rng.uniform(-6, 0.99 * SURE, 60)
    # Stretches that end at a cut are searched by themselves, so two beats may meet there.
    picked = at[choose(at, odds, FS, 0)]
    same = np.diff(picked // round(CUT_S * FS)) == 0
    assert (np.diff(picked)[same] / FS >= SHORTEST_S).all()


def test_certain_ones_that_are_alone_are_always_chosen() -> None:
    rng = np.random.default_rng(1)
    at = np.cumsum(rng.integers(70, 130, 200))
    assert choose(at, np.full(200, SURE), FS, 0).all()
    assert not choose(at, np.full(200, -5.0), FS, 0).any()


def test_rhythm_decides_between_equals() -> None:
    beats = np.arange(20) * 100
    at, odds = np.sort(np.append(beats, 1050)), np.full(21, 1.0)
    assert at[choose(at, odds, FS, 0)].tolist() == beats.tolist()
    # And lets one in that is unlikely by its looks where a beat is due.
    odds = np.full(20, 3.0)
    odds[10] = -1.0
    assert choose(beats, odds, FS, 0)[10]
    assert not choose(np.append(beats[:10], 2000), np.append(odds[:10], -1.0), FS, 0)[10]


@pytest.mark.parametrize("fs", [62.5, 125.0, 500.0])
def test_a_t_wave_between_regular_beats_is_left_out(fs: float) -> None:
    at = np.sort(np.concatenate((np.arange(30) * round(0.8 * fs), np.arange(30) * round(0.8 * fs) + round(0.3 * fs))))
    odds = np.tile([5.0, -1.0], 30)
    assert np.array_equal(choose(at, odds, fs, 0), odds > 0)


def test_nothing_gives_nothing() -> None:
    assert choose(np.empty(0, np.int64), np.empty(0), FS, 0).size == 0
    assert not choose(np.array([5]), np.array([-5.5]), FS, 0).any()
    assert choose(np.array([5]), np.array([1.0]), FS, 0).tolist() == [True]


def test_the_usual_interval_is_the_median_near_by() -> None:
    at = np.concatenate((np.arange(40) * 100, 40 * 100 + np.arange(40) * 60))
    usual = usual_interval(at, np.ones(80), FS)
    assert np.allclose(usual[:30], 100 / FS)
    assert np.allclose(usual[50:], 60 / FS)
    # What is unlikely does not count, and neither does a pause.
    between = np.sort(np.append(at, at[:20] + 37))
    odds = np.where(np.isin(between, at), 1.0, -1.0)
    assert np.allclose(usual_interval(between, odds, FS)[:30], 100 / FS)


def test_with_too_few_the_usual_interval_is_assumed() -> None:
    assert np.array_equal(usual_interval(np.array([0, 100]), np.ones(2), FS), [USUAL_S, USUAL_S])
    assert np.array_equal(usual_interval(np.array([0, 5000, 10000]), np.ones(3), FS), [USUAL_S] * 3)
    assert usual_interval(np.empty(0, np.int64), np.empty(0), FS).size == 0


def test_the_usual_interval_fits_best_and_too_short_a_one_not_at_all() -> None:
    interval = np.linspace(SHORTEST_S, 3, 500)
    ratio = fit(interval, np.full(500, 0.9))
    assert abs(interval[ratio.argmax()] - 0.9) < 0.01
    assert ratio.max() > 0 > ratio.min()
    assert fit(np.array([99.0]), np.array([0.9]))[0] == pytest.approx(LONGEST)
    assert np.isneginf(fit(np.array([0.9 * SHORTEST_S, 0.0, -1.0]), np.full(3, 0.9))).all()
