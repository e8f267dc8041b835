"""Laws of the named points of a pulse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal import Bandpass, DetectBeats, DetectFiducials
from biosig_mtl.signal.fiducials import derivative
from biosig_mtl.types import ChannelInfo, RecipeError, Record


def prepared(record: Record) -> Record:
    for step in (Bandpass("ppg", "ppg_12hz", 0.5, 12), DetectBeats("ppg_12hz"), DetectBeats("abp")):
        record = step(record)
    return DetectFiducials("abp")(DetectFiducials("ppg_12hz")(record))


def test_points_come_in_the_order_of_the_pulse(simulate: Any) -> None:
    beats = prepared(simulate(120, 1, 0.002).record).beats["ppg_12hz"]
    points, whole = beats.points, beats.end >= 0
    assert set(points) == {"foot", "u", "a", "b", "c", "d", "e", "notch", "diastolic"}
    for word in ("foot", "u", "a", "b", "e", "notch", "diastolic"):
        assert np.isfinite(points[word][whole]).mean() > 0.95, word
    assert all(np.isnan(values[~whole]).all() for values in points.values())
    for early, late in (("a", "u"), ("u", "b"), ("b", "e"), ("b", "c"), ("c", "d"), ("d", "e"), ("notch", "diastolic")):
        both = np.isfinite(points[early]) & np.isfinite(points[late])
        assert (points[early][both] <= points[late][both]).all(), (early, late)
    assert (points["u"][whole] <= beats.peak[whole]).all()
    known = np.isfinite(points["notch"])
    assert (points["notch"][known] > beats.peak[known]).all()
    assert (points["diastolic"][known] < beats.end[known]).all()


def test_notch_and_diastolic_peak_lie_where_they_were_put(simulate: Any) -> None:
    made = simulate(120, 2)
    beats = prepared(made.record).beats["ppg_12hz"]
    foot = beats.onset[beats.end >= 0] / 125
    notch, diastolic = (beats.points[w][beats.end >= 0] / 125 - foot for w in ("notch", "diastolic"))
    # The second wave of the simulated pulse is centred at 0.42 s, the valley before it at 0.34 s.
    assert abs(np.nanmedian(notch) - 0.34) < 0.04
    assert abs(np.nanmedian(diastolic) - 0.42) < 0.04


def test_the_foot_by_tangents_is_near_the_true_foot(simulate: Any) -> None:
    made = simulate(120, 3)
    beats = prepared(made.record).beats["abp"]
    assert set(beats.points) == {"foot", "u", "notch"}
    foot = beats.points["foot"] / 125
    nearest = made.foot_s[np.abs(made.foot_s[:, None] - foot[None]).argmin(axis=0)]
    assert abs(np.nanmedian(foot - nearest)) < 0.03
    assert np.nanstd(foot - nearest) < 0.01


def test_points_of_a_part_are_those_of_the_whole(simulate: Any) -> None:
    made = prepared(simulate(120, 4, 0.01).record).beats["ppg_12hz"]
    fractions = np.concatenate([v[np.isfinite(v)] for v in made.points.values()]) * 65536
    assert np.array_equal(fractions, np.round(fractions))


def test_derivatives_are_those_of_a_polynomial() -> None:
    time = np.arange(200) / 125
    x = 1 + 2 * time + 3 * time**2
    assert np.allclose(derivative(x, 0, 125.0)[10:-10], x[10:-10])
    assert np.allclose(derivative(x, 1, 125.0)[10:-10], (2 + 6 * time)[10:-10])
    assert np.allclose(derivative(x, 2, 125.0)[10:-10], 6)


def test_points_need_beats_of_a_fitting_kind(simulate: Any) -> None:
    record = simulate(20).record
    with pytest.raises(RecipeError, match="finds no beats 'ppg'; put 'detect_beats' before it"):
        DetectFiducials("ppg")(record)
    with pytest.raises(RecipeError, match="is of kind 'ecg'; points are known in ppg, abp"):
        DetectFiducials("ecg").plan({"ecg": ChannelInfo("ecg", "ecg", "mV", 125.0)})
    fine = {"ppg": ChannelInfo("ppg", "ppg", "au", 125.0)}
    assert DetectFiducials("ppg").plan(fine) is fine


def test_beats_without_an_end_have_no_points(simulate: Any) -> None:
    record = simulate(20).record
    short = DetectBeats("abp")(record)
    beats = short.beats["abp"]
    alone = type(beats)("abp", 125.0, beats.onset[:1], beats.peak[:1], np.array([-1]), beats.quality[:1])
    made = DetectFiducials("abp")(short.with_beats(alone)).beats["abp"]
    assert all(np.isnan(v).all() for v in made.points.values())
