"""CASE: eight film clips, physiology at 1000 Hz, and valence and arousal by joystick at 20 Hz on a clock of their own.

Both clocks count milliseconds of the same session and are comparable (Sharma et al. 2019, Sci Data 6:196), so what belongs
together is found by time, never by row. The interpolated files are read: there both clocks run in equal steps. A file of
physiology has some 2.45 million rows: the rows of a clip are found by bisection on their time, nothing else is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.affect.columns import read_columns
from biosig_mtl.data.affect.options import needed
from biosig_mtl.data.affect.ratings import check_scale, unit_of
from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.readers.channels import kind_of, match
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.samples import as_samples, parse_numbers
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

FS_HZ = 1000.0
LABEL_HZ = 20.0
SCALE = (0.5, 9.5)
STIMULI = {
    number: f"{elicitor}_{version}"
    for number, (elicitor, version) in enumerate(
        ((e, v) for e in ("amusing", "boring", "relaxed", "scary") for v in (1, 2)), start=1
    )
}
UNITS = {
    "ecg": "mV",
    "bvp": "%",
    "gsr": "uS",
    "rsp": "%",
    "skt": "degC",
    "emg_zygo": "uV",
    "emg_coru": "uV",
    "emg_trap": "uV",
}
_LABELS = ("valence", "arousal")
_LONGEST_MS = 3.6e6
_STEP_MS = 1000.0 / LABEL_HZ
_FOLDERS = ("interpolated", "data/interpolated", "CASE_full/data/interpolated", ".")
# From here on a bisection reads the rest at once.
_NEAR = 1 << 14


def list_case(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """List one record a person and clip, as the column ``video`` of the ratings says; its stimulus is ``scary_1`` and the like.

    Raises
    ------
    DataError
        The folder ``interpolated/annotations`` is not there.
    """
    base = next((root / f for f in _FOLDERS if (root / f / "annotations").is_dir()), None)
    if base is None:
        raise DataError(f"{root}: no folder interpolated/annotations of CASE")
    paths = sorted((base / "annotations").glob("sub_*.csv"), key=lambda p: natural(p.name))
    if not paths:
        raise DataError(f"{base / 'annotations'}: no file sub_<number>.csv of CASE")
    for path in paths:
        physiology = base / "physiological" / path.name
        if not physiology.is_file():
            yield Found(path.stem, path.stem, path, reason=f"{physiology.relative_to(root)} is missing")
            continue
        try:
            yield from _clips(path, physiology)
        except DataError as error:
            yield Found(path.stem, path.stem, path, reason=str(error))


def _clips(path: Path, physiology: Path) -> Iterator[Found]:
    columns = read_columns(path, ("jstime", "video"))
    video, time = columns["video"], columns["jstime"]
    _forward(time, path, 2)
    edges = np.flatnonzero(np.diff(video)) + 1
    seen: set[float] = set()
    for first, stop in zip([0, *edges], [*edges, video.size], strict=True):
        number = video[first]
        # 10, 11 and 12 are the start, the blue screen between clips and the end.
        if number not in STIMULI:
            continue
        stimulus = STIMULI[int(number)]
        found = Found(f"{path.stem}/{stimulus}", path.stem, physiology, stimulus=stimulus)
        if number in seen:
            raise DataError(f"{path}, line {first + 2}: video {number:g} is shown a second time")
        seen.add(number)
        if time[stop - 1] - time[first] > _LONGEST_MS:
            raise DataError(f"{path}, line {first + 2}: video {number:g} lasts more than an hour")
        start_ms = float(time[first])
        options = {"start_ms": start_ms, "stop_ms": float(time[stop - 1]) + _STEP_MS, "bytes": path.stat().st_size}
        options["session_s"] = start_ms / 1000
        yield Found(found.record, found.subject, physiology, options=options, stimulus=stimulus)


def open_case(entry: Entry) -> LazySource:
    """Open one clip: the physiology, and the channels ``valence`` and ``arousal`` (20 Hz, ``0.5..9.5``).

    Raises
    ------
    DataError
        A file is not readable, a column is missing, a rating is NaN or off the scale, times run backwards.
    """
    start, stop = float(needed(entry, "start_ms")), float(needed(entry, "stop_ms"))
    ratings = _ratings(entry.path.parents[1] / "annotations" / entry.path.name, start, stop)
    table = _open(entry.path)
    chosen = match([*UNITS], entry.channels, str(entry.path))
    names = {ours: list(UNITS)[position] for ours, (_, position) in chosen.items()}
    missing = [name for name in names.values() if name not in table.names]
    if missing:
        raise DataError(f"{entry.path}: no column '{missing[0]}'; it has {', '.join(table.names)}")

    def fetch(first: int, last: int) -> dict[str, F32]:
        part = table.read(start + first * _STEP_MS, start + last * _STEP_MS, list(names.values()))
        out = {ours: part[name] for ours, name in names.items()}
        return out | {name: values[first:last] for name, values in ratings.items()}

    infos = {ours: ChannelInfo(ours, kind_of(ours), UNITS[name], FS_HZ) for ours, name in names.items()}
    infos |= {name: ChannelInfo(name, "label", unit_of(SCALE), LABEL_HZ) for name in ratings}
    return LazySource(
        entry=entry,
        channels=infos,
        source_names=names | {name: name for name in ratings},
        fs=LABEL_HZ,
        frames=round((stop - start) / _STEP_MS),
        fetch=fetch,
    )


def _ratings(path: Path, start_ms: float, stop_ms: float) -> dict[str, F32]:
    """Return valence and arousal of a clip on an even grid; columns are found by name, whatever their order."""
    columns = read_columns(path, ("jstime", *_LABELS))
    time = columns["jstime"]
    rows = np.flatnonzero((time >= start_ms) & (time < stop_ms))
    _forward(time[rows], path, int(rows[0]) + 2 if rows.size else 2)
    place = np.rint((time[rows] - start_ms) / _STEP_MS).astype(np.int64)
    laid = {}
    for name in _LABELS:
        values = check_scale(name, columns[name][rows], SCALE, str(path), first_row=int(rows[0]) + 2 if rows.size else 2)
        laid[name] = np.full(round((stop_ms - start_ms) / _STEP_MS), np.nan, np.float32)
        laid[name][place] = values
    return laid


# --------------------------------------------------------------------------------------------------- the table by its time
@dataclass(frozen=True, slots=True)
class _Table:
    """A CSV sorted by its column of time in milliseconds."""

    path: Path
    names: tuple[str, ...]
    body: int  # first byte after the heading
    size: int

    def read(self, start_ms: float, stop_ms: float, wanted: list[str]) -> dict[str, F32]:
        """Return columns on an even grid of 1000 Hz from ``start_ms`` up to ``stop_ms``, NaN where there is no row."""
        first, last = self._find(start_ms), self._find(stop_ms)
        with self.path.open("rb") as stream:
            stream.seek(first)
            values = self._parse(stream.read(last - first))
        time = values[:, self.names.index("daqtime")]
        _forward(time, self.path, None)
        count = round((stop_ms - start_ms) * FS_HZ / 1000)
        spot = np.rint((time - start_ms) * FS_HZ / 1000)
        inside = (spot >= 0) & (spot < count)
        place = spot[inside].astype(np.int64)
        out = {}
        for name in wanted:
            out[name] = np.full(count, np.nan, np.float32)
            out[name][place] = as_samples(values[inside, self.names.index(name)])
        return out

    def _find(self, time_ms: float) -> int:
        """Return the byte where the first row of this time or later begins."""
        low, high = self.body, self.size
        column = self.names.index("daqtime")
        with self.path.open("rb") as stream:
            while high - low > _NEAR:
                middle = (low + high) // 2
                stream.seek(middle)
                stream.readline()
                begin = stream.tell()
                line = stream.readline()
                if line and self._time(line, column) < time_ms:
                    low = begin
                else:
                    high = middle
            stream.seek(low)
            # A row that begins before `high` may end after it.
            while (begin := stream.tell()) < self.size:
                line = stream.readline()
                if not line.strip() or self._time(line, column) >= time_ms:
                    return begin
        return self.size

    def _time(self, line: bytes, column: int) -> float:
        try:
            return float(line.split(b",")[column])
        except (ValueError, IndexError) as error:
            raise DataError(f"{self.path}: '{line[:40].decode('latin-1').strip()}' is no row of the table") from error

    def _parse(self, data: bytes) -> F64:
        """Parse rows; a row with another number of cells, or a cell without a number, is named by its text."""
        width = len(self.names)
        rows = data.count(b"\n") + (not data.endswith(b"\n") and bool(data.strip()))
        values = parse_numbers(data)
        if values is None or values.size != rows * width:
            raise DataError(f"{self.path}: {self._wrong(data)}")
        return values.reshape(-1, width)

    def _wrong(self, data: bytes) -> str:
        for line in data.splitlines():
            cells = line.split(b",")
            try:
                [float(cell) for cell in cells]
            except ValueError:
                return f"row '{line[:60].decode('latin-1')}' holds a cell that is no number"
            if len(cells) != len(self.names):
                return f"row '{line[:60].decode('latin-1')}' has {len(cells)} cells; need {len(self.names)}"
        return "its rows are not readable"


def _open(path: Path) -> _Table:
    size = check_file(path)
    head, mark, _ = read_start(path, 4096).partition(b"\n")
    names = tuple(word.strip().strip('"').lower() for word in head.decode("utf-8-sig", errors="replace").split(","))
    if "daqtime" not in names or not mark:
        raise DataError(f"{path}: no column 'daqtime'; it has {', '.join(names)[:120]}")
    return _Table(path, names, len(head) + 1, size)


def _forward(time: F64, path: Path, first_line: int | None) -> None:
    wrong = np.flatnonzero(~(np.diff(time) > 0))
    if wrong.size or not np.isfinite(time).all():
        row = int(wrong[0]) + 1 if wrong.size else 0
        where = f", line {first_line + row}" if first_line else ""
        raise DataError(f"{path}{where}: its time is missing, or not later than that of the row before ({time[row]:g} ms)")
