"""An EEG that arrives part by part gives the bits of the whole, through every step of it."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.signal import EegBadChannels, EegEog, EegFilter, EegReference, Resample, Step, Stream
from biosig_mtl.types import Channel, ChannelInfo, DataError, RecipeError, Record
from tests.signal.scalp import CAP, brain

STEPS: tuple[Step, ...] = (
    Resample(128.0, kinds=("eeg", "eog")),
    EegFilter(),
    EegBadChannels(block_s=16.0),
    EegEog(block_s=15.0),
    EegReference(),
)
SECONDS = 600
FS = 256.0


@cache
def recording() -> Record:
    """Return ten minutes in which electrodes come off and the eyes are lost for a while."""
    x = brain(SECONDS, fs=FS).astype(np.float32)
    x[2, 40_000:70_000] *= 50
    x[5, 100_000:] = 7.5
    x[9, 90_000:90_100] = np.nan
    eye = 200 * np.abs(brain(SECONDS, ("Cz",), 8, FS)[0]).astype(np.float32)
    eye[60_000:62_000] = np.nan
    x[:3] += np.nan_to_num(eye) / 4
    channels = {name: Channel(name, "eeg", "uV", FS, row) for name, row in zip(CAP, x, strict=True)}
    channels |= {"veog": Channel("veog", "eog", "uV", FS, eye), "eda": Channel("eda", "eda", "uS", 4.0, eye[::64].copy())}
    return Record("r", "s", "1", channels, seams_s=np.array([301.0]))


@cache
def described() -> Record:
    whole = recording()
    for step in STEPS:
        whole = step(whole)
    return whole


def streamed(cuts: list[float], hop_s: float) -> list[Record]:
    record, stream = recording(), Stream(STEPS, hop_s)
    made = []
    for start, stop in pairwise(sorted({0.0, *(float(round(c)) for c in cuts), float(SECONDS)})):
        channels = {
            n: Channel(n, c.kind, c.unit, c.fs, c.samples[round(start * c.fs) : round(stop * c.fs)])
            for n, c in record.channels.items()
        }
        seams = record.seams_s[(record.seams_s >= start) & (record.seams_s < stop)]
        made.append(stream.push(Record("r", "s", "1", channels, start_s=start, seams_s=seams)))
    return [part for part in (*made, stream.finish()) if part is not None]


def test_the_recording_has_what_it_should() -> None:
    notes = " ".join(described().notes)
    assert "F3 amplitude" in notes
    assert "P7 flat" in notes
    assert "without EOG" in notes
    assert described().channels["eda"].fs == 4.0


@pytest.mark.parametrize("length_s", [5.0, 200.0])
def test_even_parts_give_the_bits_of_the_whole(length_s: float) -> None:
    compare(streamed(np.arange(length_s, SECONDS, length_s).tolist(), 60.0))


@settings(max_examples=4, deadline=None)
@given(st.lists(st.floats(1, SECONDS - 1), max_size=12), st.sampled_from([30.0, 111.0]))
def test_random_parts_give_the_bits_of_the_whole(cuts: list[float], hop_s: float) -> None:
    compare(streamed(cuts, hop_s))


def compare(stretches: list[Record]) -> None:
    assert len(stretches) > 1
    for name, channel in described().channels.items():
        joined = np.concatenate([part.channels[name].samples for part in stretches])
        np.testing.assert_array_equal(joined, channel.samples, err_msg=name)


@pytest.mark.parametrize("kind", [EegFilter, EegBadChannels, EegEog, EegReference])
def test_a_record_without_eeg_is_told_or_passes_with_and_without_data(kind: type[Step]) -> None:
    bare = Record("r", "s", "1", {"ppg": Channel("ppg", "ppg", "au", 64.0, np.ones(640, np.float32))})
    info = {"ppg": ChannelInfo("ppg", "ppg", "au", 64.0)}
    with pytest.raises(DataError, match=r"r: eeg_\w+: no channel of kind eeg; it has ppg \(ppg\); name some in data.channels"):
        kind()(bare)
    with pytest.raises(DataError, match=r"eeg_\w+: no channel of kind eeg"):
        kind().plan(info)
    lenient = kind(optional=True)  # type: ignore[call-arg]
    assert lenient.optional
    assert lenient(bare) is bare
    assert lenient.plan(info) == info


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_plan_leaves_the_channels_as_they_are(step: Step) -> None:
    info = {n: ChannelInfo(n, c.kind, c.unit, c.fs) for n, c in described().channels.items()}
    assert step.plan(info) == info


def test_channels_of_different_rates_are_refused_before_there_are_data() -> None:
    info = {"F3": ChannelInfo("F3", "eeg", "uV", 128.0), "F4": ChannelInfo("F4", "eeg", "uV", 256.0)}
    with pytest.raises(RecipeError, match=r"'eeg_bad_channels' needs channels of one rate \(F3 128 Hz, F4 256 Hz\)"):
        EegBadChannels().plan(info)
    assert EegFilter().plan(info) == info
