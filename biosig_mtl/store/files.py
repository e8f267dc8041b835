"""Whole files or none: atomic writing, digests, canonical JSON and Parquet."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_mtl.types import DataError

if TYPE_CHECKING:
    import pandas as pd


def sidecar(folder: Path, number: int) -> Path:
    """Return the path of a lot's sidecar."""
    return folder / "lots" / f"{number:05d}.json"


def commit(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there: temporary name, flush to disk, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror}; the store stays as it was") from error


def sha256(content: bytes) -> str:
    """Return the digest of some bytes."""
    return hashlib.sha256(content).hexdigest()


def to_json(content: Mapping[str, Any]) -> str:
    """Return JSON whose bytes depend on the content alone."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def parquet(frame: pd.DataFrame) -> bytes:
    """Return a table as Parquet with page checksums; its bytes depend on the content alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    # Without pandas' own metadata (which names versions) the bytes depend on the content alone.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()
