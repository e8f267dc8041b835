"""Lists of checksums: those that a publisher lays beside a set, and our own note of what was fetched and unpacked."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from biosig_mtl.data.fetching_names import FETCHED, below, clash
from biosig_mtl.types import DataError

LISTS = ("SHA256SUMS.txt", "SHA256SUMS", "MANIFEST.csv")
"""Names under which lists of checksums are looked for."""


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
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(below(row["path"])): Noted(**row) for row in content["files"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is not readable as the note of what was fetched; remove it and fetch again") from error


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
            with path.open(encoding="utf-8-sig", newline="") as stream:
                rows = [(r["path"], int(r["bytes"]), r["sha256"]) for r in csv.DictReader(stream)]
        else:
            rows = [(name, 0, digest) for name, digest in read_sums(path.read_text(encoding="utf-8"), str(path)).items()]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not readable as a list of checksums") from error
    for name, size, digest in rows:
        target = (path.resolve().parent / name).resolve()
        if target.is_relative_to(root):
            yield Sum(target, size, digest, str(path))


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
