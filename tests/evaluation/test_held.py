"""Gains over holding the reading: what they are, over whom, and in which bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from biosig_mtl.evaluation import held, intervals
from biosig_mtl.evaluation.held import HOLD_LAST, HOLD_MEAN, PEOPLE, POOLED, Asked
from biosig_mtl.types import F64


def asked_of(people: int = 12, per: int = 7, seed: int = 0, **told: F64) -> Asked:
    """Return queries of people, two to a subject, the last of whom has twice as many; ``told`` are more answers."""
    rng = np.random.default_rng(seed)
    many = np.where(np.arange(people) == people - 1, 2 * per, per)
    person = np.repeat(np.arange(people), many)
    level = np.repeat(rng.normal(120, 15, people), many)
    truth = level + rng.normal(0, 10, person.size)
    since = np.where(rng.random(person.size) < 0.3, np.inf, rng.uniform(8, 700, person.size))
    answers = {HOLD_MEAN: level, HOLD_LAST: level + np.repeat(rng.normal(0, 4, people), many)}
    return Asked(person, person // 2, truth, level, since, answers | told)


def with_told(asked: Asked, **told: F64) -> Asked:
    return replace(asked, told={**asked.told, **told})


# ----------------------------------------------------------------------------------------------------------------- laws
def test_holding_gains_nothing_over_itself() -> None:
    asked = asked_of()
    counts = held.draws(asked)
    for how in (POOLED, PEOPLE):
        found = held.gain(asked, HOLD_MEAN, HOLD_MEAN, how, counts)
        assert (found.difference, found.ci95) == (0.0, (0.0, 0.0))
        assert (found.probability_better, found.verdict) == (0.5, intervals.NOT_DISTINGUISHABLE)


def test_holding_a_constant_pressure_has_no_error() -> None:
    asked = asked_of()
    still = replace(asked, truth=asked.level)
    assert held.figures(still, HOLD_MEAN, held.draws(still))[POOLED]["mae"] == 0
    assert held.figures(still, HOLD_MEAN, held.draws(still))[PEOPLE]["mae_ci95"] == [0, 0]


def test_the_truth_gains_what_holding_loses() -> None:
    asked = asked_of()
    asked = with_told(asked, perfect=asked.truth)
    told = held.figures(asked, "perfect", held.draws(asked))
    lost = held.figures(asked, HOLD_MEAN, held.draws(asked))
    for how in (POOLED, PEOPLE):
        gain = told[how]["gain"][HOLD_MEAN]
        assert gain["difference"] == pytest.approx(-lost[how]["mae"])
        assert gain["verdict"] == "better"
        assert gain["ci95"] == pytest.approx([-x for x in reversed(lost[how]["mae_ci95"])])


def test_a_gain_and_its_loss_mirror_each_other() -> None:
    asked = asked_of()
    counts = held.draws(asked)
    one, other = (held.gain(asked, *names, PEOPLE, counts) for names in ((HOLD_MEAN, HOLD_LAST), (HOLD_LAST, HOLD_MEAN)))
    assert one.difference == -other.difference
    assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]))


def test_both_ways_to_weigh() -> None:
    """Known truth: over windows the mean of all errors, over people the mean of their means."""
    asked = asked_of()
    error = np.abs(asked.told[HOLD_MEAN] - asked.truth)
    told = held.figures(asked, HOLD_MEAN, held.draws(asked))
    assert told[POOLED]["mae"] == pytest.approx(error.mean())
    assert told[PEOPLE]["mae"] == pytest.approx(np.mean([error[asked.person == p].mean() for p in range(12)]))
    assert told[POOLED]["mae"] != pytest.approx(told[PEOPLE]["mae"])


def test_subjects_are_drawn_whole() -> None:
    """Known truth: the interval of the mean over windows is that of drawing the rows of subjects."""
    asked = asked_of(people=8)
    counts = held.draws(asked)
    error = asked.error(HOLD_MEAN)
    rows = [np.concatenate([np.tile(np.flatnonzero(asked.subject == s), n) for s, n in enumerate(one)]) for one in counts[:300]]
    _, samples = held.mean_with_samples(error, asked.weight(POOLED), asked.subject, counts[:300])
    assert samples == pytest.approx([error[r].mean() for r in rows])


def test_people_of_one_subject_say_nothing_about_people() -> None:
    asked = asked_of(people=2)
    gain = held.gain(asked, HOLD_LAST, HOLD_MEAN, POOLED, held.draws(asked))
    assert np.isnan(gain.ci95).all()
    assert gain.verdict == intervals.NOT_DISTINGUISHABLE


def test_subjects_without_a_query_are_never_drawn() -> None:
    asked = asked_of()
    part = asked.only(asked.subject != 3)
    counts = held.draws(part)
    assert not counts[:, 3].any()
    assert (counts.sum(axis=1) == np.unique(part.subject).size).all()


def test_unknown_errors_do_not_count() -> None:
    value, samples = held.mean_with_samples(np.array([1.0, np.nan]), np.ones(2), np.array([0, 1]), np.array([[2, 0], [0, 2]]))
    assert value == 1
    assert samples[0] == 1
    assert np.isnan(samples[1])
    assert np.isnan(held.mean_with_samples(np.array([np.nan]), np.ones(1), np.array([0]), np.array([[1]]))[0])


def test_the_better_way_of_holding_is_the_one_to_beat() -> None:
    asked = asked_of()
    assert held.best_hold(asked, POOLED) == HOLD_MEAN
    worse = with_told(asked, **{HOLD_MEAN: asked.level + 40})
    assert {held.best_hold(worse, how) for how in (POOLED, PEOPLE)} == {HOLD_LAST}


# ----------------------------------------------------------------------------------------------------------------- bins
def test_every_query_is_in_one_bin() -> None:
    asked = asked_of(people=30)
    counts = held.draws(asked)
    for rows in (held.by_since(asked, [HOLD_LAST], counts), held.by_change(asked, [HOLD_LAST], counts)):
        assert sum(row["n_windows"] for row in rows) == len(asked)
        whole = sum(row["n_windows"] * row["methods"][HOLD_LAST]["mae"] for row in rows) / len(asked)
        assert whole == pytest.approx(asked.error(HOLD_LAST).mean())


def test_bins_are_named_by_their_edges() -> None:
    asked = asked_of(people=30)
    counts = held.draws(asked)
    since = {row["bin"]: row for row in held.by_since(asked, [], counts)}
    assert list(since) == ["0–15 s", "15–60 s", "1–2 min", "2–5 min", "5–10 min", "10–30 min", held.OTHER_STAY]
    assert since[held.OTHER_STAY]["n_windows"] == np.isinf(asked.since_s).sum()
    change = {row["bin"]: row for row in held.by_change(asked, [], counts)}
    assert list(change) == ["0–5", "5–10", "10–15", "15–20", "20 and more"]
    far = np.abs(asked.truth - asked.level) >= 20
    assert change["20 and more"]["n_windows"] == far.sum()
    assert change["20 and more"]["hold"] <= np.abs(asked.truth - asked.level)[far].mean()


def test_a_bin_is_judged_against_the_better_way_of_holding_in_it() -> None:
    asked = asked_of(people=30)
    for row in held.by_change(asked, [HOLD_MEAN, HOLD_LAST], held.draws(asked)):
        assert row["methods"][row["best_hold"]]["gain"]["difference"] == 0
        assert min(each["gain"]["difference"] for each in row["methods"].values()) == 0


# -------------------------------------------------------------------------------------------------------------- refusals
def test_nonsense_is_refused() -> None:
    asked = asked_of()
    with pytest.raises(ValueError, match="need answers of hold_mean and hold_last, got none"):
        replace(asked, told={})
    with pytest.raises(ValueError, match="rows everywhere"):
        with_told(asked, short=np.zeros(3))
