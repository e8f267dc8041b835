"""Opening archives that strangers made: every member is looked at before the first is written, and nothing leaves the folder.

Members are written under a temporary folder and take their names only when all are whole. The extraction of the standard
library is not used: what it lets through has changed from version to version.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from biosig_mtl.data.fetching_names import below, clash, stays
from biosig_mtl.types import DataError

_CHUNK = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
_MOST_DICTIONARY_BYTES = 1 << 27
_READ_WHOLE = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, LookupError)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: bytes in all, files, and bytes unpacked for each packed one (of no matter below 64 MiB)."""

    bytes: int = 1 << 40
    files: int = 1_000_000
    ratio: float = 250.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if min(self.bytes, self.files, self.ratio) <= 0:
            raise ValueError(f"need limits > 0, got {self}")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A file that came out of an archive: its path below the folder, its size and sha256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Member:
    name: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


class _Header(tarfile.TarInfo):
    """A header that is read whole into memory (a long name, words of pax) and is no longer than such a one."""

    def _proc_member(self, file: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _READ_WHOLE and self.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes: refused")
        return super()._proc_member(file)  # type: ignore[misc,no-any-return]


def _tar_mode(archive: Path) -> Literal["r:", "r:gz", "r:bz2", "r:xz"]:
    """Return how a tar would be packed, by its first bytes; raise ``ValueError`` for an xz that asks for much memory."""
    with archive.open("rb") as stream:
        head = stream.read(64)
    if head[:2] == b"\x1f\x8b":
        return "r:gz"
    if head[:3] == b"BZh":
        return "r:bz2"
    if head[:6] != b"\xfd7zXZ\0":
        return "r:"
    # The reader makes room for the dictionary that the first block tells of (xz file format 1.2, 3.1 and 5.3.1).
    flags, at = head[13] if len(head) > 13 else 0, 14
    for bit in (0x40, 0x80):
        while flags & bit and head[at : at + 1] >= b"\x80":
            at += 1
        at += bool(flags & bit)
    filters = head[at:].partition(b"\x21\x01")[2]
    if filters and (2 | filters[0] & 1) << (filters[0] // 2 + 11) > _MOST_DICTIONARY_BYTES:
        raise ValueError(f"is packed with a dictionary of more than {_MOST_DICTIONARY_BYTES >> 20} MB")
    return "r:xz"


def unpack(archive: Path, folder: Path, limits: Limits | None = None) -> tuple[Unpacked, ...]:
    """Open a zip or tar archive (plain, gzip, bzip2, xz) into a folder.

    Refused are: absolute names, drives, names that lead out of the folder or fall together where case does not count, links,
    devices, more than one member of a name, locked archives, and bombs (more bytes, files or bytes for each packed one than
    `limits` allow). A folder below which a link leads elsewhere is refused as well.

    Returns
    -------
    tuple of Unpacked
        The files, in the order of the archive.

    Raises
    ------
    DataError
        It is no archive, is damaged, holds what is refused, or the disk is full. Nothing of it was left in the folder.
    """
    limits = limits or Limits()
    try:
        with ExitStack() as stack:
            members = _looked_at(archive, _members(archive, stack), limits)
            return _written(archive, members, folder)
    except _BROKEN as error:
        raise DataError(f"{archive}: cannot be unpacked: {str(error)[:150]}; nothing was unpacked") from error
    except MemoryError as error:
        raise DataError(f"{archive}: asks for more memory than there is; nothing was unpacked") from error
    except NotImplementedError as error:  # a password, a way of packing that is not known here
        raise DataError(f"{archive}: {str(error)[:100]}; unpack it with another program; nothing was unpacked") from error


def _members(archive: Path, stack: ExitStack) -> Iterator[_Member]:
    # A zip may begin with anything and a tar may hold a zip: the tar is asked first.
    try:
        return _of_tar(stack.enter_context(tarfile.open(archive, _tar_mode(archive), tarinfo=_Header)))
    except tarfile.ReadError:
        pass
    if zipfile.is_zipfile(archive):
        return _of_zip(stack.enter_context(zipfile.ZipFile(archive)))
    raise DataError(f"{archive}: is neither a zip nor a tar archive")


def _of_zip(file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        # Unix keeps the kind of a member in the upper half: 0o10 is a file, 0o04 a folder, 0 is not said.
        if info.external_attr >> 28 not in {0, 0o10, 0o04}:
            raise ValueError(f"member '{info.filename[:80]}' is a link or a device")
        if info.flag_bits & 1:
            raise NotImplementedError("is locked with a password")
        name = below(info.filename)
        if not info.is_dir():
            yield _Member(name, info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


def _of_tar(file: tarfile.TarFile) -> Iterator[_Member]:
    for info in file:
        if not (info.isfile() or info.isdir()):
            raise ValueError(f"member '{info.name[:80]}' is a link or a device")
        if info.isfile():
            yield _Member(below(info.name), info.size, lambda info=info: _opened(file, info))  # type: ignore[misc]
        elif info.name.strip("./"):
            below(info.name)


def _opened(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = file.extractfile(info)
    if stream is None:  # pragma: no cover  (only of links, which were refused)
        raise ValueError(f"member '{info.name[:80]}' cannot be read")
    return stream


def _looked_at(archive: Path, members: Iterator[_Member], limits: Limits) -> list[_Member]:
    """Return the members; stop at the first that is refused, so that a bomb is not read to its end."""
    packed = max(archive.stat().st_size, 1)
    most = min(limits.bytes, max(64 << 20, int(limits.ratio * packed)))
    kept: list[_Member] = []
    total = 0
    for member in members:
        kept.append(member)
        total += member.size
        if len(kept) > limits.files or total > most:
            raise ValueError(f"holds more than {limits.files} files or {most} bytes, too much for an archive of {packed} bytes")
    if problem := clash(m.name for m in kept):
        raise ValueError(f"members {problem}")
    if not kept:
        raise ValueError("holds no file")
    if any(m.name == PurePosixPath(archive.name) for m in kept):
        raise ValueError(f"holds a member of its own name, '{archive.name}'")
    return kept


def _written(archive: Path, members: list[_Member], folder: Path) -> tuple[Unpacked, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(archive, folder, sum(m.size for m in members))
    if out := [m for m in members if not stays(folder, m.name) or (folder / m.name).is_dir()]:
        raise ValueError(f"'{out[0].name}' would be written through a link, or over a folder, that lies in {folder}")
    # The hidden folder of an unpacking that was killed is of no use to anybody.
    hidden = folder / f".{archive.name}.unpacking"
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        made = tuple(_copied(member, hidden) for member in members)
        for one in made:
            target = folder / one.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(hidden / one.path, target)  # noqa: PTH105
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return made


def _copied(member: _Member, hidden: Path) -> Unpacked:
    path = hidden / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with member.open() as source, path.open("wb") as target:
        while block := source.read(_CHUNK):
            size += len(block)
            if size > member.size:
                raise ValueError(f"member '{member.name}' holds more bytes than it says")
            digest.update(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    if size != member.size:
        raise ValueError(f"member '{member.name}' holds {size} bytes, not {member.size}")
    return Unpacked(member.name.as_posix(), size, digest.hexdigest())


def _check_space(archive: Path, folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(f"{archive}: needs {size} bytes unpacked, {folder} has {free} left; nothing was unpacked")
