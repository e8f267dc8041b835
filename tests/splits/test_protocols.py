"""Laws of the named protocols: each keeps what it promises, counted here in another way than by its own proof."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.splits import PROTOCOLS, Protocol, describe, inner, left_out, make
from biosig_mtl.splits.protocols import UNITS
from biosig_mtl.types import DataError, Fold, RecipeError, WindowTable
from tests.splits.tables import LENGTH_S, QUADRANTS, affect_table, people, table_of

VERSIONS = {f"{quadrant}{k}": f"version {k}" for quadrant in QUADRANTS for k in (1, 2)}
SETTINGS: dict[str, dict[str, Any]] = {
    "leave_stimulus_out": {"folds": 4},
    "subject_and_stimulus": {"folds": 3},
    "epic_version": {"versions": VERSIONS},
    "calibrated_within_trial": {"folds": 3, "calibration_s": 8.0},
    "random_window": {"folds": 3},
    "epic_time": {"validation": 0.4},
}
# Where each window is tested once a seed.
WHOLE = [name for name in PROTOCOLS if name not in {"epic_time", "calibrated_within_trial", "transfer"}]
HONEST = [name for name in PROTOCOLS if name != "random_window"]


def protocol(name: Any, **settings: Any) -> Protocol:
    return Protocol(name, **(SETTINGS.get(name, {}) | settings))


def table_for(name: str, seed: int = 0, **shape: Any) -> WindowTable:
    table = affect_table(seed, **shape)
    if name != "transfer":
        return table
    return replace(table, index=table.index.assign(transfer_test=np.isin(table.subject, ["p0", "p1"])))


def folds_of(name: str, seed: int = 0, **settings: Any) -> tuple[WindowTable, list[Fold]]:
    table = table_for(name, seed)
    return table, make(table, protocol(name, **settings))


def learned(fold: Fold) -> Any:
    return np.concatenate([fold.train, fold.validation])


def span(table: WindowTable, rows: Any) -> set[tuple[str, int]]:
    """Return every half second that windows touch: onsets and lengths of the test tables are multiples of it."""
    index = table.index.iloc[rows]
    keys = zip(index["record"], index["onset_s"], index["end_s"], strict=True)
    return {(record, half) for record, a, b in keys for half in range(round(2 * a), round(2 * b))}


# --------------------------------------------------------------------------------------------------------------- promises
def test_every_name_of_the_settings_is_a_protocol_and_says_what_it_promises() -> None:
    assert set(get_args(get_type_hints(Protocol)["scheme"])) == set(PROTOCOLS)
    for name, scheme in PROTOCOLS.items():
        assert set(scheme.guarantee.disjoint) <= {"subject", "stimulus", "trial", "window", "past"}
        assert scheme.guarantee.subject_independent == ("subject" in scheme.guarantee.disjoint)
        text = describe(protocol(name))
        assert text.startswith(f"{name} — ")
        assert ("NOT subject-independent" in text) == (not scheme.guarantee.subject_independent)
        assert scheme.answers in text
        assert scheme.silent in text


def test_the_page_on_protocols_says_the_same() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    for name, scheme in PROTOCOLS.items():
        told = next(row for row in rows if row[0] == f"`{name}`" and len(row) == 6)
        promise = scheme.guarantee
        units = [word for unit, word in UNITS.items() if unit in promise.disjoint]
        assert told[1].split("; ")[0] == (", ".join(units) or "nothing")
        assert ("; learned from lies before tested" in told[1]) == ("past" in promise.disjoint)
        assert ("yes" in told[2]) == promise.subject_independent


@pytest.mark.parametrize("name", HONEST)
def test_what_is_promised_is_kept(name: str) -> None:
    promise = PROTOCOLS[name].guarantee.disjoint
    table, folds = folds_of(name, seeds=(0, 4))
    assert folds
    for fold in folds:
        assert not fold.leaky
        held: dict[str, Any] = {"subject": table.subject, "stimulus": table.stimulus, "trial": table.trial}
        for unit in set(held) & set(promise):
            assert not set(held[unit][learned(fold)]) & set(held[unit][fold.test]), unit
        if fold.unit != "time":
            assert not set(held[fold.unit][fold.train]) & set(held[fold.unit][fold.validation])
        for first, second in combinations((fold.train, fold.validation, fold.test), 2):
            assert first.size
            assert second.size
            assert not span(table, first) & span(table, second)


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if "trial" in PROTOCOLS[n].guarantee.disjoint])
def test_windows_of_one_trial_never_straddle(name: str) -> None:
    table, folds = folds_of(name)
    for fold in folds:
        parts = [set(table.trial[rows]) for rows in fold.parts().values()]
        assert sum(map(len, parts)) == len(set.union(*parts))


@pytest.mark.parametrize("name", WHOLE)
def test_every_window_is_tested_once_a_seed(name: str) -> None:
    table, folds = folds_of(name, seeds=(0, 1))
    for seed in (0, 1):
        mine = [f for f in folds if f.seed == seed]
        assert [f.number for f in mine] == list(range(len(mine)))
        assert np.sort(np.concatenate([f.test for f in mine])).tolist() == list(range(len(table)))
    assert left_out(folds, table) == ""


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if n != "random_window"])
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    table = table_for(name)
    order = np.random.default_rng(1).permutation(len(table))
    turned = replace(table, index=table.index.iloc[order].reset_index(drop=True), targets=table.targets[order])
    for a, b in zip(make(table, protocol(name)), make(turned, protocol(name)), strict=True):
        for part, rows in a.parts().items():
            assert np.sort(order[b.parts()[part]]).tolist() == np.sort(rows).tolist()


@pytest.mark.parametrize("name", HONEST)
def test_members_of_an_ensemble_keep_the_promise_and_learn_from_everything(name: str) -> None:
    table, folds = folds_of(name)
    for fold in folds[:2]:
        seen: set[int] = set()
        for member in range(4):
            made = inner(fold, table, member, 4)
            np.testing.assert_array_equal(made.test, fold.test)
            np.testing.assert_array_equal(np.sort(learned(made)), np.sort(learned(fold)))
            assert made.unit == fold.unit
            if fold.unit != "time":
                held = {"subject": table.subject, "stimulus": table.stimulus, "trial": table.trial}[fold.unit]
                assert not set(held[made.train]) & set(held[made.validation])
            seen |= set(made.train.tolist())
        assert seen == (set(fold.train.tolist()) if fold.unit == "time" else set(learned(fold).tolist()))


# -------------------------------------------------------------------------------------------------------------- one by one
def test_leave_one_subject_out_tests_each_alone() -> None:
    table, folds = folds_of("leave_one_subject_out")
    assert [people(table, f.test) for f in folds] == [{f"p{k}"} for k in range(9)]
    assert all(people(table, learned(f)) == {f"p{k}" for k in range(9)} - people(table, f.test) for f in folds)


def test_epics_subjects_are_those_of_subject_kfold() -> None:
    for a, b in zip(folds_of("epic_subject")[1], folds_of("subject_kfold")[1], strict=True):
        np.testing.assert_array_equal(a.test, b.test)
        np.testing.assert_array_equal(a.train, b.train)


def test_left_out_stimuli_are_shown_to_people_who_are_known() -> None:
    table, folds = folds_of("leave_stimulus_out")
    assert len(folds) == 4
    for fold in folds:
        assert people(table, fold.test) == people(table, fold.train) == {f"p{k}" for k in range(9)}
        assert len(set(table.stimulus[fold.test])) == 2


def test_new_people_under_new_stimuli_leave_the_rest_of_the_cross_out() -> None:
    table, folds = folds_of("subject_and_stimulus", stimulus_folds=4)
    assert len(folds) == 12
    for fold in folds:
        who, what = people(table, fold.test), set(table.stimulus[fold.test])
        assert fold.test.size == len(who) * len(what) * 12
        used = np.concatenate([learned(fold), fold.test])
        gone = np.setdiff1d(np.arange(len(table)), used)
        assert ((np.isin(table.subject[gone], list(who))) ^ (np.isin(table.stimulus[gone], list(what)))).all()
        assert learned(fold).size == (9 - len(who)) * (8 - len(what)) * 12


def test_trials_of_every_person_are_dealt_out_evenly() -> None:
    table, folds = folds_of("trial_kfold", folds=4)
    for fold in folds:
        each = pd.Series(table.trial[fold.test]).groupby(table.subject[fold.test]).nunique()
        assert (each == 2).all()
        assert people(table, fold.train) == people(table, fold.test)


def test_two_recordings_with_one_rating_are_one_trial() -> None:
    """As in DASPS, where the reader's listening and the own recall of a situation are rated once."""
    rows = [(f"p{p}", f"situation {s}", f"p{p}_{s}_{part}") for p in range(6) for s in range(6) for part in ("hear", "recall")]
    subject, stimulus, record = zip(*rows, strict=True)
    rating = np.random.default_rng(0).uniform(1, 9, 36).repeat(2)
    table = table_of(subject, rating, ("valence",), stimulus=list(stimulus), record=list(record))
    assert len(set(table.trial)) == 36
    for name in ("trial_kfold", "leave_one_subject_out", "leave_stimulus_out", "subject_and_stimulus"):
        for fold in make(table, protocol(name, folds=3)):
            for rows_ in (fold.train, fold.validation, fold.test):
                assert (pd.Series(table.trial[rows_]).value_counts() == 2).all()


