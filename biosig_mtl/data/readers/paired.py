"""One record out of several files of one session: EEG in a BDF, and the wristband that was worn meanwhile in a zip.

Every file has its own clock. The record's clock is that of the first file; of each other file the set says where on that clock
its own zero lies (``offset_s``). Clocks in headers are not used for that: an EDF header gives local time in whole seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np

from biosig_mtl.data.affect.options import needed
from biosig_mtl.data.affect.ratings import rating, scale_of
from biosig_mtl.data.found import Fence, Found, read_index, showable
from biosig_mtl.data.patterns import inside
from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.recipe import build
from biosig_mtl.types import F32, Channel, ChannelInfo, DataError, Entry, Source

Span = Literal["first", "common", "union"]
# A part is read a little wider than asked for, since its frames may be as long as a second.
_MARGIN_S = 2.0
LONGEST_S = 31 * 86400.0
"""Files of one record do not lie further apart, and no record lasts longer."""
# Samples of NaN where a file has nothing are not written in it: a small one could ask for much memory with a large offset.
_MOST_FILLED = 1 << 24


@dataclass(frozen=True)
class PairedFile:
    """One of the files of a record, as a manifest says it.

    ``column`` of the index holds its path; ``offset`` is the column that holds its offset in seconds (empty: ``offset_s``
    for all). ``channels`` are those of our names that are taken from this file; empty: all that it has and no file before it.
    An empty cell in ``column`` means that the session has no such file.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    column: str
    format: str
    offset: str = ""
    offset_s: float = 0.0
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not abs(self.offset_s) <= LONGEST_S:
            raise ValueError(f"need an offset_s within {LONGEST_S:g} s, got {self.offset_s}")


@dataclass(frozen=True)
class PairedIndex:
    """The options of a manifest of format ``paired``: an index CSV with one row a record.

    ``record subject session stimulus`` name columns; the last two may be missing. A record is a stretch of the session where
    the columns ``start`` and ``stop`` are there (seconds on the clock of the first file, the stimulus alone); the seconds of
    rest right before it that the column ``rest`` tells are put in front, as the record's baseline. ``labels`` maps the columns
    of ratings to their scale, ``valence: 1..9``. ``span`` says how long a session lasts: as long as the ``first`` file
    (others are cut to it, or NaN where they have nothing), as long as all files run (``common``) or any does (``union``).
    """

    parts: tuple[PairedFile, ...]
    index: str = "records.csv"
    record: str = "record"
    subject: str = "subject"
    session: str = "session"
    stimulus: str = "stimulus"
    start: str = "start_s"
    stop: str = "stop_s"
    rest: str = "rest_s"
    labels: Mapping[str, str] = field(default_factory=dict)
    demographics: Mapping[str, str] = field(default_factory=dict)
    span: Span = "first"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.parts:
            raise ValueError("need at least one file in parts")
        inside(self.index, "file of the index")
        for unit in self.labels.values():
            scale_of(unit)


@dataclass(frozen=True, slots=True)
class _Part:
    """An opened file: ``offset_s`` is the instant of its zero on the record's clock."""

    source: Source
    offset_s: float
    channels: Mapping[str, ChannelInfo]


