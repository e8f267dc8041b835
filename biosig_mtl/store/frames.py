"""Tables of windows as Parquet: bytes that depend on the content alone, and a reader that believes nothing.

Numbers of the index are kept without compression of the heavy kind and without marks for missing values (NaN says it), words
as dictionaries: a table of a million windows with ninety columns opens in half a second instead of one and a half.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from biosig_mtl.store.files import damaged, unreadable

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

GROUP_ROWS = 131_072
"""Rows that lie together in the index: what is held in memory when it is written."""

UNIQUE = frozenset({"window_id"})
"""Words that never repeat: a dictionary of them would be the column once more."""


def parquet(frame: pd.DataFrame) -> bytes:
    """Return a table as Parquet with page checksums; its bytes depend on the content alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    # Without pandas' own metadata (which names versions) the bytes depend on the content alone.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    # Numbers seldom repeat: a dictionary of them costs time and saves nothing.
    words = [f.name for f in table.schema if not _is_number(f.type)]
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, use_dictionary=words)
    return sink.getvalue()


def table_of(content: bytes, path: Path, *, checked: bool = False) -> pa.Table:
    """Return Parquet bytes as an Arrow table of numbers, truth values, times and words.

    Where the content was ``checked`` already, checksums of pages are left out, and words that repeat come as codes.

    Nothing else is taken: an extension type could bring along code of its own that some versions of Arrow run.

    Raises
    ------
    DataError
        Not such a table; ``path`` is what the message names.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # The schema that Arrow keeps beside Parquet's own is where extension types stand: it is looked at, not opened.
        schema = pq.read_schema(pa.BufferReader(content))
        if not all(_is_plain(field.type) for field in schema):
            raise damaged(path)
        codes = [f.name for f in schema if _is_word(f.type) and f.name not in UNIQUE] if checked else None
        found = pq.read_table(pa.BufferReader(content), read_dictionary=codes, page_checksum_verification=not checked)
    except (OSError, ValueError, TypeError, LookupError, pa.ArrowException, MemoryError) as error:
        raise (unreadable(path, error) if isinstance(error, MemoryError) else damaged(path)) from error
    return found.replace_schema_metadata(None)


def index_frame(content: bytes, path: Path) -> pd.DataFrame:
    """Return the index of a store, as pandas would read it; words that repeat are one object each.

    ``content`` was compared with its digest: checksums of its pages would be a second look.

    Raises
    ------
    DataError
        The bytes are no table; ``path`` is what the message names.
    """
    import pyarrow as pa

    found = table_of(content, path, checked=True)
    unique = {name: found.column(name) for name in found.column_names if name in UNIQUE}
    rest = found.drop_columns(list(unique))
    for position, field in enumerate(rest.schema):
        if pa.types.is_dictionary(field.type) and rest.column(position).null_count:
            # Only as words does pandas tell None from NaN.
            rest = rest.set_column(position, field.name, rest.column(position).cast(field.type.value_type))
    frame: pd.DataFrame = rest.to_pandas()
    for name in frame.columns[frame.dtypes == "category"]:
        frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
    for name, column in unique.items():
        # To look for repetitions where there are none takes twice as long as all the rest.
        frame.insert(found.column_names.index(name), name, column.to_pandas(deduplicate_objects=False))
    return frame


def write_index(file: IO[bytes], tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write the tables of all lots as one, in groups of `GROUP_ROWS` rows; only one group is in memory at a time."""
    import pyarrow.parquet as pq

    words = [f.name for f in schema if not _is_number(f.type) and f.name not in UNIQUE]
    told: dict[str, Any] = {"compression": "lz4", "write_page_checksum": True, "use_dictionary": words}
    with pq.ParquetWriter(file, schema, **told) as writer:
        for group in _groups((_shaped(table, schema) for table in tables), GROUP_ROWS):
            writer.write_table(group, row_group_size=GROUP_ROWS)


def joint_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns of all tables, in the order of their first mention; only numbers with a fraction are never missing."""
    import pyarrow as pa

    joined = pa.unify_schemas(list(schemas), promote_options="permissive") if schemas else ()
    return pa.schema([pa.field(f.name, f.type, nullable=not pa.types.is_floating(f.type)) for f in joined])


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema: NaN where a number is not known, nothing where another thing is not."""
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name).cast(field.type)
        else:
            column = pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        columns.append(column if field.nullable else column.fill_null(float("nan")))
    return pa.table(columns, schema=schema)


def _groups(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut tables anew into tables of so many rows, all but the last."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows)
            waiting, count = [whole.slice(rows)], count - rows
    if count:
        yield pa.concat_tables(waiting)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_word(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: pa.DataType) -> bool:
    import pyarrow as pa

    known = (pa.types.is_boolean, pa.types.is_temporal, pa.types.is_null)
    return _is_number(kind) or _is_word(kind) or any(is_one(kind) for is_one in known)
