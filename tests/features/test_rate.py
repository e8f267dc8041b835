"""Rates and variability against intervals that are set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import WindowBeats, Windows

RATE = FeatureSettings(families=("rate",))
Maker = Callable[..., Windows]
Column = Callable[..., Any]


def ecg(intervals: list[float], fs: float = 125.0, window: int = 0) -> WindowBeats:
    r = np.rint(np.cumsum([0.104, *intervals]) * fs).astype(np.int64)
    count = len(intervals)
    return WindowBeats("ecg_40hz", fs, np.full(count, window), r[:-1], r[:-1], r[1:], np.ones(count, np.float32))


def with_ecg(windows: Windows, beats: WindowBeats) -> Windows:
    return replace(windows, beats={**windows.beats, "ecg_40hz": beats})


def test_rate_and_variability_of_known_intervals(simulate: Maker, pulse: Any, column: Column) -> None:
    intervals = [0.8, 0.88, 0.8, 0.96, 0.8, 0.88, 0.8, 0.88]
    made = extract(with_ecg(simulate(pulse, 1), ecg(intervals)), RATE, BLOOD_PRESSURE)
    known = np.array(intervals)
    assert_allclose(column(made, "hr.mean_per_min"), 60 / known.mean(), rtol=1e-4)
    assert_allclose(column(made, "hr.median_per_min"), 60 / np.median(known), rtol=1e-4)
    assert_allclose(column(made, "hr.min_per_min"), 60 / 0.96, rtol=1e-4)
    assert_allclose(column(made, "hr.max_per_min"), 60 / 0.8, rtol=1e-4)
    assert_allclose(column(made, "hr.sdnn_s"), known.std(ddof=1), rtol=1e-3)
    assert_allclose(column(made, "hr.rmssd_s"), np.sqrt((np.diff(known) ** 2).mean()), rtol=1e-3)
    assert column(made, "hr.from_ecg")[0] == 1
    assert column(made, "hr.n_intervals")[0] == 8


def test_pulse_stands_in_where_the_ecg_does_not_fill_half_of_the_window(simulate: Maker, pulse: Any, column: Column) -> None:
    windows = simulate(pulse, 2)
    # Window 0 has two intervals only, window 1 has nine.
    first, second = ecg([0.5, 0.5]), ecg([0.8] * 9, window=1)
    window, onset, end = (np.concatenate([getattr(first, key), getattr(second, key)]) for key in ("window", "onset", "end"))
    both = WindowBeats("ecg_40hz", 125.0, window, onset, onset, end, np.ones(11, np.float32))
    made = extract(with_ecg(windows, both), RATE, BLOOD_PRESSURE)
    assert list(column(made, "hr.from_ecg")) == [0, 1]
    assert_allclose(column(made, "hr.mean_per_min"), [60 / 0.9, 60 / 0.8], rtol=2e-3)
    assert_allclose(column(made, "hr.rmssd_s"), 0, atol=1e-3)


def test_variability_needs_four_intervals(simulate: Maker, pulse: Any, column: Column) -> None:
    made = extract(simulate(pulse, length_s=3.5), RATE, BLOOD_PRESSURE)
    few = column(made, "hr.n_intervals") < 4
    assert few.any()
    for name in ("hr.sdnn_s", "hr.rmssd_s"):
        assert np.isnan(column(made, name)[few]).all()
    assert_allclose(column(made, "hr.mean_per_min"), 60 / 0.9, rtol=0.01)


def test_a_missed_beat_is_no_interval_and_breaks_the_succession(simulate: Maker, pulse: Any, column: Column) -> None:
    # 2.4 s is no interval; the two around it do not follow each other.
    made = extract(with_ecg(simulate(pulse, 1), ecg([0.8, 0.8, 0.8, 2.4, 1.0, 1.0])), RATE, BLOOD_PRESSURE)
    assert column(made, "hr.n_intervals")[0] == 5
    assert column(made, "hr.rmssd_s")[0] == pytest.approx(0, abs=1e-6)
    assert column(made, "hr.sdnn_s")[0] == pytest.approx(np.std([0.8, 0.8, 0.8, 1.0, 1.0], ddof=1), rel=1e-3)


def test_no_two_intervals_in_a_row_leave_succession_unknown(simulate: Maker, pulse: Any, column: Column) -> None:
    lone = ecg([0.8, 2.2, 0.8, 2.2, 0.8, 2.2, 0.8])
    windows = simulate(pulse, 1, length_s=12.0)
    no_pulse = replace(windows.beats["ppg_12hz"], end=np.full(len(windows.beats["ppg_12hz"]), -1))
    made = extract(replace(windows, beats={"ppg_12hz": no_pulse, "ecg_40hz": lone}), RATE, BLOOD_PRESSURE)
    # 3.2 s of intervals do not fill half of 12 s, and there is no pulse.
    assert column(made, "hr.n_intervals")[0] == 0
    made = extract(
        replace(simulate(pulse, 1, length_s=6.0), beats={"ppg_12hz": no_pulse, "ecg_40hz": lone}), RATE, BLOOD_PRESSURE
    )
    assert column(made, "hr.n_intervals")[0] == 4
    assert np.isnan(column(made, "hr.rmssd_s")[0])
    assert column(made, "hr.sdnn_s")[0] == pytest.approx(0, abs=1e-6)
