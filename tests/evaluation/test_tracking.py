"""Changes that an estimate follows, and those that a held value does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from biosig_mtl.evaluation import held, tracking
from biosig_mtl.evaluation.held import HOLD_LAST, HOLD_MEAN, Asked


def asked_of(seed: int = 0) -> Asked:
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(20), 9)
    level = np.repeat(rng.normal(120, 15, 20), 9)
    truth = level + rng.normal(0, 12, person.size)
    told = {HOLD_MEAN: level, HOLD_LAST: level, "perfect": truth, "half": level + (truth - level) / 2,
            "against": level - (truth - level), "shifted": truth + 30.0}  # fmt: skip
    return Asked(person, person, truth, level, np.full(person.size, 60.0), told)


def test_a_perfect_tracker_follows_everything() -> None:
    asked = asked_of()
    told = tracking.tracked(asked, "perfect", held.draws(asked))
    assert (told["concordance"], told["ci95"], told["slope"]) == (1.0, [1.0, 1.0], pytest.approx(1.0))
    assert told["within_r"] == pytest.approx(1.0)
    assert told["n_within_r"] == 20


def test_a_held_value_follows_nothing() -> None:
    asked = asked_of()
    told = tracking.tracked(asked, HOLD_MEAN, held.draws(asked))
    assert (told["concordance"], told["ci95"], told["slope"]) == (0.5, [0.5, 0.5], 0.0)
    assert np.isnan(told["within_r"])
    assert told["n_within_r"] == 0


def test_the_wrong_way_is_no_half() -> None:
    asked = asked_of()
    told = tracking.tracked(asked, "against", held.draws(asked))
    assert (told["concordance"], told["slope"]) == (0.0, pytest.approx(-1.0))


def test_size_is_the_slope_and_not_the_concordance() -> None:
    asked = asked_of()
    told = tracking.tracked(asked, "half", held.draws(asked))
    assert (told["concordance"], told["slope"]) == (1.0, pytest.approx(0.5))


def test_an_offset_is_no_tracking() -> None:
    """Within a person it changes nothing; from the reading it is a change that was not there."""
    asked = asked_of()
    told = tracking.tracked(asked, "shifted", held.draws(asked))
    assert told["within_r"] == pytest.approx(1.0)
    assert told["by_direction"]["rises"]["concordance"] == 1.0
    assert told["by_direction"]["falls"]["concordance"] < 0.5


def test_only_large_changes_of_the_reference_count() -> None:
    asked = asked_of()
    far = np.abs(asked.truth - asked.level) >= tracking.LARGE
    told = tracking.tracked(asked, "perfect", held.draws(asked))
    assert told["n_large"] == far.sum()
    assert told["n_people_large"] == np.unique(asked.person[far]).size
    assert sum(each["n"] for each in told["by_direction"].values()) == told["n_large"]
    noisy = np.where(far, asked.truth, asked.level - (asked.truth - asked.level))
    other = replace(asked, told={**asked.told, "noisy": noisy})
    assert tracking.tracked(other, "noisy", held.draws(other))["concordance"] == 1.0


def test_nothing_moved() -> None:
    asked = asked_of()
    still = replace(asked, truth=asked.level)
    told = tracking.tracked(still, "perfect", held.draws(still))
    assert told["n_large"] == 0
    assert np.isnan(told["concordance"])
    assert np.isnan(told["ci95"]).all()
    assert np.isnan(told["slope"])
    assert tracking.sds(still) == 0


def test_sds_is_the_spread_of_the_changes() -> None:
    asked = asked_of()
    assert tracking.sds(asked) == pytest.approx(np.std(asked.truth - asked.level, ddof=1))
    assert np.isnan(tracking.sds(asked.only(np.arange(len(asked)) == 0)))
