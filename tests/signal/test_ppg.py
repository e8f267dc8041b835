"""Pulses of a photoplethysmogram: feet, peaks, which way up it is, and who else found them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal import Bandpass
from biosig_mtl.signal.ppg import ODDS, ppg_beats, upright
from biosig_mtl.signal.trace import Trace, trace
from biosig_mtl.types import F32, F64, Channel, Record
from tests.signal.conftest import detected, person, with_samples

FS = 125.0


def channel(x: F64 | F32, fs: float = FS, start_s: float = 0.0) -> Record:
    return Record("r", "s", "1", {"ppg": Channel("ppg", "ppg", "au", fs, np.asarray(x, np.float32))}, start_s)


def seen_of(record: Record) -> Trace:
    record = Bandpass("ppg", "filtered", 0.5, 12.0)(record)
    return trace(record, record.channels["filtered"])


def test_the_foot_is_the_lowest_and_the_peak_the_highest_sample_of_the_rise(simulate: Any) -> None:
    record = Bandpass("ppg", "ppg_12hz", 0.5, 12.0)(simulate(60, 1, 0.0).record)
    beats, x = detected(record, "ppg"), record.channels["ppg_12hz"].samples
    assert (beats.onset < beats.peak).all()
    inner = slice(1, -1)
    for foot, peak in zip(beats.onset[inner].tolist(), beats.peak[inner].tolist(), strict=True):
        assert x[peak] == x[foot : peak + 10].max()
        assert x[foot] == x[foot : peak + 1].min()


def test_upside_down_stretches_are_turned_and_the_others_left() -> None:
    record = person(1, "moderate", 120.0)
    x = record.channels["ppg"].samples.astype(np.float64)
    half = x.size // 2
    turned = x.copy()
    turned[half:] = 2 * x[half] - x[half:]  # no jump
    first, other = detected(record, "ppg"), detected(channel(turned), "ppg")
    for part in (slice(0, half - 1250), slice(half + 1250, x.size)):
        a, b = (p.peak[(p.peak >= part.start) & (p.peak < part.stop)] for p in (first, other))
        assert np.array_equal(a, b)
    assert (first.polarity == 1).all()
    assert (other.polarity[other.peak < half - 1250] == 1).all()
    assert (other.polarity[other.peak > half + 1250] == -1).all()


def test_upright_returns_the_samples_themselves_where_nothing_is_turned(simulate: Any) -> None:
    made = seen_of(simulate(30, 2, 0.01).record)
    x, down = upright(made)
    assert x is made.values
    assert not down.any()
    other = seen_of(with_samples(simulate(30, 2, 0.01).record, np.negative))
    x, down = upright(other)
    assert down.all()
    assert np.array_equal(x, made.values)


def test_silence_beside_it_does_not_hide_that_a_pulse_is_upside_down(simulate: Any) -> None:
    x = -simulate(60, 3, 0.01).record.channels["ppg"].samples.astype(np.float64)
    still = np.concatenate((np.full(2500, x[0]), x, np.full(2500, x[-1])))
    beats = detected(channel(still), "ppg")
    assert len(beats) > 60
    # Within the first five seconds the filter's answer to the onset may outvote the pulses.
    assert (beats.polarity[beats.peak > 2500 + 750] == -1).all()


def test_candidates_carry_what_speaks_for_them(simulate: Any) -> None:
    found = ppg_beats(seen_of(simulate(60, 4, 0.02).record))
    assert found.looks.shape == (found.peak.size, len(ODDS) - 1)
    assert np.isfinite(found.looks).all()
    assert (found.onset < found.peak).all()


def test_dicrotic_waves_are_no_beats() -> None:
    t = np.arange(round(40 * FS)) / FS
    x = np.zeros(t.size)
    for at in np.arange(0.5, 39, 0.9):
        x += np.exp(-(((t - at - 0.15) / 0.09) ** 2)) + 0.45 * np.exp(-(((t - at - 0.45) / 0.1) ** 2))
    beats = detected(channel(x), "ppg")
    assert abs(len(beats) - 43) <= 1
    assert np.allclose(np.diff(beats.peak) / FS, 0.9, atol=0.02)


@pytest.mark.parametrize("rate", [40, 120, 190])
def test_at_any_rate_a_foot_lies_behind_the_peak_before_it(simulate: Any, rate: float) -> None:
    made = simulate(60, 6, 0.02, rate)
    beats = detected(made.record, "ppg")
    assert abs(len(beats) - made.foot_s.size) <= 3
    assert (beats.onset[1:] > beats.peak[:-1]).all()


def test_clean_pulses_are_confirmed_by_the_second_detector_and_noisy_ones_less() -> None:
    clean = np.concatenate([detected(person(k, "clean"), "ppg").confirmed for k in range(6)])
    noisy = np.concatenate([detected(person(k, "heavy"), "ppg").confirmed for k in range(6)])
    assert clean.mean() > 0.97
    assert noisy.mean() < clean.mean()


@pytest.mark.parametrize("shift", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("fs", [100.0, 125.0, 250.0])
def test_the_second_detector_does_not_care_where_a_part_starts(shift: int, fs: float) -> None:
    record = person(3, "heavy", 60.0, fs)
    x = record.channels["ppg"].samples
    whole = detected(channel(x, fs), "ppg")
    part = detected(channel(x[shift:], fs, shift / fs), "ppg")
    middle = [(b.peak + s > 20 * fs) & (b.peak + s < 40 * fs) for b, s in ((whole, 0), (part, shift))]
    assert np.array_equal(whole.peak[middle[0]], part.peak[middle[1]] + shift)
    assert np.array_equal(whole.confirmed[middle[0]], part.confirmed[middle[1]])


def test_neither_foot_nor_peak_lies_in_another_run(simulate: Any) -> None:
    x = simulate(60, 5, 0.02).record.channels["ppg"].samples.astype(np.float64)
    gaps = [(1000 + 407 * k, 1000 + 407 * k + 20) for k in range(14)]
    for start, stop in gaps:
        x[start:stop] = np.nan
    beats = detected(channel(x), "ppg")
    assert len(beats) > 40
    assert np.isfinite(x[beats.onset]).all()
    assert np.isfinite(x[beats.peak]).all()
    for start, stop in gaps:
        assert not ((beats.onset < start) & (beats.peak >= stop)).any()
        assert not ((beats.onset < start) & (beats.end >= stop)).any()


@pytest.mark.parametrize("corner_hz", [1.0, 2.0])
def test_a_sensor_with_a_high_pass_of_its_own_is_not_upside_down(simulate: Any, corner_hz: float) -> None:
    from scipy.signal import butter, lfilter

    x = simulate(60, 3, 0.0).record.channels["ppg"].samples.astype(np.float64)
    beats = detected(channel(lfilter(*butter(1, corner_hz, "highpass", fs=FS), x - x[0])), "ppg")
    assert beats.peak.size > 60
    assert (beats.polarity == 1).all()
