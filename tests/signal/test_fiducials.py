"""Laws of the named points of a pulse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.signal import Bandpass, DetectBeats, DetectFiducials
from biosig_mtl.signal.fiducials import KINDS
from biosig_mtl.signal.points import Curve, curve
from biosig_mtl.types import F32, F64, I64, Beats, Channel, ChannelInfo, RecipeError, Record

FS = 125.0
# Each pair stands in this order wherever both exist.
ORDER = (
    *(("a", "u"), ("foot", "u"), ("u", "b"), ("b", "p1"), ("p1", "p2"), ("b", "c"), ("c", "d"), ("p2", "e"), ("p2", "d")),
    *(("d", "e"), ("v", "e"), ("e", "w"), ("w", "f"), ("e", "f"), ("notch", "diastolic")),
)


def record_of(x: F64 | F32, kind: str = "ppg", fs: float = FS, **more: Any) -> Record:
    return Record("r", "s", "1", {kind: Channel(kind, kind, "au", fs, np.asarray(x, np.float32))}, **more)


def beats_of(edges: I64, peaks: I64, kind: str = "ppg", fs: float = FS, polarity: int = 1) -> Beats:
    size = peaks.size
    sign = np.full(size, polarity, np.int8)
    return Beats(kind, fs, edges[:-1], peaks, edges[1:], np.ones(size, np.float32), polarity=sign)


def points(record: Record, beats: Beats) -> dict[str, F64]:
    kind = next(iter(record.channels))
    return dict(DetectFiducials(kind)(record.with_beats(beats)).beats[kind].points)


def shape(time: F64) -> F64:
    """A pulse in continuous time: forward, reflected and dicrotic wave."""
    waves = ((0.16, 0.055, 1.0), (0.31, 0.060, 0.45), (0.52, 0.065, 0.30))
    return np.asarray(sum(h * np.exp(-(((time - at) / width) ** 2) / 2) for at, width, h in waves))


def train(fs: float, count: int = 20, length: float = 0.9) -> tuple[F64, Beats]:
    """A train of such pulses whose beats begin and peak where the samples nearest to the truth are."""
    time = np.arange(round(count * length * fs)) / fs
    x = sum(shape(time - k * length) for k in range(-1, count + 1))
    fine = np.arange(0, 0.4, 1e-4)
    edges = np.rint(np.arange(1, count - 1) * length * fs).astype(np.int64)
    peaks = np.rint((np.arange(1, count - 2) * length + fine[shape(fine).argmax()]) * fs).astype(np.int64)
    return np.asarray(x), beats_of(edges, peaks, fs=fs)


def prepared(record: Record) -> Record:
    for step in (Bandpass("ppg", "ppg_12hz", 0.5, 12), DetectBeats("ppg_12hz"), DetectBeats("abp")):
        record = step(record)
    return DetectFiducials("abp")(DetectFiducials("ppg_12hz")(record))


def test_points_come_in_the_order_of_the_pulse(simulate: Any) -> None:
    beats = prepared(simulate(120, 1, 0.002).record).beats["ppg_12hz"]
    found, whole = beats.points, beats.end >= 0
    assert set(found) == set(KINDS["ppg"])
    for word in ("foot", "a", "u", "b", "v", "e", "notch", "w", "diastolic", "f"):
        assert np.isfinite(found[word][whole]).mean() > 0.95, word
    assert all(np.isnan(values[~whole]).all() for values in found.values())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ppg", "abp"]), st.sampled_from([20.0, 64.0, 125.0, 1000.0]), st.floats(0, 2))
def test_order_holds_for_any_signal_and_any_beats(seed: int, kind: str, fs: float, smooth: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(600)
    x = (1 - smooth / 2) * x + smooth * np.cumsum(x) / 10
    edges = np.unique(np.append(rng.integers(1, 599, rng.integers(2, 30)), 0))
    edges = edges[np.append(True, np.diff(edges) > 2)]
    if edges.size < 2:
        return
    peaks = rng.integers(edges[:-1] + 1, edges[1:])
    record = record_of(x, kind, fs)
    found = points(record, beats_of(edges, peaks, kind, fs))
    for early, late in ORDER:
        if early in found and late in found:
            both = np.isfinite(found[early]) & np.isfinite(found[late])
            assert (found[early][both] <= found[late][both]).all(), (early, late)
    for word, values in found.items():
        known = np.isfinite(values)
        assert (values[known] >= edges[:-1][known]).all(), word
        assert (values[known] < edges[1:][known]).all(), word
        if word in ("notch", "v", "e", "w", "f", "diastolic"):
            assert (values[known] > peaks[known]).all(), word
        if word in ("foot", "a", "u"):
            assert (values[known] <= peaks[known]).all(), word


def test_points_lie_where_the_continuous_pulse_has_them() -> None:
    x, beats = train(250.0)
    found = points(record_of(x, fs=250.0), beats)
    time = np.arange(0, 0.9, 1e-4)
    vpg = np.gradient(shape(time), time)
    apg = np.gradient(vpg, time)
    jerk = np.gradient(apg, time)
    part = {word: slice(round(low * 1e4), round(high * 1e4)) for word, (low, high) in SPANS.items()}
    curves = {"u": vpg, "v": -vpg, "w": vpg, "p1": jerk, "p2": -jerk}
    curves |= {"a": apg, "b": -apg, "c": apg, "d": -apg, "e": apg, "f": -apg}
    for word, values in curves.items():
        truth = time[part[word]][values[part[word]].argmax()]
        error = (found[word] - beats.onset) / 250 - truth
        assert np.abs(error).max() < 0.008, (word, error[0])
    notch = time[4000:5000][shape(time[4000:5000]).argmin()]
    assert np.abs((found["notch"] - beats.onset) / 250 - notch).max() < 0.004


# Where each wave of `shape` lies, by eye.
SPANS: dict[str, tuple[float, float]] = {
    "u": (0.05, 0.16),
    "a": (0.0, 0.1),
    "b": (0.1, 0.2),
    "c": (0.2, 0.27),
    "d": (0.26, 0.36),
    "e": (0.36, 0.46),
    "f": (0.46, 0.6),
    "v": (0.2, 0.4),
    "w": (0.42, 0.52),
    "p1": (0.16, 0.24),
    "p2": (0.22, 0.30),
}


def test_another_rate_moves_points_by_less_than_a_coarse_sample() -> None:
    (x, slow), (y, fast) = train(100.0), train(250.0)
    coarse, fine = points(record_of(x, fs=100.0), slow), points(record_of(y, fs=250.0), fast)
    for word in KINDS["ppg"]:
        assert np.isfinite(coarse[word]).all(), word
        assert np.isfinite(fine[word]).all(), word
        assert np.abs(coarse[word] / 100 - fine[word] / 250).max() < 0.01, word


@pytest.mark.parametrize("kind", ["ppg", "abp"])
def test_gain_offset_and_polarity_move_no_point(kind: str) -> None:
    x, beats = train(FS)
    beats = replace(beats, channel=kind)
    x = x + 0.02 * np.sin(np.arange(x.size))
    first = points(record_of(x, kind), beats)
    assert all(np.isfinite(values).mean() > 0.5 for values in first.values())
    upside_down = replace(beats, polarity=np.full(len(beats), -1, np.int8))
    for gain, offset, tolerance in ((2.0**-9, 0.0, 0.0), (64.0, 0.0, 0.0), (37.0, 5.0, 0.05)):
        for sign, given_beats in ((1, beats), (-1, upside_down)):
            other = points(record_of(sign * (gain * x + offset), kind), given_beats)
            for word, values in first.items():
                assert np.nanmax(np.abs(values - other[word])) <= tolerance, word
                assert np.array_equal(np.isnan(values), np.isnan(other[word])), word


def test_beats_of_either_polarity_may_stand_in_one_record() -> None:
    x, beats = train(FS)
    turned = np.arange(len(beats)) >= 9
    middle = beats.onset[9] - 10
    sign = np.where(np.arange(x.size) >= middle, -1, 1)
    mixed = replace(beats, polarity=np.where(turned, -1, 1).astype(np.int8))
    plain, both = points(record_of(x), beats), points(record_of(sign * x), mixed)
    for word in KINDS["ppg"]:
        assert np.array_equal(plain[word][:8], both[word][:8]), word
        assert np.array_equal(plain[word][10:], both[word][10:]), word


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 700), st.booleans())
def test_what_lies_behind_a_gap_or_seam_moves_no_point(seed: int, behind: int, gap: bool) -> None:
    rng = np.random.default_rng(seed)
    x, beats = train(FS)
    x = x + 0.02 * rng.standard_normal(x.size)
    cut = int(beats.onset[8]) + behind % 120
    other = x.copy()
    other[cut:] = 50 * rng.standard_normal(x.size - cut)
    seams = np.empty(0) if gap else np.array([cut / FS])
    if gap:
        x[cut : cut + 3] = other[cut : cut + 3] = np.nan
    before = beats.end <= cut
    first, second = (points(record_of(signal, seams_s=seams), beats) for signal in (x, other))
    for word in KINDS["ppg"]:
        assert np.array_equal(first[word][before], second[word][before], equal_nan=True), word


def test_a_gap_far_away_moves_no_point(simulate: Any) -> None:
    record = prepared(simulate(60, 6, 0.005).record)
    beats = record.beats["ppg_12hz"]
    samples = record.channels["ppg_12hz"].samples.copy()
    samples[3000:3400] = np.nan
    other = DetectFiducials("ppg_12hz")(record.with_channel(replace(record.channels["ppg_12hz"], samples=samples)))
    far = (beats.end >= 0) & ((beats.end < 2980) | (beats.onset > 3420))
    assert far.sum() > 50
    for word, values in other.beats["ppg_12hz"].points.items():
        assert np.array_equal(values[far], beats.points[word][far], equal_nan=True), word


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 60), st.integers(30, 50), st.sampled_from(["ppg", "abp"]))
def test_points_of_a_part_are_those_of_the_whole(simulate: Any, start: int, length: int, kind: str) -> None:
    record = prepared(simulate(120, 4, 0.01).record)
    name = {"ppg": "ppg_12hz", "abp": "abp"}[kind]
    whole = record.beats[name]
    reach = DetectFiducials(name).reach_s
    low, high = round((start - reach) * FS), round((start + length + reach) * FS)
    low, high = max(low, 0), min(high, 120 * 125)
    chosen = (whole.onset >= low) & (whole.end >= 0) & (whole.end < high)
    cut = replace(record.channels[name], samples=record.channels[name].samples[low:high])
    onset, peak, end = (times[chosen] - low for times in (whole.onset, whole.peak, whole.end))
    part = Record("r", "s", "1", {name: cut}, start_s=low / FS)
    found = DetectFiducials(name)(part.with_beats(Beats(name, FS, onset, peak, end, whole.quality[chosen]))).beats[name].points
    inside = (whole.onset[chosen] >= start * FS) & (whole.end[chosen] < (start + length) * FS)
    for word, values in whole.points.items():
        assert np.array_equal(values[chosen][inside], found[word][inside] + low, equal_nan=True), word


def test_notch_and_diastolic_peak_lie_where_they_were_put(simulate: Any) -> None:
    made = simulate(120, 2)
    beats = prepared(made.record).beats["ppg_12hz"]
    foot = beats.onset[beats.end >= 0] / 125
    notch, diastolic = (beats.points[w][beats.end >= 0] / 125 - foot for w in ("notch", "diastolic"))
    # The second wave of the simulated pulse is centred at 0.42 s, the valley before it at 0.34 s.
    assert abs(np.nanmedian(notch) - 0.34) < 0.04
    assert abs(np.nanmedian(diastolic) - 0.42) < 0.04


def test_the_foot_by_tangents_is_near_the_true_foot(simulate: Any) -> None:
    made = simulate(120, 3)
    beats = prepared(made.record).beats["abp"]
    assert set(beats.points) == {"foot", "u", "notch"}
    foot = beats.points["foot"] / 125
    nearest = made.foot_s[np.abs(made.foot_s[:, None] - foot[None]).argmin(axis=0)]
    assert abs(np.nanmedian(foot - nearest)) < 0.03
    assert np.nanstd(foot - nearest) < 0.01


def test_a_plain_minimum_is_the_notch_though_the_fall_bends_more_before_it() -> None:
    time = np.arange(0, 6, 1 / FS)
    phase = time % 1.0
    x = np.exp(-(((phase - 0.12) / 0.035) ** 2)) + 0.5 * np.exp(-phase / 0.35) + 0.15 * np.exp(-(((phase - 0.5) / 0.06) ** 2))
    x[phase < 0.12] *= np.maximum(phase[phase < 0.12] / 0.12, 0)
    edges = np.arange(1, 6) * 125
    found = points(record_of(x, "abp"), beats_of(edges, edges[:-1] + 15, "abp"))
    lowest = np.array([edge + 35 + x[edge + 35 : edge + 60].argmin() for edge in edges[:-1]])
    assert np.abs(found["notch"] - lowest).max() <= 1


def test_derivatives_are_those_of_a_polynomial_up_to_the_ends_of_a_run() -> None:
    time = np.arange(200) / FS
    x = 2 * time + 3 * time**2
    seen = Curve(x.astype(np.float32), FS, np.array([0]), np.array([200]))
    level, slope, bend = seen.fits((0, 1, 2), 0.088, 4)
    assert np.allclose(level[10:-10], x[10:-10])
    assert np.allclose(slope[10:-10], (2 + 6 * time)[10:-10])
    # A float32 near 10 has steps of a millionth, and the second derivative weighs them by the square of the rate.
    assert np.allclose(bend[10:-10], 6, atol=0.01)
    line = Curve((2 * time).astype(np.float32), FS, np.array([0, 90]), np.array([60, 200])).fit(1, 0.088, 4)
    for run in (slice(0, 60), slice(90, 200)):
        assert np.allclose(line[run], 2, atol=1e-4)


@pytest.mark.parametrize("kind", ["ppg", "abp", "ecg"])
@pytest.mark.parametrize(
    "samples", [np.empty(0), np.ones(1), np.ones(2), np.ones(500), np.full(500, np.nan), np.full(500, 1e30)], ids=str
)
def test_signals_without_beats_raise_nothing(kind: str, samples: F64) -> None:
    none = np.empty(0, np.int64)
    record = record_of(samples, kind)
    found = points(record, Beats(kind, FS, none, none, none, np.empty(0, np.float32)))
    assert set(found) == set(KINDS[kind])
    assert all(values.size == 0 for values in found.values())
    if samples.size > 400:
        found = points(record, beats_of(np.array([10, 120, 250]), np.array([30, 140]), kind))
        assert all(np.isnan(values).all() for values in found.values())


def test_points_need_beats_of_a_fitting_kind(simulate: Any) -> None:
    record = simulate(20).record
    with pytest.raises(RecipeError, match="finds no beats 'ppg'; put 'detect_beats' before it"):
        DetectFiducials("ppg")(record)
    with pytest.raises(RecipeError, match="is of kind 'eeg'; points are known in ppg, abp, ecg"):
        DetectFiducials("eeg").plan({"eeg": ChannelInfo("eeg", "eeg", "uV", 125.0)})
    fine = {"ppg": ChannelInfo("ppg", "ppg", "au", 125.0)}
    assert DetectFiducials("ppg").plan(fine) is fine


def test_beats_without_an_end_have_no_points(simulate: Any) -> None:
    record = simulate(20).record
    short = DetectBeats("abp")(record)
    beats = short.beats["abp"]
    alone = Beats("abp", 125.0, beats.onset[:1], beats.peak[:1], np.array([-1]), beats.quality[:1])
    made = DetectFiducials("abp")(short.with_beats(alone)).beats["abp"]
    assert all(np.isnan(v).all() for v in made.points.values())


def test_one_beat_is_enough() -> None:
    x, beats = train(FS, 8)
    many = points(record_of(x), beats)
    low, high = int(beats.onset[2]) - 12, int(beats.end[2]) + 12
    edges = np.array([12, high - low - 12])
    one = points(record_of(x[low:high]), beats_of(edges, beats.peak[2:3] - low))
    for word, values in one.items():
        assert values[0] + low == many[word][2], word


def test_segments_of_two_seconds_have_points(data_root: Path) -> None:
    files = sorted((data_root / "bp" / "ppg_bp" / "Data File" / "0_subject").glob("*.txt"))[::9]
    share = []
    for file in files:
        record = Bandpass("ppg", "ppg_12hz", 0.5, 12)(record_of(np.loadtxt(file)[:2100], fs=1000.0))
        beats = DetectFiducials("ppg_12hz")(DetectBeats("ppg_12hz")(record)).beats["ppg_12hz"]
        whole = beats.end >= 0
        if whole.any():
            share += [np.isfinite(beats.points[word][whole]).all() for word in ("foot", "a", "u", "b", "e", "notch", "f")]
    assert len(share) > 4 * len(files)
    assert np.mean(share) > 0.97


def test_a_curve_has_its_gaps_and_seams() -> None:
    x = np.arange(10.0)
    x[3:5] = np.nan
    record = record_of(x, fs=10.0, seams_s=np.array([0.7]))
    seen = curve(record, record.channels["ppg"])
    assert (seen.starts.tolist(), seen.stops.tolist()) == ([0, 5, 7], [3, 7, 10])
    assert np.isfinite(seen.x).all()