# ------------------------------------------------------------------------------------------------------------ EPiC: elicitor
def quadrants(table: WindowTable, fold: Fold) -> set[str]:
    return {name[:4] for name in table.stimulus[fold.test]}


def test_each_quadrant_is_left_out_once_by_map_or_by_rating() -> None:
    table, rated = folds_of("epic_elicitor")
    given = make(table, protocol("epic_elicitor", quadrants={name: name[:4] for name in VERSIONS}))
    assert [quadrants(table, f) for f in rated] == [{name} for name in QUADRANTS]
    for a, b in zip(rated, given, strict=True):
        np.testing.assert_array_equal(a.test, b.test)
        np.testing.assert_array_equal(a.train, b.train)


def test_quadrants_are_means_over_people_and_the_edge_is_low() -> None:
    # One person with many windows rates "a" high in valence, two with one window rate it low; "b" lies on the edge.
    subject = ["p0"] * 8 + ["p1", "p2", "p3"] * 4
    stimulus = ["a"] * 8 + ["a"] * 3 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3
    ratings = [(9, 9)] * 8 + [(2, 9), (3, 9), (np.nan, 9)] + [(5, 9)] * 3 + [(9, 1)] * 3 + [(6, 5)] * 3
    table = table_of(subject, ratings, ("valence", "arousal"), stimulus=stimulus)
    folds = make(table, protocol("epic_elicitor", validation=0.4))
    assert [set(table.stimulus[f.test]) for f in folds] == [{"c", "d"}, {"a", "b"}]


