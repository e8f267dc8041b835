"""Tracks: one waveform a modality, NaN where a window does not have it; and the rest before a stimulus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from biosig_mtl.features import FeatureSettings, TrackSettings, extract, subtract, subtract_waveform
from biosig_mtl.features.tracks import named, tracks
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F32, Features, RecipeError, Trail, Windows

FS = 64.0


def windows(count: int = 3, trails: Mapping[str, Trail] | None = None, kinds: tuple[str, str] = ("eeg", "eeg")) -> Windows:
    signal = np.random.default_rng(4).normal(size=(count, 2, 128)).astype(np.float32)
    return Windows(
        record="r1", subject="s1", session="1", fs=FS, onset_s=np.arange(count, dtype=np.float64), signal=signal,
        channels=("F3", "F4"),
        kinds=kinds, sqi=np.ones((count, 2), np.float32), targets=np.full((count, 2), 5, np.float32),
        target_names=("valence", "arousal"), trails=trails or {},
    )  # fmt: skip


def trail(signal: F32, name: str = "eda", kind: str = "eda", fs: float = 4.0) -> Trail:
    return Trail(name, kind, fs, signal, np.ones(len(signal), np.float32))


def settings(**given: Any) -> FeatureSettings:
    return FeatureSettings(families=(), tracks={name: TrackSettings(**words) for name, words in given.items()})


def test_channels_and_trails_become_tracks_at_their_own_rates() -> None:
    eda = np.random.default_rng(5).random((3, 80)).astype(np.float32)
    given = windows(trails={"eda": trail(eda)})
    chosen = settings(eeg={"channels": ("F4", "F3")}, eda={"channels": ("eda",)})
    made = tracks(given, chosen, AFFECT)
    assert {name: (t.channels, t.fs) for name, t in made.items()} == {"eeg": (("F4", "F3"), FS), "eda": (("eda",), 4.0)}
    np.testing.assert_array_equal(made["eeg"].signal, given.signal[:, ::-1])
    np.testing.assert_array_equal(made["eda"].signal[:, 0], eda)
    assert named(chosen) == ("F4", "F3", "eda")
    assert extract(given, chosen, AFFECT).tracks.keys() == made.keys()


def test_a_lower_rate_is_made_by_a_low_pass() -> None:
    slow = np.tile(np.sin(2 * np.pi * np.arange(128) / FS), (3, 2, 1))
    fast = slow + np.sin(2 * np.pi * 20 * np.arange(128) / FS)
    given = windows()
    object.__setattr__(given, "signal", fast.astype(np.float32))
    made = tracks(given, settings(eeg={"channels": ("F3", "F4"), "hz": 16.0}), AFFECT)["eeg"]
    assert made.fs == 16.0
    assert made.signal.shape == (3, 2, 32)
    np.testing.assert_allclose(made.signal[..., 4:-4], slow[..., ::4][..., 4:-4], atol=0.05)


def test_what_a_window_lacks_is_nan_throughout_and_nothing_else_is() -> None:
    eda = np.ones((4, 80), np.float32)
    eda[0] = np.nan
    eda[1, :50] = np.nan
    eda[2, :30] = np.nan
    eda[2, 30:] = 3.0
    given = windows(4, {"eda": trail(eda)})
    given.signal[3, 1] = 0
    made = tracks(given, settings(eeg={"channels": ("F3", "F4")}, eda={"channels": ("eda",), "hz": 2.0}), AFFECT)
    lost = np.isnan(made["eda"].signal).all(axis=(1, 2))
    assert lost.tolist() == [True, True, False, False]
    assert np.isfinite(made["eda"].signal[2:]).all()
    np.testing.assert_allclose(made["eda"].signal[2], 3.0, rtol=1e-4)
    assert np.isnan(made["eeg"].signal).all(axis=2).tolist() == [[False, False]] * 3 + [[False, True]]


def test_a_record_without_a_trail_has_a_track_of_nothing_of_the_same_shape() -> None:
    there = tracks(
        windows(trails={"eda": trail(np.ones((3, 80), np.float32))}), settings(eda={"channels": ("eda",), "hz": 4.0}), AFFECT
    )
    nothing = trail(np.full((3, 20), np.nan, np.float32), kind="absent", fs=1.0)
    absent = tracks(windows(trails={"eda": nothing}), settings(eda={"channels": ("eda",), "hz": 4.0}), AFFECT)
    assert absent["eda"].signal.shape == there["eda"].signal.shape
    assert np.isnan(absent["eda"].signal).all()


def test_the_reference_is_no_track_under_any_name() -> None:
    label = trail(np.ones((3, 80), np.float32), name="mood", kind="label")
    with pytest.raises(RecipeError, match="'mood' is the reference of affect"):
        tracks(windows(trails={"mood": label}), settings(x={"channels": ("mood",)}), AFFECT)
    with pytest.raises(RecipeError, match="'F3' is the reference of affect"):
        tracks(windows(kinds=("label", "eeg")), settings(x={"channels": ("F3",)}), AFFECT)


def test_channels_of_one_track_share_a_rate_and_are_there() -> None:
    given = windows(trails={"eda": trail(np.ones((3, 80), np.float32))})
    with pytest.raises(RecipeError, match="need one rate and one length"):
        tracks(given, settings(x={"channels": ("F3", "eda")}), AFFECT)
    with pytest.raises(RecipeError, match=r"'temp', the windows carry F3, F4, eda: add it to windows\.trails"):
        tracks(given, settings(x={"channels": ("temp",)}), AFFECT)
    with pytest.raises(RecipeError, match="above"):
        tracks(given, settings(x={"channels": ("eda",), "hz": 8.0}), AFFECT)
    for wrong in ({"channels": ()}, {"channels": ("a", "a")}, {"channels": ("a",), "hz": 0.0}):
        with pytest.raises(ValueError, match="need"):
            TrackSettings(**wrong)


# ---------------------------------------------------------------------------------------------------------------- baseline
def features(values: list[list[float]]) -> Features:
    names = ("eeg_de.alpha.F3", "eda.scl_mean_us", "eeg_asym.alpha.F3")
    return Features(np.array(values, np.float32), names, np.empty((len(values), 0, 0), np.float32), ())


def test_the_mean_of_the_rest_is_taken_from_families_of_the_eeg_only() -> None:
    made = subtract(features([[5, 5, 5], [6, 6, 6]]), features([[1, 9, np.nan], [3, 9, 2]]))
    np.testing.assert_array_equal(made.values, [[3, 5, 3], [4, 6, 4]])
    unknown = subtract(features([[5, 5, 5]]), features([[np.nan, 1, 1]]))
    assert np.isnan(unknown.values[0, 0])


def test_the_compatibility_mode_takes_one_waveform_from_every_window_of_the_eeg() -> None:
    given, rest = windows(kinds=("eeg", "ecg")), windows(2)
    made = subtract_waveform(given, rest)
    np.testing.assert_allclose(
        given.signal[:, 0] - made.signal[:, 0], np.tile(rest.signal[:, 0].mean(axis=0), (3, 1)), atol=1e-5
    )
    np.testing.assert_array_equal(made.signal[:, 1], given.signal[:, 1])
    # The fingerprint that it leaves: windows without any signal become alike.
    silent = windows()
    object.__setattr__(silent, "signal", np.zeros_like(silent.signal))
    left = subtract_waveform(silent, rest).signal[:, 0]
    np.testing.assert_allclose(np.corrcoef(left), 1.0, atol=1e-5)


def test_taking_the_rest_away_needs_a_family_of_the_eeg() -> None:
    with pytest.raises(ValueError, match="family of the EEG"):
        FeatureSettings(families=("rate",), baseline="subtract")
