"""Laws of the tables of an experiment: who is one person, who is left out, and whose labels go where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl import store
from biosig_mtl.experiment import tables
from biosig_mtl.types import DataError, RecipeError, WindowTable
from tests.experiment.affect import write_store
from tests.experiment.conftest import fold, small_table


# ----------------------------------------------------------------------------------------------------------------- one person
def test_a_store_without_copies_is_read_as_it_is(place: Path, whole: WindowTable) -> None:
    table = tables.read([place])
    assert tables.linked([place]) == []
    assert table.subject.tolist() == whole.subject.tolist()
    assert table.index["store_row"].tolist() == list(range(len(whole)))


def test_ids_that_share_waveform_become_one_subject(linked_place: Path) -> None:
    assert tables.linked([linked_place]) == [("s003", "s011")]
    stored, table = store.read(linked_place), tables.read([linked_place])
    both = np.isin(stored.subject, ["s003", "s011"])
    assert set(table.subject[both]) == {"s003"}
    assert table.subject[~both].tolist() == stored.subject[~both].tolist()
    np.testing.assert_array_equal(table.values, stored.values)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ["a", "b", "c", "d"]),
        ([("a", "b")], ["a", "a", "c", "d"]),
        ([("a", "b"), ("b", "c")], ["a", "a", "a", "d"]),
        ([("c", "d"), ("a", "d"), ("b", "c")], ["a", "a", "a", "a"]),
    ],
)
def test_a_chain_of_links_is_one_person(pairs: list[tuple[str, str]], expected: list[str]) -> None:
    assert list(tables._one_name(np.array(["d", "c", "b", "a", "a"]), pairs).values()) == expected


# ------------------------------------------------------------------------------------------------------------------- transfer
def test_a_transfer_joins_two_stores(
    place: Path, target_place: Path, whole: WindowTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "linked_subjects", lambda *_: [])
    other = store.read(target_place)
    table = tables.read([place, target_place])
    n = len(whole)
    assert len(table) == n + len(other)
    assert table.index["transfer_test"].tolist() == [False] * n + [True] * len(other)
    # The same id in two data sets is two people.
    assert set(table.subject[:n]) == {f"simulated_bp/{s}" for s in whole.subject}
    assert set(table.subject[n:]) == {f"other_bp/{s}" for s in other.subject}
    np.testing.assert_array_equal(np.asarray(table.waveform), np.concatenate([whole.waveform, other.waveform]))
    np.testing.assert_array_equal(table.targets[n:], other.targets)


def test_people_of_the_source_who_are_in_the_target_too_are_left_out(
    place: Path, target_place: Path, whole: WindowTable
) -> None:
    assert [set(pair) for pair in tables.linked([place, target_place])] == [{"simulated_bp/s003", "other_bp/s002"}]
    table = tables.read([place, target_place])
    source = ~table.index["transfer_test"].to_numpy(dtype=bool)
    assert set(table.subject[source]) == {f"simulated_bp/{s}" for s in whole.subject} - {"simulated_bp/s003"}
    assert "other_bp/s002" in set(table.subject)
    kept = table.index["store_row"].to_numpy()[source]
    np.testing.assert_array_equal(np.asarray(table.waveform)[source], whole.waveform[kept])
    np.testing.assert_array_equal(table.values[source], whole.values[kept])


def test_copies_within_one_side_of_a_transfer_are_one_person_too(
    linked_place: Path, target_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = [("simulated_bp/s003", "simulated_bp/s011"), ("other_bp/s001", "other_bp/s004")]
    monkeypatch.setattr(tables, "linked_subjects", lambda *_: links)
    table = tables.read([linked_place, target_place])
    assert "simulated_bp/s003" in set(table.subject)
    assert not {"simulated_bp/s011", "other_bp/s004"} & set(table.subject)
    # A person who is linked to the target under one id is left out under all.
    links.append(("other_bp/s001", "simulated_bp/s011"))
    table = tables.read([linked_place, target_place])
    assert not {"simulated_bp/s003", "simulated_bp/s011"} & set(table.subject)


def test_stores_of_two_recipes_are_no_transfer(place: Path, target_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.read
    for change in ({"names": ("a",)}, {"fs": 250.0}, {"waveform_channels": ("x",)}, {"target_names": ("sbp",)}):

        def read(folder: Path, change: dict[str, Any] = change) -> WindowTable:
            table = real(folder)
            return replace(table, **change) if folder == target_place else table

        monkeypatch.setattr(store, "read", read)
        with pytest.raises(DataError, match=f"differ in {next(iter(change))}: prepare both"):
            tables.read([place, target_place])


@pytest.mark.parametrize(
    "rows",
    [slice(None), slice(2, 9, 3), [0, 5, 9, 3], 7, -1, np.array([4, 4, 0]), (np.array([8, 1]), 0), (3, 1), (slice(4), 1, 2)],
)
def test_joined_and_picked_waveforms_read_like_one_array(rows: Any) -> None:
    a, b = (np.random.default_rng(i).standard_normal((5, 2, 3)).astype(np.float32) for i in range(2))
    both, chosen = np.concatenate([a, b]), np.array([1, 9, 4, 4, 0, 7, 3, 2, 8, 5])
    joined = tables._stacked(a, b)
    picked = tables._Picked(joined, chosen)
    for made, truth in ((joined, both), (picked, both[chosen])):
        np.testing.assert_array_equal(made[rows], truth[rows])
        np.testing.assert_array_equal(np.asarray(made), truth)
        assert np.asarray(made, np.float64).dtype == np.float64
        assert (made.shape, made.dtype, made.ndim, len(made)) == (truth.shape, truth.dtype, 3, len(truth))


# ------------------------------------------------------------------------------------------------------------------- ablation
def test_an_ablation_drops_its_family_and_nothing_else() -> None:
    table = small_table("abcd")
    without = tables.without(table, "pulse")
    assert without.names == ("person.age_years",)
    np.testing.assert_array_equal(without.values, table.values[:, 2:])
    assert without.waveform is table.waveform
    with pytest.raises(RecipeError, match="no feature family 'pul'; there are person, pulse"):
        tables.without(table, "pul")


def test_an_ablation_drops_the_waveform_of_its_name_too(tmp_path: Path) -> None:
    table = store.read(write_store(tmp_path / "s", people=range(2)))
    assert set(tables.without(table, "eda").tracks) == {"eeg"}
    assert set(tables.without(table, "eeg_de").tracks) == {"eeg", "eda"}


# ------------------------------------------------------------------------------------------------------------ shuffled labels
def test_shuffled_labels_leave_the_test_side_and_come_from_other_people() -> None:
    subjects = [s for s in "abcdef" for _ in range(4)]
    table = small_table(subjects)
    split = fold(range(12), range(12, 16), range(16, 24))
    for seed in range(5):
        shuffled = tables.shuffled_labels(table, split, np.random.default_rng(seed))
        np.testing.assert_array_equal(shuffled.targets[split.test], table.targets[split.test])
        owner = {tuple(row): s for row, s in zip(table.targets.tolist(), subjects, strict=True)}
        givers = {s: {owner[tuple(shuffled.targets[i])] for i in range(16) if subjects[i] == s} for s in "abcd"}
        assert all(len(given) == 1 and s not in given for s, given in givers.items())
        assert sorted(min(given) for given in givers.values()) == list("abcd")
        again = tables.shuffled_labels(table, split, np.random.default_rng(seed))
        np.testing.assert_array_equal(again.targets, shuffled.targets)
    assert table.targets is not shuffled.targets
