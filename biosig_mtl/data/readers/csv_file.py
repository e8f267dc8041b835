"""Text tables, read by blocks: the delimiter, the heading and the unit line are found, any part is reached without the rest."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.data.readers.clock import in_seconds, parse_clock
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.types import F64, I64, DataError

if TYPE_CHECKING:
    import pandas as pd

_ROWS_PER_MARK = 1 << 15
_BLOCK_BYTES = 1 << 22
# Quotes and the brackets around time stamps carry nothing in a table of numbers; some exports quote whole lines.
_NOISE = str.maketrans("", "", "\"'[]")
_MISSING = ("-", "--", "NA", "N/A", "null", "none", "None", "?")
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A text table. ``marks`` are (row, byte) of every 32,768th row, by which a part is found."""

    path: Path
    encoding: str
    delimiter: str
    decimal: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    rows: int
    heading_lines: int
    marks: I64 = field(repr=False)

    @property
    def mark_rows(self) -> I64:
        """Rows at which reading can begin."""
        rows: I64 = self.marks[:, 0]
        return rows

    def mark_times(self, time: int) -> F64:
        """Return the time stamps of those rows."""
        return np.array([self.read(int(row), int(row) + 1, [], time)[time][0] for row in self.mark_rows])

    def read(self, first: int, stop: int, columns: list[int], time: int | None) -> dict[int, F64]:
        """Return columns of the rows ``first`` up to ``stop``; the column ``time`` as seconds, the others as they stand.

        Raises
        ------
        DataError
            A cell is no number: the line is named.
        """
        import pandas as pd

        mark = int(np.searchsorted(self.marks[:, 0], first, "right")) - 1
        after = int(np.searchsorted(self.marks[:, 0], stop, "left"))
        wanted = sorted({*columns, *([time] if time is not None else [])})
        try:
            frame = pd.read_csv(
                io.StringIO(self._text(mark, after)),
                sep=r"\s+" if self.delimiter == " " else self.delimiter,
                header=None,
                index_col=False,
                names=range(len(self.names)),
                usecols=wanted,
                skiprows=first - int(self.marks[mark, 0]),
                nrows=stop - first,
                decimal=self.decimal,
                na_values=_MISSING,
                low_memory=False,
                skipinitialspace=True,
                quoting=csv.QUOTE_NONE,
            )
        except (ValueError, OSError) as error:
            what = str(error).splitlines()[0][:100]
            raise DataError(f"{self.path}: not readable near line {self.line(first)}: {what}") from error
        if len(frame) != stop - first:
            raise DataError(f"{self.path}: holds {len(frame)} of the {stop - first} rows that follow line {self.line(first)}")
        out = {c: self._numbers(frame[c], first, self.names[c]) for c in columns if c != time}
        if time is not None:
            out[time] = self._seconds(frame[time], first)
        return out

    def line(self, row: int) -> int:
        """Return the line of a row, counted from 1 as editors do."""
        return row + 1 + self.heading_lines

    def _text(self, mark: int, after: int) -> str:
        """Return the text between two marks without quotes and brackets."""
        begin = int(self.marks[mark, 1])
        with self.path.open("rb") as stream:
            stream.seek(begin)
            data = stream.read(int(self.marks[after, 1]) - begin if after < len(self.marks) else -1)
        return data.decode(self.encoding, errors="replace").translate(_NOISE)

    def _seconds(self, stamps: pd.Series[Any], first: int) -> F64:
        if stamps.dtype.kind in "fi" and stamps.notna().all():
            return in_seconds(stamps.to_numpy(dtype=np.float64))
        words = stamps.fillna("").to_numpy(dtype=str)
        return parse_clock(np.char.strip(words), str(self.path), self.line(first))

    def _numbers(self, values: pd.Series[Any], first: int, name: str) -> F64:
        import pandas as pd

        if values.dtype.kind not in "fi":
            # A column of which pandas could not read a cell: either that cell only needs trimming, or it is no number.
            texts = values.astype(str).str.strip()
            texts = texts.where(values.notna() & ~texts.isin(["", *_MISSING]))
            values = pd.to_numeric(texts, errors="coerce")
            wrong = np.flatnonzero(values.isna() & texts.notna() & (texts.str.lower() != "nan"))
            if wrong.size:
                spot = int(wrong[0])
                line = self.line(first + spot)
                raise DataError(f"{self.path}, line {line}: '{texts.iloc[spot][:30]}' in column '{name}' is no number")
        return values.to_numpy(dtype=np.float64)


