"""Targets from the reference: known pressures come back, beats that are not whole or not plausible do not count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Beats, Record, Windows
from biosig_mtl.windows import ReferenceRules, Windowing, cut

FS = 125.0
Known = Callable[..., Record]


def windows(record: Record, length_s: float = 8.0, stride_s: float | None = None, **rules: float) -> Windows:
    setting = Windowing(length_s=length_s, stride_s=stride_s, channels=("ppg",), rules=ReferenceRules(**rules))  # type: ignore[arg-type]
    return cut(record, setting, BLOOD_PRESSURE)


def reasons(made: Windows) -> dict[float, str]:
    return {r.onset_s: r.reason for r in made.rejected}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(300, 1200),
    stride=st.integers(50, 700),
    period=st.integers(80, 150),
)
def test_targets_are_the_means_of_the_known_pressures_of_whole_beats(
    known: Known, seed: int, length: int, stride: int, period: int
) -> None:
    rng = np.random.default_rng(seed)
    dbp = rng.uniform(60, 80, 30)
    sbp = dbp + rng.uniform(20, 40, 30)
    record = known(sbp, dbp, period=period)
    made = windows(record, length / FS, stride / FS, min_beats=1, max_sd_mmhg=1e3)
    onset, end = record.beats["abp"].onset, record.beats["abp"].end
    assert len(made) > 0
    for row, onset_s in enumerate(made.onset_s):
        first = round(onset_s * FS)
        whole = (onset >= first) & (end <= first + length)
        np.testing.assert_allclose(made.targets[row], [sbp[whole].mean(), dbp[whole].mean()], atol=1e-4)
        assert made.facts["n_beats"][row] == whole.sum()
        if whole.sum() > 1:
            np.testing.assert_allclose(made.facts["sbp_sd"][row], sbp[whole].std(ddof=1), atol=1e-4)
            np.testing.assert_allclose(made.facts["dbp_sd"][row], dbp[whole].std(ddof=1), atol=1e-4)
    refused = reasons(made)
    for onset_s, reason in refused.items():
        first = round(onset_s * FS)
        assert reason == "no complete beat in the reference abp"
        assert not ((onset >= first) & (end <= first + length)).any()


def test_beats_that_the_window_cuts_do_not_count(known: Known) -> None:
    # Feet at 10, 110, 210 …: the window of 0 … 500 holds four whole beats, those of 0 … 250 two.
    sbp = np.array([120.0, 120, 120, 120, 200, 120, 120, 120])
    record = known(sbp, np.full(8, 80.0))
    made = windows(record, 4.0, min_beats=1)
    assert made.facts["n_beats"].tolist() == [4]
    np.testing.assert_allclose(made.targets, [[120.0, 80.0]])


def test_a_beat_whose_end_is_unknown_does_not_count(known: Known) -> None:
    record = known(np.array([120.0, 170.0, 120.0, 120.0]), np.full(4, 80.0))
    beats = record.beats["abp"]
    record = record.with_beats(replace(beats, end=np.where(np.arange(4) == 1, -1, beats.end)))
    np.testing.assert_allclose(windows(record, 3.4, min_beats=1).targets, [[120.0, 80.0]])


@pytest.mark.parametrize(
    ("sbp", "dbp"),
    [(230.0, 120.0), (70.0, 25.0), (88.0, 80.0), (205.0, 40.0)],
    ids=["systolic over 220", "diastolic below 30", "pulse below 10", "pulse over 150"],
)
def test_an_implausible_beat_is_left_out_of_the_mean(known: Known, sbp: float, dbp: float) -> None:
    systolic, diastolic = np.full(9, 120.0), np.full(9, 80.0)
    systolic[4], diastolic[4] = sbp, dbp
    made = windows(known(systolic, diastolic), 7.4)
    np.testing.assert_allclose(made.targets, [[120.0, 80.0]])
    assert made.facts["n_beats"].tolist() == [8]


@pytest.mark.parametrize(("period", "reason"), [(220, "implausible"), (36, "implausible"), (200, ""), (40, "")])
def test_the_rate_of_a_beat_must_be_plausible(known: Known, period: int, reason: str) -> None:
    # 220 samples are 34 beats a minute and 36 are 208; 200 are 37.5 and 40 are 187.5.
    made = windows(known(np.full(20, 120.0), np.full(20, 80.0), period=period, rise=10), 720 * 1.0 / FS, min_beats=3)
    assert (len(made) == 0) == bool(reason)
    assert all(reason in r for r in reasons(made).values())


@pytest.mark.parametrize(("bad", "kept"), [(2, True), (3, False)])
def test_enough_of_the_beats_must_be_plausible(known: Known, bad: int, kept: bool) -> None:
    systolic = np.full(8, 120.0)
    systolic[:bad] = 240.0
    made = windows(known(systolic, np.full(8, 80.0)), 6.6, min_share=0.7)
    assert len(made) == kept
    assert set(reasons(made).values()) == (set() if kept else {"implausible beats in the reference abp"})


def test_too_few_beats_and_unstable_pressure_are_told_apart(known: Known) -> None:
    few = windows(known(np.full(8, 120.0), np.full(8, 80.0)), 6.6, min_beats=9)
    assert set(reasons(few).values()) == {"too few complete beats in the reference abp"}
    swaying = windows(known(np.tile([110.0, 170.0], 4), np.full(8, 80.0)), 6.6)
    assert set(reasons(swaying).values()) == {"unstable pressure in the reference abp"}
    none = windows(replace(known(np.full(8, 120.0), np.full(8, 80.0)), beats={"abp": no_beats(known)}), 6.6)
    assert set(reasons(none).values()) == {"no complete beat in the reference abp"}


def no_beats(known: Known) -> Beats:
    beats = known(np.full(8, 120.0), np.full(8, 80.0)).beats["abp"]
    return replace(beats, **{k: getattr(beats, k)[:0] for k in ("onset", "peak", "end", "quality")}, points={})


def test_mean_pressure_is_the_mean_of_the_wave(known: Known) -> None:
    record = known(np.full(8, 120.0), np.full(8, 80.0))
    made = windows(record, 6.6)
    np.testing.assert_allclose(made.facts["map"], record.channels["abp"].samples[:825].mean(dtype=np.float64), rtol=1e-6)
    assert set(made.facts["label_source"]) == {"invasive"}


# --------------------------------------------------------------------------------------------------------------------- lag
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), lag=st.integers(-125, 125), gain=st.floats(0.1, 50), offset=st.floats(-100, 100))
def test_the_lag_of_a_shifted_copy_is_found_exactly(known: Known, seed: int, lag: int, gain: float, offset: float) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    wave = np.random.default_rng(seed).normal(0, 1, 2440)
    abp = replace(record.channels["abp"], samples=(100 + 5 * wave[200:2240]).astype(np.float32))
    late = offset + gain * wave[200 - lag : 2240 - lag]
    ppg = replace(record.channels["ppg"], samples=late.astype(np.float32))
    loose = {"min_pulse_mmhg": -1e3, "min_beats": 1, "min_share": 0.01, "max_sd_mmhg": 1e3}
    made = windows(record.with_channel(abp).with_channel(ppg), **loose)
    assert len(made) == 2
    assert made.facts["lag_samples"].tolist() == [lag, lag]
    assert (made.facts["ppg_abp_corr"] > 0.8).all()


def test_a_flat_pulse_has_no_correlation(known: Known) -> None:
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    flat = replace(record.channels["ppg"], samples=np.zeros(2040, np.float32))
    assert windows(record.with_channel(flat)).facts["ppg_abp_corr"].tolist() == [0.0, 0.0]


def test_lag_and_correlation_lie_within_their_bounds(known: Known) -> None:
    rng = np.random.default_rng(0)
    record = known(np.full(20, 120.0), np.full(20, 80.0))
    noise = replace(record.channels["ppg"], samples=rng.normal(0, 1, 2040).astype(np.float32))
    made = windows(record.with_channel(noise), 0.5 * 8, 0.5)
    assert (np.abs(made.facts["lag_samples"]) <= FS).all()
    assert (np.abs(made.facts["ppg_abp_corr"]) <= 1).all()


@pytest.mark.parametrize(
    "wrong",
    [{"min_mmhg": -1.0}, {"min_mmhg": 230.0}, {"min_beats": 0}, {"min_share": 0.0}, {"min_share": 1.1}],
)
def test_nonsense_rules_are_refused_at_birth(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        ReferenceRules(**wrong)  # type: ignore[arg-type]
