"""Features beside what is usual for the same person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.training.person import CLIP, in_time, past_z, relative
from biosig_mtl.types import F64, RecipeError, WindowTable


def table(values: F64, subject: list[str]) -> WindowTable:
    n = len(subject)
    nothing = np.empty((n, 0, 0), np.float32)
    index = pd.DataFrame({"subject": subject, "onset_s": np.arange(n, dtype=float)})
    names = tuple(f"eda.x{j}" for j in range(values.shape[1]))
    targets = np.zeros((n, 1), np.float32)
    return WindowTable(index, values.astype(np.float32), names, nothing, (), 1.0, targets, ("stress",))


def plain(x: F64) -> F64:
    """Return what the words say, one row and one column at a time."""
    out = np.full(x.shape, np.nan)
    for i in range(len(x)):
        for j in range(x.shape[1]):
            seen = x[: i + 1, j][np.isfinite(x[: i + 1, j])]
            if np.isfinite(x[i, j]) and seen.size >= 3:
                out[i, j] = np.clip((x[i, j] - seen.mean()) / seen.std(), -CLIP, CLIP) if seen.std() > 0 else 0
    return out


def test_the_past_is_what_was_known_at_that_moment() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(1000, 1, (40, 3))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 2] = 7.0
    subject = np.array(["b", "a"] * 20)
    made = past_z(x, subject)
    for one in "ab":
        np.testing.assert_allclose(made[subject == one], plain(x[subject == one]), atol=1e-4)
    assert not made[np.isfinite(made[:, 2]), 2].any()


@given(st.integers(5, 30), st.integers(0, 99))
def test_the_future_and_other_people_change_nothing(cut: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(32, 2))
    subject = np.array(list("aabb" * 8))
    other = x.copy()
    other[cut:] += 100
    other[subject == "b"] = 5
    a = subject[:cut] == "a"
    np.testing.assert_array_equal(past_z(x, subject)[:cut][a], past_z(other, subject)[:cut][a])


@pytest.mark.parametrize("how", ["past", "whole"])
def test_offset_and_gain_of_a_person_fall_out(how: str) -> None:
    x = np.random.default_rng(2).normal(size=(30, 2))
    one = relative(table(x, ["a"] * 30), how)  # type: ignore[arg-type]
    two = relative(table(50 + 8 * x, ["a"] * 30), how)  # type: ignore[arg-type]
    np.testing.assert_allclose(one.values[:, 2:], two.values[:, 2:], atol=2e-4)
    assert one.names == ("eda.x0", "eda.x1", *(f"eda.x{j}.{'past' if how == 'past' else 'own'}_z" for j in range(2)))
    np.testing.assert_array_equal(one.values[:, :2], x.astype(np.float32))


def test_the_whole_has_mean_zero_and_spread_one() -> None:
    x = np.random.default_rng(3).normal(9, 4, (60, 1))
    made = relative(table(x, ["a"] * 30 + ["b"] * 30), "whole").values[:, 1]
    for part in (made[:30], made[30:]):
        assert abs(part.mean()) < 1e-5
        assert abs(part.std() - 1) < 1e-4


def test_few_values_are_unknown_and_nothing_asked_is_nothing_done() -> None:
    x = np.array([[1.0], [np.nan], [2.0]])
    given = table(x, ["a"] * 3)
    assert np.isnan(relative(given, "whole").values[:, 1]).all()
    assert relative(given, "none") is given
    empty = relative(table(np.empty((0, 2)), []), "past")
    assert empty.values.shape == (0, 4)


def test_the_past_follows_the_clock_of_the_session_where_it_is_known() -> None:
    """Trials listed by stimulus and seen in another order: each is beside what was seen before it."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(24, 2))
    subject = ["a"] * 12 + ["b"] * 12
    seen = np.concatenate([rng.permutation(12), rng.permutation(12)]) * 10.0
    given = table(x, subject)
    onset = given.index["onset_s"] * 0
    told = replace(given, index=given.index.assign(session="1", session_s=seen, onset_s=onset))
    order = np.concatenate([np.argsort(seen[:12]), 12 + np.argsort(seen[12:])])
    np.testing.assert_array_equal(in_time(told), order)
    made = relative(told, "past").values[:, 2:]
    in_order = relative(table(x[order], [subject[k] for k in order]), "past").values[:, 2:]
    np.testing.assert_array_equal(made[order], in_order)
    # One trial of a session without its time: nothing is known of the order, and the listing stands.
    half = replace(told, index=told.index.assign(session_s=np.where(np.arange(24) == 3, np.nan, seen)))
    np.testing.assert_array_equal(in_time(half)[:12], np.arange(12))
    np.testing.assert_array_equal(in_time(half)[12:], order[12:])
    # Sessions keep the order of the table, whatever their clocks say.
    two = replace(told, index=told.index.assign(session=["1"] * 6 + ["2"] * 6 + ["1"] * 12))
    assert set(in_time(two)[:6]) == set(range(6))


def test_trials_whose_time_nobody_knows_have_no_past() -> None:
    """By its place in a listing by stimulus every trial would tell which stimulus it was."""
    given = table(np.random.default_rng(6).normal(size=(6, 1)), ["a"] * 6)
    shown = replace(given, index=given.index.assign(session="1", stimulus=["c1", "c1", "c2", "c2", "c3", "c3"]))
    for unknown in (shown, replace(shown, index=shown.index.assign(session_s=[0, 0, 1, 1, np.nan, 2]))):
        with pytest.raises(RecipeError, match="when each trial was seen"):
            relative(unknown, "past")
        assert relative(unknown, "whole").values.shape == (6, 2)
    known = replace(shown, index=shown.index.assign(session_s=np.arange(6.0)))
    assert relative(known, "past").values.shape == (6, 2)
    silent = replace(given, index=given.index.assign(session="1", stimulus=""))
    assert relative(silent, "past").values.shape == (6, 2)
