"""Numbers that hang on points, against a pulse whose points are set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Windows

Maker = Callable[..., Windows]
# Seconds after the foot: on the simulated pulse they need not be what they are called.
SET = {"v": 0.3, "w": 0.42, "f": 0.5, "p1": 0.2, "p2": 0.27, "c": 0.31, "d": 0.33}


def with_points(windows: Windows) -> Windows:
    b = windows.beats["ppg_12hz"]
    foot = b.points["foot"]
    return replace(
        windows,
        beats={**windows.beats, "ppg_12hz": replace(b, points={**b.points, **{k: foot + s * b.fs for k, s in SET.items()}})},
    )


def tell(windows: Windows, family: str = "pulse_points") -> dict[str, Any]:
    made = extract(windows, FeatureSettings(families=(family,)), BLOOD_PRESSURE)
    return dict(zip(made.names, made.values.T, strict=True))


@pytest.fixture(scope="module")
def points(simulate: Maker, pulse: Any) -> dict[str, Any]:
    return tell(with_points(simulate(pulse)))


def test_times_are_those_that_were_set(points: dict[str, Any], pulse: Any) -> None:
    known = pulse.times()
    for name, seconds in SET.items():
        assert_allclose(points[f"points.{name}_s"], seconds, atol=1e-5, err_msg=name)
    for name in "abe":
        assert_allclose(points[f"points.{name}_s"], known[name] - known["foot"], atol=1e-5)
    assert_allclose(points["points.p1_p2_s"], SET["p2"] - SET["p1"], atol=1e-5)
    assert_allclose(points["points.rate_per_min"], 60 / pulse.period_s, rtol=1e-3)
    for name in (*SET, "a", "b", "e"):
        assert (points[f"points.n.{name}"] >= 7).all()


def test_heights_and_derivatives_are_those_of_the_pulse(points: dict[str, Any], pulse: Any) -> None:
    t, x = pulse.fine()
    foot = pulse.times()["foot"]
    y = (x - x[0]) / (x.max() - x[0])
    slope, bend = np.gradient(x, t), np.gradient(np.gradient(x, t), t)
    height = {name: float(np.interp(foot + s, t, y)) for name, s in SET.items()}
    for name in ("v", "w", "f", "p1", "p2"):
        assert_allclose(points[f"points.{name}_height"], height[name], atol=0.01, err_msg=name)
    assert_allclose(points["points.augmentation_index"], height["p2"] - height["p1"], atol=0.015)
    assert_allclose(points["points.p2_p1"], height["p2"] / height["p1"], rtol=0.02)
    for name in "vw":
        assert_allclose(points[f"points.{name}_u"], np.interp(foot + SET[name], t, slope) / slope.max(), atol=0.03)
    a = np.interp(pulse.times()["a"], t, bend)
    assert_allclose(points["points.f_a"], np.interp(foot + SET["f"], t, bend) / a, atol=0.03)


def test_the_limbs_bend_as_the_pulse_does(points: dict[str, Any], pulse: Any) -> None:
    _, x = pulse.fine()
    y = (x - x[0]) / (x.max() - x[0])
    peak = int(np.argmax(y))
    up, down = y[: peak + 1] - np.linspace(0, 1, peak + 1), y[peak:] - np.linspace(1, 0, y.size - peak)
    for name, away in (("up", up), ("down", down)):
        assert_allclose(points[f"points.{name}_deviation"], away.mean(), atol=0.01)
        assert_allclose(points[f"points.{name}_above"], away.max(), atol=0.015)
        assert_allclose(points[f"points.{name}_below"], away.min(), atol=0.015)


def test_ipad_is_area_ratio_and_d_wave(simulate: Maker, pulse: Any, points: dict[str, Any]) -> None:
    shape = tell(with_points(simulate(pulse)), "pulse_shape")
    assert_allclose(points["points.ipad"], shape["pulse.inflection_area"] + shape["pulse.d_a"], atol=0.01)


def test_a_point_that_is_not_told_is_nan_and_counted_as_none(simulate: Maker, pulse: Any) -> None:
    made = tell(simulate(pulse))
    for name in ("v", "w", "f", "p1", "p2"):
        assert (made[f"points.n.{name}"] == 0).all()
        assert np.isnan(made[f"points.{name}_s"]).all()
        assert np.isnan(made[f"points.{name}_s.iqr"]).all()
    assert np.isfinite(made["points.a_s"]).all()
    assert np.isfinite(made["points.up_deviation"]).all()


def test_counts_are_of_the_beats_that_have_the_point(simulate: Maker, pulse: Any) -> None:
    windows = with_points(simulate(pulse, 1))
    b = windows.beats["ppg_12hz"]
    some = b.points["v"].copy()
    some[2:] = np.nan
    fewer = replace(windows, beats={"ppg_12hz": replace(b, points={**b.points, "v": some})})
    made = tell(fewer)
    assert made["points.n.v"][0] == 2
    assert np.isfinite(made["points.v_s"][0])
    assert np.isnan(made["points.v_s.iqr"][0])
    assert made["points.n.w"][0] == len(b)


def test_points_of_no_one_change_no_shape(simulate: Maker, pulse: Any) -> None:
    # Models that were trained on pulse_shape see what they saw.
    plain, more = tell(simulate(pulse), "pulse_shape"), simulate(pulse)
    b = more.beats["ppg_12hz"]
    added = {k: b.points["foot"] + SET[k] * b.fs for k in ("v", "w", "f", "p1", "p2")}
    made = tell(replace(more, beats={"ppg_12hz": replace(b, points={**b.points, **added})}), "pulse_shape")
    assert list(made) == list(plain)
    for name, value in plain.items():
        assert_array_equal(made[name], value, err_msg=name)


@pytest.mark.parametrize(("gain", "offset"), [(250.0, 0.0), (1.0, 30.0)])
def test_gain_and_offset_do_not_matter(simulate: Maker, pulse: Any, points: dict[str, Any], gain: float, offset: float) -> None:
    made = tell(with_points(simulate(pulse, gain=gain, offset=offset)))
    for name, value in points.items():
        assert_allclose(made[name], value, rtol=2e-3, atol=2e-3, err_msg=name)


def test_spread_has_the_ranges_that_shape_leaves_out(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse, length_s=12.0)
    shape, spread = tell(windows, "pulse_shape"), tell(windows, "pulse_spread")
    told = {name.removeprefix("pulse.").removesuffix(".iqr") for name in shape} - {"n_beats"}
    in_shape = {name.removeprefix("pulse.").removesuffix(".iqr") for name in shape if name.endswith(".iqr")}
    in_spread = {name.removeprefix("spread.").removesuffix(".iqr") for name in spread if name.endswith(".iqr")}
    assert in_shape | in_spread == told
    assert not in_shape & in_spread
    assert (spread["spread.n.a"] == shape["pulse.n_beats"]).all()
    assert (spread["spread.n.c"] == 0).all()
    # A steady pulse has next to none.
    assert (spread["spread.width_25_s.iqr"] < 3e-3).all()
