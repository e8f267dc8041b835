"""The verbs `export` and `card` from the command line, with the store found or named, and the folder that runs alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from biosig_mtl.cli import export as verbs
from biosig_mtl.types import DataError, RecipeError
from tests.export.conftest import Commanded
from tests.test_report import write_run as write_pressure_run


def test_one_command_writes_all(commanded: Commanded) -> None:
    out = commanded.written.model.parent
    names = {path.name for path in out.iterdir()}
    assert names == {"m.onnx", "m.int8.onnx", "m.recipe.json", "m.export.json", "alone"}
    for said in ("2 of 4 networks in one graph", "windows of the run's store", "8 bits:", "runner: python", "card: "):
        assert said in commanded.said
    assert (commanded.folder / "run.py").is_file()
    assert commanded.cards == (out / "MODEL_CARD.md",)


def test_a_store_that_is_asked_for_must_be_there(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of window stores with --store"):
        verbs.export(recorded, tmp_path / "m.onnx", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the store that the run was made from is not there"):
        verbs.export(recorded, tmp_path / "m.onnx", tmp_path / "empty", int8=True)
    with pytest.raises(RecipeError, match="--members some"):
        verbs.export(recorded, tmp_path / "m.onnx", members="some")
    assert not (tmp_path / "m.onnx").exists()


def test_without_a_store_nothing_is_measured(recorded: Path, tmp_path: Path) -> None:
    alone = tmp_path / "run"
    alone.mkdir()
    assert verbs.evidence_of(alone, None, asked=False) is None
    (tmp_path / "store").mkdir()
    assert verbs.evidence_of(alone, None, asked=False) is None
    with pytest.raises(DataError, match="not a finished run folder"):
        verbs.evidence_of(alone, None, asked=True)
    found = verbs.evidence_of(recorded, None, asked=False)
    assert found is not None
    assert len(found.folds) == 2


def test_a_card_from_the_command_line(app: typer.Typer, tmp_path: Path) -> None:
    folder = write_pressure_run(tmp_path / "run")
    done = CliRunner().invoke(app, ["card", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    assert (folder / "MODEL_CARD.md").is_file()
    done = CliRunner().invoke(app, ["card", str(folder), "--out", str(tmp_path / "c.html")], catch_exceptions=False)
    assert (tmp_path / "c.html").read_text(encoding="utf-8").startswith("<!doctype html>")
