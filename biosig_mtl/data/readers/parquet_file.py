"""Parquet tables, read by batches, within bounds: a few bytes of Parquet can stand for any number of rows.

A column that repeats one value takes no room, and neither does a page of zeros. So before a column is read, its pages are asked
what they would unpack to, and rows are counted against the bytes of the file: signals never shrink as far as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.readers.clock import in_seconds, parse_clock
from biosig_mtl.data.readers.csv_file import LONGEST_STAMP, MOST_COLUMNS
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.data.readers.parquet_pages import page_sizes, read_footer
from biosig_mtl.types import F64, I64, DataError

FREE_ROWS, ROWS_PER_BYTE = 1 << 21, 2
"""A row of a recording takes more than half a byte; the first two million rows are not asked."""
FREE_CELLS, CELLS_PER_BYTE = 1 << 22, 8
"""The same for rows times columns that are read at once."""
FREE_PAGE_BYTES, PAGE_BYTES_PER_BYTE = 1 << 25, 50
"""A page may be as large, unpacked: writers make pages of 1 MB, some one page a group of rows."""
MOST_GROUPS = 100_000
_ROWS_PER_MARK = 1 << 15


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A Parquet table; ``group_rows`` are the rows at which its row groups begin, with the end of the last.

    ``places`` tells of every plain column where it lies in each group, see `Footer`; ``odd`` names the types of the
    columns that are neither numbers nor times nor words.
    """

    path: Path
    names: tuple[str, ...]
    units: tuple[str, ...]
    rows: int
    group_rows: I64 = field(repr=False)
    places: Mapping[str, tuple[tuple[int, int, int], ...]] = field(repr=False)
    odd: Mapping[str, str] = field(repr=False)

    @property
    def mark_rows(self) -> I64:
        """Rows whose time stamps are known beforehand."""
        return np.arange(0, self.rows, _ROWS_PER_MARK)

    def mark_times(self, time: int) -> F64:
        """Return the time stamps of those rows, from one pass over that column alone."""
        times: list[F64] = []
        for at, batch in self._batches(0, self.rows, [time]):
            rows = np.arange(-at % _ROWS_PER_MARK, batch.num_rows, _ROWS_PER_MARK)
            times += [self._seconds(batch.column(0).slice(int(row), 1), at + int(row)) for row in rows]
        return np.concatenate(times)

    def read(self, first: int, stop: int, columns: list[int], time: int | None) -> dict[int, F64]:
        """Return columns of the rows ``first`` up to ``stop``; the column ``time`` as seconds, the others as they stand.

        Raises
        ------
        DataError
            The file is damaged, a column holds no numbers, or more would be unpacked than the file can honestly hold.
        """
        wanted = sorted({*columns, *([time] if time is not None else [])})
        if (stop - first) * len(wanted) > FREE_CELLS + CELLS_PER_BYTE * check_file(self.path):
            raise self._too_dense(f"{stop - first} rows of {len(wanted)} columns")
        parts: dict[int, list[F64]] = {c: [np.empty(0)] for c in wanted}
        for at, batch in self._batches(first, stop, wanted):
            part = batch.slice(max(first - at, 0), max(stop - max(at, first), 0))
            for spot, c in enumerate(wanted) if part.num_rows else ():
                column = part.column(spot)
                parts[c].append(self._seconds(column, max(at, first)) if c == time else self._numbers(column, self.names[c]))
        return {c: np.concatenate(p) for c, p in parts.items()}

    def line(self, row: int) -> int:
        """Return the number of a row, counted from 1."""
        return row + 1

    def _batches(self, first: int, stop: int, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield batches of columns, in the order of ``wanted``, with the row at which each begins."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups = np.flatnonzero((self.group_rows[:-1] < stop) & (self.group_rows[1:] > first))
        at = int(self.group_rows[groups[0]]) if groups.size else first
        names = [self.names[c] for c in wanted]
        self._check_columns(wanted)
        try:
            # Words stay in the dictionary of the file: written out, one long word could stand in every row.
            with pq.ParquetFile(self.path, read_dictionary=names) as file:
                self._check_pages(groups.tolist(), wanted)
                for batch in file.iter_batches(_ROWS_PER_MARK, row_groups=groups.tolist(), columns=names):
                    # Words that are no UTF-8, places in a dictionary that it does not have: looked for before they are used.
                    batch.validate(full=True)
                    yield at, batch.select(names)
                    at += batch.num_rows
                    if at >= stop:
                        break
        except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError) as error:
            raise _unreadable(self.path, error) from error

    def _check_columns(self, wanted: Sequence[int]) -> None:
        """Refuse what is no plain column before any of it is unpacked."""
        for name in (self.names[c] for c in wanted):
            if self.names.count(name) > 1:
                raise DataError(f"{self.path}: has {self.names.count(name)} columns '{name}': nobody knows which is meant")
            if name in self.odd or name not in self.places:
                raise DataError(f"{self.path}: column '{name}' is {self.odd.get(name, 'made of parts')}, not numbers")

    def _check_pages(self, groups: Sequence[int], wanted: Sequence[int]) -> None:
        """Refuse pages that unpack to far more than the file could honestly hold."""
        most = FREE_PAGE_BYTES + PAGE_BYTES_PER_BYTE * check_file(self.path)
        with self.path.open("rb") as stream:
            for name in {self.names[c] for c in wanted}:
                for group in groups:
                    start, length, _ = self.places[name][group]
                    if any(unpacked > most for _, unpacked in page_sizes(stream, start, length)):
                        raise self._too_dense(f"a page of column '{name}'")

    def _too_dense(self, what: str) -> DataError:
        size = check_file(self.path)
        return DataError(
            f"{self.path}: {what} would unpack to far more than a file of {size} bytes holds of a recording: refused"
        )

    def _numbers(self, column: Any, name: str) -> F64:
        import pyarrow as pa

        column = self._written_out(column)
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise DataError(f"{self.path}: column '{name}' is {column.type}, not numbers") from error

    def _seconds(self, column: Any, row: int) -> F64:
        import pyarrow as pa

        column = self._written_out(column)
        if column.null_count:
            spot = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise DataError(f"{self.path}, row {self.line(row + spot)}: the time stamp is missing")
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            words = [word.strip() for word in column.to_pylist()]
            return parse_clock(np.array(words, dtype=str), str(self.path), self.line(row))
        if pa.types.is_temporal(column.type):
            counts = np.asarray(column.view(_counted(column.type)).to_numpy(zero_copy_only=False), dtype=np.float64)
            return counts / _PER_S[column.type.unit]
        return in_seconds(self._numbers(column, "time"))

    def _written_out(self, column: Any) -> Any:
        """Return words as they stand in the rows; refuse any that is too long to be a number or a time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        words = column.dictionary if pa.types.is_dictionary(column.type) else column
        if pa.types.is_string(words.type) or pa.types.is_large_string(words.type):
            longest = pc.max(pc.binary_length(words)).as_py() or 0
            if longest > LONGEST_STAMP:
                raise DataError(f"{self.path}: holds a word of {longest} letters where a number or a time is looked for")
        return column.dictionary_decode() if words is not column else column


_PER_S = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def _counted(kind: Any) -> Any:
    """Return the whole numbers that a type of time counts in."""
    import pyarrow as pa

    return pa.int32() if pa.types.is_time32(kind) else pa.int64()


def _plain(kind: Any) -> bool:
    """Tell whether a type is numbers, times, or words that may be either."""
    import pyarrow as pa

    kinds = pa.types
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    words = kinds.is_string(kind) or kinds.is_large_string(kind)
    times = kinds.is_timestamp(kind) or kinds.is_duration(kind) or kinds.is_time(kind)
    return bool(
        words or times or kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind) or kinds.is_decimal(kind)
    )


def _unreadable(path: Path, error: BaseException) -> DataError:
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return DataError(f"{path}: not readable as Parquet: {said[:100]}")


def open_parquet(path: Path) -> ParquetTable:
    """Read the footer of a Parquet file.

    Raises
    ------
    DataError
        It is no Parquet file, has no rows, or tells of more rows or columns than a recording of its size can have.
    """
    size = check_file(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = read_footer(path)
        groups = footer.rows
        if len(groups) > MOST_GROUPS or len(footer.places) > MOST_COLUMNS:
            raise ValueError(f"{len(groups)} groups of rows, {len(footer.places)} columns: too many")
        if sum(groups) > FREE_ROWS + ROWS_PER_BYTE * size:
            raise ValueError(f"tells of {sum(groups)} rows, far more than {size} bytes hold of a recording: refused")
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
        odd = {column.name: str(column.type)[:80] for column in schema if not _plain(column.type)}
        units = tuple(_unit(schema.field(n)) for n in range(len(schema)))
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise _unreadable(path, error) from error
    rows = sum(groups)
    if rows == 0:
        raise DataError(f"{path}: the table has no rows")
    return ParquetTable(path, tuple(schema.names), units, rows, np.cumsum([0, *groups], dtype=np.int64), footer.places, odd)


def _unit(column: Any) -> str:
    unit: bytes = (column.metadata or {}).get(b"unit") or b""
    return unit.decode(errors="replace")
