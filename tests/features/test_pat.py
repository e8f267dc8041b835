"""Arrival times against a delay that is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Windows

PAT = FeatureSettings(families=("pat",))
Maker = Callable[..., Windows]
Column = Callable[..., Any]


@pytest.mark.parametrize("delay_s", [0.08, 0.2, 0.35, 0.56])
def test_arrival_is_the_delay(simulate: Maker, pulse: Any, column: Column, delay_s: float) -> None:
    made = extract(simulate(pulse, delay_s=delay_s), PAT, BLOOD_PRESSURE)
    known = pulse.times()
    # R peaks are known to a sample of 8 ms; the median over beats is better than that.
    assert_allclose(column(made, "pat.foot_s"), delay_s, atol=4.5e-3)
    assert_allclose(column(made, "pat.u_s") - column(made, "pat.foot_s"), known["u"] - known["foot"], atol=2e-3)
    assert_allclose(column(made, "pat.peak_s") - column(made, "pat.foot_s"), known["peak"] - known["foot"], atol=2e-3)
    assert_allclose(column(made, "pat.foot_ln"), np.log(column(made, "pat.foot_s")), rtol=1e-6)
    assert_allclose(column(made, "pat.peak_inverse_square"), column(made, "pat.peak_s") ** -2.0, rtol=1e-5)
    assert (column(made, "pat.foot_s.iqr") <= 0.009).all()
    assert (column(made, "pat.n") >= 7).all()


def test_untrusted_clocks_give_nothing(simulate: Maker, pulse: Any) -> None:
    made = extract(simulate(pulse, timing_reliable=False), PAT, BLOOD_PRESSURE)
    assert made.values.shape == (3, 13)
    assert np.isnan(made.values).all()


def test_without_ecg_there_is_nothing(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    made = extract(replace(windows, beats={"ppg_12hz": windows.beats["ppg_12hz"]}), PAT, BLOOD_PRESSURE)
    assert np.isnan(made.values).all()


def test_no_r_peak_in_reach_gives_no_pair(simulate: Maker, pulse: Any, column: Column) -> None:
    windows = simulate(pulse)
    r = windows.beats["ecg_40hz"]
    # One R peak only, before the second foot of window 0.
    lone = replace(r, onset=r.onset[:1], peak=r.peak[:1], end=np.array([-1]), window=r.window[:1], quality=r.quality[:1])
    made = extract(replace(windows, beats={**windows.beats, "ecg_40hz": lone}), PAT, BLOOD_PRESSURE)
    assert (column(made, "pat.n") == [1, 0, 0]).all()
    assert np.isfinite(column(made, "pat.foot_s")).tolist() == [True, False, False]


def test_the_last_r_peak_counts_not_one_just_before_the_foot(simulate: Maker, pulse: Any, column: Column) -> None:
    windows = simulate(pulse, 1, delay_s=0.3)
    r = windows.beats["ecg_40hz"]
    # A false R peak 24 ms before every foot is too near to have sent that pulse.
    false = r.onset + round(0.276 * 125)
    window = np.concatenate([r.window, r.window])
    order = np.argsort(np.concatenate([r.onset, false]), kind="stable")
    onset = np.concatenate([r.onset, false])[order]
    both = replace(
        r, window=window, onset=onset, peak=onset, end=np.full(onset.size, -1), quality=np.ones(onset.size, np.float32)
    )
    made = extract(replace(windows, beats={**windows.beats, "ecg_40hz": both}), PAT, BLOOD_PRESSURE)
    assert_allclose(column(made, "pat.foot_s"), 0.3, atol=4.5e-3)
