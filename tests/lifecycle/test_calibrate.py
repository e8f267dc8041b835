"""Calibrating the people of a run: every figure is what it says, and what cannot be calibrated is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.evaluation.scores import plain
from biosig_mtl.lifecycle import calibrate as calibrating
from biosig_mtl.lifecycle import calibrate_answers as answering
from biosig_mtl.lifecycle import calibrate_judge as judging
from biosig_mtl.lifecycle import calibrate_shown as showing
from biosig_mtl.lifecycle.calibrate import CalibrateSettings, calibrate
from biosig_mtl.lifecycle.calibrate_answers import CHOSEN, FIRST
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.splits import anchors
from biosig_mtl.splits.anchors import Anchoring
from biosig_mtl.training.calibration import keeping
from biosig_mtl.training.calibration.methods import METHODS
from biosig_mtl.types import AuditError, DataError, Head, RecipeError
from tests.lifecycle.calibrate_case import WrongMethod, opened_run, run_folder, wrong

TWO = Anchoring((1, 2), draws=1)


@pytest.fixture(scope="module")
def finished() -> Opened:
    return opened_run()


@pytest.fixture
def opened(finished: Opened) -> Opened:
    return finished


@pytest.fixture
def folder(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run folder that opens as `opened`; the verb has two methods, one that holds and one that is off by 2 mmHg."""
    made = {"offset": wrong(), "off": WrongMethod("off", 2.0, [], [])}
    monkeypatch.setattr(calibrating, "chosen_methods", lambda names: {name: made[name] for name in names or made})
    monkeypatch.setattr(calibrating, "open_run", lambda *_: opened)
    return run_folder(tmp_path / "run")


