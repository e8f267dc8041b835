"""What a Parquet file tells of itself, read without Arrow: its columns, where their pages lie, and what these unpack to.

Arrow believes a file. It makes room for what the header of a page tells (some kilobytes can ask for two gigabytes a page);
asked for the facts of a column chunk that contradict each other it ends the whole process (pyarrow 25:
``terminate called after throwing ParquetException``). So the footer and the headers of pages are read here first, in the
compact protocol of Thrift, and only a file that makes sense is shown to Arrow
(https://github.com/apache/parquet-format, ``FileMetaData``, ``PageHeader``; https://github.com/apache/thrift,
"thrift-compact-protocol").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MOST_FOOTER_BYTES = 1 << 26
"""A chunk of a column takes some 150 bytes there."""
HEADER_BYTES = 1 << 16
"""A header of a page holds numbers, and the least and the largest value of the page."""
_MOST_DEPTH = 12
_MOST_PAGES = 1 << 20
_MAGIC = b"PAR1"
# Numbers of fields: FileMetaData, RowGroup, ColumnChunk, ColumnMetaData, PageHeader.
_GROUPS = 4
_CHUNKS, _ROWS = 1, 3
_ELSEWHERE, _CHUNK = 1, 3
_NAME, _VALUES, _SIZE, _DATA, _DICTIONARY = 3, 5, 7, 9, 11
_UNPACKED, _PACKED = 2, 3


@dataclass(frozen=True, slots=True)
class Footer:
    """What the end of a file tells: rows of each group, and by the name of a plain column where it lies in each group.

    A place is (first byte, bytes, values).
    """

    rows: tuple[int, ...]
    places: Mapping[str, tuple[tuple[int, int, int], ...]]


def read_footer(path: Path) -> Footer:
    """Read the end of a Parquet file.

    Raises
    ------
    ValueError
        It is no Parquet file, is encrypted, contradicts itself, or names data in another file.
    OSError
        It cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(size - 8, 0))
        end = stream.read(8)
        length = int.from_bytes(end[:4], "little")
        if size < 12 or end[4:] != _MAGIC or length > min(size - 12, MOST_FOOTER_BYTES):
            raise ValueError("its end is none of a Parquet file, or locked")
        stream.seek(size - 8 - length)
        told, _ = _struct(stream.read(length), 0, 0)
    groups = [_fields(group) for group in _items(told.get(_GROUPS, []))]
    places: dict[str, list[tuple[int, int, int]]] = {}
    for group in groups:
        rows = _count(group.get(_ROWS))
        for chunk in map(_fields, _items(group.get(_CHUNKS, []))):
            name, place = _place(chunk, size, rows)
            places.setdefault(name, []).append(place)
    if any(len(each) != len(groups) for each in places.values()):
        raise ValueError("a column that is not in every group of rows, or twice")
    return Footer(tuple(_count(group[_ROWS]) for group in groups), {name: tuple(each) for name, each in places.items()})


def _place(chunk: dict[int, Any], size: int, rows: int) -> tuple[str, tuple[int, int, int]]:
    """Return name and place of a column in a group of rows; raise ``ValueError`` where that is not in this file."""
    if chunk.get(_ELSEWHERE):
        raise ValueError("a column that lies in another file: refused")
    facts = _fields(chunk.get(_CHUNK))
    name = b".".join(part for part in _items(facts.get(_NAME, [])) if isinstance(part, bytes)).decode(errors="replace")
    # Some writers tell 0 where there is no dictionary.
    starts = [_count(facts[key]) for key in (_DICTIONARY, _DATA) if facts.get(key)]
    length, values = _count(facts.get(_SIZE)), _count(facts.get(_VALUES))
    if not name or not starts or min(starts) < len(_MAGIC) or min(starts) + length > size:
        raise ValueError("a column that lies outside of the file")
    # Of a plain column; nested ones have more values than rows, and are not read.
    if values < rows:
        raise ValueError(f"a column of {values} values in {rows} rows")
    return name, (min(starts), length, values)


def page_sizes(stream: IO[bytes], start: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield packed and unpacked bytes of the pages that lie in ``size`` bytes from ``start`` on.

    Raises
    ------
    ValueError
        What lies there are no pages.
    """
    place, stop = start, start + size
    for _ in range(_MOST_PAGES):
        if place >= stop:
            return
        stream.seek(place)
        told, length = _struct(stream.read(min(HEADER_BYTES, stop - place)), 0, 0)
        packed, unpacked = _count(told.get(_PACKED)), _count(told.get(_UNPACKED))
        yield packed, unpacked
        place += length + packed
    raise ValueError("too many pages")


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError("a size that is none")
    return value


def _fields(value: Any) -> dict[int, Any]:
    if not isinstance(value, dict):
        raise ValueError("a part that is none")
    return value


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list that is none")
    return value


# -------------------------------------------------------------------------------------------------- the compact protocol
def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by their numbers, and where it ends."""
    found: dict[int, Any] = {}
    number = 0
    if depth > _MOST_DEPTH:
        raise ValueError("parts inside parts, too deep")
    while True:
        head = _byte(data, at)
        at += 1
        if head == 0:
            return found, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _whole(data, at)
        found[number], at = _value(data, at, head & 15, depth)


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in {1, 2}:  # true, false: told by the kind itself
        return kind == 1, at
    if kind in {3, 7}:  # a byte, a double
        return None, _within(data, at + (1 if kind == 3 else 8))
    if kind in {4, 5, 6}:
        return _whole(data, at)
    if kind == 8:
        length, at = _varint(data, at)
        return data[at : _within(data, at + length)], at + length
    if kind in {9, 10}:
        return _list(data, at, depth)
    if kind == 12:
        return _struct(data, at, depth + 1)
    raise ValueError(f"a field of kind {kind}")  # maps are in no footer


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head = _byte(data, at)
    at += 1
    length, kind = head >> 4, head & 15
    if length == 15:
        length, at = _varint(data, at)
    # Each item takes a byte or more, so a length beyond the end is a lie.
    if depth > _MOST_DEPTH or length > len(data) - at:
        raise ValueError("a list longer than the file")
    items: list[Any] = []
    for _ in range(length):
        item, at = (None, at + 1) if kind in {1, 2} else _value(data, at, kind, depth + 1)
        items.append(item)
    return items, at


def _whole(data: bytes, at: int) -> tuple[int, int]:
    word, at = _varint(data, at)
    return (word >> 1) ^ -(word & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    word = 0
    for shift in range(0, 70, 7):
        byte = _byte(data, at)
        at += 1
        word |= (byte & 127) << shift
        if byte < 128:
            return word, at
    raise ValueError("a number without end")


def _byte(data: bytes, at: int) -> int:
    return data[_within(data, at + 1) - 1]


def _within(data: bytes, stop: int) -> int:
    if stop > len(data):
        raise ValueError("ends within a part")
    return stop