def test_quadrants_that_cannot_be_told_are_refused() -> None:
    table = affect_table()
    with pytest.raises(RecipeError, match=r"split\.quadrants: stimulus 'HVHA2' is missing \(7 of 8 are\)"):
        make(table, protocol("epic_elicitor", quadrants={"HVHA1": "HVHA", "x": "LVLA"}))
    with pytest.raises(RecipeError, match=r"needs valence and arousal, the targets are stress; say split\.quadrants"):
        make(replace(table, targets=table.targets[:, :1], target_names=("stress",)), protocol("epic_elicitor"))
    unrated = np.where((table.stimulus == "LVHA1")[:, None], np.nan, table.targets).astype(np.float32)
    with pytest.raises(DataError, match="stimulus 'LVHA1' has no valence"):
        make(replace(table, targets=unrated), protocol("epic_elicitor"))
    with pytest.raises(DataError, match="all stimuli are rated LVLA"):
        make(table, protocol("epic_elicitor", quadrant_edge=9.0))


# ------------------------------------------------------------------------------------------------------------- EPiC: version
def test_each_version_is_learned_from_once() -> None:
    table, folds = folds_of("epic_version")
    assert [{name[-1] for name in table.stimulus[f.test]} for f in folds] == [{"1"}, {"2"}]
    for fold in folds:
        assert len(set(table.stimulus[fold.train])) == 4
        assert len(people(table, fold.validation)) >= 5


