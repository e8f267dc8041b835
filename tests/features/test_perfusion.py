"""Amplitudes and spectra of known signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Windows

PERFUSION = FeatureSettings(families=("perfusion",))
Maker = Callable[..., Windows]
Column = Callable[..., Any]


def tone(windows: Windows, hz: float, noise: float = 0.0) -> Windows:
    t = np.arange(windows.signal.shape[-1]) / windows.fs
    wave = np.sin(2 * np.pi * hz * t) + noise * np.random.default_rng(0).normal(size=windows.signal.shape)
    return replace(windows, signal=wave.astype(np.float32) + np.zeros_like(windows.signal))


def test_amplitude_offset_and_index(simulate: Maker, pulse: Any, column: Column) -> None:
    made = extract(simulate(pulse, gain=2.0, offset=100.0), PERFUSION, BLOOD_PRESSURE)
    _, x = pulse.fine()
    height = 2 * (x.max() - x.min())
    # Linear interpolation cuts the top of the peak between two samples.
    assert_allclose(column(made, "ppg.ac"), height, rtol=0.01)
    assert_allclose(column(made, "ppg.dc"), 100 + 2 * x.mean(), rtol=1e-3)
    assert_allclose(column(made, "ppg.perfusion_percent"), 100 * height / (100 + 2 * x.mean()), rtol=0.01)


def test_an_index_needs_a_positive_offset(simulate: Maker, pulse: Any, column: Column) -> None:
    made = extract(simulate(pulse, offset=-10.0), PERFUSION, BLOOD_PRESSURE)
    assert np.isnan(column(made, "ppg.perfusion_percent")).all()


def test_a_sine_has_the_moments_of_a_sine(simulate: Maker, pulse: Any, column: Column) -> None:
    made = extract(tone(simulate(pulse), 1.5), PERFUSION, BLOOD_PRESSURE)
    assert_allclose(column(made, "ppg.skewness"), 0, atol=1e-3)
    assert_allclose(column(made, "ppg.kurtosis"), -1.5, atol=1e-3)
    assert_allclose(column(made, "ppg.zero_crossings"), 2 * 1.5 / 125, atol=1.1e-3)
    assert (column(made, "ppg.rate_band_share") > 0.99).all()
    assert (column(made, "ppg.spectral_entropy") < 0.35).all()
    assert (column(made, "ppg.snr_db") > 40).all()


def test_noise_raises_entropy_and_lowers_the_ratio(simulate: Maker, pulse: Any, column: Column) -> None:
    windows = simulate(pulse)
    clean, noisy = (extract(tone(windows, 1.5, noise), PERFUSION, BLOOD_PRESSURE) for noise in (0.05, 1.0))
    assert (column(noisy, "ppg.spectral_entropy") > column(clean, "ppg.spectral_entropy")).all()
    assert (column(noisy, "ppg.snr_db") < column(clean, "ppg.snr_db") - 15).all()


@pytest.mark.parametrize("hz", [3.0, 5.0])
def test_power_outside_the_rate_band_is_not_counted(simulate: Maker, pulse: Any, column: Column, hz: float) -> None:
    made = extract(tone(simulate(pulse), hz), PERFUSION, BLOOD_PRESSURE)
    assert (column(made, "ppg.rate_band_share") < 0.01).all()
