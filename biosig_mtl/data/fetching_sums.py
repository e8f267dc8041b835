"""Lists of checksums: those that a publisher lays beside a set, and our own note of what was fetched and unpacked."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from biosig_mtl.data.fetching_names import FETCHED, below, clash
from biosig_mtl.types import DataError

LISTS = ("SHA256SUMS.txt", "SHA256SUMS", "MANIFEST.csv")
"""Names under which lists of checksums are looked for."""
MOST_BYTES = 1 << 30
"""Of a list: a line has some 110 bytes, so that is ten million files."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A file that was fetched, or came out of an archive (``source`` is then the archive's name, else the address).

    ``checked`` says that its sha256 was compared with one that the manifest or the publisher names.
    """

    path: str
    bytes: int
    sha256: str
    source: str
    checked: bool


@dataclass(frozen=True, slots=True)
class Sum:
    """A file as a list of checksums names it; ``bytes`` is 0 where the list does not say."""

    path: Path
    bytes: int
    sha256: str
    source: str


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_sums(text: str, where: str) -> dict[str, str]:
    """Return path → sha256 of a list as ``sha256sum`` writes it and PhysioNet publishes it.

    Raises
    ------
    DataError
        A line is no such line, a path would leave the folder, or two paths fall together where case does not count.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.fullmatch(r"\\?([0-9a-fA-F]{64}) [ *]?(\S.*)", line.rstrip())
        if not match:
            if not line.strip():
                continue
            raise DataError(f"{where}, line {number}: is not 'sha256 path'; not readable as a list of checksums")
        try:
            found[below(match[2]).as_posix()] = match[1].lower()
        except ValueError as error:
            raise DataError(f"{where}, line {number}: {error}") from error
    if not found:
        raise DataError(f"{where}: lists no file; not readable as a list of checksums")
    if problem := clash(below(name) for name in found):
        raise DataError(f"{where}: {problem}")
    return found


def read_notes(folder: Path) -> dict[str, Noted]:
    """Return what was fetched into a folder, by path; empty where nothing was.

    Raises
    ------
    DataError
        The note is damaged.
    """
    path = folder / FETCHED
    try:
        content = json.loads(_text(path))
        return {note.path: note for note in map(_noted, content["files"])}
    except FileNotFoundError:
        return {}
    # Words that are nested a hundred thousand deep end in a RecursionError.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: is not readable as the note of what was fetched; remove it and fetch again") from error


def _noted(row: Mapping[str, Any]) -> Noted:
    """Return one row of the note; raise ``ValueError`` where it is none, or names a file elsewhere."""
    note = Noted(**row)
    if not (isinstance(note.bytes, int) and isinstance(note.sha256, str) and isinstance(note.source, str)):
        raise ValueError("a row of the note")
    return replace(note, path=below(note.path).as_posix())


def _text(path: Path) -> str:
    """Return the text of a list; raise ``ValueError`` where it is larger than a list of all files of any set."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES >> 20} MB")
    return path.read_text(encoding="utf-8-sig")


def write_notes(folder: Path, about: Mapping[str, Any], notes: Iterable[Noted]) -> None:
    """Write the note of what was fetched: whole or not at all."""
    rows = [asdict(note) for note in sorted(notes, key=lambda n: n.path)]
    replace_text(folder / FETCHED, json.dumps({**about, "files": rows}, indent=1))


def replace_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all.

    Raises
    ------
    DataError
        The place cannot be written to, or is full.
    """
    new = path.with_name(f"{path.name}.part")
    try:
        with new.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)  # noqa: PTH105
    except OSError as error:
        new.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error.strerror}; make room and run it again") from error


def sums_near(root: Path) -> list[Sum]:
    """Return what our own note, and the nearest list here or up to two levels above, say of the files below a folder.

    Where there is a note, a file that a list names and that was not fetched is none that is missing: it was not wanted.

    Raises
    ------
    DataError
        A list or the note is not readable.
    """
    notes = read_notes(root)
    noted = [Sum(root / n.path, n.bytes, n.sha256, str(root / FETCHED)) for n in notes.values()]
    listed = [one for path in _nearest(root) for one in _listed(path, root.resolve())]
    return noted + [one for one in listed if not notes or one.path.exists()]


def _nearest(root: Path) -> list[Path]:
    for folder in (root, *root.resolve().parents[:2]):
        found = [folder / name for name in LISTS if (folder / name).is_file()]
        if found:
            return found[:1]
    return []


def _listed(path: Path, root: Path) -> Iterator[Sum]:
    """Yield the files of a list that lie under the folder of the set."""
    try:
        if path.suffix == ".csv":
            table = csv.DictReader(io.StringIO(_text(path), newline=""))
            rows = [(r["path"], int(r["bytes"]), r["sha256"].lower()) for r in table]
        else:
            rows = [(name, 0, digest) for name, digest in read_sums(_text(path), str(path)).items()]
    except (OSError, KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as a list of checksums") from error
    for name, size, digest in rows:
        target = _target(path.resolve().parent, name)
        if target is not None and target.is_relative_to(root):
            yield Sum(target, size, digest, str(path))


def _target(folder: Path, name: str) -> Path | None:
    """Return the file that a list names; None where that is no name of a file below the list."""
    try:
        return (folder / below(name)).resolve()
    except (ValueError, OSError, RuntimeError):
        return None


def problem_of(one: Sum) -> str:
    """Return what is wrong with a file, in words; '' where it is as the list says."""
    if not one.path.is_file():
        return f"{one.path}: is missing (listed in {one.source})"
    held = one.path.stat().st_size
    if one.bytes and held != one.bytes:
        return f"{one.path}: has {held} bytes, {one.source} says {one.bytes}"
    if one.sha256 and sha256_of(one.path) != one.sha256:
        return f"{one.path}: content differs from {one.source} (sha256)"
    return ""
