"""One small simulated cohort, its store and one tiny run of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl import experiment, pipeline, store
from biosig_mtl.data.synthetic import Cohort, write
from biosig_mtl.recipe import Recipe, find_shipped, load
from biosig_mtl.types import Fold, Predictions, Scores, WindowTable

TINY = ("split.folds=2", "training.epochs=2", "training.ensemble=1", "model.width=8", "model.heads=2")
FACTS = {"name": "simulated_bp", "simulated": True}


@dataclass(frozen=True)
class Run:
    recipe: Recipe
    store: Path
    folder: Path
    scores: Scores
    progress: tuple[tuple[int, int], ...]


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return load("demo_bp", TINY)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(Cohort(n_subjects=14, records_per_subject=1, record_s=40, fault_share=0.1), tmp_path_factory.mktemp("d") / "c")


@pytest.fixture(scope="session")
def place(tiny: Recipe, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of the cohort."""
    return pipeline.prepare(tiny, cohort, tmp_path_factory.mktemp("s"))


@pytest.fixture(scope="session")
def whole(place: Path) -> WindowTable:
    return store.read(place)


@pytest.fixture(scope="session")
def run(tiny: Recipe, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    seen: list[tuple[int, int]] = []
    out = tmp_path_factory.mktemp("r") / "run"
    scores = experiment.run(tiny, [place], out, progress=lambda done, of: seen.append((done, of)), facts=[FACTS])
    return Run(tiny, place, out, scores, tuple(seen))


@pytest.fixture(scope="session")
def linked_place(tiny: Recipe, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a cohort in which one person stands under a second id."""
    return pipeline.prepare(tiny, with_a_copy(cohort, tmp_path_factory.mktemp("d") / "c"), tmp_path_factory.mktemp("s"))


@pytest.fixture(scope="session")
def other_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the manifest of a second simulated data set."""
    text = find_shipped("simulated_bp", "data_manifests", "manifest").read_text(encoding="utf-8")
    path = tmp_path_factory.mktemp("m") / "other_bp.yaml"
    path.write_text(text.replace("name: simulated_bp", "name: other_bp"), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def target_place(tiny: Recipe, cohort: Path, other_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of other people, but for one (s002 there) who is the first data set's s003 too."""
    folder = tmp_path_factory.mktemp("d") / "c"
    root = write(Cohort(n_subjects=5, records_per_subject=1, record_s=40, fault_share=0, seed=7), folder)
    copy_record(cohort / "s003" / "s003_1", root / "s002" / "s002_1")
    return pipeline.prepare(tiny, root, tmp_path_factory.mktemp("s"), dataset=str(other_set))


def with_a_copy(cohort: Path, folder: Path, first: str = "s003", second: str = "s011") -> Path:
    """Copy a cohort; its subject ``second`` becomes a copy of ``first`` under the other id."""
    root = Path(shutil.copytree(cohort, folder))
    copy_record(root / first / f"{first}_1", root / second / f"{second}_1")
    return root


def copy_record(this: Path, to: Path) -> None:
    to.with_suffix(".dat").write_bytes(this.with_suffix(".dat").read_bytes())
    to.with_suffix(".hea").write_text(this.with_suffix(".hea").read_text().replace(this.name, to.name))


def small_table(subjects: Sequence[str], targets: Any = None, **columns: Any) -> WindowTable:
    """Return a table with two families of features and a window a row."""
    n = len(subjects)
    rng = np.random.default_rng(0)
    plain = {"session": "1", "record": "r1", "stimulus": ""}
    index = pd.DataFrame({"subject": list(subjects), "onset_s": np.arange(float(n)), **plain, **columns})
    return WindowTable(
        index=index,
        values=rng.standard_normal((n, 3)).astype(np.float32),
        names=("pulse.a", "pulse.b", "person.age_years"),
        waveform=rng.standard_normal((n, 2, 5)).astype(np.float32),
        waveform_channels=("ppg_8hz", "vpg"),
        fs=125.0,
        targets=np.asarray(rng.uniform(60, 160, (n, 2)) if targets is None else targets, np.float32),
        target_names=("sbp", "dbp"),
    )


def rows(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def fold(train: Any, validation: Any, test: Any, **more: Any) -> Fold:
    return Fold(rows(*train), rows(*validation), rows(*test), **more)


def some_predictions(subject: Sequence[str], y_true: Any, y_pred: Any, **more: Any) -> Predictions:
    n = len(subject)
    base: dict[str, Any] = {
        "row": np.arange(n),
        "fold": np.zeros(n, np.int64),
        "seed": np.zeros(n, np.int64),
        "subject": np.array(list(subject)),
        "onset_s": np.arange(float(n)),
        "y_true": np.asarray(y_true, np.float64),
        "y_pred": np.asarray(y_pred, np.float64),
        "target_names": ("sbp", "dbp"),
    }
    return Predictions(**base | more)
