"""Preparing the data sets of a recipe, as several verbs do it first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosig_mtl.cli.shell import aside, progress, roots_of, say
from biosig_mtl.places import url_of
from biosig_mtl.types import DataError, RecipeError


@dataclass(frozen=True)
class Place:
    """Where lots are worked, in the words of the command line."""

    workers: int = 1
    engine: str = "local"
    scheduler: str | None = None
    shard: str | None = None
    record_timeout_s: float | None = None


def warn_of_bands(recipe: Any, manifest: Any) -> None:
    """Say so where features are asked for of a band that no longer is in the data."""
    from biosig_mtl import pipeline

    if lost := pipeline.lost_bands(recipe, manifest.options.get("pass_band_hz")):
        aside(
            f"warning: features.bands: {', '.join(lost)} of {manifest.name} lie outside the pass band of its filters; "
            "their numbers are those of what the filters left"
        )


def prepare_stores(recipe: Any, data: Sequence[str] | None, into: Path, place: int | Place) -> list[Path]:
    """Prepare all data sets of a recipe and say what came of it.

    ``place`` is a number of processes on this machine, or says more. Of a shard the folders may not be finished yet.
    """
    from biosig_mtl import pipeline
    from biosig_mtl.data import manifest

    place = Place(place) if isinstance(place, int) else place
    datasets = [name for name in (recipe.data.dataset, recipe.data.test_dataset) if name]
    roots = roots_of(data, datasets)
    folders = []
    for name, root in roots.items():
        warn_of_bands(recipe, manifest.load(name))
        way = _way(recipe, place, name)
        prepared = pipeline.prepare_by(recipe, root, into, way)
        _tell_of(prepared, into)
        folders.append(prepared.folder)
    return folders


def _way(recipe: Any, place: Place, dataset: str) -> Any:
    """Return how a data set is prepared; words that cannot be followed are told before anything is looked at."""
    from biosig_mtl import pipeline

    engine = pipeline.chosen_engine(place.engine, place.workers, place.scheduler, recipe.cluster, _tell)
    shard = pipeline.Shard() if place.shard is None else pipeline.Shard.read(place.shard)
    try:
        tell = progress(f"prepare {dataset}", "lots")
        return pipeline.Way(engine, shard, place.record_timeout_s, progress=tell, tell=_tell, dataset=dataset)
    except ValueError as error:
        raise RecipeError(f"--record-timeout: {error}") from error


def _tell(line: str) -> None:
    """Say what happens on the way, beside the progress."""
    # Names of records are a stranger's words.
    aside("".join(c if c.isprintable() else "?" for c in line))


def _tell_of(prepared: Any, into: Path) -> None:
    """Say what came of one data set; a store at an address is told by it, not by the copies that are here."""
    from biosig_mtl import store

    folder, summary = prepared.folder, prepared.summary
    url = url_of(into)
    name = folder if url is None else f"{url}/{folder.name}"
    if not prepared.finished:
        say(
            f"{name}: not finished: {summary.missing} of {summary.lots} lots are missing; whichever shard finds all of them "
            "finishes the store"
        )
        for line in summary.lines():
            say(f"  {line}")
        return
    told = store.summary(folder)
    say(
        f"{name}: {told['windows']} windows of {told['subjects']} subjects from {told['records_used']} of "
        f"{told['records']} records; "
        f"{told['windows_rejected']} windows and {told['records_rejected']} whole records rejected"
    )
    for line in summary.lines():
        say(f"  {line}")
    for record, note in told["notes"][:5]:
        say(f"  note on {record}: {note}")
    if not told["windows"]:
        most = next(iter(summary.refused or summary.windows_refused), ("no reason is known", 0))[0]
        raise DataError(f"{name}: no window came through, most often: {most}; see its rejected.csv")
