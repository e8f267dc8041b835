"""Compressed bytes read at any place: deflate has no index of its own, so states are kept on the way."""

from __future__ import annotations

import zlib
from mmap import mmap
from threading import Lock
from typing import Protocol

_IN_BYTES = 1 << 16
_OUT_BYTES = 1 << 18
# A state holds a window of 32 KiB: every 8 MiB costs half a percent of memory and at most 40 ms of inflating again.
_STATE_EVERY = 1 << 23
# Recordings shrink two- to tenfold; only constants do better. Deflate itself ends at 1030.
MOST_GROWN = 100
SMALL_BYTES = 1 << 28


class Bytes(Protocol):
    """Something that gives bytes from any place."""

    def read(self, at: int, count: int) -> bytes:
        """Return ``count`` bytes from ``at``; fewer at the end."""


class Plain:
    """Bytes of a file from ``start`` up to ``stop``."""

    def __init__(self, data: mmap, start: int, stop: int) -> None:
        self._data, self._start, self._stop = data, start, stop

    def read(self, at: int, count: int) -> bytes:
        """Return ``count`` bytes from ``at``; fewer at the end."""
        return self._data[self._start + at : min(self._start + at + count, self._stop)]


class Inflated:
    """What the compressed bytes of a file from ``start`` up to ``stop`` hold.

    Reading onward inflates once; reading elsewhere begins at the last state kept before. Several threads may read.
    """

    def __init__(self, data: mmap, start: int, stop: int) -> None:
        self._data, self._stop = data, stop
        self._most = max(SMALL_BYTES, MOST_GROWN * (stop - start))
        self._states = [(0, start, zlib.decompressobj())]
        self._lock = Lock()
        self._chunk, self._chunk_at = b"", 0
        self._out, self._in, self._engine = 0, start, self._states[0][2].copy()

    def read(self, at: int, count: int) -> bytes:
        """Return ``count`` bytes from ``at``; fewer at the end.

        Raises
        ------
        ValueError
            The bytes are damaged, or grow beyond all measure.
        """
        with self._lock:
            parts, left = [], count
            while left > 0:
                part = self._from(at, left)
                if not part:
                    break
                parts.append(part)
                at, left = at + len(part), left - len(part)
            return b"".join(parts)

    def _from(self, at: int, count: int) -> bytes:
        if at < self._chunk_at or at > self._out + _STATE_EVERY:
            self._return_to(at)
        while at >= self._out:
            if not self._inflate():
                return b""
        return self._chunk[at - self._chunk_at : at - self._chunk_at + count]

    def _return_to(self, at: int) -> None:
        """Go on from the last state before a place, unless the present one is nearer."""
        out, inside, engine = max((s for s in self._states if s[0] <= at), key=lambda s: s[0])
        if at < self._chunk_at or out > self._out:
            self._out, self._in, self._engine = out, inside, engine.copy()
            self._chunk, self._chunk_at = b"", out

    def _inflate(self) -> bool:
        """Inflate the next chunk and tell whether there was one."""
        if self._out - self._states[-1][0] >= _STATE_EVERY:
            self._states.append((self._out, self._in, self._engine.copy()))
        given = self._data[self._in : min(self._in + _IN_BYTES, self._stop)]
        try:
            made = self._engine.decompress(given, _OUT_BYTES)
        except zlib.error as error:
            raise ValueError(f"its compressed part is damaged ({error})") from error
        used = len(given) - len(self._engine.unconsumed_tail) - len(self._engine.unused_data)
        self._in += used
        self._chunk, self._chunk_at = made, self._out
        self._out += len(made)
        if self._out > self._most:
            raise ValueError(f"its compressed part holds more than {self._most} bytes")
        return bool(made) or (used > 0 and not self._engine.eof)
