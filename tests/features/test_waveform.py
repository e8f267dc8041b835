"""Waveform channels: scale, derivatives, rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.features.derivatives import derivative, taps
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import RecipeError, Windows

WAVES = FeatureSettings(families=(), waveform=("ppg_12hz", "vpg", "apg", "ecg_40hz"))
Maker = Callable[..., Windows]


def test_every_window_and_channel_has_mean_zero_and_sd_one(simulate: Maker, pulse: Any) -> None:
    x = extract(simulate(pulse, gain=7.0, offset=500.0), WAVES, BLOOD_PRESSURE).waveform
    assert x.dtype == np.float32
    assert_allclose(x.mean(axis=-1), 0, atol=1e-5)
    assert_allclose(x.std(axis=-1), 1, atol=1e-5)


def test_scaling_takes_gain_and_offset_out(simulate: Maker, pulse: Any) -> None:
    plain, changed = (
        extract(simulate(pulse, gain=gain, offset=offset), WAVES, BLOOD_PRESSURE).waveform
        for gain, offset in ((1, 0), (9, -30))
    )
    assert_allclose(plain[:, :2], changed[:, :2], atol=2e-3)


def test_without_scaling_channels_are_as_they_are(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    x = extract(windows, replace(WAVES, waveform_scale="none"), BLOOD_PRESSURE).waveform
    assert_array_equal(x[:, 0], windows.channel("ppg_12hz"))
    assert_array_equal(x[:, 1], derivative(windows.channel("ppg_12hz"), 125.0, 1))


def test_an_absent_channel_is_zeros(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    signal = windows.signal.copy()
    signal[:, 2] = 0
    x = extract(replace(windows, signal=signal, kinds=("ppg", "ppg", "absent")), WAVES, BLOOD_PRESSURE).waveform
    assert (x[:, 3] == 0).all()


@pytest.mark.parametrize("waveform_hz", [62.5, 50.0, 25.0])
def test_resampling_keeps_low_and_takes_out_high_frequencies(simulate: Maker, pulse: Any, waveform_hz: float) -> None:
    windows = simulate(pulse)
    t = np.arange(1000) / 125
    low, high = np.sin(2 * np.pi * 2 * t), np.sin(2 * np.pi * 45 * t)
    settings = FeatureSettings(families=(), waveform=("ppg", "ecg_40hz"), waveform_scale="none", waveform_hz=waveform_hz)
    signal = np.stack([low + high, low, low], axis=0)[None].astype(np.float32).repeat(2, axis=0)
    x = extract(replace(windows, signal=signal, onset_s=windows.onset_s[:2]), settings, BLOOD_PRESSURE).waveform
    assert x.shape == (2, 2, round(8 * waveform_hz))
    there = np.arange(x.shape[-1]) / waveform_hz
    middle = slice(20, -20)
    for channel in (0, 1):
        assert_allclose(x[0, channel, middle], np.sin(2 * np.pi * 2 * there)[middle], atol=0.02)


def test_a_rate_above_the_windows_is_refused(simulate: Maker, pulse: Any) -> None:
    with pytest.raises(RecipeError, match="waveform_hz 250 is above the 125 Hz"):
        extract(simulate(pulse), replace(WAVES, waveform_hz=250.0), BLOOD_PRESSURE)


@pytest.mark.parametrize("fs", [25.0, 62.5, 125.0, 1000.0])
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_a_cubic_are_exact_inside(fs: float, order: int) -> None:
    t = np.arange(200) / fs
    scale = t[-1]
    x = ((t / scale) ** 3 - (t / scale) + 4).astype(np.float32)
    exact = (3 * (t / scale) ** 2 - 1) / scale if order == 1 else 6 * t / scale**3
    found = derivative(x[None], fs, order)[0]
    inner = slice(60, -60)
    assert_allclose(found[inner], exact[inner], atol=1e-2 * np.abs(exact).max())


def test_derivative_weights_know_polynomials() -> None:
    at = np.arange(-6, 7.0)
    for order in (1, 2):
        for power in range(7):
            expected = float(power == order) * (1, 1, 2)[order]
            assert taps(6, order) @ at**power == pytest.approx(expected, abs=1e-8)


def test_a_derivative_of_almost_nothing_is_zero() -> None:
    assert (derivative(np.ones((2, 4), np.float32), 125.0, 1) == 0).all()
    assert derivative(np.empty((0, 100), np.float32), 125.0, 2).shape == (0, 100)
