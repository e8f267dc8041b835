"""Heart rate variability against known series, and against NeuroKit2 on a real rhythm."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import F64, I64, Bool, WindowBeats, Windows

HRV = FeatureSettings(families=("hrv",))
Tell = Callable[[Windows], dict[str, Any]]
# What cardiologists' annotations call a beat.
BEATS = tuple("NLRejAaJSVEFfQ/")


def tell(windows: Windows) -> dict[str, Any]:
    """Return the columns of the family without their prefix."""
    made = extract(windows, HRV, BLOOD_PRESSURE)
    return {name.removeprefix("hrv."): value for name, value in zip(made.names, made.values.T, strict=True)}


def windows_of(r: I64, normal: Bool, fs: float, length_s: float) -> Windows:
    """Return windows over a whole recording that have nothing but R peaks."""
    count = int(r[-1] / fs / length_s)
    first = np.arange(count) * round(length_s * fs)
    rows = [np.flatnonzero((r[:-1] >= a) & (r[1:] <= a + round(length_s * fs))) for a in first]
    window, beat = np.repeat(np.arange(count), [row.size for row in rows]), np.concatenate(rows)
    onset, end = r[beat] - first[window], r[beat + 1] - first[window]
    good = normal[beat] & normal[beat + 1]
    nothing, quality = np.empty(0, np.int64), np.ones(beat.size, np.float32)
    beats = {
        "ecg_40hz": WindowBeats("ecg_40hz", fs, window, onset, onset, end, quality, normal=good),
        "ppg_12hz": WindowBeats("ppg_12hz", fs, nothing, nothing, nothing, nothing, np.empty(0, np.float32)),
    }
    return Windows(
        record="r",
        subject="s",
        session="1",
        fs=fs,
        onset_s=first / fs,
        signal=np.zeros((count, 2, round(length_s * fs)), np.float32),
        channels=("ppg_12hz", "ecg_40hz"),
        kinds=("ppg", "ecg"),
        sqi=np.ones((count, 2), np.float32),
        targets=np.full((count, 2), np.nan, np.float32),
        target_names=("sbp", "dbp"),
        beats=beats,
    )


def nn_of(windows: Windows, k: int) -> tuple[F64, F64]:
    """Return the intervals between normal beats of one window and when they end, both in ms."""
    b = windows.beats["ecg_40hz"]
    rows = (b.window == k) & b.normal
    return 1000 * (b.end - b.onset)[rows] / b.fs, 1000 * b.end[rows] / b.fs


def rhythm(seconds: float, fs: float = 1000.0, seed: int = 0) -> I64:
    """Return R peaks of a rhythm with a slow and a fast modulation and noise."""
    rng = np.random.default_rng(seed)
    t, out = 0.0, []
    while t < seconds:
        out.append(t)
        wave = 0.03 * np.sin(2 * np.pi * 0.1 * t) + 0.02 * np.sin(2 * np.pi * 0.25 * t)
        t += 0.85 + wave + 0.01 * rng.normal()
    return np.rint(np.array(out) * fs).astype(np.int64)


@pytest.fixture(scope="module")
def mit_100(data_root: Path) -> tuple[I64, Bool, float]:
    """Return the annotated beats of MIT-BIH 100 and which of them are normal."""
    import wfdb

    found = wfdb.rdann(str(data_root / "annotated" / "100"), "atr")
    symbol = np.array(found.symbol)
    beat = np.isin(symbol, BEATS)
    return found.sample[beat].astype(np.int64), symbol[beat] == "N", 360.0


def nk_tables(windows: Windows, what: str, rows: range, **settings: Any) -> dict[str, F64]:
    """Return what NeuroKit2 makes of the intervals of every window."""
    with warnings.catch_warnings():
        # Its own imports and settings warn; that is not what is tested here.
        warnings.simplefilter("ignore")
        nk = pytest.importorskip("neurokit2")
        tables = []
        for k in rows:
            x, end = nn_of(windows, k)
            tables.append(getattr(nk, what)({"RRI": x, "RRI_Time": end / 1000}, sampling_rate=360, **settings))
    return {name: np.array([float(table[name].iloc[0]) for table in tables]) for name in tables[0]}


# ------------------------------------------------------------------------------------------------------ golden: MIT-BIH 100
@pytest.mark.parametrize("length_s", [60, 300])
def test_time_domain_is_that_of_neurokit(mit_100: tuple[I64, Bool, float], length_s: float) -> None:
    windows = windows_of(*mit_100, length_s)
    made, peer = tell(windows), nk_tables(windows, "hrv_time", range(len(windows)))
    for ours, theirs in {
        "mean_s": "MeanNN",
        "median_s": "MedianNN",
        "sdnn_s": "SDNN",
        "rmssd_s": "RMSSD",
        "sdsd_s": "SDSD",
        "mad_s": "MadNN",
        "iqr_s": "IQRNN",
        "cvnn": "CVNN",
        "cvsd": "CVSD",
    }.items():
        scale = 1000 if ours.endswith("_s") else 1
        assert_allclose(scale * made[ours], peer[f"HRV_{theirs}"], rtol=1e-6, err_msg=ours)


def test_steps_above_50_ms_are_counted_in_samples(mit_100: tuple[I64, Bool, float]) -> None:
    # 18 samples at 360 Hz are 50 ms: rounding must not count them as more.
    windows = windows_of(*mit_100, 300)
    made, b = tell(windows), windows.beats["ecg_40hz"]
    for k in range(len(windows)):
        rows = np.flatnonzero((b.window == k) & b.normal)
        step = np.diff((b.end - b.onset)[rows])[b.onset[rows[1:]] == b.end[rows[:-1]]]
        assert made["pnn50_percent"][k] == pytest.approx(100 * (np.abs(step) > 18).sum() / rows.size, rel=1e-6)
        assert made["pnn20_percent"][k] == pytest.approx(100 * (np.abs(step) > 7.2).sum() / rows.size, rel=1e-6)
        assert made["n"][k] == rows.size


def test_frequency_domain_is_near_that_of_neurokit(mit_100: tuple[I64, Bool, float]) -> None:
    # NeuroKit joins intervals by monotone curves at 100 Hz and does not take out the mean of a segment; VLF is not compared.
    windows = windows_of(*mit_100, 300)
    made, peer = tell(windows), nk_tables(windows, "hrv_frequency", range(len(windows)), normalize=False, silent=True)
    for ours, theirs in {"lf_ms2": "LF", "hf_ms2": "HF", "lf_hf": "LFHF"}.items():
        ratio = made[ours] / peer[f"HRV_{theirs}"]
        assert np.median(ratio) == pytest.approx(1, abs=0.05), ours
        assert (np.abs(ratio - 1) < 0.25).all(), (ours, ratio)


def test_nonlinear_is_that_of_neurokit(mit_100: tuple[I64, Bool, float]) -> None:
    windows = windows_of(*mit_100, 300)
    made = tell(windows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nk = pytest.importorskip("neurokit2")
        for k in range(2):
            x, _ = nn_of(windows, k)
            entropy, _ = nk.entropy_sample(x, delay=1, dimension=2, tolerance=0.2 * np.std(x, ddof=1))
            assert made["sample_entropy"][k] == pytest.approx(entropy, rel=1e-5)
            # Its boxes leave out the last whole one.
            alpha, _ = nk.fractal_dfa(x, scale=np.arange(4, 17))
            assert made["dfa_alpha1"][k] == pytest.approx(alpha, rel=5e-3)
    peer = nk_tables(windows, "hrv_nonlinear", range(1))
    for ours, scale in {"sd1_s": 1000, "sd2_s": 1000, "sd1_sd2": 1}.items():
        name = "HRV_" + ours.upper().replace("_SD2", "SD2").removesuffix("_S")
        assert_allclose(scale * made[ours][:1], peer[name], rtol=1e-5, err_msg=ours)


# -------------------------------------------------------------------------------------------------------------------- laws
def test_what_a_window_is_too_short_for_is_not_told() -> None:
    r = rhythm(700)
    good = np.ones(r.size, bool)
    told = {}
    for length_s in (8, 59, 60, 120, 299, 300):
        made = tell(windows_of(r, good, 1000.0, length_s))
        told[length_s] = {name for name, value in made.items() if np.isfinite(value).all()}
    time = {
        "mean_s",
        "median_s",
        "sdnn_s",
        "rmssd_s",
        "sdsd_s",
        "cvnn",
        "cvsd",
        "mad_s",
        "iqr_s",
        "pnn50_percent",
        "pnn20_percent",
    }
    time |= {"sd1_s", "sd2_s", "sd1_sd2", "n", "removed_share", "from_ecg"}
    assert told[8] == time
    assert told[60] - told[59] == {"hf_ms2"}
    assert told[120] == time | {"dfa_alpha1", "sample_entropy", "hf_ms2", "lf_ms2", "lf_hf", "lfn", "hfn"}
    assert told[299] == told[120]
    assert told[300] == told[120] | {"vlf_ms2", "total_ms2"}


def test_the_triangular_index_needs_twenty_minutes() -> None:
    r = rhythm(1300)
    made = tell(windows_of(r, np.ones(r.size, bool), 1000.0, 1200))
    x = nn_of(windows_of(r, np.ones(r.size, bool), 1000.0, 1200), 0)[0]
    counts, _ = np.histogram(x, np.arange(0, 2000, 1000 / 128))
    assert made["triangular_index"][0] == pytest.approx(x.size / counts.max(), rel=1e-6)
    assert np.isnan(tell(windows_of(r, np.ones(r.size, bool), 1000.0, 600))["triangular_index"]).all()


def test_three_intervals_are_too_few() -> None:
    r = rhythm(20)
    made = tell(windows_of(r, np.ones(r.size, bool), 1000.0, 3.4))
    few = made["n"] < 4
    assert few.any()
    for name in ("mean_s", "sdnn_s", "pnn50_percent", "sd1_s"):
        assert np.isnan(made[name][few]).all(), name


def test_intervals_beside_a_beat_that_is_not_normal_are_left_out() -> None:
    r = rhythm(303)
    normal = np.ones(r.size, bool)
    clean = tell(windows_of(r, normal, 1000.0, 300))
    # A premature beat every 40: its two intervals go, and no difference is taken across them.
    early, wrong = r.copy(), normal.copy()
    early[20::40] -= 250
    wrong[20::40] = False
    made = tell(windows_of(early, wrong, 1000.0, 300))
    gone = 2 * wrong.size - 2 * wrong.sum()
    assert made["n"][0] == clean["n"][0] - gone
    assert made["removed_share"][0] == pytest.approx(gone / clean["n"][0], rel=1e-6)
    assert clean["removed_share"][0] == 0
    for name in ("mean_s", "sdnn_s", "rmssd_s", "sd1_s", "hf_ms2", "lf_ms2"):
        assert made[name][0] == pytest.approx(clean[name][0], rel=0.15), name
    loud = tell(windows_of(early, normal, 1000.0, 300))
    assert loud["rmssd_s"][0] > 2 * clean["rmssd_s"][0]


def test_too_much_left_out_leaves_no_spectrum() -> None:
    r = rhythm(303)
    normal = np.ones(r.size, bool)
    normal[:90] = False
    made = tell(windows_of(r, normal, 1000.0, 300))
    assert np.isnan(made["hf_ms2"]).all()
    assert np.isfinite(made["sdnn_s"]).all()


def test_a_slower_clock_scales_times_and_powers() -> None:
    r = rhythm(600)
    normal = np.ones(r.size, bool)
    one, two = tell(windows_of(r, normal, 1000.0, 300)), tell(windows_of(2 * r, normal, 2000.0, 300))
    for name, value in one.items():
        assert_allclose(two[name], value, rtol=1e-5, err_msg=name)


def test_a_steady_rhythm_has_no_variability_and_nothing_infinite() -> None:
    r = np.arange(0, 301_000, 1000)
    made = tell(windows_of(r, np.ones(r.size, bool), 1000.0, 300))
    for name in ("sdnn_s", "rmssd_s", "sdsd_s", "mad_s", "pnn50_percent", "hf_ms2", "sd1_s"):
        assert made[name][0] == pytest.approx(0, abs=1e-9), name
    assert not any(np.isinf(value).any() for value in made.values())


def test_windows_do_not_see_each_other() -> None:
    # Bit for bit: a piece of a recording, and windows in another order, give the same.
    r = rhythm(1600)
    whole = windows_of(r, np.ones(r.size, bool), 1000.0, 300)
    made = tell(whole)
    for k in range(len(whole)):
        b = whole.beats["ecg_40hz"]
        rows = b.window == k
        alone = WindowBeats("ecg_40hz", b.fs, 0 * b.window[rows], b.onset[rows], b.peak[rows], b.end[rows], b.quality[rows])
        part = replace(
            whole,
            onset_s=whole.onset_s[:1],
            signal=whole.signal[:1],
            sqi=whole.sqi[:1],
            beats={**whole.beats, "ecg_40hz": alone},
        )
        for name, value in tell(part).items():
            assert_array_equal(value[0], made[name][k], err_msg=name)


def test_the_pulse_stands_in_for_the_ecg(simulate: Callable[..., Windows], pulse: Any) -> None:
    windows = simulate(pulse, length_s=12.0)
    made = tell(replace(windows, beats={"ppg_12hz": windows.beats["ppg_12hz"]}))
    assert (made["from_ecg"] == 0).all()
    assert_allclose(made["mean_s"], pulse.period_s, rtol=1e-3)
    assert (made["removed_share"] == 0).all()