# ----------------------------------------------------------------------------------------------------------------- listing
def list_paired(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """List the rows of an index: see `PairedIndex`.

    Raises
    ------
    DataError
        The index is missing or not readable. A row whose files, times or ratings are wrong is told with the reason.
    RecipeError
        The options of the manifest are no `PairedIndex`.
    """
    known = {f.name for f in fields(PairedIndex)}
    settings = build(PairedIndex, {k: v for k, v in options.items() if k in known}, "options")
    path = root / settings.index
    columns = [settings.record, settings.subject, settings.parts[0].column]
    for line, row in read_index(path, columns):
        found = Found(row[settings.record], row[settings.subject], root / row[settings.parts[0].column])
        try:
            yield _row(found, row, settings, root, f"{path}, line {line}")
        except DataError as error:
            yield replace(found, reason=str(error))


def _row(found: Found, row: Mapping[str, str], settings: PairedIndex, root: Path, where: str) -> Found:
    parts: list[dict[str, Any]] = []
    for part in settings.parts:
        cell = row.get(part.column, "")
        if not cell:
            continue
        file = _inside(root, cell, where)
        offset = _number(row, part.offset, where) if part.offset else part.offset_s
        parts.append(
            {
                # Relative to the first file: the folder of the set may be moved. The size tells a file that was changed.
                "path": cell if not parts else _beside(root / parts[0]["path"], file, root),
                "format": part.format,
                "offset_s": offset,
                "channels": list(part.channels),
                "bytes": file.stat().st_size if file.is_file() else 0,
            }
        )
    first = PurePosixPath(parts[0]["path"])
    parts[0]["path"] = first.name
    wanted: dict[str, object] = {"parts": parts, "span": settings.span}
    if row.get(settings.start) and row.get(settings.stop):
        rest = _number(row, settings.rest, where) if row.get(settings.rest) else 0.0
        wanted["session_s"] = _number(row, settings.start, where)
        wanted["clip"] = [_number(row, settings.start, where), _number(row, settings.stop, where), rest]
    labels = [rating(name, row.get(name), scale_of(unit), where) for name, unit in settings.labels.items() if row.get(name)]
    facts = {name: _number(row, column, where) for name, column in settings.demographics.items() if row.get(column)}
    return replace(
        found,
        path=root / first,
        session=row.get(settings.session) or "1",
        stimulus=row.get(settings.stimulus, ""),
        labels=tuple(labels),
        demographics=facts,
        options=wanted,
    )


def _inside(root: Path, cell: str, where: str) -> Path:
    relative = PurePosixPath(cell)
    file = root / relative
    if relative.is_absolute() or not showable(cell) or "\\" in cell or not Fence(root).holds(file):
        raise DataError(f"{where}: '{' '.join(cell.split())[:80]}' leads out of the folder")
    if not file.exists():
        raise DataError(f"{where}: {' '.join(cell.split())[:80]} is missing")
    return file


def _beside(first: Path, file: Path, root: Path) -> str:
    up = len(first.parent.relative_to(root).parts)
    return "/".join([*[".."] * up, file.relative_to(root).as_posix()])


def _number(row: Mapping[str, str], column: str, where: str) -> float:
    try:
        value = float(row[column])
    except (KeyError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: '{shape(row.get(column, ''))}' in column '{column}' is no number")
    return value


# ----------------------------------------------------------------------------------------------------------------- reading
def open_paired(entry: Entry) -> LazySource:
    """Open the files of a session as one record; every channel keeps its own rate.

    ``entry.options`` holds ``parts``, a list of ``{path, format, offset_s, channels}`` whose paths count from the folder of
    ``entry.path``; ``span`` (see `PairedIndex`) and ``clip``, ``[start_s, stop_s, rest_s]`` on the clock of the first file.
    A channel is laid on the record's clock to the nearest of its samples, so two files may lie up to half a sample of the
    slower one apart. Rates must be whole numbers of samples a second.

    Raises
    ------
    DataError
        A file that cannot be read or has none of the channels; a rate that is no whole number; no common time.
    """
    parts = _open_parts(entry)
    origin, end, notes = _extent(parts, entry)
    rest = _rest(entry, origin)
    # Times within the last second: the frame is filled up with NaN, nothing is cut.
    frames = math.ceil(end - origin - 1e-6)
    _check_filled(parts, frames, entry)
    empty = [(part, part.source.read(0.0, 0.0)) for part in parts]
    seams = np.concatenate([told.seams_s + part.offset_s - origin for part, told in empty])
    own = empty[0][1].baseline_s
    return LazySource(
        entry=entry,
        channels={name: info for part in parts for name, info in part.channels.items()},
        source_names={name: told.channels[name].source_name for part, told in empty for name in part.channels},
        fs=1.0,
        frames=frames,
        fetch=lambda first, stop: _fetch(parts, origin, first, stop),
        seams_s=np.unique(seams[(seams > 0) & (seams < end - origin)]),
        notes=(*dict.fromkeys(note for _, told in empty for note in told.notes), *notes),
        baseline_s=rest or ((own[0] - origin, own[1] - origin) if own else None),
    )


def _check_filled(parts: Sequence[_Part], frames: int, entry: Entry) -> None:
    """Refuse a record that would be mostly nothing."""
    held = sum(part.source.duration_s * info.fs for part in parts for info in part.channels.values())
    asked = frames * sum(info.fs for part in parts for info in part.channels.values())
    if asked - held > _MOST_FILLED:
        raise DataError(
            f"{entry.path}: {entry.record}: lasts {frames} s, of which its files hold {held / asked:.1%}; look at offset_s"
        )


def _rest(entry: Entry, origin: float) -> tuple[float, float] | None:
    """Return the seconds of rest before the stimulus, as far as they were recorded."""
    if not entry.options.get("clip"):
        return None
    start = float(entry.options["clip"][0])
    return (0.0, start - origin) if start > origin else None


def _open_parts(entry: Entry) -> list[_Part]:
    # The table of formats names this module: at the door the two would import each other.
    open_source = import_module("biosig_mtl.data.readers").open_source
    parts: list[_Part] = []
    taken: set[str] = set()
    for words in needed(entry, "parts"):
        own = tuple(words.get("channels") or ())
        wanted = {ours: names for ours, names in entry.channels.items() if ours not in taken and (not own or ours in own)}
        path = entry.path.parent / str(words["path"])
        if entry.channels and not wanted:
            continue
        source = open_source(replace(entry, path=path, format=str(words["format"]), channels=wanted, options={}))
        infos = {name: info for name, info in source.channels.items() if name not in taken and (not own or name in own)}
        for name, info in infos.items():
            if not math.isfinite(info.fs) or info.fs != int(info.fs):
                raise DataError(f"{path}: '{name}' has {info.fs:g} Hz; files of one record need whole samples per second")
        taken |= set(infos)
        parts.append(_Part(source, float(words.get("offset_s", 0.0)), infos))
    if not parts:
        raise DataError(f"{entry.path}: {entry.record}: none of its files has a channel that is looked for")
    return parts


def _extent(parts: Sequence[_Part], entry: Entry) -> tuple[float, float, tuple[str, ...]]:
    """Return where the record begins and ends on the clock of the first file, and what of a stretch is missing."""
    span: str = entry.options.get("span", "first")
    begins = [part.offset_s for part in parts]
    ends = [part.offset_s + part.source.duration_s for part in parts]
    begin, end = begins[0], ends[0]
    if span != "first":
        begin, end = (max(begins), min(ends)) if span == "common" else (min(begins), max(ends))
    where = f"{entry.path}: {entry.record}"
    if end <= begin:
        raise DataError(f"{where}: its files have no time in common; look at offset_s")
    if end - begin > LONGEST_S:
        raise DataError(f"{where}: its files together last {end - begin:g} s, more than a month; look at offset_s")
    if not entry.options.get("clip"):
        return begin, end, ()
    start, stop, rest = (float(x) for x in entry.options["clip"])
    if not (begin <= start < stop and start < end and 0 <= rest <= LONGEST_S and math.isfinite(stop)):
        raise DataError(
            f"{where}: {start:g} to {stop:g} s is no part of the recording, which lasts from {begin:g} to {end:g} s"
        )
    short = (f"{entry.record}: the recording ends {stop - end:.1f} s before the stimulus",) if stop - end > 0.1 else ()
    return max(start - rest, begin), min(stop, end), short


def _fetch(parts: Sequence[_Part], origin: float, first: int, stop: int) -> dict[str, F32]:
    out: dict[str, F32] = {}
    for part in parts:
        # The record's zero on the clock of the part.
        zero_s = origin - part.offset_s
        record = part.source.read(max(zero_s + first - _MARGIN_S, 0.0), max(zero_s + stop + _MARGIN_S, 0.0))
        for name in part.channels:
            out[name] = _laid(record.channels[name], record.start_s, zero_s, (first, stop))
    return out


def _laid(channel: Channel, start_s: float, zero_s: float, seconds: tuple[int, int]) -> F32:
    """Return whole seconds of a channel that was read from ``start_s`` on, NaN where it holds nothing."""
    fs = int(channel.fs)
    laid = np.full((seconds[1] - seconds[0]) * fs, np.nan, np.float32)
    # The shift is rounded once, the same for every part that is read: parts which meet in time meet in samples.
    shift = math.floor(zero_s * fs + 0.5)
    at = round(start_s * fs) - (seconds[0] * fs + shift)
    kept = channel.samples[max(-at, 0) : max(laid.size - at, 0)]
    laid[max(at, 0) : max(at, 0) + kept.size] = kept
    return laid
