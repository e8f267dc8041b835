"""Laws of what a run answers: which targets, in the order of the task, and by which head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.experiment import answers
from biosig_mtl.recipe import load
from biosig_mtl.types import DataError, Head, RecipeError
from tests.experiment.affect import memory_table, recipe, write_store

TABLE = memory_table(
    np.zeros((4, 2), np.float32), np.array([[1, 9], [2, np.nan], [3, 7], [4, 6]], np.float32), ["a", "a", "b", "b"]
)


def test_without_a_word_every_target_is_answered_as_its_task_says() -> None:
    task, heads = answers.of(load("demo_bp"))
    assert task.target_names == ("sbp", "dbp")
    assert heads == {"sbp": Head(), "dbp": Head()}
    empty = recipe("task=stress", "model.answers={}")
    task, heads = answers.of(empty)
    assert heads == {"stress": Head("binary", (0.5,))}
    assert task.heads == (Head("binary", (0.5,)),)


def test_targets_come_in_the_order_of_the_task_whatever_the_recipe_says() -> None:
    given = recipe("model.answers={arousal: {kind: binary, edges: [5]}, valence: null}")
    task, heads = answers.of(given)
    assert task.target_names == ("valence", "arousal") == tuple(heads)
    assert task.heads == (Head(), Head("binary", (5.0,))) == tuple(heads.values())
    one, alone = answers.of(recipe("model.answers={arousal: {kind: rasch, edges: [3, 5, 7]}}"))
    assert one.target_names == ("arousal",) == tuple(alone)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[valence]", r"model\.answers: need a mapping from target to head, got list"),
        ("{valance: {}}", r"unknown target \(model\.answers\) 'valance'; did you mean 'valence'"),
        ("{valence: binary}", r"model\.answers\.valence: need a mapping"),
        ("{valence: {kind: binary}}", r"model\.answers\.valence.*need one edge for binary"),
        ("{valence: {kind: ordinal, edges: [6, 4]}}", "need edges that rise"),
        ("{valence: {knd: binary}}", "did you mean 'kind'"),
    ],
)
def test_a_head_that_makes_no_sense_is_one_line(content: str, expected: str) -> None:
    with pytest.raises(RecipeError, match=expected) as error:
        answers.of(recipe(f"model.answers={content}"))
    assert "\n" not in str(error.value)


def test_the_table_is_cut_to_what_is_answered() -> None:
    heads = {"arousal": Head("ordinal", (4.0, 6.0))}
    made = answers.answered(TABLE, heads)
    assert made.target_names == ("arousal",)
    assert made.heads == (heads["arousal"],)
    np.testing.assert_array_equal(made.targets[:, 0], TABLE.targets[:, 1])
    assert made.values is TABLE.values


def test_a_target_that_nobody_rated_is_refused_by_name() -> None:
    nobody = memory_table(TABLE.values, np.array([[1, np.nan]] * 4, np.float32), ["a", "a", "b", "b"])
    with pytest.raises(DataError, match=r"target 'arousal' has no value in any window; leave it out of model\.answers"):
        answers.answered(nobody, {"valence": Head(), "arousal": Head()})
    assert answers.answered(nobody, {"valence": Head()}).target_names == ("valence",)


def test_the_table_of_a_run_has_its_heads_and_each_number_beside_what_is_usual(tmp_path: Path) -> None:
    place = write_store(tmp_path / "s", people=range(2))
    made = answers.table_of(
        recipe("training.per_subject=whole", "model.answers={valence: {kind: binary, edges: [5]}}"), [place]
    )
    plain = answers.table_of(recipe("model.answers={valence: {}}"), [place])
    assert made.heads == (Head("binary", (5.0,)),)
    assert made.names == (*plain.names, *(f"{name}.own_z" for name in plain.names))
    np.testing.assert_array_equal(made.values[:, : len(plain.names)], plain.values)
    assert set(made.tracks) == {"eeg", "eda"}
