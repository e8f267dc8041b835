"""Laws and known truth of the waves of an ECG."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.data.physiology import ecg_wave
from biosig_mtl.signal import Bandpass, DetectFiducials
from biosig_mtl.signal.delineation import ECG
from biosig_mtl.types import F64, Beats, Channel, Record

FS = 125.0
ORDER = ("p_on", "p_peak", "qrs_on", "R", "qrs_off", "t_peak", "t_end")
SIZES = (0.11, -0.08, 0.85, -0.2, 0.22)
# P, Q, S and T of `ecg_wave` at a rate of 60 per minute: place and width in seconds; a wave is over two widths from its place.
AT = {"p_peak": -0.165, "p_on": -0.165 - 2 * 0.024, "t_peak": 0.29, "t_end": 0.29 + 2 * 0.052}
FIXED = {"qrs_on": -0.026 - 2 * 0.010, "qrs_off": 0.028 + 2 * 0.011}


def heart(
    fs: float = FS, noise: float = 0.0, rate: float = 75.0, sizes: tuple[float, ...] = SIZES, seed: int = 0
) -> tuple[Record, Beats, dict[str, F64]]:
    """Return two minutes of a simulated ECG, its beats and where its waves are, in seconds."""
    rng = np.random.default_rng(seed)
    count = int(2 * rate * 1.2)
    rr = 60 / rate * (1 + 0.05 * np.sin(np.arange(count) / 2) + 0.02 * rng.standard_normal(count))
    r = np.cumsum(rr) - 0.3
    rr = np.diff(r, append=r[-1] + rr[-1])
    time = np.arange(round(120 * fs)) / fs
    x = ecg_wave(time, r, rr, np.array(sizes))
    # The same noise per hertz whatever the rate.
    x += noise * np.sqrt(fs / FS) * rng.standard_normal(x.size)
    record = Bandpass("ecg", "ecg_40hz", 0.5, 40)(
        Record("r", "s", "1", {"ecg": Channel("ecg", "ecg", "mV", fs, x.astype(np.float32))})
    )
    inside = r < 119.5
    at = np.rint(r[inside] * fs).astype(np.int64)
    end = np.append(at[1:], -1)
    truth = {word: r + place * np.sqrt(rr) for word, place in AT.items()} | {word: r + place for word, place in FIXED.items()}
    beats = Beats("ecg_40hz", fs, at, at, end, np.ones(at.size, np.float32))
    return record, beats, {word: values[inside] for word, values in truth.items()}


def delineated(record: Record, beats: Beats) -> dict[str, F64]:
    return dict(DetectFiducials("ecg_40hz")(record.with_beats(beats)).beats["ecg_40hz"].points)


def with_samples(record: Record, x: F64) -> Record:
    return record.with_channel(replace(record.channels["ecg_40hz"], samples=x.astype(np.float32)))


# Bias and spread in seconds. Where a Gaussian wave begins and ends is a matter of taste: the trapezium says about 2.3 widths.
@pytest.mark.parametrize("fs", [100.0, 125.0, 250.0, 360.0, 1000.0])
@pytest.mark.parametrize(("noise", "spread"), [(0.0, 1.0), (0.02, 5.0)])
def test_waves_lie_where_they_were_put(fs: float, noise: float, spread: float) -> None:
    record, beats, truth = heart(fs, noise)
    found = delineated(record, beats)
    limits = {"p_on": (0.016, 0.003), "p_peak": (0.003, 0.002), "qrs_on": (0.016, 0.003)}
    limits |= {"qrs_off": (0.004, 0.002), "t_peak": (0.003, 0.002), "t_end": (0.022, 0.004)}
    for word, (bias, sd) in limits.items():
        error = found[word][1:-1] / fs - truth[word][1:-1]
        assert np.isfinite(error).mean() > 0.97, word
        assert abs(np.nanmean(error)) < bias, (word, np.nanmean(error))
        assert np.nanstd(error) < sd * spread, (word, np.nanstd(error))


@pytest.mark.parametrize("rate", [45.0, 60.0, 110.0, 150.0])
def test_waves_are_found_at_any_rate(rate: float) -> None:
    record, beats, truth = heart(rate=rate, noise=0.005)
    found = delineated(record, beats)
    for word in ("qrs_on", "qrs_off", "t_peak", "t_end"):
        error = found[word][1:-1] / FS - truth[word][1:-1]
        assert np.isfinite(error).mean() > 0.95, word
        assert np.nanmax(np.abs(error)) < 0.05, word


@pytest.mark.parametrize(
    "sizes", [(0.11, 0.08, -0.85, 0.2, 0.22), (0.11, -0.08, 0.85, -0.2, -0.22), (0.11, -0.08, 0.4, -0.9, 0.22)], ids=str
)
def test_inverted_waves_are_found_where_upright_ones_are(sizes: tuple[float, ...]) -> None:
    record, beats, truth = heart(noise=0.005, sizes=sizes)
    found = delineated(record, beats)
    for word, values in found.items():
        error = values[1:-1] / FS - truth[word][1:-1]
        assert np.isfinite(error).mean() > 0.97, word
        assert abs(np.nanmedian(error)) < 0.025, word


@pytest.mark.parametrize(("place", "words"), [(4, ("t_peak", "t_end")), (0, ("p_peak", "p_on"))])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_a_wave_that_is_not_there_is_not_found(place: int, words: tuple[str, ...], noise: float) -> None:
    sizes = list(SIZES)
    sizes[place] = 0.0
    record, beats, _ = heart(noise=noise, sizes=tuple(sizes))
    found = delineated(record, beats)
    for word, values in found.items():
        share = np.isfinite(values).mean()
        assert share < 0.05 if word in words else share > 0.9, word


def test_noise_has_no_waves() -> None:
    record, beats, _ = heart()
    rng = np.random.default_rng(1)
    found = delineated(with_samples(record, rng.standard_normal(15000)), beats)
    for word in ECG:
        assert np.isfinite(found[word]).mean() < 0.1, word


def test_gain_offset_and_sign_move_no_point() -> None:
    record, beats, _ = heart(noise=0.01)
    x = record.channels["ecg_40hz"].samples.astype(np.float64)
    first = delineated(record, beats)
    for gain, offset, tolerance in ((2.0**-8, 0.0, 0.0), (-1.0, 0.0, 0.0), (37.0, 2.0, 0.1)):
        other = delineated(with_samples(record, gain * x + offset), beats)
        for word, values in first.items():
            if gain < 0 and word.startswith("p_"):
                continue  # a P wave that points down must be larger
            assert np.nanmax(np.abs(values - other[word])) <= tolerance, word
            assert (np.isnan(values) == np.isnan(other[word])).mean() > 0.99, word


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([50.0, 125.0, 1000.0]), st.floats(0, 2), st.booleans())
def test_order_holds_for_any_signal_and_any_beats(seed: int, fs: float, smooth: float, joined: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(round(8 * fs))
    x = (1 - smooth / 2) * x + smooth * np.cumsum(x) / 10
    x[rng.integers(0, x.size, 3)] = np.nan
    at = np.flatnonzero(np.isfinite(x))
    at = np.unique(rng.choice(at, 12))
    at = at[np.append(True, np.diff(at) > 0.1 * fs)]
    end = np.where(joined, np.append(at[1:], -1), -1)
    record = Record("r", "s", "1", {"ecg_40hz": Channel("ecg_40hz", "ecg", "mV", fs, x.astype(np.float32))})
    found = delineated(record, Beats("ecg_40hz", fs, at, at, end, np.ones(at.size, np.float32))) | {"R": at.astype(float)}
    for early, late in pairwise(ORDER):
        both = np.isfinite(found[early]) & np.isfinite(found[late])
        assert (found[early][both] <= found[late][both]).all(), (early, late)
    known = np.isfinite(found["t_end"]) & (end >= 0)
    assert (found["t_end"][known] < end[known]).all()
    both = np.isfinite(found["t_end"][:-1]) & np.isfinite(found["p_on"][1:]) & (end[:-1] >= 0)
    assert (found["t_end"][:-1][both] <= found["p_on"][1:][both]).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(20, 60), st.integers(20, 40))
def test_points_of_a_part_are_those_of_the_whole(start: int, length: int) -> None:
    record, beats, _ = heart(noise=0.02, seed=5)
    whole = delineated(record, beats)
    reach = DetectFiducials("ecg_40hz").reach_s
    low, high = round(max(start - reach, 0) * FS), round((start + length + reach) * FS)
    channel = record.channels["ecg_40hz"]
    part = Record("r", "s", "1", {"ecg_40hz": replace(channel, samples=channel.samples[low:high])}, start_s=low / FS)
    chosen = (beats.peak >= low) & (beats.peak < high)
    at, end = beats.peak[chosen] - low, beats.end[chosen] - low
    end = np.where((end < high - low) & (beats.end[chosen] >= 0), end, -1)
    found = delineated(part, Beats("ecg_40hz", FS, at, at, end, beats.quality[chosen]))
    inside = (beats.peak[chosen] >= start * FS) & (beats.peak[chosen] < (start + length) * FS)
    for word in ECG:
        assert np.array_equal(whole[word][chosen][inside], found[word][inside] + low, equal_nan=True), word


@pytest.mark.parametrize("gap", [True, False])
def test_what_lies_behind_a_gap_or_seam_moves_no_point(gap: bool) -> None:
    record, beats, _ = heart(noise=0.01)
    x = record.channels["ecg_40hz"].samples.astype(np.float64)
    for shift in (3, 12, 25, 40, 70):
        cut = int(beats.peak[20]) + shift
        end = beats.end.copy()
        end[20] = -1
        broken, other = x.copy(), x.copy()
        other[cut:] = 5 * np.random.default_rng(0).standard_normal(x.size - cut)
        if gap:
            broken[cut : cut + 2] = other[cut : cut + 2] = np.nan
        made = [
            delineated(
                replace(with_samples(record, signal), seams_s=np.empty(0) if gap else np.array([cut / FS])),
                replace(beats, end=end),
            )
            for signal in (broken, other)
        ]
        for word in ECG:
            # Whether a wave is steady is told from three beats on either side.
            first, second = made[0][word][:18], made[1][word][:18]
            assert np.array_equal(first, second, equal_nan=True), word
            first, second = made[0][word][18:21], made[1][word][18:21]
            both = np.isfinite(first) & np.isfinite(second)
            assert np.array_equal(first[both], second[both]), word
        assert np.isnan(made[0]["t_end"][20]) == (shift < 50)


def test_a_seam_on_either_side_leaves_a_lone_beat_its_complex() -> None:
    record, beats, _ = heart()
    cuts = (beats.peak[7] + np.array([-40, 40])) / FS
    found = delineated(replace(record, seams_s=cuts), replace(beats, end=np.full(len(beats), -1)))
    assert np.isfinite(found["qrs_on"][7])
    assert np.isfinite(found["qrs_off"][7])
    assert np.isnan(found["t_end"][7])


def test_steady_rhythm_of_a_real_record_has_steady_waves(data_root: Path) -> None:
    import wfdb

    name = str(data_root / "annotated" / "100")
    read, marks = wfdb.rdrecord(name, sampto=360 * 120), wfdb.rdann(name, "atr", sampto=360 * 120)
    x = read.p_signal[:, 0].astype(np.float32)
    record = Bandpass("ecg", "ecg_40hz", 0.5, 40)(Record("100", "100", "1", {"ecg": Channel("ecg", "ecg", "mV", 360.0, x)}))
    at = marks.sample[np.isin(marks.symbol, ["N", "A"])].astype(np.int64)
    found = delineated(record, Beats("ecg_40hz", 360.0, at, at, np.append(at[1:], -1), np.ones(at.size, np.float32)))
    # Ranges of a healthy conduction: PR 120 to 200 ms (here to the P peak), QRS 70 to 110 ms.
    for word, (low, high) in {"p_peak": (-0.2, -0.1), "qrs_on": (-0.06, -0.03), "qrs_off": (0.02, 0.06)}.items():
        away = (found[word] - at)[1:-1] / 360
        assert np.isfinite(away).mean() > 0.97, word
        assert low < np.nanmedian(away) < high, word
        assert np.nanpercentile(np.abs(away - np.nanmedian(away)), 80) < 0.02, word


def test_no_point_needs_more_than_one_beat() -> None:
    record, beats, truth = heart()
    alone = Beats("ecg_40hz", FS, beats.onset[5:6], beats.peak[5:6], np.array([-1]), beats.quality[5:6])
    found = delineated(record, alone)
    for word, values in found.items():
        assert abs(values[0] / FS - truth[word][5]) < 0.03, word


def test_a_record_shorter_than_a_beat_has_the_complex_at_most() -> None:
    record, beats, truth = heart()
    low = int(beats.peak[5]) - 25
    for length in (26, 30, 50):
        short = with_samples(record, record.channels["ecg_40hz"].samples[low : low + length].astype(np.float64))
        at = np.array([25])
        found = delineated(short, Beats("ecg_40hz", FS, at, at, np.array([-1]), np.ones(1, np.float32)))
        assert all(np.isnan(found[word][0]) for word in ("p_on", "p_peak", "t_peak", "t_end"))
        assert np.isfinite(found["qrs_off"][0]) == (length == 50)
        assert abs((found["qrs_on"][0] + low) / FS - truth["qrs_on"][5]) < 0.02


def test_points_are_in_exact_steps() -> None:
    record, beats, _ = heart(noise=0.01)
    found: dict[str, Any] = delineated(record, beats)
    fractions = np.concatenate([v[np.isfinite(v)] for v in found.values()]) * 65536
    assert np.array_equal(fractions, np.round(fractions))
