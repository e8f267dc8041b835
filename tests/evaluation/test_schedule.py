"""Plans of recalibration: how old a reading may grow."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.evaluation import schedule
from biosig_mtl.evaluation.schedule import Pairs
from biosig_mtl.types import F64, I64


def pairs_of(course: F64) -> Pairs:
    """Return holding every window (person, time) of people until the end of their course, ages in windows."""
    people, many = course.shape
    first, second = np.triu_indices(many, k=1)
    error = np.abs(course[:, second] - course[:, first])
    person = np.repeat(np.arange(people), first.size)
    return Pairs(person, person, np.tile((second - first).astype(float), people), error.ravel())


def counts_of(pairs: Pairs, repeats: int = 200) -> I64:
    n = np.unique(pairs.subject).size
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=repeats)


def drifting(people: int = 30, slope: float = 1.0, many: int = 33, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    slopes = slope * rng.uniform(0.8, 1.2, (people, 1)) * rng.choice([-1, 1], (people, 1))
    return pairs_of(slopes * np.arange(many))


def test_who_drifts_needs_a_reading_the_sooner_the_lower_the_limit() -> None:
    pairs = drifting()
    told = schedule.plan(pairs, range(1, 33), counts_of(pairs))
    errors = [row["mae"] for row in told["intervals"]]
    assert (np.diff(errors) > 0).all()
    assert (np.diff([row["within_10"] for row in told["intervals"]]) <= 0).all()
    # Ages are 1 to T, alike: the mean error of a drift of one a window is (T + 1) / 2.
    assert errors == pytest.approx([(t + 1) / 2 for t in range(1, 33)], rel=0.05)
    assert told["mean"]["every"] == pytest.approx(15, abs=1)
    assert not told["mean"]["at_least"]
    low, high = told["mean"]["ci95"]
    assert low <= told["mean"]["every"] <= high
    faster = schedule.plan(drifting(slope=2.0), range(1, 33), counts_of(pairs))
    assert faster["mean"]["every"] < told["mean"]["every"]


def test_the_plan_is_what_following_it_gives() -> None:
    """Known truth: taking a reading every T windows, from every possible start, on random walks."""
    course = np.cumsum(np.random.default_rng(0).normal(0, 3, (40, 60)), axis=1)
    pairs = pairs_of(course)
    told = schedule.plan(pairs, range(1, 9), counts_of(pairs))
    for every in (1, 2, 5, 8):
        followed = []
        for phase in range(every + 1):
            readings = np.arange(phase, 60 - every, every + 1)
            followed += [np.abs(course[:, r + age] - course[:, r]).mean() for r in readings for age in range(1, every + 1)]
        assert told["intervals"][every - 1]["mae"] == pytest.approx(np.mean(followed), rel=0.08)


def test_a_steady_person_never_needs_another() -> None:
    pairs = pairs_of(np.full((25, 20), 120.0))
    told = schedule.plan(pairs, (1, 4, 16), counts_of(pairs))
    for criterion in ("mean", "share"):
        assert told[criterion] == {"every": 16.0, "ci95": [16.0, 16.0], "at_least": True}
        assert "tell of no longer one" in schedule.in_words(told, criterion, "windows")
    assert schedule.in_words(told, "mean", "windows").startswith("every 16 windows is enough, and")


def test_nothing_is_told_of_ages_that_nobody_has() -> None:
    pairs = drifting(many=6)
    told = schedule.plan(pairs, (1, 2, 4, 8, 16, 32), counts_of(pairs))
    assert [row["every"] for row in told["intervals"]] == [1, 2, 4, 8]
    assert told["longest"] == 8
    few = schedule.plan(drifting(people=5), (1, 2), counts_of(drifting(people=5)))
    assert few["intervals"] == []
    assert few["longest"] is None
    assert few["mean"] == {"every": None, "ci95": [None, None], "at_least": False}
    assert schedule.in_words(few, "mean", "s").startswith("cannot be told")


def test_a_gap_in_the_ages_ends_what_is_told() -> None:
    pairs = drifting()
    apart = np.isin(pairs.age, (1, 2, 7, 8))
    some = Pairs(pairs.person[apart], pairs.subject[apart], pairs.age[apart], pairs.error[apart])
    told = schedule.plan(some, (2, 4, 8), counts_of(pairs))
    assert told["longest"] == 2


def test_readings_answer_nothing_and_other_stays_are_of_no_age() -> None:
    pairs = drifting()
    extra = np.full(30, 99.0)
    people = np.arange(30)
    more = [np.concatenate([pairs.age, 0 * extra, np.inf * extra]), np.concatenate([pairs.error, extra, extra])]
    who = np.concatenate([pairs.person, people, people])
    plain, other = (schedule.plan(p, (1, 2, 4), counts_of(pairs)) for p in (pairs, Pairs(who, who, *more)))
    assert plain == other


def test_people_weigh_alike_and_not_their_windows() -> None:
    """Known truth: one person with a hundred pairs, and twenty with one."""
    person = np.concatenate([np.zeros(100, int), np.arange(1, 21)])
    error = np.where(person == 0, 21.0, 0.0)
    told = schedule.plan(Pairs(person, person, np.ones(120), error), (1,), np.ones((50, 21), int))
    assert told["intervals"][0]["mae"] == pytest.approx(1.0)
    assert told["intervals"][0]["within_10"] == pytest.approx(20 / 21)


def test_what_no_plan_keeps_is_said() -> None:
    pairs = drifting(slope=30.0)
    told = schedule.plan(pairs, (1, 2), counts_of(pairs))
    assert told["mean"]["every"] == 0
    assert schedule.in_words(told, "mean", "windows") == "not even a reading every 1 window is enough"
    some = {**told, "mean": {"every": 0.0, "ci95": [0.0, 2.0], "at_least": False}}
    assert "never to every 2 windows" in schedule.in_words(some, "mean", "windows")
    told = {**told, "mean": {"every": 60.0, "ci95": [30.0, 7200.0], "at_least": False}}
    assert schedule.in_words(told, "mean", "s") == "every 60 s (95 % interval 30 s to 2 h)"
    told = {**told, "mean": {"every": 600.0, "ci95": [30.0, 600.0], "at_least": True}}
    assert schedule.in_words(told, "mean", "s").startswith("every 10 min is enough (95 % interval from 30 s), and")


def test_nonsense_is_refused() -> None:
    pairs = drifting()
    with pytest.raises(ValueError, match="intervals that rise"):
        schedule.plan(pairs, (2, 1), counts_of(pairs))
    with pytest.raises(ValueError, match="as many persons"):
        Pairs(pairs.person[1:], pairs.subject, pairs.age, pairs.error)
