"""Networks (every ``forward`` takes a `Batch` and returns an `Output`) and the models without a network beside them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from biosig_mtl.models.ati_net import AtiNetSettings, ati_net
from biosig_mtl.models.cross_stitch import CrossStitchSettings, cross_stitch
from biosig_mtl.models.ctam_csam import CtamCsamSettings, ctam_csam
from biosig_mtl.models.dtrn import DtrnSettings, dtrn
from biosig_mtl.models.extension import Extended, ExtendedSettings
from biosig_mtl.models.hard_sharing import HardSharingSettings, hard_sharing
from biosig_mtl.models.histn import Histn, HistnSettings
from biosig_mtl.models.kem import KemSettings, kem
from biosig_mtl.models.medusa import MedusaSettings, medusa
from biosig_mtl.models.mmoe import MmoeSettings, mmoe
from biosig_mtl.models.mtan import MtanSettings, mtan
from biosig_mtl.models.mti_net import MtiNetSettings, mti_net
from biosig_mtl.models.ple import PleSettings, ple
from biosig_mtl.models.single_task import SingleTask, SingleTaskSettings
from biosig_mtl.models.split_merge import SplitMerge, SplitMergeSettings
from biosig_mtl.models.task_expert import TaskExpertSettings, task_expert
from biosig_mtl.models.task_film import TaskFilmSettings, task_film
from biosig_mtl.models.task_tokens import TaskTokensSettings, task_tokens
from biosig_mtl.types import InputSpec, RecipeError


@dataclass(frozen=True)
class ModelEntry:
    """A network: its settings and how it is made of them."""

    settings: type[Any]
    module: Callable[[Any, InputSpec], nn.Module]


MODELS: dict[str, ModelEntry] = {
    "single_task": ModelEntry(SingleTaskSettings, SingleTask),
    "hard_sharing": ModelEntry(HardSharingSettings, hard_sharing),
    "task_film": ModelEntry(TaskFilmSettings, task_film),
    "dtrn": ModelEntry(DtrnSettings, dtrn),
    "cross_stitch": ModelEntry(CrossStitchSettings, cross_stitch),
    "mtan": ModelEntry(MtanSettings, mtan),
    "mmoe": ModelEntry(MmoeSettings, mmoe),
    "ple": ModelEntry(PleSettings, ple),
    "task_expert": ModelEntry(TaskExpertSettings, task_expert),
    "task_tokens": ModelEntry(TaskTokensSettings, task_tokens),
    "ctam_csam": ModelEntry(CtamCsamSettings, ctam_csam),
    "medusa": ModelEntry(MedusaSettings, medusa),
    "mti_net": ModelEntry(MtiNetSettings, mti_net),
    "kem": ModelEntry(KemSettings, kem),
    "ati_net": ModelEntry(AtiNetSettings, ati_net),
    "histn": ModelEntry(HistnSettings, Histn),
    "split_merge": ModelEntry(SplitMergeSettings, SplitMerge),
}

# Networks that are made of a trained one: they are saved and loaded like the others, and no recipe asks for them.
DERIVED: dict[str, ModelEntry] = {
    "extended_split_merge": ModelEntry(ExtendedSettings, Extended),
}


def _known() -> dict[str, ModelEntry]:
    return {**MODELS, **DERIVED}


def build(name: str, settings: object, spec: InputSpec) -> nn.Module:
    """Make a network from its settings value; weights come from torch's global generator, so seed it before.

    Raises `RecipeError` for an unknown name, settings of another model, or settings that do not fit the inputs.
    """
    known = _known()
    if name not in known:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(MODELS)}"
        raise RecipeError(f"unknown model '{name}'; {hint}")
    entry = known[name]
    if not isinstance(settings, entry.settings):
        raise RecipeError(f"model '{name}' needs {entry.settings.__name__}, got {type(settings).__name__}")
    try:
        return entry.module(settings, spec)
    except ValueError as error:
        raise RecipeError(f"model '{name}': {error}") from error


def rebuild(name: str, settings: Mapping[str, Any], spec: InputSpec) -> nn.Module:
    """Make a network from settings that were saved with its weights; raise `RecipeError` where this version has others."""
    try:
        made = _known()[name].settings(**settings)
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"model '{name}' was saved by another version with other settings: {error}") from error
    return build(name, made, spec)
