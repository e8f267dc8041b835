"""The last seconds of a trail against all of it: signs, sizes, and that a trail cut short is a short trail."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features import FeatureSettings, extract, reasons, required_trails
from biosig_mtl.features.trail_values import recent
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F32, F64, RecipeError, Trail, Windows
from tests.features.trails import r_peaks, trail, windows_with

NOW_S = 60.0
FAMILIES = ("eda_change", "ppg_change", "ecg_change", "temp_change")


def told(windows: Windows, *families: str, recent_s: float | None = NOW_S) -> dict[str, F32]:
    made = extract(windows, FeatureSettings(families, recent_s=recent_s), AFFECT)
    return dict(zip(made.names, made.values.T, strict=True))


def steps(before: float, now: float, fs: float = 4.0, length_s: float = 240.0, rows: int = 1) -> F64:
    """Return a level that changes for the last minute, with a ripple that no sensor is without."""
    t = np.arange(round(length_s * fs)) / fs
    return np.tile(np.where(t < length_s - NOW_S, before, now) * (1 + 0.001 * np.sin(2 * np.pi * t / 7)), (rows, 1))


def test_a_level_that_doubles() -> None:
    """Four minutes of which the last has twice the level: ln 2 / 1.25."""
    made = told(windows_with({"eda": trail("eda", "eda", steps(2, 4), 4.0)}), "eda_change")
    assert made["eda_change.scl_log"] == pytest.approx(np.log(4 / 2.5), abs=0.01)
    scaled = told(windows_with({"eda": trail("eda", "eda", 10 * steps(2, 4), 4.0)}), "eda_change")
    assert_allclose(scaled["eda_change.scl_log"], made["eda_change.scl_log"], rtol=1e-4)


def test_a_temperature_that_falls() -> None:
    made = told(windows_with({"temp": trail("temp", "temp", steps(34, 33), 4.0)}), "temp_change")
    assert made["temp_change.mean_degc"] == pytest.approx(33 - 33.75, abs=0.01)


def test_a_heart_that_quickens() -> None:
    """Three minutes at 60 and one at 90 a minute: the typical interval of all four lasts a second."""
    beats = np.concatenate([np.arange(0, 180, 1.0), np.arange(180, 240, 60 / 90)])
    made = told(windows_with({"ecg": trail("ecg", "ecg", np.zeros((1, 960)), 4.0, r_peaks([beats], 1000.0))}), "ecg_change")
    assert made["ecg_change.rate_per_min"] == pytest.approx(90 - 60, abs=0.3)


def test_more_responses_now_than_before() -> None:
    t = np.arange(960) / 4
    x = 3 + 0.001 * np.sin(t)
    for start in (*range(20, 180, 40), *range(184, 236, 8)):
        after = np.maximum(t - start, 0)
        x = x + 0.3 / 0.3472 * (np.exp(-after / 2) - np.exp(-after / 0.75))
    made = told(windows_with({"eda": trail("eda", "eda", x[None], 4.0)}), "eda_change")
    # 7 in the last minute, 11 in all four.
    assert made["eda_change.scr_per_min"] == pytest.approx(7 - 11 / 4, abs=0.1)
    assert made["eda_change.phasic_log"] > 0.5


def test_what_is_known_for_less_than_twice_as_long_is_not_compared() -> None:
    x = steps(2, 4, rows=3)
    x[1, : 4 * 130], x[2, : 4 * 110] = np.nan, np.nan
    made = told(windows_with({"eda": trail("eda", "eda", x, 4.0)}), "eda_change")["eda_change.scl_log"]
    assert_array_equal(np.isnan(made), [False, True, False])
    shorter = told(windows_with({"eda": trail("eda", "eda", x, 4.0)}), "eda_change", recent_s=50)["eda_change.scl_log"]
    assert not np.isnan(shorter).any()


def test_without_a_length_the_last_quarter_is_now() -> None:
    windows = windows_with({"temp": trail("temp", "temp", steps(34, 33), 4.0)})
    quarter, minute = (told(windows, "temp_change", recent_s=s)["temp_change.mean_degc"] for s in (None, 60.0))
    assert_array_equal(quarter, minute)


def test_families_look_at_the_last_seconds_as_at_a_short_trail() -> None:
    rng = np.random.default_rng(0)
    beats = np.cumsum(rng.uniform(0.7, 0.9, 330))
    beats = beats[beats < 240]
    x = np.cumsum(rng.normal(0, 0.01, (1, 960)), axis=1) + 5
    late = beats[beats >= 180] - 180
    long = {"eda": trail("eda", "eda", x, 4.0), "ecg": trail("ecg", "ecg", x, 4.0, r_peaks([beats], 1000.0))}
    short = {
        "eda": trail("eda", "eda", x[:, -240:], 4.0),
        "ecg": trail("ecg", "ecg", x[:, -240:], 4.0, r_peaks([late], 1000.0)),
    }
    one, other = told(windows_with(long), "eda", "ecg_hrv"), told(windows_with(short), "eda", "ecg_hrv", recent_s=None)
    for name, value in one.items():
        assert_allclose(value, other[name], rtol=1e-4, atol=1e-7, err_msg=name)
    assert np.isfinite(one["ecg_hrv.lf_hf"]).all()


@pytest.mark.parametrize("length_s", [0.1, 30.0, 59.9])
def test_the_last_seconds_keep_the_end(length_s: float) -> None:
    x = np.arange(240, dtype=np.float64)[None]
    cut = recent(trail("eda", "eda", x, 4.0, r_peaks([np.arange(0, 60, 0.8)], 1000.0)), length_s)
    assert cut.signal[0, -1] == 239
    assert cut.signal.shape[1] == max(round(4 * length_s), 1)
    assert cut.beats is not None
    assert cut.beats.onset.min(initial=0) >= 0
    assert recent(cut, 1e6) is cut
    assert recent(cut, None) is cut


def test_reasons_of_a_comparison() -> None:
    settings = FeatureSettings(("eda_change", "eda"), recent_s=60.0)
    assert required_trails(settings) == ("eda",)
    assert set(reasons(settings, {"eda": 100.0})) == {f"eda_change.{name}" for name in ("scl_log", "scr_per_min", "phasic_log")}
    assert reasons(settings, {"eda": 120.0}) == {}
    told_ = reasons(FeatureSettings(("ecg_hrv",), recent_s=20.0), {"ecg": 600.0})
    assert told_["ecg_hrv.rmssd_s"] == "20 s of 'ecg' are too short: ecg_hrv.rmssd_s needs 30 s"
    with pytest.raises(ValueError, match="need recent_s > 0"):
        FeatureSettings(("eda",), recent_s=0.0)


def test_a_label_is_barred_here_too() -> None:
    with pytest.raises(RecipeError, match="'temp' is the reference"):
        told(windows_with({"temp": trail("temp", "label", steps(1, 2), 4.0)}), "temp_change")


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(0, 300)), elements=st.floats(width=32)),
    st.sampled_from([0.2, 4.0, 64.0]),
    st.sampled_from([None, 0.5, 20.0]),
)
def test_no_trail_raises(x: F32, fs: float, recent_s: float | None) -> None:
    peaks = r_peaks([np.arange(0, x.shape[1] / fs, 0.9) for _ in x], 64.0) if len(x) else None
    trails: dict[str, Trail] = {name: trail(name, name, x, fs, peaks) for name in ("eda", "ppg", "ecg", "temp")}
    made = told(windows_with(trails, len(x)), *FAMILIES, "eda", "ppg_prv", "ecg_hrv", "temp", recent_s=recent_s)
    assert all(value.shape == (len(x),) and value.dtype == np.float32 for value in made.values())
    assert not any(np.isinf(value).any() for value in made.values())
