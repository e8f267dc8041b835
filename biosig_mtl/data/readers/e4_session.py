"""What an export of the Empatica E4 holds, before it is laid on one clock: see `biosig_mtl.data.readers.e4`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from biosig_mtl.data.readers.bundle import Bundle, open_bundle
from biosig_mtl.data.readers.channels import shown
from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.data.readers.samples import as_samples, parse_numbers
from biosig_mtl.types import F32, F64, DataError


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a file: its name there, ours, the unit, and what a value is divided by."""

    name: str
    ours: str
    unit: str
    divisor: float = 1.0


STREAMS: dict[str, tuple[Column, ...]] = {
    "bvp": (Column("BVP", "ppg", "NU"),),
    "eda": (Column("EDA", "eda", "uS"),),
    "temp": (Column("TEMP", "temp", "degC"),),
    "acc": tuple(Column(f"ACC_{axis}", f"acc_{axis.lower()}", "g", 64.0) for axis in "XYZ"),
    "hr": (Column("HR", "hr", "bpm"),),
}
NAME = re.compile(r"(bvp|eda|temp|acc|hr|ibi|tags)([_ -][^/]*)?\.csv", re.IGNORECASE)
# Twice as long as the battery lasts: one of the numbers in the headers is wrong.
_LONGEST_S = 4 * 86400.0
_FASTEST_HZ = 1024.0
_LATEST_UNIX = 1e11
_DIRECTORY_BYTES = 4096
_STRETCH_BYTES = 1 << 22
# Samples of NaN that a stream may be filled up with, so that it lasts as long as the others: 18 hours of the pulse.
_MOST_FILLED = 1 << 22


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


def read_session(path: Path) -> Session:
    """Read all streams of an export. The last zips are kept: the trials of a session are opened one after another."""
    if not path.is_file():
        return _read(path)
    facts = path.stat()
    # The end of a zip lists its members with their checksums: another content is another key.
    with path.open("rb") as stream:
        stream.seek(max(facts.st_size - _DIRECTORY_BYTES, 0))
        return _kept(path, facts.st_mtime_ns, facts.st_size, stream.read())


@lru_cache(maxsize=2)
def _kept(path: Path, _modified: int, _size: int, _directory: bytes) -> Session:
    return _read(path)


def _read(path: Path) -> Session:
    streams: dict[str, Stream] = {}
    notes: list[str] = []
    tags = np.empty(0)
    with open_bundle(path) as bundle:
        files = _files(bundle)
        for key in STREAMS:
            if key in files:
                stream = _parse(bundle.read(files[key]), files[key], len(STREAMS[key]), path, notes)
                if stream is not None:
                    streams[key] = stream
        if "tags" in files:
            tags = _numbers(bundle.read(files["tags"]), files["tags"], path)
            tags = tags[np.abs(tags) < _LATEST_UNIX]
        if "ibi" in files:
            lines = bundle.read(files["ibi"]).strip().count(b"\n")
            notes.append(
                f"{shown(_short(files['ibi']))}: {lines} intervals of the device are not used; beats come from the pulse wave"
            )
    if not streams:
        raise DataError(f"{path}: none of its files holds samples ({'; '.join(notes) or 'all are empty'})")
    return _check_length(Session(path, streams, tags, tuple(notes)))


def _check_length(session: Session) -> Session:
    """Refuse files that lie so far apart in time that one of the numbers in their headers is wrong."""
    path, streams = session.path, session.streams
    length_s = session.stop_unix - session.start_unix
    if length_s > _LONGEST_S:
        starts = ", ".join(f"{s.file} {s.start_unix:.0f}" for s in streams.values())
        raise DataError(f"{path}: its files lie more than four days apart ({starts}): they are not one session")
    lost = next((s for s in streams.values() if length_s * s.fs - len(s.samples) > _MOST_FILLED), None)
    if lost is not None:
        raise DataError(
            f"{path}: {lost.file} has {len(lost.samples) / lost.fs:.0f} s, all files together last {length_s:.0f} s: "
            "they are not one session"
        )
    return session


def fault_of(path: Path) -> str:
    """Return why a folder or zip is no export; empty where it is one. No samples are read."""
    try:
        with open_bundle(path) as bundle:
            _files(bundle)
    except DataError as error:
        return str(error)
    return ""


# ------------------------------------------------------------------------------------------------------------ the files
def _files(bundle: Bundle) -> dict[str, str]:
    """Return the member of each kind of file; an export may lie in a folder of its own, but there must be only one."""
    found: dict[str, list[str]] = {}
    for member in bundle.names:
        named = NAME.fullmatch(_short(member))
        if named:
            found.setdefault(named[1].lower(), []).append(member)
    twice = next((members for members in found.values() if len(members) > 1), None)
    if twice:
        raise DataError(f"{bundle.path}: holds several sessions ({twice[0]}, {twice[1]}); name one of them")
    if not found.keys() & STREAMS.keys():
        raise DataError(f"{bundle.path}: is no export of an Empatica E4 (no BVP.csv, EDA.csv …)")
    return {key: members[0] for key, members in found.items()}


def _short(member: str) -> str:
    return member.rsplit("/", 1)[-1]


def _parse(data: bytes, member: str, columns: int, path: Path, notes: list[str]) -> Stream | None:
    """Read one stream; one that holds no sample is told in the notes."""
    file = shown(_short(member))
    # Positions, not parts: a text of a day is not to be held twice.
    first = data.find(b"\n") + 1 or len(data)
    second = data.find(b"\n", first) + 1 or len(data)
    head, rate = data[:first], data[first:second]
    if not data[second:].strip():
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
    if not 0 < start < _LATEST_UNIX:
        raise DataError(f"{path}: {file}, line 1: {start:g} is no time in seconds since 1970")
    values = _samples(data, second, member, path)
    if values.size % columns:
        notes.append(f"{file}: ends within a line: it was cut")
    return Stream(file, start, fs, values[: values.size // columns * columns].reshape(-1, columns))


def _samples(data: bytes, begin: int, member: str, path: Path) -> F32:
    """Parse numbers from a place on, a stretch of lines at a time: a number takes less room than its text only in the end."""
    parts: list[F32] = []
    line = 3
    while begin < len(data):
        stop = data.find(b"\n", begin + _STRETCH_BYTES) + 1 or len(data)
        stretch = data[begin:stop]
        parts.append(as_samples(_numbers(stretch, member, path, line)))
        line, begin = line + stretch.count(b"\n"), stop
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])


def _numbers(data: bytes, member: str, path: Path, line: int = 1) -> F64:
    """Parse numbers between white space or commas; an error names the line."""
    values = parse_numbers(data)
    if values is None:
        number, text = next(_wrong(data.splitlines()), (0, "?"))
        raise DataError(f"{path}: {_short(member)}, line {line + number}: '{shape(text)}' is no number")
    return values


def _wrong(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(lines):
        try:
            [float(word) for word in text.replace(b",", b" ").split()]
        except ValueError:
            yield number, text[:30].decode("latin-1").strip()
