"""Conductor 1: from recordings to a window store.

A record is worked by itself: read, signal steps, windows, features. Long records are cut into pieces that are read with enough
context on either side for the steps to give what the whole record would give. Records and pieces are gathered into lots by
their bytes (`biosig_mtl.pipeline.lots`); a lot is one idempotent task that commits by rename, so a killed run loses at most the
lots in hand, and the store depends neither on the number of workers nor on where they are (`biosig_mtl.pipeline.engines`). The
driver knows of every record and holds no sample of any.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import store
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data import remote
from biosig_mtl.pipeline import engines, lots
from biosig_mtl.pipeline.distant import Shelf, root_of
from biosig_mtl.pipeline.shards import Shard
from biosig_mtl.pipeline.summing import Prepared, Summary, summarise
from biosig_mtl.pipeline.upstream import check_labels, reasons, resolved
from biosig_mtl.pipeline.working import Job, Piece, Worked, work
from biosig_mtl.recipe import Recipe, digest
from biosig_mtl.types import DataError, Entry, Label, RecipeError, Rejected, Source

PIECE_S = 3600.0
LOT_RECORDS = 256
"""Records of a lot at most; it closes at its budget of bytes before."""

EXAMPLES = 12

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Way:
    """How a data set is prepared: nothing of it changes a byte of the store.

    ``record_timeout_s`` is the time that a record, or an hour of a long one, may take; a record that takes longer three times
    is left out. ``progress`` is called with (lots done, lots), ``tell`` with a line when a worker died, ``dataset`` is another
    data set than the recipe's (the target of a transfer).
    """

    engine: engines.Engine = field(default_factory=engines.Here)
    shard: Shard = field(default_factory=Shard)
    record_timeout_s: float | None = None
    progress: Progress | None = None
    tell: Callable[[str], None] | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.record_timeout_s is not None and not self.record_timeout_s > 0:
            raise ValueError(f"need record_timeout_s > 0, got {self.record_timeout_s}")


@dataclass(frozen=True)
class Plan:
    """What a store will hold, and where."""

    manifest: Any
    root: Path
    folder: Path
    content: Mapping[str, Any]
    lots: Sequence[tuple[Piece, ...]]
    rejected: Sequence[Rejected]
    shelf: Shelf


# -------------------------------------------------------------------------------------------------------------- preparing
def prepare(
    recipe: Recipe,
    root: Path | str | None,
    into: Path | str,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    dataset: str | None = None,
) -> Path:
    """Prepare a data set on this machine; return the folder of its digest. What is there already is not done again.

    Parameters
    ----------
    recipe
        Its upstream blocks matter; the rest does not.
    root
        Folder of the data set, or its address (``s3://bucket/set``); None: looked for below ``$BIOSIG_DATA``.
    into
        Folder of all stores, or their address: `staged` brings the store back, to train on.
    workers
        Processes; one of them is this very process. The store's bytes do not depend on it.
    progress
        Called with (lots done, lots).
    dataset
        Another data set than the recipe's (the target of a transfer).

    Raises
    ------
    DataError
        No record at all, or workers cannot start or write (run again: nothing that was committed is lost).
    """
    engine = engines.chosen_engine("local", workers)
    return prepare_by(recipe, root, into, Way(engine, progress=progress, dataset=dataset)).folder


def prepare_by(recipe: Recipe, root: Path | str | None, into: Path | str, way: Way) -> Prepared:
    """Prepare a data set on an engine, or one shard of it; return its folder and what there is to tell.

    A shard works its own lots only. Whichever of them finds every lot in its place finishes the store; the others say how many
    are missing.

    Parameters
    ----------
    recipe, root, into
        As of `prepare`.
    way
        Where and how.

    Raises
    ------
    DataError
        No record at all; workers cannot start, read the folders or write; the scheduler is gone. What was committed is kept.
    """
    began_s = time.monotonic()
    plan = plan_of(recipe, root, into, way.dataset)
    folder = plan.folder
    account, recorded_s, wrote, missing = engines.Account(), 0.0, 0, 0
    if not plan.shelf.is_finished(folder):
        store.write_plan(folder, plan.content)
        for worked in _worked(plan, recipe, way, account):
            recorded_s, wrote = recorded_s + worked.recorded_s, wrote + 1
        missing = len(plan.shelf.missing(folder, len(plan.lots)))
        if not missing:
            told = {"simulated": plan.manifest.simulated, "reasons": reasons(recipe, plan.manifest.channel_infos())}
            store.finish(folder, len(plan.lots), plan.rejected, told)
            plan.shelf.publish(folder)
    counts = Summary(len(plan.lots), wrote, missing, account, recorded_s, time.monotonic() - began_s)
    return Prepared(folder, summarise(folder, counts))


def plan_of(recipe: Recipe, root: Path | str | None, into: Path | str, dataset: str | None) -> Plan:
    """Look at what there is and say what is to be made of it; nothing is read but names, sizes and headers.

    Raises
    ------
    DataError
        The data set cannot be found, or none of its records can be used.
    """
    manifest = manifests.load(dataset or recipe.data.dataset)
    check_labels(recipe, manifest.name, manifest.labels)
    # Workers elsewhere begin in other folders.
    shelf, root = Shelf.of(into), manifests.locate(manifest, root_of(manifest, root)).absolute()
    listing = manifests.entries(manifest, root)
    excluded = _excluded(recipe, {e.record for e in listing.entries})
    rejected = [replace(r, reason=r.reason.replace(f"{root}/", "")) for r in listing.rejected]
    rejected += [Rejected(r, math.nan, f"left out by the recipe: {why}") for r, why in excluded.items()]
    entries = tuple(e for e in listing.entries if e.record not in excluded)[: recipe.data.limit]
    if recipe.data.channels:
        entries = tuple(_with_channels(e, recipe.data.channels) for e in entries)
    if not entries:
        why = f"; {len(rejected)} refused: {rejected[0].record}: {rejected[0].reason}" if rejected else ""
        raise DataError(f"{root}: no record of {manifest.name} {'can be used' if rejected else 'found'}{why}")
    upstream = resolved(recipe) | {"manifest": manifest.name, "version": str(manifest.version), "format": store.FORMAT}
    chosen = _chosen(recipe)
    sizes = lots.Sizes()
    cut, counts = lots.cut(
        entries,
        sizes,
        piece_s=PIECE_S,
        most_records=LOT_RECORDS,
        # How long such a record is cannot be told from afar, and guessed it would make another store than the same data here.
        at_hand=lambda entry: remote.staged().entry(entry, root),
    )
    # A header that could not be read for a moment makes another cut: lots of the two must never lie in one folder.
    cut_digest = digest([PIECE_S, counts, [len(lot) for lot in cut]])
    folder = shelf.folder / digest([upstream, [_facts(e, sizes) for e in entries], chosen, cut_digest])
    content = upstream | {"chosen": chosen, "records": len(entries), "lots": len(cut)}
    return Plan(manifest, root, folder, content, cut, rejected, shelf)


def _worked(plan: Plan, recipe: Recipe, way: Way, account: engines.Account) -> Iterator[Worked]:
    """Yield what workers tell of each lot that they wrote."""
    own = way.shard.own(plan.shelf.missing(plan.folder, len(plan.lots)))
    if not own:
        return
    engine = way.engine
    if way.record_timeout_s is not None or engines.were_killed(plan.folder):
        # What ended an earlier run may end this one: in a process of its own it ends only that.
        engine = engines.apart(engine, limited=way.record_timeout_s is not None)
    engine.warm()
    already = way.shard.size(len(plan.lots)) - len(own)
    with engine.open(work, len(own)) as crew:
        driven = engines.drive(crew, jobs_of(plan, recipe, own, way.record_timeout_s), account, way.tell)
        for done, worked in enumerate(driven, start=1):
            if way.progress is not None:
                way.progress(already + done, already + len(own))
            yield worked


def jobs_of(plan: Plan, recipe: Recipe, numbers: Iterable[int], limit_s: float | None) -> Iterator[Job]:
    """Yield jobs one by one: a job that is not handed out yet is only a number."""
    columns = {"dataset": plan.manifest.name, "subject_level": plan.manifest.subject_level}
    count = len(plan.lots)
    every, each = math.ceil(count / EXAMPLES), max(EXAMPLES // 2 // count, 1)
    far = place.url if (place := plan.shelf.far(plan.folder)) else ""
    content, run, folder = recipe.to_dict(), secrets.token_hex(4), plan.folder.absolute()
    for i in numbers:
        examples = each if i % every == 0 else 0
        yield Job(folder, i, plan.lots[i], content, columns, plan.root, examples, run=run, limit_s=limit_s, far=far)


# ------------------------------------------------------------------------------------------------------------------ stores
def find_store(recipe: Recipe, into: Path | str, dataset: str) -> Path:
    """Return the finished store of a recipe's upstream blocks; raise `DataError` that says how to make it.

    A store that lies at an address is brought here whole.
    """
    shelf = Shelf.of(into)
    manifest = manifests.load(dataset)
    upstream = resolved(recipe) | {"manifest": manifest.name, "version": str(manifest.version), "format": store.FORMAT}
    upstream["chosen"] = _chosen(recipe)
    wanted = json.loads(json.dumps(upstream))
    found = []
    for plan in sorted(shelf.plans().glob("*/plan.json")):
        try:
            content = json.loads(plan.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{plan}: damaged; delete its folder and run `biosig-mtl prepare` again") from error
        if all(content.get(key) == value for key, value in wanted.items()):
            whole_once = (plan.parent / "store.json").is_file()
            if (shelf.place is not None and whole_once) or store.is_finished(plan.parent):
                found.append(plan.parent)
            elif whole_once:
                raise DataError(store.verify(plan.parent)[0])
    if len(found) > 1:
        # The data were corrected in between: a store of either could be meant.
        names = " and ".join(folder.name for folder in found)
        raise DataError(f"{into}: {names} are stores of {dataset} for this recipe; delete the old one, or use `biosig-mtl run`")
    if found:
        return shelf.staged(found[0])
    raise DataError(
        f"{into}: holds no finished store of {dataset} for this recipe; run `biosig-mtl prepare` with --store {into}"
    )


def _excluded(recipe: Recipe, known: set[str]) -> dict[str, str]:
    """Return the records of this data set that the recipe leaves out; refuse names that no data set has."""
    unknown = sorted(set(recipe.data.exclude) - known)
    if unknown and recipe.data.test_dataset is None:
        raise RecipeError(f"data.exclude: {recipe.data.dataset} has no record '{unknown[0]}'")
    return {record: why for record, why in recipe.data.exclude.items() if record in known}


def _chosen(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's choice of records and channels: part of what a store is."""
    channels = {key: list(names) for key, names in recipe.data.channels.items()}
    return {"limit": recipe.data.limit, "channels": channels, "exclude": dict(recipe.data.exclude)}


def _facts(entry: Entry, sizes: lots.Sizes) -> list[Any]:
    """Return what is known of a record without opening it: a corrected age makes another digest, another folder does not."""
    facts = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name != "path"}
    return [json.loads(json.dumps(facts, default=_json_able, sort_keys=True)), *sizes.of(entry.path)]


def _json_able(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return asdict(value) if isinstance(value, Label) else str(value)


def _with_channels(entry: Entry, channels: Mapping[str, tuple[str, ...]]) -> Entry:
    return replace(entry, channels={**entry.channels, **channels})


def pieces(source: Source, entry: Entry) -> Iterable[Piece]:
    """Return the pieces of one opened recording."""
    if source.duration_s <= PIECE_S:
        return (Piece(entry),)
    starts = np.arange(0.0, source.duration_s, PIECE_S)
    return tuple(Piece(entry, float(a), float(a) + PIECE_S) for a in starts)
