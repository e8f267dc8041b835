"""Exports of the Empatica E4 wristband: a folder or a zip of CSV files, each with its own clock and rate.

A file begins with its start (seconds of UTC since 1970), then its rate in Hz, then samples; ACC has three columns, in 1/64 g.
The heart rate begins ten seconds after the sensors, since it is a mean over ten seconds. Streams are laid on one clock, whose
zero is the start of the earliest; where one has no sample it is NaN.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.readers.bundle import Bundle, open_bundle
from biosig_mtl.data.readers.channels import kind_of, match
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a file: its name there, ours, the unit, and what a value is divided by."""

    name: str
    ours: str
    unit: str
    divisor: float = 1.0


_STREAMS: dict[str, tuple[_Column, ...]] = {
    "bvp": (_Column("BVP", "ppg", "NU"),),
    "eda": (_Column("EDA", "eda", "uS"),),
    "temp": (_Column("TEMP", "temp", "degC"),),
    "acc": tuple(_Column(f"ACC_{axis}", f"acc_{axis.lower()}", "g", 64.0) for axis in "XYZ"),
    "hr": (_Column("HR", "hr", "bpm"),),
}
_NAME = re.compile(r"(bvp|eda|temp|acc|hr|ibi|tags)([_ -][^/]*)?\.csv", re.IGNORECASE)
# Longer than the battery lasts (48 h): one of the numbers in the header is wrong.
_LONGEST_S = 14 * 86400.0
_FASTEST_HZ = 1024.0


@dataclass(frozen=True, slots=True)
class Stream:
    """One file: ``samples`` has shape (sample, column), float32, from ``start_unix`` on at ``fs``."""

    file: str
    start_unix: float
    fs: float
    samples: F32

    @property
    def stop_unix(self) -> float:
        """The end of the last sample."""
        return self.start_unix + len(self.samples) / self.fs


@dataclass(frozen=True, slots=True)
class Session:
    """All that an export holds: streams by their file (``bvp`` …), button presses (UTC), and what cannot be used."""

    path: Path
    streams: Mapping[str, Stream]
    tags_unix: F64
    notes: tuple[str, ...]

    @property
    def start_unix(self) -> float:
        """Start of the earliest stream, seconds of UTC since 1970: the zero of the record's clock."""
        return min(s.start_unix for s in self.streams.values())

    @property
    def stop_unix(self) -> float:
        """End of the last stream."""
        return max(s.stop_unix for s in self.streams.values())


def open_e4(entry: Entry) -> LazySource:
    """Open an export: a folder, or a zip which is read in place (nothing is unpacked to disk).

    Channels are ``ppg`` (64 Hz), ``eda`` (4 Hz, µS), ``temp`` (4 Hz, °C), ``acc_x acc_y acc_z`` (32 Hz, g) and ``hr``
    (1 Hz, per minute), as far as they are there. A stream is laid on the common clock to the nearest of its samples: streams
    that start at different fractions of a second may lie up to half a sample off. Intervals between beats (IBI) are not
    read, since beats are found in the pulse wave; button presses (tags) are told in the notes.

    Raises
    ------
    DataError
        Neither folder nor zip of an export; a zip that is damaged or not safe to open; a file whose start, rate or samples
        are no numbers.
    """
    return source_of(read_session(entry.path), entry)


