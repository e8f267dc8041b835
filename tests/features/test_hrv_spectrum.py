"""Power in bands: a modulation of known depth comes back, and the method is the one that is told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.interpolate import CubicSpline
from scipy.signal import welch

from biosig_mtl.features.beat_intervals import Intervals
from biosig_mtl.features.hrv_spectrum import powers
from biosig_mtl.types import F64


def modulated(hz: float, depth_s: float, rr_s: float = 0.7, length_s: float = 300.0, window: int = 0) -> Intervals:
    t = [0.0]
    while t[-1] < length_s - 2 * rr_s:
        t.append(t[-1] + rr_s + depth_s * np.sin(2 * np.pi * hz * t[-1]))
    end, n = np.array(t[1:]), len(t) - 1
    return Intervals(np.full(n, window), np.diff(t), end, np.arange(n) > 0, np.ones(n, bool))


@pytest.mark.parametrize(
    ("hz", "band"), [(0.02, "vlf_ms2"), (0.08, "lf_ms2"), (0.12, "lf_ms2"), (0.2, "hf_ms2"), (0.3, "hf_ms2")]
)
def test_a_modulation_has_half_its_squared_depth_in_its_band(hz: float, band: str) -> None:
    made = powers(modulated(hz, 0.02), 1, 300.0)
    expected = 1000**2 * 0.02**2 / 2
    assert made[band][0] == pytest.approx(expected, rel=0.06)
    others = {"vlf_ms2", "lf_ms2", "hf_ms2"} - {band}
    assert all(made[other][0] < 0.05 * expected for other in others)
    assert made["total_ms2"][0] == pytest.approx(sum(made[name][0] for name in ("vlf_ms2", "lf_ms2", "hf_ms2")))
    assert made["lfn"][0] + made["hfn"][0] == pytest.approx(1)


def reference(nn: Intervals, band: tuple[float, float]) -> float:
    """Return the same by scipy: natural spline, three Hann segments of half the window."""
    x: F64 = 1000 * nn.seconds
    n = int(np.floor((nn.end_s[-1] - nn.end_s[0]) * 4)) + 1
    series = CubicSpline(nn.end_s, x, bc_type="natural")(nn.end_s[0] + np.arange(n) / 4)
    parts = [series[round(k * (n - 600) / 2) :][:600] for k in range(3)]
    found = [welch(part, 4.0, nperseg=600, nfft=1200, detrend="constant") for part in parts]
    hz, density = found[0][0], np.mean([d for _, d in found], axis=0)
    width = hz[1]
    share = np.clip(np.minimum(hz + width / 2, band[1]) - np.maximum(hz - width / 2, band[0]), 0, None)
    return float(density @ share)


def test_it_is_spline_and_welch() -> None:
    rng = np.random.default_rng(5)
    nn = modulated(0.25, 0.03)
    shaken = nn.seconds + 0.02 * rng.normal(size=nn.seconds.size)
    end = np.cumsum(shaken)
    noisy = Intervals(nn.window, shaken, end, nn.follows, nn.normal)
    made = powers(noisy, 1, 300.0)
    for name, band in {"vlf_ms2": (0.0033, 0.04), "lf_ms2": (0.04, 0.15), "hf_ms2": (0.15, 0.4)}.items():
        assert_allclose(made[name], reference(noisy, band), rtol=1e-6, err_msg=name)


def test_more_segments_tell_the_same_power_of_a_long_window() -> None:
    long = powers(modulated(0.25, 0.02, length_s=1800.0), 1, 1800.0)
    assert long["hf_ms2"][0] == pytest.approx(200, rel=0.06)


def test_a_wide_gap_is_bridged_by_a_straight_line() -> None:
    nn = modulated(0.25, 0.02)
    keep = (nn.end_s < 100) | (nn.end_s > 112)
    made = powers(nn.only(keep), 1, 300.0)
    assert made["hf_ms2"][0] == pytest.approx(200, rel=0.2)
    assert made["lf_ms2"][0] < 20


def test_nothing_and_little() -> None:
    none = Intervals(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, bool), np.empty(0, bool))
    for windows in (0, 2):
        assert all(value.shape == (windows,) and np.isnan(value).all() for value in powers(none, windows, 300.0).values())
    second = modulated(0.25, 0.02, window=1)
    made = powers(second, 3, 300.0)
    assert np.isfinite(made["hf_ms2"]).tolist() == [False, True, False]
