"""Graded runs of affect: classes and numbers, windows and trials, beside predictors that see no signal."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.evaluation import controls, oracles, trials
from biosig_mtl.evaluation import scores as graded
from biosig_mtl.evaluation.controls import Control
from biosig_mtl.evaluation.scores import Absent, Protocol
from biosig_mtl.tasks import AFFECT, BLOOD_PRESSURE
from biosig_mtl.types import Head, Predictions

HEADS = (Head(), Head("binary", (5.0,)))
SUBJECTS, TRIALS, EACH = 12, 10, 5


def affect(skill: float, seeds: tuple[int, ...] = (0,), *, lean: float = 0.0) -> Predictions:
    """Valence by a number, arousal high or low; ``skill`` 1 knows both, 0 draws a number and a share without a look.

    ``lean`` moves the decisions, as of a predictor that calls everything high.
    """
    rng = np.random.default_rng(0)
    n = SUBJECTS * TRIALS
    rating = np.repeat(np.stack([rng.uniform(1, 9, n), rng.integers(0, 2, n)], axis=1), EACH, axis=0)
    who = np.repeat([f"s{i:02d}" for i in range(SUBJECTS)], TRIALS * EACH)
    stimulus = np.tile(np.repeat([f"clip{i}" for i in range(TRIALS)], EACH), SUBJECTS)
    parts = []
    for _ in seeds:
        number = 5 + skill * (rating[:, 0] - 5) + rng.normal(0, 1, len(rating))
        share = np.clip(0.5 + lean + 0.35 * skill * (2 * rating[:, 1] - 1) + rng.normal(0, 0.1, len(rating)), 0.01, 0.99)
        parts.append((number, share))
    share = np.concatenate([p[1] for p in parts])
    k = len(seeds)
    return Predictions(
        row=np.tile(np.arange(len(rating)), k), fold=np.tile(np.repeat(np.arange(SUBJECTS), TRIALS * EACH), k),
        seed=np.repeat(np.array(seeds), len(rating)), subject=np.tile(who, k), onset_s=np.tile(np.arange(len(rating)) * 4.0, k),
        y_true=np.tile(rating, (k, 1)), y_pred=np.stack([np.concatenate([p[0] for p in parts]), share > 0.5], axis=1),
        target_names=("valence", "arousal"), heads=HEADS, probabilities={"arousal": np.stack([1 - share, share], axis=1)},
        trial=np.tile(np.array([f"{a}/1/{b}" for a, b in zip(who, stimulus, strict=True)]), k), stimulus=np.tile(stimulus, k),
    )  # fmt: skip


def only(given: Predictions, target: int) -> Predictions:
    """A baseline that answers one target; the other column is NaN."""
    pred = given.y_pred.copy()
    pred[:, 1 - target] = np.nan
    return replace(given, y_pred=pred, probabilities=given.probabilities if target else {})


def flat(level: float = 5.0) -> Predictions:
    """The training mean, and the majority with the prior as its probabilities."""
    given = affect(0)
    pred = np.tile([level, 1.0], (given.row.size, 1))
    return replace(given, y_pred=pred, probabilities={"arousal": np.tile([0.4, 0.6], (given.row.size, 1))})


def content(model: Predictions, others: graded.Baselines) -> dict[str, Any]:
    told = Protocol("made_up", "leave_one_subject_out", SUBJECTS, tuple(np.unique(model.seed).tolist()), "split_merge", 0, 1.0)
    scores = graded.score(AFFECT, told, model, others, [], np.random.default_rng(0))
    written: dict[str, Any] = json.loads(graded.to_json(scores))
    assert written == scores.content
    return written


def test_what_a_target_of_classes_tells() -> None:
    got = content(affect(0.8), {"majority": flat(), "stimulus_mean": affect(0.2)})["targets"]["arousal"]
    assert {
        "unit", "head", "edges", "classes", "accuracy", "balanced_accuracy", "macro_f1", "kappa", "auc", "confusion", "pooled",
        "pooled_ci95", "accuracy_ci95", "balanced_accuracy_ci95", "macro_f1_ci95", "kappa_ci95", "auc_ci95", "paired",
        "undefined_subjects", "chance", "above_chance", "trial_level", "class_windows",
    } <= set(got)  # fmt: skip
    # No error in the unit of the rating: classes have none.
    assert not {"mae", "rmse", "ccc", "mase", "seq2hr"} & set(got)
    assert (got["head"], got["edges"], got["classes"], got["unit"]) == ("binary", [5.0], ["≤ 5", "> 5"], "points")
    assert sum(map(sum, got["confusion"])) == SUBJECTS * TRIALS * EACH == sum(got["class_windows"].values())
    right = got["confusion"][0][0] + got["confusion"][1][1]
    assert got["pooled"]["accuracy"] == pytest.approx(right / (SUBJECTS * TRIALS * EACH))
    for figure in ("accuracy", "balanced_accuracy", "macro_f1", "kappa", "auc"):
        assert got[f"{figure}_ci95"][0] <= got[figure] <= got[f"{figure}_ci95"][1], figure
        assert got["pooled_ci95"][figure][0] <= got["pooled"][figure] <= got["pooled_ci95"][figure][1], figure
    assert got["chance"] == {"balanced_accuracy": 0.5, "auc": 0.5}
    assert got["above_chance"] == {"balanced_accuracy": True, "auc": True}


def test_what_a_target_of_numbers_tells() -> None:
    got = content(affect(0.8), {"train_mean": flat(), "train_median": flat(4.5)})
    target, other = got["targets"]["valence"], got["baselines"]["train_mean"]["valence"]
    for figure in ("mae", "rmse", "ccc"):
        assert target[f"{figure}_ci95"][0] <= target[figure] <= target[f"{figure}_ci95"][1], figure
        assert target["pooled_ci95"][figure][0] <= target["pooled"][figure] <= target["pooled_ci95"][figure][1], figure
    # A constant agrees with nothing: 0, not unknown.
    assert other["ccc"] == 0
    assert other["pooled"]["ccc"] == 0
    assert target["paired"]["ccc"]["verdict"] == "better"
    assert target["paired"]["ccc"]["difference"] == pytest.approx(target["ccc"])
    assert target["paired"]["pooled_ccc"]["difference"] == pytest.approx(target["pooled"]["ccc"])
    assert target["paired"]["rmse"]["verdict"] == target["paired"]["verdict"] == "better"
    assert target["mase"] < 1


def test_better_is_a_larger_share_and_the_best_baseline_is_the_opponent() -> None:
    others = {"majority": flat(), "stimulus_mean": affect(0.3), "gradient_boosting": affect(0.6)}
    good = content(affect(0.9), others)
    paired = good["targets"]["arousal"]["paired"]
    assert (paired["best_baseline"], paired["figure"], paired["verdict"]) == (
        "gradient_boosting",
        "balanced_accuracy",
        "better",
    )
    assert paired["difference"] > 0
    assert paired["probability_better"] > 0.97
    assert paired["pooled"]["auc"]["verdict"] == "better"
    versus = good["baselines"]["majority"]["arousal"]["model_minus_baseline"]
    assert versus["difference"] == pytest.approx(good["targets"]["arousal"]["balanced_accuracy"] - 0.5)
    bad = content(affect(0.0), others)["targets"]["arousal"]
    assert bad["paired"]["verdict"] == "worse"
    assert bad["above_chance"]["auc"] is False


def test_an_oracle_is_told_and_never_the_best() -> None:
    model = affect(0.1)
    oracle = oracles.subject_mean(model)
    got = content(model, {"train_mean": flat(), oracles.SUBJECT_MEAN: oracle})
    told = got["baselines"][oracles.SUBJECT_MEAN]
    assert told["valence"]["oracle"] is True
    assert told["arousal"]["oracle"] is True
    assert "oracle" not in got["baselines"]["train_mean"]["valence"]
    assert got["targets"]["valence"]["paired"]["best_baseline"] == "train_mean"
    assert got["targets"]["arousal"]["paired"]["best_baseline"] == "train_mean"
    alone = content(model, {oracles.SUBJECT_MEAN: oracle})["targets"]
    assert alone["arousal"]["paired"]["best_baseline"] is None
    assert alone["valence"]["paired"]["best_baseline"] is None


def test_the_oracle_knows_the_person_and_not_the_moment() -> None:
    given = affect(0.5)
    oracle = oracles.subject_mean(given)
    first = given.subject == "s03"
    assert oracle.y_pred[first, 0] == pytest.approx(given.y_true[first, 0].mean())
    share = given.y_true[first, 1].mean()
    assert oracle.probabilities["arousal"][first][0] == pytest.approx([1 - share, share])
    assert set(oracle.y_pred[first, 1]) == {float(share > 0.5)}
    unknown = given.y_true.copy()
    unknown[first] = np.nan
    blind = oracles.subject_mean(replace(given, y_true=unknown))
    assert np.isfinite(blind.y_pred).all()
    np.testing.assert_allclose(blind.probabilities["arousal"].sum(axis=1), 1)


def test_baselines_answer_the_targets_of_their_kind_only() -> None:
    got = content(
        affect(0.5), {"train_median": only(flat(), 0), "majority": only(flat(), 1), "logistic": Absent("no features")}
    )
    assert set(got["baselines"]["train_median"]) == {"valence"}
    assert set(got["baselines"]["majority"]) == {"arousal"}
    assert got["baselines"]["logistic"] == {"unavailable": "no features"}
    assert got["targets"]["valence"]["paired"]["best_baseline"] == "train_median"
    assert got["targets"]["arousal"]["paired"]["best_baseline"] == "majority"
    nothing = replace(flat(), y_pred=np.full((SUBJECTS * TRIALS * EACH, 2), np.nan))
    told = content(affect(0.5), {"majority": nothing})["baselines"]["majority"]
    assert told == {"unavailable": "600 of 600 windows without a prediction"}


def test_trials_are_graded_like_windows() -> None:
    model, other = affect(0.4), flat()
    got = content(model, {"majority": other, "train_median": other})
    joined = trials.by_trial(model)
    bare = replace(joined, trial=np.empty(0, dtype=str))
    bare_other = replace(trials.by_trial(other), trial=np.empty(0, dtype=str))
    alone = content(bare, {"majority": bare_other, "train_median": bare_other})
    for target in ("valence", "arousal"):
        level = got["targets"][target]["trial_level"]
        assert level["n_trials"] == SUBJECTS * TRIALS
        assert level["trials_whose_reference_varies"] == 0
        for figure, value in alone["targets"][target]["pooled"].items():
            if value is not None:
                assert level["pooled"][figure] == pytest.approx(value), figure
        assert level["paired"] == alone["targets"][target]["paired"]
        assert "trial_level" in got["baselines"]["majority"][target]
    # Averaging over windows whose noise is their own helps.
    assert got["targets"]["arousal"]["trial_level"]["auc"] > got["targets"]["arousal"]["auc"]
    assert "trial_level" not in alone["targets"]["valence"]


def test_a_trial_of_several_states_has_no_class_of_its_own() -> None:
    """A recording from rest to stress and back: by trial there is nothing to say of its class, and of its number there is."""
    whole = affect(0.4)
    whole = replace(whole, trial=whole.subject)
    got = content(whole, {"majority": flat()})
    level = got["targets"]["arousal"]["trial_level"]
    assert level["unavailable"] == "the class of the reference changes within 12 of 12 trials"
    assert level["n_trials"] == level["trials_whose_reference_varies"] == 12
    assert not {"accuracy", "pooled", "paired"} & set(level)
    assert "trial_level" not in got["baselines"]["majority"]["arousal"]
    assert got["targets"]["valence"]["trial_level"]["n_trials"] == 12


def test_a_baseline_that_does_not_name_its_trials_takes_those_of_its_windows() -> None:
    model, other = affect(0.4), flat()
    bare = trials.select(replace(other, trial=np.empty(0, dtype=str)), np.random.default_rng(0).permutation(600))
    one, two = (content(model, {"majority": given})["baselines"]["majority"]["valence"] for given in (bare, other))
    assert one["trial_level"]["mae"] == pytest.approx(two["trial_level"]["mae"])
    assert one["trial_level"]["pooled"] == pytest.approx(two["trial_level"]["pooled"])


def test_the_class_prior_has_its_expected_figures() -> None:
    model = affect(0.4)
    rng = np.random.default_rng(0)
    drawn = replace(flat(), y_pred=rng.integers(0, 2, (600, 2)).astype(float))
    told = content(model, {"class_prior": drawn})["baselines"]["class_prior"]["arousal"]
    share = model.y_true[:, 1].mean()
    assert told["expected"]["accuracy"] == pytest.approx(0.4 * (1 - share) + 0.6 * share)
    assert told["expected"]["balanced_accuracy"] == pytest.approx(0.5)
    assert told["auc"] == 0.5
    assert "expected" not in content(model, {"majority": drawn})["baselines"]["majority"]["arousal"]


def test_seeds_are_averaged_figure_by_figure() -> None:
    both = affect(0.3, (0, 5))
    got = content(both, {})["targets"]["arousal"]
    singles = [
        content(trials.select(both, np.flatnonzero(both.seed == s)), {})["targets"]["arousal"] for s in (0, 5)
    ]  # fmt: skip
    for figure in ("accuracy", "balanced_accuracy", "auc"):
        assert got[figure] == pytest.approx((singles[0][figure] + singles[1][figure]) / 2), figure
        assert got["pooled"][figure] == pytest.approx((singles[0]["pooled"][figure] + singles[1]["pooled"][figure]) / 2)
    assert np.array_equal(got["confusion"], np.add(singles[0]["confusion"], singles[1]["confusion"]))
    assert got["class_windows"] == singles[0]["class_windows"]


def test_subjects_with_one_class_are_counted_and_compared_pooled() -> None:
    """Every subject calm or stressed throughout: no balanced accuracy of a subject, so pooled figures must do."""
    given = affect(0.0)
    true = given.y_true.copy()
    true[:, 1] = np.isin(given.subject, [f"s{i:02d}" for i in range(6)])
    score = np.clip(0.5 + 0.3 * (2 * true[:, 1] - 1) + np.random.default_rng(0).normal(0, 0.2, true.shape[0]), 0, 1)
    model = replace(
        given, y_true=true, y_pred=np.stack([given.y_pred[:, 0], score > 0.5], axis=1),
        probabilities={"arousal": np.stack([1 - score, score], axis=1)},
    )  # fmt: skip
    got = content(model, {"majority": replace(flat(), y_true=true)})["targets"]["arousal"]
    assert got["balanced_accuracy"] is None
    assert got["undefined_subjects"] == dict.fromkeys(("balanced_accuracy", "macro_f1", "kappa", "auc"), 12)
    assert got["pooled"]["balanced_accuracy"] > 0.8
    assert got["above_chance"]["auc"] is True
    assert got["paired"]["verdict"] == "not distinguishable"
    assert got["paired"]["best_baseline"] == "majority"
    assert got["paired"]["pooled"]["balanced_accuracy"]["verdict"] == "better"


def test_a_single_subject_gets_no_intervals() -> None:
    one = trials.select(affect(0.8), np.arange(TRIALS * EACH))
    other = trials.select(flat(), np.arange(TRIALS * EACH))
    got = content(one, {"majority": other})["targets"]["arousal"]
    assert got["balanced_accuracy_ci95"] == [None, None]
    assert got["pooled_ci95"]["auc"] == [None, None]
    assert got["above_chance"]["auc"] is None
    assert got["paired"]["pooled"]["auc"]["verdict"] == "not distinguishable"


def test_a_task_may_be_answered_in_part() -> None:
    given = affect(0.5)
    half = replace(given, y_true=given.y_true[:, :1], y_pred=given.y_pred[:, :1], target_names=("valence",), heads=HEADS[:1])
    assert list(content(replace(half, probabilities={}), {})["targets"]) == ["valence"]


# -------------------------------------------------------------------------------------------------------- negative control
@pytest.mark.parametrize(
    ("control", "clean"),
    [
        (Control(0.54, (0.52, 0.56), "balanced_accuracy", 0.5), True),
        (Control(0.58, (0.49, 0.66), "balanced_accuracy", 0.5), True),
        (Control(0.58, (0.53, 0.62), "balanced_accuracy", 0.5), False),
        (Control(0.30, (0.25, 0.35), "balanced_accuracy", 0.2), False),
        (Control(0.21, (0.205, 0.215), "balanced_accuracy", 0.2), True),
        (Control(float("nan"), (0.4, 0.6), "balanced_accuracy", 0.5), False),
        (Control(0.60, (float("nan"), float("nan")), "balanced_accuracy", 0.5), False),
        (Control(0.03, (0.01, 0.05), "ccc", 0.0), True),
        (Control(-0.2, (-0.3, -0.1), "ccc", 0.0), True),
        (Control(0.15, (-0.02, 0.3), "ccc", 0.0), True),
        (Control(0.15, (0.05, 0.3), "ccc", 0.0), False),
        (Control(0.94, (0.80, 1.08)), True),
        (Control(0.94, (0.90, 0.98)), False),
    ],
)
def test_a_control_is_clean_where_chance_explains_it(control: Control, *, clean: bool) -> None:
    assert control.clean is clean


def test_chance_is_that_of_the_classes_that_a_person_had() -> None:
    """Half of the people had two of five classes, half had three: one and the same answer gives them 1/2 and 1/3."""
    given = affect(0.0)
    number = np.unique(given.subject, return_inverse=True)[1]
    true = np.where(number % 2, given.row % 2, given.row % 3).astype(float)
    five = Head("ordinal", (2.0, 4.0, 6.0, 8.0))
    constant = replace(
        given,
        y_true=np.stack([given.y_true[:, 0], true], axis=1),
        y_pred=np.stack([given.y_pred[:, 0], np.zeros(true.size)], axis=1),
        heads=(Head(), five),
        probabilities={"arousal": np.tile([0.6, 0.1, 0.1, 0.1, 0.1], (true.size, 1))},
    )
    got = content(constant, {})["targets"]["arousal"]
    assert got["chance"]["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert got["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    # Pooled, three classes occur: 1/3 is no more than chance either.
    assert got["pooled"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert got["above_chance"]["balanced_accuracy"] is False
    control = controls.of_classes(constant, "arousal", np.random.default_rng(0))
    assert control.chance == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert control.clean
    knows = replace(constant, y_pred=np.stack([given.y_pred[:, 0], true], axis=1))
    assert not controls.of_classes(knows, "arousal", np.random.default_rng(0)).clean


def test_every_target_gets_the_controls_of_its_kind() -> None:
    rng = np.random.default_rng(0)
    found = controls.controls(AFFECT, affect(0.0), flat(), rng)
    assert [[c.figure for c in several] for several in found.values()] == [["mase", "ccc"], ["balanced_accuracy"]]
    assert all(control.clean for several in found.values() for control in several)
    leaky = controls.controls(AFFECT, affect(0.8), flat(), rng)
    assert [[c.clean for c in several] for several in leaky.values()] == [[False, False], [False]]
    assert controls.facts(found)["arousal"]["balanced_accuracy"] == found["arousal"][0].value
    assert set(controls.facts(found)["valence"]) == {"mase", "mase_ci95", "ccc", "ccc_ci95"}
    assert str(found["arousal"][0]).startswith("balanced accuracy 0.")
    with pytest.raises(ValueError, match="training median to judge 'valence'"):
        controls.controls(AFFECT, affect(0.0), None, rng)


def test_a_pressure_is_controlled_by_its_error_alone() -> None:
    given = affect(0.0)
    plain = replace(given, target_names=("sbp", "dbp"), heads=(), probabilities={}, trial=np.empty(0, dtype=str))
    two = trials.select(plain, np.arange(600))
    median = replace(plain, y_pred=np.full((600, 2), 4.0))
    found = controls.controls(BLOOD_PRESSURE, two, median, np.random.default_rng(0))
    assert [[c.figure for c in several] for several in found.values()] == [["mase"], ["mase"]]
    rng = np.random.default_rng(0)
    assert (found["sbp"][0].value, found["sbp"][0].ci95) == graded.mase(two, median, "sbp", rng)
    half = controls.controls(AFFECT, replace(given, target_names=("valence", "other")), flat(), rng)
    assert list(half) == ["valence"]


def test_the_control_is_pooled_where_subjects_have_one_class() -> None:
    given = affect(0.0)
    true = given.y_true.copy()
    true[:, 1] = np.isin(given.subject, [f"s{i:02d}" for i in range(6)])
    found = controls.of_classes(replace(given, y_true=true), "arousal", np.random.default_rng(0))
    assert np.isfinite([found.value, *found.ci95]).all()
    assert found.clean


def test_a_control_of_one_seed_is_compared_with_the_median_of_that_seed() -> None:
    two = affect(0.0, (0, 1))
    first = trials.select(two, np.flatnonzero(two.seed == 0))
    pred = np.tile(flat().y_pred, (2, 1))
    pred[two.seed == 1] = 100.0
    median = replace(two, y_pred=pred)
    found = controls.of_error(first, median, "valence", np.random.default_rng(0))
    assert found == controls.of_error(first, flat(), "valence", np.random.default_rng(0))
