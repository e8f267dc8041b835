"""Preparing the data sets of a recipe, as several verbs do it first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from biosig_mtl.cli.shell import progress, roots_of, say


def warn_of_bands(recipe: Any, manifest: Any) -> None:
    """Say so where features are asked for of a band that no longer is in the data."""
    from biosig_mtl import pipeline

    if lost := pipeline.lost_bands(recipe, manifest.options.get("pass_band_hz")):
        sys.stderr.write(
            f"warning: features.bands: {', '.join(lost)} of {manifest.name} lie outside the pass band of its filters; "
            "their numbers are those of what the filters left\n"
        )


def prepare_stores(recipe: Any, data: Sequence[str] | None, into: Path, workers: int) -> list[Path]:
    """Prepare all data sets of a recipe and say what came of it."""
    from biosig_mtl import pipeline, store
    from biosig_mtl.data import manifest

    datasets = [name for name in (recipe.data.dataset, recipe.data.test_dataset) if name]
    folders = []
    for name, root in roots_of(data, datasets).items():
        warn_of_bands(recipe, manifest.load(name))
        tell = progress(f"prepare {name}", "lots")
        folder = pipeline.prepare(recipe, root, into, workers=workers, progress=tell, dataset=name)
        told = store.summary(folder)
        say(
            f"{folder}: {told['windows']} windows of {told['subjects']} subjects from {told['records_used']} of "
            f"{told['records']} records; "
            f"{told['windows_rejected']} windows and {told['records_rejected']} whole records rejected"
        )
        for record, note in told["notes"][:5]:
            say(f"  note on {record}: {note}")
        folders.append(folder)
    return folders
