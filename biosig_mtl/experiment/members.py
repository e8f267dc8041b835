"""Networks to train: one job a network, each resumable, worked by a pool of processes.

A job's result is written by rename when it is done, and its training state after each epoch before that; a run that is killed
and started again trains only what is missing, from where it stood.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import nn

from biosig_mtl import models
from biosig_mtl.evaluation.scores import plain
from biosig_mtl.experiment import answers, folder, splits_seen, tables
from biosig_mtl.recipe import Recipe, build, choose, from_dict
from biosig_mtl.splits import inner
from biosig_mtl.training import Scaler, TrainingData, TrainingSettings, checkpoint, devices, fit, predict, spec_of
from biosig_mtl.training.diagnostics import Subjects
from biosig_mtl.training.distributed import ALONE, World
from biosig_mtl.training.masking import Unlabelled, pretrain
from biosig_mtl.training.prediction import Predicted, predict_full
from biosig_mtl.training.state import clear_state
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import EMPTY, F64, I64, DataError, Fold, InputSpec, WindowTable

RESULT = "result.json"
MODEL, CONTROL, TWIN = "model", "control", "twin"

# Gives an untrained network another start, and says what it did; it must not look at what the fold tests.
Begin = Callable[[nn.Module, WindowTable, Fold], Sequence[str]]
SECONDS = "seconds.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One network: which variant of the run, which fold, which member of its ensemble.

    ``variant`` is ``model``, ``control`` (labels shuffled between training subjects), ``twin`` (a fold without the labels of
    the people that it tests, beside one that has some) or ``without <family>``.
    """

    variant: str
    fold: Fold
    member: int
    members: int
    recipe: Mapping[str, Any]
    stores: tuple[Path, ...]
    out: Path

    @property
    def name(self) -> str:
        """Name of the job's folder."""
        return f"{self.variant.replace(' ', '_')}-seed{self.fold.seed}-fold{self.fold.number}-member{self.member}"

    @property
    def place(self) -> Path:
        """Folder of the job; half-done work on another store is no part of this run."""
        return self.out / "work" / "-".join(store.name for store in self.stores) / self.name


@dataclass(frozen=True, slots=True)
class Result:
    """What a job gives back: predictions (n, T) on its test and validation rows in the unit of the target, history, what was
    fitted on what.

    ``shares`` are the predicted shares (n, C) of the classes of the test rows, by target. ``weights`` are learnt weights to
    show, and ``removed`` the test predictions without a modality, by its name; only the first member of a fold tells both.
    ``seconds`` are processor seconds of the training (of its last part, where it was taken up again).

    ``alone`` are the test predictions of the network without the kernel beside it, and ``kernel_share`` (T,) is how much of the
    blend is the kernel's; None and empty for networks without one.
    """

    job: Job
    test: F64
    validation_rows: I64
    validation: F64
    fitted_rows: I64
    history: list[dict[str, float]]
    warnings: tuple[str, ...]
    split_report: Mapping[str, Any]
    alone: F64 | None
    kernel_share: tuple[float, ...]
    shares: Mapping[str, F64] = field(default_factory=lambda: EMPTY)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: EMPTY)
    removed: Mapping[str, Estimated] = field(default_factory=lambda: EMPTY)
    seconds: float = math.nan


@dataclass(frozen=True, slots=True)
class Estimated:
    """Predictions (n, T) and the shares of classes (n, C) by target."""

    estimate: F64
    shares: Mapping[str, F64]


def settings(recipe: Recipe) -> tuple[str, object, TrainingSettings]:
    """Build the model's and the training's settings of a recipe."""
    name = choose(str(recipe.model.get("name", "split_merge")), models.MODELS, "model")
    chosen = {k: v for k, v in recipe.model.items() if k not in {"name", answers.WORD}}
    made = build(models.MODELS[name].settings, chosen, "model")
    return name, made, build(TrainingSettings, recipe.training, "training")


class Placed(Protocol):
    """A job whose result lies in a folder of its own."""

    @property
    def place(self) -> Path:
        """Folder of the job."""


J = TypeVar("J", bound=Placed)


def train(jobs: Sequence[Job], workers: int, begin: Begin | None = None) -> Iterator[Job]:
    """Train what is not trained yet; yield each job when its result is there."""
    yield from finish(jobs, work if begin is None else partial(work, begin=begin), workers)


def finish(jobs: Sequence[J], work: Callable[[J], None], workers: int) -> Iterator[J]:
    """Do what has no `RESULT` yet, in processes; yield each job when its result is there."""
    waiting = []
    for job in jobs:
        if (job.place / RESULT).is_file():
            yield job
        else:
            waiting.append(job)
    if workers <= 1 or len(waiting) <= 1:
        for job in waiting:
            work(job)
            yield job
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context) as pool:
        futures = {pool.submit(work, job): job for job in waiting}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool as error:
            raise DataError("a training process was killed; run the same command again: it goes on from there") from error
        finally:
            pool.shutdown(cancel_futures=True)


def table_for(recipe: Recipe, stores: tuple[Path, ...]) -> WindowTable:
    """Return the table of a recipe; a process that trains many networks on one table reads it once."""
    what = {"task": recipe.task, "answers": recipe.model.get(answers.WORD), "training": recipe.training.get("per_subject")}
    key = json.dumps(plain(what), sort_keys=True)
    if _LAST.get(stores, ("", None))[0] != key:
        _LAST.clear()
        _LAST[stores] = key, answers.table_of(recipe, stores)
    return _LAST[stores][1]


