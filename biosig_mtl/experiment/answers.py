"""Which targets a run answers, and how: the ``answers`` of a recipe's model block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.experiment import tables
from biosig_mtl.recipe import Recipe, build, choose
from biosig_mtl.tasks import TASKS
from biosig_mtl.training import TrainingSettings
from biosig_mtl.training.person import relative
from biosig_mtl.types import DataError, Head, RecipeError, Task, WindowTable

WORD = "answers"


def of(recipe: Recipe) -> tuple[Task, dict[str, Head]]:
    """Return the task, cut to the targets that a recipe answers, and the head of each.

    Without ``model.answers`` every target of the task is answered as the task says.

    Raises
    ------
    RecipeError
        A target that the task does not have, or a head that makes no sense.
    """
    task = TASKS[choose(recipe.task, TASKS, "task")]
    usual = dict(zip(task.target_names, task.heads or (Head(),) * len(task.targets), strict=True))
    told: Mapping[str, Any] = recipe.model.get(WORD) or usual
    if not isinstance(told, Mapping):
        raise RecipeError(f"model.{WORD}: need a mapping from target to head, got {type(told).__name__}")
    heads = {}
    for name, content in told.items():
        choose(str(name), task.target_names, f"target (model.{WORD})")
        heads[str(name)] = content if isinstance(content, Head) else build(Head, content or {}, f"model.{WORD}.{name}")
    kept = tuple(t for t in task.targets if t.name in heads)
    return replace(task, targets=kept, heads=tuple(heads[t.name] for t in kept)), {t.name: heads[t.name] for t in kept}


def answered(table: WindowTable, heads: Mapping[str, Head]) -> WindowTable:
    """Return the table with the targets that are answered, and their heads.

    Raises
    ------
    DataError
        A target has no value in any window.
    """
    columns = [table.target_names.index(name) for name in heads]
    targets = np.ascontiguousarray(table.targets[:, columns])
    for name, column in zip(heads, targets.T, strict=True):
        if not np.isfinite(column).any():
            raise DataError(f"target '{name}' has no value in any window; leave it out of model.{WORD}")
    return replace(table, targets=targets, target_names=tuple(heads), heads=tuple(heads.values()))


def table_of(recipe: Recipe, stores: Sequence[Path]) -> WindowTable:
    """Return the windows that a run learns from and is judged on: its targets with their heads, its features by person."""
    _, heads = of(recipe)
    training = build(TrainingSettings, recipe.training, "training")
    return relative(answered(tables.read(stores), heads), training.per_subject)
