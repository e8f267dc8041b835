"""Laws of intervals by person: what exchangeable people are promised, and what must not change an interval."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from biosig_mtl.training import conformal
from biosig_mtl.training.conformal import LEVELS, PLAIN, Errors, Rule, Settings, effective_people, fit_rule, ladder
from biosig_mtl.training.conformal_plus import cv_plus
from biosig_mtl.training.conformal_record import Intervals, fit_intervals, shift_inputs
from biosig_mtl.training.conformal_scale import Scale, alike, cross_fitted, fit_scale
from biosig_mtl.training.conformal_shift import COIN, Shift, fit_shift
from biosig_mtl.types import F64, DataError

FITTED, APART = Settings(scale="fitted"), Settings(scale="none", sides="apart")


def people(rng: np.random.Generator, many: int, most: int = 12) -> Errors:
    """Return people whose windows err together: most of an error is the person's own, as with blood pressure."""
    counts = rng.integers(1, most + 1, many)
    subject = np.repeat([f"p{i:03d}" for i in range(many)], counts)
    own = np.repeat(rng.normal(0.0, 8.0, many), counts)
    estimate = np.repeat(rng.normal(120.0, 15.0, many), counts) + rng.normal(0.0, 2.0, subject.size)
    truth = estimate + own * (estimate / 120.0) ** 2 + rng.normal(0.0, 3.0, subject.size)
    return Errors.of(subject, truth, estimate, rng.uniform(0.3, 1.0, subject.size))


def fitted(errors: Errors, settings: Settings = PLAIN) -> Rule:
    rule = fit_rule(errors, settings)
    assert rule is not None
    return rule


def held(rule: Rule, errors: Errors, level: float) -> float:
    """Return the share of windows inside, each person alike."""
    low, high = rule.bounds(errors.estimate, errors.sqi, level)
    inside = (low <= errors.truth) & (errors.truth <= high)
    return float(np.average(inside, weights=alike(errors.subject)))


# ----------------------------------------------------------------------------------------------------------------- promise
@pytest.mark.parametrize("settings", [PLAIN, APART, FITTED, Settings(), Settings(scale="none", edges=(110.0, 130.0))], ids=repr)
def test_exchangeable_people_are_held_at_the_level_and_not_much_above(settings: Settings) -> None:
    rng, shares = np.random.default_rng(7), []
    for _ in range(120):
        both = people(rng, 100)
        own = both.subject < "p070"
        shares.append(held(fitted(both.at(own), settings), both.at(~own), 0.9))
    error = np.std(shares) / math.sqrt(len(shares))
    # At least the level; each side and each class may add its own 1 / (K + 1).
    parts = 2 if settings.sides == "apart" else 3 if settings.edges else 1
    assert 0.9 - 3 * error - (0.01 if settings.scale != "none" else 0.0) <= np.mean(shares)
    assert np.mean(shares) <= 0.9 + 2 * parts / 71 + 3 * error


def test_many_windows_of_few_people_do_not_narrow_the_interval() -> None:
    """Ranking windows as if each were a person promises 90 % and holds less of new people: why people are the unit."""
    rng, by_person, by_window = np.random.default_rng(1), [], []
    for _ in range(200):
        both = people(rng, 40, most=60)
        own = both.subject < "p010"
        learnt, new = both.at(own), both.at(~own)
        by_person.append(held(fitted(learnt), new, 0.9))
        alone = replace(learnt, subject=np.arange(learnt.truth.size).astype(str))
        by_window.append(held(fitted(alone), new, 0.9))
    assert np.mean(by_person) >= 0.9
    assert np.mean(by_window) < 0.88


def test_a_person_s_windows_written_twice_change_nothing() -> None:
    errors = people(np.random.default_rng(2), 30)
    twice = errors.at(np.concatenate([np.arange(errors.truth.size), np.flatnonzero(errors.subject < "p010")]))
    for settings in (PLAIN, APART, Settings(scale="none", edges=(120.0,))):
        one, other = fitted(errors, settings), fitted(twice, settings)
        for level in LEVELS:
            np.testing.assert_allclose(
                one.bounds(errors.estimate, errors.sqi, level), other.bounds(errors.estimate, errors.sqi, level)
            )


def test_unknown_truths_count_for_nothing() -> None:
    errors = people(np.random.default_rng(3), 20)
    more = Errors.of(
        np.append(errors.subject, ["x", "p001"]),
        np.append(errors.truth, [np.nan, np.nan]),
        np.append(errors.estimate, [0.0, 0.0]),
        np.append(errors.sqi, [1.0, 1.0]),
    )
    assert fitted(more).to_json() == fitted(errors).to_json()
    assert fit_rule(replace(errors, truth=np.full(errors.truth.size, np.nan))) is None


