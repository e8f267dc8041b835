"""Parquet tables, read by batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.readers.clock import in_seconds, parse_clock
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.types import F64, I64, DataError

_ROWS_PER_MARK = 1 << 15


@dataclass(frozen=True, slots=True)
class ParquetTable:
    """A Parquet table; ``group_rows`` are the rows at which its row groups begin, with the end of the last."""

    path: Path
    names: tuple[str, ...]
    units: tuple[str, ...]
    rows: int
    group_rows: I64 = field(repr=False)

    @property
    def mark_rows(self) -> I64:
        """Rows whose time stamps are known beforehand."""
        return np.arange(0, self.rows, _ROWS_PER_MARK)

    def mark_times(self, time: int) -> F64:
        """Return the time stamps of those rows, from one pass over that column alone."""
        parts = [self.read(int(r), min(int(r) + _ROWS_PER_MARK, self.rows), [], time)[time][:1] for r in self.mark_rows]
        return np.concatenate(parts)

    def read(self, first: int, stop: int, columns: list[int], time: int | None) -> dict[int, F64]:
        """Return columns of the rows ``first`` up to ``stop``; the column ``time`` as seconds, the others as they stand."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = sorted({*columns, *([time] if time is not None else [])})
        groups = np.flatnonzero((self.group_rows[:-1] < stop) & (self.group_rows[1:] > first))
        at = int(self.group_rows[groups[0]]) if groups.size else first
        parts: dict[int, list[F64]] = {c: [np.empty(0)] for c in wanted}
        try:
            with pq.ParquetFile(self.path) as file:
                names = [self.names[c] for c in wanted]
                for batch in file.iter_batches(_ROWS_PER_MARK, row_groups=groups.tolist(), columns=names):
                    part = batch.slice(max(first - at, 0), max(stop - max(at, first), 0))
                    for c in wanted if part.num_rows else ():
                        column = part.column(part.schema.get_field_index(self.names[c]))
                        parts[c].append(self._seconds(column, at) if c == time else self._numbers(column, self.names[c]))
                    at += batch.num_rows
                    if at >= stop:
                        break
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path}: not readable as Parquet: {str(error).splitlines()[0][:100]}") from error
        return {c: np.concatenate(p) for c, p in parts.items()}

    def line(self, row: int) -> int:
        """Return the number of a row, counted from 1."""
        return row + 1

    def _numbers(self, column: Any, name: str) -> F64:
        import pyarrow as pa

        try:
            return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise DataError(f"{self.path}: column '{name}' is {column.type}, not numbers") from error

    def _seconds(self, column: Any, row: int) -> F64:
        import pyarrow as pa

        if pa.types.is_temporal(column.type) and not pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64()) if pa.types.is_duration(column.type) else column
        if pa.types.is_timestamp(column.type):
            stamps: F64 = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e9
            return stamps
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return parse_clock(np.array(column.to_pylist(), dtype=str), str(self.path), self.line(row))
        return in_seconds(self._numbers(column, "time"))


def open_parquet(path: Path) -> ParquetTable:
    """Read the footer of a Parquet file."""
    check_file(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
            schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as Parquet: {str(error).splitlines()[0][:100]}") from error
    if sum(groups) == 0:
        raise DataError(f"{path}: the table has no rows")
    units = tuple(((schema.field(n).metadata or {}).get(b"unit") or b"").decode(errors="replace") for n in schema.names)
    return ParquetTable(path, tuple(schema.names), units, sum(groups), np.cumsum([0, *groups], dtype=np.int64))
