"""The audit of a finished run, once more, from what it left on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import models, store
from biosig_mtl import recipe as recipes
from biosig_mtl.evaluation import audit
from biosig_mtl.experiment import answers, folder
from biosig_mtl.experiment.running import audit_level, evidence_of, subject_level
from biosig_mtl.training import checkpoint
from biosig_mtl.types import Check, DataError


def audit_again(out: Path, stores: Path) -> tuple[Check, ...]:
    """Check a finished run once more: its model files by digest and, where its stores are found, folds and windows.

    Raises
    ------
    DataError
        Not a run folder, or an altered model file.
    """
    recipe_path, scores_path = out / "recipe.yaml", out / "scores.json"
    if not recipe_path.is_file() or not scores_path.is_file():
        raise DataError(f"{out}: not a finished run folder: recipe.yaml or scores.json is missing")
    recipe = recipes.load(recipe_path)
    told, environment = _read_json(scores_path), _read_json(out / "environment.json")
    try:
        kept = [Check(**c) for c in told["audit"]["checks"]]
        names = [str(name) for name in environment["stores"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{out}: scores.json or environment.json is damaged; copy the run folder again") from error
    ensemble = checkpoint.load(out / "model", models.rebuild)
    checks = [Check("model_files", passed=True, detail=f"{len(ensemble.members)} networks are as they were written")]
    places = [stores / name for name in names]
    if not all(store.is_finished(place) for place in places):
        note = f"the run's stores ({', '.join(names)}) are not in {stores}: the checks below are those of the run"
        return (*checks, Check("stores", passed=True, detail=note), *kept)
    table = answers.table_of(recipe, places)
    folds = folder.read_folds(out)
    if any(rows.size and not 0 <= rows.min() <= rows.max() < len(table) for fold in folds for rows in fold.parts().values()):
        raise DataError(f"{out / 'folds.parquet'}: names windows that the store has not; copy the run folder again")
    evidence = evidence_of(recipe, table, folds, None, places)
    task, _ = answers.of(recipe)
    level = subject_level(recipe, table)
    redone = audit.Evidence(
        task=task,
        subject_level=audit_level(level),
        allow_record_level=recipe.data.allow_record_level,
        **evidence,
    )
    again = {
        "split_scheme",
        "subject_overlap",
        "subject_level",
        "equal_windows",
        "near_equal_windows",
        "barred_inputs",
        "protocol_guarantee",
        "trial_overlap",
    }
    fresh = {c.name: c for c in audit.run(redone, np.random.default_rng(0)) if c.name in again}
    # Checks that the run tells nothing of, if somebody took a line out of scores.json, are told all the same.
    return (*checks, *(fresh.pop(c.name, c) for c in kept), *fresh.values())


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: missing or not readable; copy the run folder again") from error
