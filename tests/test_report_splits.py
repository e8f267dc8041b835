"""The section of what the splits learned: from a file as a run writes it to the page."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import report, report_splits
from biosig_mtl.report_sections import Run
from biosig_mtl.types import DataError
from tests import report_affect_run
from tests.report_page import Page

NAMES = ["shared", "sbp", "dbp"]
RNG = np.random.default_rng(0)


def probes(shift: float = 0.0) -> list[list[dict[str, Any]]]:
    def one(name: str, kind: str, metric: str, value: float, chance: float) -> dict[str, Any]:
        given = {"name": name, "kind": kind, "metric": metric, "value": value + shift, "ci95": [value - 0.1, value + 0.1]}
        return given | {"chance": chance, "windows": 100, "people": 20, "why": "", "skill": value}

    row = [
        one("sbp", "target", "r2", 0.12, 0.0),
        one("person", "person", "balanced_accuracy", 0.8, 0.05),
        one("age", "nuisance", "r2", 0.3, 0.0)
        | {"value": None, "ci95": [None, None], "why": "known of 3 people, needs 6", "skill": None},
    ]
    return [deepcopy(row) for _ in NAMES]


def one_fold(shift: float = 0.0) -> dict[str, Any]:
    curve = (0.5 + 0.01 * np.cos(np.arange(32) / 5 + shift)).tolist()
    beat = {
        "phase": ((np.arange(32) + 0.5) / 32).tolist(), "pulse": np.sin(np.arange(32) / 5).tolist(), "mean": [curve] * 3,
        "sd": [[0.001] * 32] * 3, "modulation": [0.01] * 3, "p": [0.005, 0.01, 0.4], "token_s": 0.25, "beat_s": 0.8,
        "beats": 700, "people": 20, "sensitivity": [np.ones(32).tolist()] * 3,
    }  # fmt: skip
    maps = {"beat": beat, "tracks": {}, "families": {"pulse": {"mean": [0.5, 0.6, None], "sd": [0.1, 0.1, None]}}}
    null = [[None, 0.1, 0.1], [0.1, None, 0.1], [0.1, 0.1, None]]
    p = [[None, 0.005, 0.2 + shift], [0.005, None, 0.4], [0.2 + shift, 0.4, None]]
    dependence = {"uhsic": [[1, 0.9, 0.1], [0.9, 1, 0.0], [0.1, 0.0, 1]], "p": p, "null95": null, "permuted": "subjects"}
    return {
        "splits": NAMES, "mask_mean": [0.5, 0.6, 0.4], "mask_std": [0.01] * 3, "mask_spread": [0.05] * 3,
        "split_std": [0.1] * 3, "fresh": [0.1, 0.0, None], "maps": maps, "probes": probes(shift), "warnings": [],
        "dependence": dependence | {"units": 20, "windows": 200, "permutations": 199},
        "gates_by_person": {"mean": [0.4, 0.6], "sd": [0.1, 0.1]},
    }  # fmt: skip


def content(folds: int = 1) -> dict[str, Any]:
    growth = {
        "value": [[0.01, 0.02], [0.1, 0.0], [0.0, None]],
        "ci95": [[[0.0, 0.02]] * 2, [[0.05, 0.2]] * 2, [[None, None]] * 2],
    }
    return {
        "sentences": ["the 'sbp' split tells <persons> better than its target"],
        "agreement": {"networks": folds, **({"beat": [0.9, 0.1, None]} if folds > 1 else {})},
        "removal": {"people": 20, "zeros": growth, "shuffled": growth},
        "folds": {f"seed 0, fold {i}": one_fold(0.1 * i) for i in range(folds)},
    }


def run_of(given: dict[str, Any] | None, history: pd.DataFrame | None = None) -> Run:
    return Run(Path("somewhere"), {"targets": {}}, pd.DataFrame(), split_report=given, history=history)


def shown(given: dict[str, Any], history: pd.DataFrame | None = None) -> dict[str, Any]:
    found = report_splits.splits(run_of(given, history))
    assert found is not None
    return found


def test_one_network_is_shown_with_intervals_over_people() -> None:
    found = shown(content())
    assert found["names"] == NAMES
    assert found["networks"] == 1
    assert len(found["beat"]) == 2
    assert "700 beats" in found["beat"][0].caption
    assert "shared in 1, sbp in 1, dbp in 0 of 1 networks" in found["beat"][0].caption
    assert "31 % of a beat" in found["beat"][0].caption
    assert len(found["removal"]) == 2
    assert found["removal"][0].caption.startswith("SBP: what is missed")
    assert found["gates"] is not None
    assert found["families"] is not None
    sbp, person, age = found["probes"]
    assert sbp["cells"][0] == (0.12, (pytest.approx(0.02), pytest.approx(0.22)))
    assert (sbp["metric"], person["metric"]) == ("R²", "balanced accuracy")
    assert age["cells"] == []
    assert age["why"] == "known of 3 people, needs 6"
    assert found["masks"]["columns"][-1] == "r, unlearned"
    assert found["masks"]["rows"][1][1][0] == 0.6


def test_several_networks_are_shown_as_mean_and_range_and_the_largest_p() -> None:
    found = shown(content(3))
    value, ends = found["probes"][0]["cells"][0]
    assert value == pytest.approx(0.22)
    assert ends == (pytest.approx(0.12), pytest.approx(0.32))
    assert "p = 0.4" in found["dependence"].svg
    assert "whole subjects (20 in a network, 199 times)" in found["dependence"].caption
    assert found["masks"]["columns"][-1] == "r, networks: beat"
    assert found["masks"]["rows"][0][1][-1] == 0.9
    assert np.isnan(found["masks"]["rows"][2][1][-1])


def test_a_network_without_a_shared_split_is_shown() -> None:
    given = content()
    fold = given["folds"]["seed 0, fold 0"]
    fold |= {"splits": NAMES[1:], "dependence": None, "probes": fold["probes"][1:], "gates_by_person": None}
    fold |= {key: fold[key][1:] for key in ("mask_mean", "mask_std", "mask_spread", "split_std", "fresh")}
    fold["maps"] = {"beat": None, "tracks": {}, "families": {"pulse": {"mean": [0.6, 0.4], "sd": [0.1, 0.1]}}}
    for how in ("zeros", "shuffled"):
        given["removal"][how] = {key: value[1:] for key, value in given["removal"][how].items()}
    found = shown(given)
    assert [picture.caption.split(":")[0] for picture in found["removal"]] == ["SBP", "DBP"]
    assert [name for name, _ in found["masks"]["rows"]] == ["sbp", "dbp"]


def test_what_a_run_does_not_have_is_not_shown() -> None:
    bare = content()
    fold = bare["folds"]["seed 0, fold 0"]
    fold["maps"] = {"beat": None, "tracks": {}, "families": {}}
    fold |= {"dependence": None, "probes": [], "gates_by_person": None, "fresh": None}
    bare |= {"removal": {}, "sentences": []}
    found = shown(bare)
    assert (found["beat"], found["tracks"], found["removal"], found["probes"]) == ([], [], [], [])
    assert found["families"] is found["dependence"] is found["gates"] is found["cosines"] is None
    assert report_splits.splits(run_of(None)) is None
    assert report_splits.splits(run_of({"sentences": ["one"], "gates": {"sbp": 0.4}})) is None
    # A run of before, and one whose network does not split.
    assert report_splits.splits(run_of({"folds": {"a": {"splits": NAMES, "mae": [1, 2]}, "b": {"splits": []}}})) is None


def test_what_only_some_networks_were_asked_is_left_out_of_the_table() -> None:
    given = content(2)
    given["folds"]["seed 0, fold 1"]["probes"] = [row[:1] for row in given["folds"]["seed 0, fold 1"]["probes"]]
    given["folds"]["seed 0, fold 0"]["probes"][1] = given["folds"]["seed 0, fold 0"]["probes"][1][:2]
    assert [row["name"] for row in shown(given)["probes"]] == ["sbp", "person"]


def test_tracks_are_drawn_by_time_and_few_people_share_nothing() -> None:
    given = content(2)
    for fold in given["folds"].values():
        fold["maps"]["tracks"] = {"eeg": {"before_s": [1.5, 0.5], "mean": [[0.4, 0.5]] * 3, "sd": [[0.1, None]] * 3}}
        fold["maps"]["tracks"]["temperature"] = fold["maps"]["tracks"]["eeg"]
        fold["maps"]["beat"] |= {"p": [None] * 3, "sensitivity": None}
    given["folds"]["seed 0, fold 1"]["dependence"] |= {"units": 12, "permuted": "windows"}
    found = shown(given)
    assert [picture.caption.split(":")[0] for picture in found["tracks"]] == ["EEG", "Temperature"]
    assert len(found["beat"]) == 1
    assert "Too few people to say" in found["beat"][0].caption
    assert "subjects or windows (12 to 20 in a network" in found["dependence"].caption


def test_cosines_of_the_model_alone_are_drawn() -> None:
    frame = pd.DataFrame(
        {
            "variant": ["model"] * 4 + ["control"] * 4,
            "fold": 0,
            "epoch": [0.0, 1, 2, 3] * 2,
            "cosine_sbp_dbp": [0.5, -0.1, 0.2, np.nan, *[-0.9] * 4],
        }
    )
    picture = report_splits._cosines(run_of(None, frame))
    assert picture is not None
    assert "sbp – dbp 33 % of epochs" in picture.caption
    assert report_splits._cosines(run_of(None, frame.drop(columns="cosine_sbp_dbp"))) is None
    assert report_splits._cosines(run_of(None, frame.drop(columns="epoch"))) is None
    assert report_splits._cosines(run_of(None, frame[["epoch", "cosine_sbp_dbp"]])) is not None


def test_a_broken_file_is_told_in_one_line() -> None:
    broken = content()
    broken["folds"]["seed 0, fold 0"]["maps"]["beat"].pop("phase")
    with pytest.raises(DataError, match=r"split_report.json: cannot be shown \('phase'\)"):
        shown(broken)


def test_the_section_stands_in_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    folder = report_affect_run.write_run(tmp_path, "stress")
    (folder / "split_report.json").write_text(json.dumps(content(2)), encoding="utf-8")
    told = report._told
    monkeypatch.setattr(report, "_told", lambda run: {**told(run), "splits": report_splits.splits(run)})
    text = report.render(folder).read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert "splits" in page.ids
    assert len(set(page.ids)) == len(page.ids)
    assert "What the splits learned" in text
    assert "What the splits of the network did" not in text
    assert "tells &lt;persons&gt; better" in text
    assert "not asked: known of 3 people, needs 6" in text
    assert "means over 2 networks, small figures their range" in text