_LAST: dict[tuple[Path, ...], tuple[str, WindowTable]] = {}


def work(job: Job, begin: Begin | None = None, world: World = ALONE) -> None:
    """Train one network and write its result: the same bytes whatever the number of workers and processors.

    Where several processes (``world``) train it together, all call this and process 0 writes.
    """
    with one_thread():
        _work(job, begin, world)


def _work(job: Job, begin: Begin | None, world: World) -> None:
    recipe = from_dict(job.recipe)
    name, made, training = settings(recipe)
    table = table_for(recipe, job.stores)
    if job.variant.startswith("without "):
        table = tables.without(table, job.variant.removeprefix("without "))
    fold = inner(job.fold, table, job.member, job.members)
    seed = _seed(job)
    truth = table
    if job.variant == CONTROL:
        table = tables.shuffled_labels(table, fold, np.random.default_rng(seed))
    scaler = Scaler.fit(table, fold.train)
    spec = spec_of(table)
    model = fresh(name, made, spec, seed).to(devices.chosen(training.device))
    began = time.process_time()
    data = TrainingData(table, fold, scaler, world=world)
    # The others get the start from process 0.
    said = _start(model, data, training, seed, begin) if world.leads else ()
    found = fit(model, data, training, seed, folder=job.place)
    spent = time.process_time() - began
    if not world.leads:
        return
    model.cpu()  # what is said of test windows is the same on any machine that reads the model later
    tested = predict_full(model, truth, fold.test, scaler)
    content: dict[str, Any] = {
        **_plain(tested, table.target_names),
        "validation": predict(model, truth, fold.validation, scaler).tolist(),
        "validation_rows": fold.validation.tolist(),
        "fitted_rows": scaler.fitted_rows.tolist(),
        "history": plain(list(found.history)),
        "warnings": [*said, *found.warnings],
    }
    beside = getattr(model, "beside", None)
    if job.variant == MODEL and beside is not None:
        share = beside.share.clone()
        beside.share.zero_()
        content["alone"] = predict(model, truth, fold.test, scaler).tolist()
        beside.share.copy_(share)
        content["kernel_share"] = share.tolist()
    if job.variant == MODEL and job.member == 0:
        content["weights"] = plain(tested.weights)
        content["removed"] = {
            name: _plain(predict_full(model, truth, fold.test, scaler, (name,)), table.target_names)
            for name in _removable(spec)
        }
        content["split_report"] = plain(splits_seen.fold_report(model, Subjects(table, fold.test, scaler, found.history)))
    if job.variant == MODEL:
        checkpoint.save(job.place / "model", name, model, scaler)
    # In a file of its own: a result is the same bytes every time, what it cost is not.
    folder.write_json(job.place / SECONDS, spent)
    folder.write(job.place / RESULT, json.dumps(content))
    # Last: where the disk is full the result cannot be written, and hours of training are still in the state.
    clear_state(job.place)


def _start(model: nn.Module, data: TrainingData, training: TrainingSettings, seed: int, begin: Begin | None) -> tuple[str, ...]:
    """Give the network its start: that of ``begin``, and then of the training windows of the fold, without their labels."""
    said = tuple(begin(model, data.table, data.fold)) if begin is not None else ()
    if training.pretrain.epochs:
        pretrain(model, Unlabelled(data.table, data.fold.train, data.scaler), training.pretrain, seed)
    return said


def _plain(found: Predicted, names: Sequence[str]) -> dict[str, Any]:
    shares = {names[t]: share.tolist() for t, share in found.probabilities.items()}
    return {"test": found.estimates.tolist(), "shares": shares}


def _removable(spec: InputSpec) -> tuple[str, ...]:
    """Return the modalities whose removal says something: where there are tracks, and more than one modality."""
    names = tuple(spec.modalities)
    return names if spec.tracks and len(names) > 1 else ()


def fresh(name: str, made: object, spec: InputSpec, seed: int) -> nn.Module:
    """Make an untrained network; the seed sets its start and leaves torch's own chance alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.build(name, made, spec)


def _seed(job: Job) -> int:
    return int(np.random.SeedSequence([job.fold.seed, job.fold.number, job.member]).generate_state(1)[0])


def result(job: Job) -> Result:
    """Read a finished job."""
    content = json.loads((job.place / RESULT).read_text(encoding="utf-8"))
    width = -1 if not content["test"] else len(content["test"][0])
    tested = _estimated(content)
    return Result(
        job=job,
        test=tested.estimate,
        validation_rows=np.array(content["validation_rows"], np.int64),
        validation=np.array(content["validation"], np.float64).reshape(-1, max(width, 1)),
        fitted_rows=np.array(content["fitted_rows"], np.int64),
        history=content["history"],
        warnings=tuple(content["warnings"]),
        split_report=content.get("split_report", {}),
        alone=np.array(content["alone"], np.float64) if "alone" in content else None,
        kernel_share=tuple(content.get("kernel_share", ())),
        shares=tested.shares,
        weights=content.get("weights", {}),
        removed={name: _estimated(found) for name, found in content.get("removed", {}).items()},
        seconds=seconds(job),
    )


def seconds(job: Job) -> float:
    """Return the processor seconds of a finished training, without reading what it predicts."""
    path = job.place / SECONDS
    return float(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else math.nan


def _estimated(content: Mapping[str, Any]) -> Estimated:
    shares = {name: np.array(share, np.float64) for name, share in content["shares"].items()}
    return Estimated(np.array(content["test"], np.float64), shares)
