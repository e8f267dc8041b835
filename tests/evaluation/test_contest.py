"""Laws of a contest: signs, intervals, ranks, and what its headline may say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from biosig_mtl.evaluation import contest, intervals
from biosig_mtl.evaluation.contest import Errors
from biosig_mtl.types import Head, Predictions

PEOPLE = 30


def made(scale: float, noise: float = 0.0, seed: int = 0, targets: tuple[str, ...] = ("sbp", "dbp")) -> dict[str, Errors]:
    """Return errors of 30 people around ``scale``, the same people's difficulties for every call."""
    counts = intervals.draw(PEOPLE, np.random.default_rng(0))
    hard = np.random.default_rng(1).uniform(5, 15, PEOPLE)
    found = {}
    for t, name in enumerate(targets):
        each = scale * hard + noise * np.random.default_rng([seed, t]).normal(size=PEOPLE)
        found[name] = Errors(each, float(each.mean()), counts @ each / PEOPLE)
    return found


def predictions(heads: tuple[Head, ...] = ()) -> Predictions:
    rng = np.random.default_rng(0)
    subject = np.repeat([f"s{i}" for i in range(6)], 10)
    truth = rng.integers(0, 2, (60, 2)).astype(float) if heads else rng.normal(size=(60, 2))
    said = truth.copy()
    said[:12, 0] = 1 - said[:12, 0] if heads else said[:12, 0] + 2.0
    shares = {name: np.eye(2)[said[:, t].astype(int)] for t, name in enumerate(("a", "b"))} if heads else {}
    zeros = np.zeros(60, np.int64)
    return Predictions(np.arange(60), zeros, zeros, subject, np.arange(60.0), truth, said, ("a", "b"), heads, shares)


def test_an_error_of_a_number_is_the_mean_over_people() -> None:
    found = contest.errors(predictions(), intervals.draw(6, np.random.default_rng(0)))
    # The first ten windows are the first person's, who is always 2 off; the second one is in two of ten.
    assert found["a"].of_subject.tolist() == pytest.approx([2.0, 0.4, 0, 0, 0, 0])
    assert found["a"].point == pytest.approx(0.4)
    assert found["b"].point == 0.0
    assert found["a"].draws.mean() == pytest.approx(0.4, abs=0.05)


def test_an_error_of_classes_is_one_minus_balanced_accuracy() -> None:
    given = predictions((Head("binary", (5.0,)), Head("binary", (5.0,))))
    found = contest.errors(given, intervals.draw(6, np.random.default_rng(0)))
    wrong, truth = given.y_pred[:, 0] != given.y_true[:, 0], given.y_true[:, 0]
    assert found["a"].point == pytest.approx(np.mean([wrong[truth == k].mean() for k in (0, 1)]))
    assert found["a"].of_subject.tolist() == pytest.approx([1.0, 0.2, 0, 0, 0, 0])
    assert math.isnan(found["a"].ccc)


def test_a_target_that_is_not_answered_has_no_error() -> None:
    given = predictions()
    given.y_pred[:, 1] = np.nan
    assert set(contest.errors(given, intervals.draw(6, np.random.default_rng(0)))) == {"a"}


def test_half_the_error_is_a_gain_of_fifty_per_cent_and_twice_the_error_a_loss_of_a_hundred() -> None:
    better, worse = contest.gain(made(0.5), made(1.0)), contest.gain(made(2.0), made(1.0))
    assert better.value == pytest.approx(50.0)
    assert better.verdict == "better"
    assert better.ci95 == pytest.approx((50.0, 50.0))  # the same share of every person's error: nothing to vary
    assert worse.value == pytest.approx(-100.0)
    assert worse.verdict == "worse"


def test_against_itself_nothing_is_gained_and_nothing_told_apart() -> None:
    same = contest.gain(made(1.0), made(1.0))
    assert (same.value, same.ci95, same.verdict) == (0.0, (0.0, 0.0), "not distinguishable")


def test_the_mean_is_over_targets() -> None:
    mixed = {"sbp": made(0.5)["sbp"], "dbp": made(1.5)["dbp"]}
    found = contest.gain(mixed, made(1.0))
    assert found.value == pytest.approx(0.0)
    assert found.of_target["sbp"][0] == pytest.approx(50.0)
    assert found.of_target["dbp"][0] == pytest.approx(-50.0)


