"""Samples as lines of text from standard input: CSV with a heading, or JSON lines.

CSV: the first line names the columns, with units in brackets where there are any (``time, PLETH [a.u.], II [mV]``); each
further line is one sample of every channel. A column of time stamps in seconds (``time_ms``: milliseconds) tells the rate and
what is lost; without one the rate has to be given. An empty cell is a lost sample.

JSON lines: the first line tells the channels, ``{"channels": {"PLETH": {"fs_hz": 125, "unit": "a.u."}, "II": 250}}``; each
further line holds samples, ``{"at_s": 12.0, "PLETH": [0.1, null, 0.3], "II": [0.2]}``, of any number; null is a lost sample and
``at_s``, when the first of them was taken, may be left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from biosig_mtl.data.readers.channels import match, shown
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.live.line_blocks import WHERE, Lines, Readable
from biosig_mtl.live.sources import Tally, split_at_gaps
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, RecipeError

# Rows or seconds from whose stamps the rate is found.
LOOK_ROWS, LEAST_ROWS, LOOK_S = 256, 16, 2.0
# So many unreadable lines one after the other are no glitch of a cable.
MOST_BAD = 50
_LONGEST_HEADING, _LONGEST_CELL, _MOST_COLUMNS = 1 << 18, 200, 4096
# What no recorder does.
FASTEST_HZ, SLOWEST_HZ = 1e6, 1e-3
_TIME = re.compile(r"(t|time|timestamp|seconds|sec|elapsed|at)(_?(s|ms))?", re.IGNORECASE)
_HEADING = re.compile(r"(?P<name>.*?)\s*(?:[\[(](?P<unit>[^\])]*)[\])])?\s*")
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "--", "?"})


@dataclass(frozen=True)
class LineSettings:
    """How lines are read.

    Parameters
    ----------
    channels
        Our channel names to those of the heading; empty: guessed by name.
    only
        Our names that are wanted; empty: all.
    fs_hz
        Rate of CSV rows; None: from the column of time stamps.
    """

    channels: Mapping[str, tuple[str, ...]]
    only: tuple[str, ...] = ()
    fs_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.fs_hz is not None and not 0 < self.fs_hz < math.inf:
            raise ValueError(f"need fs_hz > 0, got {self.fs_hz}")


class LineSource:
    """Samples as lines of text.

    The heading, and of CSV with time stamps as many rows as tell the rate, are read at once; the rest as it arrives. A line
    that cannot be read is a lost sample (of CSV) or is left out (JSON), and is told with its number in `notes`.

    Parameters
    ----------
    stream
        Where the lines come from.
    settings
        See `LineSettings`.

    Raises
    ------
    DataError
        There is no heading, none of its channels is known, or the rate cannot be told: one line that says which line is wrong.
    """

    def __init__(self, stream: Readable, settings: LineSettings) -> None:
        """Read the heading."""
        self._lines = Lines(stream)
        self._tally = Tally(f"{WHERE}, line", MOST_BAD)
        first = self._first()
        if first is None:
            raise DataError(f"{WHERE}: ended before the heading; the first line names the channels")
        make = _Json if first.lstrip().startswith("{") else _Csv
        self._form: _Form = make(first, settings, self._tally)
        self._begun = [] if self._form.settle([]) else self._look()

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """What will arrive."""
        return self._form.channels

    @property
    def name(self) -> str:
        """What it is."""
        return "stdin"

    @property
    def notes(self) -> list[str]:
        """Lines that could not be read."""
        return self._tally.notes

    def close(self) -> None:
        """End with the next line."""
        self._lines.closed = True

    def chunks(self) -> Iterator[Chunk | None]:
        """Yield what arrives.

        Raises
        ------
        DataError
            So many lines one after the other cannot be read that this is no recording.
        """
        yield from self._begun
        for block in self._lines.blocks():
            yield from self._form.take(block) if block else [None]

    def _first(self) -> str | None:
        for block in self._lines.blocks():
            for place, (_, text) in enumerate(block):
                if text.strip():
                    self._lines.give_back(block[place + 1 :])
                    return text
        return None

    def _look(self) -> list[Chunk]:
        rows: list[tuple[int, str]] = []
        for block in self._lines.blocks():
            rows += block
            if self._form.settle(rows):
                break
        else:
            self._form.settle(rows, last=True)
        return list(self._form.take(rows))


class _Form(Protocol):
    @property
    def channels(self) -> Mapping[str, ChannelInfo]: ...

    def settle(self, rows: Sequence[tuple[int, str]], *, last: bool = False) -> bool: ...

    def take(self, lines: Sequence[tuple[int, str]]) -> Iterator[Chunk]: ...


# -------------------------------------------------------------------------------------------------------------------- CSV
class _Csv:
    def __init__(self, heading: str, settings: LineSettings, tally: Tally) -> None:
        self._comma = max(",;\t", key=heading.count)
        if len(heading) > _LONGEST_HEADING or heading.count(self._comma) >= _MOST_COLUMNS:
            raise DataError(f"{WHERE}, line 1: {len(heading)} letters; need a name a column, {_MOST_COLUMNS} at most")
        cells = [_HEADING.fullmatch(cell.strip().strip('"')[:_LONGEST_CELL]) for cell in heading.split(self._comma)]
        names = [shown(m["name"]) if m else "" for m in cells]
        units = [shown(m["unit"] or "") if m else "" for m in cells]
        if all(_number(name) is not None for name in names):
            raise DataError(f"{WHERE}, line 1: holds numbers; the first line names the columns, as in: time,ppg,ecg")
        self._width, self._tally = len(names), tally
        self._time = next((k for k, name in enumerate(names) if _TIME.fullmatch(name)), None)
        in_ms = self._time is not None and (units[self._time] == "ms" or names[self._time].lower().endswith("ms"))
        self._scale = 1e-3 if in_ms else 1.0
        spots = [k for k in range(len(names)) if k != self._time]
        chosen = _chosen([names[k] for k in spots], settings)
        self._columns = {ours: spots[spot] for ours, (_, spot) in chosen.items()}
        self._kinds = {ours: (kind, units[spots[spot]]) for ours, (kind, spot) in chosen.items()}
        self._fs = settings.fs_hz
        if self._fs is None and self._time is None:
            raise DataError(f"{WHERE}: no column of time stamps ({', '.join(names[:6])}); say the rate of the rows with --fs")

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        fs = self._fs or math.nan
        return {ours: ChannelInfo(ours, kind, unit, fs) for ours, (kind, unit) in self._kinds.items()}

    def settle(self, rows: Sequence[tuple[int, str]], *, last: bool = False) -> bool:
        """Find the rate in the stamps of the first rows; return False where they are wanted and there are too few yet."""
        if self._fs is None and (rows or last):
            # Read again later: then what is wrong is told.
            times = self._read(rows, Tally("", len(rows) + 1))[1]
            known = times[np.isfinite(times)]
            if last or len(rows) >= LOOK_ROWS or (known.size >= LEAST_ROWS and known[-1] - known[0] >= LOOK_S):
                self._fs = _rate(times)
        return self._fs is not None

    def take(self, lines: Sequence[tuple[int, str]]) -> Iterator[Chunk]:
        values, times = self._read([line for line in lines if line[1].strip()], self._tally)
        fs = self._fs or math.nan
        for part, at_s in split_at_gaps(times, fs) if self._time is not None else [(slice(None), None)]:
            if values[part].size:
                yield Chunk({ours: as_samples(values[part, k]) for k, ours in enumerate(self._columns)}, at_s)

    def _read(self, lines: Sequence[tuple[int, str]], tally: Tally) -> tuple[F64, F64]:
        """Return samples, shape (row, channel), and stamps in seconds, NaN where a line is none."""
        values = np.full((len(lines), len(self._columns)), np.nan)
        times = np.full(len(lines), np.nan)
        for row, (number, text) in enumerate(lines):
            cells = [cell.strip().strip('"') for cell in text.split(self._comma)]
            if len(cells) != self._width:
                tally.bad(number, f"{len(cells)} cells, the heading has {self._width}")
                continue
            numbers = [_number(cells[k]) for k in self._columns.values()]
            stamp = math.nan if self._time is None else _stamp(cells[self._time], self._scale)
            if None in numbers or stamp is None:
                wrong = next((cells[k] for k in self._columns.values() if _number(cells[k]) is None), cells[self._time or 0])
                tally.bad(number, f"'{shown(wrong[:30])}' is no number")
                continue
            tally.good()
            values[row], times[row] = numbers, stamp
        return values, times


def _number(text: str) -> float | None:
    """Return a number, NaN for a word that means none, None for what is neither."""
    try:
        return float(text)
    except ValueError:
        return math.nan if text.lower() in _MISSING else None


def _stamp(text: str, scale: float) -> float | None:
    """Return a time stamp in seconds: a number, or a date as ISO 8601 writes it."""
    found = _number(text)
    if found is not None:
        return found * scale
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _rate(times: F64) -> float:
    known = np.flatnonzero(np.isfinite(times))
    steps = np.diff(times[known]) / np.maximum(np.diff(known), 1)
    if not steps.size or not (steps > 0).any():
        raise DataError(f"{WHERE}: the time stamps of the first {len(times)} rows do not advance; say the rate with --fs")
    usual = float(np.median(steps[steps > 0]))
    kept = steps[(steps >= 0) & (steps < 3 * usual)]
    step, span = float(kept.mean()), float(kept.sum())
    if not 1 / FASTEST_HZ <= step <= 1 / SLOWEST_HZ:
        raise DataError(f"{WHERE}: the time stamps of the first rows are {step:g} s apart; say the rate with --fs")
    fs = 1 / step
    # Stamps to the millisecond tell the rate to about a millisecond in their span: the roundest rate within that is meant.
    for whole in (1.0, 2.0, 8.0):
        nice = round(fs * whole) / whole
        if nice and abs(fs / nice - 1) < 0.003 / span:
            return nice
    return fs


# ------------------------------------------------------------------------------------------------------------------- JSON
class _Json:
    def __init__(self, heading: str, settings: LineSettings, tally: Tally) -> None:
        self._tally = tally
        told = _object(heading).get("channels")
        if not isinstance(told, dict) or not told:
            raise DataError(f'{WHERE}, line 1: no channels; write {{"channels": {{"ppg": {{"fs_hz": 125, "unit": "a.u."}}}}}}')
        infos = [_told(name, about) for name, about in told.items()]
        chosen = _chosen([name for name, _, _ in infos], settings)
        self._names = {infos[spot][0]: ours for ours, (_, spot) in chosen.items()}
        self._present = {name for name, _, _ in infos}
        self.channels: Mapping[str, ChannelInfo] = {
            ours: ChannelInfo(ours, kind, infos[spot][2], infos[spot][1]) for ours, (kind, spot) in chosen.items()
        }

    def settle(self, rows: Sequence[tuple[int, str]], *, last: bool = False) -> bool:
        """Everything was told by the first line."""
        del rows, last
        return True

    def take(self, lines: Sequence[tuple[int, str]]) -> Iterator[Chunk]:
        for number, text in lines:
            if not text.strip():
                continue
            try:
                chunk = self._chunk(text)
            except (ValueError, TypeError, OverflowError, DataError, RecursionError) as error:
                self._tally.bad(number, shown(str(error)))
                continue
            self._tally.good()
            yield chunk

    def _chunk(self, text: str) -> Chunk:
        content = _object(text)
        at = content.pop("at_s", None)
        unknown = next((name for name in content if name not in self._present), None)
        if unknown is not None:
            raise ValueError(f"'{unknown[:30]}' is not among the channels of the first line")
        samples = {self._names[name]: _samples(name, values) for name, values in content.items() if name in self._names}
        at_s = None if at is None else float(at)
        if at_s is not None and not math.isfinite(at_s):
            raise ValueError(f"at_s is {at_s}")
        return Chunk(samples, at_s)


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{WHERE}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{WHERE}: need an object in braces")
    return content


def _told(name: str, about: Any) -> tuple[str, float, str]:
    fs = about.get("fs_hz") if isinstance(about, dict) else about
    if isinstance(fs, bool) or not isinstance(fs, int | float) or not SLOWEST_HZ <= fs <= FASTEST_HZ:
        raise DataError(
            f"{WHERE}, line 1: channel '{shown(name)}': need a rate fs_hz above 0, got {str(fs)[:40]} "
            f"({SLOWEST_HZ:g} to {FASTEST_HZ:g} Hz)"
        )
    return name, float(fs), shown(str(about.get("unit", ""))) if isinstance(about, dict) else ""


def _samples(name: str, values: Any) -> F32:
    if not isinstance(values, list):
        raise ValueError(f"'{name}' is no list of numbers")
    if not all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        raise ValueError(f"'{name}' holds what is no number")
    return as_samples(np.array([math.nan if value is None else value for value in values], np.float64))


def _chosen(names: list[str], settings: LineSettings) -> dict[str, tuple[str, int]]:
    found = match(names, settings.channels, WHERE)
    chosen = {ours: place for ours, place in found.items() if not settings.only or ours in settings.only}
    if not chosen:
        raise RecipeError(
            f"{WHERE}: none of the channels {', '.join(settings.only)} in {', '.join(names)}; "
            "say which is which with --channel OURS=THEIRS"
        )
    return chosen
