"""MATLAB v5 to v7 (``.mat``), read in place: only the variables, cells and fields that are asked for.

`scipy.io.loadmat` reads whole files, and a single changed tag makes it end the process (scipy#25829). The layout is public
(MathWorks, *MAT-File Format*, level 5), so it is read here, checked against the bytes that are really there. DREAMER is one
variable of some gigabytes: it is walked once, and a trial then costs the trial. The tests compare with scipy.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.inflated import Bytes, Inflated, Plain
from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.types import EMPTY, DataError

T = TypeVar("T")

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
# Types of stored numbers (table 1-1) and classes of arrays (table 1-3).
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_COMPLEX = 0x0800
_MOST_DEEP = 16
_MOST_PARTS = 500_000
_MOST_DIMENSIONS = 8
_MOST_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Tag:
    """An element: its type, where its bytes begin and how many they are, and where the next one begins."""

    kind: int
    at: int
    size: int
    after: int


@dataclass(frozen=True, slots=True)
class Mat:
    """One array of a file: ``numbers``, ``text``, ``cell``, ``struct``, or ``other`` (objects, sparse and complex ones).

    ``items`` are the cells of a cell array and ``fields`` the values of each field of a struct, both in MATLAB's order
    (columns first). ``name`` says where it lies: ``DREAMER.Data{3}.EEG``.
    """

    path: Path
    name: str
    kind: str
    shape: tuple[int, ...]
    items: tuple[Mat, ...] = ()
    fields: Mapping[str, tuple[Mat, ...]] = field(default_factory=lambda: EMPTY)
    dtype: str = ""
    tag: _Tag | None = None
    stream: Bytes | None = field(default=None, repr=False)
    order: str = "<"

    def array(self) -> NDArray[Any]:
        """Return the numbers; raise `DataError` where there are none or the file ends before them."""
        if self.kind != "numbers":
            raise DataError(f"{self.path}: {self.name} is {self.kind}, where numbers belong")
        if self.tag is None or self.stream is None or math.prod(self.shape) == 0:
            return np.empty(self.shape, self.dtype or "f8")
        stored = np.dtype(self.order + _STORED[self.tag.kind])
        raw = _exactly(self.path, self.stream, self.tag.at, self.tag.size)
        return self._as_class(np.frombuffer(raw, stored).reshape(self.shape, order="F"))

    def columns(self, first: int, stop: int) -> NDArray[Any]:
        """Return columns of a table of numbers, shape (row, stop - first), without reading the others.

        Raises
        ------
        DataError
            It is no table of numbers, or has no such columns, or the file ends before them.
        """
        if self.kind != "numbers" or len(self.shape) != 2 or not 0 <= first <= stop <= self.shape[1]:
            raise DataError(f"{self.path}: {self.name} is {self.kind} of shape {self.shape}: no columns {first} to {stop}")
        rows = self.shape[0]
        if self.tag is None or self.stream is None or rows * (stop - first) == 0:
            return np.empty((rows, stop - first), self.dtype or "f8")
        stored = np.dtype(self.order + _STORED[self.tag.kind])
        width = rows * stored.itemsize
        raw = _exactly(self.path, self.stream, self.tag.at + first * width, (stop - first) * width)
        return self._as_class(np.frombuffer(raw, stored).reshape((rows, -1), order="F"))

    def _as_class(self, values: NDArray[Any]) -> NDArray[Any]:
        # A double where a single belongs may be too large for it, and becomes infinite; a NaN may be one that signals.
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(self.dtype, copy=False)

    def text(self) -> str:
        """Return a text of one line; raise `DataError` where there is none."""
        if self.kind != "text":
            raise DataError(f"{self.path}: {self.name} is {self.kind}, where a text belongs")
        if self.tag is None or self.stream is None:
            return ""
        coding = _TEXTS[self.tag.kind]
        suffix = "" if coding in {"latin-1", "utf-8"} else ("-le" if self.order == "<" else "-be")
        raw = _exactly(self.path, self.stream, self.tag.at, min(self.tag.size, _MOST_TEXT_BYTES))
        return raw.decode(coding + suffix, "replace")

    def __getitem__(self, name: str) -> Mat:
        """Return a field of a single struct; raise `DataError` that names what there is."""
        values = self.fields.get(name, ())
        if len(values) != 1:
            has = ", ".join(self.fields) or f"no fields: it is {self.kind} of shape {self.shape}"
            raise DataError(f"{self.path}: no single '{name}' in {self.name}; it has {has}")
        return values[0]

    def cell(self, number: int) -> Mat:
        """Return a cell, counted from 0 in MATLAB's order; raise `DataError` where there are not so many."""
        if not 0 <= number < len(self.items):
            raise DataError(f"{self.path}: no cell {number + 1} in {self.name}; it holds {len(self.items)}")
        return self.items[number]


