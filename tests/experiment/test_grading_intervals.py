"""Laws of a run's intervals: they come from other people than those they are for, and the model carries the same rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.evaluation.scores import plain
from biosig_mtl.experiment import grading, grading_intervals
from biosig_mtl.experiment.members import CONTROL, MODEL, Estimated, Job, Result
from biosig_mtl.training.conformal import LEVEL, LEVELS
from biosig_mtl.training.conformal_record import Intervals
from biosig_mtl.types import Fold, Head, Predictions, WindowTable
from tests.experiment.conftest import fold, small_table

PEOPLE, EACH = 40, 4


def of_many(many: int = PEOPLE, **columns: Any) -> WindowTable:
    rng = np.random.default_rng(3)
    truth = np.repeat(rng.normal((125, 72), (20, 10), (many, 2)), EACH, axis=0)
    return small_table([f"p{i // EACH:03d}" for i in range(many * EACH)], truth, **columns)


def people(*numbers: int) -> np.ndarray[Any, Any]:
    return np.concatenate([np.arange(EACH * n, EACH * n + EACH) for n in numbers])


def result(table: WindowTable, split: Fold, member: int, variant: str = MODEL, wide: float = 8.0) -> Result:
    """Return a network that knows little: its estimates shrink to 125/72 and miss by some of a person's own."""
    rng = np.random.default_rng(10 * split.number + member)

    def said(rows: Any) -> Any:
        _, code = np.unique(table.subject[rows], return_inverse=True)
        own = rng.normal(0, wide, (code.max(initial=0) + 1, 2))
        return np.array([125.0, 72.0]) * 0.7 + 0.3 * table.targets[rows] + own[code]

    return Result(
        job=Job(variant, split, member, 2, {}, (Path("s"),), Path("out")),
        test=said(split.test),
        validation_rows=split.validation,
        validation=said(split.validation),
        fitted_rows=split.train,
        history=[],
        warnings=(),
        split_report={},
        alone=None,
        kernel_share=(),
    )


def folds() -> list[Fold]:
    return [
        fold(people(*range(30, 40)), people(*range(10, 30)), people(*range(10)), number=0),
        fold(people(*range(10)), people(*range(20, 40)), people(*range(10, 20)), number=1),
    ]


def results(table: WindowTable) -> list[Result]:
    own = [result(table, f, m) for f in folds() for m in range(2)]
    return [*own, result(table, folds()[0], 0, CONTROL, wide=500.0)]


def joined(table: WindowTable, found: list[Result]) -> Predictions:
    parts = []
    for split in folds():
        own = [r.test for r in found if r.job.variant == MODEL and r.job.fold.number == split.number]
        parts.append((split, Estimated(np.mean(own, axis=0), {})))
    return grading.predictions(table, parts)


@pytest.fixture(scope="module")
def table() -> WindowTable:
    return of_many()


@pytest.fixture(scope="module")
def model(table: WindowTable) -> Predictions:
    return joined(table, results(table))


@pytest.fixture(scope="module")
def bounded(table: WindowTable, model: Predictions) -> grading_intervals.Bounded:
    return grading_intervals.bound(table, folds(), results(table), model)


def test_tested_truths_change_no_interval(table: WindowTable, model: Predictions, bounded: grading_intervals.Bounded) -> None:
    """Move the truths of all that are tested in the first fold: its intervals stay, though everything it is graded by moves."""
    moved = table.targets.copy()
    moved[folds()[0].test] += 50.0
    other = replace(table, targets=moved)
    again = grading_intervals.bound(other, folds(), results(table), model)
    first = model.fold == 0
    for level in LEVELS:
        for one, two in zip(bounded.at[level], again.at[level], strict=True):
            np.testing.assert_array_equal(one[first], two[first])
    for name in bounded.other:
        np.testing.assert_array_equal(bounded.other[name][0][first], again.other[name][0][first])
    before, after = (grading_intervals.facts(t, joined(t, results(table)), b) for t, b in ((table, bounded), (other, again)))
    assert after["sbp"]["coverage"] < before["sbp"]["coverage"] - 0.2


def test_controls_and_other_folds_have_no_say(
    table: WindowTable, model: Predictions, bounded: grading_intervals.Bounded
) -> None:
    own = [r for r in results(table) if r.job.variant == MODEL]
    without = grading_intervals.bound(table, folds(), own, model)
    np.testing.assert_array_equal(without.lower, bounded.lower)
    wild = [replace(r, validation=r.validation + 300.0) if r.job.fold.number == 1 else r for r in own]
    other = grading_intervals.bound(table, folds(), wild, model)
    first = model.fold == 0
    np.testing.assert_array_equal(other.upper[first], bounded.upper[first])
    assert (other.upper[~first] > bounded.upper[~first] + 100).all()


def test_the_facts_of_a_run_say_what_its_intervals_hold(
    table: WindowTable, model: Predictions, bounded: grading_intervals.Bounded
) -> None:
    told = json.loads(json.dumps(plain(grading_intervals.facts(table, model, bounded)), allow_nan=False))
    assert set(told) == {"sbp", "dbp"}
    sbp = told["sbp"]
    inside = (bounded.lower[:, 0] <= model.y_true[:, 0]) & (model.y_true[:, 0] <= bounded.upper[:, 0])
    # Each person has as many windows here: over people and pooled are the same.
    assert sbp["coverage"] == pytest.approx(inside.mean())
    assert sbp["width"] == pytest.approx((bounded.upper - bounded.lower)[:, 0].mean())
    assert sbp["level"] == LEVEL
    assert sbp["method"] == "split conformal by person, one width"
    assert sbp["calibration_people"] == 20
    assert sbp["promised"] == 0.9
    widths = [one["width"] for one in sbp["levels"]]
    assert [one["level"] for one in sbp["levels"]] == list(LEVELS)
    assert widths == sorted(widths)
    assert [(one["seed"], one["fold"], one["n_subjects"]) for one in sbp["folds"]] == [(0, 0, 10), (0, 1, 10)]
    assert sum(one["n_windows"] for one in sbp["classes"]) == sbp["n_windows"] == 80
    assert [one["method"] for one in sbp["other"]] == [
        "one width",
        "fitted width",
        "two sides apart",
        "by class of the estimate",
        "CV+",
    ]
    assert sbp["other"][0]["width"] == sbp["width"]
    assert set(sbp["selective"]["by"]) >= {"interval width", "disagreement of networks"}
    assert "shift" not in sbp


