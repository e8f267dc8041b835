"""Arrival times against a delay that is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from biosig_mtl.features import FeatureSettings, extract, required_channels
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import RecipeError, Windows

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


# ------------------------------------------------------------------------------------------------ other marks, other sites
def tell(windows: Windows, family: str, **settings: Any) -> dict[str, Any]:
    made = extract(windows, FeatureSettings(families=(family,), **settings), BLOOD_PRESSURE)
    return {name.removeprefix(f"{family}."): value for name, value in zip(made.names, made.values.T, strict=True)}


def test_arrival_at_further_marks(simulate: Maker, pulse: Any) -> None:
    made, known = tell(simulate(pulse, delay_s=0.2), "pat_points"), pulse.times()
    assert_allclose(made["tangent_s"], 0.2, atol=4.5e-3)
    assert_allclose(made["a_s"] - made["tangent_s"], known["a"] - known["foot"], atol=2e-3)
    assert_allclose(made["onset_s"], 0.2, atol=0.01)
    for name in ("onset", "tangent", "a"):
        assert (made[f"{name}_n"] >= 7).all()


def test_without_a_tangent_foot_there_is_no_time_to_it(simulate: Maker, pulse: Any) -> None:
    windows = simulate(pulse)
    b = windows.beats["ppg_12hz"]
    bare = replace(b, points={key: value for key, value in b.points.items() if key != "foot"})
    made = tell(replace(windows, beats={**windows.beats, "ppg_12hz": bare}), "pat_points")
    assert np.isnan(made["tangent_s"]).all()
    assert (made["tangent_n"] == 0).all()
    assert np.isfinite(made["onset_s"]).all()


def with_qrs(windows: Windows, before_s: float) -> Windows:
    r = windows.beats["ecg_40hz"]
    return replace(
        windows,
        beats={**windows.beats, "ecg_40hz": replace(r, points={"qrs_on": np.asarray(r.onset - before_s * r.fs, np.float64)})},
    )


def test_from_the_qrs_onset_it_takes_longer(simulate: Maker, pulse: Any) -> None:
    windows = with_qrs(simulate(pulse, delay_s=0.25), 0.042)
    from_r, from_q = tell(windows, "pat"), tell(windows, "pat_qrs")
    for name in ("foot", "u", "peak"):
        # The last pulse of a window may follow an R peak whose beat is not whole, and whose QRS is not known.
        assert_allclose(from_q[f"{name}_s"], from_r[f"{name}_s"] + 0.042, atol=5e-3)
        assert (from_q[f"{name}_n"] >= from_r["n"] - 1).all()


def test_from_the_qrs_onset_nothing_is_known_without_it_or_without_trust(simulate: Maker, pulse: Any) -> None:
    for windows in (simulate(pulse), with_qrs(simulate(pulse, timing_reliable=False), 0.04)):
        made = tell(windows, "pat_qrs")
        assert all(np.isnan(value).all() for name, value in made.items() if not name.endswith("_n"))
        assert all((value == 0).all() for name, value in made.items() if name.endswith("_n"))


def two_sites(windows: Windows, later_s: float) -> Windows:
    """Return windows with the same pulse at a second site, a whole number of samples later."""
    shift = round(later_s * windows.fs)
    b = windows.beats["ppg_12hz"]
    points = {key: value + shift for key, value in b.points.items()}
    there = replace(b, channel="toe", onset=b.onset + shift, peak=b.peak + shift, end=b.end + shift, points=points)
    toe = np.roll(windows.signal[:, 1:2], shift, axis=-1)
    return replace(
        windows,
        signal=np.concatenate([windows.signal, toe], axis=1),
        channels=(*windows.channels, "toe"),
        kinds=(*windows.kinds, "ppg"),
        beats={**windows.beats, "toe": there},
    )


@pytest.mark.parametrize("later_s", [-0.08, 0.04, 0.2])
def test_transit_is_the_shift_between_two_sites(simulate: Maker, pulse: Any, later_s: float) -> None:
    made = tell(two_sites(simulate(pulse), later_s), "ptt", second_pulse="toe")
    for name in ("foot", "u", "peak"):
        assert_allclose(made[f"{name}_s"], later_s, atol=1e-4)
        assert (made[f"{name}_n"] >= 6).all()


def test_transit_is_not_known_with_one_site_or_untrusted_clocks(simulate: Maker, pulse: Any) -> None:
    both = two_sites(simulate(pulse, timing_reliable=False), 0.04)
    absent = replace(two_sites(simulate(pulse), 0.04), kinds=("ppg", "ppg", "ecg", "absent"))
    for windows, second in ((simulate(pulse), None), (both, "toe"), (absent, "toe")):
        made = tell(windows, "ptt", second_pulse=second)
        assert np.isnan(made["foot_s"]).all()
        assert (made["foot_n"] == 0).all()


def test_pulses_too_far_apart_are_not_the_same(simulate: Maker, pulse: Any) -> None:
    made = tell(two_sites(simulate(pulse), 0.4), "ptt", second_pulse="toe")
    assert (made["foot_n"] == 0).all()


def test_a_second_pulse_must_be_carried_and_no_reference(simulate: Maker, pulse: Any) -> None:
    settings = FeatureSettings(families=("ptt",), second_pulse="toe")
    assert required_channels(settings) == ("ppg_12hz", "toe")
    assert required_channels(replace(settings, families=("pat",))) == ("ppg_12hz",)
    with pytest.raises(RecipeError, match="need channel 'toe'"):
        extract(simulate(pulse), settings, BLOOD_PRESSURE)
    disguised = replace(two_sites(simulate(pulse), 0.04), kinds=("ppg", "ppg", "ecg", "abp"))
    with pytest.raises(RecipeError, match="'toe' is the reference"):
        extract(disguised, settings, BLOOD_PRESSURE)
    with pytest.raises(ValueError, match="two different pulses"):
        FeatureSettings(families=("ptt",), second_pulse="ppg_12hz")
