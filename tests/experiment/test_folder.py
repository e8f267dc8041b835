"""Laws of the run folder: whole files or none, JSON without NaN, and folds that come back as they were."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.experiment import folder
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import DataError, Head, WindowTable
from tests.experiment.conftest import fold, small_table, some_predictions


def indexed() -> WindowTable:
    names = {"session": ["1"] * 4, "record": list("wxyz"), "stimulus": [""] * 4, "sqi": [0.5] * 4, "window_id": list("1234")}
    return small_table("aabb", **names)


def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    folder.write(tmp_path / "deep" / "a.txt", "é")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "é".encode()
    (tmp_path / "file").write_text("here")
    with pytest.raises(DataError, match=r"b\.txt: cannot be written"):
        folder.write(tmp_path / "file" / "b.txt", "x")
    (tmp_path / "dir").mkdir()
    with pytest.raises(DataError, match="dir: cannot be written"):
        folder.write(tmp_path / "dir", b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "dir", "file"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    content = {
        "a": math.nan,
        1: [np.float32(0.5), np.int64(2), (math.inf,)],
        "b": {"c": np.float64("nan"), "d": True, "e": "x"},
    }
    folder.write_json(tmp_path / "x.json", content)
    expected = {"a": None, "1": [0.5, 2, [None]], "b": {"c": None, "d": True, "e": "x"}}
    assert json.loads((tmp_path / "x.json").read_text()) == expected


def test_another_recipe_in_the_same_folder_is_refused(tiny: Recipe, tmp_path: Path) -> None:
    folder.write_recipe(tmp_path, tiny)
    folder.write_recipe(tmp_path, tiny)
    with pytest.raises(DataError, match="holds a run of another recipe"):
        folder.write_recipe(tmp_path, replace(tiny, name="another"))


def test_the_environment_is_that_of_the_recipe_in_the_folder(tiny: Recipe, tmp_path: Path) -> None:
    folder.write_recipe(tmp_path, tiny)
    folder.write_environment(tmp_path, [Path("/somewhere/abc")])
    content = json.loads((tmp_path / "environment.json").read_text())
    assert content["stores"] == ["abc"]
    assert len(content["recipe"]["sha256"]) == 64
    assert "/somewhere" not in json.dumps(content)


def test_the_history_has_a_column_for_every_word(tmp_path: Path) -> None:
    folder.write_history(tmp_path, [{"epoch": 0, "loss": 1.5}, {"epoch": 1, "extra": "x"}])
    assert (tmp_path / "history.csv").read_text() == "epoch,loss,extra\n0,1.5,\n1,,x\n"
    folder.write_history(tmp_path, [])
    assert (tmp_path / "history.csv").read_text() == "\n"


def test_predictions_are_one_row_a_window_and_target(tmp_path: Path) -> None:
    table = indexed()
    truth = [[120, 80], [121, math.nan], [100, 60]]
    made = some_predictions("aab", truth, [[118, 79], [119, 78], [110, 65]], row=np.array([0, 1, 3]))
    half = np.array([[10.0, 5.0]] * 3)
    folder.write_predictions(tmp_path, table, made, (made.y_pred - half, made.y_pred + half))
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    assert frame["target"].tolist() == ["sbp"] * 3 + ["dbp"] * 3
    assert frame["record"].tolist() == ["w", "x", "z"] * 2
    np.testing.assert_array_equal(frame["y_true"], np.array(truth).T.ravel())
    np.testing.assert_array_equal(frame["upper"] - frame["lower"], [20.0] * 3 + [10.0] * 3)
    assert set(frame["role"]) == {"test"}


def test_folds_come_back_as_they_were(tmp_path: Path) -> None:
    folds = [
        fold([0], [1], [2, 3], number=0, seed=1),
        fold([2], [3], [0, 1], number=1, seed=1, leaky=True),
        fold([3], [0], [1], number=0, seed=0),
    ]
    folds[0] = replace(folds[0], calibration=np.array([1], np.int64), validation=np.empty(0, np.int64))
    folder.write_folds(tmp_path, indexed(), folds)
    again = folder.read_folds(tmp_path)
    assert [(f.seed, f.number, f.leaky) for f in again] == [(0, 0, False), (1, 0, False), (1, 1, True)]
    for one, other in zip([folds[2], folds[0], folds[1]], again, strict=True):
        assert {k: v.tolist() for k, v in one.parts().items()} == {k: v.tolist() for k, v in other.parts().items()}


def test_the_twin_of_a_fold_comes_back_with_it(tmp_path: Path) -> None:
    plain = fold([0], [1], [3], unit="trial", number=2, seed=5)
    own = replace(plain, train=np.array([0, 2], np.int64), twin=plain)
    other = fold([3], [2], [0], number=3, seed=5)
    folder.write_folds(tmp_path, indexed(), [own, other])
    first, second = folder.read_folds(tmp_path)
    assert first.twin is not None
    assert second.twin is None
    for one, again in ((own, first), (plain, first.twin), (other, second)):
        assert {k: v.tolist() for k, v in one.parts().items()} == {k: v.tolist() for k, v in again.parts().items()}
        assert (one.number, one.seed, one.unit) == (again.number, again.seed, again.unit)


def test_shares_of_classes_are_columns_of_their_own(tmp_path: Path) -> None:
    share = np.array([[0.2, 0.8], [0.6, 0.4]])
    made = some_predictions(
        "ab",
        [[120, 1], [121, 0]],
        [[118, 1], [119, 0]],
        heads=(Head(), Head("binary", (70.0,))),
        probabilities={"dbp": share},
        trial=np.array(["a/1/w", "b/1/y"]),
        row=np.array([0, 2]),
    )
    half = np.array([[10.0, np.nan]] * 2)
    folder.write_predictions(tmp_path, indexed(), made, (made.y_pred - half, made.y_pred + half))
    frame = pd.read_parquet(tmp_path / "predictions.parquet")
    number, classed = (frame[frame["target"] == name] for name in ("sbp", "dbp"))
    np.testing.assert_array_equal(classed[["p_0", "p_1"]], share)
    assert number[["p_0", "p_1"]].isna().all().all()
    assert classed[["lower", "upper"]].isna().all().all()
    assert number["trial"].tolist() == ["a/1/w", "b/1/y"]


def test_a_folder_without_folds_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folds\.parquet is missing"):
        folder.read_folds(tmp_path)
    (tmp_path / "folds.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"folds\.parquet: not readable"):
        folder.read_folds(tmp_path)
    pd.DataFrame({"row": [1]}).to_parquet(tmp_path / "folds.parquet")
    with pytest.raises(DataError, match=r"folds\.parquet: not readable"):
        folder.read_folds(tmp_path)
