"""Shape numbers against a pulse whose shape is known on a fine grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import WindowBeats, Windows

SHAPE = FeatureSettings(families=("pulse_shape",))
Maker = Callable[..., Windows]


@pytest.fixture(scope="module")
def shape(simulate: Maker, pulse: Any) -> dict[str, Any]:
    made = extract(simulate(pulse), SHAPE, BLOOD_PRESSURE)
    return dict(zip(made.names, made.values.T, strict=True))


def fine_width(pulse: Any, level: float) -> tuple[float, float]:
    """Return the systolic and diastolic width in seconds at a share of the height."""
    t, x = pulse.fine()
    y = (x - x[0]) / (x.max() - x[0])
    peak = int(np.argmax(y))
    start = np.flatnonzero(y[:peak] <= level)[-1]
    stop = peak + np.flatnonzero(y[peak:] <= level)[0]
    return float(t[peak] - t[start]), float(t[stop] - t[peak])


def test_times_are_those_of_the_pulse(shape: dict[str, Any], pulse: Any) -> None:
    known = pulse.times()
    assert_allclose(shape["pulse.period_s"], pulse.period_s, atol=1e-3)
    assert_allclose(shape["pulse.crest_time_s"], known["peak"] - known["foot"], atol=1e-3)
    assert_allclose(shape["pulse.crest_share"], (known["peak"] - known["foot"]) / pulse.period_s, atol=1e-3)
    assert_allclose(shape["pulse.peak_notch_s"], known["notch"] - known["peak"], atol=1e-3)
    assert_allclose(shape["pulse.peak_diastolic_s"], known["diastolic"] - known["peak"], atol=1e-3)
    assert_allclose(shape["pulse.systole_s"] + shape["pulse.diastole_s"], pulse.period_s, atol=1e-3)
    assert_allclose(shape["pulse.u_time_s"], known["u"] - known["foot"], atol=1e-3)
    assert (shape["pulse.n_beats"] >= 7).all()


@pytest.mark.parametrize("percent", [10, 25, 33, 50, 66, 75, 90])
def test_widths_are_those_of_the_pulse(shape: dict[str, Any], pulse: Any, percent: int) -> None:
    systolic, diastolic = fine_width(pulse, percent / 100)
    # A sample lasts 8 ms; linear interpolation between samples leaves a fraction of it.
    assert_allclose(shape[f"pulse.width_{percent}_systolic_s"], systolic, atol=2.5e-3)
    assert_allclose(shape[f"pulse.width_{percent}_diastolic_s"], diastolic, atol=2.5e-3)
    assert_allclose(shape[f"pulse.width_{percent}_s"], systolic + diastolic, atol=2.5e-3)
    assert_allclose(shape[f"pulse.width_{percent}_share"], (systolic + diastolic) / pulse.period_s, atol=4e-3)


def test_areas_add_up_and_match(shape: dict[str, Any], pulse: Any) -> None:
    t, x = pulse.fine()
    y = (x - x[0]) / (x.max() - x[0])
    known = pulse.times()
    parts = [shape[f"pulse.area_{k}"] for k in (1, 2, 3, 4)]
    assert_allclose(sum(parts), 1, atol=2e-3)
    assert_allclose(shape["pulse.area_share"], y.mean(), atol=3e-3)
    edges = [known[key] for key in ("foot", "u", "peak", "notch")] + [known["foot"] + pulse.period_s]
    for part, low, high in zip(parts, edges[:-1], edges[1:], strict=True):
        assert_allclose(part, y[(t >= low) & (t < high)].sum() / y.sum(), atol=5e-3)
    assert_allclose(shape["pulse.inflection_area"], parts[3] / (parts[0] + parts[1] + parts[2]), rtol=5e-3)


def test_heights_and_slopes_match(shape: dict[str, Any], pulse: Any) -> None:
    t, x = pulse.fine()
    y = (x - x[0]) / (x.max() - x[0])
    known = pulse.times()
    assert_allclose(shape["pulse.notch_height"], np.interp(known["notch"], t, y), atol=4e-3)
    assert_allclose(shape["pulse.reflection_index"], np.interp(known["diastolic"], t, y), atol=4e-3)
    slope = np.gradient(y, t)
    assert_allclose(shape["pulse.up_slope_per_s"], slope.max(), rtol=0.02)
    assert_allclose(shape["pulse.down_slope_per_s"], slope.min(), rtol=0.02)
    assert_allclose(shape["pulse.down_up"], slope.min() / slope.max(), rtol=0.02)
    later = slope[int(np.argmin(slope)) :].max()
    assert_allclose(shape["pulse.rebound_up"], later / slope.max(), rtol=0.05)


def test_second_derivative_ratios_match(shape: dict[str, Any], pulse: Any) -> None:
    t, x = pulse.fine()
    w = np.gradient(np.gradient(x, t), t)
    known = pulse.times()
    a, b, e = (np.interp(known[key], t, w) for key in "abe")
    assert_allclose(shape["pulse.b_a"], b / a, rtol=0.03)
    assert_allclose(shape["pulse.e_a"], e / a, rtol=0.05, atol=0.01)
    assert_allclose(shape["pulse.be_a"], (b - e) / a, rtol=0.05)
    assert_allclose(shape["pulse.a_b_s"], known["b"] - known["a"], atol=1e-4)
    # A wave that does not exist leaves its ratios unknown.
    assert np.isnan(shape["pulse.c_a"]).all()


def test_moments_and_harmonics_match(shape: dict[str, Any], pulse: Any) -> None:
    _, x = pulse.fine()
    z = (x - x.mean()) / x.std()
    assert_allclose(shape["pulse.skewness"], (z**3).mean(), atol=0.02)
    assert_allclose(shape["pulse.kurtosis"], (z**4).mean() - 3, atol=0.04)
    power = np.abs(np.fft.rfft(x))[1:11] ** 2
    for k in range(4):
        assert_allclose(shape[f"pulse.harmonic_{k + 1}"], power[k] / power.sum(), atol=5e-3)


def test_a_steady_pulse_has_no_spread(shape: dict[str, Any]) -> None:
    assert_allclose(shape["pulse.period_s.iqr"], 0, atol=1e-5)
    assert (shape["pulse.crest_time_s.iqr"] < 2e-3).all()


@pytest.mark.parametrize(("gain", "offset"), [(250.0, 0.0), (1e-3, 0.0), (1.0, 3.0), (40.0, -100.0)])
def test_shape_does_not_depend_on_gain_and_offset(
    simulate: Maker, pulse: Any, shape: dict[str, Any], gain: float, offset: float
) -> None:
    made = extract(simulate(pulse, gain=gain, offset=offset), SHAPE, BLOOD_PRESSURE)
    for name, value in zip(made.names, made.values.T, strict=True):
        assert_allclose(value, shape[name], rtol=2e-3, atol=2e-3, err_msg=name)


def test_shape_does_not_depend_on_the_sampling_rate(simulate: Maker, pulse: Any, shape: dict[str, Any]) -> None:
    made = extract(simulate(pulse, fs=500.0), SHAPE, BLOOD_PRESSURE)
    for name in ("crest_time_s", "width_50_s", "area_share", "notch_height", "b_a", "harmonic_2"):
        value = made.values[:, made.names.index(f"pulse.{name}")]
        assert_allclose(value, shape[f"pulse.{name}"], rtol=0.03, atol=2e-3, err_msg=name)


def test_baseline_wander_drops_out(simulate: Maker, pulse: Any, shape: dict[str, Any]) -> None:
    windows = simulate(pulse)
    slope = np.arange(windows.signal.shape[-1], dtype=np.float32) / windows.fs * 0.02
    made = extract(replace(windows, signal=windows.signal + slope), SHAPE, BLOOD_PRESSURE)
    for name in ("pulse.area_share", "pulse.width_25_s", "pulse.notch_height", "pulse.harmonic_1", "pulse.b_a"):
        assert_allclose(made.values[:, made.names.index(name)], shape[name], rtol=0.01, err_msg=name)


def test_short_windows_have_medians_but_no_spread(simulate: Maker, pulse: Any, column: Callable[..., Any]) -> None:
    made = extract(simulate(pulse, length_s=2.1), SHAPE, BLOOD_PRESSURE)
    assert set(column(made, "pulse.n_beats")) <= {1.0, 2.0}
    assert np.isfinite(column(made, "pulse.width_50_s")).all()
    assert np.isnan(column(made, "pulse.width_50_s.iqr")).all()


def test_one_bad_beat_does_not_move_the_median(simulate: Maker, pulse: Any, shape: dict[str, Any]) -> None:
    windows = simulate(pulse)
    signal = windows.signal.copy()
    first = windows.beats["ppg_12hz"].peak[1]
    signal[0, :, first - 3 : first + 30] = 5
    made = extract(replace(windows, signal=signal), SHAPE, BLOOD_PRESSURE)
    for name in ("pulse.crest_time_s", "pulse.width_50_s", "pulse.notch_height"):
        assert_allclose(made.values[0, made.names.index(name)], shape[name][0], rtol=0.01)


def test_impossible_beats_are_not_counted(simulate: Maker, pulse: Any, column: Callable[..., Any]) -> None:
    windows = simulate(pulse, 1)
    b = windows.beats["ppg_12hz"]
    good = extract(windows, SHAPE, BLOOD_PRESSURE)
    # Unknown end, end beyond the window, peak before the foot, ten seconds long, upside down.
    wrong = np.array([[10, 20, -1], [950, 980, 1100], [300, 290, 380], [0, 100, 999], [130, 180, 181]])
    onset, peak, end = (np.concatenate([old, wrong[:, k]]) for k, old in enumerate((b.onset, b.peak, b.end)))
    count = onset.size
    points = {key: np.concatenate([value, np.full(len(wrong), np.nan)]) for key, value in b.points.items()}
    more = WindowBeats(b.channel, b.fs, np.zeros(count, np.int64), onset, peak, end, np.ones(count, np.float32), points)
    made = extract(replace(windows, beats={"ppg_12hz": more}), SHAPE, BLOOD_PRESSURE)
    assert column(made, "pulse.n_beats")[0] == column(good, "pulse.n_beats")[0]


def test_beats_without_fiducials_still_have_their_geometry(simulate: Maker, pulse: Any, column: Callable[..., Any]) -> None:
    windows = simulate(pulse)
    plain = replace(windows.beats["ppg_12hz"], points={})
    made = extract(replace(windows, beats={"ppg_12hz": plain}), SHAPE, BLOOD_PRESSURE)
    # The foot is then known to a sample.
    known = pulse.times()
    assert_allclose(column(made, "pulse.crest_time_s"), known["peak"] - known["foot"], atol=8e-3)
    assert np.isnan(column(made, "pulse.notch_height")).all()


def test_times_count_from_the_foot_and_heights_from_the_onset(simulate: Maker, pulse: Any, shape: dict[str, Any]) -> None:
    # A foot by tangents lies later than the lowest point.
    windows = simulate(pulse)
    b = windows.beats["ppg_12hz"]
    later = replace(b, points={**b.points, "foot": b.points["foot"] + 4})
    made = extract(replace(windows, beats={"ppg_12hz": later}), SHAPE, BLOOD_PRESSURE)
    moved = dict(zip(made.names, made.values.T, strict=True))
    assert_allclose(moved["pulse.crest_time_s"], shape["pulse.crest_time_s"] - 4 / 125, atol=1e-4)
    for name in ("pulse.width_25_s", "pulse.area_share", "pulse.notch_height", "pulse.period_s", "pulse.rise_s"):
        assert_allclose(moved[name], shape[name], rtol=1e-5, err_msg=name)


def test_beats_at_another_rate_mean_the_same(simulate: Maker, pulse: Any, shape: dict[str, Any]) -> None:
    windows = simulate(pulse)
    b = windows.beats["ppg_12hz"]
    points = {key: value * 4 for key, value in b.points.items()}
    finer = WindowBeats(b.channel, 500.0, b.window, b.onset * 4, b.peak * 4, b.end * 4, b.quality, points)
    made = extract(replace(windows, beats={"ppg_12hz": finer}), SHAPE, BLOOD_PRESSURE)
    assert_allclose(made.values[:, 1], shape[made.names[1]], rtol=1e-6)
