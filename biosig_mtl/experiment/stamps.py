"""Words that a run, or a contest, must carry wherever it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biosig_mtl import splits, store
from biosig_mtl.recipe import Recipe

SAFE_LEVELS = {"person", "group"}


def simulated(stores: Sequence[Path], facts: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether any data set is simulated, by its manifest or its store."""
    return any(told.get("simulated") for told in (*facts, *(store.summary(place).get("about", {}) for place in stores)))


def of(recipe: Recipe, level: str, *, is_simulated: bool) -> tuple[str, ...]:
    """Return the stamps of a recipe whose ids are of this level."""
    scheme = str(recipe.split.get("scheme", splits.Protocol().scheme))
    stamps = ["SIMULATED DATA"] if is_simulated else []
    if level not in SAFE_LEVELS:
        stamps.append("record-level ids")
    if not splits.PROTOCOLS[scheme].guarantee.subject_independent:
        stamps.append("LEAK DEMONSTRATION" if scheme == "random_window" else "NOT SUBJECT-INDEPENDENT")
    if recipe.training.get("per_subject") == "whole":
        stamps.append("features scaled by each person's whole recording")
    return tuple(stamps)
