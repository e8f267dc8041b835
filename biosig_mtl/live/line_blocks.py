"""Numbered lines of a stream, in the blocks in which they arrive."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Protocol

from biosig_mtl.live.sources import PATIENCE_S
from biosig_mtl.types import DataError

WHERE = "standard input"
_BLOCK = 1 << 16
_LONGEST = 1 << 22


class Readable(Protocol):
    """A binary stream that gives what has arrived (`sys.stdin.buffer`)."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return some bytes, none at the end."""

    def fileno(self) -> int:
        """Return the number of the open file."""


class Lines:
    """Numbered lines of a stream in the blocks in which they arrive; an empty block where nothing did for a while."""

    def __init__(self, stream: Readable) -> None:
        """Begin at line 1."""
        self._stream = stream
        self._rest, self._number = bytearray(), 0
        self._again: list[tuple[int, str]] = []
        self.closed = False

    def give_back(self, lines: list[tuple[int, str]]) -> None:
        """Have these lines told again."""
        self._again = lines

    def blocks(self) -> Iterator[list[tuple[int, str]]]:
        """Yield lines with their numbers, until the stream ends or ``closed`` is set.

        Raises
        ------
        DataError
            A line is longer than any recorder writes.
        """
        while not self.closed:
            if self._again:
                again, self._again = self._again, []
                yield again
            elif not _has_something(self._stream):
                yield []
            else:
                data = self._stream.read1(_BLOCK)
                if lines := self._numbered(self._whole(data)):
                    yield lines
                if not data:
                    return

    def _whole(self, data: bytes) -> bytes:
        """Return the lines that have ended, or what is left at the end; what comes byte by byte is not copied each time."""
        if data and b"\n" not in data:
            self._rest += data
            if len(self._rest) > _LONGEST:
                raise DataError(f"{WHERE}, line {self._number + 1}: longer than {_LONGEST >> 20} MB; is it text?")
            return b""
        head, _, tail = data.rpartition(b"\n") if data else (b"", b"", b"")
        whole = bytes(self._rest) + head
        self._rest = bytearray(tail)
        return whole

    def _numbered(self, whole: bytes) -> list[tuple[int, str]]:
        if not whole:
            return []
        # A mark of the byte order may stand before the heading.
        lines = whole.decode("utf-8-sig" if self._number == 0 else "utf-8", errors="replace").split("\n")
        first, self._number = self._number + 1, self._number + len(lines)
        return [(first + k, line.rstrip("\r")) for k, line in enumerate(lines)]


def _has_something(stream: Readable) -> bool:
    """Return whether reading would not wait; where that cannot be asked (a stream in memory), reading tells."""
    try:
        return bool(select.select([stream.fileno()], [], [], PATIENCE_S)[0])
    except (OSError, ValueError):
        return True
