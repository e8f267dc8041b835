"""Inputs that hold no beat, through the usual steps: no exception, no numpy warning (an error here), no beats, no quality."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator

from biosig_mtl.signal import AssessQuality, Bandpass, DetectBeats, DetectFiducials, Step
from biosig_mtl.types import F64, Channel, Record

SECONDS = 60
KINDS = ("ppg", "ecg", "abp")
RATES = (62.5, 100.0, 125.0, 250.0, 500.0)
HIGH_HZ = {"ppg": 12.0, "ecg": 40.0}

Make = Callable[[F64, Generator], F64]


def hum(hertz: float, drift: float = 0.0) -> Make:
    def make(t: F64, rng: Generator) -> F64:
        size = 1 + drift * np.sin(2 * np.pi * 0.07 * t)
        return np.asarray(size * np.sin(2 * np.pi * hertz * t + 0.3) + 0.02 * rng.standard_normal(t.size))

    return make


def only(where: Callable[[F64], F64]) -> Make:
    return lambda t, _: np.asarray(where(t), np.float64)


NOTHING: dict[str, Make] = {
    "flat": only(np.zeros_like),
    "constant": only(lambda t: np.full(t.size, 3.7)),
    "huge constant": only(lambda t: np.full(t.size, -1e9)),
    "all NaN": only(lambda t: np.full(t.size, np.nan)),
    "infinite": only(lambda t: np.full(t.size, np.inf)),
    "two samples": only(lambda t: t[:2]),
    "one sample": only(lambda t: t[:1] + 1),
    "empty": only(lambda t: t[:0]),
    "white noise": lambda t, rng: rng.standard_normal(t.size),
    "tiny noise": lambda t, rng: 1e-30 * rng.standard_normal(t.size),
    "huge offset": lambda t, rng: 1e7 + 0.5 * rng.standard_normal(t.size),
    "huge offset and noise": lambda t, rng: 1e7 + 50 * rng.standard_normal(t.size),
    "alternating NaN": lambda t, rng: np.where(np.arange(t.size) % 2, np.nan, rng.standard_normal(t.size)),
    "a few levels": lambda t, rng: np.round(0.4 * rng.standard_normal(t.size)),
    "50 Hz": hum(50),
    "60 Hz": hum(60),
    "drifting 50 Hz": hum(50, 0.5),
    "drifting 60 Hz": hum(60, 0.5),
    "pure 50 Hz": only(lambda t: np.sin(2 * np.pi * 50 * t + 0.3)),
}
# Steps and spikes out of a flat line have the slope of a QRS and may come as regularly as beats: no law of none can hold for
# all of these. So many beats a minute at the most were found in PPG, ECG and ABP; the sqi tells what they are worth.
EDGES: dict[str, Make] = {
    "into the rail": lambda t, rng: np.where(t < 3, rng.standard_normal(t.size), 4.0),
    "at the rail": lambda t, rng: np.minimum(5 + rng.standard_normal(t.size), 2.0),
    "from rail to rail": lambda t, rng: np.clip(8 * np.sin(2 * np.pi * t / 20) + 0.01 * rng.standard_normal(t.size), -1, 1),
    "square wave": only(lambda t: np.sign(np.sin(2 * np.pi * 1.2 * t + 0.1))),
    "walk between rails": lambda t, rng: np.clip(np.cumsum(rng.standard_normal(t.size)) * 0.1, -0.5, 0.5),
}


MOST_A_MINUTE = {
    "into the rail": (0, 1, 0),
    "at the rail": (4, 40, 0),
    "from rail to rail": (0, 0, 2),
    "square wave": (0, 70, 0),
    "walk between rails": (10, 25, 4),
}


def usual_steps(kind: str, fs: float) -> tuple[str, list[Step]]:
    name, steps = kind, list[Step]()
    if kind in HIGH_HZ:
        name, steps = "filtered", [Bandpass(kind, "filtered", 0.5, min(HIGH_HZ[kind], 0.45 * fs))]
    steps.append(DetectBeats(name))
    if kind != "ecg":
        steps.append(DetectFiducials(name))
    return name, [*steps, AssessQuality(name, kind)]


def worked(kind: str, fs: float, x: F64, unit: str = "au") -> tuple[F64, float]:
    """Return the peaks in seconds and the mean sqi."""
    record = Record("r", "s", "1", {kind: Channel(kind, kind, unit, fs, np.asarray(x, np.float32))})
    name, steps = usual_steps(kind, fs)
    for step in steps:
        record = step(record)
    sqi = record.quality[name].sqi
    return record.beats[name].peak / fs, float(sqi.mean()) if sqi.size else 0.0


def times(fs: float) -> F64:
    return np.arange(round(SECONDS * fs)) / fs


def looks_like_a_pulse(name: str, fs: float) -> bool:
    """Sampled at 62.5 Hz without an anti-alias filter, 60 Hz is 2.5 Hz: nobody can tell it from 150 pulses a minute."""
    return "60 Hz" in name and fs == 62.5


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NOTHING)
def test_what_holds_no_beat_gives_none(kind: str, fs: float, name: str) -> None:
    if looks_like_a_pulse(name, fs):
        pytest.skip("an alias that looks like a pulse")
    for seed in range(2):
        peak_s, sqi = worked(kind, fs, NOTHING[name](times(fs), np.random.default_rng(seed)))
        assert peak_s.size == 0
        assert sqi <= 0.1


@pytest.mark.parametrize("fs", RATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EDGES)
def test_what_has_edges_gives_few_or_beats_of_no_quality(kind: str, fs: float, name: str) -> None:
    most = MOST_A_MINUTE[name][KINDS.index(kind)]
    for seed in range(2):
        peak_s, sqi = worked(kind, fs, EDGES[name](times(fs), np.random.default_rng(seed)))
        assert peak_s.size <= most
        assert sqi <= 0.05


@pytest.mark.parametrize("fs", [125.0, 250.0, 500.0])
@pytest.mark.parametrize("hertz", [50.0, 60.0])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_thirty_decibels_under_a_hum_is_true_and_has_no_quality(kind: str, fs: float, hertz: float) -> None:
    t = times(fs)
    r_s = np.arange(0.5, SECONDS, 0.8)
    ecg = sum(np.exp(-(((t - at) / 0.01) ** 2)) for at in r_s)
    x = ecg + np.sin(2 * np.pi * hertz * t + 0.3) * np.sqrt(2) * np.std(ecg) * 10 ** (30 / 20)
    peak_s, sqi = worked(kind, fs, np.asarray(x))
    # Where the hum begins and ends, the filter's answer is an edge.
    peak_s = peak_s[(peak_s > 1) & (peak_s < SECONDS - 1)]
    # The pulse that a PPG filter makes of a QRS rises around it.
    assert all(np.abs(r_s - at).min() < (0.03 if kind == "ecg" else 0.1) for at in peak_s)
    assert sqi <= 0.1


@pytest.mark.parametrize("slope", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("kind", KINDS)
def test_coloured_noise_gives_no_beats(kind: str, slope: float) -> None:
    for seed in range(3):
        peak_s, sqi = worked(kind, 125.0, coloured(seed, slope))
        assert peak_s.size == 0
        assert sqi <= 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_random_walk_gives_few_beats_of_little_quality(kind: str) -> None:
    # Filtered to 0.5-12 Hz it has the spectrum of a pulse wave: what is left is its irregularity.
    found = [worked(kind, 125.0, coloured(seed, 1.0)) for seed in range(6)]
    assert np.mean([peak_s.size for peak_s, _ in found]) < 15
    assert np.mean([sqi for _, sqi in found]) < 0.2


def coloured(seed: int, slope: float) -> F64:
    """Return noise whose amplitude falls by this power of the frequency."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(SECONDS * 125))
    made = np.fft.irfft(spectrum / np.maximum(np.arange(spectrum.size), 1) ** slope, SECONDS * 125)
    return np.asarray(made / made.std())
