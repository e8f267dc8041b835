"""Band-pass and notch of the EEG, and rates of their own for other channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal import Bandpass, EegFilter, Resample, context_s
from biosig_mtl.types import Channel, ChannelInfo, DataError, RecipeError
from tests.signal.scalp import CAP, FS, brain, recording, samples


def gain(step: EegFilter, hz: float, fs: float = 512.0) -> float:
    """Return what is left of a sine, in the middle of a minute."""
    time = np.arange(round(60 * fs)) / fs
    made = step(replace(recording([np.sin(2 * np.pi * hz * time)], ("Cz",)), channels={"Cz": sine(hz, fs)}))
    middle = made.channels["Cz"].samples[round(20 * fs) : round(40 * fs)]
    return float(np.sqrt(2) * middle.std())


def sine(hz: float, fs: float) -> Channel:
    time = np.arange(round(60 * fs)) / fs
    return Channel("Cz", "eeg", "uV", fs, np.sin(2 * np.pi * hz * time).astype(np.float32))


def test_the_band_passes_and_the_rest_does_not() -> None:
    step = EegFilter()
    for hz in (2.5, 10, 30):
        assert gain(step, hz) == pytest.approx(1, abs=0.03)
    assert gain(step, 1.0) == pytest.approx(0.5, abs=0.02)
    assert gain(step, 45.0) == pytest.approx(0.5, abs=0.02)
    for hz in (0.3, 120):
        assert gain(step, hz) < 0.01


def test_the_notch_takes_the_mains_and_their_harmonics_and_nothing_beside() -> None:
    step = EegFilter(1, 110, notch_hz=50.0)
    assert gain(step, 50) < 0.01
    assert gain(step, 100) < 0.01
    for hz in (40.0, 60.0, 90.0):
        assert gain(step, hz) > 0.85
    assert gain(EegFilter(1, 110), 50) == pytest.approx(1, abs=0.01)


def test_a_notch_where_the_band_pass_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no notch at 60 Hz: the band-pass up to 45 Hz leaves nothing there"):
        EegFilter(1, 45, notch_hz=60)
    with pytest.raises(ValueError, match="leaves nothing there"):
        EegFilter(1, 30, notch_hz=50)
    # A slow edge leaves much of them: a quarter of the amplitude of 50 Hz behind a corner of 45 Hz.
    assert gain(EegFilter(1, 45), 50) > 0.2
    assert gain(EegFilter(1, 45, notch_hz=50), 50) < 0.01


@pytest.mark.parametrize(
    "settings",
    [{"low_hz": 0}, {"low_hz": 50}, {"order": 0}, {"kinds": ()}, {"notch_hz": 0}, {"high_hz": np.inf}, {"notch_hz": -50}],
)
def test_nonsense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        EegFilter(**settings)


def test_every_channel_is_filtered_as_by_a_band_pass_of_its_own() -> None:
    eye = Channel("veog", "eog", "uV", FS, brain(70, ("Cz",), 3)[0].astype(np.float32))
    other = Channel("eda", "eda", "uS", 4.0, np.ones(280, np.float32))
    record = recording(brain(70) + 4200, more={"veog": eye, "eda": other})
    made = EegFilter()(record)
    assert list(made.channels) == list(record.channels)
    assert made.channels["eda"] is other
    for name in (*CAP, "veog"):
        alone = Bandpass(name, "new", 1.0, 45.0, order=4)(record).channels["new"].samples
        np.testing.assert_array_equal(made.channels[name].samples, alone)
    assert EegFilter(kinds=("eeg",))(record).channels["veog"] is eye


def test_gaps_stay_and_nothing_crosses_a_seam() -> None:
    x = brain(60)
    x[3, 2000:2300] = np.nan
    made = samples(EegFilter()(recording(x)))
    assert np.array_equal(np.isnan(made), np.isnan(x))
    jump = brain(60)
    jump[:, 3840:] += 1e4
    kept = samples(EegFilter()(recording(jump, seams_s=np.array([30.0]))))
    assert np.abs(kept).max() < 200
    assert np.abs(samples(EegFilter()(recording(jump)))).max() > 1000


@pytest.mark.parametrize("step", [EegFilter(), EegFilter(0.5, 40, 2), EegFilter(1, 60, notch_hz=50)])
def test_a_part_with_context_gives_the_bits_of_the_whole(step: EegFilter) -> None:
    x = brain(400)
    whole = samples(step(recording(x)))
    reach = int(np.ceil(step.reach_s))
    start, stop = 137 - reach, 215 + reach
    part = samples(step(recording(x[:, round(start * FS) : round(stop * FS)], start_s=float(start))))
    wanted = whole[:, round(137 * FS) : round(215 * FS)]
    np.testing.assert_array_equal(part[:, round(reach * FS) :][:, : wanted.shape[1]], wanted)


def test_a_rate_that_is_too_low_is_told_with_and_without_data() -> None:
    record = recording(brain(5))
    info = {"F3": ChannelInfo("F3", "eeg", "uV", FS)}
    for step, told in (
        (EegFilter(1, 70), "has fs=128 Hz, 'eeg_filter' up to 70 Hz needs more than 140"),
        (EegFilter(1, 60, notch_hz=65), "up to 65 Hz"),
    ):
        with pytest.raises(RecipeError, match=told):
            step(record)
        with pytest.raises(RecipeError, match=told):
            step.plan(info)


def test_a_record_without_eeg_is_told_or_passes() -> None:
    bare = replace(recording(brain(5)), channels={"ppg": Channel("ppg", "ppg", "au", 64.0, np.ones(64, np.float32))})
    with pytest.raises(DataError, match=r"r: eeg_filter: no channel of kind eeg; it has ppg \(ppg\); name some"):
        EegFilter()(bare)
    assert EegFilter(optional=True)(bare) is bare


# ---------------------------------------------------------------------------------------------------------------- resampling
def many() -> dict[str, Channel]:
    rates = {"F3": ("eeg", 512.0), "Cz": ("eeg", 512.0), "ecg": ("ecg", 256.0), "eda": ("eda", 4.0), "valence": ("label", 20.0)}
    return {n: Channel(n, kind, "au", fs, np.ones(round(10 * fs), np.float32)) for n, (kind, fs) in rates.items()}


@pytest.mark.parametrize(
    ("step", "rates"),
    [
        (Resample(128, kinds=("eeg",)), {"F3": 128, "Cz": 128, "ecg": 256, "eda": 4, "valence": 20}),
        (Resample(128, channels=("Cz", "ecg")), {"F3": 512, "Cz": 128, "ecg": 128, "eda": 4, "valence": 20}),
        (Resample(128, kinds=("ecg",), channels=("F3",)), {"F3": 128, "Cz": 512, "ecg": 128, "eda": 4, "valence": 20}),
        (Resample(128, upsample=False), {"F3": 128, "Cz": 128, "ecg": 128, "eda": 4, "valence": 20}),
        (Resample(128), {"F3": 128, "Cz": 128, "ecg": 128, "eda": 128, "valence": 20}),
        (Resample(10, kinds=("label",)), {"F3": 512, "Cz": 512, "ecg": 256, "eda": 4, "valence": 10}),
    ],
)
def test_only_what_is_meant_is_resampled(step: Resample, rates: dict[str, float]) -> None:
    record = replace(recording(brain(1)), channels=many())
    info = {n: ChannelInfo(n, c.kind, c.unit, c.fs) for n, c in record.channels.items()}
    made = step(record)
    assert {n: c.fs for n, c in made.channels.items()} == rates
    assert {n: c.fs for n, c in step.plan(info).items()} == rates
    assert all(made.channels[n] is c for n, c in record.channels.items() if rates[n] == c.fs)
    assert all(c.samples.size == 10 * c.fs for c in made.channels.values())


def test_steps_of_the_eeg_in_a_row_add_their_contexts() -> None:
    # They act on the same channels, one after the other.
    one = EegFilter()
    assert context_s([one, one]) == 2 * one.reach_s
