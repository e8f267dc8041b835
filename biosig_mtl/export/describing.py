"""What an exported file tells of itself, and the recipe that lies beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import pipeline
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data.readers.channels import kind_of
from biosig_mtl.export.runtime import FORMAT, KEY
from biosig_mtl.export.whole import Whole
from biosig_mtl.inference import Predictor
from biosig_mtl.recipe import Recipe, digest, from_dict
from biosig_mtl.tasks import TASKS
from biosig_mtl.types import F64, BiosigError

NOTICE = "Research use only. Not a medical device; no estimate of it may guide the care of a person."


def description(run: Path, predictor: Predictor, whole: Whole, half: F64) -> dict[str, Any]:
    """Return what goes into the metadata of the file: what comes in and out, in what unit, and what it was made of."""
    ensemble = predictor.ensemble
    recipe = from_dict(ensemble.recipe)
    return {
        "format": FORMAT,
        "name": recipe.name,
        "title": recipe.title,
        "task": recipe.task,
        "use": NOTICE,
        "spec": asdict(ensemble.spec),
        "units": units_of(recipe),
        "classes": {
            name: head.names() for name, head in zip(predictor.targets, ensemble.spec.head, strict=True) if head.classes
        },
        "networks": list(whole.order),
        "networks_of_the_run": len(ensemble.members),
        "half_width": [None if np.isnan(x) else float(x) for x in half],
        "interval_level": ensemble.extra.get("interval_level"),
        "per_subject": predictor.per_subject,
        "recipe_digest": digest(ensemble.recipe),
        "model_sha256": hashlib.sha256((run / "model" / "model.json").read_bytes()).hexdigest(),
        "versions": dict(ensemble.versions),
    }


def units_of(recipe: Recipe) -> dict[str, str]:
    """Return the unit of each target of a recipe's task."""
    return {target.name: target.unit for target in TASKS[recipe.task].targets}


def put_into(proto: Any, told: Mapping[str, Any]) -> None:
    """Write the metadata into a graph: all as JSON under ``biosig_mtl``, and what other programs look for by itself."""
    spec = told["spec"]
    words = {
        KEY: json.dumps(told, ensure_ascii=False, allow_nan=False),
        "features": json.dumps(list(spec["features"])),
        "waveform_channels": json.dumps(list(spec["waveform_channels"])),
        "targets": json.dumps(list(spec["targets"])),
        "units": json.dumps(told["units"]),
        "recipe_digest": told["recipe_digest"],
        "use": told["use"],
    }
    del proto.metadata_props[:]
    for key, value in words.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    proto.producer_name, proto.producer_version = "biosig-mtl", str(told["versions"].get("biosig-mtl", ""))
    proto.graph.name = told["name"]
    proto.doc_string = f"{told['title'] or told['name']}. {told['use']}"


def recipe_file(told: Mapping[str, Any], predictor: Predictor, sha256: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of ``model.recipe.json``: all that is needed to prepare a recording for the file.

    ``preparation`` has the upstream blocks with every default filled in, and without the reference; ``channels`` are those that
    a recording may have, as the data set of the training had them; ``intervals`` is the run's own rule, where it has one that
    depends on more than the target.
    """
    recipe = from_dict(predictor.ensemble.recipe)
    spec = predictor.ensemble.spec
    carried = ("format", "name", "title", "task", "use", "units", "classes", "half_width", "interval_level", "per_subject")
    return {
        **{key: told[key] for key in (*carried, "spec", "recipe_digest", "model_sha256", "networks", "versions")},
        "sha256": dict(sha256),
        "recipe": recipe.to_dict(),
        "preparation": pipeline.resolved(recipe),
        "channels": channels_of(recipe, predictor),
        "needed": [name for name in predictor.channels if name in _needed(predictor)],
        "windows_hz": spec.samples / predictor.preparation.windowing.length_s if spec.samples else None,
        "intervals": predictor.ensemble.extra.get("intervals"),
    }


def channels_of(recipe: Recipe, predictor: Predictor) -> dict[str, dict[str, Any]]:
    """Return kind, unit and rate of each raw channel that the run can use, as far as its data set is known."""
    try:
        known = manifests.load(recipe.data.dataset).channel_infos()
    except BiosigError:
        # A data set of one's own, described elsewhere.
        known = {}
    found = {}
    for name in predictor.channels:
        info = known.get(name)
        kind, unit, fs = (info.kind, info.unit, info.fs) if info is not None else (kind_of(name), "", None)
        found[name] = {"kind": kind, "unit": unit, "fs_hz": fs}
    return found


def _needed(predictor: Predictor) -> set[str]:
    made = predictor.preparation
    origin: dict[str, str] = {}
    needed = set()
    for step in made.steps:
        channel = getattr(step, "channel", None)
        if channel is None:
            continue
        origin[str(getattr(step, "name", None) or channel)] = origin.get(channel, channel)
        if not getattr(step, "optional", False):
            needed.add(origin.get(channel, channel))
    return needed | {origin.get(name, name) for name in made.windowing.channels}
