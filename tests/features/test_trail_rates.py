"""Variability on trails against interval series whose numbers are known on paper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features import FeatureSettings, extract, least_length_s, reasons
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F32, F64, Trail, WindowBeats, Windows
from tests.features.trails import columns, r_peaks, trail, windows_with

FS = 256.0


def regular(length_s: float, swing_s: float = 0.0, mean_s: float = 0.8) -> F64:
    """Return R peaks whose intervals go up and down by ``swing_s`` in turn."""
    n = int(length_s / mean_s) + 2
    gaps = mean_s + swing_s * (-1.0) ** np.arange(n)
    times = np.cumsum(gaps) - gaps[0] + 0.1
    return np.asarray(times[times < length_s])


def ecg(rows: list[F64], length_s: float, *, normal: bool = True, fs: float = FS) -> Windows:
    x = np.zeros((len(rows), round(length_s * fs)), np.float32)
    return windows_with({"ecg": trail("ecg", "ecg", x, fs, r_peaks(rows, 1000.0, normal=normal))})


def test_alternating_intervals_give_their_numbers() -> None:
    """Intervals of 0.77 and 0.83 s in turn: every step is 60 ms, half of all ± 30 ms about the mean."""
    made = columns(ecg([regular(60, 0.03), regular(60, 0.02)], 60), "ecg_hrv")
    assert_allclose(made["rate_per_min"], 75, rtol=2e-3)
    assert_allclose(made["rmssd_s"], [0.06, 0.04], rtol=1e-3)
    assert_allclose(made["sdnn_s"], [0.03, 0.02], rtol=0.02)
    assert_allclose(made["cvsd"], np.array([0.06, 0.04]) / 0.8, rtol=5e-3)
    # 74 steps among 75 intervals.
    assert_allclose(made["pnn50_percent"], [100 * (made["n"][0] - 1) / made["n"][0], 0], rtol=1e-5)
    assert_allclose(made["removed_share"], 0)


@pytest.mark.parametrize(("low", "high"), [(0.04, 0.02), (0.02, 0.04), (0.03, 0.03)])
def test_power_lies_where_the_waves_are(low: float, high: float) -> None:
    """Waves of 0.1 and 0.25 Hz in a minute: the power of each is half its squared height, within a fifth."""
    t, beats = 0.0, []
    while t < 60:
        beats.append(t)
        t += 0.8 + low * np.sin(2 * np.pi * 0.1 * t) + high * np.sin(2 * np.pi * 0.25 * t)
    made = columns(ecg([np.array(beats)], 60), "ecg_hrv")
    assert_allclose(made["lf_ms2"], 1e6 * low**2 / 2, rtol=0.2)
    assert_allclose(made["hf_ms2"], 1e6 * high**2 / 2, rtol=0.2)
    assert_allclose(made["lf_hf"], low**2 / high**2, rtol=0.3)


def test_four_seconds_say_nothing_and_why() -> None:
    """Variability of 4 s is NaN, and each name is told its reason."""
    settings = FeatureSettings(("ecg_hrv", "ppg_prv", "eda", "temp", "resp"))
    lengths = dict.fromkeys(("ecg", "ppg", "eda", "temp", "resp"), 4.0)
    told = reasons(settings, lengths)
    made = extract(ecg([regular(4, 0.03)], 4), settings, AFFECT)
    assert set(told) == set(made.names) - {"eda.scl_mean_us", "eda.flat_share", "temp.mean_degc"}
    assert told["ecg_hrv.rmssd_s"] == "4 s of 'ecg' are too short: ecg_hrv.rmssd_s needs 30 s"
    assert np.isnan(made.values[:, [made.names.index(name) for name in told]]).all()


@pytest.mark.parametrize("length_s", [4.0, 9.0, 10.0, 20.0, 29.0, 30.0, 45.0, 60.0])
def test_reasons_are_those_of_the_values(length_s: float) -> None:
    """What has no reason has a value, and the other way round."""
    made = columns(ecg([regular(length_s, 0.03)], length_s), "ecg_hrv")
    told = reasons(FeatureSettings(("ecg_hrv",)), {"ecg": length_s})
    assert {f"ecg_hrv.{name}" for name, value in made.items() if np.isnan(value[0])} == set(told)
    assert all(least_length_s[name] > length_s for name in told)


def test_a_trail_that_is_not_there_has_its_reason_too() -> None:
    told = reasons(FeatureSettings(("ecg_hrv",), hrv="chest"), {"ecg": 60.0})
    assert told["ecg_hrv.n"] == "the windows carry no trail 'chest', which ecg_hrv.n is made of"
    assert len(told) == 10
    assert reasons(FeatureSettings(("person",)), {}) == {}


def test_a_trail_that_began_late_is_as_short_as_it_is() -> None:
    windows = ecg([regular(60, 0.03), regular(60, 0.03)], 60)
    x = windows.trails["ecg"].signal.copy()
    x[1, : round(35 * FS)] = np.nan
    beats = windows.trails["ecg"].beats
    assert beats is not None
    keep = (beats.window == 0) | (beats.onset > 35_000)
    fewer = replace(
        beats, **{key: getattr(beats, key)[keep] for key in ("window", "onset", "peak", "end", "quality", "normal")}
    )
    made = columns(windows_with({"ecg": trail("ecg", "ecg", x, FS, fewer)}), "ecg_hrv")
    assert {name for name, value in made.items() if np.isnan(value[1])} == {
        name.removeprefix("ecg_hrv.") for name, least in least_length_s.items() if name.startswith("ecg_hrv.") and least > 25
    }
    assert np.isfinite([value[0] for value in made.values()]).all()


def test_beats_that_are_not_normal_do_not_count() -> None:
    made = columns(ecg([regular(60, 0.03)], 60, normal=False), "ecg_hrv")
    assert_array_equal(made["n"], 0)
    assert_array_equal(made["removed_share"], 1)
    assert all(np.isnan(value[0]) for name, value in made.items() if name not in {"n", "removed_share"})


def test_few_beats_in_a_long_trail_are_no_rhythm() -> None:
    made = columns(ecg([regular(16, 0.03), regular(5, 0.03)], 60), "ecg_hrv")
    assert np.isnan(made["rmssd_s"]).all()
    assert_array_equal(np.isnan(made["rate_per_min"]), [False, True])
    assert made["n"][0] > 15


def test_beats_that_do_not_agree_with_their_neighbours_do_not_count() -> None:
    """A false beat in the middle of every tenth interval, told by its quality, changes nothing but the count."""
    true = np.round(np.arange(0.1, 59, 0.8), 3)
    false = np.round(true[::10] + 0.35, 3)
    beats = r_peaks([np.sort(np.concatenate([true, false]))], 1000.0)
    doubted = replace(beats, quality=np.where(np.isin(beats.onset, np.rint(false * 1000)), 0.2, 1).astype(np.float32))
    x = np.zeros((1, round(60 * FS)), np.float32)
    made, fooled = (columns(windows_with({"ecg": trail("ecg", "ecg", x, FS, b)}), "ecg_hrv") for b in (doubted, beats))
    assert_allclose(made["rmssd_s"], 0, atol=1e-6)
    assert_allclose(made["sdnn_s"], 0, atol=1e-6)
    assert_allclose(made["rate_per_min"], 75, rtol=1e-6)
    assert made["removed_share"] == pytest.approx(2 * false.size / (true.size + false.size - 1), abs=0.01)
    assert fooled["rmssd_s"] > 0.1


def pulse(rows: list[F64], length_s: float, fs: float = 64.0) -> Trail:
    """Return a pulse wave that rises from a foot at each time, with the feet as beats found to a sample."""
    t = np.arange(round(length_s * fs)) / fs
    x = np.zeros((len(rows), t.size))
    for k, row in enumerate(rows):
        for foot in row:
            after = np.maximum(t - foot, 0) / 0.12
            x[k] += (after * np.exp(1 - after)) ** 2
    at = [np.rint(row * fs).astype(np.int64) for row in rows]
    window = np.repeat(np.arange(len(rows)), [row.size - 1 for row in at])
    onset, end = np.concatenate([row[:-1] for row in at]), np.concatenate([row[1:] for row in at])
    # Feet are fiducials between samples, as a detector gives them.
    points = {"foot": np.concatenate([row[:-1] for row in rows]) * fs}
    beats = WindowBeats("ppg", fs, window, onset, onset + 8, end, np.ones(window.size, np.float32), points)
    return trail("ppg", "ppg", x, fs, beats)


def test_feet_of_the_pulse_give_pulse_rate_variability() -> None:
    made = columns(windows_with({"ppg": pulse([regular(60, 0.03), regular(60, 0.03)], 60)}), "ppg_prv")
    assert_allclose(made["rate_per_min"], 75, rtol=5e-3)
    assert_allclose(made["rmssd_s"], 0.06, rtol=0.02)
    assert_allclose(made["sdnn_s"], 0.03, rtol=0.05)
    assert np.isfinite([made["lf_hf"], made["hf_ms2"]]).all()


def test_windows_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    rows = [np.cumsum(rng.uniform(0.6, 1.1, 50)) for _ in range(5)]
    rows = [row[row < 30] for row in rows]
    whole = columns(windows_with({"ppg": pulse(rows, 30)}), "ppg_prv")
    for k, row in enumerate(rows):
        for name, value in columns(windows_with({"ppg": pulse([row], 30)}), "ppg_prv").items():
            assert_array_equal(value, whole[name][k : k + 1], err_msg=name)


def no_beats(fs: float) -> WindowBeats:
    none = np.empty(0, np.int64)
    return WindowBeats("ppg", fs, none, none, none, none, np.empty(0, np.float32))


@pytest.mark.parametrize("family", ["ecg_hrv", "ppg_prv"])
@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("samples", [0, 1, 3, 4000])
@pytest.mark.parametrize("beats", [None, no_beats(64.0)])
def test_no_trail_raises(family: str, count: int, samples: int, beats: WindowBeats | None) -> None:
    x: F32 = np.full((count, samples), np.nan, np.float32)
    windows = windows_with({name: trail(name, name, x, 64.0, beats) for name in ("ecg", "ppg")}, count)
    made = columns(windows, family)
    assert all(value.shape == (count,) for value in made.values())
    assert all(np.isnan(value).all() for name, value in made.items() if name != "n")
