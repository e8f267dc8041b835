"""Laws of refusing when unsure: chance gains nothing, an oracle gains most, people weigh alike."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.evaluation import selective
from biosig_mtl.evaluation.selective import SHARES, curve, facts


def some(seed: int = 0, many: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.exponential(10.0, many), np.array([f"p{i}" for i in rng.integers(0, 40, many)])


def test_keeping_all_has_the_mean_error_and_an_oracle_is_never_beaten() -> None:
    error, _ = some()
    rng = np.random.default_rng(1)
    best = curve(error, error)
    for unsure in (rng.normal(size=400), -error, error + rng.normal(0, 5, 400)):
        found = curve(error, unsure)
        assert found.risk[-1] == pytest.approx(error.mean())
        assert (found.risk >= best.risk - 1e-9).all()
        assert (found.risk <= curve(error, -error).risk + 1e-9).all()
    assert (np.diff(best.risk) >= 0).all()


def test_a_constant_has_exactly_the_curve_of_chance_in_whatever_order_windows_come() -> None:
    error, _ = some()
    flat = curve(error, np.zeros(400))
    np.testing.assert_allclose(flat.risk, error.mean())
    assert flat.aurc == pytest.approx(error.mean())
    two = np.repeat([0.0, 1.0], 200)
    order = np.random.default_rng(2).permutation(400)
    np.testing.assert_allclose(curve(error, two).risk, curve(error[order], two[order]).risk)


def test_only_the_order_counts() -> None:
    error, _ = some()
    unsure = np.random.default_rng(3).normal(size=400)
    np.testing.assert_allclose(curve(error, unsure).risk, curve(error, np.exp(3 * unsure)).risk)


def test_golden_values_of_four_windows() -> None:
    # Kept, surest first: 1, 3, 5, 7; a quarter has 1, half 2, three quarters 3, all 4; between them straight sums.
    found = curve(np.array([5.0, 1.0, 7.0, 3.0]), np.array([3.0, 1.0, 4.0, 2.0]))
    at = {round(float(s), 2): float(r) for s, r in zip(found.share, found.risk, strict=True)}
    assert at[0.25] == pytest.approx(1.0)
    assert at[0.5] == pytest.approx(2.0)
    assert at[0.75] == pytest.approx(3.0)
    assert at[1.0] == pytest.approx(4.0)
    assert at[0.1] == pytest.approx(1.0)


def test_a_long_recording_is_not_the_whole_curve() -> None:
    """A person with 98 unsure and wrong windows beside two with one good window each: half of the people is the good ones."""
    error = np.array([30.0] * 98 + [1.0, 1.0])
    subject = np.array(["long"] * 98 + ["b", "c"])
    unsure = np.array([1.0] * 98 + [0.0, 0.0])
    told = facts(error, {"width": unsure}, subject, np.random.default_rng(0))["by"]["width"]
    half = int(np.flatnonzero(np.isclose(SHARES, 0.5))[0])
    assert told["risk"][half] == pytest.approx(1.0)
    assert told["risk_pooled"][half] > 25
    assert told["kept_half"] == told["risk"][half]


def test_the_gain_is_told_with_its_interval_over_people() -> None:
    error, subject = some(many=600)
    rng = np.random.default_rng(4)
    unsure = {"right": error + rng.normal(0, 3, 600), "chance": rng.normal(size=600), "constant": np.zeros(600)}
    told = facts(error, unsure, subject, np.random.default_rng(0))
    low, high = told["by"]["right"]["gain_ci95"]
    assert 0.2 < low < told["by"]["right"]["gain"] < high
    low, high = told["by"]["chance"]["gain_ci95"]
    assert low < 0 < high
    assert told["by"]["constant"]["gain"] == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(told["by"]["constant"]["gain_ci95"], 0.0, atol=1e-12)
    assert told["oracle"]["aurc"] < told["by"]["right"]["aurc"] < told["random"]["aurc"]
    again = facts(error, unsure, subject, np.random.default_rng(0))
    assert again == told


def test_unknown_errors_are_left_out_and_unknown_certainty_is_refused_first() -> None:
    error, subject = some(many=50)
    more = np.append(error, [np.nan, np.nan])
    told, plain = (
        facts(e, {"w": np.arange(e.size, dtype=float)}, s, np.random.default_rng(0))
        for e, s in ((more, np.append(subject, ["x", "y"])), (error, subject))
    )
    assert told == plain
    unsure = np.where(np.arange(50) < 5, np.nan, np.arange(50.0))
    late = np.where(np.isnan(unsure), 100.0, unsure)
    one, two = (facts(error, {"w": u}, subject, np.random.default_rng(0))["by"]["w"]["risk"] for u in (unsure, late))
    np.testing.assert_allclose(one, two)
    assert facts(np.full(3, np.nan), {}, np.array(["a", "b", "c"]), np.random.default_rng(0)) == {}


def test_errors_of_nothing_leave_nothing_to_save() -> None:
    told = facts(np.zeros(6), {"w": np.arange(6.0)}, np.array(list("aabbcc")), np.random.default_rng(0))
    assert told["by"]["w"]["gain"] == 0.0


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one, got 0 and 0"):
        curve(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="got 2 and 3"):
        curve(np.ones(2), np.ones(3))
    assert selective.SHARES[-1] == 1.0
