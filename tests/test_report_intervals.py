"""The section of intervals: what they hold, where they fail and what refusing gains, in words, tables and pictures."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import plots_intervals, report, report_intervals
from biosig_mtl.evaluation import coverage, selective
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.report_sections import Run
from tests import report_affect_run
from tests.report_page import Page


def told(level: float = 0.9, shift: float = 0.0) -> dict[str, Any]:
    """Return the facts of 60 people whose estimates shrink to the middle, as a run tells them."""
    rng = np.random.default_rng(0)
    own = np.repeat(rng.normal(125, 20, 60), 3)
    truth, said = own + rng.normal(0, 5, 180), 125 + 0.3 * (own - 125)
    zero = np.zeros(180, np.int64)
    sqi = rng.uniform(0.3, 1, 180)
    subject = np.repeat([f"p{i:02d}" for i in range(60)], 3)
    half = 26.0 + 0.1 * np.abs(said - 125)
    made = coverage.Bounds(subject, truth, said - half, said + half, sqi, zero, zero)
    figures = coverage.figures(made, rng)
    given = {
        "level": level, **figures, "method": "split conformal by person, one width",
        "calibration_people": 48, "promised": level,
        "levels": [{"level": each, **figures} for each in (0.8, 0.9, 0.95)], "people": coverage.people(made),
        "classes": coverage.by_class(made, "sbp", rng), "quality": coverage.by_quality(made, rng),
        "folds": coverage.by_fold(made, rng), "other": [{"method": "one width", **figures}],
        "selective": selective.facts(np.abs(truth - said), {"interval width": half, "signal quality": -sqi}, subject, rng),
    }  # fmt: skip
    if shift:
        given["shift"] = {"effective_people": shift, "log_loss": 0.6, "log_loss_of_a_coin": 0.69}
    return dict(json.loads(json.dumps(plain(given), allow_nan=False)))


def shown(given: dict[str, Any], unit: str = "mmHg") -> dict[str, Any]:
    scores = {"targets": {"sbp": {"unit": unit}}, "intervals": {"sbp": given}}
    found = report_intervals.intervals(Run(Path("somewhere"), scores, pd.DataFrame()))
    assert found is not None
    return dict(found["targets"][0])


def test_a_run_without_facts_has_no_section() -> None:
    for intervals in (None, {}, {"sbp": {"level": 0.9, "coverage": 0.9, "width": 60.0}}, {"sbp": told() | {"coverage": None}}):
        scores: dict[str, Any] = {"targets": {"sbp": {"unit": "mmHg"}}, "intervals": intervals}
        assert report_intervals.intervals(Run(Path("somewhere"), scores, pd.DataFrame())) is None


def test_the_sentences_say_what_is_held_where_it_fails_and_for_whom() -> None:
    given = told()
    first, weak, people = report_intervals.sentences("SBP", given, "mmHg")
    assert f"hold the reference in {round(100 * given['coverage'])} % of the windows of a new person (95 % CI " in first
    assert f"reach {given['width'] / 2:.1f} mmHg to either side" in first
    worst = min((row for row in given["classes"] if row["n_subjects"] >= 5), key=lambda row: row["coverage"])
    assert (
        f"Least where SBP is {worst['class']} mmHg: {round(100 * worst['coverage'])} % ({worst['n_subjects']} people)" in weak
    )
    assert "less than 80 % of the windows" in people


def test_nothing_is_said_of_failures_that_are_none() -> None:
    given = told()
    for row in given["classes"]:
        row["coverage"] = 0.95
    given["people"]["share_below"] = 0.0
    given["coverage_ci95"] = [None, None]
    (only,) = report_intervals.sentences("SBP", given, "mmHg")
    assert "CI" not in only
    # A class of very few people is in the table, and too few for a sentence.
    given["classes"][0] |= {"coverage": 0.1, "n_subjects": 4}
    assert len(report_intervals.sentences("SBP", given, "mmHg")) == 1


def test_too_few_people_and_a_shift_are_told() -> None:
    few = told() | {"promised": 0.888, "calibration_people": 8}
    assert any(
        "8 people are too few for 90 %: they can promise 89 % at most" in s for s in report_intervals.sentences("SBP", few, "")
    )
    (moved,) = (s for s in report_intervals.sentences("SBP", told(shift=31.4), "mmHg") if "another set" in s)
    assert "the worth of 31 of 48 people; without weights they hold" in moved
    alone = told(shift=31.4) | {"other": []}
    assert any("of 48 people. Labels" in s for s in report_intervals.sentences("SBP", alone, "mmHg"))


def test_tables_hold_what_the_run_told() -> None:
    given = told()
    found = shown(given)
    assert [row["name"] for row in found["levels"]] == ["80 %", "90 %", "95 %"]
    assert [row["name"] for row in found["classes"]] == [row["class"] for row in given["classes"]]
    assert found["classes"][0]["width"] == given["classes"][0]["width"]
    assert found["refusal"][0]["name"] == "interval width"
    assert found["refusal"][0]["half"].endswith(" mmHg")
    assert found["title"] == "SBP"
    assert shown(given, "points")["title"] == "Sbp"
    assert len(found["quality"]) == 4
    # Under a shift the others are unweighted, and say so.
    assert found["other_head"] == "other way"
    assert shown(told(shift=30.0))["other_head"] == "other way, without weights"


def test_pictures_say_which_way_to_refuse_is_surely_better() -> None:
    given = told()
    held, risk = shown(given)["pictures"]
    assert "what 90 % intervals hold, by class" in held.caption
    ways = given["selective"]["by"]
    ways["interval width"] |= {"gain": 0.2, "gain_ci95": [0.1, 0.3]}
    ways["signal quality"] |= {"gain": 0.3, "gain_ci95": [-0.1, 0.5]}
    assert shown(given)["pictures"][1].caption.endswith("best by interval width.")
    ways["interval width"]["gain_ci95"] = [None, None]
    assert shown(given)["pictures"][1].caption.endswith("nothing tried here is surely better than chance.")
    assert "knowing the errors" in risk.svg
    bare = deepcopy(given) | {"classes": [], "selective": {}, "quality": []}
    assert shown(bare)["pictures"] == []
    assert shown(bare)["refusal"] == []


def test_the_page_has_the_section_where_a_run_has_intervals(tmp_path: Path) -> None:
    folder = report_affect_run.write_run(tmp_path, "stress")
    assert 'id="intervals"' not in report.render(folder).read_text(encoding="utf-8")
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    name = next(iter(scores["targets"]))
    hostile = told() | {"method": "<script>alert(1)</script>"}
    (folder / "scores.json").write_text(json.dumps(scores | {"intervals": {name: hostile}}), encoding="utf-8")
    text = report.render(folder).read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert "intervals" in page.ids
    assert "#intervals" in page.anchors
    assert page.open == []
    assert "<script>" not in text
    for words in ("hold the reference in", "area saved", "surer half", "asked for"):
        assert words in text


@pytest.mark.parametrize("ends", [(0.5, 0.7), (0.85, 0.95), (float("nan"), float("nan"))])
def test_what_holds_too_little_is_drawn_in_another_colour(ends: tuple[float, float]) -> None:
    drawn = plots_intervals.held([("all", 0.9, (0.88, 0.92)), ("≥ 160", 0.6, ends)], 0.9)
    assert ("#d55e01" in drawn) == (ends[1] < 0.9)
    assert drawn == plots_intervals.held([("all", 0.9, (0.88, 0.92)), ("≥ 160", 0.6, ends)], 0.9)


def test_the_curves_are_drawn_by_name() -> None:
    shares = np.linspace(0.05, 1, 20)
    drawn = plots_intervals.risk_coverage(shares, {"width": shares, "sqi": shares**2}, {"at random": np.ones(20)}, "mmHg")
    assert all(word in drawn for word in ("width", "sqi", "at random", "MAE of the kept (mmHg)"))
