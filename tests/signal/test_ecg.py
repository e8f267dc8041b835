"""R peaks: which candidates there are, where the apex lies and which way it points."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.signal.detection import Detection
from biosig_mtl.signal.ecg import ODDS, ecg_beats
from biosig_mtl.signal.trace import Trace, trace
from biosig_mtl.types import F64, Beats, Channel, Record
from tests.signal.conftest import detected, person, with_samples

FS = 250.0


def leads(r_s: F64, *waves: tuple[float, float, float], seconds: float = 30.0, fs: float = FS) -> Record:
    """Return an ECG whose beats are Gaussians: (seconds from the R peak, width in s, height in mV)."""
    t = np.arange(round(seconds * fs)) / fs
    x = 0.002 * np.random.default_rng(0).standard_normal(t.size)
    for at, width, height in waves:
        for beat in r_s:
            x += height * np.exp(-(((t - beat - at) / width) ** 2))
    return Record("r", "s", "1", {"ecg": Channel("ecg", "ecg", "mV", fs, x.astype(np.float32))})


def regular(interval_s: float = 0.8) -> F64:
    return np.arange(0.6, 29.5, interval_s)


def found_of(record: Record) -> tuple[Trace, Detection]:
    seen = trace(record, record.channels["ecg"])
    return seen, ecg_beats(seen)


def same_as(r_s: F64, beats: Beats, near_s: float = 0.006) -> bool:
    return len(beats) == r_s.size and bool((np.abs(beats.peak / beats.fs - r_s) < near_s).all())


@pytest.mark.parametrize("height", [1.0, -1.0, 0.05, 20.0])
@pytest.mark.parametrize("width", [0.008, 0.012, 0.03])
def test_the_apex_of_a_narrow_or_broad_qrs_of_either_sign_is_found(height: float, width: float) -> None:
    record = leads(regular(), (0.0, width, height), (0.28, 0.05, 0.25 * abs(height)))
    beats = detected(record, "ecg")
    assert same_as(regular(), beats)
    assert (beats.polarity == np.sign(height)).all()
    assert (beats.onset == beats.peak).all()


def test_r_and_s_of_equal_size_count_as_r() -> None:
    beats = detected(leads(regular(), (0.0, 0.01, 1.0), (0.03, 0.01, -1.0)), "ecg")
    assert same_as(regular(), beats)
    assert (beats.polarity == 1).all()
    # A clearly deeper S is the apex.
    beats = detected(leads(regular(), (0.0, 0.01, 0.4), (0.035, 0.012, -1.2)), "ecg")
    assert same_as(regular() + 0.035, beats, 0.01)
    assert (beats.polarity == -1).all()


def test_a_single_beat_of_the_other_sign_does_not_turn_the_others() -> None:
    r_s = regular()
    x = leads(np.delete(r_s, 15), (0.0, 0.01, 1.0)).channels["ecg"].samples
    other = leads(r_s[15:16], (0.0, 0.03, -1.4)).channels["ecg"].samples
    beats = detected(Record("r", "s", "1", {"ecg": Channel("ecg", "ecg", "mV", FS, x + other)}), "ecg")
    assert (beats.polarity == 1).all()
    assert np.abs(beats.peak[:, None] / FS - np.delete(r_s, 15)).min(axis=0).max() < 0.006


@pytest.mark.parametrize("fs", [125.0, 250.0])
@pytest.mark.parametrize(
    ("interval_s", "width", "height"),
    [(0.8, 0.09, 0.8), (0.8, 0.07, 0.8), (0.8, 0.05, 0.7), (1.2, 0.09, 0.8), (1.2, 0.07, 0.7), (1.2, 0.05, 0.6)],
)
def test_tall_t_waves_and_small_p_waves_are_no_beats(fs: float, interval_s: float, width: float, height: float) -> None:
    r_s = regular(interval_s)
    record = leads(r_s, (0.0, 0.01, 1.0), (0.03, 0.01, -0.2), (0.3, width, height), (-0.16, 0.025, 0.15), fs=fs)
    assert same_as(r_s, detected(record, "ecg"))


def test_a_premature_broad_beat_with_a_pause_is_found_and_marked() -> None:
    r_s = regular()
    r_s[20] -= 0.28
    x = leads(np.delete(r_s, 20), (0.0, 0.01, 1.0), (0.28, 0.05, 0.2)).channels["ecg"].samples
    broad = leads(r_s[20:21], (0.0, 0.04, 1.3), (0.3, 0.06, -0.4)).channels["ecg"].samples
    beats = detected(Record("r", "s", "1", {"ecg": Channel("ecg", "ecg", "mV", FS, x + broad)}), "ecg")
    assert same_as(r_s, beats, 0.03)
    assert np.flatnonzero(beats.mark).tolist() == [20]
    assert beats.quality[20] < beats.quality[[10, 15, 25]].min() - 0.1


@pytest.mark.parametrize("rate", [35, 60, 120, 200])
def test_slow_and_fast_rates(rate: float) -> None:
    r_s = regular(60 / rate)
    assert same_as(r_s, detected(leads(r_s, (0.0, 0.01, 1.0), (0.03, 0.01, -0.3)), "ecg"))


def test_candidates_carry_what_speaks_for_them(simulate: Any) -> None:
    made = simulate(60, 3, 0.01)
    seen, found = found_of(made.record)
    assert found.looks.shape == (found.peak.size, len(ODDS) - 1)
    assert np.isfinite(found.looks).all()
    right = np.abs(found.peak[:, None] / seen.fs - made.r_s).min(axis=1) < 0.03
    assert (found.odds[right] > 0).mean() > 0.99
    assert right.sum() >= made.r_s.size - 1
    assert not right.all() or right.size == made.r_s.size
    assert (found.odds[~right] < 0).all()


def test_clean_beats_are_confirmed_and_noise_confirms_less() -> None:
    clean = np.concatenate([detected(person(k, "clean"), "ecg").confirmed for k in range(4)])
    noisy = np.concatenate([detected(person(k, "heavy"), "ecg").confirmed for k in range(4)])
    assert clean.mean() > 0.98
    assert noisy.mean() < clean.mean()


def test_a_beat_much_smaller_than_its_neighbours_is_not_confirmed() -> None:
    r_s = regular()
    big = leads(np.delete(r_s, 12), (0.0, 0.01, 1.0)).channels["ecg"].samples
    small = leads(r_s[12:13], (0.0, 0.01, 0.3)).channels["ecg"].samples
    beats = detected(Record("r", "s", "1", {"ecg": Channel("ecg", "ecg", "mV", FS, big + small)}), "ecg")
    assert same_as(r_s, beats)
    assert np.flatnonzero(~beats.confirmed).tolist() == [12]


def test_odds_do_not_depend_on_the_unit(simulate: Any) -> None:
    record = simulate(30, 4, 0.03).record
    record = replace(record, channels={"ecg": record.channels["ecg"]})
    _, first = found_of(record)
    _, other = found_of(with_samples(record, lambda x: x * 1024))
    assert np.array_equal(first.peak, other.peak)
    assert np.array_equal(first.looks, other.looks)