@pytest.mark.parametrize("settings", [PLAIN, APART, FITTED, Settings(scale="none", edges=(110.0, 130.0))], ids=repr)
def test_intervals_of_rising_levels_lie_in_one_another(settings: Settings) -> None:
    errors = people(np.random.default_rng(4), 90)
    low, high = zip(*(fitted(errors, settings).bounds(errors.estimate, errors.sqi, level) for level in LEVELS), strict=True)
    assert all((inner >= outer).all() for inner, outer in pairwise(low))
    assert all((inner <= outer).all() for inner, outer in pairwise(high))


# ------------------------------------------------------------------------------------------------------------ golden values
def test_the_quantile_counts_the_new_person_too() -> None:
    # ⌈0.9 · (19 + 1)⌉ = 18th of 19; with 20 people ⌈0.9 · 21⌉ = 19th; 8 people cannot promise 90 %.
    assert ladder(np.arange(1.0, 20), np.arange(19)).quantile(0.9) == 18.0
    assert ladder(np.arange(1.0, 21), np.arange(20)).quantile(0.9) == 19.0
    assert np.isinf(ladder(np.arange(1.0, 9), np.arange(8)).quantile(0.9))
    assert np.isinf(ladder([], []).quantile(0.5))
    # Two people, one with three windows: masses 1/3, 1/3, 1/3, 1 of 2, and a third for the new one: 0.5 · 3 = 1.5 is at 7.
    assert ladder([1.0, 2.0, 3.0, 7.0], ["a", "a", "a", "b"]).quantile(0.5) == 7.0
    assert ladder([1.0, 2.0, 3.0, 7.0], ["a", "a", "a", "b"]).quantile(1 / 3) == 3.0


def test_with_one_window_a_person_ours_are_the_intervals_of_crepes() -> None:
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(5)
    for many in (20, 37, 100):
        errors = people(rng, many, most=1)
        theirs = crepes.ConformalRegressor().fit(errors.residual)
        for level in LEVELS:
            ours = np.stack(fitted(errors).bounds(errors.estimate, errors.sqi, level), axis=1)
            np.testing.assert_allclose(ours, theirs.predict_int(errors.estimate, confidence=level))


def test_too_few_people_fall_back_to_the_largest_error_and_say_what_that_promises() -> None:
    errors = people(np.random.default_rng(6), 8)
    rule = fitted(errors)
    low, high = rule.bounds(np.array([120.0]), np.array([1.0]), 0.95)
    assert (high - low)[0] == pytest.approx(2 * np.abs(errors.residual).max())
    assert rule.promised(0.95) == pytest.approx(8 / 9)
    assert rule.promised(0.8) == 0.8
    # Two sides: each may miss half, so that fewer people can be promised less.
    assert fitted(errors, APART).promised(0.9) == pytest.approx(2 * 8 / 9 - 1)
    assert fitted(people(np.random.default_rng(6), 60), APART).promised(0.9) == 0.9


def test_a_class_with_too_few_people_has_the_width_of_all() -> None:
    errors = people(np.random.default_rng(8), 60)
    high_only = float(np.sort(errors.estimate)[-1]) - 0.01
    rule, plain = fitted(errors, Settings(scale="none", edges=(100.0, high_only))), fitted(errors)
    lone = np.array([high_only + 5.0])
    np.testing.assert_array_equal(rule.bounds(lone, np.ones(1)), plain.bounds(lone, np.ones(1)))
    inner = np.array([90.0])
    assert (rule.bounds(inner, np.ones(1))[0] != plain.bounds(inner, np.ones(1))[0]).all()


def test_classes_are_those_of_the_estimate() -> None:
    """A rule sees no truth: moving the truths of the new people cannot move their intervals, moving the estimates does."""
    errors = people(np.random.default_rng(9), 80)
    calm = replace(errors, truth=np.where(errors.estimate < 120, errors.estimate + 0.1, errors.truth))
    low, high = fitted(calm, Settings(scale="none", edges=(120.0,))).bounds(np.array([119.9, 120.1]), np.ones(2))
    width = high - low
    assert width[0] == pytest.approx(0.2)
    assert width[1] > 5


