"""Differential entropy, power and asymmetry: what white noise, sines and mirrored heads must give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl import montage
from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.features.bands import BANDS
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F64, RecipeError
from tests.features.brain import CAP, FS, columns, noise, windows_of


def plain_variance(x: F64, fs: float, low: float, high: float) -> F64:
    """Return the variance of a band by the book: one window, one Hann periodogram, in double precision."""
    from scipy.signal import periodogram

    hz, density = periodogram(x, fs, window="hann", detrend="constant", axis=-1)
    picked = (hz >= low - 1e-9) & (hz < high - 1e-9)
    return np.asarray(density[..., picked].mean(axis=-1) * (high - low))


@pytest.mark.parametrize("length_s", [1.0, 2.0, 4.0, 10.0])
@pytest.mark.parametrize("sd", [0.3, 10.0, 200.0])
def test_the_entropy_of_white_noise_is_that_of_its_variance_in_the_band(length_s: float, sd: float) -> None:
    # ½ ln(2πe σ²) with σ² = sd² · width / (fs / 2), for the mean of σ² over windows: a logarithm of an estimate lies below.
    found = columns(sd * noise((2000, 1, round(length_s * FS))), "eeg_de", ("F3",))
    for band, (low, high) in BANDS.items():
        de = found[f"eeg_de.{band}.F3"].astype(np.float64)
        truth = sd**2 * (high - low) / (FS / 2)
        variance = np.exp(2 * de) / (2 * np.pi * math.e)
        assert variance.mean() == pytest.approx(truth, rel=0.04)
        assert 0.5 * np.log(2 * np.pi * math.e * variance.mean()) == pytest.approx(
            0.5 * np.log(2 * np.pi * math.e * truth), abs=0.02
        )
        # What the logarithm costs: half the variance of an estimate of B·T / 1.5 squares (chi-square of that many pairs).
        pairs = (high - low) * length_s / 1.5
        assert de.mean() == pytest.approx(0.5 * np.log(2 * np.pi * math.e * truth) - 0.25 / pairs, abs=0.03 + 0.3 / pairs)


def test_the_definition_is_that_of_a_plain_periodogram() -> None:
    x = 30 * noise((40, len(CAP), 512), slope=1.0) + 4000
    found = columns(x, "eeg_de eeg_power")
    single = x.astype(np.float32).astype(np.float64)
    total = np.sum([plain_variance(single, FS, *edges) for edges in BANDS.values()], axis=0)
    for band, edges in BANDS.items():
        truth = plain_variance(single, FS, *edges)
        for k, name in enumerate(CAP):
            de = 0.5 * np.log(2 * np.pi * math.e * truth[:, k])
            np.testing.assert_allclose(np.exp(2 * found[f"eeg_de.{band}.{name}"]), np.exp(2 * de), rtol=1e-4)
            np.testing.assert_allclose(10.0 ** found[f"eeg_power.{band}.{name}"], truth[:, k], rtol=1e-4)
            np.testing.assert_allclose(found[f"eeg_power.{band}_share.{name}"], truth[:, k] / total[:, k], rtol=1e-4)


def test_filter_and_variance_give_the_same_within_a_tenth_of_a_nat() -> None:
    # The way of the paper, on the continuous signal: other edges and another taper, the same quantity.
    from scipy.signal import butter, sosfiltfilt

    x = 20 * noise((128 * 600,), slope=1.0)
    found = columns(x.reshape(-1, 1, 512), "eeg_de", ("Cz",))
    for band, edges in BANDS.items():
        filtered = sosfiltfilt(butter(6, edges, "bandpass", fs=FS, output="sos"), x).reshape(-1, 512)
        de = 0.5 * np.log(2 * np.pi * math.e * filtered.var(axis=1))
        ours = found[f"eeg_de.{band}.Cz"]
        assert np.median(ours - de) == pytest.approx(0, abs=0.1)
        assert np.corrcoef(ours, de)[0, 1] > 0.6


@pytest.mark.parametrize("hz", [5.0, 10.0, 20.0, 38.0])
def test_a_sine_has_half_its_squared_amplitude_in_its_band(hz: float) -> None:
    time = np.arange(512) / FS
    found = columns(7 * np.sin(2 * np.pi * hz * time + 0.3)[None, None], "eeg_power", ("F3",))
    band = next(name for name, (low, high) in BANDS.items() if low <= hz < high)
    assert found[f"eeg_power.{band}.F3"][0] == pytest.approx(np.log10(7**2 / 2), abs=1e-3)
    assert found[f"eeg_power.{band}_share.F3"][0] == pytest.approx(1, abs=1e-3)


@given(gain=st.floats(0.01, 100), offset=st.floats(-500, 500))
def test_gain_adds_its_logarithm_and_an_offset_nothing(gain: float, offset: float) -> None:
    x = 10 * noise((3, 2, 256), seed=4)
    one, other = columns(x, "eeg_de", ("F3", "F4")), columns(gain * x + offset, "eeg_de", ("F3", "F4"))
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value + np.log(gain), atol=0.01)


def test_neighbouring_bands_add_up_to_their_union() -> None:
    x = noise((5, 1, 512))
    parts = columns(x, "eeg_power", ("Cz",), bands={"a": (4, 9), "b": (9, 30)})
    whole = columns(x, "eeg_power", ("Cz",), bands={"c": (4, 30)})
    both = 10 ** parts["eeg_power.a.Cz"] + 10 ** parts["eeg_power.b.Cz"]
    np.testing.assert_allclose(both, 10 ** whole["eeg_power.c.Cz"], rtol=1e-4)


def test_what_is_constant_or_absent_has_no_entropy() -> None:
    x = noise((2, 3, 256))
    x[0, 1] = 4200.3
    x[1, 2] = 0
    found = columns(x, "eeg_de eeg_power eeg_hjorth eeg_entropy eeg_asym", ("F3", "F4", "P3"))
    for name, value in found.items():
        lost = [any(c in name.rsplit(".", 1)[1].split("-") for c in who) for who in (("F4",), ("P3",))]
        assert np.isnan(value).tolist() == lost, name


# -------------------------------------------------------------------------------------------------------------- asymmetry
def mirrored(x: F64) -> F64:
    """Return the windows with every electrode's signal at the opposite one."""
    opposite = [CAP.index(str(montage.mirror(name))) for name in CAP]
    return x[:, opposite]


