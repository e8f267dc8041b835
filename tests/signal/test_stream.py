"""A recording that arrives part by part gives what the whole gives, whatever the parts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.data.synthetic import Cohort, simulate
from biosig_mtl.signal import AssessQuality, Bandpass, DetectBeats, DetectFiducials, Resample, Step, Stream, Tape, context_s
from biosig_mtl.types import Beats, Channel, DataError, Record

STEPS: tuple[Step, ...] = (
    Resample(125.0),
    Bandpass("ppg", "ppg_12hz", 0.5, 12),
    Bandpass("ecg", "ecg_40hz", 0.5, 40),
    *(DetectBeats(n) for n in ("ppg_12hz", "ecg_40hz", "abp")),
    *(DetectFiducials(n) for n in ("ppg_12hz", "ecg_40hz", "abp")),
    AssessQuality("ppg_12hz", raw="ppg"),
    AssessQuality("ecg_40hz", raw="ecg"),
    AssessQuality("abp"),
)
SECONDS = 600.0


@cache
def recording() -> Record:
    """Return ten minutes of a restless person with everything that happens: a gap, a lost lead, seams, a slower channel."""
    cohort = Cohort(n_subjects=1, records_per_subject=1, record_s=SECONDS, fault_share=0, seed=9, noise="heavy")
    made = simulate(cohort, 0)[0].channels
    ppg, ecg = made["PLETH"].copy(), made["II"].copy()
    ppg[30_000:30_100] = np.nan
    ecg[60_000:61_500] = 0
    channels = {
        "ppg": Channel("ppg", "ppg", "NU", 62.5, ppg[::2].copy()),
        "ecg": Channel("ecg", "ecg", "mV", 125.0, ecg),
        "abp": Channel("abp", "abp", "mmHg", 125.0, made["ABP"]),
    }
    return Record("r", "s", "1", channels, seams_s=np.array([300.0, 512.4]), timing_reliable=True)


@cache
def described() -> Record:
    whole = recording()
    for step in STEPS:
        whole = step(whole)
    return whole


def parts(record: Record, cuts_s: Sequence[float]) -> list[Record]:
    """Cut a recording at some instants, to whole samples of its slowest channel."""
    slowest = min(c.fs for c in record.channels.values())
    edges = sorted({0.0, *(round(s * slowest) / slowest for s in cuts_s if 0 < s < SECONDS), SECONDS})
    pieces = []
    for start, stop in pairwise(edges):
        channels = {
            n: replace(c, samples=c.samples[round(start * c.fs) : round(stop * c.fs)]) for n, c in record.channels.items()
        }
        seams = record.seams_s[(record.seams_s >= start) & (record.seams_s < stop)]
        pieces.append(replace(record, channels=channels, start_s=start, seams_s=seams))
    return pieces


def joined(stretches: Sequence[Record], name: str, field: str) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    """Return one array of the beats of all stretches, counted from the start of the recording."""
    arrays = []
    for s in stretches:
        beats = s.beats[name]
        values = beats.points[field] if field in beats.points else getattr(beats, field)
        first = round(s.start_s * beats.fs)
        counted = field in beats.points or field in {"onset", "peak", "end"}
        arrays.append(np.where(values == -1, -1, values + first) if counted else values)
    return np.concatenate(arrays)


def same_as_the_whole(stretches: Sequence[Record]) -> None:
    whole = described()
    for name, beats in whole.beats.items():
        words = [f.name for f in fields(Beats) if f.name not in {"channel", "fs", "points"}]
        for field in (*words, *beats.points):
            mine = beats.points[field] if field in beats.points else getattr(beats, field)
            np.testing.assert_array_equal(joined(stretches, name, field), mine, err_msg=f"{name} {field}")
    for name, quality in whole.quality.items():
        np.testing.assert_array_equal(np.concatenate([s.quality[name].sqi for s in stretches]), quality.sqi, err_msg=name)
        for index, track in quality.indices.items():
            found = np.concatenate([s.quality[name].indices[index] for s in stretches])
            np.testing.assert_array_equal(found, track, err_msg=f"{name} {index}")
    for name, channel in whole.channels.items():
        np.testing.assert_array_equal(np.concatenate([s.channels[name].samples for s in stretches]), channel.samples)


def streamed(pieces: Sequence[Record], hop_s: float) -> list[Record]:
    stream = Stream(STEPS, hop_s)
    return [s for s in (*(stream.push(p) for p in pieces), stream.finish()) if s is not None]


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.floats(0, SECONDS), max_size=40), hop_s=st.sampled_from([20.0, 45.0, 400.0]))
def test_random_parts_give_the_bits_of_the_whole(cuts: list[float], hop_s: float) -> None:
    same_as_the_whole(streamed(parts(recording(), cuts), hop_s))


@pytest.mark.parametrize("length_s", [1.0, 60.0, SECONDS])
def test_parts_of_a_second_up_to_the_whole_give_the_bits_of_the_whole(length_s: float) -> None:
    same_as_the_whole(streamed(parts(recording(), np.arange(length_s, SECONDS, length_s).tolist()), 30.0))


def test_results_come_within_the_latency_that_is_told() -> None:
    stream, arrived, settled = Stream(STEPS, 15.0), 0.0, 0.0
    for part in parts(recording(), np.arange(1.0, SECONDS).tolist()):
        arrived = part.start_s + 1
        found = stream.push(part)
        if found is not None:
            assert found.start_s == settled
            settled = found.start_s + found.duration_s
        assert arrived - settled <= stream.latency_s
    assert settled > SECONDS / 2


def test_what_is_kept_does_not_grow_with_the_recording() -> None:
    tape = Tape(20.0, 5.0)
    longest = 0
    for k in range(300):
        tape.add(Record("r", "s", "1", {"ppg": Channel("ppg", "ppg", "NU", 10.0, np.zeros(10, np.float32))}, start_s=float(k)))
        taken = tape.take()
        if taken is not None:
            longest = max(longest, taken[0].channels["ppg"].samples.size)
    assert longest <= (2 * 20 + 5 + 1) * 10


def test_less_context_after_than_before_gives_results_sooner_and_keeps_what_lies_before() -> None:
    tape, found = Tape(20.0, 5.0, 3.0), []
    assert tape.latency_s == 8.0
    for k in range(60):
        tape.add(Record("r", "s", "1", {"ppg": Channel("ppg", "ppg", "NU", 10.0, np.zeros(10, np.float32))}, start_s=float(k)))
        taken = tape.take()
        if taken is not None:
            record, start_s, stop_s = taken
            assert k + 1 - stop_s == 3.0
            assert record.start_s == max(start_s - 20.0, 0.0)
            found.append((start_s, stop_s))
    assert found[0] == (0.0, 5.0)
    assert [stop for _, stop in found[:-1]] == [start for start, _ in found[1:]]


def test_seams_that_lie_behind_are_forgotten() -> None:
    tape, most = Tape(20.0, 5.0), 0
    for k in range(300):
        channel = Channel("ppg", "ppg", "NU", 10.0, np.zeros(10, np.float32))
        tape.add(Record("r", "s", "1", {"ppg": channel}, start_s=float(k), seams_s=np.array([k + 0.5])))
        taken = tape.take()
        most = max(most, 0 if taken is None else taken[0].seams_s.size)
    assert 40 <= most <= 2 * 20 + 5 + 1


def test_a_part_that_does_not_follow_is_refused_in_one_line() -> None:
    first, _, third = parts(recording(), [10.0, 20.0])
    stream = Stream(STEPS)
    with pytest.raises(DataError, match="must start at 0 s"):
        Stream(STEPS).push(third)
    stream.push(first)
    with pytest.raises(DataError, match="has 10 s so far; fill what is lost with NaN"):
        stream.push(third)
    with pytest.raises(DataError, match="has the channels"):
        stream.push(replace(first, channels={"ppg": first.channels["ppg"]}, start_s=10.0))
    slower = {n: replace(c, fs=c.fs / 2) for n, c in first.channels.items()}
    with pytest.raises(DataError, match="the stream had"):
        stream.push(replace(first, channels=slower, start_s=10.0))


def test_nothing_pushed_is_nothing() -> None:
    assert Stream(STEPS).finish() is None
    assert Tape(1.0).take() is None
    for nonsense in ((-1.0, 1.0), (1.0, 0.0), (1.0, 1.0, -1.0)):
        with pytest.raises(ValueError, match="need context_s >= 0"):
            Tape(*nonsense)


def test_a_recording_shorter_than_the_context_comes_at_the_end() -> None:
    stream = Stream(STEPS)
    short = parts(recording(), [30.0])[0]
    assert stream.push(short) is None
    found = stream.finish()
    assert found is not None
    assert found.duration_s == 30.0
    assert len(found.beats["ecg_40hz"]) > 10
    assert context_s(STEPS) < stream.latency_s
