"""Hjorth's parameters and entropies against their definitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.types import F64
from tests.features.brain import FS, columns, noise


@pytest.mark.parametrize("hz", [3.0, 10.0, 25.0])
def test_a_sine_has_the_mobility_of_its_frequency_and_complexity_1(hz: float) -> None:
    x = 8 * np.sin(2 * np.pi * hz * np.arange(1024) / FS + 0.2)[None, None]
    found = {name.split(".")[1]: value[0] for name, value in columns(x, "eeg_hjorth", ("F3",)).items()}
    assert found["activity_log10_uv2"] == pytest.approx(np.log10(8**2 / 2), abs=1e-3)
    # A difference of neighbours is a sine of 2 sin(πf/fs) times the height.
    assert found["mobility_hz"] == pytest.approx(FS / np.pi * np.sin(np.pi * hz / FS), rel=2e-3)
    assert found["complexity"] == pytest.approx(1, abs=5e-3)


def test_white_noise_is_as_mobile_and_complex_as_theory_says() -> None:
    # var(x'): 2 σ², var(x''): 6 σ², hence mobility √2 a sample and complexity √3 / √2.
    found = columns(noise((50, 1, 2048)), "eeg_hjorth", ("F3",))
    assert found["eeg_hjorth.mobility_hz.F3"].mean() == pytest.approx(np.sqrt(2) * FS / (2 * np.pi), rel=0.01)
    assert found["eeg_hjorth.complexity.F3"].mean() == pytest.approx(np.sqrt(1.5), rel=0.01)


def plain_permutation_entropy(x: F64) -> float:
    seen = [tuple(np.argsort(x[k : k + 3], kind="stable").tolist()) for k in range(x.size - 2)]
    share = np.array([seen.count(order) for order in permutations(range(3))]) / len(seen)
    return float(-(share[share > 0] * np.log(share[share > 0])).sum() / np.log(6))


@given(st.lists(st.integers(-4, 4), min_size=8, max_size=60).filter(lambda x: len(set(x)) > 1))
def test_permutation_entropy_is_that_of_the_plain_definition(samples: list[int]) -> None:
    # Few levels: many equal neighbours.
    x = np.array(samples, float)
    found = columns(x[None, None], "eeg_entropy", ("F3",))["eeg_entropy.permutation.F3"][0]
    assert found == pytest.approx(plain_permutation_entropy(x), abs=1e-5)


def test_entropies_of_order_and_of_noise() -> None:
    line, white = np.arange(512.0)[None, None], noise((20, 1, 512))
    assert columns(line, "eeg_entropy", ("F3",))["eeg_entropy.permutation.F3"][0] == 0
    assert columns(white, "eeg_entropy", ("F3",))["eeg_entropy.permutation.F3"].min() > 0.97
    assert columns(white, "eeg_entropy", ("F3",))["eeg_entropy.spectral.F3"].min() > 0.85
    sine = np.sin(2 * np.pi * 10 * np.arange(512) / FS)[None, None]
    assert columns(sine, "eeg_entropy", ("F3",))["eeg_entropy.spectral.F3"][0] < 0.25


def test_an_even_spectrum_has_spectral_entropy_1() -> None:
    impulse = np.zeros((1, 1, 512))
    impulse[0, 0, 256] = 100
    assert columns(impulse, "eeg_entropy", ("F3",))["eeg_entropy.spectral.F3"][0] == pytest.approx(1, abs=1e-3)


@given(gain=st.floats(0.1, 50), offset=st.floats(-100, 100))
def test_only_the_activity_follows_the_gain(gain: float, offset: float) -> None:
    x = 10 * noise((2, 1, 256), slope=1.0)
    one = columns(x, "eeg_hjorth eeg_entropy", ("F3",))
    other = columns(gain * x + offset, "eeg_hjorth eeg_entropy", ("F3",))
    for name, value in one.items():
        shift = 2 * np.log10(gain) if "activity" in name else 0
        np.testing.assert_allclose(other[name], value + shift, atol=0.02, rtol=1e-3, err_msg=name)


def test_windows_of_a_few_samples_give_nan_and_no_error() -> None:
    for size in (1, 2, 3):
        found = columns(noise((2, 1, 8))[..., :size], "eeg_hjorth eeg_entropy eeg_de eeg_plv", ("F3",))
        assert all(np.isnan(value).all() for name, value in found.items() if name.startswith(("eeg_hjorth", "eeg_plv")))
