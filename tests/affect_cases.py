"""The recipes of feelings and stress on small data sets: what each makes of its own, prepared once a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from biosig_mtl import pipeline, recipe, store
from biosig_mtl.recipe import Recipe
from biosig_mtl.types import WindowTable
from tests.affect_sets import SETS, Made

TINY = (
    "split.scheme=subject_kfold", "split.folds=2", "split.negative_control=false",
    "training.epochs=1", "training.ensemble=1", "model.width=8", "model.heads=2",
)  # fmt: skip
CHANGES = "the label changes within the window"
# What `rejected.csv` has as the onset of a whole record.
WHOLE = ""
UNRATED = "no label in the data set"


@dataclass(frozen=True)
class Case:
    """What a recipe makes of its small data set: windows kept, trials, and windows refused by their reason."""

    windows: int
    trials: int
    refused: dict[str, int]


CASES = {
    # Ten windows of each of fifteen trials; 16 or 17 of each clip; 16 of each of ten videos; 8 of each of eight films.
    "deap_affect": Case(150, 15, {}),
    "dreamer_affect": Case(196, 12, {}),
    "amigos_affect": Case(160, 10, {"missing channel: F7 holds no samples": 16}),
    "mahnob_affect": Case(64, 8, {}),
    "seed_valence": Case(120, 60, {}),
    # Both windows of a situation are one trial.
    "dasps_affect": Case(288, 24, {}),
    "case_affect": Case(72, 12, {}),
    # Windows are laid over whole ratings: the first one holds one of them, and is half known.
    "kemocon_affect": Case(80, 4, {UNRATED: 24}),
    "wesad_affect": Case(60, 4, {CHANGES: 24}),
    # The second meditation follows the stress test, so stress begins and ends once.
    "wesad_stress": Case(72, 4, {CHANGES: 12}),
    "stress_predict": Case(52, 4, {CHANGES: 8}),
}


@dataclass(frozen=True)
class Prepared:
    """A recipe, its data, and the store that was made of them."""

    name: str
    recipe: Recipe
    made: Made
    root: Path
    stores: Path
    folder: Path
    table: WindowTable

    @property
    def case(self) -> Case:
        return CASES[self.name]


def preparer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Prepared]]:
    """Yield what writes the data set of a recipe and prepares it, each once."""
    sets: dict[str, tuple[Path, Made]] = {}
    done: dict[str, Prepared] = {}
    stores = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:

        def of(name: str) -> Prepared:
            if name in done:
                return done[name]
            read = recipe.load(name, TINY)
            if read.data.dataset not in sets:
                root = tmp_path_factory.mktemp(read.data.dataset)
                sets[read.data.dataset] = (root, SETS[read.data.dataset](root, patch))
            root, made = sets[read.data.dataset]
            folder = pipeline.prepare(read, root, stores)
            done[name] = Prepared(name, read, made, root, stores, folder, store.read(folder))
            return done[name]

        yield of