class MatFile:
    """The variables of a file by name; a compressed variable is only walked through when it is asked for."""

    def __init__(self, path: Path, variables: Mapping[str, tuple[Bytes, str]]) -> None:
        self.path, self._variables = path, variables
        self._walked: dict[str, Mat] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables in the order of the file."""
        return tuple(self._variables)

    def __getitem__(self, name: str) -> Mat:
        """Return a variable; raise `DataError` that names what there is, or says what is damaged."""
        if name not in self._variables:
            raise DataError(f"{self.path}: no variable '{name}'; it has {', '.join(self.names) or 'none'}")
        if name not in self._walked:
            stream, order = self._variables[name]
            self._walked[name] = _guarded(self.path, lambda: _Walk(self.path, stream, order).matrix(0, name, 0))
        return self._walked[name]


def open_mat5(path: Path) -> MatFile:
    """Open a file of MATLAB v5 to v7; a file asked for again is not walked again.

    Raises
    ------
    DataError
        Missing, empty, damaged, or of another version: one line that names the file.
    """
    check_file(path)
    facts = path.stat()
    return _open(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=4)
def _open(path: Path, _: int, size: int) -> MatFile:
    head = read_start(path, _HEADER_BYTES)
    if head[:10] == b"MATLAB 7.3":
        raise DataError(f"{path}: is MATLAB v7.3, not v5; save it with -v7")
    if head[126:128] not in {b"IM", b"MI"} or len(head) < _HEADER_BYTES:
        raise DataError(f"{path}: is no MATLAB v5 file")
    order = "<" if head[126:128] == b"IM" else ">"
    try:
        with path.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
    return MatFile(path, _guarded(path, lambda: _variables(path, data, size, order)))


def _variables(path: Path, data: mmap.mmap, size: int, order: str) -> dict[str, tuple[Bytes, str]]:
    found: dict[str, tuple[Bytes, str]] = {}
    at = _HEADER_BYTES
    while at + 8 <= size:
        kind, count = struct.unpack(order + "II", data[at : at + 8])
        end = at + 8 + count
        if kind not in {_MATRIX, _COMPRESSED} or end > size:
            what = f"ends at byte {size} of {end}" if end > size else f"no variable at byte {at}"
            raise ValueError(f"{what}, after {', '.join(found) or 'nothing'}")
        stream: Bytes = Inflated(data, at + 8, end) if kind == _COMPRESSED else Plain(data, at, end)
        name = _Walk(path, stream, order).title(0)
        # MATLAB puts what it needs for function handles into a variable without a name.
        if name:
            found[name] = (stream, order)
        at = end
    return found


class _Walk:
    """One way through the elements of a variable, which reads tags and leaves numbers where they are."""

    def __init__(self, path: Path, stream: Bytes, order: str) -> None:
        self.path, self.stream, self.order = path, stream, order
        self.parts = 0

    def tag(self, at: int, end: int) -> _Tag:
        raw = _exactly(self.path, self.stream, at, 8)
        kind, size = struct.unpack(self.order + "II", raw)
        if kind >> 16:
            # Up to four bytes lie within the tag itself.
            found = _Tag(kind & 0xFFFF, at + 4, kind >> 16, at + 8)
            if found.size > 4:
                raise ValueError(f"a short element of {found.size} bytes")
        else:
            found = _Tag(kind, at + 8, size, at + 8 + size + -size % 8)
        # The last element of a variable need not be filled up.
        if found.at + found.size > end:
            raise ValueError(f"an element of {found.size} bytes that ends beyond its array")
        return found

    def numbers(self, tag: _Tag, most: int) -> tuple[int, ...]:
        if tag.kind not in _STORED or tag.size > most:
            raise ValueError("a description that is not understood")
        raw = _exactly(self.path, self.stream, tag.at, tag.size)
        return tuple(int(n) for n in np.frombuffer(raw, self.order + _STORED[tag.kind]))

    def title(self, at: int) -> str:
        """Return the name of the array at a place."""
        whole = self.tag(at, 1 << 62)
        if whole.kind != _MATRIX:
            raise ValueError("no array where a variable begins")
        flags = self.tag(whole.at, whole.at + whole.size)
        dims = self.tag(flags.after, whole.at + whole.size)
        return self._name(self.tag(dims.after, whole.at + whole.size))

    def _name(self, tag: _Tag) -> str:
        return _exactly(self.path, self.stream, tag.at, min(tag.size, 256)).decode("latin-1")

    def matrix(self, at: int, name: str, depth: int) -> Mat:
        """Walk through one array and all that lies in it."""
        self.parts += 1
        if depth > _MOST_DEEP or self.parts > _MOST_PARTS:
            raise ValueError(f"{name} has more parts or levels than any data set")
        whole = self.tag(at, 1 << 62)
        end = whole.at + whole.size
        if whole.kind != _MATRIX:
            raise ValueError(f"no array where {name} begins")
        if whole.size == 0:
            return Mat(self.path, name, "numbers", (0, 0), dtype="f8", tag=whole)
        flags = self.tag(whole.at, end)
        first = self.numbers(flags, 8)[0]
        dims = self.tag(flags.after, end)
        shape = self.numbers(dims, 4 * _MOST_DIMENSIONS)
        title = self.tag(dims.after, end)
        if min(shape, default=-1) < 0:
            raise ValueError(f"{name} has the shape {shape}")
        return self._content(first, shape, title.after, end, (name, depth))

    def _content(self, flags: int, shape: tuple[int, ...], at: int, end: int, place: tuple[str, int]) -> Mat:
        name, depth = place
        kind = flags & 0xFF
        if kind == _CELL:
            names = (f"{name}{{{n + 1}}}" for n in range(self._count(shape, name)))
            return Mat(self.path, name, "cell", shape, items=self._several(at, end, names, depth))
        if kind == _STRUCT:
            return Mat(self.path, name, "struct", shape, fields=self._fields(shape, at, end, place))
        if kind not in {*_CLASSES, _CHAR} or flags & _COMPLEX:
            return Mat(self.path, name, "other", shape)
        return self._flat(kind, shape, self.tag(at, end) if end > at else None, name)

    def _flat(self, kind: int, shape: tuple[int, ...], tag: _Tag | None, name: str) -> Mat:
        known: Mapping[int, str] = _TEXTS if kind == _CHAR else _STORED
        if tag is not None and tag.kind not in known:
            raise ValueError(f"{name} is stored in type {tag.kind}, which is not known")
        if tag is not None and _CLASSES.get(kind, "f")[0] in "iu" and _STORED[tag.kind][0] == "f":
            raise ValueError(f"{name} stores whole numbers as fractions")
        what = "text" if kind == _CHAR else "numbers"
        claimed = math.prod(shape) * (int(_STORED[tag.kind][1]) if tag and what == "numbers" else 1)
        if what == "numbers" and claimed != (tag.size if tag else 0):
            raise ValueError(f"{name} of shape {shape} claims {claimed} bytes but brings {tag.size if tag else 0}")
        return Mat(self.path, name, what, shape, dtype=_CLASSES.get(kind, ""), tag=tag, stream=self.stream, order=self.order)

    def _count(self, shape: tuple[int, ...], name: str) -> int:
        count = math.prod(shape)
        if count > _MOST_PARTS:
            raise ValueError(f"{name} claims {count} parts")
        return count

    def _several(self, at: int, end: int, names: Iterable[str], depth: int) -> tuple[Mat, ...]:
        found = []
        for name in names:
            after = self.tag(at, end).after
            found.append(self.matrix(at, name, depth + 1))
            at = after
        return tuple(found)

    def _fields(self, shape: tuple[int, ...], at: int, end: int, place: tuple[str, int]) -> dict[str, tuple[Mat, ...]]:
        name, depth = place
        width_tag = self.tag(at, end)
        width = self.numbers(width_tag, 4)[0]
        names_tag = self.tag(width_tag.after, end)
        if not 0 < width <= 256 or names_tag.size > 256 * 4096:
            raise ValueError(f"{name} has field names of {width} letters")
        raw = _exactly(self.path, self.stream, names_tag.at, names_tag.size)
        names = [raw[n : n + width].split(b"\0")[0].decode("latin-1") for n in range(0, len(raw), width)]
        count = self._count((*shape, len(names)), name) // max(len(names), 1)
        prefix = (name if count == 1 else f"{name}({n + 1})" for n in range(count))
        # All fields of the first struct, then all of the second.
        values = self._several(names_tag.after, end, (f"{p}.{f}" for p in prefix for f in names), depth)
        return {f: values[n :: len(names)] for n, f in enumerate(names)}


def _exactly(path: Path, stream: Bytes, at: int, count: int) -> bytes:
    try:
        raw = stream.read(at, count)
    except ValueError as error:
        raise DataError(f"{path}: not readable as MATLAB v5: {error}") from error
    if len(raw) < count:
        raise DataError(f"{path}: not readable as MATLAB v5: ends in the middle of a value of {count} bytes")
    return raw


def _guarded(path: Path, walk: Callable[[], T]) -> T:
    try:
        return walk()
    except (ValueError, LookupError, struct.error, OverflowError, MemoryError) as error:
        said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise DataError(f"{path}: not readable as MATLAB v5: {said}") from error