def test_who_leaves_out_a_target_has_no_gain() -> None:
    found = contest.gain(made(0.5, targets=("sbp",)), made(1.0))
    assert math.isnan(found.value)
    assert found.verdict == "not all targets"
    assert found.of_target["sbp"][0] == pytest.approx(50.0)


def test_one_person_tells_nothing() -> None:
    counts = intervals.draw(1, np.random.default_rng(0))
    one = {"sbp": Errors(np.array([5.0]), 5.0, counts @ np.array([5.0]))}
    two = {"sbp": Errors(np.array([10.0]), 10.0, counts @ np.array([10.0]))}
    found = contest.gain(one, two)
    assert found.value == pytest.approx(50.0)
    assert np.isnan(found.ci95).all()
    assert found.verdict == "not distinguishable"


def test_ranks_follow_errors_and_noise_is_not_told_apart() -> None:
    field = {"best": made(0.5), "middle": made(1.0), "twin": made(1.0, noise=1e-6, seed=3), "worst": made(2.0)}
    ranked = contest.ranking(field)
    assert next(iter(ranked.ranks)) == "best"
    assert list(ranked.ranks)[-1] == "worst"
    assert ranked.ranks["best"] == 1.0
    assert ranked.friedman_p < 1e-6
    assert ranked.subjects == PEOPLE
    assert ranked.cliques == (("middle", "twin"),) or ranked.cliques == (("twin", "middle"),)


def test_the_critical_difference_is_that_of_demsar() -> None:
    # Demšar, JMLR 2006, §3.2.3: 4 classifiers on 14 sets, α = 0.05: CD = 2.569 √(4·5 / (6·14)) = 1.25.
    field = {f"m{i}": {"t": Errors(np.arange(14.0) + i * 0.1 * (-1) ** i, 1.0, np.ones(3))} for i in range(4)}
    assert contest.ranking(field).critical_difference == pytest.approx(1.25, abs=0.005)


def test_too_few_models_or_people_are_not_ranked() -> None:
    assert contest.ranking({"a": made(1.0), "b": made(2.0)}).ranks == {}
    lone = {n: {"t": Errors(np.array([1.0 + i]), 1.0, np.ones(3))} for i, n in enumerate("abc")}
    assert contest.ranking(lone).ranks == {}
    assert contest.ranking({}).ranks == {}


def test_models_that_are_all_the_same_are_alike() -> None:
    ranked = contest.ranking({name: made(1.0) for name in "abc"})
    assert ranked.friedman_p == 1.0
    assert ranked.cliques == (("a", "b", "c"),)


def test_who_leaves_out_a_target_is_not_ranked() -> None:
    field = {"a": made(1.0), "b": made(1.1), "c": made(1.2), "d": made(0.1, targets=("sbp",))}
    assert "d" not in contest.ranking(field).ranks


@pytest.mark.parametrize(
    ("scale", "said"), [(0.5, "beats single-task networks for 1 of 2"), (1.0, "does not beat single-task networks here")]
)
def test_the_headline_says_plainly_whether_joint_training_helps(scale: float, said: str) -> None:
    gains = {"split_merge": contest.gain(made(scale), made(1.0)), "mtan": contest.gain(made(1.5), made(1.0))}
    text = contest.headline(gains, ["split_merge", "mtan"], "split_merge")
    assert said in text
    assert "does harm in 1 of 2: mtan" in text


def test_the_headline_names_ours_where_another_is_best() -> None:
    gains = {"split_merge": contest.gain(made(0.9), made(1.0)), "mtan": contest.gain(made(0.8), made(1.0))}
    text = contest.headline(gains, ["split_merge", "mtan"], "split_merge")
    assert "the best joint network is mtan" in text
    assert "split_merge: Δm +10.0 %" in text


def test_a_headline_needs_a_joint_network() -> None:
    with pytest.raises(ValueError, match="need a joint network"):
        contest.headline({}, ["split_merge"], "split_merge")


def test_variants_are_told_apart() -> None:
    gains = {name: contest.gain(made(scale), made(1.0)) for name, scale in (("split_merge", 1.0), ("ensemble", 0.5))}
    text = contest.headline(gains, ["split_merge"], "split_merge", ["ensemble"])
    assert "does not beat" in text
    assert text.endswith("Variants with a gain, whatever they owe it to: ensemble.")