def test_versions_that_are_not_told_are_refused() -> None:
    table = affect_table()
    with pytest.raises(RecipeError, match=r"needs split\.versions, the version of each stimulus: HVHA1, HVHA2"):
        make(table, Protocol("epic_version"))
    with pytest.raises(RecipeError, match=r"split\.versions: stimulus 'LVLA2' is missing \(1 of 8 are\)"):
        make(table, Protocol("epic_version", versions={k: v for k, v in VERSIONS.items() if k != "LVLA2"}))
    half = affect_table(versions=1)
    with pytest.raises(DataError, match="all stimuli of the table are of version 'version 1'"):
        make(half, protocol("epic_version"))


# ------------------------------------------------------------------------------------------------------------------- in time
def edges(table: WindowTable, rows: Any) -> pd.DataFrame:
    each = table.index.iloc[rows].groupby("record")
    return pd.DataFrame({"first": each["onset_s"].min(), "last": each["end_s"].max()})


@pytest.mark.parametrize(("gap", "least"), [(None, LENGTH_S), (0.0, 0.0), (6.0, 6.0)])
def test_epics_time_learns_from_the_past_and_leaves_a_gap(gap: float | None, least: float) -> None:
    table, (fold,) = folds_of("epic_time", gap_s=gap, past_share=0.6)
    train, validation, test = (edges(table, rows) for rows in (fold.train, fold.validation, fold.test))
    assert len(train) == len(validation) == len(test) == 72
    assert (train["last"] <= validation["first"]).all()
    # Recordings are 26 s long, from 1 s on: the border is at 16.6 s.
    assert (validation["last"] <= 16.6).all()
    assert (test["first"] >= 16.6 + least).all()
    assert (test["first"] - validation["last"] >= least).all()
    never = len(table) - fold.test.size
    assert left_out([fold], table).startswith(f"{never} of {len(table)} windows are never tested (")
    assert left_out([fold], table).endswith("and 0 whole trials")


def test_a_calibrated_fold_differs_from_its_twin_by_the_first_seconds_alone() -> None:
    table, folds = folds_of("calibrated_within_trial")
    for fold, plain in zip(folds, folds_of("subject_kfold", folds=3)[1], strict=True):
        twin = fold.twin
        assert twin is not None
        np.testing.assert_array_equal(twin.test, fold.test)
        np.testing.assert_array_equal(twin.validation, fold.validation)
        np.testing.assert_array_equal(twin.train, plain.train)
        assert (fold.number, fold.seed) == (twin.number, twin.seed)
        assert not people(table, learned(twin)) & people(table, twin.test)
        given = np.setdiff1d(fold.train, twin.train)
        assert people(table, given) == people(table, fold.test) == people(table, plain.test)
        # 8 s hold three windows of 4 s, every 2 s; the gap of 4 s takes away the starts before 1 + 8 + 4 s.
        assert given.size == 3 * len(set(table.trial[given])) == 3 * len(set(table.trial[plain.test]))
        assert (edges(table, given)["last"] <= 1 + 8).all()
        assert (edges(table, fold.test)["first"] == 1 + 8 + LENGTH_S).all()
        member, other = inner(fold, table, 2, 5), inner(twin, table, 2, 5)
        assert member.twin is not None
        np.testing.assert_array_equal(member.twin.train, other.train)
        np.testing.assert_array_equal(np.setdiff1d(member.train, other.train), given)
    assert left_out(folds, table).startswith("432 of 864 windows are never tested (0 of them in no part")


