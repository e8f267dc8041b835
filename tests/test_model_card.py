"""The model card: every number from the run's own files, what is missing is said to be missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from biosig_mtl import report_card
from biosig_mtl.types import DataError
from tests import report_affect_run
from tests.report_page import Page
from tests.test_report import write_run as write_pressure_run

MODEL: dict[str, Any] = {
    "spec": {
        "features": ["pulse.a", "person.age_years", "person.sex_male"], "targets": ["sbp", "dbp"],
        "tracks": [{"name": "eeg", "samples": 128, "fs": 64.0, "channels": ["F3", "F4"]}],
    },
    "extra": {"half_width": [20.0, None]},
    "members": {
        name: {"scaler": {"feature_center": [0.0, age, 0.5], "feature_scale": [1.0, 12.0, 0.5]}}
        for name, age in (("a", 50.0), ("b", 60.0))
    },
}  # fmt: skip
FIGURES: dict[str, Any] = {
    "networks": 5, "networks_of_the_run": 75, "opset": 20, "bytes": 6_100_000, "one_window_ms": {"p50": 0.3, "p99": 0.9},
    "parity": {"worst": 4.9e-5, "windows": 256, "on": "store"},
    "fewer_networks": [
        {"target": "sbp", "mean_difference": 1.34, "max_difference": 5.82, "mae_before": 17.3, "mae_after": 17.58}
    ],
    "int8": {
        "costs": [{"target": "sbp", "mean_difference": 0.01, "max_difference": 0.2, "mae_before": None, "mae_after": None}]
    },
}  # fmt: skip


@pytest.fixture
def pressure(tmp_path: Path) -> Path:
    return write_pressure_run(tmp_path / "run")


def card(run: Path, name: str = "MODEL_CARD.md") -> str:
    return report_card.write(run, run / name).read_text(encoding="utf-8")


def head_of(text: str) -> dict[str, Any]:
    empty, head, _ = text.split("---\n", 2)
    assert empty == ""
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def changed(run: Path, **words: Any) -> None:
    path = run / "scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **words}), encoding="utf-8")


def test_its_numbers_are_those_of_the_run(pressure: Path) -> None:
    scores = json.loads((pressure / "scores.json").read_text(encoding="utf-8"))
    text = card(pressure)
    for name, target in scores["targets"].items():
        low, high = target["mae_ci95"]
        assert f"| {name.upper()}, mmHg | {target['mae']:.1f} ({low:.1f}–{high:.1f}) |" in text
    assert f"{scores['n_subjects']} subjects, {scores['n_windows']} windows tested" in text
    for check in scores["audit"]["checks"]:
        assert f"| {check['name'].replace('_', ' ')} | passed |" in text
    for row in scores["targets"]["sbp"].get("classes", ()):
        assert f"| {row['class'].replace('<', '&lt;')} | {row['n_subjects']} | {row['n_windows']} |" in text
    metrics = head_of(text)["model-index"][0]["results"][0]["metrics"]
    by_name = {metric["name"]: metric["value"] for metric in metrics}
    assert by_name["mean error, SBP, mmHg, mean over subjects"] == round(scores["targets"]["sbp"]["mae"], 4)


def test_what_it_is_for_stands_in_it(pressure: Path) -> None:
    text = card(pressure)
    head = head_of(text)
    assert "not-a-medical-device" in head["tags"]
    assert head["library_name"] == "biosig-mtl"
    for words in ("Research use only. This is not a medical device.", "out of scope: diagnosis", "## Limits", "## How to use"):
        assert words in text
    assert "compliant" not in text.lower()


def test_what_is_missing_is_said_to_be_missing(pressure: Path) -> None:
    for name in ("recipe.yaml", "dataset.json", "environment.json"):
        (pressure / name).unlink(missing_ok=True)
    changed(pressure, intervals=None, demographics=None)
    text = card(pressure)
    assert "What it needs: the run's files do not tell." in text
    assert "licence of the data: the run's files do not tell" in text
    assert "age, sex and size of the people: the run's files do not tell" in text
    assert "Coverage of intervals: the run's files do not tell." in text
    assert head_of(text)["license_name"] == "data: the run's files do not tell"


def test_who_is_in_and_what_goes_in_come_from_the_model(pressure: Path) -> None:
    (pressure / "model").mkdir(exist_ok=True)
    (pressure / "model" / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")
    recipe = {"name": "mine", "windows": {"length_s": 8, "channels": ["ppg"], "trails": {"eda": 30}}}
    (pressure / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (pressure / "dataset.json").unlink(missing_ok=True)
    changed(pressure, demographics=None)
    interval = {"level": 0.9, "coverage": 0.91, "width": 40.0, "classes": [{"class": "< 100", "coverage": 0.5}]}
    changed(pressure, intervals={"sbp": interval, "dbp": {**interval, "coverage": None, "classes": []}})
    text = card(pressure)
    assert "# mine" in text
    assert "mean ± SD over training windows: age, years: 55.0 ± 12.0; share of men: 0.50 ± 0.50" in text
    assert "windows of 8 s; needed channels: ppg; used where they are good: none" in text
    assert "also: eda (last 30 s)" in text
    assert "track eeg: 128 samples at 64 Hz of F3, F4" in text
    assert "| sbp | 90 % | 91.0 % | 40.0 | ± 20.0 |" in text
    assert "| dbp | 90 % | – | 40.0 | – |" in text
    assert "sbp, reference &lt; 100: 50.0 % covered" in text
    changed(pressure, demographics={"age_years": 41.5, "n": 7})
    assert "* age years: 41.5\n* n: 7" in card(pressure)


def test_where_it_fails_is_named(pressure: Path) -> None:
    path = pressure / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8"))
    whole = scores["targets"]["sbp"]["pooled"]["mae"]
    row = {"class": "≥ 160", "n_subjects": 3, "n_windows": 9, "mae": 3 * whole, "me": -3 * whole, "sd": 1.0}
    scores["targets"]["sbp"]["classes"] = [row, {**row, "class": "mild", "mae": whole}]
    scores["warnings"] = ["the last epoch was the best | train longer"]
    path.write_text(json.dumps(scores), encoding="utf-8")
    told = {"timing_reliable": False, "timing_reason": "clocks drift", "defects": ["ECG <clipped>"], "labels": {"sbp": "cuff"}}
    (pressure / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    limits = card(pressure).partition("## Limits")[2].partition("## ")[0]
    assert f"SBP ≥ 160 mmHg: mean error {3 * whole:.1f} mmHg (bias −{3 * whole:.1f}), against {whole:.1f}" in limits
    assert "mild" not in limits
    assert "* data: ECG &lt;clipped>" in limits
    assert "* run: the last epoch was the best | train longer" in limits
    assert "times between channels are not trusted: clocks drift" in limits


def test_beside_an_export_it_tells_of_the_file(pressure: Path, tmp_path: Path) -> None:
    text = report_card.write(pressure, tmp_path / "MODEL_CARD.md", FIGURES).read_text(encoding="utf-8")
    assert "5 of 75 networks in one ONNX graph (opset 20), 6.1 MB" in text
    assert "4.9e-05, on 256 windows of the run's store" in text
    assert (
        "fewer networks, sbp: differs by 1.34 in the mean, 5.82 at most; mean error on unseen people 17.58 instead of" in text
    )
    assert "8 bits, sbp: differs by 0.01 in the mean, 0.20 at most\n" in text
    assert 'Exported.load("model.onnx")' in text


@pytest.mark.parametrize("case", list(report_affect_run.CASES))
def test_feelings_have_cards_too(case: str, tmp_path: Path) -> None:
    run = report_affect_run.write_run(tmp_path / "run", case)
    text = card(run)
    head = head_of(text)
    types = {metric["type"] for metric in head["model-index"][0]["results"][0]["metrics"]}
    assert ("balanced_accuracy" in types) == (case != "ratings")
    assert "SBP" not in text
    assert "mmHg" not in text
    if case == "ordinal":
        assert "The protocol learned from the tested people." in text
        assert "stamped: not subject-independent" in text


def test_the_page_says_the_same_and_loads_nothing(pressure: Path) -> None:
    changed(pressure, dataset="<script>alert(1)</script>")
    (pressure / "dataset.json").unlink(missing_ok=True)
    page = card(pressure, "card.html")
    parsed = Page()
    parsed.feed(page)
    assert "<script" not in page
    assert "http" not in page.partition("<main>")[0]
    assert "Research use only" in page
    assert page.count("<table>") == card(pressure).count("| --- ") - page.count("<th>") + page.count("<table>")


def test_what_cannot_be_written_is_told(pressure: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a card is written as \.md or \.html"):
        report_card.write(pressure, tmp_path / "card.pdf")
    with pytest.raises(DataError, match="no such run folder"):
        report_card.write(tmp_path / "none", tmp_path / "card.md")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        report_card.write(pressure, tmp_path / "file" / "card.md")
    broken = shutil.copytree(pressure, tmp_path / "broken")
    changed(broken, audit={})
    with pytest.raises(DataError, match="not as schema 1 says"):
        card(broken)
    broken = shutil.copytree(pressure, tmp_path / "words")
    (broken / "recipe.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(DataError, match=r"recipe\.yaml: not readable as YAML"):
        card(broken)
    broken = shutil.copytree(pressure, tmp_path / "model")
    (broken / "model").mkdir(exist_ok=True)
    (broken / "model" / "model.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="the model folder is damaged"):
        card(broken)
