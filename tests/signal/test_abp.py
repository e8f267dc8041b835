"""Pressures at foot and peak of an arterial pressure curve, and what is no pulse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from biosig_mtl.types import F64, Channel, Record
from tests.signal.conftest import detected, with_samples

FS = 125.0


def line(x: F64, unit: str = "mmHg", fs: float = FS) -> Record:
    return Record("r", "s", "1", {"abp": Channel("abp", "abp", unit, fs, x.astype(np.float32))})


def test_the_peak_is_the_highest_and_the_foot_the_lowest_sample_near_by(simulate: Any) -> None:
    record = simulate(60, 1, 0.0).record
    x, beats = record.channels["abp"].samples, detected(record, "abp")
    whole = beats.end >= 0
    for foot, peak, end in zip(beats.onset[whole].tolist(), beats.peak[whole].tolist(), beats.end[whole].tolist(), strict=True):
        assert x[foot:end].max() - x[peak] < 0.3
        assert x[foot] - x[foot:peak].min() < 0.3


@pytest.mark.parametrize("pulse_mmhg", [8.0, 20.0, 120.0])
def test_damped_and_wide_pulses_are_found(simulate: Any, pulse_mmhg: float) -> None:
    made = simulate(60, 2, 0.0)
    beats = detected(with_samples(made.record, lambda x: 80 + (x - 80) * pulse_mmhg / 45), "abp")
    assert abs(len(beats) - made.foot_s.size) <= 2
    assert (beats.polarity == 1).all()


def test_the_ripple_of_a_closed_line_is_no_pulse_where_the_unit_is_known(simulate: Any) -> None:
    made = simulate(60, 3, 0.0).record
    ripple = with_samples(made, lambda x: 80 + (x - 80) / 45)
    assert len(detected(ripple, "abp")) == 0
    unknown = {n: replace(c, unit="au") for n, c in ripple.channels.items()}
    assert len(detected(replace(ripple, channels=unknown), "abp")) > 60


def test_dicrotic_waves_are_no_beats() -> None:
    t = np.arange(round(40 * FS)) / FS
    x = np.full(t.size, 70.0)
    for at in np.arange(0.5, 39, 0.9):
        x += 40 * np.exp(-(((t - at - 0.12) / 0.08) ** 2)) + 16 * np.exp(-(((t - at - 0.42) / 0.08) ** 2))
    beats = detected(line(x), "abp")
    assert abs(len(beats) - 43) <= 1
    assert np.allclose(np.diff(beats.peak) / FS, 0.9, atol=0.02)


def test_a_flush_is_no_pulse_and_the_pulses_around_are(simulate: Any) -> None:
    made = simulate(60, 4, 0.007).record
    x = made.channels["abp"].samples.astype(np.float64)
    x[3000:3500] = 300.0
    beats = detected(line(x), "abp")
    assert not ((beats.peak >= 3000) & (beats.peak < 3499)).any()
    assert (beats.peak < 2900).sum() > 25
    assert (beats.peak > 3600).sum() > 35
    assert x[beats.peak].max() < 200


def test_a_pressure_cut_off_at_the_top_is_no_pressure(simulate: Any) -> None:
    made = simulate(60, 5, 0.0).record
    x = made.channels["abp"].samples.astype(np.float64)
    # At the very end the rise of the last one may just have begun to be cut off.
    assert len(detected(line(np.minimum(x, np.quantile(x, 0.7))), "abp")) <= 1
    assert len(detected(line(np.minimum(x, x.max() - 1)), "abp")) > 60


def test_noise_of_any_size_is_no_pulse() -> None:
    rng = np.random.default_rng(0)
    for size in (1.0, 10.0, 100.0):
        assert len(detected(line(80 + size * rng.standard_normal(7500)), "abp")) == 0


def test_pulses_of_a_clean_line_are_confirmed(simulate: Any) -> None:
    assert detected(simulate(60, 6, 0.007).record, "abp").confirmed.mean() > 0.97
