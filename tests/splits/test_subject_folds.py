"""Laws of splits: whole subjects, each tested once, nobody on two sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from biosig_mtl.splits import CLASS_EDGES, Protocol, assign, inner, make, prove_disjoint
from biosig_mtl.types import F32, DataError, Fold, RecipeError, WindowTable
from tests.splits.tables import digest, people, random_table, table_of

tables = st.builds(random_table, st.integers(0, 10**6), st.integers(7, 40), st.sampled_from([0.0, 0.1, 0.9]))
protocols = st.builds(
    Protocol,
    folds=st.integers(2, 6),
    seeds=st.sampled_from([(0,), (1, 5), (3, 2, 1)]),
    validation=st.sampled_from([0.1, 0.2, 0.34, 0.45]),
    stratify=st.booleans(),
)


# ----------------------------------------------------------------------------------------------------------- subject k-fold
@settings(max_examples=80, deadline=None)
@given(table=tables, protocol=protocols)
def test_every_subject_is_tested_exactly_once_a_seed_and_is_in_one_part_of_a_fold(
    table: WindowTable, protocol: Protocol
) -> None:
    folds = make(table, protocol)
    assert [(f.seed, f.number) for f in folds] == [(s, k) for s in protocol.seeds for k in range(protocol.folds)]
    for seed in protocol.seeds:
        tested = np.concatenate([f.test for f in folds if f.seed == seed])
        assert np.sort(tested).tolist() == list(range(len(table)))
        who = [s for f in folds if f.seed == seed for s in people(table, f.test)]
        assert sorted(who) == sorted(set(table.subject))
    for fold in folds:
        assert not fold.leaky
        rows = np.concatenate([fold.train, fold.validation, fold.test])
        assert np.sort(rows).tolist() == list(range(len(table)))
        sides = [people(table, part) for part in (fold.train, fold.validation, fold.test)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set(table.subject))


@settings(max_examples=60, deadline=None)
@given(table=tables, parts=st.integers(2, 6), seed=st.integers(0, 99))
def test_classes_and_subjects_are_balanced_over_the_parts(table: WindowTable, parts: int, seed: int) -> None:
    group = assign(table.subject, table.targets, table.target_names, parts, seed)
    frame = pd.DataFrame({"subject": table.subject, "group": group, "sbp": table.targets[:, 0], "dbp": table.targets[:, 1]})
    assert (frame.groupby("subject")["group"].nunique() == 1).all()
    each = frame.groupby("subject").median()
    label = [
        tuple("?" if np.isnan(row[name]) else str(np.digitize(row[name], CLASS_EDGES[name])) for name in ("sbp", "dbp"))
        for _, row in each.iterrows()
    ]
    table_ = pd.crosstab(pd.Series(["".join(c) for c in label]), each["group"].to_numpy())
    counts = table_.reindex(columns=range(parts), fill_value=0).to_numpy()
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    assert np.ptp(counts.sum(axis=0)) <= 1


@settings(max_examples=40, deadline=None)
@given(table=tables, protocol=protocols, seed=st.integers(0, 10**6))
def test_the_order_of_rows_does_not_matter_and_twice_is_the_same(table: WindowTable, protocol: Protocol, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(table))
    turned = table_of(table.subject[order], table.targets[order])
    for a, b, c in zip(make(table, protocol), make(table, protocol), make(turned, protocol), strict=True):
        for part, rows in a.parts().items():
            np.testing.assert_array_equal(rows, b.parts()[part])
            assert people(table, rows) == people(turned, c.parts()[part])


def test_another_seed_gives_other_folds() -> None:
    table = random_table(0, 40)
    first, second = (make(table, Protocol(seeds=(seed,)))[0] for seed in (0, 1))
    assert people(table, first.test) != people(table, second.test)


def test_the_share_of_validation_subjects_is_about_what_was_asked_for() -> None:
    table = random_table(0, 40)
    for share in (0.1, 0.2, 0.34):
        for fold in make(table, Protocol(validation=share)):
            found = len(people(table, fold.validation)) / len(people(table, np.concatenate([fold.train, fold.validation])))
            assert abs(found - share) < 0.06


def test_too_few_subjects_are_told() -> None:
    table = table_of(["a", "a", "b", "c"], [[120, 80]] * 4)
    with pytest.raises(DataError, match="3 subjects are too few for 5 folds"):
        make(table, Protocol(folds=5))
    with pytest.raises(DataError, match="nobody to train on: 3 subjects are too few"):
        make(table, Protocol(folds=2))


def test_targets_without_fixed_classes_are_split_by_their_tertiles() -> None:
    rng = np.random.default_rng(0)
    subject = np.repeat([f"s{i:02d}" for i in range(36)], 3)
    level = np.repeat(np.arange(36.0), 3)
    group = assign(subject, (level + rng.normal(0, 0.01, 108))[:, None].astype(np.float32), ("valence",), 4, 0)
    each = pd.DataFrame({"group": group[::3], "tertile": np.arange(36) // 12})
    assert (pd.crosstab(each["tertile"], each["group"]).to_numpy() == 3).all()


# Folds as they were made before the other protocols came (commit 426e633): published figures rest on them.
GOLDEN = {
    ("subject_kfold", True): ("c62bb5d072947556", "2e4e5d29ee8be615"),
    ("subject_kfold", False): ("531ef9e5cb3b0042", "21d64fcd91dde465"),
    ("transfer", True): ("e86ffb469b372690", "b734fc638ee23f1d"),
    ("random_window", True): ("a0ee3b7340f2804c", "6eefd374f7aa318f"),
}


@pytest.mark.parametrize(("scheme", "stratify"), GOLDEN)
def test_the_folds_of_published_figures_stay(scheme: Any, stratify: Any) -> None:
    table = random_table(7, 23)
    test = np.isin(table.subject, [f"s{i}" for i in range(6)])
    table = table_of(table.subject, table.targets, transfer_test=test)
    made = make(table, Protocol(scheme, folds=4, seeds=(0, 3), validation=0.25, stratify=stratify))
    members = [inner(fold, table, m, 5) for fold in made for m in range(5)]
    assert (digest(made), digest(members)) == GOLDEN[scheme, stratify]


def test_unknown_targets_are_a_class_of_their_own() -> None:
    subject = np.array([f"s{i}" for i in range(12)])
    for name in ("sbp", "valence"):
        nothing: F32 = np.full((12, 1), np.nan, np.float32)
        assert np.bincount(assign(subject, nothing, (name,), 3, 0)).tolist() == [4, 4, 4]


# ----------------------------------------------------------------------------------------------------------------- the proof
@settings(max_examples=60, deadline=None)
@given(table=tables, data=st.data())
def test_a_planted_overlap_is_found_and_the_subject_named(table: WindowTable, data: st.DataObject) -> None:
    fold = make(table, Protocol(folds=3))[data.draw(st.integers(0, 2))]
    source = data.draw(st.sampled_from(["train", "validation", "test"]))
    aim = data.draw(st.sampled_from([p for p in fold.parts() if p != source]))
    row = data.draw(st.sampled_from(fold.parts()[source].tolist()))
    parts = fold.parts()
    planted = Fold(**{**parts, aim: np.append(parts[aim], row)})  # type: ignore[arg-type]
    with pytest.raises(DataError) as error:
        prove_disjoint(planted, table.subject)
    text = str(error.value)
    assert f"subject '{table.subject[row]}' is in" in text
    assert source in text
    assert aim in text
    prove_disjoint(fold, table.subject)


# -------------------------------------------------------------------------------------------------------------- inner folds
@settings(max_examples=60, deadline=None)
@given(table=tables, members=st.integers(1, 7), number=st.integers(0, 2))
def test_members_of_an_ensemble_keep_the_test_side_and_learn_from_everybody_else(
    table: WindowTable, members: int, number: int
) -> None:
    fold = make(table, Protocol(folds=3))[number]
    side = people(table, np.concatenate([fold.train, fold.validation]))
    learned: set[str] = set()
    for member in range(members):
        made = inner(fold, table, member, members)
        prove_disjoint(made, table.subject)
        np.testing.assert_array_equal(made.test, fold.test)
        train, validation = people(table, made.train), people(table, made.validation)
        assert train
        assert validation
        assert train | validation == side
        learned |= train
    if members > 1:
        assert learned == side
    else:
        assert inner(fold, table, 0, members) is fold


def test_members_of_a_tiny_fold_all_have_somebody_to_validate_on() -> None:
    table = table_of(["a", "b", "c", "d"], [[120, 80]] * 4)
    fold = Fold(np.array([0]), np.array([1]), np.array([2, 3]))
    for member in range(5):
        made = inner(fold, table, member, 5)
        assert made.train.size == made.validation.size == 1


# ------------------------------------------------------------------------------------------------------------- other schemes
@settings(max_examples=30, deadline=None)
@given(table=tables, folds=st.integers(2, 5))
def test_random_windows_are_marked_as_a_leak(table: WindowTable, folds: int) -> None:
    assume(len(table) > 4 * folds)
    made = make(table, Protocol("random_window", folds=folds))
    assert all(f.leaky for f in made)
    assert np.sort(np.concatenate([f.test for f in made])).tolist() == list(range(len(table)))
    for fold in made:
        rows = np.concatenate([fold.train, fold.validation, fold.test])
        assert np.sort(rows).tolist() == list(range(len(table)))
        assert inner(fold, table, 1, 3) is fold


def test_random_windows_of_a_few_subjects_share_them() -> None:
    fold = make(random_table(0, 8), Protocol("random_window"))[0]
    with pytest.raises(DataError, match="leak"):
        prove_disjoint(fold, random_table(0, 8).subject)


def test_a_transfer_learns_from_one_set_and_is_tested_on_the_other() -> None:
    subject = [*(f"a{i}" for i in range(10)), *(f"b{i}" for i in range(4))]
    test = np.arange(14) >= 10
    table = table_of(subject, [[120, 80]] * 14, transfer_test=test)
    folds = make(table, Protocol("transfer", seeds=(0, 1)))
    assert [f.seed for f in folds] == [0, 1]
    for fold in folds:
        assert fold.test.tolist() == [10, 11, 12, 13]
        assert np.sort(np.concatenate([fold.train, fold.validation])).tolist() == list(range(10))
        assert fold.validation.size == 2
    shared = table_of(["a0", *subject[1:10], "a0", *subject[11:]], [[120, 80]] * 14, transfer_test=test)
    with pytest.raises(DataError, match="subject 'a0' is in"):
        make(shared, Protocol("transfer"))


@pytest.mark.parametrize("columns", [{}, {"transfer_test": False}, {"transfer_test": True}])
def test_a_transfer_needs_two_sets(columns: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"needs data\.test_dataset; the table has only demo"):
        make(table_of(["a", "b"], [[120, 80]] * 2, **columns), Protocol("transfer"))


@pytest.mark.parametrize(
    "wrong",
    [{"folds": 1}, {"seeds": ()}, {"seeds": (1, 1)}, {"seeds": (-1,)}, {"validation": 0.0}, {"validation": 0.5}],
)
def test_nonsense_settings_are_refused_at_birth(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        Protocol(**wrong)
