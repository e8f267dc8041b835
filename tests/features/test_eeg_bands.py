"""Bands: what they may be, and which of them a recording no longer has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.features.bands import BANDS, check_bands, missing_bands, suspect_bands
from biosig_mtl.features.eeg_lengths import eeg_reasons
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import Features
from tests.features.brain import FS, noise, windows_of

DELTA = {"delta": (1.0, 4.0), **BANDS}


def test_delta_is_missing_from_what_was_filtered_at_4_hz() -> None:
    assert missing_bands(DELTA, 4, 45, 128) == ("delta",)
    assert missing_bands(BANDS, 4, 45, 128) == ()
    assert missing_bands(DELTA) == ()
    assert missing_bands(BANDS, fs=64) == ("gamma",)
    assert missing_bands(BANDS, high_hz=30) == ("beta", "gamma")


@pytest.mark.parametrize("edges", [(4, 4), (8, 4), (-1, 4), (4, np.inf), (np.nan, 4)])
def test_edges_that_are_none_are_refused(edges: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="need 0 <= low < high for the band theta"):
        FeatureSettings(("eeg_de",), eeg=("F3",), bands={"theta": edges})


def test_names_that_would_break_the_names_of_features_are_refused() -> None:
    with pytest.raises(ValueError, match="need a band called by letters"):
        check_bands({"low.alpha": (8, 10)})
    with pytest.raises(ValueError, match="at least one band"):
        check_bands({})
    with pytest.raises(ValueError, match="every word of eeg once"):
        FeatureSettings(("eeg_de",), eeg=("F3", "F3"))
    with pytest.raises(ValueError, match="eeg_pairs regions or all, got some"):
        FeatureSettings(("eeg_plv",), eeg=("F3", "F4"), eeg_pairs="some")  # type: ignore[arg-type]


def filtered(low_hz: float, high_hz: float, family: str, slope: float = 1.0) -> Features:
    """Return features of a pink EEG after a band-pass that takes 40 dB away."""
    x = 20 * noise((3, 128 * 60), slope=slope)
    spectrum = np.fft.rfft(x, axis=-1)
    hz = np.fft.rfftfreq(x.shape[-1], 1 / FS)
    spectrum[:, (hz < low_hz) | (hz > high_hz)] *= 0.01
    x = np.fft.irfft(spectrum, x.shape[-1], axis=-1)
    settings = FeatureSettings((family,), eeg=("F3", "Cz", "O2"), bands=DELTA)
    return extract(windows_of(x.reshape(3, 15, 512).swapaxes(0, 1), settings.eeg), settings, AFFECT)


@pytest.mark.parametrize("family", ["eeg_de", "eeg_power"])
@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_the_data_tell_which_bands_were_filtered_away(family: str, slope: float) -> None:
    assert suspect_bands(filtered(0, 64, family, slope), DELTA) == ()
    assert suspect_bands(filtered(4, 45, family, slope), DELTA) == ("delta",)
    assert suspect_bands(filtered(0, 30, family, slope), DELTA) == ("gamma",)
    assert suspect_bands(filtered(8, 64, family, slope), DELTA) == ("delta", "theta")


def test_strong_alpha_does_not_make_theta_look_lost() -> None:
    time = np.arange(15 * 512) / FS
    x = 10 * noise((3, time.size), slope=1.0) + 60 * np.sin(2 * np.pi * 10 * time)
    settings = FeatureSettings(("eeg_de",), eeg=("F3", "Cz", "O2"), bands=DELTA)
    made = extract(windows_of(x.reshape(3, 15, 512).swapaxes(0, 1), settings.eeg), settings, AFFECT)
    assert suspect_bands(made, DELTA) == ()


def test_the_preprocessed_windows_of_dasps_have_no_delta(data_root: Path) -> None:
    import h5py

    found = []
    for path in sorted((data_root / "emotion" / "dasps" / "mat").glob("*.mat")):
        with h5py.File(path) as file:
            x = np.asarray(file["data"])[:, : 3 * 512]
        windows = x.reshape(-1, 512, 14).swapaxes(1, 2)
        names = tuple(f"E{k}" for k in range(14))
        made = extract(windows_of(windows, names), FeatureSettings(("eeg_de",), eeg=names, bands=DELTA), AFFECT)
        found.append(suspect_bands(made, DELTA))
    assert len(found) == 15
    assert found.count(("delta",)) >= 14


def test_nothing_is_suspected_where_nothing_is_known() -> None:
    made = filtered(4, 45, "eeg_hjorth")
    assert suspect_bands(made, DELTA) == ()
    assert suspect_bands(filtered(4, 45, "eeg_de"), {"alpha": (8, 14)}) == ()


@pytest.mark.parametrize("length_s", [0.0625, 0.125, 0.5, 1.0, 4.0, 10.0])
@pytest.mark.parametrize("fs", [64.0, 128.0])
def test_a_feature_is_nan_where_a_reason_says_so_and_nowhere_else(length_s: float, fs: float) -> None:
    families = ("eeg_de", "eeg_power", "eeg_asym", "eeg_plv", "eeg_wpli")
    bands = {"slow": (0.1, 0.2), "narrow": (9.9, 10.1), **DELTA}
    settings = FeatureSettings(families, eeg=("F3", "F4"), bands=bands)
    made = extract(windows_of(noise((4, 2, round(length_s * fs))), settings.eeg, fs), settings, AFFECT)
    told = eeg_reasons(settings, length_s, fs)
    for name, value in zip(made.names, made.values.T, strict=True):
        assert np.isnan(value).all() == (name.rpartition(".")[0] in told), name
    assert told.keys() <= {name.rpartition(".")[0] for name in made.names}
    assert ("have no frequency from 0.1 up to 0.2 Hz" in told.get("eeg_de.slow", "")) == (length_s < 10)
    assert ("half the sampling rate of 64 Hz" in told.get("eeg_power.gamma_share", "")) == (fs == 64)


def test_the_usual_bands_have_no_reason_in_windows_of_four_seconds() -> None:
    families = ("eeg_de", "eeg_power", "eeg_asym", "eeg_plv", "eeg_wpli", "eeg_hjorth", "eeg_entropy")
    assert eeg_reasons(FeatureSettings(families, eeg=("F3",)), 4.0, FS) == {}
