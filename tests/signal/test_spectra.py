"""Laws of the spectral indices: tones and noises whose spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.signal.indices import Seconds
from biosig_mtl.signal.spectra import BAND_HZ, SPECTRUM_S, spectral
from biosig_mtl.types import F64


def of(x: F64, kind: str = "ppg", fs: float = 125.0) -> dict[str, F64]:
    count = int(-(-x.size // fs))
    return spectral(x.astype(np.float32), Seconds(np.round(np.arange(count) * fs).astype(np.int64), x.size, fs), kind)


def tone(hz: float, fs: float = 125.0, length_s: float = 30) -> F64:
    return np.asarray(np.sin(2 * np.pi * hz * np.arange(round(length_s * fs)) / fs + 0.4))


@pytest.mark.parametrize(("hz", "share"), [(1.5, 1.0), (20.0, 0.0), (7.0, 1.0)])
def test_a_tone_lies_within_the_band_or_outside(hz: float, share: float) -> None:
    assert of(tone(hz))["snr"][2:-2] == pytest.approx(share, abs=0.01)


def test_powers_of_two_tones_share_as_their_squares() -> None:
    made = of(2 * tone(1.5) + tone(5.0) + tone(20.0))
    assert made["snr"][2:-2] == pytest.approx(5 / 6, abs=0.01)
    assert made["relative_power"][2:-2] == pytest.approx(4 / 5, abs=0.01)


@pytest.mark.parametrize("hum", [50.0, 60.0])
def test_mains_are_seen_at_both_frequencies_where_the_rate_allows(hum: float) -> None:
    assert of(tone(1.5) + 3 * tone(hum))["mains"][2:-2] == pytest.approx(0.9, abs=0.01)
    assert of(tone(1.5) + 3 * tone(40.0))["mains"][2:-2] == pytest.approx(0.0, abs=0.01)
    assert np.isnan(of(tone(1.5, 64.0), fs=64.0)["mains"]).all()
    assert np.isfinite(of(tone(1.5, 105.0), fs=105.0)["mains"]).all()


def test_entropy_goes_from_a_tone_to_noise() -> None:
    noise = of(np.random.default_rng(0).standard_normal(12500))
    single = of(tone(2.0))
    assert single["entropy"][2:-2].max() < 0.35
    assert noise["entropy"].mean() > 0.85
    assert noise["entropy"].max() <= 1


@pytest.mark.parametrize("kind", ["ppg", "ecg"])
def test_white_noise_fills_a_band_by_its_width(kind: str) -> None:
    low, high = BAND_HZ[kind]
    made = of(np.random.default_rng(1).standard_normal(125 * 400), kind)
    assert made["snr"].mean() == pytest.approx((high - low) / 62, abs=0.02)


def test_the_power_of_qrs_complexes_is_told_of_an_ecg_only() -> None:
    made = of(tone(10.0) + tone(30.0), "ecg")
    assert made["qrs_power"][2:-2] == pytest.approx(0.5, abs=0.01)
    assert "relative_power" not in made
    assert "qrs_power" not in of(tone(1.0))


def test_a_huge_offset_costs_no_more_than_its_digits() -> None:
    x = tone(1.5) + 0.1 * tone(20.0)
    np.testing.assert_allclose(of(x + 1e4)["snr"], of(x)["snr"], atol=1e-3)


@pytest.mark.parametrize("size", [0, 1, 2, 60, 125, 300])
@pytest.mark.parametrize("fs", [25.0, 125.0, 62.4725])
def test_very_short_signals_are_shared_out_or_nan(size: int, fs: float) -> None:
    made = of(np.sin(np.arange(size) / 9.0), "ppg", fs)
    assert {row.size for row in made.values()} == {int(-(-size // fs))}


def test_nothing_has_no_shares() -> None:
    assert all(np.isnan(row).all() for row in of(np.zeros(1250)).values())


def test_a_second_depends_on_four_and_on_no_place() -> None:
    x = np.random.default_rng(2).standard_normal(125 * 700)
    whole = of(x)
    for start in (130, 255, 389):
        part = of(x[125 * start : 125 * (start + 60)])
        for name, row in part.items():
            inner = row[SPECTRUM_S:-SPECTRUM_S]
            assert np.array_equal(inner, whole[name][start + SPECTRUM_S : start + 60 - SPECTRUM_S], equal_nan=True), name
