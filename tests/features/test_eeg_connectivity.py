"""Phase locking and phase lag: locked, lagging and independent channels."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.features import FeatureSettings
from biosig_mtl.features.bands import BANDS
from biosig_mtl.features.eeg_connectivity import pairs_of, region_pairs
from biosig_mtl.features.eeg_lengths import eeg_reasons
from biosig_mtl.types import F64
from tests.features.brain import CAP, FS, columns, noise


def delayed(x: F64, delay_s: float) -> F64:
    """Return rows turned in time."""
    spectrum = np.fft.rfft(x, axis=-1)
    return np.asarray(np.fft.irfft(spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(x.shape[-1], 1 / FS) * delay_s), axis=-1))


@pytest.fixture(scope="module")
def source() -> F64:
    return noise((40, 1, 512), seed=1)


def between(x: F64, family: str, band: str) -> F64:
    return np.asarray(columns(x, family, ("F3", "P4"))[f"{family}.{band}.frontal-parietal"], np.float64)


@pytest.mark.parametrize("band", BANDS)
def test_one_signal_in_both_channels_is_locked_and_does_not_lag(source: F64, band: str) -> None:
    x = np.concatenate([source, 3 * source], axis=1)
    assert between(x, "eeg_plv", band) == pytest.approx(1, abs=1e-4)
    assert between(x, "eeg_wpli", band) == pytest.approx(0, abs=1e-6)


def test_a_constant_delay_is_locked_and_lags(source: F64) -> None:
    # 25 ms: a quarter of a cycle at 10 Hz.
    x = np.concatenate([source, delayed(source, 0.025)], axis=1)
    assert between(x, "eeg_plv", "alpha").mean() > 0.9
    assert between(x, "eeg_wpli", "alpha").mean() > 0.97


def test_noise_reaches_only_what_the_length_allows() -> None:
    x = noise((300, 2, 512), seed=2)
    for band, (low, high) in BANDS.items():
        floor = 1 / np.sqrt((high - low) * 4.0)
        assert between(x, "eeg_plv", band).mean() == pytest.approx(floor, rel=0.2)
        assert between(x, "eeg_wpli", band).mean() < 0.5


def test_a_source_that_reaches_both_at_once_raises_locking_and_not_the_lag() -> None:
    alone, common = noise((200, 2, 512), seed=3), noise((200, 1, 512), seed=4)
    mixed = alone + 2 * common
    assert between(mixed, "eeg_plv", "beta").mean() > between(alone, "eeg_plv", "beta").mean() + 0.4
    assert between(mixed, "eeg_wpli", "beta").mean() < between(alone, "eeg_wpli", "beta").mean() + 0.1


def test_the_phases_are_those_of_a_filter_and_a_hilbert_transform() -> None:
    from scipy.signal import butter, hilbert, sosfiltfilt

    x = noise((40, 2, 2048), seed=5) + np.linspace(0, 2, 40)[:, None, None] * noise((40, 1, 2048), seed=6)
    z = hilbert(sosfiltfilt(butter(4, [8, 14], "bandpass", fs=FS, output="sos"), x), axis=-1)[..., 768:1280]
    turn = z / np.abs(z)
    theirs = np.abs((turn[:, 0] * turn[:, 1].conj())[:, 64:-64].mean(axis=-1))
    ours = between(x[..., 768:1280], "eeg_plv", "alpha")
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9
    assert np.abs(ours - theirs).mean() < 0.12


def test_swapping_the_channels_changes_nothing_and_gain_neither(source: F64) -> None:
    x = np.concatenate([source, delayed(source, 0.02) + noise((40, 1, 512), seed=7)], axis=1)
    for family in ("eeg_plv", "eeg_wpli"):
        one = between(x, family, "alpha")
        np.testing.assert_allclose(one, between(x[:, ::-1], family, "alpha"), atol=1e-5)
        np.testing.assert_allclose(one, between(x * np.array([[10.0], [0.1]]), family, "alpha"), atol=1e-4)
        assert ((one >= 0) & (one <= 1)).all()


def test_regions_are_means_over_their_pairs_and_every_pair_counts_once() -> None:
    found = region_pairs(CAP)
    seen = sorted((int(min(a, b)), int(max(a, b))) for one, other in found.values() for a, b in zip(one, other, strict=True))
    assert seen == [(a, b) for a in range(len(CAP)) for b in range(a + 1, len(CAP))]
    assert "frontal-frontal" in found
    assert "frontal-occipital" in found
    assert region_pairs(("F3", "nobody")).keys() == {"frontal-elsewhere"}
    x = noise((4, len(CAP), 512))
    by_region, by_pair = columns(x, "eeg_plv"), columns(x, "eeg_plv", eeg_pairs="all")
    assert len(by_pair) == 4 * len(CAP) * (len(CAP) - 1) // 2
    both = [by_pair[f"eeg_plv.alpha.{one}-{other}"] for one, other in (("P3", "O1"), ("P3", "O2"), ("O1", "P4"), ("P4", "O2"))]
    np.testing.assert_allclose(by_region["eeg_plv.alpha.parietal-occipital"], np.mean(both, axis=0), rtol=1e-5)
    assert pairs_of(FeatureSettings(("eeg_plv",), eeg=("F3",), eeg_pairs="all")) == {}


@pytest.mark.parametrize("family", ["eeg_plv", "eeg_wpli"])
def test_fewer_than_five_cycles_are_nan_with_their_reason(family: str) -> None:
    settings = FeatureSettings((family,), eeg=("F3", "P4"))
    found = columns(noise((3, 2, 128)), family, ("F3", "P4"))
    why = eeg_reasons(settings, 1.0, FS)
    assert why == {f"{family}.theta": "windows of 1 s hold 4 cycles of 4 Hz, 5 are needed"}
    for name, value in found.items():
        assert np.isnan(value).all() == (name.rsplit(".", 1)[0] in why)
    assert eeg_reasons(settings, 4.0, FS) == {}
    assert "half the sampling rate" in eeg_reasons(settings, 4.0, 64.0)[f"{family}.gamma"]


def test_a_constant_channel_is_left_out_of_the_mean() -> None:
    x = noise((2, 3, 512))
    x[1, 2] = 5
    for family in ("eeg_plv", "eeg_wpli"):
        found = columns(x, family, ("F3", "P3", "P4"))
        pair = columns(x[:, :2], family, ("F3", "P3"))
        assert np.isnan(found[f"{family}.alpha.parietal-parietal"]).tolist() == [False, True]
        np.testing.assert_allclose(
            found[f"{family}.alpha.frontal-parietal"][1], pair[f"{family}.alpha.frontal-parietal"][1], rtol=1e-5
        )
