"""Cutting a data set into lots by bytes: each lot is one task, and the cut does not depend on who does the work.

A lot closes at a budget of input bytes. Every opening of a record is charged beside its bytes, because a lot of tiny records
takes its time too. The budget is the 256th part of the data set, kept between `LEAST_BYTES` (a task of half a second, next to
which the 2 ms that a cluster takes to hand it out do not count) and `MOST_BYTES` (some 6 s: what a killed worker loses, and
what its windows may take of memory). With 256 lots and more even 100 workers end nearly together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biosig_mtl.data.readers import open_source
from biosig_mtl.pipeline.working import RECORD_ERRORS, Piece
from biosig_mtl.types import Entry

LEAST_BYTES = 6 * 2**20
MOST_BYTES = 64 * 2**20
SHARE = 256
OPENING_BYTES = 256 * 2**10
"""What opening and writing one record costs, in bytes of its samples: 21 ms at 0.087 s a megabyte (measured, 16-bit WFDB)."""

LONGEST_S = 366 * 86400.0
"""A header that tells of more is not believed: its record is one piece, and the reader says what is wrong with it."""

_BIG_BYTES = 32 * 2**20
_ABSURD = 1000  # as in the reader, which says what is wrong with such a record


class Sizes:
    """Sizes of files and folders, each asked for once, however many records lie in it."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: dict[Path, list[int]] = {}

    def of(self, path: Path) -> list[int]:
        """Return the sizes in bytes of a record's own files: a changed file makes another store."""
        if path not in self._known:
            self._known[path] = _sizes(path)
        return self._known[path]


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A piece and the bytes that it is charged with."""

    piece: Piece
    weight: float


def _as_it_is(entry: Entry) -> Entry:
    return entry


def cut(
    entries: Sequence[Entry],
    sizes: Sizes,
    *,
    piece_s: float,
    most_records: int,
    at_hand: Callable[[Entry], Entry] = _as_it_is,
) -> tuple[list[tuple[Piece, ...]], list[int]]:
    """Return the lots of a data set in the order of its records, and how many pieces each record has.

    Parameters
    ----------
    entries
        The records.
    sizes
        What is known of their files.
    piece_s
        Records longer than this are cut into pieces of this many seconds, of which several may share a lot.
    most_records
        Pieces that a lot holds at most.
    at_hand
        Returns a record with files that can be opened; what it raises is raised.
    """
    sharers = Counter(entry.path for entry in entries)
    weighed = [_weighed(e, sum(sizes.of(e.path)) / sharers[e.path], piece_s, at_hand) for e in entries]
    total = sum(one.weight for pieces in weighed for one in pieces)
    budget = min(max(total / SHARE, LEAST_BYTES), MOST_BYTES)
    lots = list(_filled((one for pieces in weighed for one in pieces), budget, most_records))
    return lots, [len(pieces) for pieces in weighed]


def _filled(weighed: Iterator[_Weighed], budget: float, most: int) -> Iterator[tuple[Piece, ...]]:
    """Yield lots: one closes before it would go over its budget."""
    lot: list[Piece] = []
    held = 0.0
    for one in weighed:
        if lot and (held + one.weight > budget or len(lot) >= most):
            yield tuple(lot)
            lot, held = [], 0.0
        lot.append(one.piece)
        held += one.weight
    if lot:
        yield tuple(lot)


def _weighed(entry: Entry, disk_bytes: float, piece_s: float, at_hand: Callable[[Entry], Entry]) -> tuple[_Weighed, ...]:
    """Return the pieces of a record with what each is charged."""
    opened = entry.format != "wfdb" and disk_bytes >= _BIG_BYTES
    told = _told(at_hand(entry) if opened else entry, disk_bytes)
    if told is None:
        return (_Weighed(Piece(entry), disk_bytes + OPENING_BYTES),)
    duration_s, told_bytes = told
    if duration_s <= piece_s:
        return (_Weighed(Piece(entry), told_bytes + OPENING_BYTES),)
    starts = np.arange(0.0, duration_s, piece_s)
    share = told_bytes * piece_s / duration_s + OPENING_BYTES
    return tuple(_Weighed(Piece(entry, float(a), float(a) + piece_s if a < starts[-1] else math.inf), share) for a in starts)


def _told(entry: Entry, disk_bytes: float) -> tuple[float, float] | None:
    """Return seconds and bytes of a record that may be long; None for what is surely short or cannot be opened (told later)."""
    try:
        if entry.format == "wfdb":
            duration_s, size = _told_by_header(entry.path, disk_bytes)
        elif disk_bytes < _BIG_BYTES:
            return None
        else:
            duration_s, size = open_source(entry).duration_s, disk_bytes
    except (*RECORD_ERRORS, MemoryError):
        return None
    return (duration_s, size) if 0 <= duration_s <= LONGEST_S and math.isfinite(size) else None


def _told_by_header(path: Path, disk_bytes: float) -> tuple[float, float]:
    """Return seconds and bytes (16 bits a sample) by the first line of a WFDB header, which may lead to many files.

    Raises
    ------
    ValueError
        A plain record claims far more than its file holds: it would be cut into thousands of pieces, each refused.
    """
    with path.open(encoding="ascii", errors="replace") as file:
        words = next((line for line in _lines(file.readline) if line.strip() and not line.startswith("#")), "").split()
    samples = float(words[3])
    size = 2.0 * samples * float(words[1])
    if "/" not in words[0] and size > _ABSURD * disk_bytes:
        raise ValueError(f"{path}: claims {size:g} bytes, holds {disk_bytes:g}")
    return samples / float(words[2].split("/")[0].split("(")[0]), size


def _lines(readline: Callable[[int], str]) -> Iterator[str]:
    """Yield lines of at most 4096 characters: a header of one endless line is no header."""
    while line := readline(4096):
        yield line


def _sizes(path: Path) -> list[int]:
    if path.is_dir():
        return [p.stat().st_size for p in sorted(path.iterdir()) if p.is_file()]
    return [p.stat().st_size for p in (path, path.with_suffix(".dat")) if p.is_file()]