def test_asymmetry_changes_its_sign_when_the_sides_are_swapped() -> None:
    x = 10 * noise((6, len(CAP), 512), slope=1.0) * np.linspace(1, 3, len(CAP))[:, None]
    one, other = columns(x, "eeg_asym"), columns(mirrored(x), "eeg_asym")
    assert len(one) == 7 * (4 * 2) + 3
    for name, value in one.items():
        if "rasm" in name:
            np.testing.assert_allclose(other[name], 1 / value, rtol=1e-5)
        else:
            np.testing.assert_allclose(other[name], -value, atol=1e-6)
        assert np.abs(np.log(value) if "rasm" in name else value).max() > 0.1


def test_asymmetry_is_the_difference_of_entropies_left_less_right() -> None:
    x = 10 * noise((6, len(CAP), 512), slope=1.0)
    found = columns(x, "eeg_de eeg_asym")
    for band in BANDS:
        left, right = found[f"eeg_de.{band}.T7"], found[f"eeg_de.{band}.T8"]
        np.testing.assert_allclose(found[f"eeg_asym.dasm_{band}.T7-T8"], left - right, atol=1e-5)
        np.testing.assert_allclose(np.log(found[f"eeg_asym.rasm_{band}.T7-T8"]), 2 * (left - right), atol=1e-5)
    right_less_left = 2 * (found["eeg_de.alpha.F4"] - found["eeg_de.alpha.F3"])
    np.testing.assert_allclose(found["eeg_asym.faa.F3-F4"], right_less_left, atol=1e-5)
    assert {name for name in found if ".faa." in name} == {"eeg_asym.faa.Fp1-Fp2", "eeg_asym.faa.F3-F4", "eeg_asym.faa.F7-F8"}


def test_more_alpha_on_the_right_is_a_positive_frontal_asymmetry() -> None:
    time = np.arange(512) / FS
    x = noise((1, 2, 512))
    x[0, 1] += 5 * np.sin(2 * np.pi * 10 * time)
    found = columns(x, "eeg_asym", ("F3", "F4"))
    assert found["eeg_asym.faa.F3-F4"][0] > 1
    assert found["eeg_asym.dasm_alpha.F3-F4"][0] < -0.5
    assert found["eeg_asym.rasm_alpha.F3-F4"][0] < 0.5


def test_without_pairs_or_alpha_there_is_no_column_for_them() -> None:
    x = noise((2, 2, 512))
    assert columns(x, "eeg_asym eeg_de", ("F3", "P4"), bands={"beta": (14, 31)}).keys() == {
        "eeg_de.beta.F3",
        "eeg_de.beta.P4",
    }
    assert list(columns(x, "eeg_asym", ("F3", "F4"), bands={"beta": (14, 31)})) == [
        "eeg_asym.dasm_beta.F3-F4",
        "eeg_asym.rasm_beta.F3-F4",
    ]


# ------------------------------------------------------------------------------------------------------------------- the gate
def test_channels_of_the_eeg_must_be_told_and_carried() -> None:
    windows = windows_of(noise((2, 2, 256)), ("F3", "F4"))
    with pytest.raises(RecipeError, match=r"add features\.eeg"):
        extract(windows, FeatureSettings(("eeg_de",)), AFFECT)
    with pytest.raises(RecipeError, match=r"need channel 'Cz', the windows carry F3, F4: add it to windows\.channels"):
        extract(windows, FeatureSettings(("eeg_de",), eeg=("F3", "Cz")), AFFECT)


@pytest.mark.parametrize("picked", [("F4",), ("Cz", "F3"), ("F3", "F4"), ("F4", "Cz")])
def test_the_channels_are_found_by_their_names(picked: tuple[str, ...]) -> None:
    names = ("F3", "F4", "Cz")
    x = noise((3, 3, 256)) * np.array([1, 10, 100])[:, None]
    whole = extract(windows_of(x, names), FeatureSettings(("eeg_de",), eeg=names), AFFECT)
    part = extract(windows_of(x, names), FeatureSettings(("eeg_de",), eeg=picked), AFFECT)
    assert len(part.names) == 4 * len(picked)
    for name, value in zip(part.names, part.values.T, strict=True):
        np.testing.assert_allclose(value, whole.values[:, whole.names.index(name)], rtol=1e-6)
