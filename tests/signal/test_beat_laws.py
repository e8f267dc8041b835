"""Laws of beats on whatever signal: gain, offset, time, rate, gaps, polarity, parts and wholes, and how many are found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.data.noise import NoiseName
from biosig_mtl.signal import Bandpass, DetectBeats, Resample, Step, context_s
from biosig_mtl.types import F64, I64, Beats, Channel, Record
from tests.benchmarks import inputs, scoring
from tests.signal.conftest import Simulated, detected, person, with_samples

KINDS = ("ppg", "ecg", "abp")
Simulate = Callable[..., Simulated]
kinds, people = st.sampled_from(KINDS), st.integers(0, 400)
levels = st.sampled_from(["clean", "moderate", "heavy"])
steady = st.sampled_from(["clean", "moderate"])
GRID = math.lcm(125, 5 * 125, 16 * 125, 32 * 125, 4, 9, 11, 62)
few = settings(max_examples=25, deadline=None)


def without_unit(record: Record) -> Record:
    """Return the record with pressures in an unknown unit: in mmHg a pulse has a least height."""
    return replace(record, channels={n: replace(c, unit="au") for n, c in record.channels.items()})


def same(first: Beats, other: Beats) -> bool:
    return np.array_equal(first.peak, other.peak) and np.array_equal(first.onset, other.onset)


# --------------------------------------------------------------------------------------------------- gain, offset and time
@few
@given(kind=kinds, noise=levels, seed=people, decades=st.floats(-3, 3))
def test_no_gain_moves_a_beat(kind: str, noise: NoiseName, seed: int, decades: float) -> None:
    record = without_unit(person(seed, noise))
    first = detected(record, kind)
    assert same(detected(with_samples(record, lambda x: x * 2.0 ** round(3.3 * decades)), kind), first)
    # That is exact in any precision. Any other gain rounds the samples as they are stored, which turns a tie now and then: of
    # 170,000 onsets and peaks two moved.
    other = detected(with_samples(record, lambda x: x * 10**decades), kind)
    assert first.peak.size == other.peak.size
    assert (first.peak != other.peak).sum() + (first.onset != other.onset).sum() <= 2


@few
@given(kind=kinds, noise=levels, seed=people, offset=st.integers(-10 * 4096, 10 * 4096))
def test_no_offset_moves_a_beat(kind: str, noise: NoiseName, seed: int, offset: int) -> None:
    record = without_unit(person(seed, noise))
    # On a grid that single precision holds with and without an offset of up to ten standard deviations.
    record = with_samples(record, lambda x: np.round(4096 * x / x.std()) / 4096)
    assert same(detected(with_samples(record, lambda x: x + offset / 4096), kind), detected(record, kind))


@few
@given(kind=kinds, noise=levels, seed=people, offset=st.floats(100, 3000))
def test_a_great_offset_moves_single_beats_by_a_sample(kind: str, noise: NoiseName, seed: int, offset: float) -> None:
    record = with_samples(without_unit(person(seed, noise)), lambda x: x / x.std())
    first, other = detected(record, kind), detected(with_samples(record, lambda x: x + offset), kind)
    # What single precision stores is rounded by the offset: where two samples are nearly alike the other may win.
    assert np.mean(np.isin(first.peak, other.peak)) > 0.9
    off = np.abs(first.peak[:, None] - other.peak).min(axis=1)
    assert (off <= 1).mean() > 0.97


@few
@given(kind=kinds, noise=levels, seed=people, times=st.integers(1, 10))
def test_a_shift_by_whole_blocks_shifts_all_there_is(kind: str, noise: NoiseName, seed: int, times: int) -> None:
    record = person(seed, noise)
    # Levels, templates, searches and filters lie on grids of the recording: 1, 5, 16 and 32 s, and 4, 9, 11 and 62 samples.
    later = detected(replace(record, start_s=times * GRID / 125), kind)
    first = detected(record, kind)
    for field in ("onset", "peak", "end", "quality", "mark", "polarity", "confirmed"):
        assert np.array_equal(getattr(first, field), getattr(later, field)), field


@few
@given(kind=kinds, seed=people, samples=st.integers(1, 10**6))
def test_any_shift_shifts_the_beats_of_a_clean_signal(kind: str, seed: int, samples: int) -> None:
    record = person(seed, "clean")
    first, later = detected(record, kind), detected(replace(record, start_s=samples / 125), kind)
    assert unlike_share(first.peak, later.peak) < 0.03


def unlike_share(one: I64, other: I64) -> float:
    return float(np.setxor1d(one, other).size / max(one.size + other.size, 1))


# ------------------------------------------------------------------------------------------------------------ sampling rate
@few
@given(kind=kinds, noise=steady, seed=st.integers(0, 150))
def test_resampling_moves_no_beat_by_a_coarse_sample(kind: str, noise: NoiseName, seed: int) -> None:
    fine = person(seed, noise, 60.0, 250.0)
    one, two = detected(fine, kind), detected(Resample(100)(fine), kind)
    for field in ("peak", "onset"):
        off = apart(getattr(one, field) / 250.0, getattr(two, field) / 100.0)
        # Premature pulses too weak to be sure of, and beats under moving electrodes, may be others: at the worst of 40 people
        # 1.5 % (clean) and 2.6 % (moderate), on the mean 0.04 % and 0.3 %. Of 400 people one (seed 185) has T waves so tall
        # that at 100 Hz they are found as beats and at 250 are not.
        assert (off < 0.01).mean() >= (0.97 if noise == "clean" else 0.95)


def apart(one: F64, two: F64) -> F64:
    """Return how far every beat is from the nearest of the other, both ways, but for those in the first and last second."""
    off = np.abs(one[:, None] - two)
    nearest = np.concatenate((off.min(axis=1), off.min(axis=0)))
    return np.asarray(nearest[np.abs(np.concatenate((one, two)) - 30) < 29])


@pytest.mark.parametrize("kind", KINDS)
def test_resampling_moves_no_beat_of_a_noise_free_signal(simulate: Simulate, kind: str) -> None:
    for seed in range(5):
        fine = simulate(60, seed, 0.0, 75.0, 250.0).record
        one, two = detected(fine, kind), detected(Resample(100)(fine), kind)
        for field in ("peak", "onset"):
            assert apart(getattr(one, field) / 250.0, getattr(two, field) / 100.0).max() < 0.01


# --------------------------------------------------------------------------------------------------------------------- gaps
# Farther than this from a gap no beat is another one than without it. Farthest of 400 clean records with gaps of 0.02 to 8 s:
# ECG 0.23 s, ABP 0.14 s; PPG 0.4 s for 395 of them (1.7 s for moves of a sample), since the filter has to settle again.
MARGIN_S = {"ecg": 0.4, "abp": 0.4, "ppg": 2.0}


def changed_far_from_a_gap(record: Record, kind: str, start: int, length: int) -> int:
    """Return how many onsets and peaks beyond the margins of a gap are not within a sample of one there is without it."""

    def spoil(x: F64) -> F64:
        y = x.copy()
        y[start : start + length] = np.nan
        return y

    first, other = detected(record, kind), detected(with_samples(record, spoil), kind)
    assert not ((other.peak >= start) & (other.peak < start + length)).any()
    assert not ((other.end >= 0) & (other.onset < start) & (other.end >= start + length)).any()
    margin, count = MARGIN_S[kind] * 125, 0
    for field in ("peak", "onset"):
        one, two = getattr(first, field), getattr(other, field)
        for mine, theirs in ((one, two), (two, one)):
            far = mine[(mine <= start - margin) | (mine >= start + length + margin)]
            count += int((np.abs(far[:, None] - theirs).min(axis=1, initial=10**6) > 1).sum())
    return count


@settings(max_examples=30, deadline=None)
@given(kind=kinds, seed=people, noise=st.sampled_from([0.0, 0.01]), start=st.integers(1250, 5000), length=st.integers(2, 1000))
def test_a_gap_changes_no_beat_outside_its_margins(
    simulate: Simulate, kind: str, seed: int, noise: float, start: int, length: int
) -> None:
    assert changed_far_from_a_gap(simulate(60, seed, noise).record, kind, start, length) == 0


@settings(max_examples=30, deadline=None)
@given(kind=kinds, seed=people, start=st.integers(1250, 5000), length=st.integers(2, 1000))
def test_a_gap_changes_farther_away_at_most_what_was_uncertain(kind: str, seed: int, start: int, length: int) -> None:
    # A premature pulse so weak that its surroundings decide: in 2 of 400 records one was chosen otherwise, up to 10 s away.
    most = 6 if kind == "ppg" else 0
    assert changed_far_from_a_gap(person(seed, "clean"), kind, start, length) <= most


# ----------------------------------------------------------------------------------------------------------------- polarity
@few
@given(seed=people, noise=steady)
def test_an_upside_down_pulse_is_told_and_gives_the_same_beats(seed: int, noise: NoiseName) -> None:
    record = person(seed, noise)
    first, other = detected(record, "ppg"), detected(with_samples(record, np.negative), "ppg")
    assert same(first, other)
    assert (first.polarity == 1).all()
    assert (other.polarity == -1).all()


@few
@given(seed=people, noise=st.sampled_from([0.0, 0.02, 0.05]))
def test_a_reversed_lead_is_told_and_gives_the_same_beats(simulate: Simulate, seed: int, noise: float) -> None:
    # Where R is clearly the greatest wave; with an S nearly as deep, that of the reversed lead is taken for its R.
    record = simulate(60, seed, noise).record
    first, other = detected(record, "ecg"), detected(with_samples(record, np.negative), "ecg")
    assert first.peak.size == other.peak.size
    assert np.abs(first.peak - other.peak).max() <= 0.02 * 125
    assert (first.polarity == 1).all()
    assert (other.polarity == -1).all()


@few
@given(seed=people)
def test_a_reversed_lead_of_anybody_gives_the_same_number_of_beats_at_one_lag(seed: int) -> None:
    record = person(seed, "clean")
    first, other = detected(record, "ecg"), detected(with_samples(record, np.negative), "ecg")
    assert abs(first.peak.size - other.peak.size) <= 1
    got = scoring.score(first.peak / 125, other.peak / 125)
    assert got.strict_f1 > 0.97
    assert abs(got.lag_s) < 0.05


# ------------------------------------------------------------------------------------------------------------ noise refusal
@few
@given(kind=kinds, seed=st.integers(0, 10**6), fs=st.sampled_from([100.0, 125.0, 250.0]), start=st.integers(5, 12))
def test_noise_has_no_beats_and_those_beside_it_stay(kind: str, seed: int, fs: float, start: int) -> None:
    record = person(seed % 50, "clean", 60.0, fs)
    rng = np.random.default_rng(seed)
    cut = round((start + 20) * fs)

    def spoil(x: F64) -> F64:
        return np.where(np.arange(x.size) < cut, x, x.mean() + 2 * x.std() * rng.standard_normal(x.size))

    beats = detected(with_samples(record, spoil), kind)
    # Eight seconds beside the pulses are judged together with them.
    # In 1 of some 800 records of noise a single one is left.
    assert (beats.peak > cut + 10 * fs).sum() <= 1
    assert (beats.peak < cut - 10 * fs).sum() >= 0.7 * (detected(record, kind).peak < cut - 10 * fs).sum()


# ---------------------------------------------------------------------------------------------------------- parts and wholes
STEPS: list[Step] = [
    Bandpass("ppg", "ppg_12hz", 0.5, 12),
    Bandpass("ppg", "ppg_8hz", 0.5, 8, "chebyshev2", 4),
    Bandpass("ecg", "ecg_40hz", 0.5, 40),
    DetectBeats("ppg_12hz"),
    DetectBeats("ecg_40hz"),
    DetectBeats("abp"),
]
WHOLE_S = 600


def faulty(seed: int, noise: NoiseName, fs: float) -> Record:
    """Return ten minutes with gaps, flat and saturated stretches, jumps, a stretch upside down, and seams."""
    record, rng = person(seed, noise, float(WHOLE_S), fs), np.random.default_rng(seed)
    channels = {}
    for name, channel in record.channels.items():
        x = channel.samples.astype(np.float64)
        if name == "abp":
            x += rng.standard_normal(x.size)
        for _ in range(6):
            start = int(rng.integers(x.size))
            part = slice(start, start + int(rng.integers(1, round(8 * fs))))
            middle, top = np.nanmean(x), np.nanmax(x)
            x[part] = (np.full(x[part].size, np.nan), np.full(x[part].size, top), x[part] * 0 + middle, 2 * middle - x[part])[
                int(rng.integers(4))
            ]
        turned = slice(round(200 * fs), round(290 * fs))
        x[turned] = 2 * np.nanmean(x) - x[turned]
        channels[name] = replace(channel, samples=x.astype(np.float32))
    return replace(record, channels=channels, seams_s=np.sort(rng.uniform(0, WHOLE_S, 3)))


def run(record: Record) -> Record:
    for step in STEPS:
        record = step(record)
    return record


def cut(record: Record, start: int, stop: int, fs: float) -> Record:
    channels = {n: replace(c, samples=c.samples[start:stop]) for n, c in record.channels.items()}
    return replace(record, channels=channels, start_s=start / fs)


def assert_same(whole: Record, part: Record, offset: int, start: int, stop: int) -> None:
    """Hold everything between two samples against the whole, bit for bit."""
    for name, channel in whole.channels.items():
        mine = part.channels[name].samples[start - offset : stop - offset]
        assert np.array_equal(mine, channel.samples[start:stop], equal_nan=True), name
    for name, theirs in whole.beats.items():
        beats = part.beats[name]
        here, there = (
            (beats.peak + offset >= start) & (beats.peak + offset < stop),
            (theirs.peak >= start) & (theirs.peak < stop),
        )
        assert np.array_equal(beats.peak[here] + offset, theirs.peak[there]), name
        assert np.array_equal(beats.onset[here] + offset, theirs.onset[there]), name
        assert np.array_equal(np.where(beats.end[here] >= 0, beats.end[here] + offset, -1), theirs.end[there]), name
        for field in ("quality", "mark", "polarity", "confirmed"):
            assert np.array_equal(getattr(beats, field)[here], getattr(theirs, field)[there]), (name, field)


@settings(max_examples=20, deadline=None)
@given(
    seed=people,
    noise=levels,
    fs=st.sampled_from([100.0, 125.0, 250.0]),
    cuts=st.lists(st.tuples(st.floats(0, WHOLE_S - 2), st.floats(1, 60)), min_size=4, max_size=4),
)
def test_any_part_gives_the_beats_of_the_whole(seed: int, noise: NoiseName, fs: float, cuts: list[tuple[float, float]]) -> None:
    record, reach = faulty(seed, noise, fs), context_s(STEPS)
    whole = run(record)
    for start_s, length_s in cuts:
        start, stop = int(start_s * fs), min(int((start_s + length_s) * fs), int(WHOLE_S * fs))
        first, last = max(int((start_s - reach) * fs), 0), min(int((start_s + length_s + reach) * fs) + 1, int(WHOLE_S * fs))
        assert_same(whole, run(cut(record, first, last, fs)), first, start, stop)


@pytest.mark.parametrize(
    ("seed", "fs", "start", "stop"), [(18, 100.0, 17834, 23197), (46, 100.0, 44518, 47851), (99, 250.0, 94116, 99808)]
)
def test_parts_that_once_differed(seed: int, fs: float, start: int, stop: int) -> None:
    record, reach = faulty(seed, "heavy", fs), int(np.ceil(context_s(STEPS)) * fs)
    first, last = max(start - reach, 0), min(stop + reach, int(WHOLE_S * fs))
    assert_same(run(record), run(cut(record, first, last, fs)), first, start, stop)


# ----------------------------------------------------------------------------------------------------------- accuracy floors
def found_in(given: inputs.Input) -> F64:
    kind = given.kind
    record = Record(given.name, "s", "1", {kind: Channel(kind, kind, "au", given.fs, given.samples.astype(np.float32))})
    return np.asarray(detected(record, kind).peak / given.fs)


def f1(parts: inputs.Set) -> float:
    return scoring.pooled([(p.truth_s, found_in(p)) for p in parts], parts[0].lag_between_s).f1


@pytest.mark.parametrize(("record", "least"), [("100", 0.999), ("105", 0.994)])
def test_beats_of_mit_bih_are_found(data_root: Path, record: str, least: float) -> None:
    pytest.importorskip("wfdb")
    assert f1((inputs.mit_bih(data_root, record),)) >= least


def test_beats_of_the_noise_stress_test_are_found(data_root: Path) -> None:
    assert f1((inputs.noise_stress(data_root),)) >= 0.97


def test_pulses_of_bidmc_and_mimic_are_found(data_root: Path) -> None:
    for module in ("wfdb", "neurokit2", "sleepecg"):
        pytest.importorskip(module)
    whole = inputs.bidmc(data_root)
    assert f1((whole,)) >= 0.986
    assert f1(inputs.readable(whole)) >= 0.998
    assert f1(inputs.mimic(data_root)) >= 0.997


@pytest.mark.parametrize(("noise", "ecg", "ppg"), [("clean", 0.999, 0.999), ("moderate", 0.996, 0.993), ("heavy", 0.93, 0.94)])
def test_beats_of_the_simulated_cohort_are_found(noise: NoiseName, ecg: float, ppg: float) -> None:
    for kind, least in (("ecg", ecg), ("ppg", ppg)):
        assert f1(tuple(x for x in inputs.simulated(noise) if x.kind == kind)) >= least
