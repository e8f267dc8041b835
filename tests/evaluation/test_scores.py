"""The graded run: the schema that others read, and figures that can be checked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.evaluation import scores as graded
from biosig_mtl.evaluation.scores import Absent, Protocol
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Check, Predictions, Scores, Target, Task

PASSED = [Check("subject_overlap", True, "0 of 20 subjects in two parts")]


def predictions(offset: float = 0.0, seeds: tuple[int, ...] = (0,), subjects: int = 20, each: int = 6) -> Predictions:
    """Reference of people around 120/70; estimates that are off by ``offset`` (+ the seed) and a little noise."""
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(subjects), each)
    true = rng.normal([120, 70], [15, 8], (subjects, 2))[code] + rng.normal(0, 5, (code.size, 2))
    pred = [true + offset + seed + rng.normal(0, 2, true.shape) for seed in seeds]
    n = len(seeds)
    return Predictions(
        row=np.tile(np.arange(code.size), n), fold=np.tile(code % 5, n), seed=np.repeat(np.array(seeds), code.size),
        subject=np.tile(np.array([f"s{c:02d}" for c in code]), n), onset_s=np.tile(np.arange(code.size) * 8.0, n),
        y_true=np.tile(true, (n, 1)), y_pred=np.concatenate(pred), target_names=("sbp", "dbp"),
    )  # fmt: skip


def protocol(**words: Any) -> Protocol:
    content: dict[str, Any] = {
        "dataset": "made_up", "protocol": "subject_kfold", "folds": 5, "seeds": (0,), "model": "split_merge", "n_rejected": 3,
        "coverage": 0.97, "reference": "cuff",
    }  # fmt: skip
    return Protocol(**{**content, **words})


def content(model: Predictions, baselines: graded.Baselines, **words: Any) -> dict[str, Any]:
    scores = graded.score(BLOOD_PRESSURE, protocol(**words), model, baselines, PASSED, np.random.default_rng(0))
    assert isinstance(scores, Scores)
    assert scores.audit_passed
    written: dict[str, Any] = json.loads(graded.to_json(scores))
    assert written == scores.content
    return written


def test_the_schema_of_the_contract() -> None:
    """Keys of scores.json, schema 1, which none may rename."""
    got = content(predictions(4), {"train_median": predictions(12), "ridge": predictions(5)})
    assert {
        "schema", "task", "dataset", "protocol", "folds", "seeds", "model", "n_subjects", "n_windows", "n_rejected", "coverage",
        "targets", "baselines", "audit",
    } <= set(got)  # fmt: skip
    assert (got["schema"], got["task"], got["n_subjects"], got["n_windows"], got["seeds"]) == (
        1,
        "blood_pressure",
        20,
        120,
        [0],
    )
    assert list(got["targets"]) == ["sbp", "dbp"]
    for target in got["targets"].values():
        assert {
            "unit", "mae", "mae_ci95", "me", "sd", "rmse", "r", "ccc", "mase", "pooled", "iso81060_2", "bhs", "ieee1708",
            "mase_ci95", "paired", "mapd", "cp5", "cp10", "cp15",
        } <= set(target)  # fmt: skip
        assert {"mae", "me", "sd"} <= set(target["pooled"])
        assert {"best_baseline", "difference", "ci95", "verdict"} <= set(target["paired"])
    assert {"mae", "mae_ci95", "mase"} <= set(got["baselines"]["ridge"]["sbp"])
    assert got["audit"] == {"passed": True, "checks": [{"name": PASSED[0].name, "passed": True, "detail": PASSED[0].detail}]}


def test_mase_is_the_ratio_to_the_training_median() -> None:
    got = content(predictions(4), {"train_median": predictions(12)})
    target = got["targets"]["sbp"]
    assert target["mase"] == pytest.approx(target["mae"] / got["baselines"]["train_median"]["sbp"]["mae"])
    assert target["mase_ci95"][0] <= target["mase"] <= target["mase_ci95"][1]
    assert got["baselines"]["train_median"]["sbp"]["mase"] == 1
    assert got["baselines"]["train_median"]["dbp"]["mase_ci95"] == [1, 1]
    value, ends = graded.mase(predictions(4), predictions(12), "sbp", np.random.default_rng(0))
    assert value == pytest.approx(target["mase"])
    assert list(ends) == pytest.approx(target["mase_ci95"])
    with pytest.raises(ValueError, match="the same subjects on both sides"):
        graded.mase(predictions(4), predictions(4, subjects=3), "sbp", np.random.default_rng(0))


def test_the_best_baseline_is_the_opponent() -> None:
    others = {"train_median": predictions(12), "ridge": predictions(5), "demographics": predictions(9)}
    paired = content(predictions(4), others)["targets"]["sbp"]["paired"]
    assert (paired["best_baseline"], paired["verdict"]) == ("ridge", "better")
    assert paired["difference"] == pytest.approx(-1, abs=0.4)
    assert content(predictions(6), others)["targets"]["sbp"]["paired"]["verdict"] == "worse"
    assert content(predictions(5), others)["targets"]["dbp"]["paired"]["verdict"] == "not distinguishable"


def test_seeds_are_averaged_figure_by_figure() -> None:
    """Off by +3 in one seed and −3 in the other: the mean of the predictions is right, the mean of the errors is not."""
    given = predictions(0, (3, -3))
    got = content(given, {"train_median": predictions(12)}, seeds=(3, -3))["targets"]["sbp"]
    singles = [content(_only(given, s), {"train_median": predictions(12)})["targets"]["sbp"] for s in (3, -3)]
    for figure in ("mae", "me", "sd", "rmse", "r", "ccc", "cp5"):
        assert got[figure] == pytest.approx((singles[0][figure] + singles[1][figure]) / 2), figure
    assert got["mae"] > 2.5
    assert got["pooled"]["sd"] == pytest.approx(2, abs=0.3)
    assert got["iso81060_2"]["n_pairs"] == 120


def _only(given: Predictions, seed: int) -> Predictions:
    fields = ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred")
    return replace(given, **{name: getattr(given, name)[given.seed == seed] for name in fields})


def test_a_seed_that_misses_a_subject_does_not_count_for_it() -> None:
    given = predictions(0, (1, 2))
    keep = ~((given.seed == 2) & (given.subject == "s00"))
    fields = ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred")
    got = content(replace(given, **{name: getattr(given, name)[keep] for name in fields}), {})
    assert got["n_subjects"] == 20
    assert got["targets"]["sbp"]["me"] == pytest.approx(1.5, abs=0.2)


def test_baselines_that_cannot_be_compared_say_why() -> None:
    silent = predictions(5)
    silent.y_pred[3, 0] = np.nan
    others: graded.Baselines = {
        "demographics": Absent("no demographics in this data set"),
        "ridge": silent,
        "heart_rate": _rows(predictions(5), 100),
    }
    got = content(predictions(4), others)
    assert got["baselines"] == {
        "demographics": {"unavailable": "no demographics in this data set"},
        "ridge": {"unavailable": "1 of 120 windows without a prediction"},
        "heart_rate": {"unavailable": "predicted other windows than the model (20 differ)"},
    }
    target = got["targets"]["sbp"]
    assert target["mase"] is None
    assert target["mase_ci95"] == [None, None]
    assert target["paired"]["best_baseline"] is None


def _rows(given: Predictions, n: int) -> Predictions:
    fields = ("row", "fold", "seed", "subject", "onset_s", "y_true", "y_pred")
    return replace(given, **{name: getattr(given, name)[:n] for name in fields})


def test_one_reference_a_subject_has_no_correlation_and_says_so() -> None:
    given = predictions(4, each=3)
    constant = np.repeat(given.y_true[::3], 3, axis=0)
    got = content(replace(given, y_true=constant), {})["targets"]["sbp"]
    assert got["r"] is None
    assert got["undefined_subjects"] == {"r": 20, "ccc": 20}
    assert got["r_between_subjects"] > 0.8


def test_errors_are_told_by_pressure_class() -> None:
    rows = content(predictions(4), {})["targets"]["sbp"]["classes"]
    assert [row["class"] for row in rows] == ["< 100", "100–140", "140–160", "≥ 160"]
    assert sum(row["n_windows"] for row in rows) == 120
    assert rows[1]["me"] == pytest.approx(4, abs=0.5)
    assert rows[3]["n_windows"] == 0
    assert rows[3]["mae"] is None


def test_another_task_has_no_pressure_screens() -> None:
    task = Task("affect", (Target("valence", "points", 1, 9),), frozenset())
    given = predictions(1)
    one = replace(given, y_true=given.y_true[:, :1], y_pred=given.y_pred[:, :1], target_names=("valence",))
    got = graded.score(task, protocol(), one, {}, [], np.random.default_rng(0)).content
    assert "iso81060_2" not in got["targets"]["valence"]
    assert got["targets"]["valence"]["classes"] == []
    assert got["audit"] == {"passed": True, "checks": []}


def test_extras_are_added_but_overwrite_nothing() -> None:
    got = content(predictions(4), {}, extras={"ablation": [{"without": "person"}]}, stamps=("SIMULATED DATA",), coverage=0.5)
    assert got["ablation"] == [{"without": "person"}]
    assert got["stamps"] == ["SIMULATED DATA"]
    assert got["coverage_sufficient"] is False
    with pytest.raises(ValueError, match="would overwrite those of the schema: model"):
        content(predictions(4), {}, extras={"model": 1})
    with pytest.raises(ValueError, match="at least one test window"):
        content(_rows(predictions(4), 0), {})


def test_a_single_subject_gets_figures_without_intervals() -> None:
    got = content(predictions(4, subjects=1), {"train_median": predictions(12, subjects=1)})["targets"]["sbp"]
    assert got["mae"] == pytest.approx(4, abs=1)
    assert got["mae_ci95"] == [None, None]
    assert got["paired"]["verdict"] == "not distinguishable"
    assert got["iso81060_2"]["verdict"] == "n too small"


def test_the_same_rng_gives_the_same_scores() -> None:
    others = {"train_median": predictions(12), "ridge": predictions(5)}
    assert content(predictions(4), others) == content(predictions(4), others)


def test_a_failed_check_fails_the_audit() -> None:
    checks = [*PASSED, Check("equal_windows", False, "2 windows")]
    scores = graded.score(BLOOD_PRESSURE, protocol(), predictions(4), {}, checks, np.random.default_rng(0))
    assert not scores.audit_passed
