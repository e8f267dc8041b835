"""A folder or a zip of small files, read in place: nothing is unpacked to disk, no claim of a zip is believed."""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

from biosig_mtl.data.found import Fence
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.types import DataError

# As long as the battery of a wristband lasts (48 h), the largest text of it has about 90 MB; text of samples shrinks by about
# 6, text of nothing but zeros by 1000: a large one of that kind was made to fill the memory.
_MOST_BYTES = 1 << 28
_MOST_SHRUNK = 40
_SMALL_BYTES = 1 << 22
_MOST_MEMBERS = 10_000
_MOST_FILES = 100_000
_LONGEST_NAME = 1000
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, NotImplementedError, ValueError,
    LookupError, ArithmeticError, struct.error, AttributeError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files by their name with ``/`` between folders, and how to read one whole."""

    path: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a folder (with the folders right in it) or a zip.

    Raises
    ------
    DataError
        Neither of them; damaged or encrypted; a member's name leads out of the zip; more than 256 MB or packed too densely.
    """
    if path.is_dir():
        # Not deeper: somebody may name a folder that holds a whole disk.
        found = sorted(islice(chain(path.glob("*"), path.glob("*/*")), _MOST_FILES))
        fence = Fence(path)
        files = {p.relative_to(path).as_posix(): p for p in found if p.is_file() and not _hidden(p.name) and fence.holds(p)}
        yield Bundle(path, tuple(files), lambda name: _whole(files[name]))
        return
    check_file(path)
    with _zip(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_MEMBERS:
            raise DataError(f"{path}: the zip claims {len(members)} members, more than any export has")
        names = tuple(name for name in (_safe(m.filename, path) for m in members) if not name.endswith("/"))
        if len(set(names)) < len(names):
            raise DataError(f"{path}: the zip holds two members of one name: refused")
        if _overlap(members):
            raise DataError(f"{path}: members of the zip lie in one another, as in a bomb: refused")
        yield Bundle(path, tuple(n for n in names if not _hidden(n)), lambda name: _member(archive, name, path))


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> DataError:
    said = str(error).splitlines()[0][:100] if str(error) else repr(error)
    return DataError(f"{path}: not readable as a zip: {said}")


def _whole(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: has more than {_MOST_BYTES >> 20} MB; name a file of samples, or cut it")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    # What is read is never longer than what was declared; a wrong length shows in the checksum.
    info = archive.getinfo(name)
    dense = info.file_size > _MOST_SHRUNK * max(info.compress_size, 1) and info.file_size > _SMALL_BYTES
    if info.file_size > _MOST_BYTES or dense:
        raise DataError(
            f"{path}: '{name}' would unpack to {info.file_size >> 20} MB from {info.compress_size >> 10} kB: refused; "
            "if you know where it comes from, unpack it and name the folder"
        )
    if info.flag_bits & 1:
        raise DataError(f"{path}: '{name}' is encrypted; unpack the zip and name the folder")
    try:
        return archive.read(info)
    except _ZIP_ERRORS as error:
        raise _unreadable(path, error) from error


def _safe(name: str, path: Path) -> str:
    # No name is ever used as a path here; one like these says that the zip was made with no good intent.
    leads_out = re.match(r"([/\\]|[a-zA-Z]:)", name) or ".." in re.split(r"[/\\]", name)
    if not name or leads_out or "\0" in name or len(name) > _LONGEST_NAME:
        raise DataError(f"{path}: the zip holds '{name[:80]}', a name that leads out of it: refused")
    return name


def _overlap(members: list[zipfile.ZipInfo]) -> bool:
    """Tell whether two members share bytes: a kilobyte could then be unpacked any number of times."""
    spans = sorted((m.header_offset, m.header_offset + 30 + m.compress_size) for m in members)
    return any(stop > start for (_, stop), (start, _) in pairwise(spans))


def _hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith("._")