def test_the_model_carries_rules_of_all_folds_people(table: WindowTable) -> None:
    made = grading_intervals.record(table, folds(), results(table))
    assert [rule.people for rule in made.rules if rule is not None] == [30, 30]
    extra = json.loads(json.dumps(plain(grading_intervals.carried(made)), allow_nan=False))
    again = Intervals.from_json(extra["intervals"])
    said = np.array([[120.0, 70.0], [150.0, 90.0]])
    np.testing.assert_array_equal(again.bounds(said, np.ones(2)), made.bounds(said, np.ones(2)))
    low, high = again.bounds(said, np.ones(2))
    np.testing.assert_allclose((high - low)[0] / 2, extra["half_width"])
    assert extra["interval_level"] == LEVEL


def test_with_people_enough_the_width_follows_the_estimate() -> None:
    table = of_many(180)
    split = fold(people(0), people(*range(1, 120)), people(*range(120, 180)))
    own = [result(table, split, 0)]
    grows = [
        replace(r, validation=table.targets[r.validation_rows] + (r.validation - 125.0) * np.abs(r.validation - 100.0) / 20)
        for r in own
    ]
    given = grading.predictions(table, [(split, Estimated(own[0].test, {}))])
    bounded = grading_intervals.bound(table, [split], grows, given)
    told = grading_intervals.facts(table, given, bounded)["sbp"]
    assert "width by estimate and signal quality in 1 of 1 folds" in told["method"]
    assert np.ptp((bounded.upper - bounded.lower)[:, 0]) > 1
    # A single network cannot disagree with others, nor be one of several in CV+.
    assert "disagreement of networks" not in told["selective"]["by"]
    assert "CV+" not in bounded.other
    assert np.isnan(bounded.spread).all()


def test_a_transfer_is_weighted_by_inputs_alone() -> None:
    table = of_many(120, transfer_test=np.repeat(np.arange(120) >= 80, EACH))
    rng = np.random.default_rng(0)
    lean = np.repeat(rng.normal(0, 1, 120) + (np.arange(120) >= 80), EACH)
    table = replace(table, values=np.column_stack([lean, rng.normal(size=lean.size)]).astype(np.float32), names=("a.x", "a.y"))
    split = fold(people(*range(20)), people(*range(20, 80)), people(*range(80, 120)))
    own = [result(table, split, m) for m in range(2)]
    given = grading.predictions(table, [(split, Estimated(np.mean([r.test for r in own], axis=0), {}))])
    bounded = grading_intervals.bound(table, [split], own, given)
    told = grading_intervals.facts(table, given, bounded)["sbp"]
    assert told["method"] == "split conformal by person, one width, weighted to the tested people"
    assert 5 < told["shift"]["effective_people"] < 60
    assert told["shift"]["log_loss"] < told["shift"]["log_loss_of_a_coin"]
    blind = replace(table, targets=np.where(table.index[["transfer_test"]].to_numpy(), np.nan, table.targets))
    unseen = grading_intervals.bound(blind, [split], own, given)
    np.testing.assert_array_equal(unseen.lower, bounded.lower)
    plain_, weighted = (side[0] for side in (bounded.other["one width"], bounded.at[LEVEL]))
    assert not np.array_equal(plain_, weighted)
    # What the model carries weighs a new window by its inputs too; without test answers there is nothing to weigh by.
    carried = grading_intervals.record(table, [split], own)
    low, high = carried.bounds(given.y_pred, 1.0, table.values[split.test])
    # Its ladders have fewer knots: never narrower, and hardly wider.
    assert (low <= bounded.lower + 1e-9).all()
    assert (high >= bounded.upper - 1e-9).all()
    np.testing.assert_allclose(low, bounded.lower, atol=1.0)
    empty = [replace(r, test=np.empty((0, 0))) for r in own]
    assert grading_intervals.record(table, [split], empty).shift is None


def test_classes_have_no_intervals_and_a_target_without_truth_says_so(table: WindowTable) -> None:
    nothing = replace(
        table,
        targets=np.column_stack([np.full(len(table), np.nan), table.targets[:, 1]]).astype(np.float32),
        heads=(Head(), Head("binary", (70.0,))),
    )
    found = [replace(r, shares={"dbp": np.full((len(r.test), 2), 0.5)}) for r in results(table)]
    given = joined(nothing, results(table))
    bounded = grading_intervals.bound(nothing, folds(), found, given)
    assert np.isnan(bounded.lower).all()
    told = grading_intervals.facts(nothing, given, bounded)
    assert set(told) == {"sbp"}
    assert told["sbp"]["method"] == "none: no truth is known"
    assert told["sbp"]["n_windows"] == 0
    assert grading_intervals.record(nothing, folds(), found).half_widths() == [None, None]


def test_very_many_windows_are_spared_cv_plus(table: WindowTable, model: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading_intervals, "MOST_PLUS", 10)
    assert "CV+" not in grading_intervals.bound(table, folds(), results(table), model).other