def test_one_class_is_plain_and_two_sides_follow_a_lean() -> None:
    errors = people(np.random.default_rng(10), 40)
    assert fitted(errors, Settings(scale="none", edges=())).to_json() == fitted(errors).to_json()
    leaning = replace(errors, truth=errors.truth + 30.0)
    low, high = fitted(leaning, APART).bounds(np.array([120.0]), np.ones(1))
    assert high[0] - 120.0 > 30.0
    assert low[0] > 120.0 - 5.0


def test_a_thinned_ladder_never_narrows() -> None:
    rng = np.random.default_rng(11)
    whole = ladder(rng.exponential(5.0, 5000), rng.integers(0, 50, 5000).astype(str))
    thin = whole.thin(200)
    assert thin.score.size <= 201
    for level in np.linspace(0.05, 0.95, 60):
        few, all_ = float(thin.quantile(level)), float(whole.quantile(level))
        assert all_ <= few <= float(whole.quantile(level + 2 / 200))
    assert thin.total == whole.total


# ------------------------------------------------------------------------------------------------------------------- scale
def test_a_scale_is_chosen_where_it_narrows_and_people_are_many() -> None:
    errors = people(np.random.default_rng(12), 120)
    assert fitted(errors, Settings()).scale is not None
    assert fitted(errors.at(errors.subject < "p040"), Settings()).scale is None
    # Low estimates are mostly right and sometimes far off: what is usual there misleads, and one width is narrower.
    rng = np.random.default_rng(0)
    low = errors.estimate < 120
    off = np.where(low, np.where(rng.uniform(size=low.size) < 0.25, 60.0, 0.1), 10.0) * rng.choice([-1, 1], low.size)
    misled = replace(errors, truth=errors.estimate + off)
    assert fitted(misled, Settings()).scale is None
    assert fitted(misled, FITTED).scale is not None


def test_the_scale_follows_the_errors_and_is_level_beyond_what_was_seen() -> None:
    rng = np.random.default_rng(13)
    sqi, estimate = rng.uniform(0, 1, 3000), rng.normal(120, 10, 3000)
    residual = rng.normal(0, 1, 3000) * np.exp(1 - 2 * sqi)
    scale = fit_scale(np.arange(3000).astype(str), estimate, sqi, residual)
    ratio = scale.of(np.array([120.0]), np.array([0.1])) / scale.of(np.array([120.0]), np.array([0.9]))
    assert ratio[0] == pytest.approx(math.exp(1.6), rel=0.25)
    far = scale.of(np.array([1e4, 1e6]), np.array([0.5, 0.5]))
    assert far[0] == far[1]
    unknown = scale.of(np.array([120.0]), np.array([np.nan]))
    np.testing.assert_allclose(unknown, scale.of(np.array([120.0]), scale.centre[1:]))
    assert Scale.from_json(json.loads(json.dumps(scale.to_json()))).to_json() == scale.to_json()


def test_a_scale_of_signals_without_quality_looks_at_the_estimate_alone() -> None:
    errors = people(np.random.default_rng(14), 70)
    nowhere = np.full(errors.truth.size, np.nan)
    scale = fit_scale(errors.subject, errors.estimate, nowhere, errors.residual)
    assert scale.slope[1] == pytest.approx(0.0)
    assert np.isfinite(scale.of(errors.estimate, nowhere)).all()


def test_a_person_s_scale_is_fitted_without_the_person() -> None:
    errors = people(np.random.default_rng(15), 25)
    mine = errors.subject == "p003"
    wild = np.where(mine, errors.residual * 1000, errors.residual)
    before, after = (cross_fitted(errors.subject, errors.estimate, errors.sqi, r) for r in (errors.residual, wild))
    np.testing.assert_array_equal(before[mine], after[mine])
    assert (before != after).any()


# --------------------------------------------------------------------------------------------------------------------- CV+
@pytest.mark.parametrize("settings", [PLAIN, FITTED], ids=repr)
@pytest.mark.parametrize("many", [8, 80])
def test_cv_plus_with_one_network_is_the_split_interval(settings: Settings, many: int) -> None:
    rng = np.random.default_rng(16)
    errors, new = people(rng, many), people(rng, 20)
    ends = cv_plus(errors, new.estimate[None], new.sqi, settings=settings)
    np.testing.assert_allclose(ends, fitted(errors, settings).bounds(new.estimate, new.sqi))