def test_only_calibration_brings_a_twin() -> None:
    for name in PROTOCOLS:
        assert all((f.twin is not None) == (name == "calibrated_within_trial") for f in folds_of(name)[1])


def test_recordings_that_are_too_short_for_time_are_told() -> None:
    short = affect_table(windows=2)
    with pytest.raises(DataError, match="no window to train on: recordings of at most 6 s are too short to be cut in time"):
        make(short, protocol("epic_time"))
    with pytest.raises(DataError, match=r"split\.calibration_s of 2 s is shorter than a window"):
        make(short, protocol("calibrated_within_trial", calibration_s=2.0))
    with pytest.raises(DataError, match=r"split\.calibration_s of 4 s and the gap after it leave nothing to test"):
        make(short, protocol("calibrated_within_trial", calibration_s=4.0))


# --------------------------------------------------------------------------------------------------------------- refusals
NEED_STIMULI = ["leave_stimulus_out", "subject_and_stimulus", "epic_elicitor", "epic_version"]


@pytest.mark.parametrize("name", NEED_STIMULI)
def test_protocols_over_stimuli_need_stimuli(name: str) -> None:
    table = affect_table()
    bare = replace(table, index=table.index.assign(stimulus=""))
    with pytest.raises(DataError, match="the data set names no stimulus, which this split needs"):
        make(bare, protocol(name))
    some = replace(table, index=table.index.assign(stimulus=np.where(table.subject == "p1", "", table.stimulus)))
    with pytest.raises(DataError, match=r"record 'demo/p1_\w+' and its like \(96 windows\) have no stimulus"):
        make(some, protocol(name))


@pytest.mark.parametrize(
    ("name", "shape", "settings", "told"),
    [
        ("leave_stimulus_out", {}, {"folds": 9}, r"8 stimuli are too few for 9 folds; lower split\.folds"),
        ("subject_and_stimulus", {}, {"stimulus_folds": 9}, r"8 stimuli are too few for 9 folds; lower split\.stimulus_folds"),
        ("subject_and_stimulus", {"people": 4}, {"folds": 5}, r"4 subjects are too few for 5 folds; lower split\.folds"),
        ("subject_and_stimulus", {"people": 2}, {"folds": 2}, "nobody to train on: 2 subjects are too few"),
        ("trial_kfold", {"people": 1, "versions": 1}, {"folds": 5}, r"4 trials are too few for 5 folds; lower split\.folds"),
        ("calibrated_within_trial", {"people": 3}, {}, r"3 subjects are too few for 3 folds; lower split\.folds"),
        ("leave_one_subject_out", {"people": 2}, {}, "nobody to train on: 2 subjects are too few for this split"),
        ("leave_stimulus_out", {"people": 3, "versions": 1}, {"folds": 2, "validation": 0.1}, None),
    ],
)
def test_too_few_are_told(name: str, shape: dict[str, Any], settings: dict[str, Any], told: str | None) -> None:
    table = affect_table(**shape)
    if told is None:
        assert make(table, protocol(name, **settings))
        return
    with pytest.raises(DataError, match=told):
        make(table, protocol(name, **settings))


@pytest.mark.parametrize(
    "wrong",
    [
        {"stimulus_folds": 1},
        {"calibration_s": 0.0},
        {"past_share": 1.0},
        {"past_share": float("nan")},
        {"gap_s": -1.0},
        {"quadrants": {"a": "HVHA", "b": "LVLA"}},
        {"versions": {"a": "1", "b": "2"}},
        {"scheme": "epic_elicitor", "quadrants": {"a": "happy", "b": "LVLA"}},
        {"scheme": "epic_elicitor", "quadrants": {"a": "LVLA", "b": "LVLA"}},
        {"scheme": "epic_version", "versions": {"a": "1", "b": "2", "c": "3"}},
    ],
)
def test_nonsense_settings_are_refused_at_birth(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        Protocol(**wrong)
