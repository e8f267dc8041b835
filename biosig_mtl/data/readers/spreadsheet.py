"""The cells of a spreadsheet (.xlsx), read without anything that a spreadsheet could make the reader do.

An .xlsx is a zip of XML, and both can be bombs: a few kilobytes that unpack to gigabytes, entities that unfold without end,
a row of a million empty cells, a table that says it reaches to XFD1048576. So the XML is read as it is unpacked, cell by cell,
and whatever lies outside of a small table is refused. Formulas are not computed: a cell has the value that was stored with it,
and nothing outside of the file is looked at (ECMA-376, Part 1, §18.3 worksheets, §18.4 shared strings).
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.types import DataError

MOST_ROWS, MOST_COLUMNS, MOST_SHEETS = 20_000, 256, 32
"""Far more than a table of people has."""
MOST_BYTES = 1 << 24
"""Of each part of the file, unpacked."""
MOST_TEXT = 1 << 24
"""Letters of all words together; of one cell `_LONGEST`, as in the program itself."""
_LONGEST = 32_767
_MOST_DEPTH = 64
_MOST_ELEMENTS = 1_000_000
_MOST_CELLS = 200_000
_MOST_MEMBERS = 2000
_CHUNK = 1 << 20
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_STRINGS = "xl/sharedStrings.xml"
_SHEET = re.compile(r"xl/worksheets/sheet(\d{1,6})\.xml")
_PLACE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_BROKEN = (
    zipfile.BadZipFile, zlib.error, expat.ExpatError, OSError, EOFError, RuntimeError, NotImplementedError, ValueError,
    LookupError, ArithmeticError, AttributeError, struct.error,
)  # fmt: skip

Cell = str | float | bool | None
Row = tuple[Cell, ...]


def read_sheets(path: Path) -> list[list[Row]]:
    """Return the rows of every sheet, in the order of the sheets' numbers; a row ends with its last cell that holds something.

    Raises
    ------
    DataError
        It is no .xlsx, is damaged or locked, has a document type, or is larger than a table of people.
    """
    check_file(path)
    if read_start(path, len(_OLE)) == _OLE:
        raise DataError(f"{path}: is locked with a password, or an old .xls; save it as .xlsx without one")
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _MOST_MEMBERS:
                raise ValueError(f"{len(archive.infolist())} parts")
            held = set(archive.namelist())
            words = _Words() if _STRINGS in held else None
            if words is not None:
                _parse(archive, _STRINGS, words)
            named = sorted((int(m[1]), m[0]) for m in map(_SHEET.fullmatch, held) if m)
            if not named or len(named) > MOST_SHEETS:
                raise ValueError(f"{len(named)} sheets")
            return [_sheet(archive, name, words.found if words else []) for _, name in named]
    except _BROKEN as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path}: not readable as a spreadsheet: {said[:100]}") from error


def _sheet(archive: zipfile.ZipFile, name: str, words: list[str]) -> list[Row]:
    table = _Table(words)
    _parse(archive, name, table)
    last = max((row for row, _ in table.cells), default=0)
    rows: list[list[Cell]] = [[] for _ in range(last)]
    for (row, column), value in sorted(table.cells.items(), key=lambda item: item[0]):
        line = rows[row - 1]
        line += [None] * (column - 1 - len(line))
        line.append(value)
    return [tuple(row) for row in rows]


# ------------------------------------------------------------------------------------------------------- what XML may be
@dataclass(slots=True)
class _Words:
    """The list of words that cells share: how they are said (``rPh``) is left out."""

    found: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _silent: int = 0
    _inside: bool = False

    def start(self, tag: str, given: Mapping[str, str]) -> None:
        del given
        if tag == "si":
            self._parts = []
        self._silent += tag == "rPh"
        self._inside = tag == "t" and not self._silent

    def end(self, tag: str) -> None:
        self._silent -= tag == "rPh"
        self._inside = False
        if tag == "si":
            self.found.append("".join(self._parts))

    def text(self, letters: str) -> None:
        if self._inside:
            self._parts.append(letters)


@dataclass(slots=True)
class _Table:
    """The cells of a sheet that hold something, by row and column, from 1."""

    words: list[str]
    cells: dict[tuple[int, int], Cell] = field(default_factory=dict)
    _row: int = 0
    _column: int = 0
    _kind: str = ""
    _parts: list[str] = field(default_factory=list)
    _inside: bool = False

    def start(self, tag: str, given: Mapping[str, str]) -> None:
        if tag == "row":
            self._row = int(given.get("r") or self._row + 1)
            self._column = 0
        elif tag == "c":
            self._row, self._column = _place(given.get("r"), self._row, self._column + 1)
            self._kind, self._parts = given.get("t", "n"), []
        self._inside = tag == "v" or (tag == "t" and self._kind == "inlineStr")

    def end(self, tag: str) -> None:
        self._inside = False
        if tag == "c" and self._parts:
            if len(self.cells) >= _MOST_CELLS:
                raise ValueError(f"more than {_MOST_CELLS} cells: too large for a table of people")
            if not (0 < self._row <= MOST_ROWS and 0 < self._column <= MOST_COLUMNS):
                raise ValueError(f"a cell in row {self._row}, column {self._column}: too large for a table of people")
            self.cells[self._row, self._column] = self._value("".join(self._parts))

    def text(self, letters: str) -> None:
        if self._inside:
            self._parts.append(letters)

    def _value(self, text: str) -> Cell:
        if self._kind == "s":
            place = int(text)
            return self.words[place] if 0 <= place < len(self.words) else None
        if self._kind == "n":
            return float(text)
        if self._kind == "b":
            return text.strip() == "1"
        # What is left of a formula that failed ("e") is no value.
        return None if self._kind == "e" else text


def _place(name: str | None, row: int, column: int) -> tuple[int, int]:
    """Return row and column that a cell's name tells; a cell without one follows on the one before."""
    if not name:
        return row, column
    found = _PLACE.fullmatch(name)
    if not found:
        raise ValueError(f"a cell called '{name[:20]}'")
    number = 0
    for letter in found[1]:
        number = 26 * number + ord(letter) - 64
    return int(found[2]), number