def test_cv_plus_holds_new_people_and_widens_where_networks_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, shares = np.random.default_rng(17), []
    for _ in range(60):
        both = people(rng, 80)
        order = np.unique(both.subject, return_inverse=True)[1]
        lean = rng.normal(0, 3, 5)  # of each network
        errors = both.at(order < 50)
        network = order[order < 50] % 5
        errors = replace(errors, network=network, estimate=errors.estimate + lean[network])
        new = both.at(order >= 50)
        low, high = cv_plus(errors, new.estimate + lean[:, None], new.sqi)
        inside = (low <= new.truth) & (new.truth <= high)
        shares.append(np.average(inside, weights=alike(new.subject)))
    assert 0.9 - 3 * np.std(shares) / math.sqrt(60) <= np.mean(shares) <= 0.95
    apart = cv_plus(errors, new.estimate + 10 * lean[:, None], new.sqi)
    assert (apart[1] - apart[0] > high - low).all()
    monkeypatch.setattr("biosig_mtl.training.conformal_plus.AT_ONCE", 500)
    np.testing.assert_array_equal(cv_plus(errors, new.estimate + lean[:, None], new.sqi), (low, high))
    assert cv_plus(errors, np.empty((5, 0)), np.empty(0))[0].size == 0
    monkeypatch.setattr("biosig_mtl.training.conformal_plus.KNOTS", 30)
    few = cv_plus(errors, new.estimate + lean[:, None], new.sqi)
    assert (few[0] <= low).all()
    assert (few[1] >= high).all()
    assert ((few[1] - few[0]) < 1.4 * (high - low)).all()
    with pytest.raises(ValueError, match="4 networks that speak"):
        cv_plus(errors, np.zeros((4, 3)), np.ones(3))


# ----------------------------------------------------------------------------------------------------------------- weights
def shifted(rng: np.random.Generator, many: int, centre: float) -> tuple[Errors, F64]:
    """Return people whose errors grow with an input, which lies about ``centre``; the estimates tell nothing of it."""
    subject = np.repeat([f"{centre:g}-{i:03d}" for i in range(many)], 4)
    given = np.repeat(rng.normal(centre, 1.0, many), 4) + rng.normal(0, 0.2, subject.size)
    error = np.repeat(rng.normal(0, 1, many), 4) * np.exp(0.7 * given)
    return Errors.of(subject, 120 + error, np.full(subject.size, 120.0)), np.column_stack([given, rng.normal(size=given.size)])


def test_weights_mend_what_a_shift_of_the_inputs_breaks() -> None:
    rng, plain, weighted = np.random.default_rng(18), [], []
    for _ in range(12):
        (errors, known), (new, other) = shifted(rng, 200, 0.0), shifted(rng, 60, 1.0)
        shift = fit_shift(known, errors.subject, other, new.subject)
        assert shift.log_loss < COIN
        rule = fitted(replace(errors, weight=shift.ratio(known)))
        assert rule.effective < 200
        low, high = rule.bounds(new.estimate, new.sqi, 0.9, shift.ratio(other))
        weighted.append(np.mean((low <= new.truth) & (new.truth <= high)))
        plain.append(held(fitted(errors), new, 0.9))
    assert np.mean(plain) < 0.82
    assert np.mean(weighted) > 0.875


def test_equal_weights_are_no_weights() -> None:
    errors = people(np.random.default_rng(19), 40)
    for level in LEVELS:
        one = fitted(errors).bounds(errors.estimate, errors.sqi, level)
        seven = fitted(replace(errors, weight=np.full(errors.truth.size, 7.0)))
        np.testing.assert_allclose(seven.bounds(errors.estimate, errors.sqi, level, own=7.0), one)
    assert effective_people(errors.subject, np.full(errors.truth.size, 7.0)) == pytest.approx(40)
    assert effective_people(["a", "a", "b"], np.array([1.0, 1.0, 0.0])) == pytest.approx(1.0)


def test_two_halves_of_the_same_people_weigh_alike() -> None:
    rng = np.random.default_rng(20)
    (errors, known), (new, other) = shifted(rng, 60, 0.0), shifted(rng, 60, 0.0)
    shift = fit_shift(known, errors.subject, other, np.char.add("n", new.subject))
    weight = shift.ratio(known)
    assert weight.min() > 0.4
    assert weight.max() < 2.5
    assert np.average(weight, weights=alike(errors.subject)) == pytest.approx(1.0)


def test_nothing_to_tell_apart_is_a_weight_of_one() -> None:
    same = np.zeros((8, 2))
    names = np.repeat(["a", "b"], 4)
    shift = fit_shift(same, names, same, names)
    assert shift.log_loss == COIN
    np.testing.assert_array_equal(shift.ratio(np.array([[3.0, np.nan]])), [1.0])