def list_e4(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """List every export in a folder: each zip, and each folder that holds the files themselves, one record each.

    The record is named by its place, the subject by the first word of that (``S02/session1.zip`` is of ``S02``), or by the
    group ``subject`` of the option ``subject_pattern``. A zip that is no export is told with the reason.

    Raises
    ------
    DataError
        There is none.
    """
    pattern = re.compile(str(options.get("subject_pattern", r"(?P<subject>[^/]+)")))
    folders = {p.parent for p in root.rglob("*.csv") if _NAME.fullmatch(p.name) and p.stem.lower()[:3] in {"bvp", "eda"}}
    paths = sorted([*folders, *root.rglob("*.zip")], key=lambda p: natural(p.as_posix()))
    if not paths:
        raise DataError(f"{root}: no export of an Empatica E4 (a zip, or a folder with BVP.csv)")
    for path in paths:
        place = path.with_suffix("") if path.suffix.lower() == ".zip" else path
        record = place.relative_to(root).as_posix() if path != root else root.name
        found = pattern.search(record)
        yield Found(record, found["subject"] if found else record, path, reason=_fault(path))


def looks_like_e4(path: Path) -> bool:
    """Tell whether a folder or zip holds one export; False where it is neither."""
    return not _fault(path)


def _fault(path: Path) -> str:
    """Return why a folder or zip is no export; empty where it is one. No samples are read."""
    try:
        with open_bundle(path) as bundle:
            _files(bundle)
    except DataError as error:
        return str(error)
    return ""


def read_session(path: Path) -> Session:
    """Read all streams of an export."""
    streams: dict[str, Stream] = {}
    notes: list[str] = []
    tags = np.empty(0)
    with open_bundle(path) as bundle:
        files = _files(bundle)
        for key in _STREAMS:
            if key in files:
                stream = _parse(bundle.read(files[key]), files[key], len(_STREAMS[key]), path, notes)
                if stream is not None:
                    streams[key] = stream
        if "tags" in files:
            tags = _numbers(bundle.read(files["tags"]), files["tags"], path)
        if "ibi" in files:
            lines = bundle.read(files["ibi"]).strip().count(b"\n")
            notes.append(
                f"{_short(files['ibi'])}: {lines} intervals of the device are not used; beats come from the pulse wave"
            )
    if not streams:
        raise DataError(f"{path}: none of its files holds samples ({'; '.join(notes) or 'all are empty'})")
    session = Session(path, streams, tags, tuple(notes))
    if session.stop_unix - session.start_unix > _LONGEST_S:
        starts = ", ".join(f"{s.file} {s.start_unix:.0f}" for s in streams.values())
        raise DataError(f"{path}: its files lie more than two weeks apart ({starts}): they are not one session")
    return session


def source_of(session: Session, entry: Entry, labels: Mapping[str, tuple[str, Stream]] | None = None) -> LazySource:
    """Lay the streams of a session on one clock of whole seconds.

    ``labels`` are channels that the data set gives beside the export: our name → unit (``0..1``) and stream, placed on the
    same clock. They do not lengthen the record.
    """
    start = session.start_unix
    # The end of a stream may lie within a second: the last frame is filled up with NaN, nothing is cut.
    frames = math.ceil(session.stop_unix - start - 1e-6)
    columns = [(key, n, c) for key, those in _STREAMS.items() if key in session.streams for n, c in enumerate(those)]
    wanted = entry.channels or {c.ours: (c.name,) for *_, c in columns}
    chosen = match([c.name for *_, c in columns], wanted, str(session.path))
    infos, laid, names = {}, {}, {}
    for ours, (kind, position) in chosen.items():
        key, number, column = columns[position]
        stream = session.streams[key]
        infos[ours] = ChannelInfo(ours, kind, column.unit, stream.fs)
        laid[ours] = lay(stream.samples[:, number] / np.float32(column.divisor), stream, start, frames)
        names[ours] = column.name
    for ours, (unit, stream) in (labels or {}).items():
        infos[ours] = ChannelInfo(ours, kind_of(ours), unit, stream.fs)
        laid[ours] = lay(stream.samples[:, 0], stream, start, frames)
        names[ours] = stream.file
    return LazySource(
        entry=entry,
        channels=infos,
        source_names=names,
        fs=1.0,
        frames=frames,
        fetch=lambda first, stop: {o: x[first * int(infos[o].fs) : stop * int(infos[o].fs)] for o, x in laid.items()},
        notes=(*session.notes, *_told(session)),
    )


def lay(samples: F32, stream: Stream, start_unix: float, frames: int) -> F32:
    """Place samples on a clock of ``frames`` seconds that begins at ``start_unix``, to the nearest sample; NaN elsewhere."""
    out = np.full(frames * int(stream.fs), np.nan, np.float32)
    at = round((stream.start_unix - start_unix) * stream.fs)
    kept = samples[max(-at, 0) : max(out.size - at, 0)]
    out[max(at, 0) : max(at, 0) + kept.size] = kept
    return out


def _told(session: Session) -> tuple[str, ...]:
    notes = []
    if session.tags_unix.size:
        times = session.tags_unix - session.start_unix
        shown = ", ".join(f"{t:.0f}" for t in times[:12]) + (", …" if times.size > 12 else "")
        notes.append(f"button pressed {times.size} times, at {shown} s")
    eda = session.streams.get("eda")
    if eda is not None:
        values = eda.samples[:, 0]
        dry = int(np.argmax(values != 0)) if (values != 0).any() else values.size
        if dry:
            notes.append(f"{eda.file}: the first {dry} samples are exactly 0 (no contact with the skin yet)")
    absent = [key.upper() for key in ("bvp", "eda", "temp") if key not in session.streams]
    if absent:
        notes.append(f"the export holds no {', '.join(absent)}")
    return tuple(notes)


# ------------------------------------------------------------------------------------------------------------ the files
def _files(bundle: Bundle) -> dict[str, str]:
    """Return the member of each kind of file; an export may lie in a folder of its own, but there must be only one."""
    found: dict[str, list[str]] = {}
    for member in bundle.names:
        named = _NAME.fullmatch(_short(member))
        if named:
            found.setdefault(named[1].lower(), []).append(member)
    twice = next((members for members in found.values() if len(members) > 1), None)
    if twice:
        raise DataError(f"{bundle.path}: holds several sessions ({twice[0]}, {twice[1]}); name one of them")
    if not found.keys() & _STREAMS.keys():
        raise DataError(f"{bundle.path}: is no export of an Empatica E4 (no BVP.csv, EDA.csv …)")
    return {key: members[0] for key, members in found.items()}


def _short(member: str) -> str:
    return member.rsplit("/", 1)[-1]


def _parse(data: bytes, member: str, columns: int, path: Path, notes: list[str]) -> Stream | None:
    """Read one stream; one that holds no sample is told in the notes."""
    file = _short(member)
    head, _, body = data.partition(b"\n")
    rate, _, body = body.partition(b"\n")
    if not body.strip():
        notes.append(f"{file}: holds no samples")
        return None
    starts, rates = _numbers(head, member, path), _numbers(rate, member, path, line=2)
    if len(starts) != columns or len(rates) != columns or len({*starts.tolist()}) + len({*rates.tolist()}) > 2:
        raise DataError(
            f"{path}: {file}: begins with {len(starts)} starts and {len(rates)} rates; need {columns} equal ones each"
        )
    start, fs = float(starts[0]), float(rates[0])
    if not (1 <= fs <= _FASTEST_HZ and fs % 1 == 0):
        raise DataError(f"{path}: {file}, line 2: {fs:g} Hz is not a rate in whole samples per second")
    if not 0 < start < 1e11:
        raise DataError(f"{path}: {file}, line 1: {start:g} is no time in seconds since 1970")
    values = _numbers(body, member, path, line=3)
    if values.size % columns:
        notes.append(f"{file}: ends within a line: it was cut")
    samples = values[: values.size // columns * columns].reshape(-1, columns).astype(np.float32)
    return Stream(file, start, fs, samples)


def _numbers(data: bytes, member: str, path: Path, line: int = 1) -> F64:
    """Parse numbers between white space or commas; an error names the line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # older numpy only warns where text is no number
            values: F64 = np.fromstring(data.replace(b",", b" ").decode("ascii"), sep=" ")
    except (ValueError, DeprecationWarning) as error:
        number, text = next(_wrong(data.splitlines()), (0, "?"))
        raise DataError(f"{path}: {_short(member)}, line {line + number}: '{text}' is no number") from error
    return values


def _wrong(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(lines):
        try:
            [float(word) for word in text.replace(b",", b" ").split()]
        except ValueError:
            yield number, text[:30].decode("latin-1").strip()
