"""The verbs `export` and `card` from the command line, with the store found or named, and the folder that runs alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from biosig_mtl import pipeline, report_card, store
from biosig_mtl import recipe as recipes
from biosig_mtl.cli import export as verbs
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.experiment import folder as folders
from biosig_mtl.types import DataError, RecipeError
from tests.export.cases import write_run
from tests.test_report import write_run as write_pressure_run

RECIPE = recipes.load("demo_bp", ("features.families=[perfusion, person]",))


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer(rich_markup_mode=None)
    verbs.register(made)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("r")
    root = write(Cohort(n_subjects=6, records_per_subject=1, record_s=30, fault_share=0), place / "c")
    found = pipeline.prepare(RECIPE, root, place / "store")
    out = write_run(place / "run", store.read(found), recipe=RECIPE, use_waveform=False)
    folders.write_environment(out, [found])
    return out


def test_one_command_writes_all(app: typer.Typer, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "scores.json").write_text("{}", encoding="utf-8")
    cards: list[Path] = []

    def card_of(folder: Path, out: Path, figures: object) -> Path:
        assert figures
        assert folder == run
        cards.append(out)
        return out

    monkeypatch.setattr(report_card, "write", card_of)
    words = [
        "export",
        str(run),
        "--out",
        str(tmp_path / "m.onnx"),
        "--members",
        "2",
        "--int8",
        "--runner",
        str(tmp_path / "alone"),
    ]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"m.onnx", "m.int8.onnx", "m.recipe.json", "m.export.json", "alone"}
    for said in ("2 of 4 networks in one graph", "windows of the run's store", "8 bits:", "runner: python", "card: "):
        assert said in done.stdout
    assert (tmp_path / "alone" / "run.py").is_file()
    assert cards == [tmp_path / "MODEL_CARD.md"]


def test_a_store_that_is_asked_for_must_be_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of window stores with --store"):
        verbs.export(run, tmp_path / "m.onnx", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the store that the run was made from is not there"):
        verbs.export(run, tmp_path / "m.onnx", tmp_path / "empty", int8=True)
    with pytest.raises(RecipeError, match="--members some"):
        verbs.export(run, tmp_path / "m.onnx", members="some")
    assert not (tmp_path / "m.onnx").exists()


def test_without_a_store_nothing_is_measured(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "run"
    alone.mkdir()
    assert verbs.evidence_of(alone, None, asked=False) is None
    (tmp_path / "store").mkdir()
    assert verbs.evidence_of(alone, None, asked=False) is None
    with pytest.raises(DataError, match="not a finished run folder"):
        verbs.evidence_of(alone, None, asked=True)
    found = verbs.evidence_of(run, None, asked=False)
    assert found is not None
    assert len(found.folds) == 2


def test_a_card_from_the_command_line(app: typer.Typer, tmp_path: Path) -> None:
    folder = write_pressure_run(tmp_path / "run")
    done = CliRunner().invoke(app, ["card", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    assert (folder / "MODEL_CARD.md").is_file()
    done = CliRunner().invoke(app, ["card", str(folder), "--out", str(tmp_path / "c.html")], catch_exceptions=False)
    assert (tmp_path / "c.html").read_text(encoding="utf-8").startswith("<!doctype html>")
