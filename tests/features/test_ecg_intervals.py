"""Intervals of the heart beat against points that are set."""

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

SETTINGS = FeatureSettings(families=("ecg_intervals",))
Maker = Callable[..., Windows]
# Seconds from the R peak, and the heights of the bumps that stand there.
PLACES = {"p_on": -0.18, "qrs_on": -0.04, "qrs_off": 0.05, "t_peak": 0.26, "t_end": 0.34}


def tell(windows: Windows) -> dict[str, Any]:
    made = extract(windows, SETTINGS, BLOOD_PRESSURE)
    return {name.removeprefix("ecg_intervals."): value for name, value in zip(made.names, made.values.T, strict=True)}


def with_ecg(windows: Windows, places: dict[str, float], *, scale: int = 1) -> Windows:
    """Return windows whose ECG has R waves of height 2 and T waves of height 0.5 on a level of 3, and points at ``places``."""
    b = windows.beats["ecg_40hz"]
    signal = windows.signal.copy()
    t = np.arange(signal.shape[-1]) / windows.fs
    signal[:, 2] = 3
    for window, r in zip(b.window, b.onset, strict=True):
        at = t - r / windows.fs
        signal[window, 2] += 2 * np.exp(-0.5 * (at / 0.01) ** 2) + 0.5 * np.exp(-0.5 * ((at - PLACES["t_peak"]) / 0.03) ** 2)
    points = {name: np.asarray(scale * (b.onset + s * b.fs), np.float64) for name, s in places.items()}
    beats = WindowBeats("ecg_40hz", scale * b.fs, b.window, scale * b.onset, scale * b.peak, scale * b.end, b.quality, points)
    return replace(windows, signal=signal, beats={**windows.beats, "ecg_40hz": beats})


@pytest.mark.parametrize("scale", [1, 4])
def test_intervals_are_those_that_were_set(simulate: Maker, pulse: Any, scale: int) -> None:
    made = tell(with_ecg(simulate(pulse), PLACES, scale=scale))
    assert_allclose(made["qrs_s"], 0.09, atol=1e-5)
    assert_allclose(made["qt_s"], 0.38, atol=1e-5)
    assert_allclose(made["pr_s"], 0.14, atol=1e-5)
    # RR is a whole number of samples near the pulse's period.
    assert_allclose(made["qtc_bazett_s"], 0.38 / np.sqrt(pulse.period_s), rtol=5e-3)
    assert_allclose(made["qtc_fridericia_s"], 0.38 / np.cbrt(pulse.period_s), rtol=5e-3)
    assert_allclose(made["t_r"], 0.25, rtol=0.02)
    for name in ("qrs", "qt", "pr", "t_r"):
        assert (made[f"n.{name}"] >= 7).all()
    assert_allclose(made["qt_s.iqr"], 0, atol=1e-5)


def test_what_was_not_looked_for_is_missing(simulate: Maker, pulse: Any) -> None:
    some = {name: PLACES[name] for name in ("qrs_on", "qrs_off")}
    made = tell(with_ecg(simulate(pulse), some))
    assert np.isfinite(made["qrs_s"]).all()
    for name in ("qt_s", "qtc_bazett_s", "pr_s", "t_r"):
        assert np.isnan(made[name]).all()
    assert (made["n.qt"] == 0).all()
    nothing = tell(simulate(pulse))
    assert all(np.isnan(value).all() for name, value in nothing.items() if not name.startswith("n."))
    assert all((value == 0).all() for name, value in nothing.items() if name.startswith("n."))


def test_times_that_no_heart_has_are_missing(simulate: Maker, pulse: Any) -> None:
    wrong = {"p_on": -0.7, "qrs_on": -0.04, "qrs_off": -0.03, "t_end": 0.75}
    made = tell(with_ecg(simulate(pulse), wrong))
    for name in ("qrs_s", "qt_s", "pr_s"):
        assert np.isnan(made[name]).all(), name


def test_a_missed_beat_corrects_nothing(simulate: Maker, pulse: Any) -> None:
    windows = with_ecg(simulate(pulse, 1), PLACES)
    b = windows.beats["ecg_40hz"]
    # Every second beat is lost: no interval before a beat is known, so QT stays and QTc goes.
    rows = np.arange(0, len(b), 2)
    points = {name: value[rows] for name, value in b.points.items()}
    few = WindowBeats(b.channel, b.fs, b.window[rows], b.onset[rows], b.peak[rows], b.end[rows], b.quality[rows], points)
    made = tell(replace(windows, beats={**windows.beats, "ecg_40hz": few}))
    assert np.isfinite(made["qt_s"]).all()
    assert np.isnan(made["qtc_bazett_s"]).all()


def test_without_ecg_there_is_nothing(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    made = tell(replace(windows, beats={}, kinds=("ppg", "ppg", "absent")))
    assert (made["n.qrs"] == 0).all()
    assert np.isnan(made["qrs_s"]).all()