# ---------------------------------------------------------------------------------------------------------- whole runs
def test_a_run_is_calibrated(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    said: list[str] = []
    settings = CalibrateSettings(TWO)
    told = calibrate(folder, Path("stores"), tmp_path / "out", settings, lambda done, of: seen.append((done, of)), said.append)
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert "fold 0, 1 reading: choosing and fitting 2 methods" in said
    assert told == {**told, "schema": 1, "counts": [1, 2], "unit": "person", "folds": 2, "methods": ["offset", "off"]}
    assert told["embargo_s"] == 8
    assert told["audit"]["passed"]
    assert [check["name"] for check in told["audit"]["checks"]] == [
        "truth_hidden", "anchors_not_scored", "people_apart", "estimates_of_strangers", "same_queries",
    ]  # fmt: skip
    assert in_json(json.loads((tmp_path / "out" / "calibration.json").read_text())) == in_json(told)
    assert not (tmp_path / "out" / "work").exists()
    assert (tmp_path / "out" / "calibration.md").read_text().startswith("# run, calibrated\n\n- SBP, 1 reading: MAE")
    assert told["stamps"] == ["SIMULATED DATA"]


def in_json(told: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(plain({**told, "seconds": 0})))


def test_figures_are_those_of_the_table(folder: Path, tmp_path: Path) -> None:
    told = calibrate(folder, Path("stores"), tmp_path / "out", CalibrateSettings(TWO))
    table = pd.read_parquet(tmp_path / "out" / "calibrated.parquet")
    assert set(table) == {"person", "subject", "record", "onset_s", "row", "seed", "fold", "k", "draw", "common", "since_s",
                          "method", "target", "y_true", "y_pred", "anchor"}  # fmt: skip
    first = table[table["draw"] == FIRST]
    for name, target in told["targets"].items():
        for count in (1, 2):
            own = first[(first["target"] == name) & (first["k"] == count)]
            for key, rows in (("next", own), ("common", own[own["common"]])):
                part = rows[rows["method"] == "off"]
                error = (part["y_pred"] - part["y_true"]).abs()
                figures = target[key][str(count)]
                assert figures["methods"]["off"]["pooled"]["mae"] == pytest.approx(error.mean())
                per = error.groupby(part["person"], observed=True).mean()
                assert figures["methods"]["off"]["people"]["mae"] == pytest.approx(per.mean())
                assert (figures["n_windows"], figures["n_people"]) == (len(part), len(per))
            hold = target["common"][str(count)]["methods"]["hold_mean"]
            assert hold["pooled"]["gain"]["hold_mean"] == {
                "difference": 0.0, "ci95": [0.0, 0.0], "probability_better": 0.5, "verdict": "not distinguishable",
            }  # fmt: skip
            assert hold["tracking"]["concordance"] in (0.5, pytest.approx(np.nan, nan_ok=True))
            oracle = target["common"][str(count)]["methods"]["subject_mean_oracle"]
            assert oracle["people"]["rmse"] <= hold["people"]["rmse"]
    asked = {k: set(own["row"]) for k, own in first[first["common"]].groupby("k")}
    assert asked[1] == asked[2]
    both = told["targets"]["sbp"]["both_ways"]["2"]
    assert both["first"]["hold_mean"]["pooled"]["mae"] != both["random"]["hold_mean"]["pooled"]["mae"]
    drawn = table[(table["draw"] == "random-0") & (table["k"] == 2) & (table["target"] == "sbp") & (table["method"] == "off")]
    assert both["n_windows"] == len(drawn)


def test_done_folds_are_not_done_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CalibrateSettings(TWO)
    whole = calibrate(folder, Path("stores"), tmp_path / "whole", settings)
    real, calls = answering.work, []

    def stops(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(calibrating, "work", stops)
    with pytest.raises(KeyboardInterrupt):
        calibrate(folder, Path("stores"), tmp_path / "out", settings)
    assert not (tmp_path / "out" / "calibration.json").exists()
    said: list[str] = []
    again = calibrate(folder, Path("stores"), tmp_path / "out", settings, say=said.append)
    assert said[0] == "fold 0: done before"
    assert len(calls) == 3
    assert in_json(again) == in_json(whole)


# ------------------------------------------------------------------------------------------------------------ refusals
def test_runs_that_cannot_be_calibrated_are_refused(folder: Path, opened: Opened, tmp_path: Path) -> None:
    still = replace(opened.table, targets=np.full_like(opened.table.targets, 120.0))
    with pytest.raises(DataError, match="each of its 24 people has one reading, which all their windows share"):
        calibrating.check(replace(opened, table=still), Path("run"))
    leaky = replace(opened, folds=(replace(opened.folds[0], leaky=True),))
    with pytest.raises(DataError, match="tests people whom it learned from"):
        calibrating.check(leaky, Path("run"))
    felt = replace(opened.table, target_names=("valence", "arousal"))
    with pytest.raises(RecipeError, match="estimates valence, arousal; personal calibration takes readings"):
        calibrating.check(replace(opened, table=felt), Path("run"))
    classes = replace(opened.table, heads=(Head("binary", (120.0,)), Head()))
    with pytest.raises(RecipeError, match="personal calibration takes readings"):
        calibrating.check(replace(opened, table=classes), Path("run"))
    with pytest.raises(DataError, match="nobody has a window 1000 s after 6 readings; lower --embargo"):
        calibrate(folder, Path("stores"), tmp_path / "a", CalibrateSettings(Anchoring((6,), 1000.0), methods=("off",)))


def test_what_was_known_fails_the_audit(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing.Side, "hiding", lambda side, _: showing.with_truth(side.shown, side.truth))
    with pytest.raises(AuditError, match="truth_hidden: the truth of"):
        calibrate(folder, Path("stores"), tmp_path / "out", CalibrateSettings(TWO))
    assert not (tmp_path / "out" / "calibration.json").exists()


def test_methods_are_found_by_name() -> None:
    assert "offset" in calibrating.chosen_methods(())
    assert list(calibrating.chosen_methods(("offset",))) == ["offset"]
    with pytest.raises(RecipeError, match="did you mean 'offset'"):
        calibrating.chosen_methods(("ofset",))
    with pytest.raises(ValueError, match="need seeds >= 1"):
        CalibrateSettings(seeds=0)
    with pytest.raises(ValueError, match="every method once"):
        CalibrateSettings(methods=("offset", "offset"))


# --------------------------------------------------------------------------------------------------------------- words
def own_of(windows: str, people: str, *, bins: str = "not distinguishable") -> dict[str, Any]:
    def gain(verdict: str) -> dict[str, Any]:
        return {"difference": -0.5, "ci95": [-0.9, 0.1], "verdict": verdict}

    def figures(verdict: str) -> dict[str, Any]:
        return {"mae": 9.5, "gain": {"hold_mean": gain(verdict), "hold_last": gain("worse"), "hold_shrunk": gain(verdict)}}

    method = {"pooled": figures(windows), "people": figures(people)}
    row = {"bin": "20 and more", "n_people": 17, "methods": {CHOSEN: {"gain": gain(bins)}}}
    other = row | {"bin": "other stay"}
    return {
        "n_windows": 1234, "n_people": 56, "best_hold": {"pooled": "hold_mean", "people": "hold_mean"},
        "methods": {CHOSEN: method, "hold_mean": method, "hold_last": method}, "by_change": [row], "by_since": [other],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("own", "count", "wanted"),
    [
        (own_of("better", "better"), 1, "holding it over 1,234 windows, 9.50 against 9.50 as the mean over 56 people. Gain"),
        (own_of("better", "worse"), 2, "of holding their mean over 1,234 windows"),
        (own_of("better", "worse"), 2, "Gain over holding for windows only: −0.50 (−0.90 to +0.10) over windows"),
        (own_of("worse", "worse"), 1, "Worse than holding"),
        (own_of("not distinguishable", "not distinguishable"), 1, "Nor is there any in a bin of change or time."),
        (
            own_of("not distinguishable", "not distinguishable", bins="better"), 1,
            "There is some where the pressure moved 20 and more mmHg (−0.50, 17 people); in other stays (−0.50, 17 people).",
        ),
    ],
)  # fmt: skip
def test_verdicts_say_what_there_is(own: dict[str, Any], count: int, wanted: str) -> None:
    assert wanted in judging._verdict("sbp", count, own)


def test_both_ways_of_holding_may_be_the_one_to_beat() -> None:
    own = own_of("better", "better") | {"best_hold": {"pooled": "hold_mean", "people": "hold_last"}}
    assert "mmHg of holding over" in judging._verdict("sbp", 2, own)
    last = own | {"best_hold": dict.fromkeys(("pooled", "people"), "hold_last")}
    assert "mmHg of holding the last over" in judging._verdict("sbp", 2, last)
    assert "Worse than holding" in judging._verdict("sbp", 2, last)


# ------------------------------------------------------------------------------------------------------- for somebody new
def test_methods_are_left_in_the_run(folder: Path, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "chosen_methods", lambda _: {name: METHODS[name] for name in ("offset", "share")})
    told = calibrate(folder, Path("stores"), tmp_path / "out", CalibrateSettings(TWO))
    kept = keeping.load(folder / keeping.FOLDER, folder / "model" / "model.json")
    assert [(one.method, one.count) for one in kept.fitted] == [("offset", 1), ("share", 1), ("offset", 2), ("share", 2)]
    assert kept.targets == ("sbp", "dbp")
    means = {m: np.mean([f["inner"]["1"][t][m] for f in told["choice"] for t in kept.targets]) for m in ("offset", "share")}
    assert kept.chosen[1] == min(means, key=lambda m: means[m])
    # Nine errors in ten of strangers are within the half-width, people alike.
    table = pd.read_parquet(tmp_path / "out" / "calibrated.parquet")
    own = table[(table["draw"] == FIRST) & (table["k"] == 1) & (table["method"] == "share") & (table["target"] == "sbp")]
    inside = (own["y_pred"] - own["y_true"]).abs() <= kept.fitted[1].half_width[0]
    assert inside.groupby(own["person"], observed=True).mean().mean() == pytest.approx(0.9, abs=0.02)
    # Its features are scaled as the methods saw them.
    side, _ = showing.everyone(opened, opened.folds, anchors.course_of(opened.table))
    assert kept.standard.values(opened.table.values) == pytest.approx(side.shown.values)
    assert side.rows.tolist() == list(range(len(opened.table)))
    for view in side.shown.views:
        learned = set(opened.table.subject[view.member.scaler.fitted_rows])
        assert not learned & set(opened.table.subject[side.rows[view.unseen]])


@pytest.mark.parametrize("words", [{"keep": False}, {"also": ("train_median",)}])
def test_nothing_is_left_where_nothing_could_be_used(folder: Path, tmp_path: Path, words: dict[str, Any]) -> None:
    calibrate(folder, Path("stores"), tmp_path / "out", CalibrateSettings(Anchoring((1,), draws=0), **words))
    assert not (folder / keeping.FOLDER).exists()
