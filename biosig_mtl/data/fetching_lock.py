"""One fetch at a time in a folder: two that write the same part would spoil it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from biosig_mtl.data.fetching_names import LOCK
from biosig_mtl.types import DataError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold a folder for one fetch. A process that dies lets go of it by itself.

    Raises
    ------
    DataError
        Another process fetches into this folder now, or the folder cannot be written to.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        take(handle)
        # Whoever held it may have removed the name between our opening and our taking: then we hold a lock that none sees.
        if not path.exists() or path.stat().st_ino != os.fstat(handle).st_ino:
            raise BlockingIOError
    except OSError as error:
        os.close(handle)
        raise DataError(f"{folder}: another process fetches into it now; wait for it to end") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def take(handle: int) -> None:
    """Lock an open file for this process alone; raise `OSError` where another has it."""
    if sys.platform == "win32":  # pragma: no cover
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
