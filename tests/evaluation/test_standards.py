"""Screens: the published tables, their edges, and what they must never say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from biosig_mtl.evaluation import standards


def numbers(**words: float) -> dict[str, float]:
    """A table of readings that lies within every limit."""
    good = {"n_subjects": 85, "n_pairs": 255, "me": 1.0, "sd": 7.0, "subject_sd": 6.0, "mad": 4.9, "mapd": 4.0}
    shares = {"cp5": 0.65, "cp10": 0.9, "cp15": 0.97}
    spread = {"share <= 100": 0.1, "share >= 160": 0.1, "share >= 140": 0.2}
    spread |= {"share <= 60": 0.05, "share >= 100": 0.05, "share >= 85": 0.2, "share <= 70": 0.1}
    return {**good, **shares, **spread, **words}


@pytest.mark.parametrize("step", range(51))
def test_the_table_is_the_85_percent_relation(step: int) -> None:
    """Each limit is the σ for which a normal error with that mean is within ±10 mmHg with probability 0.85 (± 0.024)."""
    me = step / 10
    sigma = brentq(lambda s: norm.cdf((10 - me) / s) - norm.cdf((-10 - me) / s) - 0.85, 1, 20)
    assert standards.subject_sd_limit(me) == pytest.approx(sigma, abs=0.024)


def test_the_table_has_the_printed_corners() -> None:
    """Golden values of ISO 81060-2:2018, table of averaged subject data acceptance."""
    printed = {0.0: 6.95, 0.4: 6.93, 1.0: 6.87, 1.9: 6.68, 2.0: 6.65, 3.0: 6.25, 4.0: 5.64, 4.8: 5.01, 4.9: 4.90, 5.0: 4.79}
    assert {me: standards.subject_sd_limit(me) for me in printed} == printed
    assert len(standards.SUBJECT_SD_LIMIT) == 51
    assert all(a >= b for a, b in zip(standards.SUBJECT_SD_LIMIT, standards.SUBJECT_SD_LIMIT[1:], strict=False))


def test_the_mean_error_is_rounded_to_a_tenth_and_its_sign_does_not_matter() -> None:
    assert standards.subject_sd_limit(1.04) == standards.subject_sd_limit(-0.96) == 6.87
    assert standards.subject_sd_limit(0.45) == 6.92
    assert standards.subject_sd_limit(5.04) == 4.79
    assert standards.subject_sd_limit(5.05) == 0.0
    assert standards.subject_sd_limit(float("nan")) == 0.0


@pytest.mark.parametrize(
    ("words", "verdict", "reason"),
    [
        ({}, "within limits", ""),
        ({"me": 5.0, "sd": 8.0, "subject_sd": 4.79}, "within limits", ""),
        ({"me": -5.01}, "outside limits", "criterion 1"),
        ({"sd": 8.01}, "outside limits", "criterion 1"),
        ({"subject_sd": 6.88}, "outside limits", "criterion 2"),
        ({"share >= 160": 0.04}, "outside limits", "SBP ≥ 160 mmHg in 4.0%, need 5%"),
        ({"n_subjects": 84}, "n too small", ""),
        ({"n_pairs": 254}, "n too small", ""),
        ({"n_subjects": 84, "me": 40.0}, "n too small", "criterion 1"),
        ({"me": float("nan")}, "outside limits", "criterion 1"),
    ],
)
def test_iso_limits_to_the_edge(words: dict[str, float], verdict: str, reason: str) -> None:
    got = standards.iso81060_2(numbers(**words), "sbp", "cuff")
    assert got["verdict"] == verdict
    assert bool(got["reasons"]) == bool(reason)
    assert reason in " ".join(got["reasons"])


def test_an_invasive_reference_has_no_second_criterion_and_says_so() -> None:
    got = standards.iso81060_2(numbers(subject_sd=12.0), "dbp", "invasive")
    assert got["verdict"] == "within limits"
    assert got["criterion_2"]["applies"] is False
    assert got["criterion_2"]["kept"] is None
    assert got["reference"] == "invasive"
    assert any("criterion 2 does not apply" in line for line in got["deviations"])
    assert [row["readings"] for row in got["reference_readings"]] == ["DBP ≤ 70 mmHg", "DBP ≥ 85 mmHg"]
    assert standards.iso81060_2(numbers(), "map", "invasive")["reference_readings"] == []


@pytest.mark.parametrize(
    ("shares", "grade", "verdict"),
    [
        ((0.60, 0.85, 0.95), "A", "within limits"),
        ((0.59, 0.85, 0.95), "B", "within limits"),
        ((0.60, 0.85, 0.94), "B", "within limits"),
        ((0.90, 0.90, 0.89), "C", "outside limits"),
        ((0.40, 0.65, 0.85), "C", "outside limits"),
        ((0.90, 0.90, 0.80), "D", "outside limits"),
        ((17 / 20 - 0.25, 17 / 20, 19 / 20), "A", "within limits"),
        ((float("nan"),) * 3, "D", "outside limits"),
    ],
)
def test_bhs_grades_by_the_worst_column(shares: tuple[float, float, float], grade: str, verdict: str) -> None:
    got = standards.bhs(numbers(cp5=shares[0], cp10=shares[1], cp15=shares[2]))
    assert (got["grade"], got["verdict"]) == (grade, verdict)


@pytest.mark.parametrize(
    ("mad", "grade"), [(5.0, "A"), (5.01, "B"), (6.0, "B"), (6.01, "C"), (6.99, "C"), (7.0, "D"), (float("nan"), "D")]
)
def test_ieee_grades_by_the_mean_absolute_difference(mad: float, grade: str) -> None:
    got = standards.ieee1708(numbers(mad=mad))
    assert got["grade"] == grade
    assert got["verdict"] == ("outside limits" if grade == "D" else "within limits")


def test_few_subjects_are_never_a_pass_and_the_wording_is_there() -> None:
    few = numbers(n_subjects=84)
    screens: list[dict[str, Any]] = [standards.iso81060_2(few, "sbp", "cuff"), standards.bhs(few), standards.ieee1708(few)]
    for screen in screens:
        assert screen["verdict"] == "n too small"
        assert screen["wording"] == "numerical screen on retrospective data; not a validation"


def test_readings_are_counted_from_windows() -> None:
    true = np.array([90.0, 100, 120, 160, 170, np.nan])
    pred = true + np.array([4.0, 6, 11, -5, 16, 0])
    got = standards.readings(true, pred, ["a", "a", "b", "b", "c", "d"], "sbp")
    assert (got["n_subjects"], got["n_pairs"]) == (3, 5)
    assert (got["share <= 100"], got["share >= 160"], got["share >= 140"]) == (0.4, 0.4, 0.4)
    assert (got["cp5"], got["cp10"], got["cp15"]) == (0.4, 0.6, 0.8)
    assert got["subject_sd"] == pytest.approx(np.std([5, 3, 16], ddof=1))
    assert got["sd"] == pytest.approx(np.std([4, 6, 11, -5, 16], ddof=1))


def test_no_readings_give_no_pass() -> None:
    got = standards.readings([], [], [], "sbp")
    assert standards.iso81060_2(got, "sbp", "cuff")["verdict"] == "n too small"
    assert standards.readings([1.0], [1.0], ["a"], "map")["n_subjects"] == 1
