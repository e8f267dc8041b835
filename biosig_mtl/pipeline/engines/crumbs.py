"""Crumbs: which record a worker has in hand, for the case that it does not live to tell.

A crumb is a file of a few bytes beside the lots, with the position of the record in its lot and no name of anything. Who ends a
lot takes its crumb away, so that one which is left was left by a death. It is no part of the store: `biosig_mtl.store.finish`
sweeps it with the other temporary files. A write without flush takes some microseconds and outlives its process, though not
its machine.
"""

from __future__ import annotations

import contextlib
import faulthandler
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from biosig_mtl.types import DataError

WRITING = -1
"""Position of a worker that is done with every record and writes the lot."""

_LENGTH = 9


@dataclass(frozen=True, slots=True)
class Death:
    """What a crumb tells: the position of the record that was in hand, and whether it had been so for too long."""

    position: int
    too_long: bool


class Crumb:
    """The crumb of one try at one lot; ``limit_s`` ends the process at a record that takes longer."""

    def __init__(self, file: IO[bytes], limit_s: float | None) -> None:
        """Take an opened file."""
        self._file, self._limit_s = file, limit_s

    def hold(self, position: int) -> None:
        """Say which record of the lot is in hand now."""
        with contextlib.suppress(OSError):  # a full disk is told by whoever writes the lot
            self._file.seek(0)
            self._file.write(b"%08d\n" % position)
        if self._limit_s is None:
            return
        if position == WRITING:
            faulthandler.cancel_dump_traceback_later()
        else:
            # A thread of C's own: it also ends what hangs outside of Python. Its dump marks the crumb.
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=self._file)


@contextlib.contextmanager
def crumb(folder: Path, number: int, run: str, limit_s: float | None = None) -> Iterator[Crumb]:
    """Keep a crumb for lot ``number`` of a store; ``run`` tells those of one run from what others have left.

    It stays where memory runs out: that is a death too, though the process lives.

    Raises
    ------
    DataError
        It cannot be written.
    """
    path = folder / "lots" / f".{number:05d}.{run}.{secrets.token_hex(4)}.tmp"
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to: {error.strerror}; the store stays as it was") from error
    try:
        with file:
            try:
                yield Crumb(file, limit_s)
            finally:
                if limit_s is not None:
                    faulthandler.cancel_dump_traceback_later()
    except MemoryError:
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)


def take(folder: Path, number: int, run: str) -> list[Death]:
    """Return what the crumbs of a lot tell that nobody has in hand any more, and take them away."""
    deaths = []
    for path in sorted(folder.glob(f"lots/.{number:05d}.{run}.*.tmp")):
        with contextlib.suppress(OSError, ValueError):  # swept meanwhile, or its writer died before a word
            content = path.read_bytes()
            deaths.append(Death(int(content[:_LENGTH]), too_long=len(content) > _LENGTH))
        path.unlink(missing_ok=True)
    return deaths


def are_left(folder: Path) -> bool:
    """Return whether an earlier run was killed with a lot in hand."""
    return next(folder.glob("lots/.*.*.*.tmp"), None) is not None
