"""Marks of made-up rhythms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.signal.rhythm import DOUBTFUL, ECTOPIC, LONG, NORMAL, marks
from biosig_mtl.types import F64, I8, MARKS

FS = 125.0


def marked(interval_s: F64, fs: float = FS) -> I8:
    """Return the marks of beats with these intervals between them."""
    peak = np.rint(np.append(0, np.cumsum(interval_s)) * fs).astype(np.int64)
    return marks(peak, np.append(np.ones(peak.size - 1, bool), False), fs)


def steady(count: int = 30, mean_s: float = 0.8) -> F64:
    return np.asarray(mean_s * (1 + 0.03 * np.sin(np.arange(count))))


def test_the_words_are_those_of_the_nouns() -> None:
    assert [MARKS[k] for k in (NORMAL, ECTOPIC, DOUBTFUL, LONG)] == ["normal", "ectopic", "doubtful", "long"]


@pytest.mark.parametrize("mean_s", [0.4, 0.8, 1.5])
@pytest.mark.parametrize("fs", [62.5, 125.0, 500.0])
def test_a_steady_rhythm_is_normal(mean_s: float, fs: float) -> None:
    assert (marked(steady(60, mean_s), fs) == NORMAL).all()


@pytest.mark.parametrize("mean_s", [0.5, 0.8, 1.2])
def test_a_premature_beat_with_a_pause_is_ectopic_and_nothing_else_is(mean_s: float) -> None:
    interval = steady(30, mean_s)
    interval[14], interval[15] = 0.65 * mean_s, 1.35 * mean_s
    found = marked(interval)
    assert np.flatnonzero(found).tolist() == [15]
    assert found[15] == ECTOPIC


def test_a_premature_beat_that_resets_the_rhythm_is_ectopic() -> None:
    interval = steady()
    interval[14] = 0.6 * 0.8
    found = marked(interval)
    assert np.flatnonzero(found).tolist() == [15]
    assert found[15] == ECTOPIC


def test_a_beat_too_many_is_doubtful() -> None:
    for share in (0.3, 0.5, 0.7):
        interval = steady()
        found = marked(np.concatenate((interval[:15], [share * 0.8, (1 - share) * 0.8], interval[16:])))
        assert found[16] == DOUBTFUL, share
        # The beat after a false one seems premature at worst.
        assert (np.delete(found, [16, 17]) == NORMAL).all(), share


def test_a_missing_beat_makes_the_one_before_it_long() -> None:
    interval = steady()
    for missing in (2, 3):
        found = marked(np.concatenate((interval[:15], [missing * 0.8], interval[16:])))
        assert np.flatnonzero(found).tolist() == [15]
        assert found[15] == LONG


def test_every_second_beat_premature() -> None:
    found = marked(np.tile([0.55, 1.05], 20))
    # At the ends as many short as long intervals are near: neither is the usual one.
    assert (found[7:-7:2] == ECTOPIC).all()
    assert (found[8:-7:2] == NORMAL).all()


def test_an_irregular_rhythm_is_not_called_false() -> None:
    rng = np.random.default_rng(0)
    found = marked(0.7 * np.clip(1 + 0.18 * rng.standard_normal(400), 0.5, 1.6))
    assert (found == DOUBTFUL).mean() < 0.03
    assert (found == LONG).mean() < 0.03
    assert 0.05 < (found == ECTOPIC).mean() < 0.4


def test_nothing_is_said_across_a_gap() -> None:
    interval = steady()
    interval[14] = 3 * 0.8
    peak = np.rint(np.append(0, np.cumsum(interval)) * FS).astype(np.int64)
    follows = np.append(np.ones(30, bool), False)
    follows[14] = False
    assert (marks(peak, follows, FS) == NORMAL).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), fs=st.sampled_from([100.0, 125.0, 250.0]), shift=st.integers(1, 10**6))
def test_it_does_not_matter_where_a_part_starts(seed: int, fs: float, shift: int) -> None:
    # Distances on a coarse grid, so that ties are frequent.
    peak = np.cumsum(np.random.default_rng(seed).integers(5, 16, 60) * round(0.08 * fs))
    follows = np.random.default_rng(seed).random(60) < 0.9
    assert np.array_equal(marks(peak, follows, fs), marks(peak + shift, follows, fs))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_to_say_anything(count: int) -> None:
    assert marks(np.arange(count) * 100, np.ones(count, bool), FS).tolist() == [NORMAL] * count
