"""What methods of calibration are shown of a run, and what they answer: nothing is known that must not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.lifecycle import calibrate_answers as answering
from biosig_mtl.lifecycle import calibrate_shown as showing
from biosig_mtl.lifecycle.calibrate_answers import FIRST, HORIZON, Terms
from biosig_mtl.lifecycle.calibrate_shrunk import Shrunk
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.splits import anchors
from biosig_mtl.splits.anchors import Anchoring
from biosig_mtl.training import predict
from biosig_mtl.training.calibration.known import MAIN, Person, Shown
from biosig_mtl.types import F64, DataError, Track
from tests.lifecycle.calibrate_case import Wrong, WrongMethod, alone, moving_table, opened_run, wrong

TWO = Anchoring((1, 2), draws=1)


@dataclass(frozen=True)
class Peeking(Wrong):
    """Answers what it must not know."""

    def answer(self, shown: Shown, person: Person) -> F64:
        self.seen.append((shown, person))
        return shown.truth[person.queries]


@dataclass(frozen=True)
class PeekingMethod(WrongMethod):
    def fit(self, *_: Any) -> Wrong:
        return Peeking(0.0, self.seen)


@pytest.fixture(scope="module")
def finished() -> Opened:
    return opened_run()


@pytest.fixture
def opened(finished: Opened) -> Opened:
    return finished


def sides_of(opened: Opened, **words: Any) -> tuple[showing.Sides, anchors.Course]:
    course = anchors.course_of(opened.table)
    return showing.sides_of(opened, opened.folds[0], course, **words), course


# ---------------------------------------------------------------------------------------------------- what is shown
def test_estimates_are_by_networks_that_do_not_know_the_person(opened: Opened) -> None:
    sides, _ = sides_of(opened)
    subject = opened.table.subject
    asked = np.concatenate([rows for _, rows in sides.makers])
    assert set(asked) == set(range(len(opened.table)))
    for learned, rows in sides.makers:
        assert not set(subject[learned]) & set(subject[rows])
    fold = opened.folds[0]
    assert not set(subject[sides.fit.rows]) & set(subject[fold.test])
    assert sides.test.rows.tolist() == sorted(fold.test)
    means = np.mean(
        [predict(m.model, opened.table, sides.test.rows, m.scaler) for m in (opened.member(fold, i) for i in range(3))],
        axis=0,
    )
    assert sides.test.shown.estimate == pytest.approx(means)


def test_views_say_whom_a_network_has_not_seen(opened: Opened) -> None:
    sides, _ = sides_of(opened)
    subject = opened.table.subject
    for side in (sides.fit, sides.test):
        for view in side.shown.views:
            known = set(subject[view.member.scaler.fitted_rows])
            assert all((subject[row] not in known) == unseen for row, unseen in zip(side.rows, view.unseen, strict=True))
    assert (np.sum([view.unseen for view in sides.fit.shown.views], axis=0) == 1).all()


def test_nothing_that_tells_of_the_reference_is_shown(opened: Opened) -> None:
    sides, _ = sides_of(opened)
    hidden = sides.test.hiding(np.array([0]))
    assert np.isfinite(hidden.truth[0]).all()
    assert np.isnan(hidden.truth[1:]).all()
    table = hidden.table
    assert table is not None
    assert np.array_equal(table.targets, hidden.truth.astype(np.float32), equal_nan=True)
    assert set(table.index) <= set(showing.COLUMNS)
    assert not {"sbp", "dbp", "map"} & set(table.index)
    assert table.reference is None
    # Features and waveforms are those of the run.
    rows = sides.test.rows
    assert np.array_equal(table.values, opened.table.values[rows], equal_nan=True)
    assert np.array_equal(table.waveform[[1, 2]], opened.table.waveform[rows[[1, 2]]], equal_nan=True)
    assert np.asarray(table.waveform).shape == (len(table.waveform), *table.waveform.shape[1:])


def test_tracks_are_shown_row_by_row(opened: Opened) -> None:
    rows = np.array([3, 1])
    table = replace(opened.table, tracks={"ppg": Track(("a",), 4.0, opened.table.waveform)})
    assert np.array_equal(showing.rows_of(table, rows).tracks["ppg"].signal[[0]], opened.table.waveform[[3]], equal_nan=True)


def test_baselines_stand_beside_the_networks(opened: Opened) -> None:
    sides, _ = sides_of(opened, also=("ridge", "train_median"))
    for side in (sides.fit, sides.test):
        assert set(side.shown.estimates) == {MAIN, "ridge", "train_median"}
        assert all(np.isfinite(each).all() for each in side.shown.estimates.values())
    assert sides.test.shown.estimates["train_median"].std(axis=0) == pytest.approx(0)
    # Fitted without each part, so there are as many medians as parts.
    assert len(np.unique(sides.fit.shown.estimates["train_median"], axis=0)) <= 3


def test_networks_that_learned_from_other_windows_are_refused(opened: Opened) -> None:
    course = anchors.course_of(opened.table)
    other = replace(opened.folds[0], train=opened.folds[0].train[1:])
    with pytest.raises(DataError, match="did not learn from the windows"):
        showing.sides_of(opened, other, course)


def test_a_run_with_one_network_a_fold_gets_more() -> None:
    one = alone(opened_run(moving_table(people=12, per=6)))
    said: list[str] = []
    sides, _ = sides_of(one, say=said.append)
    assert len(said) == 3
    assert "training network 1 of 3 for estimates of people it does not know" in said[0]
    assert np.isfinite(sides.fit.shown.estimate).all()
    assert len(sides.makers) == 4
    again, _ = sides_of(one)
    assert np.array_equal(again.fit.shown.estimate, sides.fit.shown.estimate)


# ----------------------------------------------------------------------------------------------------------- answers
def test_a_method_never_sees_what_is_asked(opened: Opened) -> None:
    sides, course = sides_of(opened)
    method = wrong()
    found = answering.work(sides, course, Terms(TWO, {"wrong": method}, parts=2))
    assert found.proof.queries > 0
    assert (found.proof.seen_truth, found.proof.also_anchors) == (0, 0)
    for shown, person in method.seen:
        assert np.isfinite(shown.truth[person.anchors]).all()
        assert np.isnan(shown.truth[person.queries]).all()
        assert shown.table is not None
        assert np.isnan(shown.table.targets[person.queries]).all()
    tested = set(opened.table.index["person"].iloc[opened.folds[0].test])
    for shown, people in method.fitted:
        names = {person.name for person in people}
        assert not names & tested
        # In the inner folds, too, nothing is known of who is asked.
        known = np.isfinite(shown.truth).all(axis=1)
        assert set(opened.table.index["person"].iloc[sides.fit.rows[known]]) == names


def test_a_method_that_peeks_has_no_answer(opened: Opened) -> None:
    sides, course = sides_of(opened)
    with pytest.raises(DataError, match=r"method 'peek' gave answers .* that are no numbers"):
        answering.work(sides, course, Terms(TWO, {"peek": PeekingMethod("peek", 0.0, [], [])}))


def test_plain_ways_are_what_they_say(opened: Opened) -> None:
    sides, course = sides_of(opened)
    made = answering.work(sides, course, Terms(TWO, {"wrong": wrong(3.0)}, parts=2)).answers
    truth = opened.table.targets.astype(np.float64)
    own = made[(made["draw"] == FIRST) & (made["k"] == 2)]
    estimate = dict(zip(sides.test.rows.tolist(), sides.test.shown.estimate, strict=True))
    for _, row in own.iloc[::5].iterrows():
        rows = course.rows_of(int(course.person[row["row"]]))[:2]
        error = np.mean([truth[r, 0] - estimate[int(r)][0] for r in rows])
        assert row["hold_mean.sbp"] == pytest.approx(truth[rows, 0].mean())
        assert row["hold_last.sbp"] == pytest.approx(truth[rows[-1], 0])
        assert row["offset_corrected.sbp"] == pytest.approx(estimate[int(row["row"])][0] + error)
        assert row["network.sbp"] == pytest.approx(estimate[int(row["row"])][0])
        assert row["population_median.sbp"] == pytest.approx(np.median(truth[sides.fit.rows, 0]))
        assert row["wrong.sbp"] == pytest.approx(row["hold_mean.sbp"] + 3.0)
        assert row["level.sbp"] == row["hold_mean.sbp"]


def test_the_worse_method_is_not_chosen(opened: Opened) -> None:
    sides, course = sides_of(opened)
    found = answering.work(sides, course, Terms(TWO, {"awful": wrong(90.0)}, parts=2))
    for count in (1, 2):
        assert set(found.chosen[count].values()) <= {*answering.PLAIN}
        assert found.inner[count]["sbp"]["hold_mean"] == pytest.approx(1.0)
        assert found.inner[count]["sbp"]["awful"] > 2
    named = found.chosen[1]["sbp"]
    own = found.answers[found.answers["k"] == 1]
    assert own["chosen.sbp"].tolist() == own[f"{named}.sbp"].tolist()
    assert set(found.seconds) == {"awful", "hold_shrunk"}


def test_chains_hold_one_reading_each(opened: Opened) -> None:
    sides, course = sides_of(opened)
    made = answering.work(sides, course, Terms(TWO, {}, parts=2)).chains
    truth = opened.table.targets.astype(np.float64)
    assert (made["hold.sbp"].to_numpy() == truth[made["anchor"].to_numpy(), 0]).all()
    assert made["lag"].between(1, HORIZON).all()
    assert (course.place[made["row"]] - course.place[made["anchor"]] == made["lag"]).all()
    assert (made["chosen.sbp"] == made["hold.sbp"]).all()  # without a method there is nothing else to choose
    without = answering.work(sides, course, Terms(Anchoring((2,), draws=0), {}, parts=2))
    assert not len(without.chains)
    assert list(without.chains) == list(made)


def test_too_few_windows_or_people_are_told(opened: Opened) -> None:
    sides, course = sides_of(opened)
    with pytest.raises(DataError, match="more than 40 windows"):
        answering.work(sides, course, Terms(Anchoring((40,), draws=0), {"wrong": wrong()}))
    same = replace(sides.fit.shown, subject=np.zeros_like(sides.fit.shown.subject))
    alone = replace(sides, fit=replace(sides.fit, shown=same))
    with pytest.raises(DataError, match="two subjects or more"):
        answering.work(alone, course, Terms(TWO, {"wrong": wrong()}))


def test_an_embargo_that_leaves_no_training_window_still_lets_choose(opened: Opened) -> None:
    sides, course = sides_of(opened)
    found = answering.work(sides, course, Terms(Anchoring((6,), 1e6, draws=0), {"wrong": wrong()}, parts=2))
    assert not found.answers["common"].any()
    assert np.isfinite(found.inner[6]["sbp"]["wrong"])


# ------------------------------------------------------------------------------------------------- without a signal
def readings_of(shown: Shown, people: Sequence[Person]) -> Shown:
    """Return the same with levels of people that come back to 120/80 by half between the first window and the others."""
    truth, centre = shown.truth.copy(), np.array([120.0, 80.0])
    for person, off in zip(people, np.linspace(-25, 25, len(people)), strict=True):
        truth[person.anchors] = centre + off
        truth[person.queries] = centre + off / 2
    return replace(shown, truth=truth)


def test_what_comes_back_needs_no_signal(opened: Opened) -> None:
    sides, course = sides_of(opened)
    people = sides.fit.people(anchors.first_in_time(course, np.unique(course.person[sides.fit.rows]).tolist(), 1), course)
    shown = readings_of(sides.fit.shown, people)
    made = Shrunk.fit(shown, people)
    for person in people:
        truth = shown.truth[person.queries]
        assert np.abs(made.answer(shown, person) - truth).max() < 2.0
    # Neither features nor estimates are looked at.
    blind = replace(shown, values=shown.values * np.nan, estimates={MAIN: shown.estimate * np.nan}, table=None, views=())
    assert np.array_equal(made.answer(blind, people[0]), made.answer(shown, people[0]))
    assert set(made.kept().numbers) == {"share", "median"}


def test_the_nearest_reading_may_be_worth_more(opened: Opened) -> None:
    """Known truth: within a stay the last reading holds, in another stay the mean of all."""
    sides, course = sides_of(opened)
    people = sides.fit.people(anchors.first_in_time(course, np.unique(course.person[sides.fit.rows]).tolist(), 3), course)
    truth = sides.fit.shown.truth.copy()
    for person in people:
        inside = np.isin(sides.fit.shown.stay[person.queries], sides.fit.shown.stay[person.anchors])
        level = truth[person.anchors]
        truth[person.queries] = np.where(inside[:, None], level[-1], level.mean(axis=0))
    shown = replace(sides.fit.shown, truth=truth)
    made = Shrunk.fit(shown, people)
    assert made.share[1, 0].tolist() == [1.0, 1.0]
    assert made.share[0, 1].tolist() == [1.0, 1.0]
    assert max(np.abs(made.answer(shown, p) - truth[p.queries]).max() for p in people) < 1e-9
    home = [replace(p, queries=p.queries[:1]) for p in people]
    assert Shrunk.fit(shown, home).share[0].tolist() == [[0.0, 0.0], [1.0, 1.0]]
