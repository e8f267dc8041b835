"""Pictures of how people feel: heads, confusion matrices, people; well-formed, small, and fair to what they were given."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl import montage, plots, plots_affect, plots_scalp
from biosig_mtl.plots import ONE, TWO
from biosig_mtl.plots_scalp import Scalp, topographic

EMOTIV = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
GENEVA = (
    *("Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz"),
    *("Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"),
)
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=len(GENEVA))
PEOPLE = [f"S{i:02d}" for i in range(23)]
FIGURE = np.where(np.arange(23) == 4, np.nan, RNG.uniform(0.3, 0.9, 23))

DRAWINGS: dict[str, Callable[[], str]] = {
    "head": lambda: topographic([Scalp("Valence <&$", GENEVA, VALUES)], "weight"),
    "head_positive": lambda: topographic([Scalp("Valence", EMOTIV, np.abs(VALUES[:14]))], "weight"),
    "bands": lambda: topographic([Scalp(f"band {i}", GENEVA, np.roll(VALUES, i)) for i in range(5)], "r"),
    "four_bands": lambda: topographic([Scalp(f"band {i}", EMOTIV, np.roll(VALUES, i)[:14]) for i in range(4)], "r"),
    "head_of_one": lambda: topographic([Scalp("one", ("Cz",), np.ones(1))], "weight"),
    "head_of_a_line": lambda: topographic([Scalp("line", ("Fz", "FCz", "Cz", "CPz", "Pz"), np.arange(5.0))], "weight"),
    "head_of_nothing": lambda: topographic([Scalp("none", ("EXG1",), np.full(1, np.nan))], "weight"),
    "head_of_zeros": lambda: topographic([Scalp("zeros", EMOTIV, np.zeros(14))], "weight"),
    "no_heads": lambda: topographic([], "weight"),
    "confusion": lambda: plots_affect.confusion([[8, 2], [1, 9]], ["low", "high <&$"]),
    "confusion_five": lambda: plots_affect.confusion(np.arange(25).reshape(5, 5), [f"> {i} to {i + 1}" for i in range(5)]),
    "confusion_nobody": lambda: plots_affect.confusion([[0, 0], [3, 4]], ["low", "high"]),
    "people": lambda: plots_affect.per_subject(PEOPLE, FIGURE, 0.5, "balanced accuracy"),
    "people_many": lambda: plots_affect.per_subject([str(i) for i in range(123)], RNG.normal(size=123), 0.0, "CCC"),
    "people_none": lambda: plots_affect.per_subject([], [], 0.0, "CCC"),
    "people_undefined": lambda: plots_affect.per_subject(["a"], [np.nan], 0.0, "CCC"),
}


@cache
def drawn_once(name: str) -> str:
    return DRAWINGS[name]()


def texts(svg: str) -> list[str]:
    return [str(e.text) for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]


@pytest.mark.parametrize("name", [name for name in DRAWINGS if name != "people_many"])
def test_every_picture_is_well_formed_scales_and_is_the_same_twice(name: str) -> None:
    svg = drawn_once(name)
    root = ElementTree.fromstring(svg)  # our own text
    assert root.get("width") == "100%"
    assert "height" not in root.attrib
    assert root.get("role") == "img"
    assert svg == DRAWINGS[name]()


@pytest.mark.parametrize("name", DRAWINGS)
def test_pictures_are_small_and_of_the_colours_of_the_page(name: str) -> None:
    svg = drawn_once(name)
    assert len(svg) < 150_000
    assert "<image" not in svg
    assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg)) <= set(plots.THEME)


def test_no_global_state_is_touched() -> None:
    before = "matplotlib.pyplot" in sys.modules
    DRAWINGS["head_positive"]()
    assert ("matplotlib.pyplot" in sys.modules) == before


# ----------------------------------------------------------------------------------------------------------------- heads
def field(svg: str, colour: str) -> np.ndarray:
    """Return the corners of the layers of a colour, shape (corner, 2); those of the head alone, not of the colour bar."""
    layers = [
        e.get("d", "")
        for e in ElementTree.fromstring(svg).iter()
        if e.tag.endswith("path") and colour in e.get("style", "") and e.get("clip-path")
    ]
    numbers = [float(n) for layer in layers for n in re.findall(r"-?\d+(?:\.\d+)?", layer)]
    corners = np.array(numbers).reshape(-1, 2)
    return corners[corners[:, 1] < box(svg)[1] - 72 * plots_scalp.BAR_IN]


def box(svg: str) -> tuple[float, float]:
    """Return width and height in points."""
    words = str(ElementTree.fromstring(svg).get("viewBox")).split()
    return float(words[2]), float(words[3])


def middle(svg: str) -> float:
    return box(svg)[0] / 2


@pytest.mark.parametrize(("electrode", "left", "front"), [("F3", True, True), ("F4", False, True), ("P8", False, False)])
def test_a_value_is_drawn_where_its_electrode_lies(electrode: str, *, left: bool, front: bool) -> None:
    svg = topographic([Scalp("t", EMOTIV, np.array([float(name == electrode) for name in EMOTIV]))], "weight")
    strong = field(svg, TWO)
    every = field(topographic([Scalp("t", EMOTIV, np.ones(14))], "weight"), TWO)
    assert (strong[:, 0].mean() < middle(svg)) == left
    assert (strong[:, 1].mean() < every[:, 1].mean()) == front
    assert not field(svg, ONE).size


def test_the_sign_chooses_the_colour() -> None:
    values = np.array([montage.flat(name) or (0, 0) for name in EMOTIV])[:, 0]
    svg = topographic([Scalp("t", EMOTIV, values)], "r")
    flipped = topographic([Scalp("t", EMOTIV, -values)], "r")
    np.testing.assert_allclose(field(svg, TWO), field(flipped, ONE))
    assert field(svg, ONE)[:, 0].max() < middle(svg) < field(svg, TWO)[:, 0].min()


def test_nothing_has_no_colour_and_a_line_of_electrodes_has_no_field() -> None:
    for name in ("head_of_zeros", "head_of_a_line", "head_of_one", "head_of_nothing"):
        assert not field(drawn_once(name), TWO).size, name


def test_differences_of_nothing_do_not_look_like_something() -> None:
    small = np.linspace(-0.4, 0.4, 14)
    assert field(topographic([Scalp("t", EMOTIV, small)], "%"), TWO).size
    assert not field(topographic([Scalp("t", EMOTIV, small)], "%", least=10.0), TWO).size


def test_what_has_no_place_or_value_changes_nothing() -> None:
    plain = topographic([Scalp("t", EMOTIV, VALUES[:14])], "r")
    more = topographic([Scalp("t", (*EMOTIV, "EXG1", "Cz"), np.append(VALUES[:14], [90.0, np.nan]))], "r", least=0.0)
    assert field(plain, ONE).shape != (0, 2)
    assert plots_scalp.unplaced((*EMOTIV, "EXG1")) == ["EXG1"]
    # A channel without a place must not stretch the scale either.
    assert plain == more


def test_electrodes_are_named_alone_and_dots_in_a_row_of_heads() -> None:
    assert set(GENEVA) <= set(texts(drawn_once("head")))
    assert "Valence <&$" in texts(drawn_once("head"))
    assert not set(GENEVA) & set(texts(drawn_once("bands")))


def test_two_names_of_one_place_become_their_mean() -> None:
    names, places, values = plots_scalp._placed(Scalp("t", ("T7", "T3", "Cz"), np.array([1.0, 3.0, 5.0])))
    assert (names, values.tolist(), len(places)) == (["T7", "Cz"], [2.0, 5.0], 2)


@given(st.sets(st.sampled_from(sorted(montage.POSITIONS)), min_size=4, max_size=40))
def test_the_field_holds_all_electrodes_and_stays_in_the_head(names: set[str]) -> None:
    places = np.array([montage.flat(name) for name in sorted(names)])
    if not plots_scalp._spread(places):
        return
    around = plots_scalp._around(places)
    assert np.linalg.norm(around, axis=1).max() <= 1 + 1e-9
    edge = np.roll(around, -1, axis=0) - around
    inside = places[np.linalg.norm(places, axis=1) < 0.95]
    side = edge[:, 0] * (inside[:, None, 1] - around[:, 1]) - edge[:, 1] * (inside[:, None, 0] - around[:, 0])
    assert (side > -1e-9).all()


def test_names_and_values_must_match() -> None:
    with pytest.raises(ValueError, match="one value an electrode"):
        Scalp("t", ("Cz",), np.zeros(2))


# ------------------------------------------------------------------------------------------------------ classes and people
def test_a_confusion_tells_shares_of_the_reference_and_counts() -> None:
    told = texts(drawn_once("confusion"))
    assert {"80 %", "20 %", "10 %", "90 %", "8", "2", "1", "9", "low", "high <&$"} <= set(told)
    turned = texts(plots_affect.confusion([[8, 1], [2, 9]], ["low", "high"]))
    assert "89 %" in turned
    assert "80 %" not in turned


def test_a_class_that_never_came_has_no_shares() -> None:
    told = texts(drawn_once("confusion_nobody"))
    assert told.count("–") == 2
    assert "0 %" not in told


def bars(svg: str) -> list[tuple[str, float]]:
    """Return colour and left edge of each bar."""
    found = []
    for element in ElementTree.fromstring(svg).iter():
        style = element.get("style", "")
        colour = next((c for c in (ONE, TWO) if f"fill: {c}" in style), None)
        if element.tag.endswith("path") and colour and element.get("clip-path"):
            found.append((colour, float(re.findall(r"-?[\d.]+", element.get("d", ""))[0])))
    return sorted(found, key=lambda bar: bar[1])


def test_people_are_sorted_and_those_without_a_figure_left_out() -> None:
    drawn = bars(drawn_once("people"))
    assert len(drawn) == 22
    expected = [PEOPLE[i] for i in np.argsort(-np.where(np.isnan(FIGURE), -9, FIGURE), kind="stable")][:22]
    assert [word for word in texts(drawn_once("people")) if word.startswith("S")] == expected
    above = int((FIGURE > 0.5).sum())
    assert [colour for colour, _ in drawn] == [ONE] * above + [TWO] * (22 - above)


def test_who_does_no_better_than_a_constant_answer_is_marked() -> None:
    svg = plots_affect.per_subject(["a", "b"], [0.5, 0.4], 0.2, "balanced accuracy", [0.5, 0.25])
    assert [colour for colour, _ in bars(svg)] == [TWO, ONE]


def test_too_many_names_are_counted_instead() -> None:
    assert "123 people, sorted" in texts(drawn_once("people_many"))
