"""Pictures: well-formed, the same twice, small, and fair to what they were given."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest

from biosig_mtl import plots

RNG = np.random.default_rng(0)
TRUE = RNG.normal(125, 18, 200)
PRED = 125 + 0.4 * (TRUE - 125) + RNG.normal(0, 8, 200)
LIMITS = {"bias": -1.0, "low": -30.0, "high": 28.0, "corrected_low": -32.0, "corrected_high": 30.0}
TIME = np.arange(500) / 125
EXAMPLE = plots.Example(
    "SBP 120 → 118 <&$",
    125.0,
    {"ppg": np.sin(TIME * 7), "ecg": np.cos(TIME * 7)},
    {"ppg": {"onset": np.array([10.0, 120.0, np.nan, -4.0, 900.0]), "peak": np.array([50.5])}},
    {"ppg": {"notch": np.array([80.2]), "a": np.array([20.0]), "b": np.array([30.0])}},
)

DRAWINGS: dict[str, Callable[[], str]] = {
    "bland_altman": lambda: plots.bland_altman(TRUE, PRED, LIMITS, "mmHg"),
    "bland_altman_unknown": lambda: plots.bland_altman(TRUE, PRED, {"bias": 0.0, "low": float("nan")}, "mmHg"),
    "bland_altman_empty": lambda: plots.bland_altman([], [], {}, "mmHg"),
    "agreement": lambda: plots.agreement(TRUE, PRED, "mmHg"),
    "agreement_one": lambda: plots.agreement([120.0], [120.0], "mmHg"),
    "agreement_nothing": lambda: plots.agreement([np.nan], [120.0], "mmHg"),
    "agreement_empty": lambda: plots.agreement([], [], "mmHg"),
    "classes": lambda: plots.error_by_class({"< 100": PRED - TRUE, "100–140": [1.0, np.nan], "≥ 160": []}, "mmHg"),
    "classes_empty": lambda: plots.error_by_class({}, "mmHg"),
    "curves": lambda: plots.learning_curves(
        {"train": [([0, 1, 2], [3.0, 2.0, 1.0])] * 3, "validation": [([0, 1], [3.0, np.nan])]}
    ),
    "curves_empty": lambda: plots.learning_curves({}),
    "comparison": lambda: plots.comparison(
        [plots.Estimate("model", 13.0, (12.0, 14.0), highlight=True), plots.Estimate("ridge", 13.2)], "MAE (mmHg)", line=13.0
    ),
    "comparison_empty": lambda: plots.comparison([], "MAE"),
    "counts": lambda: plots.counts({"low_sqi": 12, "a very long reason that needs more than one line": 3}, "windows"),
    "counts_empty": lambda: plots.counts({}, "windows"),
    "example": lambda: plots.example_window(EXAMPLE),
    "example_plain": lambda: plots.example_window(plots.Example("t", 10.0, {"ppg": np.arange(20.0)})),
}


@cache
def drawn_once(name: str) -> str:
    return DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_picture_is_well_formed_scales_and_is_the_same_twice(name: str) -> None:
    svg = drawn_once(name)
    root = ElementTree.fromstring(svg)  # our own text
    assert root.tag.endswith("svg")
    assert root.get("width") == "100%"
    assert "height" not in root.attrib
    assert root.get("viewBox")
    assert root.get("role") == "img"
    assert "<metadata" not in svg
    assert svg == DRAWINGS[name]()


def test_text_stays_text_and_is_escaped() -> None:
    svg = drawn_once("example")
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert "SBP 120 → 118 <&$" in texts
    assert {"ppg", "ecg", "onset", "peak", "notch", "a", "b", "seconds"} <= set(texts)


def test_colours_are_those_of_the_theme() -> None:
    for name in DRAWINGS:
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawn_once(name)))
        assert colours <= set(plots.THEME), name


def test_a_crowd_is_rasterised_and_stays_small() -> None:
    few, many = (
        plots.agreement(TRUE, PRED, "mmHg"),
        plots.agreement(np.tile(TRUE, 100), np.tile(PRED, 100) + RNG.normal(0, 9, 20000), "x"),
    )
    assert "<image" not in few
    assert "<image" in many
    assert len(many) < 400_000


def test_marks_outside_the_window_are_not_drawn() -> None:
    svg = drawn_once("example")
    triangles = re.findall(r'<g id="line2d_\d+">\s*<defs>.*?</g>\s*</g>', svg, flags=re.DOTALL)
    drawn = [len(re.findall("<use", part)) for part in triangles]
    assert drawn.count(2) >= 1  # two of the five onsets lie inside
    assert all(n != 5 for n in drawn)


def test_bias_and_limits_are_drawn_where_they_are_known() -> None:
    known, unknown = drawn_once("bland_altman"), drawn_once("bland_altman_unknown")
    assert "repeated measures" in known
    assert "repeated measures" not in unknown
    assert "±1.96 SD" not in unknown
    assert "bias" in unknown


def test_long_names_are_broken_into_lines() -> None:
    assert plots._wrap("a very_long reason that needs two lines") == "a very_long reason that\nneeds two lines"
    assert plots._wrap("") == ""


def test_no_global_state_is_touched() -> None:
    before = "matplotlib.pyplot" in sys.modules
    DRAWINGS["counts"]()
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_many_points_in_one_channel_leave_room_for_the_signal() -> None:
    # The legend of sixteen marks once took all of it; a layout that collapses warns, and warnings are errors here.
    points = {"ppg": {f"p{i}": np.array([4.0 * i]) for i in range(16)}}
    svg = plots.example_window(plots.Example("a window", 125.0, {"ppg": np.sin(np.arange(250) / 9)}, points=points))
    assert svg.count("p15") >= 1