@dataclass(slots=True)
class _Bounds:
    """What of XML is counted while it is read; ``into`` is told of elements by their names without a name space."""

    into: _Words | _Table
    _depth: int = 0
    _elements: int = 0
    _letters: int = 0
    _in_cell: int = 0

    def start(self, tag: str, given: dict[str, str]) -> None:
        self._depth, self._elements, self._in_cell = self._depth + 1, self._elements + 1, 0
        if self._depth > _MOST_DEPTH or self._elements > _MOST_ELEMENTS:
            raise ValueError(f"more than {_MOST_ELEMENTS} parts, or {_MOST_DEPTH} inside each other")
        self.into.start(tag.rpartition(" ")[2], given)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self.into.end(tag.rpartition(" ")[2])

    def text(self, part: str) -> None:
        self._letters, self._in_cell = self._letters + len(part), self._in_cell + len(part)
        if self._letters > MOST_TEXT or self._in_cell > _LONGEST:
            raise ValueError("a cell, or all cells together, hold more letters than a table of people")
        self.into.text(part)

    def refuse(self, *_: object) -> None:
        raise ValueError("declares a document type or entities: refused")


def _parse(archive: zipfile.ZipFile, name: str, into: _Words | _Table) -> None:
    """Read a part of the file as XML; a document type is refused, and with it every entity."""
    info = archive.getinfo(name)
    if info.file_size > MOST_BYTES:
        raise ValueError(f"{name} unpacks to {info.file_size >> 20} MB")
    bounds, parser = _Bounds(into), expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = bounds.refuse
    parser.StartElementHandler, parser.EndElementHandler = bounds.start, bounds.end
    parser.CharacterDataHandler = bounds.text
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            parser.Parse(chunk)
        parser.Parse(b"", True)  # noqa: FBT003
