"""The proof finds what is planted: one window in a wrong part, and nothing is let through for lack of a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from biosig_mtl.splits import PROTOCOLS, Protocol, make, prove
from biosig_mtl.types import DataError, Fold, Guarantee, WindowTable
from tests.splits.tables import QUADRANTS, affect_table, table_of

TABLE = affect_table(3, people=8)
SETTINGS: dict[str, dict[str, Any]] = {
    "leave_stimulus_out": {"folds": 4},
    "epic_version": {"versions": {f"{q}{k}": str(k) for q in QUADRANTS for k in (1, 2)}},
    "epic_time": {"validation": 0.4},
}
NAMES: list[Any] = [name for name in PROTOCOLS if name not in {"transfer", "random_window"}]
FOLDS = {name: make(TABLE, Protocol(name, **({"folds": 3} | SETTINGS.get(name, {})))) for name in NAMES}


def breaks(table: WindowTable, fold: Fold, row: int, aim: str, promise: tuple[str, ...]) -> bool:
    """Say by comparison of this row with all others, one by one, whether it may not be where it was put."""
    held = {"subject": table.subject, "stimulus": table.stimulus, "trial": table.trial}
    parts, index = fold.parts(), table.index
    same = (index["record"] == index["record"][row]).to_numpy()
    onset, end = index["onset_s"].to_numpy(), index["end_s"].to_numpy()
    for other, rows in parts.items():
        kept = rows[rows != row]
        across = (other in {"train", "validation"}) != (aim in {"train", "validation"})
        shared = [unit for unit in held if (held[unit][kept] == held[unit][row]).any()]
        if other != aim and (set(shared) & set(promise) if across else fold.unit in shared):
            return True
        here = kept[same[kept]]
        if other != aim and ((onset[here] < end[row]) & (end[here] > onset[row])).any():
            return True
        in_time = other != aim and ("past" in promise if across else fold.unit == "time")
        ahead = aim == "train" or (aim == "validation" and across)
        if in_time and (end[row] > onset[here] if ahead else onset[row] < end[here]).any():
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_a_moved_window_is_found_wherever_it_breaks_the_promise(name: str, data: st.DataObject) -> None:
    fold = FOLDS[name][data.draw(st.integers(0, len(FOLDS[name]) - 1))]
    row = data.draw(st.integers(0, len(TABLE) - 1))
    aim = data.draw(st.sampled_from(["train", "validation", "test"]))
    parts = {part: rows[rows != row] for part, rows in fold.parts().items()}
    parts[aim] = np.append(parts[aim], row)
    assume(all(parts[part].size for part in ("train", "validation", "test")))
    planted = replace(fold, **parts)
    promise = PROTOCOLS[name].guarantee
    prove(fold, TABLE, promise)
    if breaks(TABLE, planted, row, aim, promise.disjoint):
        with pytest.raises(DataError, match=f"fold {fold.number}: .*; this is a leak$"):
            prove(planted, TABLE, promise)
    else:
        prove(planted, TABLE, promise)


@pytest.mark.parametrize(
    ("disjoint", "second", "told"),
    [
        (("subject",), {"subject": "a"}, "subject 'a' is in train and in test"),
        (("stimulus",), {"stimulus": "x"}, "stimulus 'x' is in train and in test"),
        (("trial",), {"subject": "a", "stimulus": "x"}, "trial 'a/1/x' is in train and in test"),
        (("window",), {"record": "r0", "onset_s": 3.5, "end_s": 7.5}, "a sample of record 'demo/r0' at 3.5 s is in train and"),
        (("window",), {"record": "r0", "onset_s": -1.0, "end_s": 9.0}, "a sample of record 'demo/r0' at 0 s is in test and"),
        (("window",), {"record": "r0", "onset_s": 0.0, "end_s": 1.0}, "a sample of record 'demo/r0' at 0 s is in train and"),
        (
            ("past",),
            {"record": "r0", "onset_s": -4.0, "end_s": 0.0},
            "of record 'demo/r0' train reaches beyond",
        ),
        (
            ("past",),
            {"record": "r0", "onset_s": 3.5, "end_s": 7.5},
            "of record 'demo/r0' train reaches beyond",
        ),
    ],
)
def test_the_first_culprit_is_named(disjoint: tuple[str, ...], second: dict[str, Any], told: str) -> None:
    first = {"subject": "a", "stimulus": "x", "record": "r0", "onset_s": 0.0, "end_s": 4.0}
    rows = [first, {"subject": "b", "stimulus": "y", "record": "r1", "onset_s": 0.0, "end_s": 4.0} | second]
    rows += [{"subject": "c", "stimulus": "z", "record": "r2", "onset_s": 0.0, "end_s": 4.0}]
    columns = {key: [row[key] for row in rows] for key in first}
    table = table_of(columns.pop("subject"), [[5]] * 3, ("valence",), **columns)
    promise = Guarantee(disjoint, subject_independent=False, says="")
    fold = Fold(np.array([0]), np.array([2]), np.array([1]))
    with pytest.raises(DataError, match=told):
        prove(fold, table, promise)
    apart = table_of(["a", "b", "c"], [[5]] * 3, ("valence",), stimulus=["x", "y", "z"])
    prove(fold, apart, promise)


def test_windows_that_touch_share_no_sample_and_the_past_may_touch_too() -> None:
    # Sums of floats are not exact: a window that begins where another ends may seem to begin a little before.
    onset = np.arange(30) * 0.1
    table = table_of(["a"] * 30, [[5]] * 30, ("valence",), record="r", onset_s=onset, end_s=onset + 0.1 + 1e-9)
    promise = Guarantee(("window", "past"), subject_independent=False, says="")
    rows = np.arange(30)
    prove(Fold(rows[:10], rows[10:20], rows[20:], unit="time"), table, promise)
    with pytest.raises(DataError, match="validation reaches beyond the start of test"):
        prove(Fold(rows[:10], rows[20:], rows[10:20], unit="time"), table, promise)
    with pytest.raises(DataError, match="train reaches beyond the start of validation"):
        prove(Fold(rows[10:20], rows[:10], rows[20:], unit="time"), table, promise)


def test_a_window_twice_is_found_without_any_promise() -> None:
    promise = Guarantee((), subject_independent=False, says="")
    table = table_of(["a", "b", "c"], [[5]] * 3, ("valence",))
    with pytest.raises(DataError, match="fold 4: window 1 of subject 'b' is in train and in test"):
        prove(Fold(np.array([0, 1]), np.array([2]), np.array([1]), number=4), table, promise)
    with pytest.raises(DataError, match="window 0 of subject 'a' is in train and in train"):
        prove(Fold(np.array([0, 0]), np.array([2]), np.array([1])), table, promise)


def test_calibration_windows_are_of_tested_people_and_never_of_their_tested_seconds() -> None:
    time = {"record": ["r0", "r1", "r2", "r2"], "onset_s": [0, 0, 0, 4.0], "end_s": [4, 4, 4, 8.0]}
    table = table_of(["a", "b", "c", "c"], [[5]] * 4, ("valence",), **time)
    promise = PROTOCOLS["subject_kfold"].guarantee
    fold = Fold(np.array([0]), np.array([1]), np.array([3]), np.array([2]))
    prove(fold, table, promise)
    late = replace(table, index=table.index.assign(end_s=[4, 4, 4.5, 8]))
    with pytest.raises(DataError, match=r"a sample of record 'demo/r2' at 4 s is in calibration and in test"):
        prove(fold, late, promise)
    with pytest.raises(DataError, match="subject 'c' is in train and in test"):
        prove(Fold(np.array([2]), np.array([1]), np.array([3])), table, promise)


@pytest.mark.parametrize("unit", ["subject", "stimulus", "trial"])
def test_validation_shares_nothing_with_training_of_what_it_was_drawn_by(unit: str) -> None:
    subject, stimulus = ["a", "b", "a", "c"], ["x", "x", "y", "z"]
    if unit == "trial":
        subject, stimulus = ["a", "b", "b", "c"], ["x", "x", "x", "z"]
    table = table_of(subject, [[5]] * 4, ("valence",), stimulus=stimulus)
    promise = Guarantee(("window",), subject_independent=False, says="")
    train, validation = {"subject": ([0, 1], [2]), "stimulus": ([0, 2], [1]), "trial": ([0, 1], [2])}[unit]
    fold = Fold(np.array(train), np.array(validation), np.array([3]), unit=unit)
    with pytest.raises(DataError, match=f"{unit} '.*' is in train and in validation"):
        prove(fold, table, promise)
    for other in {"subject", "stimulus"} - {unit}:
        if unit != "trial":
            prove(replace(fold, unit=other), table, promise)
