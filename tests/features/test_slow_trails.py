"""Temperature and breathing on trails against courses that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.types import F32, F64
from tests.features.trails import alone, columns, trail, windows_with


def breathing(per_min: float, fs: float = 32.0, length_s: float = 60.0, depth: float = 2.0) -> F64:
    t = np.arange(round(length_s * fs)) / fs
    return (depth / 2 * np.sin(2 * np.pi * per_min / 60 * t + 1.0) + 7.0)[None]


def told(family: str, x: F64 | F32, fs: float) -> dict[str, F32]:
    return columns(windows_with({family: trail(family, family, x, fs)}), family)


@pytest.mark.parametrize("fs", [8.0, 25.0, 32.0, 128.0])
@pytest.mark.parametrize("per_min", [6.0, 12.0, 15.0, 25.0, 35.0])
def test_a_steady_breath(per_min: float, fs: float) -> None:
    made = told("resp", breathing(per_min, fs), fs)
    assert made["rate_per_min"] == pytest.approx(per_min, rel=0.02)
    # A mean over 0.4 s flattens quick breaths: sinc(0.4 s · f).
    assert made["amplitude"] == pytest.approx(2 * np.sinc(0.4 * per_min / 60), rel=0.05)
    assert made["interval_cv"] < 0.03


def test_uneven_breath_is_more_variable() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(0, 60, 1 / 32)
    ends = np.cumsum(rng.uniform(2.5, 5.5, 30))
    phase = np.interp(t, np.concatenate([[0], ends]), np.arange(31))
    made = told("resp", np.sin(2 * np.pi * phase)[None], 32.0)
    inside = np.diff(ends[ends < 59])
    assert made["interval_cv"] == pytest.approx(inside.std(ddof=1) / inside.mean(), abs=0.07)
    assert made["rate_per_min"] == pytest.approx(60 / inside.mean(), rel=0.07)


def test_ripple_is_no_breath_and_neither_gain_nor_offset_matters() -> None:
    x = breathing(12.0)
    noisy = x + 0.1 * np.random.default_rng(1).standard_normal(x.shape)
    plain = told("resp", noisy, 32.0)
    assert plain["rate_per_min"] == pytest.approx(12, rel=0.03)
    moved = told("resp", 40 * noisy - 300, 32.0)
    assert_allclose(moved["rate_per_min"], plain["rate_per_min"], rtol=1e-3)
    assert_allclose(moved["amplitude"], 40 * plain["amplitude"], rtol=1e-3)


@pytest.mark.parametrize("level", [0.0, 3.0, -1e4])
def test_no_movement_is_no_breath(level: float) -> None:
    assert all(np.isnan(value[0]) for value in told("resp", np.full((1, 1920), level), 32.0).values())


def test_a_short_or_broken_trail_has_no_breath() -> None:
    assert np.isnan(told("resp", breathing(15, length_s=15), 32.0)["rate_per_min"])
    holes = breathing(15)
    holes[:, 400:900] = np.nan
    assert np.isnan(told("resp", holes, 32.0)["rate_per_min"])
    late = breathing(15)
    late[:, :1100] = np.nan  # 25.6 s are known
    made = told("resp", late, 32.0)
    assert made["rate_per_min"] == pytest.approx(15, rel=0.02)
    assert np.isnan(made["interval_cv"])


def test_temperature_of_a_straight_line() -> None:
    """33 °C that fall by 0.3 °C a minute, some of it not known."""
    t = np.arange(240) / 4
    x = (33 - 0.3 * t / 60)[None]
    x[:, 30:44] = np.nan
    made = told("temp", x, 4.0)
    assert made["slope_degc_per_min"] == pytest.approx(-0.3, rel=1e-3)
    assert made["mean_degc"] == pytest.approx(np.nanmean(x), abs=2e-3)
    assert made["range_degc"] == pytest.approx(0.3 * 59 / 60, rel=1e-3)
    short = told("temp", x[:, -40:], 4.0)
    assert np.isfinite(short["mean_degc"])
    assert np.isnan([short["slope_degc_per_min"], short["range_degc"]]).all()


def test_a_constant_temperature_is_one() -> None:
    made = told("temp", np.full((1, 240), 32.5), 4.0)
    assert [float(made[name][0]) for name in ("mean_degc", "slope_degc_per_min", "range_degc")] == [32.5, 0, 0]


@pytest.mark.parametrize(("family", "fs"), [("temp", 4.0), ("resp", 32.0)])
def test_windows_do_not_touch(family: str, fs: float) -> None:
    rng = np.random.default_rng(2)
    x = np.concatenate([breathing(per_min, fs) for per_min in rng.uniform(8, 25, 9)])
    x += 0.05 * rng.standard_normal(x.shape)
    x[2, : x.shape[1] // 3], x[3] = np.nan, np.nan
    windows = windows_with({family: trail(family, family, x, fs)})
    whole = columns(windows, family)
    for k in range(len(x)):
        for name, value in columns(alone(windows, k), family).items():
            assert_array_equal(value, whole[name][k : k + 1], err_msg=name)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(["temp", "resp"]),
    arrays(np.float32, st.tuples(st.integers(0, 3), st.integers(1, 700)), elements=st.floats(width=32)),
    st.sampled_from([0.2, 1.0, 4.0, 25.0, 700.0]),
)
def test_no_trail_raises(family: str, x: F32, fs: float) -> None:
    made = told(family, x, fs)
    assert all(value.shape == (len(x),) and value.dtype == np.float32 for value in made.values())
    assert not any(np.isinf(value).any() for value in made.values())
