"""Laws of the noise: the truth stays, each level has what it says, and nothing changes where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.data.noise import ECTOPIC_SHARE, LEVELS, NOISES, band_noise, bursts, ecg_noise, ppg_noise
from biosig_mtl.data.physiology import Circulation, pulse_peaks, pulse_wave, volume_shape
from biosig_mtl.data.synthetic import Cohort, SimulatedRecord, people, simulate, write
from biosig_mtl.types import F64

FS = 125.0
T_S = np.arange(round(600 * FS)) / FS
BASE = Cohort(n_subjects=4, records_per_subject=1, record_s=120, fault_share=0)


@pytest.fixture(scope="module")
def records() -> dict[str, list[SimulatedRecord]]:
    return {noise: [simulate(replace(BASE, noise=noise), number)[0] for number in range(4)] for noise in NOISES}  # type: ignore[arg-type]


def power(x: F64, low_hz: float, high_hz: float) -> float:
    hz = np.fft.rfftfreq(x.size, 1 / FS)
    return float((np.abs(np.fft.rfft(x - x.mean()))[(hz >= low_hz) & (hz < high_hz)] ** 2).sum())


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="none, clean, moderate, heavy; got 'loud'"):
        Cohort(noise="loud")  # type: ignore[arg-type]


def test_beats_and_pressure_are_the_same_at_every_level(records: dict[str, list[SimulatedRecord]]) -> None:
    for clean, moderate, heavy in zip(*(records[noise] for noise in LEVELS), strict=True):
        for other in (moderate, heavy):
            for name in ("r_s", "foot_s", "ppg_foot_s", "ppg_peak_s", "sbp_mmhg"):
                np.testing.assert_array_equal(getattr(other.truth, name), getattr(clean.truth, name))
            np.testing.assert_array_equal(other.channels["ABP"], clean.channels["ABP"])


def test_noise_grows_with_its_level(records: dict[str, list[SimulatedRecord]]) -> None:
    for channel in ("II", "PLETH"):
        rough = [np.mean([np.diff(r.channels[channel]).std() for r in records[noise]]) for noise in LEVELS]
        assert rough[0] < rough[1] < rough[2]


@pytest.mark.parametrize(("noise", "share"), [("clean", 0.0), ("moderate", 0.1), ("heavy", 0.3)])
def test_the_person_moves_for_the_declared_share_of_the_time(
    records: dict[str, list[SimulatedRecord]], noise: str, share: float
) -> None:
    assert LEVELS[noise].burst_share == share
    assert np.mean([r.motion.mean() for r in records[noise]]) == pytest.approx(share, abs=0.01)


def test_bursts_last_seconds_and_start_softly() -> None:
    strength = bursts(np.random.default_rng(0), T_S, 0.3)
    edge = np.flatnonzero(np.diff((strength > 0).astype(int)))
    assert strength.min() == 0
    assert (strength > 0).mean() == pytest.approx(0.3, abs=0.005)
    assert 20 < edge.size < 60
    assert np.abs(np.diff(strength)).max() < 0.1
    assert not bursts(np.random.default_rng(0), T_S, 0.0).any()


def test_noise_of_a_band_lies_in_its_band() -> None:
    x = band_noise(np.random.default_rng(0), T_S, 0.5, 5.0)
    assert x.std() == pytest.approx(1, abs=0.01)
    assert power(x, 0.5, 5.01) > 0.999 * power(x, 0, 70)


def test_motion_of_the_finger_shakes_between_half_and_five_hertz() -> None:
    rest, moving = np.zeros(T_S.size), np.ones(T_S.size)
    still, shaken = (ppg_noise(np.random.default_rng(0), LEVELS["heavy"], T_S, x) for x in (rest, moving))
    assert power(shaken - still, 0.5, 5.01) > 0.999 * power(shaken - still, 0, 70)
    assert (shaken - still).std() == pytest.approx(LEVELS["heavy"].shake, rel=0.01)


def test_the_electrocardiogram_hums_wanders_and_has_bumps_of_either_sign_while_moving() -> None:
    level = LEVELS["heavy"]
    rest, moving = np.zeros(T_S.size), np.ones(T_S.size)
    still, shaken = (ecg_noise(np.random.default_rng(0), level, T_S, x) for x in (rest, moving))
    assert power(still, 49.9, 50.1) > 20 * power(still, 48, 48.2)
    assert power(still, 0.05, 0.51) > 0.5 * power(still, 0, 45)
    extra = shaken - still
    assert extra.max() > 2 * level.bump_mv
    assert extra.min() < -2 * level.bump_mv


def test_some_beats_come_early_and_some_stretches_are_irregular() -> None:
    cohort = Cohort(n_subjects=30, records_per_subject=1, record_s=120, fault_share=0, noise="clean")
    early = wild = total = 0
    for number in range(30):
        rr = np.diff(simulate(cohort, number)[0].truth.r_s)
        ratio = rr / np.median(rr)
        early += int(((ratio[:-1] < 0.8) & (ratio[1:] > 1.2)).sum())
        swing = np.abs(np.diff(ratio)) > 0.1
        wild += int((np.convolve(swing, np.ones(8), mode="valid") >= 6).sum())
        total += rr.size
    assert 0.6 * ECTOPIC_SHARE < early / total < 2.5 * ECTOPIC_SHARE
    assert 0.005 < wild / total < 0.15


def test_a_pulse_is_highest_where_the_truth_says() -> None:
    who = people(BASE)[0]
    truth = simulate(BASE, 0)[0].truth
    assert ((truth.ppg_peak_s > truth.ppg_foot_s + 0.05) & (truth.ppg_peak_s < truth.ppg_foot_s + 0.6)).all()
    foot_s = np.array([0.0, 0.8, 1.5, 2.5])
    flow = Circulation(*(np.full(4, x) for x in (0.0, 0.8, 120.0, 70.0, 0.25, 0.2, 0.25)))
    fine_s = np.arange(0, 2.5, 1e-4)
    shape = volume_shape(who, flow)
    wave, beat = pulse_wave(fine_s, foot_s, shape)
    highest_s = [fine_s[beat == number][wave[beat == number].argmax()] for number in range(3)]
    np.testing.assert_allclose(pulse_peaks(foot_s, shape), highest_s, atol=1e-3)


def test_a_cohort_with_noise_is_another_cohort_on_disk(tmp_path: Path) -> None:
    small = Cohort(n_subjects=1, records_per_subject=1, record_s=20, fault_share=0)
    quiet, noisy = write(small, tmp_path / "a"), write(replace(small, noise="heavy"), tmp_path / "b")
    # A cohort without noise is what it was before there was a choice: its settings do not name it.
    assert "noise" not in (quiet / "simulated.json").read_text()
    assert '"noise": "heavy"' in (noisy / "simulated.json").read_text()
    assert (quiet / "s001" / "s001_1.dat").read_bytes() != (noisy / "s001" / "s001_1.dat").read_bytes()
