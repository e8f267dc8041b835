"""A finished run with its store, opened to go on from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from biosig_mtl import models, store
from biosig_mtl import recipe as recipes
from biosig_mtl.experiment import answers, folder, members
from biosig_mtl.recipe import Recipe
from biosig_mtl.splits import inner
from biosig_mtl.training import TrainingSettings, checkpoint
from biosig_mtl.training.checkpoint import Ensemble, Member
from biosig_mtl.types import DataError, Fold, WindowTable


@dataclass(frozen=True)
class Opened:
    """A run folder and what it learned from. ``folds`` have their validation windows as the run drew them from training."""

    recipe: Recipe
    table: WindowTable
    folds: tuple[Fold, ...]
    ensemble: Ensemble
    training: TrainingSettings

    def member(self, fold: Fold, number: int = 0) -> Member:
        """Return one trained network of a fold.

        Raises
        ------
        DataError
            The run has no such network.
        """
        name = f"{members.MODEL}-seed{fold.seed}-fold{fold.number}-member{number}"
        for one in self.ensemble.members:
            if one.name == name:
                return one
        raise DataError(f"the run has no network '{name}'; it has {len(self.ensemble.members)} others")

    def inner(self, fold: Fold, number: int = 0) -> Fold:
        """Return the fold with the training and validation windows of one member of its ensemble."""
        return inner(fold, self.table, number, self.training.ensemble)


def open_run(run: Path, stores: Path) -> Opened:
    """Open a run folder with the folder of window stores that it was made from.

    Raises
    ------
    DataError
        It is no run folder, a model file was altered, or a store is not there.
    """
    if not (run / "recipe.yaml").is_file() or not (run / "environment.json").is_file():
        raise DataError(f"{run}: not a finished run folder: recipe.yaml or environment.json is missing")
    recipe = recipes.load(run / "recipe.yaml")
    try:
        names = [str(name) for name in json.loads((run / "environment.json").read_text(encoding="utf-8"))["stores"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{run / 'environment.json'}: not readable; copy the run folder again") from error
    places = [stores / name for name in names]
    for place in places:
        if not store.is_finished(place):
            raise DataError(f"{place}: the store that the run was made from is not there; give its folder with --store")
    table = answers.table_of(recipe, places)
    ensemble = checkpoint.load(run / "model", models.rebuild)
    _, _, training = members.settings(recipe)
    return Opened(recipe, table, tuple(folder.read_folds(run)), ensemble, training)
