"""Laws of grading: members are averaged, baselines see the training side only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.evaluation import audit, controls, oracles, scores
from biosig_mtl.experiment import grading
from biosig_mtl.experiment.members import CONTROL, MODEL, TWIN, Estimated, Job, Result
from biosig_mtl.models import baselines
from biosig_mtl.tasks import BLOOD_PRESSURE, STRESS
from biosig_mtl.types import Fold, Head, Predictions, WindowTable
from tests.experiment.conftest import fold, small_table

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


# ------------------------------------------------------------------------------------------------------------ shuffled labels
def test_every_shuffle_is_graded_by_itself() -> None:
    """Two networks of which one is 10 too high and the other 10 too low err by 10, though their mean is right."""
    off = [made(CONTROL, f, m, 10.0 - 20 * m) for f in FOLDS for m in range(2)]
    graded = grading.gather(small_table(SUBJECTS), FOLDS, [made(MODEL, f, 0, 0.0) for f in FOLDS] + off, 1.0)
    control = graded.variants[CONTROL]
    assert control.seed.tolist() == [0] * 12 + [-1] * 12
    assert control.row.tolist() == list(range(12)) * 2
    median = graded.baselines[scores.MEDIAN]
    assert isinstance(median, Predictions)
    rng = np.random.default_rng(0)
    found = controls.of_error(control, median, "sbp", rng)
    alone = grading.predictions(
        small_table(SUBJECTS), [(f, Estimated(r.test, {})) for f, r in zip(FOLDS, off[::2], strict=True)]
    )
    assert found.value == pytest.approx(controls.of_error(alone, median, "sbp", rng).value, rel=1e-5)
    assert set(controls.controls(BLOOD_PRESSURE, control, median, rng)) == {"sbp", "dbp"}


def of_classes() -> WindowTable:
    """Return 8 people with 3 windows each, of which the last is stressed."""
    table = small_table(SUBJECTS, np.tile([[0.0], [0.0], [1.0]], (8, 1)), label_source="continuous")
    return replace(table, target_names=("stress",), heads=(Head("binary", (0.5,)),))


def of_share(variant: str, split: Fold, member: int, stressed: Any) -> Result:
    share = np.tile(np.asarray(stressed, float), split.test.size // 3)
    both = np.stack([1 - share, share], axis=1)
    base = made(variant, split, member, 0.0)
    return replace(base, test=share[:, None], validation=base.validation[:, :1], shares={"stress": both})


def test_the_luck_of_shuffles_is_averaged_and_not_their_answers() -> None:
    right, wrong = [0.1, 0.1, 0.9], [0.6, 0.6, 0.4]
    results = [of_share(MODEL, f, 0, right) for f in FOLDS]
    results += [of_share(CONTROL, f, m, (right, wrong)[m]) for f in FOLDS for m in range(2)]
    graded = grading.gather(of_classes(), FOLDS, results, 1.0)
    control = graded.variants[CONTROL]
    (found,) = controls.controls(STRESS, control, None, np.random.default_rng(0))["stress"]
    # Half of the shuffles are right throughout and half are wrong; the mean of their shares would be right throughout.
    assert found.value == pytest.approx(0.5)
    np.testing.assert_allclose(control.probabilities["stress"].sum(axis=1), 1)
    np.testing.assert_array_equal(control.y_pred[:, 0], control.probabilities["stress"].argmax(axis=1))


# -------------------------------------------------------------------------------------------------------------------- classes
def test_members_of_classes_are_averaged_by_share_and_then_decide() -> None:
    results = [of_share(MODEL, f, m, ([0.9, 0.2, 0.6], [0.4, 0.4, 0.3])[m]) for f in FOLDS for m in range(2)]
    graded = grading.gather(of_classes(), FOLDS, results, 1.0)
    assert graded.model.y_pred[:3, 0].tolist() == [1.0, 0.0, 0.0]
    np.testing.assert_allclose(graded.model.probabilities["stress"][:3, 1], [0.65, 0.3, 0.45])
    assert graded.model.y_true[:3, 0].tolist() == [0.0, 0.0, 1.0]
    assert oracles.SUBJECT_MEAN in graded.baselines


def test_a_prior_draws_its_classes_and_tells_the_shares_it_drew_by() -> None:
    graded = grading.gather(of_classes(), FOLDS, [of_share(MODEL, f, 0, [0.5, 0.5, 0.5]) for f in FOLDS], 1.0)
    prior = graded.baselines["class_prior"]
    assert isinstance(prior, Predictions)
    np.testing.assert_allclose(prior.probabilities["stress"], np.tile([2 / 3, 1 / 3], (12, 1)), atol=1e-6)
    assert set(prior.y_pred[:, 0]) == {0.0, 1.0}
    majority = graded.baselines["majority"]
    assert isinstance(majority, Predictions)
    assert set(majority.y_pred[:, 0]) == {0.0}


def test_the_clock_is_a_rival_only_where_labels_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: baselines.BASELINES[name] for name in ("majority", "gradient_boosting")}
    monkeypatch.setattr(baselines, "BASELINES", few)
    results = [of_share(MODEL, f, 0, [0.5, 0.5, 0.5]) for f in FOLDS]
    follows = of_classes()
    graded = grading.gather(follows, FOLDS, results, 1.0)
    assert isinstance(graded.baselines[grading.ELAPSED], Predictions)
    assert {f.what for f in graded.fitted} >= {f"baseline {grading.ELAPSED}"}
    source = ["self"] + ["continuous"] * 23
    for index in (follows.index.assign(label_source="self"), follows.index.assign(label_source=source)):
        assert grading.ELAPSED not in grading.gather(replace(follows, index=index), FOLDS, results, 1.0).baselines
    bare = replace(follows, index=follows.index.drop(columns="label_source"))
    assert grading.ELAPSED not in grading.gather(bare, FOLDS, results, 1.0).baselines


# ---------------------------------------------------------------------------------------------------------------------- twins
def test_what_a_twin_saw_is_held_against_the_twin() -> None:
    """The calibrated fold may learn from some windows of the people that it tests; its twin may not."""
    plain = fold(range(6, 18), range(18, 24), range(3, 6))
    calibrated = replace(plain, train=np.concatenate([np.arange(3), plain.train]), twin=plain)
    honest = replace(made(MODEL, plain, 0, 0.0), job=replace(made(MODEL, plain, 0, 0.0).job, variant=TWIN))
    leaky = replace(honest, fitted_rows=calibrated.train)
    for result, passed in ((honest, True), (leaky, False)):
        evidence = audit.Evidence(BLOOD_PRESSURE, (calibrated,), np.array(SUBJECTS), fitted=(grading._fitted(result),))
        assert audit.fitted_outside_training(evidence).passed is passed
