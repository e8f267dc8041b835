"""Wrong words of an export are told in one line, before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from biosig_mtl.export import ExportSettings, export, graph
from biosig_mtl.export.chosen import choose_members
from biosig_mtl.export.cost import costs
from biosig_mtl.export.exporting import in_words
from biosig_mtl.export.int8 import products_of, rows_learned
from biosig_mtl.export.parity import Evidence
from biosig_mtl.inference import Predictor
from biosig_mtl.inference.writing import put
from biosig_mtl.types import DataError, RecipeError
from tests.export.cases import folds_of, pressure_table, write_run

TABLE = pressure_table(waveform=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("r") / "run", TABLE)


def names(run: Path, word: str) -> list[str]:
    found = choose_members(Predictor.load(run).ensemble.members, word)
    return [member.name.removeprefix("model-seed0-") for member in found]


def test_networks_are_chosen_by_a_word(run: Path) -> None:
    assert names(run, "all") == ["fold0-member0", "fold0-member1", "fold1-member0", "fold1-member1"]
    assert names(run, "fold") == names(run, "fold:0") == ["fold0-member0", "fold0-member1"]
    assert names(run, "fold:1") == ["fold1-member0", "fold1-member1"]
    assert names(run, "3") == ["fold0-member0", "fold1-member0", "fold0-member1"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("some", "write all, fold, fold:K or a number"),
        ("0", "write all, fold, fold:K or a number"),
        ("5", "the run has 4 networks"),
        ("fold:2", "the run has the folds 0 to 1"),
    ],
)
def test_other_words_are_refused(run: Path, word: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        names(run, word)


def test_what_cannot_be_written_is_said_first(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    with pytest.raises(RecipeError, match="--opset 7: need 18 to 23"):
        ExportSettings(opset=7)
    with pytest.raises(RecipeError, match=r"need a name that ends in \.onnx"):
        export(run, tmp_path / "model.pt")
    with pytest.raises(RecipeError, match=r"--int8: .* give the run's stores with --store"):
        export(run, out, ExportSettings(int8=True))
    with pytest.raises(DataError, match=r"is .* a model folder"):
        export(tmp_path / "no_run", out)
    altered = shutil.copytree(run, tmp_path / "altered")
    weights = altered / "model" / "model-seed0-fold0-member0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    with pytest.raises(DataError, match="was altered after training"):
        export(altered, out)
    with pytest.raises(DataError, match=r"'no_such_package' is not installed.*biosig-mtl"):
        graph.need("no_such_package")
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        put(tmp_path / "file" / "model.onnx", b"x")


def test_folds_of_another_run_are_refused() -> None:
    evidence = Evidence(TABLE, tuple(folds_of(TABLE)))
    with pytest.raises(DataError, match="the run's folds are not those of its networks"):
        rows_learned(evidence, frozenset({(9, 9)}))
    learned = rows_learned(evidence, frozenset({(0, 0)}))
    assert set(learned.tolist()) <= set(evidence.folds[0].train.tolist())


def test_an_error_is_only_told_of_networks_that_never_saw_the_person() -> None:
    folds = tuple(folds_of(TABLE))
    evidence = Evidence(TABLE, folds)
    rows = np.arange(len(TABLE))
    truth = TABLE.targets.astype(np.float64)
    # Each network knows the people that it learned from, and is 7 off on the others.
    said = np.repeat(truth[:, None], 2, axis=1)
    for k, fold in enumerate(folds):
        said[fold.test, k] += 7.0
    both = ("model-seed0-fold0-member0", "model-seed0-fold1-member0")
    one = (both[:1], said[:, :1])
    found = costs((both, said), one, evidence, rows)[0]
    assert found.mae_before == found.mae_after == pytest.approx(7.0)
    assert found.judged == folds[0].test.size
    # What was said of them by networks that knew them is 3.5 away in the mean, and is no error.
    assert found.max_difference == pytest.approx(3.5)
    nobody = costs((both, said), (("other-seed3-fold9-member0",), said[:, :1]), evidence, rows)[0]
    assert nobody.mae_after is None
    assert nobody.judged == 0


def test_harm_by_8_bits_is_said_plainly() -> None:
    cost = {"target": "sbp", "mean_difference": 0.5, "p95_difference": 1.0, "max_difference": 2.0, "mae_before": 10.0,
            "mae_after": 10.3, "windows": 9, "judged": 9}  # fmt: skip
    worse = {**cost, "target": "dbp", "mae_before": None}
    figures = {
        "networks": 1, "networks_of_the_run": 1, "bytes": 10, "nodes": 3, "one_window_ms": {"p50": 1.0, "p99": 2.0},
        "parity": {"worst": 1e-6, "windows": 5, "on": "random"},
        "int8": {"bytes": 5, "one_window_ms": {"p50": 2.0, "p99": 3.0}, "costs": [cost, worse]},
    }  # fmt: skip
    said = in_words(figures, {"sbp": "mmHg", "dbp": "mmHg"})
    assert "8 bits harm sbp and dbp by more than 0.1 mmHg: use the file in float" in said
    assert "8 bits are not faster here: use the file in float" in said
    assert any("windows of noise" in line for line in said)
    assert any("no error on unseen people could be measured" in line for line in said)


def test_only_products_of_the_networks_are_made_smaller() -> None:
    from onnx import TensorProto, helper

    weights = [helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]) for name in ("heads_w", "beside_landmarks")]
    nodes = [
        helper.make_node("Transpose", ["beside_landmarks"], ["turned"], name="t"),
        helper.make_node("MatMul", ["x", "heads_w"], ["a"], name="heads"),
        helper.make_node("MatMul", ["x", "turned"], ["b"], name="kernel"),
        helper.make_node("MatMul", ["a", "b"], ["c"], name="attention"),
    ]
    graph_ = helper.make_graph(nodes, "g", [], [], initializer=weights)
    assert products_of(helper.make_model(graph_)) == ["heads"]
