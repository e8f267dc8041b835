"""Whole files or none: atomic writing, digests, canonical JSON and Parquet."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biosig_mtl.types import DataError

if TYPE_CHECKING:
    import pandas as pd


TRACK = "track."
"""What the arrays of tracks are called in a lot, before the name of the modality."""


REFERENCE = "reference"
"""What the waveform of the reference signal is called in a lot, and where its sidecar tells of it."""


def sidecar(folder: Path, number: int) -> Path:
    """Return the path of a lot's sidecar."""
    return folder / "lots" / f"{number:05d}.json"


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    DataError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}; choose another --store") from error


def commit(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there: temporary name, flush to disk, rename.

    Raises
    ------
    DataError
        The disk is full, or the place cannot be written to.
    """
    try:
        try:
            _write_and_rename(path, content)
        except FileNotFoundError:  # another process finished this very store meanwhile, and swept it
            _write_and_rename(path, content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; the store stays as it was") from error


def _write_and_rename(path: Path, content: bytes) -> None:
    # A name of its own: process numbers repeat on the machines of a cluster.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path, word: str) -> dict[str, Any]:
    """Return the content of a JSON file of the store that has ``word`` among its keys.

    Raises
    ------
    DataError
        It is missing or damaged.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(path) from error
    if not isinstance(content, dict) or word not in content:
        raise damaged(path)
    return content


def damaged(path: Path) -> DataError:
    """Return the error for a file that is missing or was changed."""
    return DataError(f"{path}: missing or damaged; delete it and run `biosig-mtl prepare` again")


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
    # Numbers seldom repeat: a dictionary of them costs time and saves nothing.
    words = [f.name for f in table.schema if not (pa.types.is_floating(f.type) or pa.types.is_integer(f.type))]
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True, use_dictionary=words)
    return sink.getvalue()