def test_weights_take_gaps_and_wild_windows_and_come_back_from_json() -> None:
    rng = np.random.default_rng(21)
    (errors, known), (new, other) = shifted(rng, 30, 0.0), shifted(rng, 30, 2.0)
    known, other = (np.column_stack([each, np.full(len(each), np.nan)]) for each in (known, other))
    known[::5, 1] = np.nan
    shift = fit_shift(known, errors.subject, other, new.subject)
    wild = shift.ratio(np.array([[1e9, 0.0, 1.0], [np.nan, np.nan, np.nan]]))
    assert np.isfinite(wild).all()
    assert wild[0] == pytest.approx(shift.clip / shift.mean)
    again = Shift.from_json(json.loads(json.dumps(shift.to_json())))
    np.testing.assert_array_equal(again.ratio(known), shift.ratio(known))
    # Long recordings: the classifier learns from some windows of each person, and weighs all of them.
    many = np.repeat(np.arange(len(known)), 40)
    longer = fit_shift(known[many], errors.subject[many], other, new.subject)
    np.testing.assert_allclose(longer.ratio(known), shift.ratio(known), rtol=0.2)


def test_weights_need_the_same_inputs_and_people_on_both_sides() -> None:
    two = np.repeat(["a", "b"], 2)
    with pytest.raises(ValueError, match="need the same inputs on both sides, got 2 and 3"):
        fit_shift(np.zeros((4, 2)), two, np.zeros((4, 3)), two)
    with pytest.raises(ValueError, match="need two people on both sides"):
        fit_shift(np.zeros((4, 2)), two, np.zeros((4, 2)), np.repeat("a", 4))


# ------------------------------------------------------------------------------------------------------------------ record
def test_what_a_model_carries_comes_back_the_same_from_json() -> None:
    rng = np.random.default_rng(22)
    (errors, known), (new, other) = shifted(rng, 80, 0.0), shifted(rng, 20, 1.0)
    estimates = np.column_stack([errors.estimate] * 3)
    inputs = shift_inputs(known, estimates, errors.sqi)
    assert inputs.shape == (known.shape[0], 2 + 3 + 1)
    shift = fit_shift(inputs, errors.subject, shift_inputs(other, np.full((80, 3), 120.0), new.sqi), new.subject)
    weighed = replace(errors, weight=shift.ratio(inputs))
    wanted = [FITTED, APART, PLAIN]
    made = fit_intervals([weighed, weighed, None], wanted, shift)
    text = json.dumps(made.to_json(), allow_nan=False)
    assert len(text) < 100_000
    again = Intervals.from_json(json.loads(text))
    assert again.to_json() == made.to_json()
    said = np.full((80, 3), 121.0)
    for level in (None, 0.8):
        for one, other_ in zip(made.bounds(said, 1.0, other, level), again.bounds(said, 1.0, other, level), strict=True):
            np.testing.assert_array_equal(one, other_)
    low, _ = made.bounds(said, 1.0, other)
    assert np.isnan(low[:, 2]).all()
    assert np.ptp(low[:, 1]) > 0  # a window more like the new people has more mass that may lie anywhere
    usual, _ = made.bounds(said, 1.0)
    assert np.ptp(usual[:, 1]) == 0
    halves = made.half_widths()
    assert halves[2] is None
    assert all(half is not None and half > 0 for half in halves[:2])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("rules"),
        lambda told: told.update(rules=[{"below": 3}]),
        lambda told: told.update(rules=7),
        lambda told: told["rules"][0].update(below=[]),
        lambda told: told["rules"][0].update(below=[[[], []]]),
        lambda told: told["rules"][0]["below"][0][1].pop(),
        lambda told: told["rules"][0].update(edges=[100.0]),
        lambda told: told.update(level="high"),
        lambda told: told.update(shift=[1]),
        lambda told: told.update(format=99),
    ],
)
def test_a_spoilt_record_is_refused_in_one_line(spoil: Any) -> None:
    told: dict[str, Any] = fit_intervals([people(np.random.default_rng(23), 12)]).to_json()
    spoil(told)
    with pytest.raises(DataError, match="the model's intervals") as caught:
        Intervals.from_json(told)
    assert "\n" not in str(caught.value)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="need scale none, fitted or choose, got wide"):
        Settings(scale="wide")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need sides alike or apart, got up"):
        Settings(sides="up")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need edges that rise"):
        Settings(edges=(120.0, 100.0))
    with pytest.raises(ValueError, match="need 0 < level < 1, got 1"):
        fitted(people(np.random.default_rng(24), 12)).bounds(np.ones(1), np.ones(1), 1.0)
    assert conformal.LEVEL in LEVELS
