"""Pictures of splits: well-formed, the same twice, and fair to what they were given."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from biosig_mtl import plots_splits
from biosig_mtl.plots_splits import Band, Series

PHASE = (np.arange(32) + 0.5) / 32
NAMES = ["shared", "sbp <&$", "dbp"]
NAN = np.full(32, np.nan)
BANDS = [Band(name, 0.5 + 0.01 * np.cos(2 * np.pi * (PHASE - 0.1 * k)), np.full(32, 0.002)) for k, name in enumerate(NAMES)]
SERIES = [Series(name, np.arange(3.0), np.arange(3.0) - 1, np.arange(3.0) + 1) for name in ("by zeros", "by another window's")]
MATRIX = np.array([[1, 0.9, -0.02], [0.9, 1, np.nan], [-0.02, np.nan, 1]])
P = np.array([[np.nan, 0.005, 0.4], [0.005, np.nan, 1], [0.4, np.nan, np.nan]])

DRAWINGS: dict[str, Callable[[], str]] = {
    "pulse": lambda: plots_splits.over_the_pulse(PHASE, np.sin(PHASE), BANDS),
    "pulse_of_one": lambda: plots_splits.over_the_pulse(PHASE, np.sin(PHASE), BANDS[:1]),
    "pulse_unknown": lambda: plots_splits.over_the_pulse(PHASE, NAN, [Band("shared", NAN, NAN), *BANDS[1:]]),
    "pulse_flat": lambda: plots_splits.over_the_pulse(PHASE, np.zeros(32), [Band("shared", np.full(32, 0.5), NAN), BANDS[0]]),
    "time": lambda: plots_splits.over_time(np.arange(32)[::-1], BANDS),
    "time_of_one": lambda: plots_splits.over_time(np.arange(32)[::-1], BANDS[:1]),
    "lines": lambda: plots_splits.lines(PHASE, BANDS, "gradient"),
    "lines_none": lambda: plots_splits.lines(PHASE, [], "gradient"),
    "dots": lambda: plots_splits.dots(["a", "b", "c <&$"], SERIES, "growth, %", line=0.0),
    "dots_unknown": lambda: plots_splits.dots(["a"], [Series("x", NAN[:1], NAN[:1], NAN[:1])], "growth, %"),
    "dots_none": lambda: plots_splits.dots([], [], "growth, %"),
    "matrix": lambda: plots_splits.matrix(NAMES, MATRIX, P),
    "matrix_large": lambda: plots_splits.matrix([str(i) for i in range(7)], np.full((7, 7), 0.5), np.full((7, 7), 0.005)),
}


def texts(svg: str) -> list[str]:
    return [str(e.text) for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]


@pytest.mark.parametrize("name", list(DRAWINGS))
def test_every_picture_is_well_formed_and_scales(name: str) -> None:
    svg = DRAWINGS[name]()
    assert ElementTree.fromstring(svg).get("width") == "100%"
    assert "nan" not in svg.lower().replace("nanmean", "")
    assert len(svg) < 120_000


@pytest.mark.parametrize("name", ["pulse", "dots", "matrix"])
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    assert DRAWINGS[name]() == DRAWINGS[name]()


def test_a_matrix_says_number_and_p_and_leaves_the_diagonal_empty() -> None:
    told = texts(DRAWINGS["matrix"]())
    assert told.count("0.90") == told.count("p = 0.005") == 2
    assert told.count("−0.02") == 2
    assert "1.00" not in told


def test_names_stand_in_the_picture() -> None:
    for name in ("pulse", "lines", "time"):
        assert set(NAMES) <= set(texts(DRAWINGS[name]()))
    assert {"by zeros", "by another window's", "growth, %", "c <&$"} <= set(texts(DRAWINGS["dots"]()))


def test_a_beat_is_drawn_with_its_foot_before_the_upstroke() -> None:
    # The line runs from left to right once: phases of the last quarter stand before 0.
    svg = plots_splits.lines(PHASE, BANDS[:1], "gradient")
    paths = [e.get("d") or "" for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("path")]
    longest = max(paths, key=len)
    x = [float(pair[0]) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", longest)]
    assert len(x) > 10
    assert x == sorted(x)
    labels = [text for text in texts(svg) if re.fullmatch(r"−?\d\.\d", text)]
    assert "−0.2" in labels
    assert "0.8" not in labels
