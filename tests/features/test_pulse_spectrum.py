"""The spectrum of a pulse whose rate is set."""

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

SETTINGS = FeatureSettings(families=("pulse_spectrum",))
Maker = Callable[..., Windows]


def tell(windows: Windows) -> dict[str, Any]:
    made = extract(windows, SETTINGS, BLOOD_PRESSURE)
    return {name.removeprefix("spectrum."): value for name, value in zip(made.names, made.values.T, strict=True)}


def waves(windows: Windows, *heights: float, hz: float = 1.3) -> Windows:
    t = np.arange(windows.signal.shape[-1]) / windows.fs
    wave = sum(h * np.sin(2 * np.pi * k * hz * t + k) for k, h in enumerate(heights, 1))
    return replace(windows, signal=np.broadcast_to(wave, windows.signal.shape).astype(np.float32))


@pytest.mark.parametrize("hz", [0.7, 1.3, 2.9])
def test_lines_and_their_shares(simulate: Maker, pulse: Any, hz: float) -> None:
    made = tell(waves(simulate(pulse, length_s=20.0), 1.0, 0.5, 0.25, hz=hz))
    assert_allclose(made["peak_hz"], hz, atol=0.02)
    total = 1 + 0.25 + 0.0625
    for k, power in enumerate((1, 0.25, 0.0625), 1):
        assert_allclose(made[f"share_{k}"], power / total, atol=0.01)


def test_the_rate_is_that_of_the_pulse(simulate: Maker, pulse: Any) -> None:
    made = tell(simulate(pulse))
    assert_allclose(made["peak_hz"], 1 / pulse.period_s, atol=0.02)
    shares = made["share_1"] + made["share_2"] + made["share_3"]
    assert ((shares > 0.9) & (shares <= 1.01)).all()


def test_noise_has_no_line(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    noise = np.random.default_rng(0).normal(size=windows.signal.shape).astype(np.float32)
    made = tell(replace(windows, signal=noise))
    assert (made["share_1"] + made["share_2"] + made["share_3"] < 0.6).all()


def test_gain_and_offset_do_not_matter_and_flat_is_not_known(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    plain, moved = tell(windows), tell(replace(windows, signal=3 * windows.signal + 2))
    for name, value in plain.items():
        assert_allclose(moved[name], value, rtol=1e-3, err_msg=name)
    for level in (0.0, 7.0):
        flat = tell(replace(windows, signal=np.full_like(windows.signal, level)))
        assert all(np.isnan(value).all() for value in flat.values())


def test_one_sample_is_enough_for_no_answer(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    short = replace(windows, signal=windows.signal[..., :1].copy())
    assert all(np.isnan(value).all() for value in tell(short).values())
