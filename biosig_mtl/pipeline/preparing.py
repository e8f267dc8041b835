"""Conductor 1: from recordings to a window store.

A record is worked by itself: read, signal steps, windows, features. Long records are cut into pieces that are read with enough
context on either side for the steps to give what the whole record would give. Records are gathered into lots; a lot is one
idempotent task that commits by rename, so a killed run loses at most the lots in hand, and the store does not depend on the
number of workers.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl import store
from biosig_mtl.data import manifest as manifests
from biosig_mtl.data.readers import open_source
from biosig_mtl.pipeline.upstream import Preparation, check_labels, preparation, reasons, resolved
from biosig_mtl.recipe import Recipe, digest, from_dict
from biosig_mtl.types import (
    DataError,
    Entry,
    Features,
    Label,
    RecipeError,
    Record,
    Rejected,
    Source,
    Windows,
)

PIECE_S = 3600.0
LOT_RECORDS = 64
EXAMPLES = 12
SHOWN = 6  # channels of an example window that has neither pulse nor ECG
_BIG_BYTES = 32 * 2**20
# What a reader or a step may raise on data that nobody foresaw: the record is refused with the message, the run goes on.
_RECORD_ERRORS = (
    DataError,
    RecipeError,
    EOFError,
    struct.error,
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    OSError,
    MemoryError,
    RuntimeError,
    AttributeError,
    AssertionError,
)

Progress = Callable[[int, int], None]


# ---------------------------------------------------------------------------------------------------------------- lots
@dataclass(frozen=True, slots=True)
class Piece:
    """A record, or the part of a long one in which windows may start."""

    entry: Entry
    start_s: float = 0.0
    stop_s: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One lot to write, as it is sent to a worker; ``examples`` is how many of its records show a window."""

    folder: Path
    number: int
    pieces: tuple[Piece, ...]
    recipe: Mapping[str, Any]
    columns: Mapping[str, Any]
    root: Path
    examples: int


