"""Laws of the picture of a recording: traces keep their extremes, beats of each mark differ, and nothing is drawn outside."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from biosig_mtl import plots_layout, plots_marks, plots_recording
from biosig_mtl.plots_recording import Panel, Stage, Stretch, draw, thin
from biosig_mtl.types import MARKS, Beats, Channel, Quality

FS = 100.0


def channel(seconds: float, name: str = "ppg", rate_hz: float = 1.0) -> Channel:
    time = np.arange(round(seconds * FS)) / FS
    return Channel(name, "ppg", "NU", FS, np.sin(2 * np.pi * rate_hz * time).astype(np.float32))


def beats(count: int, **more: Any) -> Beats:
    onset = np.arange(count, dtype=np.int64) * 100
    return Beats("ppg", FS, onset, onset + 25, onset + 100, np.ones(count, np.float32), **more)


def stage(panel: Panel, start: float, stop: float, **more: Any) -> Stage:
    return Stage("title", start, stop, (panel,), **more)


def legend(figure: Any) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def lines(axis: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axis.get_lines()}


@given(st.integers(1, 20_000), st.integers(0, 2**32 - 1), st.integers(10, 300))
def test_a_thinned_trace_keeps_its_extremes_in_order_and_few_points(size: int, seed: int, points: int) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=size).astype(np.float32)
    samples[rng.random(size) < 0.1] = np.nan
    at = thin(samples, points)
    assert at.size <= points
    assert (np.diff(at) > 0).all()
    known = samples[np.isfinite(samples)]
    if known.size:
        assert (np.nanmin(samples[at]), np.nanmax(samples[at])) == (known.min(), known.max())


def test_a_thinned_trace_breaks_where_all_is_missing() -> None:
    samples = np.sin(np.arange(100_000) / 50).astype(np.float32)
    samples[40_000:50_000] = np.nan
    at = thin(samples)
    assert at.size <= plots_recording.POINTS
    assert np.isnan(samples[at][(at >= 40_000) & (at < 50_000)]).all()
    assert ((at >= 40_000) & (at < 50_000)).any()
    assert thin(np.empty(0, np.float32)).size == 0


def test_a_trace_and_its_marks_lie_where_they_were_recorded() -> None:
    panel = Panel(channel(30), 100.0, "c", beats(28), Quality("ppg", 1.0, np.ones(30, np.float32)))
    figure: Any = draw(stage(panel, 110.0, 115.0))
    axis = figure.axes[0]
    assert axis.get_xlim() == (110.0, 115.0)
    drawn = lines(axis)
    np.testing.assert_allclose(drawn["beat"].get_xdata(), [110.25, 111.25, 112.25, 113.25, 114.25])
    np.testing.assert_allclose(drawn["beat"].get_ydata(), 1.0, atol=1e-6)
    np.testing.assert_allclose(drawn["onset"].get_xdata(), [110, 111, 112, 113, 114])


def test_beats_of_each_mark_look_different_and_unconfirmed_ones_lighter() -> None:
    count = 8
    mark = np.array([0, 1, 2, 3, 0, 1, 2, 3], np.int8)
    confirmed = np.arange(count) < 4
    figure: Any = draw(stage(Panel(channel(8), 0.0, "c", beats(count, mark=mark, confirmed=confirmed)), 0.0, 8.0))
    drawn = lines(figure.axes[0])
    styles = {
        name: (line.get_marker(), line.get_color(), line.get_markerfacecolor(), line.get_alpha())
        for name, line in drawn.items()
        if "beat" in name
    }
    assert len(set(styles.values())) == len(styles) == 8
    for name, (_, colour, face, alpha) in styles.items():
        assert (face == "white" and alpha < 1) if "not confirmed" in name else face == colour
    assert set(styles) <= set(legend(figure))


def test_points_are_named_where_there_is_room_and_nan_ones_left_out() -> None:
    at = np.arange(20) * 100.0
    points = {"u": at + 10, "notch": at + 50, "odd": np.where(np.arange(20) % 2, np.nan, at + 70)}
    panel = Panel(channel(20), 0.0, "c", beats(20, points=points))
    wide: Any = draw(stage(panel, 0.0, 5.0))
    words = [text.get_text() for text in wide.axes[0].texts]
    assert (words.count("u"), words.count("odd"), words.count("notch")) == (5, 3, 0)
    assert {"notch", "point, named beside it"} <= set(legend(wide))
    narrow: Any = draw(stage(panel, 0.0, 20.0))
    assert not narrow.axes[0].texts
    assert "notch" in legend(narrow)


def test_names_of_points_cover_neither_one_another_nor_a_point() -> None:
    at = np.arange(4) * 100.0
    points = {name: at + 20 + 2 * i for i, name in enumerate(["a", "b", "c", "d", "e", "f", "u", "v", "w"])}
    figure: Any = draw(stage(Panel(channel(4), 0.0, "c", beats(4, points=points)), 0.0, 4.0))
    texts = figure.axes[0].texts
    assert len(texts) == 36
    figure.canvas.draw()
    # Of the letters alone: the line to a point may cross others.
    boxes = np.array([Text.get_window_extent(t).extents for t in texts])
    covered = (boxes[:, None, :2] < boxes[None, :, 2:]) & (boxes[:, None, 2:] > boxes[None, :, :2])
    assert (covered.all(axis=2).sum(axis=1) == 1).all()


def test_an_hour_is_drawn_with_few_points_and_only_the_odd_beats() -> None:
    mark = np.zeros(3600, np.int8)
    mark[::100] = 1
    figure: Any = draw(stage(Panel(channel(3600), 0.0, "c", beats(3600, mark=mark)), 0.0, 3600.0))
    axis = figure.axes[0]
    assert max(line.get_xdata().size for line in axis.get_lines()) <= plots_recording.POINTS
    assert set(lines(axis)) & {"beat", "ectopic beat"} == {"ectopic beat"}
    assert "too close to be marked" in axis.get_title(loc="left")


def test_refused_stretches_are_named_in_the_picture_or_in_the_legend() -> None:
    refused = (Stretch(1.0, 4.0, "flat"), Stretch(5.0, 5.02, "missing"))
    figure: Any = draw(stage(Panel(channel(10), 0.0, "c", refused=refused), 0.0, 10.0))
    assert [text.get_text() for text in figure.axes[0].texts] == ["flat"]
    assert {"flat", "missing"} <= set(legend(figure))
    again: Any = draw(stage(Panel(channel(10), 0.0, "c", refused=refused[::-1]), 0.0, 10.0))
    first, second = (
        {words: handle.get_facecolor() for words, handle in zip(legend(one), one.legends[0].legend_handles, strict=True)}
        for one in (figure, again)
    )
    assert first == second  # a reason has one look, whatever comes first


def test_windows_shade_every_channel_and_name_their_reason_once() -> None:
    windows = (Stretch(0, 8, ""), Stretch(8, 16, "flat ppg"), Stretch(16, 24, "low signal quality in ppg"))
    both = (Panel(channel(24), 0.0, "a"), Panel(channel(24, "b"), 0.0, "b"))
    figure: Any = draw(Stage("t", 0.0, 24.0, both, windows=windows))
    top, _, row = figure.axes[:3]
    assert not top.texts
    assert [text.get_text() for text in row.texts] == ["kept", "flat ppg", "low signal quality in ppg"]
    assert all(axis.collections for axis in (top, row))


def test_a_missing_second_is_not_drawn_as_bad() -> None:
    track = Quality("ppg", 1.0, np.zeros(3, np.float32), {"missing": np.array([0, 1, 0.2], np.float32)})
    np.testing.assert_array_equal(plots_recording.known_quality(track), [0, np.nan, 0])


def test_far_values_are_left_out_of_the_axis_and_told() -> None:
    spoiled = channel(20)
    spoiled.samples[500] = 1e6
    figure: Any = draw(stage(Panel(spoiled, 0.0, "c"), 0.0, 20.0))
    assert figure.axes[0].get_ylim()[1] < 100
    assert "outside the picture" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("samples", [[], [1.0], [np.nan] * 50, [3e7] * 50, [0.0] * 50, [1e-9, 2e-9] * 30, [np.nan, 1.0]])
def test_odd_signals_are_drawn(samples: list[float]) -> None:
    one = Channel("ppg", "ppg", "", FS, np.array(samples, np.float32))
    track = Quality("ppg", 1.0, np.zeros(0 if not samples else 1, np.float32))
    none = Beats("ppg", FS, *(np.empty(0, np.int64),) * 3, np.empty(0, np.float32))
    figure = draw(stage(Panel(one, 0.0, "c", none, track), 0.0, 1.0, overview={"ppg": np.array([np.nan, 0.5])}))
    assert plots_layout.png(figure).startswith(b"\x89PNG")
    low, high = figure.axes[0].get_ylim()
    assert np.isfinite([low, high]).all()
    assert low < high


def test_many_names_of_a_legend_are_put_in_rows() -> None:
    assert plots_layout.columns(["beat", "onset"]) == (2, 1)
    assert plots_layout.columns(["x" * 50] * 4) == (2, 2)
    assert plots_layout.columns(["x" * 400] * 3) == (1, 3)


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00:00"), (3599.9999, "1:00:00"), (90061.5, "25:01:01.5")])
def test_times_of_long_recordings_are_counted_in_hours(seconds: float, words: str) -> None:
    assert plots_layout.clock_words(seconds) == words


def test_every_mark_has_a_look_and_a_meaning() -> None:
    assert set(plots_marks.PEAKS) == set(plots_marks.MEANINGS) == set(MARKS)


def test_no_global_state_is_touched() -> None:
    before = "matplotlib.pyplot" in sys.modules
    draw(stage(Panel(channel(3), 0.0, "c"), 0.0, 3.0))
    assert ("matplotlib.pyplot" in sys.modules) == before
