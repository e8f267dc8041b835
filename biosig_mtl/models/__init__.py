"""Networks (every ``forward`` takes a `Batch` and returns an `Output`) and the models without a network beside them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.histn import Histn, HistnSettings
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.types import InputSpec, RecipeError


@dataclass(frozen=True)
class ModelEntry:
    """A network: its settings and how it is made of them."""

    settings: type[Any]
    module: Callable[[Any, InputSpec], nn.Module]


MODELS: dict[str, ModelEntry] = {
    "split_merge": ModelEntry(SplitMergeSettings, SplitMerge),
    "hard_sharing": ModelEntry(HardSharingSettings, hard_sharing),
    "histn": ModelEntry(HistnSettings, Histn),
}


def build(name: str, settings: object, spec: InputSpec) -> nn.Module:
    """Make a network from its settings value; weights come from torch's global generator, so seed it before.

    Raises `RecipeError` for an unknown name, settings of another model, or settings that do not fit the inputs.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(MODELS)}"
        raise RecipeError(f"unknown model '{name}'; {hint}")
    entry = MODELS[name]
    if not isinstance(settings, entry.settings):
        raise RecipeError(f"model '{name}' needs {entry.settings.__name__}, got {type(settings).__name__}")
    try:
        return entry.module(settings, spec)
    except ValueError as error:
        raise RecipeError(f"model '{name}': {error}") from error


def rebuild(name: str, settings: Mapping[str, Any], spec: InputSpec) -> nn.Module:
    """Make a network from settings that were saved with its weights; raise `RecipeError` where this version has others."""
    try:
        made = MODELS[name].settings(**settings)
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"model '{name}' was saved by another version with other settings: {error}") from error
    return build(name, made, spec)
