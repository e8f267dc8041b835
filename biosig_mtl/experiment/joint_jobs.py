"""Networks of a joint training: one job a network, of all sets or of one, each resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import store
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.experiment import answers, folder, members
from biosig_mtl.experiment.joint_tables import JointTable, Part, join
from biosig_mtl.recipe import Recipe, digest, from_dict
from biosig_mtl.training import Scaler, TrainingData, fit, spec_of
from biosig_mtl.training.cooccurrence import Cooccurrence, cooccurrence_losses
from biosig_mtl.training.hooks import Hooks
from biosig_mtl.training.prediction import predict_full
from biosig_mtl.training.sampling import OneSetBatches, Sampling
from biosig_mtl.training.state import clear_state
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import Fold


@dataclass(frozen=True, slots=True)
class JointJob:
    """One network. ``number`` is that of its set, −1 for a network of all of them; ``fold`` counts joint rows."""

    number: int
    fold: Fold
    recipes: tuple[Mapping[str, Any], ...]
    stores: tuple[Path, ...]
    pairs: tuple[Cooccurrence, ...]
    sampling: Sampling
    out: Path

    @property
    def place(self) -> Path:
        """Folder of the job; half-done work on other terms is no part of it."""
        # A network of one set does not know how sets are drawn, or what a lost label is made of.
        terms = {} if self.number >= 0 else {"pairs": [asdict(pair) for pair in self.pairs], "sampling": asdict(self.sampling)}
        # The rows say all that a split does: with more seeds, what was trained for the first ones stays.
        recipes = [{**content, "split": {}} for content in self.recipes]
        what = {"recipes": recipes, "stores": [s.name for s in self.stores], "rows": rows_digest(self.fold), **terms}
        who = f"set{self.number}" if self.number >= 0 else "joint"
        return self.out / "networks" / f"{who}-seed{self.fold.seed}-fold{self.fold.number}-{digest(what)}"


def rows_digest(fold: Fold) -> str:
    """Return a name of the rows of a fold."""
    return digest([part.tobytes().hex() for part in (fold.train, fold.validation, fold.test)])


def read(recipes: Sequence[Recipe], stores: Sequence[Path]) -> JointTable:
    """Read the store of every recipe and join them."""
    parts = []
    for recipe, place in zip(recipes, stores, strict=True):
        table = answers.table_of(recipe, [place])
        parts.append(Part(recipe.name, table, store.read_fingerprints(place)[table.index["store_row"].to_numpy()]))
    return join(parts)


_LAST: dict[str, JointTable] = {}


def _table(job: JointJob) -> JointTable:
    """Return the joint table; a process that trains many networks on one reads it once."""
    key = digest([*job.recipes, *map(str, job.stores)])
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = read([from_dict(content) for content in job.recipes], job.stores)
    return _LAST[key]


def work(job: JointJob) -> None:
    """Train one network and write what it says of the people that its fold tests."""
    with one_thread():
        _work(job)


def _work(job: JointJob) -> None:
    whole = _table(job)
    name, made, training = members.settings(from_dict(job.recipes[0]))
    alone = job.number >= 0
    table = whole.parts[job.number].table if alone else whole.table
    fold = whole.own_fold(job.number, job.fold) if alone else job.fold
    scaler = Scaler.fit(table, fold.train)
    hooks = Hooks() if alone else _hooks(job, whole, scaler)
    seed = int(np.random.SeedSequence([fold.seed, fold.number]).generate_state(1)[0])
    model = members.fresh(name, made, spec_of(table), seed)
    began = time.process_time()
    found = fit(model, TrainingData(table, fold, scaler, hooks), training, seed, folder=job.place)
    seconds = time.process_time() - began
    tested = predict_full(model, table, fold.test, scaler)
    content = {
        "test": tested.estimates.tolist(),
        "shares": {table.target_names[t]: share.tolist() for t, share in tested.probabilities.items()},
        "fitted_rows": scaler.fitted_rows.tolist(),
        "best_epoch": found.best_epoch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": seconds,
    }
    clear_state(job.place)
    folder.write(job.place / "result.json", json.dumps(plain(content)))


def _hooks(job: JointJob, whole: JointTable, scaler: Scaler) -> Hooks:
    extra = cooccurrence_losses(job.pairs, whole.table, job.fold.train, scaler)
    if job.sampling.mixed:
        return Hooks(extra=extra)
    code = whole.code(job.fold.train)
    names = [part.name for part in whole.parts]
    shares = job.sampling.shares(names, np.bincount(code, minlength=len(names)).tolist())
    return Hooks(order=OneSetBatches(code, shares), extra=extra)


def result(job: JointJob) -> dict[str, Any]:
    """Read what a finished job wrote."""
    content: dict[str, Any] = json.loads((job.place / "result.json").read_text(encoding="utf-8"))
    return content
