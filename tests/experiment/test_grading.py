"""Laws of grading: members are averaged, baselines see the training side only, intervals come from other people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.evaluation import scores
from biosig_mtl.experiment import grading
from biosig_mtl.experiment.members import CONTROL, MODEL, Job, Result
from biosig_mtl.types import Fold, Predictions
from tests.experiment.conftest import fold, small_table, some_predictions

SUBJECTS = [s for s in "abcdefgh" for _ in range(3)]
FOLDS = [
    fold(range(6, 18), range(18, 24), range(6), number=0),
    fold([*range(6), *range(12, 18)], range(18, 24), range(6, 12), number=1),
]


def made(variant: str, split: Fold, member: int, offset: float) -> Result:
    table = small_table(SUBJECTS)
    job = Job(variant, split, member, 2, {}, (Path("s"),), Path("out"))
    return Result(
        job=job,
        test=table.targets[split.test].astype(np.float64) + offset,
        validation_rows=split.validation,
        validation=table.targets[split.validation] + np.float64(offset),
        fitted_rows=split.train,
        history=[],
        warnings=(),
        split_report={},
        alone=None,
        kernel_share=(),
    )


@pytest.fixture(scope="module")
def graded() -> grading.Graded:
    results = [made(MODEL, f, m, 2.0 * m) for f in FOLDS for m in range(2)] + [made(CONTROL, FOLDS[0], 0, 9.0)]
    return grading.gather(small_table(SUBJECTS), FOLDS, results, 1.0)


def test_the_members_of_a_fold_are_averaged(graded: grading.Graded) -> None:
    np.testing.assert_allclose(graded.model.y_pred - graded.model.y_true, 1.0, atol=1e-5)
    assert graded.model.row.tolist() == list(range(12))
    assert graded.model.fold.tolist() == [0] * 6 + [1] * 6
    assert graded.model.subject.tolist() == SUBJECTS[:12]
    assert set(graded.variants) == {CONTROL}
    assert graded.variants[CONTROL].row.tolist() == list(range(6))


def test_baselines_are_fitted_on_the_training_side(graded: grading.Graded) -> None:
    table = small_table(SUBJECTS)
    for fitted in graded.fitted:
        split = FOLDS[fitted.fold]
        side = {*split.train.tolist(), *split.validation.tolist()}
        assert set(fitted.rows.tolist()) <= side, fitted.what
    median = graded.baselines[scores.MEDIAN]
    assert isinstance(median, Predictions)
    rows = np.concatenate([FOLDS[0].train, FOLDS[0].validation])
    low, high = table.targets[rows].min(0), table.targets[rows].max(0)
    assert ((median.y_pred[:6] >= low) & (median.y_pred[:6] <= high)).all()
    assert (median.y_pred[:6] == median.y_pred[0]).all()
    assert grading.TARGET_MEDIAN not in graded.baselines
    # Without heart rate there is no heart-rate baseline, and the reason is told.
    absent = [b for b in graded.baselines.values() if isinstance(b, scores.Absent)]
    assert absent
    assert all(b.reason for b in absent)


def test_the_median_of_the_target_leaves_its_own_subject_out() -> None:
    targets = [[100, 60], [102, 60], [120, 70], [140, 90], [150, np.nan]]
    table = small_table("aabcd", targets, transfer_test=[True] * 5)
    given = grading._target_median(table, [fold([], [], range(5))])
    assert isinstance(given, Predictions)
    estimate = given.y_pred
    np.testing.assert_allclose(estimate[:, 0], [140, 140, 140, 120, 120])
    np.testing.assert_allclose(estimate[:, 1], [80, 80, 75, 65, 70])


def test_one_person_has_no_other_people() -> None:
    table = small_table("aa", transfer_test=[True] * 2)
    given = grading._target_median(table, [fold([], [], range(2))])
    assert isinstance(given, scores.Absent)
    assert "one subject" in given.reason


def test_half_of_an_interval_holds_nine_of_ten_people() -> None:
    assert grading._quantile(np.arange(1.0, 11), np.ones(10)) == 9.0
    assert grading._quantile(np.array([5.0, np.nan, 1.0]), np.ones(3)) == 5.0
    # Each subject weighs the same: nine windows of one against one of another.
    assert grading._quantile(np.array([*[1.0] * 9, 7.0]), np.array([*[1 / 9] * 9, 1.0])) == 7.0
    assert np.isnan(grading._quantile(np.array([np.nan]), np.ones(1)))


def test_half_widths_come_from_the_model_s_validation_people() -> None:
    results = [made(MODEL, f, 0, 3.0) for f in FOLDS] + [made(CONTROL, f, 0, 90.0) for f in FOLDS]
    widths = grading.half_widths(small_table(SUBJECTS), FOLDS, results)
    assert set(widths) == {(0, 0), (0, 1)}
    for width in widths.values():
        np.testing.assert_allclose(width, 3.0, atol=1e-4)


def test_coverage_weighs_people_and_not_windows_and_skips_what_is_unknown() -> None:
    truth: Any = [[100, 60]] * 3 + [[100, np.nan]]
    guess: Any = [[100, 60], [100, 60], [150, 60], [100, 60]]
    facts = grading.interval_facts(some_predictions("aaab", truth, guess), np.full((4, 2), 5.0))
    assert facts["sbp"]["coverage"] == pytest.approx((2 / 3 + 1) / 2)
    assert facts["dbp"]["coverage"] == pytest.approx(1.0)
    assert facts["sbp"]["width"] == 10.0
