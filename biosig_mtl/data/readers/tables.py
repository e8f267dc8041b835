"""One's own recording as a table (CSV or Parquet): a column a channel, a row a sample."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from biosig_mtl.data.readers.channels import match, shown
from biosig_mtl.data.readers.clock import DAY_S
from biosig_mtl.data.readers.csv_file import open_csv
from biosig_mtl.data.readers.parquet_file import open_parquet
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, F64, I64, ChannelInfo, DataError, Entry

_TIME = re.compile(r"(time\b.*|t|timestamp.*|timer?|elapsed.*|date_?time|seconds|sec|time_?(s|ms)?)", re.IGNORECASE)
_LOOK = 2000
# A stamp may be this far from its place, in samples: half, and the rounding of stamps written to the millisecond.
_OFF_GRID = 0.75
_ABSURD = 1000
FASTEST_HZ = 1e6
LATEST_S = 1e12
"""No clock counts so many seconds."""
# Rows may be missing in time: the NaN in their places are not written in the file, so a small file could ask for much memory.
_FREE_SAMPLES, _SAMPLES_PER_ROW = 1 << 23, 20


class Table(Protocol):
    """What the formats of tables have in common."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""

    @property
    def units(self) -> tuple[str, ...]:
        """Units of the columns, empty where the file has none."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    @property
    def mark_rows(self) -> I64:
        """Rows, in order from 0, whose time stamps are looked up beforehand."""

    def mark_times(self, time: int) -> F64:
        """Return the time stamps of those rows in seconds."""

    def read(self, first: int, stop: int, columns: list[int], time: int | None) -> dict[int, F64]:
        """Return columns of some rows."""

    def line(self, row: int) -> int:
        """Return what to call a row in a message."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where rows lie in time. Without gaps row *i* is sample *i*; with gaps the stamps say which sample a row is."""

    fs: float
    frames: int
    start_s: float
    gaps: bool
    time: int | None
    scale: float
    mark_s: F64


def open_table(entry: Entry) -> LazySource:
    """Open a table.

    ``entry.options`` may say ``fs_hz`` (rows are samples at that rate; time stamps are then not looked at) and ``time`` (name
    of the time column). Without ``fs_hz`` the rate is found from the time stamps; where rows are missing in time the channels
    are NaN.

    Raises
    ------
    DataError
        No rows, no time column and no ``fs_hz``, stamps that go back or are uneven (the line is named), cells that are no
        numbers.
    """
    table: Table = open_parquet(entry.path) if entry.path.suffix.lower() in {".parquet", ".pq"} else open_csv(entry.path)
    time = _time_column(table, entry)
    grid = _grid(table, entry, time)
    positions = [n for n in range(len(table.names)) if n != time]
    chosen = match([table.names[p] for p in positions], entry.channels, str(entry.path))
    columns = {ours: positions[spot] for ours, (_, spot) in chosen.items()}
    if (grid.frames - _SAMPLES_PER_ROW * table.rows) * len(columns) > _FREE_SAMPLES:
        raise DataError(
            f"{table.path}: {table.rows} rows of {len(columns)} channels lie scattered over {grid.frames} samples: "
            "are the time stamps right? If so, cut the file where the recording paused"
        )
    notes = []
    if time is not None and grid.time is None:
        notes.append(f"{shown(entry.path.name)}: time column '{shown(table.names[time])}' is not used, since fs_hz is given")
    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, chosen[ours][0], shown(table.units[c]), grid.fs) for ours, c in columns.items()},
        source_names={ours: shown(table.names[c]) for ours, c in columns.items()},
        fs=grid.fs,
        frames=grid.frames,
        fetch=lambda first, stop: _fetch(table, grid, columns, first, stop),
        notes=tuple(notes),
    )


def _time_column(table: Table, entry: Entry) -> int | None:
    wanted = entry.options.get("time")
    if wanted is not None:
        if wanted not in table.names:
            raise DataError(f"{entry.path}: no column '{wanted}'; it has {', '.join(table.names)}")
        return table.names.index(wanted)
    return next((n for n, name in enumerate(table.names) if _TIME.fullmatch(name.strip())), None)


def _grid(table: Table, entry: Entry, time: int | None) -> _Grid:
    given = entry.options.get("fs_hz")
    if given is not None or time is None:
        if given is None:
            raise DataError(
                f"{table.path}: no time column ({', '.join(table.names[:6])}); say the sampling rate (option fs_hz)"
            )
        return _Grid(_given_rate(given, table), table.rows, 0.0, gaps=False, time=None, scale=1.0, mark_s=np.empty(0))
    scale = 1e-3 if table.units[time].lower() in {"ms", "msec"} or table.names[time].lower().endswith("_ms") else 1.0
    start = _sensible(table.read(0, min(_LOOK, table.rows), [], time)[time], scale, table)
    end = table.read(table.rows - 1, table.rows, [], time)[time]
    marks = _unwrap(_sensible(np.concatenate([table.mark_times(time), end]), scale, table))
    fs = _rate(table, start)
    span = marks[-1] - marks[0]
    rows = np.append(table.mark_rows, table.rows - 1)
    if span <= 0:
        raise DataError(f"{table.path}: the last time stamp is not later than the first")
    whole = (table.rows - 1) / span
    even = abs(whole / fs - 1) < 2e-3 and np.abs((marks - marks[0]) * whole - rows).max() <= _OFF_GRID
    fs = _rounded(whole if even else fs, span)
    frames = table.rows if even else int(np.rint(span * fs)) + 1
    if frames > _ABSURD * table.rows:
        raise DataError(f"{table.path}: {table.rows} rows at {fs:g} Hz span {span:.0f} s: time stamps or rate are wrong")
    return _Grid(fs, frames, float(marks[0]), gaps=not even, time=time, scale=scale, mark_s=marks[:-1])


