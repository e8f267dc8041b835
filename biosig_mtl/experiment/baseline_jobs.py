"""Baselines of a contest: one resumable job a baseline and fold, beside the networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.evaluation.scores import Absent, plain
from biosig_mtl.experiment import folder, grading, members
from biosig_mtl.experiment.members import Estimated
from biosig_mtl.models import baselines, nearest
from biosig_mtl.recipe import Recipe, from_dict
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import F32, I64, Fold, Predictions, WindowTable

Fit = Callable[[WindowTable, I64, F32, int], baselines.Baseline | nearest.Nearest]


@dataclass(frozen=True, slots=True)
class BaselineJob:
    """One baseline on one fold."""

    name: str
    fold: Fold
    recipe: Mapping[str, Any]
    stores: tuple[Path, ...]
    out: Path

    @property
    def place(self) -> Path:
        """Folder of the job."""
        word = "-".join(store.name for store in self.stores)
        return self.out / "baselines" / word / f"{self.name}-seed{self.fold.seed}-fold{self.fold.number}"


def jobs(recipe: Recipe, table: WindowTable, folds: Sequence[Fold], places: tuple[tuple[Path, ...], Path]) -> list[BaselineJob]:
    """Return a job for every baseline of a table, and nearest neighbours, which a single run leaves out, and fold."""
    stores, out = places
    names = (*baselines.names_for(table), nearest.NAME)
    return [BaselineJob(name, fold, recipe.to_dict(), stores, out) for name in names for fold in folds]


def work(job: BaselineJob) -> None:
    """Fit and answer; write the result."""
    recipe = from_dict(job.recipe)
    table = members.table_for(recipe, job.stores)
    training = members.settings(recipe)[2]
    with one_thread():
        fit: Fit = nearest.fit_nearest if job.name == nearest.NAME else partial(baselines.fit, job.name)
        fitted = grading.fit_baseline(fit, table, job.fold, training.balance_subjects)
        answer = fitted.answer(table, job.fold.test)
    content: dict[str, Any] = {"reason": fitted.reason}
    if answer is not None:
        shares = {name: share.tolist() for name, share in answer.probabilities.items()}
        content |= {"test": plain(answer.estimate.tolist()), "shares": shares}
    folder.write(job.place / "result.json", json.dumps(content))


def gather(table: WindowTable, done: Sequence[BaselineJob]) -> dict[str, Predictions | Absent]:
    """Return the predictions of every baseline over all folds, or why it has none."""
    found: dict[str, Predictions | Absent] = {}
    for name in dict.fromkeys(job.name for job in done):
        own = [job for job in done if job.name == name]
        told = [json.loads((job.place / "result.json").read_text(encoding="utf-8")) for job in own]
        reasons = [one["reason"] for one in told if "test" not in one]
        if reasons:
            found[name] = Absent(reasons[0])
            continue
        parts = [(job.fold, _estimated(one)) for job, one in zip(own, told, strict=True)]
        found[name] = grading.predictions(table, parts)
    return found


def _estimated(content: Mapping[str, Any]) -> Estimated:
    shares = {name: np.array(share, np.float64) for name, share in content["shares"].items()}
    return Estimated(np.array(content["test"], np.float64), shares)