def open_csv(path: Path) -> CsvTable:
    """Look at the start of a table, and count its rows."""
    check_file(path)
    head = read_start(path, 1 << 16)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise DataError(f"{path}: UTF-16 tables are not readable; save it as UTF-8")
    encoding, skip = _encoding(head)
    if b"\0" in head[skip:]:
        raise DataError(f"{path}: is not a text table (it holds zero bytes)")
    text = head[skip:].decode(encoding, errors="replace")
    lines = [line.translate(_NOISE) for line in text.splitlines()]
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise DataError(f"{path}: the table holds nothing")
    delimiter = _delimiter(filled)
    table = [_cells(line, delimiter) for line in filled[:4]]
    headings = _headings(table)
    if headings == len(filled):
        raise DataError(f"{path}: has a heading and no rows")
    names, units = _names(table, headings)
    marks, rows = _marks(path, skip, headings)
    body = filled[headings : headings + 50]
    decimal = "," if delimiter != "," and any("," in line for line in body) and not any("." in line for line in body) else "."
    return CsvTable(path, encoding, delimiter, decimal, names, units, rows, headings, marks)


def _cells(line: str, delimiter: str) -> list[str]:
    return line.split() if delimiter == " " else [cell.strip() for cell in line.split(delimiter)]


def _encoding(head: bytes) -> tuple[str, int]:
    skip = 3 if head[:3] == b"\xef\xbb\xbf" else 0
    try:
        head[skip : len(head) - 4].decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1", skip
    return "utf-8", skip


def _delimiter(lines: list[str]) -> str:
    # The right one cuts most lines into the same number of cells, and into many.
    sample = lines[:50]

    def score(mark: str) -> tuple[bool, int]:
        counts = [line.count(mark) for line in sample]
        return (min(counts) > 0 and max(counts) == min(counts), min(counts))

    best = max([";", "\t", ",", "|", " "], key=score)
    return best if score(best)[1] > 0 else ","


def _headings(table: list[list[str]]) -> int:
    """Return the number of lines before the first row of values: a row without a number and without a missing mark."""
    for number, cells in enumerate(table):
        if any(_is_value(cell) for cell in cells):
            return number
    return min(len(table), 2)


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell)) or cell in _MISSING or cell.lower() == "nan" or bool(re.match(r"\d+[:\-/]\d", cell))


def _names(table: list[list[str]], headings: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    width = len(table[min(headings, len(table) - 1)])
    if headings == 0:
        return tuple(f"column_{n + 1}" for n in range(width)), ("",) * width
    heads = (table[0] + [""] * width)[:width]
    units = (table[1] + [""] * width)[:width] if headings > 1 else [""] * width
    names = []
    for number, head in enumerate(heads):
        # A unit may stand in the name itself: "Time [s]" has lost its brackets by now, "PPG (a.u.)" has not.
        found = re.fullmatch(r"(.*?)\s*\((.*)\)", head)
        names.append((found[1] if found else head) or f"column_{number + 1}")
        units[number] = units[number] or (found[2] if found else "")
    return tuple(names), tuple(units)


def _marks(path: Path, skip: int, headings: int) -> tuple[I64, int]:
    """Count lines, and note where every 32,768th row begins; lines of nothing but a line end are not rows."""
    marks: list[tuple[int, int]] = []
    row, offset = -headings, skip
    with path.open("rb") as stream:
        stream.seek(skip)
        pending = b""
        while block := stream.read(_BLOCK_BYTES):
            data = pending + block
            cut = data.rfind(b"\n") + 1
            starts = _row_starts(data[:cut])
            row = _note(marks, starts, row, offset)
            offset, pending = offset + cut, data[cut:]
        if pending.strip():
            row = _note(marks, np.zeros(1, np.int64), row, offset)
    if row <= 0:
        raise DataError(f"{path}: has a heading and no rows")
    return np.array(marks, dtype=np.int64), row


def _row_starts(data: bytes) -> I64:
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == 10)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if ends.size else np.empty(0, np.int64)
    lengths = ends - starts
    blank = (lengths == 0) | ((lengths == 1) & (codes[starts] == 13)) if ends.size else np.empty(0, bool)
    filled: I64 = starts[~blank]
    return filled


def _note(marks: list[tuple[int, int]], starts: I64, row: int, offset: int) -> int:
    numbers = row + np.arange(starts.size)
    spots = np.flatnonzero((numbers >= 0) & (numbers % _ROWS_PER_MARK == 0))
    marks.extend((int(numbers[n]), offset + int(starts[n])) for n in spots)
    return row + int(starts.size)
