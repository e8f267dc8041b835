"""What a worker does: one lot, record by record, each through every step, and the lot committed at the end."""

from __future__ import annotations

import errno
import json
import math
import struct
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from biosig_mtl import store
from biosig_mtl.data import remote
from biosig_mtl.data.readers import open_source
from biosig_mtl.pipeline.engines import crumbs
from biosig_mtl.pipeline.upstream import Preparation, preparation
from biosig_mtl.places import GoneError, Place
from biosig_mtl.recipe import from_dict
from biosig_mtl.store import remote as stores
from biosig_mtl.types import DataError, Entry, Features, RecipeError, Record, Rejected, Source, Windows

SHOWN = 6  # channels of an example window that has neither pulse nor ECG
# What a reader or a step may raise on data that nobody foresaw: the record is refused with the message, the run goes on. Memory
# that runs out is not among them: the neighbours may have taken it, so that another try is due (`biosig_mtl.pipeline.engines`).
RECORD_ERRORS = (
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
    RuntimeError,
    AttributeError,
    AssertionError,
)


def _numbers(*names: str) -> set[int]:
    return {getattr(errno, name) for name in names if hasattr(errno, name)}


# Troubles of a line or of a crowded machine, which say nothing about a record: they are waited for, and then end the run.
_NOT_OF_THE_RECORD = _numbers(
    *("ETIMEDOUT", "ECONNRESET", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETUNREACH"),
    *("EAGAIN", "EMFILE", "ENFILE", "ENOBUFS"),
)
# Those of a disk may be of one file alone: it is tried again before it is refused.
_PASSING = _NOT_OF_THE_RECORD | _numbers("ESTALE", "EIO", "EREMOTEIO")
PAUSES_S = (0.05, 0.5, 2.0)
_NONE: Mapping[int, str] = MappingProxyType({})


class UnreachedError(DataError):
    """A record could not be fetched, and is not to blame for it: the run ends, and goes on from there when it is repeated."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A record, or the part of a long one in which windows may start."""

    entry: Entry
    start_s: float = 0.0
    stop_s: float | None = None

    @property
    def name(self) -> str:
        """The record's name, with the second from which on where it is not the whole of it."""
        return self.entry.record if self.stop_s is None else f"{self.entry.record} from {self.start_s:g} s on"


@dataclass(frozen=True, slots=True)
class Job:
    """One lot to write, as it is sent to a worker; ``examples`` is how many of its records show a window.

    ``skip`` are positions of pieces that are refused unread, each with its reason. ``run`` marks the crumbs of this run; none
    are left without it. ``limit_s`` ends a worker at a piece that takes longer. ``far`` is the address of the store where
    ``folder`` is only its copy.
    """

    folder: Path
    number: int
    pieces: tuple[Piece, ...]
    recipe: Mapping[str, Any]
    columns: Mapping[str, Any]
    root: Path
    examples: int
    skip: Mapping[int, str] = field(default_factory=lambda: dict(_NONE))
    run: str = ""
    limit_s: float | None = None
    format: int = store.FORMAT
    far: str = ""


@dataclass(frozen=True, slots=True)
class Worked:
    """What a worker tells of a lot: how many seconds of recordings were read for windows."""

    number: int
    recorded_s: float


def work(job: Job) -> Worked:
    """Write one lot. One bad record is refused with its reason and never ends the lot.

    Raises
    ------
    DataError
        This worker does not see the data or the store, is of another version, or cannot write.
    UnreachedError
        The line to the data broke, for longer than `PAUSES_S`.
    MemoryError
        Memory ran out: the engine tries again.
    """
    _check_place(job)
    if not job.run:
        return _work(job, None)
    with crumbs.crumb(job.folder, job.number, job.run, job.limit_s) as crumb:
        return _work(job, crumb)


def _check_place(job: Job) -> None:
    """Refuse to work where the data are not: every record would be refused as missing."""
    if job.format != store.FORMAT:
        raise DataError(f"a worker writes stores of format {store.FORMAT}, need {job.format}; install one version everywhere")
    for place in (job.root, job.folder / "lots"):
        if not place.is_dir():
            raise DataError(
                f"{place}: a worker does not see this folder; data and store have to lie where all workers see them"
            )


def _work(job: Job, crumb: crumbs.Crumb | None) -> Worked:
    if job.limit_s is not None:
        # Else the first record of a worker would be charged with the seconds that imports take.
        import_module("biosig_mtl.pipeline.engines.warm")
    made = _made(json.dumps(job.recipe))
    lot = _Growing(job)
    for position, piece in enumerate(job.pieces):
        if crumb is not None:
            crumb.hold(position)
        if position in job.skip:
            lot.rejected.append(Rejected(piece.entry.record, math.nan, job.skip[position]))
            continue
        lot.work(position, piece, made)
    if crumb is not None:
        crumb.hold(crumbs.WRITING)
    store.write_lot(job.folder, job.number, lot.whole(), job.columns)
    if job.far:
        stores.publish_lot(Place(job.far), job.folder, job.number)
    return Worked(job.number, lot.recorded_s)


def _at_hand(piece: Piece, root: Path) -> Piece:
    """Return a piece with its files at hand.

    Raises
    ------
    GoneError
        They were taken away.
    UnreachedError
        The line broke, or the disk for copies is full. The record is not to blame: refused for it, it would be missing from the
        store for good.
    """
    try:
        return replace(piece, entry=remote.staged().entry(piece.entry, root))
    except GoneError:
        raise
    except DataError as error:
        raise UnreachedError(str(error)) from error
    except OSError as error:
        raise UnreachedError(f"a record cannot be fetched: {error.strerror}; run the same command again") from error


@lru_cache(maxsize=4)
def _made(recipe: str) -> Preparation:
    """Return the preparation of a recipe: made once in a worker, not once a lot."""
    return preparation(from_dict(json.loads(recipe)))


class _Growing:
    """A lot that is being filled."""

    def __init__(self, job: Job) -> None:
        self.rejected: list[Rejected] = []
        self.recorded_s = 0.0
        self._job = job
        self._kept: list[tuple[Windows, Features]] = []
        self._notes: list[tuple[str, str]] = []
        self._examples: list[Mapping[str, Any]] = []

    def work(self, position: int, piece: Piece, made: Preparation) -> None:
        """Take a piece through every step, or note why it is refused."""
        try:
            self._add(position, piece, _tried(made, _at_hand(piece, self._job.root)), made)
        except UnreachedError:
            raise
        except RECORD_ERRORS as error:
            why = _reason(error, self._job.root)
            if _is_of_the_place(error, self._job.root):
                raise UnreachedError(f"{self._job.root}: {piece.entry.record}: {why}; run the same command again") from error
            self.rejected.append(Rejected(piece.entry.record, math.nan, why))

    def _add(self, position: int, piece: Piece, worked: tuple[Record, Windows, Features], made: Preparation) -> None:
        record, cut, values = worked
        job = self._job
        name = piece.entry.record
        example = None
        if len(cut) and len(self._examples) * len(job.pieces) < job.examples * (position + 1):
            example = _example(record, cut, made)
        self.rejected += cut.rejected
        self._notes += [(name, remote.staged().plain(note, job.root)) for note in record.notes]
        self.recorded_s += _seconds_of_its_own(piece, record)
        if len(cut):
            self._kept.append((cut, values))
        if example is not None:
            self._examples.append(example)

    def whole(self) -> store.Lot:
        return store.Lot(
            windows=tuple(w for w, _ in self._kept),
            features=tuple(f for _, f in self._kept),
            records=tuple(dict.fromkeys(p.entry.record for p in self._job.pieces)),
            rejected=tuple(self.rejected),
            notes=tuple(dict.fromkeys(self._notes)),
            examples=tuple(self._examples),
        )


def _seconds_of_its_own(piece: Piece, record: Record) -> float:
    """Return how much of a record that was read is of this piece, and not context."""
    stop_s = record.start_s + record.duration_s
    if piece.stop_s is None:
        return record.duration_s
    return max(0.0, min(stop_s, piece.stop_s) - max(record.start_s, piece.start_s))


def _tried(made: Preparation, piece: Piece) -> tuple[Record, Windows, Features]:
    """Work a piece; try again where it is the file server that fails."""
    for pause_s in PAUSES_S:
        try:
            return work_piece(made, piece)
        except RECORD_ERRORS as error:
            if not _comes_from(error, _PASSING):
                raise
        time.sleep(pause_s)
    return work_piece(made, piece)


def _is_of_the_place(error: Exception, root: Path) -> bool:
    """Return whether a trouble that stayed is not the record's: refused for it, it would be missing from the store for good."""
    if _comes_from(error, _NOT_OF_THE_RECORD):
        return True
    return _comes_from(error, _PASSING) and not root.is_dir()


def _comes_from(error: BaseException | None, numbers: set[int]) -> bool:
    """Return whether an error, or what a reader made it of, is one of the system with such a number."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def work_piece(made: Preparation, piece: Piece, source: Source | None = None) -> tuple[Record, Windows, Features]:
    """Read a piece with its context and take it through every step.

    ``source`` is the opened recording where there is one already, as of a recording that lies in memory and in no file.
    """
    source = open_source(piece.entry) if source is None else source
    if piece.stop_s is None:
        return made.apply(source.read())
    record = source.read(max(0.0, piece.start_s - made.reach_s), piece.stop_s + made.reach_s)
    return made.apply(record, (piece.start_s, piece.stop_s), made.part_with_rest(source, record))


def _reason(error: Exception, root: Path) -> str:
    """Return one line without the place of the data on this machine: the store must not depend on it."""
    if isinstance(error, OSError) and error.filename is not None:
        error = DataError(f"{error.filename}: not readable: {error.strerror}")
    text = remote.staged().plain(" ".join(str(error).split()), root)
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
