"""One export of each kind of run, which all tests of this folder share: a graph takes seconds to write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from biosig_mtl import pipeline, report_card, store
from biosig_mtl import recipe as recipes
from biosig_mtl.cli import export as verbs
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.experiment import folder as folders
from biosig_mtl.export.exporting import Written
from biosig_mtl.training.conformal import Errors
from biosig_mtl.training.conformal_record import fit_intervals
from tests.export.cases import write_run

RECIPE = recipes.load("demo_bp", ("features.families=[pulse_shape, rate, perfusion, person, ecg_shape]",))


@dataclass(frozen=True)
class Commanded:
    """What one command wrote of a run of recordings: all that it can write, and what it said."""

    run: Path
    recordings: Path
    written: Written
    folder: Path
    said: str
    cards: tuple[Path, ...]


@pytest.fixture(scope="session")
def app() -> typer.Typer:
    """Return the verbs of this room alone."""
    made = typer.Typer(rich_markup_mode=None)
    verbs.register(made)
    return made


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of recordings, with the store of their windows beside it."""
    place = tmp_path_factory.mktemp("r")
    root = write(Cohort(n_subjects=6, records_per_subject=1, record_s=30, fault_share=0), place / "c")
    found = pipeline.prepare(RECIPE, root, place / "store")
    # The run's own rule for intervals, which looks at the estimate and at the quality of the signal.
    rng = np.random.default_rng(0)
    people, said = np.repeat([f"p{i}" for i in range(30)], 6), rng.normal(120, 10, 180)
    errors = Errors.of(people, said + rng.normal(0, 5, 180) * (said / 100), said, rng.uniform(0.3, 1, 180))
    rules = {"intervals": fit_intervals([errors, errors]).to_json()}
    out = write_run(place / "run", store.read(found), recipe=RECIPE, extra=rules, use_waveform=False)
    folders.write_environment(out, [found])
    return out


@pytest.fixture(scope="session")
def commanded(app: typer.Typer, recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Commanded:
    """Return what ``export`` wrote with every word that it knows."""
    out, cards = tmp_path_factory.mktemp("o"), []

    def card_of(folder: Path, to: Path, figures: object) -> Path:
        assert figures
        assert folder == recorded
        cards.append(to)
        return to

    # A card is only written of a run that has scores; its content has tests of its own.
    scores = recorded / "scores.json"
    scores.write_text("{}", encoding="utf-8")
    model, alone = out / "m.onnx", out / "alone"
    words = ["export", str(recorded), "--out", str(model), "--members", "2", "--int8", "--runner", str(alone)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_card, "write", card_of)
        done = CliRunner().invoke(app, words, catch_exceptions=False)
    scores.unlink()
    assert done.exit_code == 0
    figures = json.loads((out / "m.export.json").read_text(encoding="utf-8"))
    written = Written(model, out / "m.recipe.json", figures, ())
    return Commanded(recorded, recorded.parent / "c", written, alone, done.stdout, tuple(cards))
