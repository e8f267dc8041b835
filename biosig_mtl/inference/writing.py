"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from biosig_mtl.types import DataError


def put(path: Path, content: bytes) -> None:
    """Write a whole file or none; raise `DataError` where it cannot be written."""
    part = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
