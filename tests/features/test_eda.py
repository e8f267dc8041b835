"""Skin conductance against courses whose level, slope and responses are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features import FeatureSettings, extract, least_length_s, required_trails
from biosig_mtl.features.eda import LEAST_S
from biosig_mtl.features.eda_parts import smooth, tonic
from biosig_mtl.features.trail_values import stretch
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F32, F64, RecipeError, Windows
from tests.features.trails import alone, columns, trail, windows_with

Bursts = Sequence[tuple[float, float]]
# Height of exp(−t/2) − exp(−t/0.75), whose top lies at 1.18 s.
TOP = 0.3472


def course(bursts: Bursts, fs: float = 4.0, length_s: float = 60.0, level: float = 5.0, per_min: float = 0.0) -> F64:
    """Return conductance in µS with responses of known start and height on a straight line, shape (1, time)."""
    t = np.arange(round(length_s * fs)) / fs
    x = level + per_min * t / 60
    for start, height in bursts:
        after = np.maximum(t - start, 0)
        x = x + height / TOP * (np.exp(-after / 2) - np.exp(-after / 0.75))
    return x[None]


def of(x: F64 | F32, fs: float = 4.0) -> Windows:
    return windows_with({"eda": trail("eda", "eda", x, fs)})


def told(x: F64 | F32, fs: float = 4.0) -> dict[str, F32]:
    return columns(of(x, fs), "eda")


APART: Bursts = ((5, 0.3), (18, 0.5), (31, 0.2), (44, 1.0))


@pytest.mark.parametrize("fs", [2.0, 4.0, 8.0, 15.0, 32.0, 128.0])
def test_known_bursts_are_found_at_every_rate(fs: float) -> None:
    made = told(course(APART, fs, per_min=0.6), fs)
    assert made["scr_per_min"] == pytest.approx(4, abs=0.1)
    # A mean over a second takes a little off the tops; at 2 Hz the samples miss them.
    assert made["scr_amplitude_mean_us"] == pytest.approx(0.5, rel=0.12)
    assert made["scr_amplitude_sum_us_per_min"] == pytest.approx(2.0, rel=0.12)
    assert made["scr_rise_s"] == pytest.approx(1.5, abs=0.5)
    assert made["scl_slope_us_per_min"] == pytest.approx(0.6, abs=0.05)
    # The area of a response of height 1 is (2 − 0.75) / TOP.
    assert made["phasic_area_us_s_per_min"] == pytest.approx(2.0 * 1.25 / TOP, rel=0.08)
    assert made["phasic_tonic_ratio"] == pytest.approx(2.0 * 1.25 / TOP / 60 / 5.3, rel=0.08)
    assert made["flat_share"] == 0


def test_the_tonic_part_is_the_line_below_the_responses() -> None:
    x = course((*APART, (20, 0.3), (50, 0.4)), per_min=1.0)
    known = stretch(x.astype(np.float32), 4.0, 4.0)
    assert_allclose(tonic(smooth(known.values, 4.0), known), course((), per_min=1.0), atol=0.03)


def test_level_and_slope_without_responses() -> None:
    made = told(course((), per_min=-0.3, level=2.0))
    assert made["scl_mean_us"] == pytest.approx(2.0 - 0.15 + 0.3 / 60 / 8, abs=1e-3)
    assert made["scl_slope_us_per_min"] == pytest.approx(-0.3, abs=1e-3)
    assert made["scr_per_min"] == 0
    assert made["scr_amplitude_sum_us_per_min"] == 0
    assert made["phasic_area_us_s_per_min"] == pytest.approx(0, abs=0.01)
    assert np.isnan(made["scr_amplitude_mean_us"])
    assert np.isnan(made["scr_rise_s"])


def test_no_skin_under_the_sensor() -> None:
    made = told(np.full((1, 240), 1.5))
    assert made.pop("flat_share") == 1
    assert all(np.isnan(value) for value in made.values())


def test_an_offset_moves_the_level_alone_and_a_gain_scales_amplitudes() -> None:
    x = course(APART)
    plain, higher, larger = told(x), told(x + 3), told(2 * x)
    for name in set(plain) - {"scl_mean_us", "phasic_tonic_ratio"}:
        assert_allclose(higher[name], plain[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert_allclose(higher["scl_mean_us"], plain["scl_mean_us"] + 3, rtol=1e-6)
    for name in plain:
        factor = 2 if "_us" in name else 1
        assert_allclose(larger[name], factor * plain[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_what_began_before_the_trail_or_peaks_after_it_is_left_out() -> None:
    assert told(course(((-1.0, 1.0),), per_min=0.1))["scr_per_min"] == 0
    assert told(course(((59.2, 1.0),), per_min=0.1))["scr_per_min"] == 0
    assert told(course(((30.0, 1.0),), per_min=0.1))["scr_per_min"] == 1


def test_rates_are_per_minute_of_what_is_known() -> None:
    x = course(((40.0, 0.5), (50.0, 0.5)))
    x[:, :120] = np.nan
    made = told(x)
    assert made["scr_per_min"] == pytest.approx(4)
    assert made["scr_amplitude_mean_us"] == pytest.approx(0.5, rel=0.05)
    assert made["scl_mean_us"] == pytest.approx(x[:, 120:].mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("hole", "gone"),
    [
        (slice(0, 170), {name for name, least in LEAST_S.items() if least > 17.6}),  # 17.5 s are known
        (slice(0, 235), set(LEAST_S)),
        (slice(100, 160), set(LEAST_S)),  # a quarter is missing in the middle
        (slice(100, 140), set()),
    ],
)
def test_too_little_is_not_told(hole: slice, gone: set[str]) -> None:
    x = course(((5, 0.3), (52, 0.5)))
    x[:, hole] = np.nan
    assert {name for name, value in told(x).items() if np.isnan(value[0])} == gone


def test_a_short_trail_tells_its_level_alone() -> None:
    made = told(course(APART, length_s=6.0))
    assert {name for name, value in made.items() if np.isfinite(value[0])} == {"scl_mean_us", "flat_share"}
    assert all(np.isnan(value[0]) for value in told(course(APART, length_s=2.0)).values())


def test_a_slow_sensor_shows_no_responses() -> None:
    made = told(course(APART, fs=1.0), 1.0)
    assert np.isfinite([made["scl_mean_us"], made["scl_slope_us_per_min"]]).all()
    assert np.isnan([made["scr_per_min"], made["phasic_area_us_s_per_min"]]).all()


def test_windows_do_not_touch() -> None:
    rng = np.random.default_rng(3)
    x = np.concatenate([course(tuple((s, 0.1 + 0.1 * k) for s in rng.uniform(0, 60, k))) for k in range(12)])
    x += 0.01 * rng.standard_normal(x.shape)
    x[3, :90], x[4, 60:70], x[5], x[6] = np.nan, np.nan, np.nan, 2.0
    windows = of(x)
    whole = columns(windows, "eda")
    for k in range(12):
        for name, value in columns(alone(windows, k), "eda").items():
            assert_array_equal(value, whole[name][k : k + 1], err_msg=name)


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(1, 300)), elements=st.floats(width=32)),
    st.sampled_from([0.2, 1.0, 4.0, 5.0, 64.0, 700.0]),
)
def test_no_trail_raises(x: F32, fs: float) -> None:
    made = told(x, fs)
    assert all(value.shape == (len(x),) and value.dtype == np.float32 for value in made.values())
    assert not any(np.isinf(value).any() for value in made.values())


def test_names_are_there_without_a_trail() -> None:
    windows = windows_with({}, 3)
    made = columns(windows, "eda")
    assert [f"eda.{name}" for name in made] == [name for name in least_length_s if name.startswith("eda.")]
    assert all(np.isnan(value).all() for value in made.values())
    assert required_trails(FeatureSettings(("eda", "temp"))) == ("eda", "temp")
    assert required_trails(FeatureSettings(("person",))) == ()


def test_a_trail_that_is_the_label_is_barred() -> None:
    windows = windows_with({"eda": trail("eda", "label", course(APART), 4.0)})
    with pytest.raises(RecipeError, match="'eda' is the reference of affect"):
        extract(windows, FeatureSettings(("eda",)), AFFECT)


def test_level_and_counts_beside_neurokit(data_root: Path) -> None:
    """On a real wrist: the same tonic level from minute to minute, and responses in the same minutes."""
    nk = pytest.importorskip("neurokit2")
    with ZipFile(data_root / "emotion/stress_predict/S05.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("EDA.csv"))
        x = np.array(archive.read(name).split(), dtype=np.float64)[3:]
    minutes = x.size // 240
    parts = nk.eda_phasic(x, sampling_rate=4, method="highpass")
    level = parts["EDA_Tonic"].to_numpy()[: minutes * 240].reshape(minutes, 240)
    peaks = nk.eda_peaks(parts["EDA_Phasic"].to_numpy(), sampling_rate=4, amplitude_min=0.01)[1]
    # Its threshold is a share of the largest response in the recording; ours is in µS.
    found = np.asarray(peaks["SCR_Peaks"])[np.asarray(peaks["SCR_Height"]) > 0.05]
    count = np.bincount(found.astype(int) // 240, minlength=minutes)[:minutes]
    made = told(x[: minutes * 240].reshape(minutes, 240))
    assert np.corrcoef(level.mean(axis=1), made["scl_mean_us"])[0, 1] > 0.99
    known = np.isfinite(made["scr_per_min"])
    assert known.sum() > 40
    assert np.corrcoef(count[known], made["scr_per_min"][known])[0, 1] > 0.6