def prepare(
    recipe: Recipe,
    root: Path | None,
    into: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    dataset: str | None = None,
) -> Path:
    """Prepare a data set; return the folder of its digest. What is there already is not done again.

    Parameters
    ----------
    recipe
        Its upstream blocks matter; the rest does not.
    root
        Folder of the data set; None: looked for below ``$BIOSIG_DATA``.
    into
        Folder of all stores.
    workers
        Processes. The store's bytes do not depend on it.
    progress
        Called with (lots done, lots).
    dataset
        Another data set than the recipe's (the target of a transfer).

    Raises
    ------
    DataError
        No record at all, or a worker was killed (run again: nothing that was committed is lost).
    """
    manifest = manifests.load(dataset or recipe.data.dataset)
    check_labels(recipe, manifest.name, manifest.labels)
    root = manifests.locate(manifest, root)
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
    folder = into / digest([upstream, [_facts(e) for e in entries], chosen])
    if store.is_finished(folder):
        return folder
    lots = _lots(entries)
    store.write_plan(folder, upstream | {"chosen": chosen, "records": len(entries), "lots": len(lots)})
    columns = {"dataset": manifest.name, "subject_level": manifest.subject_level}
    every, each = math.ceil(len(lots) / EXAMPLES), max(EXAMPLES // 2 // len(lots), 1)
    jobs = [
        Job(folder, i, lots[i], recipe.to_dict(), columns, root, examples=each if i % every == 0 else 0)
        for i in store.missing_lots(folder, len(lots))
    ]
    for done, _ in enumerate(_run(jobs, workers), start=1):
        if progress is not None:
            progress(len(lots) - len(jobs) + done, len(lots))
    told = {"simulated": manifest.simulated, "reasons": reasons(recipe, manifest.channel_infos())}
    store.finish(folder, len(lots), rejected, told)
    return folder


def find_store(recipe: Recipe, into: Path, dataset: str) -> Path:
    """Return the finished store of a recipe's upstream blocks; raise `DataError` that says how to make it."""
    manifest = manifests.load(dataset)
    upstream = resolved(recipe) | {"manifest": manifest.name, "version": str(manifest.version), "format": store.FORMAT}
    upstream["chosen"] = _chosen(recipe)
    wanted = json.loads(json.dumps(upstream))
    found = []
    for plan in sorted(into.glob("*/plan.json")):
        try:
            content = json.loads(plan.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{plan}: damaged; delete its folder and run `biosig-mtl prepare` again") from error
        if all(content.get(key) == value for key, value in wanted.items()) and store.is_finished(plan.parent):
            found.append(plan.parent)
    if len(found) > 1:
        # The data were corrected in between: a store of either could be meant.
        names = " and ".join(folder.name for folder in found)
        raise DataError(f"{into}: {names} are stores of {dataset} for this recipe; delete the old one, or use `biosig-mtl run`")
    if found:
        return found[0]
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


def _facts(entry: Entry) -> list[Any]:
    """Return what is known of a record without opening it: a corrected age makes another digest, another folder does not."""
    facts = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name != "path"}
    return [json.loads(json.dumps(facts, default=_json_able, sort_keys=True)), *_sizes(entry.path)]


def _json_able(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return asdict(value) if isinstance(value, Label) else str(value)


def _with_channels(entry: Entry, channels: Mapping[str, tuple[str, ...]]) -> Entry:
    return replace(entry, channels={**entry.channels, **channels})


def _sizes(path: Path) -> list[int]:
    """Return the sizes of a record's own files: a changed file makes another digest."""
    if path.is_dir():
        return [p.stat().st_size for p in sorted(path.iterdir()) if p.is_file()]
    return [p.stat().st_size for p in (path, path.with_suffix(".dat")) if p.is_file()]


def _lots(entries: Sequence[Entry]) -> list[tuple[Piece, ...]]:
    """Gather short records 64 at a time; cut long ones into pieces of half an hour, each a lot of its own."""
    short: list[Piece] = []
    long: list[tuple[Piece, ...]] = []
    for entry in entries:
        duration_s = _duration_if_long(entry)
        if duration_s is None or duration_s <= PIECE_S:
            short.append(Piece(entry))
            continue
        starts = np.arange(0.0, duration_s, PIECE_S)
        long += [(Piece(entry, float(a), float(a) + PIECE_S if a < starts[-1] else math.inf),) for a in starts]
    return [*(tuple(short[i : i + LOT_RECORDS]) for i in range(0, len(short), LOT_RECORDS)), *long]


def _duration_if_long(entry: Entry) -> float | None:
    """Return the duration of a record that may be long; None for what is surely short or cannot be opened (told later)."""
    try:
        if entry.format == "wfdb":
            with entry.path.open(encoding="ascii", errors="replace") as file:
                words = next((line for line in file if line.strip() and not line.startswith("#")), "").split()
            return float(words[3]) / float(words[2].split("/")[0].split("(")[0])
        if entry.path.stat().st_size < _BIG_BYTES:
            return None
        return open_source(entry).duration_s
    except _RECORD_ERRORS:
        return None


def _run(jobs: Sequence[Job], workers: int) -> Iterator[int]:
    if workers <= 1 or len(jobs) <= 1:
        yield from map(work, jobs)
        return
    # Started afresh rather than forked: a fork copies locks that threads of the caller may hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        waiting = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError("a worker process was killed; run the same command again: finished lots are kept") from error
        finally:
            pool.shutdown(cancel_futures=True)


def work(job: Job) -> int:
    """Write one lot; return its number. One bad record is refused with its reason and never ends the lot."""
    made = preparation(from_dict(job.recipe))
    kept: list[tuple[Windows, Features]] = []
    rejected: list[Rejected] = []
    notes: list[tuple[str, str]] = []
    examples: list[Mapping[str, Any]] = []
    for number, piece in enumerate(job.pieces, start=1):
        name = piece.entry.record
        try:
            record, cut, values = work_piece(made, piece)
        except _RECORD_ERRORS as error:
            rejected.append(Rejected(name, math.nan, _reason(error, job.root)))
            continue
        rejected += cut.rejected
        notes += [(name, note.replace(f"{job.root}/", "")) for note in record.notes]
        if len(cut):
            kept.append((cut, values))
            if len(examples) * len(job.pieces) < job.examples * number:
                examples.append(_example(record, cut, made))
    lot = store.Lot(
        windows=tuple(w for w, _ in kept),
        features=tuple(f for _, f in kept),
        records=tuple(dict.fromkeys(p.entry.record for p in job.pieces)),
        rejected=tuple(rejected),
        notes=tuple(dict.fromkeys(notes)),
        examples=tuple(examples),
    )
    store.write_lot(job.folder, job.number, lot, job.columns)
    return job.number


def work_piece(made: Preparation, piece: Piece, source: Source | None = None) -> tuple[Record, Windows, Features]:
    """Read a piece with its context and take it through every step.

    ``source`` is the opened recording where there is one already, as of a recording that lies in memory and in no file.
    """
    source = open_source(piece.entry) if source is None else source
    if piece.stop_s is None:
        return made.apply(source.read())
    record = source.read(max(0.0, piece.start_s - made.reach_s), piece.stop_s + made.reach_s)
    return made.apply(record, (piece.start_s, piece.stop_s), made.part_with_rest(source, record))


def pieces(source: Source, entry: Entry) -> Iterable[Piece]:
    """Return the pieces of one opened recording."""
    if source.duration_s <= PIECE_S:
        return (Piece(entry),)
    starts = np.arange(0.0, source.duration_s, PIECE_S)
    return tuple(Piece(entry, float(a), float(a) + PIECE_S) for a in starts)


def _reason(error: Exception, root: Path) -> str:
    """Return one line without the place of the data on this machine: the store must not depend on it."""
    text = " ".join(str(error).split()).replace(f"{root}/", "")
    return text if isinstance(error, DataError) else f"unexpected {type(error).__name__}: {text}"


def _example(record: Record, cut: Windows, made: Preparation) -> dict[str, Any]:
    """Return a window of middling quality for drawing: pulse, ECG and reference with beats and fiducials, or first channels."""
    k = int(np.argsort(cut.sqi.min(axis=1), kind="stable")[len(cut) // 2])
    wanted = [made.features.pulse, made.features.ecg, made.windowing.reference]
    wanted = wanted if set(wanted) & set(cut.channels) else [*made.windowing.channels[:SHOWN]]
    size = cut.signal.shape[2]
    first = round((float(cut.onset_s[k]) - record.start_s) * cut.fs)
    there = {n: record.channels[n] for n in wanted if n in record.channels}
    shown = {n: c.samples[first : first + size] for n, c in there.items() if c.fs == cut.fs}
    beats = {n: record.beats[n] for n in shown if n in record.beats}
    inside = {n: np.flatnonzero((b.peak >= first) & (b.peak < first + size)) for n, b in beats.items()}
    return {
        "title": f"{cut.record}, {float(cut.onset_s[k]):g} s",
        "record": cut.record,
        "subject": cut.subject,
        "onset_s": float(cut.onset_s[k]),
        "fs": cut.fs,
        "channels": {n: [_rounded(v, 4) for v in x] for n, x in shown.items()},
        "beats": {
            n: {"onset": (b.onset[inside[n]] - first).tolist(), "peak": (b.peak[inside[n]] - first).tolist()}
            for n, b in beats.items()
        },
        "points": {
            n: {k: [_rounded(v - first, 2) for v in p[inside[n]]] for k, p in b.points.items()} for n, b in beats.items()
        },
        "y_true": {name: _rounded(v, 1) for name, v in zip(cut.target_names, cut.targets[k], strict=True)},
        "sqi": round(float(cut.sqi[k].min()), 3),
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
