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
from biosig_mtl.data.readers.quoting import shape, shaped
from biosig_mtl.types import F64, I64, DataError

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LINE = 1 << 18
"""Bytes of a line. A row of 256 electrodes has 4 kB; a file that never ends its line would be kept in memory whole."""
MOST_COLUMNS = 4096
LONGEST_STAMP = 64
"""Letters of a time stamp."""
_LONGEST_HEAD = 200
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

        wanted = sorted({*columns, *([time] if time is not None else [])})
        text = self._text(first, stop)
        try:
            frame = pd.read_csv(
                io.StringIO(text),
                sep=r"\s+" if self.delimiter == " " else self.delimiter,
                header=None,
                index_col=False,
                names=range(len(self.names)),
                usecols=wanted,
                decimal=self.decimal,
                na_values=_MISSING,
                low_memory=False,
                skipinitialspace=True,
                quoting=csv.QUOTE_NONE,
            )
        except (ValueError, OSError) as error:
            what = shaped(str(error).splitlines()[0])[:100]
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

    def _text(self, first: int, stop: int) -> str:
        """Return the text of the rows ``first`` up to ``stop`` without quotes and brackets."""
        mark = int(np.searchsorted(self.marks[:, 0], first, "right")) - 1
        after = int(np.searchsorted(self.marks[:, 0], stop, "left"))
        begin = int(self.marks[mark, 1])
        with self.path.open("rb") as stream:
            stream.seek(begin)
            data = stream.read(int(self.marks[after, 1]) - begin if after < len(self.marks) else -1)
        # Cut here, not by pandas: what it skips are lines, and empty lines are no rows.
        starts = np.append(_row_starts(data if data.endswith(b"\n") else data + b"\n"), len(data))
        low, high = (min(row - int(self.marks[mark, 0]), len(starts) - 1) for row in (first, stop))
        data = data[int(starts[low]) : int(starts[high])]
        self._check_rows(data, first)
        return data.decode(self.encoding, errors="replace").translate(_NOISE)

    def _check_rows(self, data: bytes, first: int) -> None:
        """Refuse zero bytes, and rows with more cells than the heading: the parser of pandas may not be shown them."""
        if b"\0" in data:
            raise DataError(f"{self.path}: holds zero bytes after line {self.line(first)}: is it damaged?")
        cells = row_widths(data, self.delimiter)
        wrong = np.flatnonzero(cells > len(self.names))
        if wrong.size:
            row = int(wrong[0])
            raise DataError(f"{self.path}, line {self.line(first + row)}: {cells[row]} cells; its table has {len(self.names)}")

    def _seconds(self, stamps: pd.Series[Any], first: int) -> F64:
        if stamps.dtype.kind in "fi" and np.isfinite(stamps.to_numpy()).all():
            return in_seconds(stamps.to_numpy(dtype=np.float64))
        words = stamps.astype(str).where(stamps.notna(), "").str.strip()
        # A table of texts is as wide as its longest: one long cell would take its length once a row.
        long = np.flatnonzero(words.str.len() > LONGEST_STAMP)
        if long.size:
            spot = int(long[0])
            where = f"{self.path}, line {self.line(first + spot)}"
            raise DataError(f"{where}: time stamp '{shape(words.iloc[spot])}' is not readable")
        return parse_clock(words.to_numpy(dtype=str), str(self.path), self.line(first))

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
                raise DataError(f"{self.path}, line {line}: '{shape(texts.iloc[spot])}' in column '{name}' is no number")
        return values.to_numpy(dtype=np.float64)


def open_csv(path: Path) -> CsvTable:
    """Look at the start of a table, and count its rows."""
    size = check_file(path)
    head = read_start(path, LONGEST_LINE)
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise DataError(f"{path}: UTF-16 tables are not readable; save it as UTF-8")
    encoding, skip = _encoding(head)
    if b"\0" in head[skip:]:
        raise DataError(f"{path}: is not a text table (it holds zero bytes)")
    filled = _first_lines(head[skip:], encoding, path, whole=size <= len(head))
    delimiter = _delimiter(filled)
    table = [_cells(line, delimiter) for line in filled[:4]]
    headings = _headings(table)
    if headings == len(filled):
        raise DataError(f"{path}: has a heading and no rows")
    names, units = _names(table, headings)
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{path}: has {len(names)} columns; need a column a channel and a row a sample: is it on its side?")
    marks, rows = _marks(path, skip, headings)
    body = filled[headings : headings + 50]
    decimal = "," if delimiter != "," and any("," in line for line in body) and not any("." in line for line in body) else "."
    return CsvTable(path, encoding, delimiter, decimal, names, units, rows, headings, marks)


def _first_lines(head: bytes, encoding: str, path: Path, *, whole: bool) -> list[str]:
    """Return the first lines that hold something; of a file that goes on, only those that are whole."""
    if not whole:
        head = head[: head.rfind(b"\n") + 1]
        if not head:
            raise _too_long(path, 1)
    lines = head.decode(encoding, errors="replace").translate(_NOISE).splitlines()
    filled = [line for line in lines[:200] if line.strip()]
    if not filled:
        raise DataError(f"{path}: the table holds nothing")
    return filled


def _too_long(path: Path, line: int) -> DataError:
    return DataError(f"{path}, line {line}: longer than {LONGEST_LINE >> 10} kB: is it a text table with a row a sample?")


def row_widths(data: bytes, delimiter: str) -> I64:
    """Return the number of cells (row,) of each line that holds something; a delimiter that ends a line begins no cell."""
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == 10)
    ends = np.append(ends, codes.size) if codes.size and codes[-1] != 10 else ends
    space = (codes == 32) | (codes == 9) | (codes == 13)
    inside = ~space & (codes != 10)
    if delimiter == " ":
        marks = np.flatnonzero(inside & ~np.concatenate([[False], inside[:-1]]))
        cells = np.diff(np.searchsorted(marks, ends), prepend=0)
    else:
        inside = inside & (codes != ord(delimiter))
        marks, filled = np.flatnonzero(codes == ord(delimiter)), np.flatnonzero(inside)
        through = np.searchsorted(filled, ends)
        last = np.where(through > 0, filled[through - 1] if filled.size else 0, -1)
        before = np.concatenate([[0], np.searchsorted(marks, ends)[:-1]])
        # Delimiters after the last cell that holds something are no cells.
        cells = np.maximum(np.searchsorted(marks, last) - before, 0) + 1
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if ends.size else np.empty(0, np.int64)
    lengths = ends - starts
    blank = (
        (lengths == 0) | ((lengths == 1) & (codes[np.minimum(starts, codes.size - 1)] == 13))
        if ends.size
        else np.empty(0, bool)
    )
    out: I64 = cells[~blank]
    return out


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
        found = re.fullmatch(r"(.*?)\s*\((.*)\)", head) if len(head) <= _LONGEST_HEAD else None
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
            if len(pending) > LONGEST_LINE:
                raise _too_long(path, row + headings + 1)
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
