"""Distil the networks of a finished run into small ones: a student learns from labels and from what its teacher says.

    L = mean ‖ŷ_s − ŷ_T‖² + ½ Σ_t L_t

in scaled units. The teacher of a fold is the mean of all networks of that fold. Sources: "Distilled sentence embedding" for the
loss (a slow teacher with attention regressed by a fast student), Hinton et al. 2015 for targets with classes, where the square
becomes the cross-entropy with the teacher's shares. Ours: the windows' weights of the run also weigh the first term; the
student is an ordinary network of this package that keeps the inputs and the linear skip of its teacher but no kernel.

The teacher answers each training window as it is, while the student sees it augmented, so the answers are made once, before the
training. Both learn from the training side of the fold only; no label or window of the test side is looked at. Members of an
ensemble learned from each other's validation windows, so some teachers know the windows that choose the student's epoch. The
student is taught on its own training windows alone, so it hears of them only what the teachers' answers there give away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosig_mtl import models
from biosig_mtl.experiment import folder, members
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.lifecycle.prune import Ground, ground_of
from biosig_mtl.lifecycle.slim import Judge, Made, cells, copy_facts, heads, open_beside, percent, write_run
from biosig_mtl.models.network import NetworkSettings
from biosig_mtl.models.slimmable import Price, price
from biosig_mtl.recipe import build
from biosig_mtl.training import predict_full, spec_of, to_batch
from biosig_mtl.training.batches import shuffled
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.hooks import Hooks
from biosig_mtl.training.prediction import mean_of
from biosig_mtl.training.threads import one_thread
from biosig_mtl.types import EMPTY, F64, Batch, DataError, Fold, Head, InputSpec, Output, RecipeError

FILE = "distil.json"
LABELS = 0.5  # weight of the loss of the labels
TEACHER, ONE, TAUGHT, UNTAUGHT = "teacher", "one network of the teacher", "student", "student without a teacher"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DistilSettings:
    """The student: ``name`` among the networks, its ``width``, and further ``words`` of its settings.

    Words that teacher and student have in common are the teacher's where nothing else is said. A student with more than
    ``most`` of the parameters of one network of its teacher is refused. ``compare`` also trains each student without a
    teacher, and both without a linear skip.
    """

    name: str = "hard_sharing"
    width: int = 8
    words: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    most: float = 0.1
    compare: bool = True

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.name not in models.MODELS or not issubclass(models.MODELS[self.name].settings, NetworkSettings):
            raise ValueError(f"need the name of a network that has a width, got {self.name}")
        if self.width < 4 or self.most <= 0.0:
            raise ValueError(f"need width >= 4 and most > 0, got {self.width}, {self.most}")

    def student(self, teacher: object) -> Any:
        """Return the settings of the student of a network with these settings."""
        kind = models.MODELS[self.name].settings
        common = {f.name for f in fields(NetworkSettings)}
        given = {word: getattr(teacher, word) for word in common if hasattr(teacher, word)}
        return build(kind, {**given, "kernel_landmarks": 0, "width": self.width, **self.words}, "student")


USUAL = DistilSettings()


# -------------------------------------------------------------------------------------------------------------- teaching
@dataclass(frozen=True)
class Lesson:
    """What a teacher says of the training windows, in their order: ``scaled`` (n, T), and the ``shares`` (n, C) of the classes
    of targets with classes, by their number.
    """

    scaled: Tensor
    shares: Mapping[int, Tensor]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.scaled)


def lesson(teachers: Sequence[Member], ground: Ground) -> Lesson:
    """Return what the mean of some networks says of the training windows of a fold, in the scaled units of its student.

    Raises
    ------
    DataError
        A teacher learned from windows that the fold tests.
    """
    for one in teachers:
        if np.isin(one.scaler.fitted_rows, ground.fold.test).any():
            raise DataError(f"{one.name}: learned from windows that its fold tests; copy the run folder again")
    said = mean_of([predict_full(one.model, ground.table, ground.fold.train, one.scaler) for one in teachers])
    scaled = (said.estimates - ground.scaler.target_mean) / ground.scaler.target_scale
    shares = {t: torch.from_numpy(found).float() for t, found in said.probabilities.items()}
    return Lesson(torch.from_numpy(scaled).float(), shares)


class Teaching:
    """The order of the windows and the term of the teacher: hooks that know which windows a batch has."""

    def __init__(self, what: Lesson, head: Sequence[Head]) -> None:
        self.what = what
        self.numbers = [t for t, one in enumerate(head) if not one.classes]
        self.here = torch.empty(0, dtype=torch.long)

    @property
    def hooks(self) -> Hooks:
        """What training is given."""
        return Hooks(order=self.order, extra=(self,))

    def order(self, size: int, rng: torch.Generator) -> Iterator[Tensor]:
        """Yield the batches that training would have drawn itself, and remember the last one."""
        for positions in shuffled(len(self.what), size, rng):
            self.here = positions
            yield positions

    def __call__(self, model: nn.Module, out: Output, batch: Batch, epoch: int) -> Tensor:
        """Return how far the student is from its teacher on the batch last drawn, ()."""
        del model, epoch
        weight = batch.weight / batch.weight.sum()
        said = self.what.scaled[self.here].to(out.predictions)
        each = (out.predictions - said).square()[:, self.numbers].sum(1)
        for t, shares in self.what.shares.items():
            assert out.logits is not None
            logs = torch.log_softmax(out.logits[:, t, : shares.shape[1]].float(), dim=1)
            each = each - (shares[self.here].to(logs) * logs).sum(1)
        return (weight * each).sum()


def taught(ground: Ground, what: Lesson) -> nn.Module:
    """Return the student of a ground, trained with a teacher."""
    spec = spec_of(ground.table)
    training = replace(ground.training, weighting="fixed", fixed_weights=(LABELS,) * len(spec.targets))
    return replace(ground, training=training).train(ground.fresh(), Teaching(what, spec.head).hooks)


# ----------------------------------------------------------------------------------------------------------------- a run
def distil(
    run: Path, stores: Path, out: Path, settings: DistilSettings = USUAL, progress: Progress | None = None
) -> dict[str, Any]:
    """Distil every fold of a finished run into one small network and write a run folder with them.

    Parameters
    ----------
    run, stores
        Folder of a run, and of the window stores that it was made from.
    out
        Folder to write: ``model/`` with the students, ``distil.json``, ``distil.md``. The old run stays.
    settings, progress
        See `DistilSettings`. The callback is told the number of folds that are done, and of all.

    Returns
    -------
    dict
        ``arms``: by predictor ``targets`` (what `Judge.figures` tells; the reference is the teacher with all of its networks),
        and for networks ``parameters``, ``flops`` and ``latency_ms``; ``sentences``.

    Raises
    ------
    DataError, RecipeError
        The run cannot be opened with these stores; the student is too large, or its settings make no sense.
    """
    opened = open_beside(run, stores, out)
    students = _Students(opened, settings)
    said: dict[str, list[tuple[Fold, F64]]] = {}
    made = []
    with one_thread():
        for done, fold in enumerate(opened.folds, start=1):
            ground, teachers = students.of(fold)
            for label, answer in _teachers(ground, teachers).items():
                said.setdefault(label, []).append((ground.fold, answer))
            for label, model in students.trained(ground, lesson(teachers, ground)).items():
                said.setdefault(label, []).append(ground.said(model))
                if label == TAUGHT:
                    made.append(Made(teachers[0].name, settings.name, model, ground.fold, ground.scaler))
            if progress is not None:
                progress(done, len(opened.folds))
        write_run(out, students.recipe, opened.table, made)
        copy_facts(run, out)
        costs = students.costs(made[0])
    judge = Judge(opened.table, opened.folds, opened.training.balance_subjects)
    said |= {name: list(judge.baseline(name)) for name in ("ridge", "train_median")}
    rows = {label: {**costs.get(label, {}), "targets": judge.figures(own, said[TEACHER])} for label, own in said.items()}
    told: dict[str, Any] = {"schema": 1, "run": run.name, "student": settings.name, "width": settings.width, "arms": rows}
    told |= {"people": judge.people, "networks": opened.training.ensemble}
    told["sentences"] = sentences(told)
    folder.write_json(out / FILE, told)
    folder.write(out / "distil.md", "\n".join(in_words(told)) + "\n")
    return told


def _teachers(ground: Ground, teachers: Sequence[Member]) -> dict[str, F64]:
    said = [predict_full(one.model, ground.table, ground.fold.test, one.scaler) for one in teachers]
    return {TEACHER: mean_of(said).estimates, ONE: said[0].estimates}


class _Students:
    """The students of a run."""

    def __init__(self, opened: Opened, settings: DistilSettings) -> None:
        self.opened, self.settings = opened, settings
        name, teacher, _ = members.settings(opened.recipe)
        try:
            self.made = settings.student(teacher)
        except ValueError as error:
            raise RecipeError(f"student '{settings.name}': {error}") from error
        self.recipe = replace(opened.recipe, model=self._block(opened.recipe.model))
        sizes = [_size(members.fresh(word, own, self.spec, 0)) for word, own in ((settings.name, self.made), (name, teacher))]
        if sizes[0] > settings.most * sizes[1]:
            raise RecipeError(
                f"student '{settings.name}' has {sizes[0]} parameters, more than {settings.most:g} of the {sizes[1]} of one "
                "network of its teacher; lower its width"
            )

    @property
    def spec(self) -> InputSpec:
        """What all networks are made for."""
        return self.opened.ensemble.spec

    def _block(self, model: Mapping[str, Any]) -> dict[str, Any]:
        kept = {word: model[word] for word in ("answers",) if word in model}
        return {"name": self.settings.name, **asdict(self.made), **kept}

    def of(self, fold: Fold) -> tuple[Ground, list[Member]]:
        """Return the ground of the student of a fold and its teachers."""
        ground, _ = ground_of(self.opened, fold, 0)
        teachers = [self.opened.member(fold, number) for number in range(self.opened.training.ensemble)]
        return replace(ground, name=self.settings.name, settings=self.made), teachers

    def trained(self, ground: Ground, what: Lesson) -> dict[str, nn.Module]:
        """Train the students of a fold."""
        found = {TAUGHT: taught(ground, what)}
        if not self.settings.compare:
            return found
        found[UNTAUGHT] = ground.train(ground.fresh())
        if self.made.linear_skip:
            bare = replace(ground, settings=replace(self.made, linear_skip=False))
            found[f"{TAUGHT}, no linear skip"] = taught(bare, what)
            found[f"{UNTAUGHT}, no linear skip"] = bare.train(bare.fresh())
        return found

    def costs(self, made: Made) -> dict[str, dict[str, float]]:
        """Return what teacher and student cost."""
        single = to_batch(self.opened.table, made.fold.test[:1], made.scaler)
        one = price(self.opened.ensemble.members[0].model, single)
        n = self.opened.training.ensemble
        whole = Price(n * one.parameters, n * one.flops, n * one.latency_ms)
        return {TEACHER: asdict(whole), ONE: asdict(one), TAUGHT: asdict(price(made.model, single))}


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# ----------------------------------------------------------------------------------------------------------------- words
def sentences(told: Mapping[str, Any]) -> list[str]:
    """Return what ``distil.json`` says, in words."""
    arms = told["arms"]
    small, large = arms[TAUGHT], arms[TEACHER]
    said = [
        f"The student has {small['parameters']} parameters, 1/{large['parameters'] / small['parameters']:.0f} of its teacher's "
        f"{large['parameters']} ({told['networks']} networks), and takes {small['latency_ms']:.2g} ms a window in place of "
        f"{large['latency_ms']:.2g}."
    ]
    for label in (TAUGHT, UNTAUGHT, f"{TAUGHT}, no linear skip", f"{UNTAUGHT}, no linear skip", "ridge", "train_median"):
        if label in arms:
            costs = ", ".join(f"{name} {percent(each)}" for name, each in arms[label]["targets"].items())
            said.append(f"In place of the teacher, {label} costs in MAE: {costs}.")
    return said


def in_words(told: Mapping[str, Any]) -> list[str]:
    """Return ``distil.json`` as lines of Markdown: a table, and the sentences."""
    names = heads(list(told["arms"][TEACHER]["targets"]))
    lines = [
        f"# {told['run']}, distilled into {told['student']} of width {told['width']}", "",
        f"| | parameters | kFLOP a window | ms a window | {' | '.join(names)} |", f"|---|{'---|' * (len(names) + 3)}",
    ]  # fmt: skip
    for label, row in told["arms"].items():
        known = "parameters" in row
        size = f"{row['parameters']} | {row['flops'] / 1000:.4g} | {row['latency_ms']:.2g}" if known else " | | "
        lines.append(f"| {label} | {size} | {' | '.join(cells(row['targets']))} |")
    return [*lines, "", *(f"- {sentence}" for sentence in told["sentences"])]
