"""What a listing tells a reader of one record."""

from __future__ import annotations

from typing import Any

from biosig_mtl.types import DataError, Entry


def needed(entry: Entry, key: str) -> Any:
    """Return an option of a record; raise `DataError` where it is missing: the record was not listed by its manifest."""
    if key not in entry.options:
        raise DataError(f"{entry.path}: option '{key}' is missing; records of {entry.format} are found by its manifest")
    return entry.options[key]