def _given_rate(given: object, table: Table) -> float:
    try:
        fs = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        fs = 0.0
    if not 0 < fs <= FASTEST_HZ:
        raise DataError(f"{table.path}: option fs_hz: need a rate above 0, got {str(given)[:40]} (at most {FASTEST_HZ:g})")
    return fs


def _sensible(times: F64, scale: float, table: Table) -> F64:
    """Return time stamps in seconds; raise `DataError` where one is missing, or so large that nothing can be counted in it."""
    wrong = np.flatnonzero(~(np.abs(times) <= LATEST_S / scale))
    if wrong.size:
        raise DataError(f"{table.path}: a time stamp is missing or out of range: {times[wrong[0]]:g}")
    return times * scale


def _rate(table: Table, start: F64) -> float:
    steps = np.diff(start)
    if steps.size == 0 or not (steps > 0).any():
        raise DataError(f"{table.path}: the time stamps do not advance; say the sampling rate (option fs_hz)")
    usual = np.median(steps[steps > 0])
    # Stamps that are rounded to the millisecond are right on average; steps across a gap are left out.
    step = float(np.mean(steps[(steps >= 0) & (steps < 3 * usual)]))
    if not step * FASTEST_HZ >= 1:
        raise DataError(f"{table.path}: its time stamps are {step:g} s apart: say the sampling rate (option fs_hz)")
    return 1 / step


def _rounded(fs: float, span: float) -> float:
    """Return the nearest eighth of a hertz where the stamps cannot tell it from that."""
    nice = round(fs * 8) / 8
    return float(nice if nice and abs(fs / nice - 1) < max(1e-5, 0.002 / span) else fs)


def _unwrap(times: F64) -> F64:
    """Let a clock that fell back to 0 at midnight go on."""
    days: F64 = times + DAY_S * np.concatenate([[0.0], np.cumsum(np.diff(times) < -DAY_S / 2)])
    return days


def _fetch(table: Table, grid: _Grid, columns: dict[str, int], first: int, stop: int) -> dict[str, F32]:
    if first >= stop:
        return {ours: np.empty(0, np.float32) for ours in columns}
    rows = _rows(table, grid, first, stop)
    values = table.read(*rows, list(columns.values()), grid.time)
    if grid.time is None:
        return {ours: as_samples(values[c]) for ours, c in columns.items()}
    places = _places(table, grid, _sensible(values[grid.time], grid.scale, table), rows[0])
    if not grid.gaps:
        return {ours: as_samples(values[c]) for ours, c in columns.items()}
    inside = (places >= first) & (places < stop)
    out = {}
    for ours, c in columns.items():
        out[ours] = np.full(stop - first, np.nan, np.float32)
        out[ours][places[inside] - first] = as_samples(values[c][inside])
    return out


def _rows(table: Table, grid: _Grid, first: int, stop: int) -> tuple[int, int]:
    """Return the rows that hold some samples; with gaps, generously."""
    if not grid.gaps:
        return first, stop
    marks = np.rint((grid.mark_s - grid.start_s) * grid.fs)
    begin = max(int(np.searchsorted(marks, first, "right")) - 1, 0)
    end = int(np.searchsorted(marks, stop, "left"))
    return int(table.mark_rows[begin]), int(table.mark_rows[end]) if end < marks.size else table.rows


def _places(table: Table, grid: _Grid, times: F64, row: int) -> I64:
    """Return which sample each row is; raise `DataError` that names the first line that is none."""
    mark = int(np.searchsorted(table.mark_rows, row, "right")) - 1
    # Clocks start again at midnight: the mark before this row knows the day.
    times = times + DAY_S * np.ceil(max(grid.mark_s[mark] - times[0] - DAY_S / 2, 0) / DAY_S)
    exact = (times - grid.start_s) * grid.fs
    places: I64 = np.rint(exact).astype(np.int64)
    if grid.gaps:
        steps = np.diff(places, prepend=places[0] - 1)
        wrong = np.flatnonzero((steps < 1) | (np.abs(exact - places) > 0.4))
    else:
        wrong = np.flatnonzero(np.abs(exact - row - np.arange(times.size)) > _OFF_GRID)
    if wrong.size:
        line = table.line(row + int(wrong[0]))
        raise DataError(
            f"{table.path}, line {line}: time stamps are uneven for {grid.fs:g} Hz (or go back); "
            "if the rows are evenly sampled all the same, say the rate (option fs_hz)"
        )
    return places
