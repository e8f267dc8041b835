"""Whole files or none: atomic writing, reading that checks digests, sealed JSON.

**What a power loss leaves.** Every file is flushed before it is renamed, and the folder's list of names before the file that
vouches for others. So what vouches is there only with what it vouches for; the last lots may have to be made again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from biosig_mtl.types import DataError

T = TypeVar("T")

TRACK = "track."
"""What the arrays of tracks are called in a lot, before the name of the modality."""


REFERENCE = "reference"
"""What the waveform of the reference signal is called in a lot, and where its sidecar tells of it."""


SEAL = "seal"
"""The key of a JSON file under which the digest of the rest of it stands."""

KINDS = ("safetensors", "parquet")
"""The files of a lot beside its sidecar."""

_SWEEPS = 8  # how often a file that is being written may be swept by other writers that finish the very store
_NO_SEAL = "0" * 64
# At the outermost level, of which the indent tells: what the content has under the same word lies deeper.
_SEALED = re.compile(r'\n "seal": "([0-9a-f]{64})"')
# A handle that went stale or a call that was interrupted says nothing of the file: asked again, by its name, it may be there.
_PASSING = {errno.ESTALE, errno.EINTR}
# File systems that cannot flush a folder say so in one of these words; there is nothing to be done about it.
_CANNOT_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.EISDIR, errno.ENOSYS}


# --------------------------------------------------------------------------------------------------------------- names
def sidecar(folder: Path, number: int) -> Path:
    """Return the path of a lot's sidecar."""
    return folder / "lots" / f"{number:05d}.json"


def lot_file(number: int, kind: str) -> str:
    """Return the name of a lot's file within its store."""
    return f"lots/{number:05d}.{kind}"


# -------------------------------------------------------------------------------------------------------------- writing
def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises
    ------
    DataError
        It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}; choose another --store") from error


def commit(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there: temporary name, flush to disk, rename.

    Raises
    ------
    DataError
        The disk is full, or the place cannot be written to.
    """
    commit_by(path, lambda file: file.write(content))


def commit_by(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Do as `commit`, with what ``write`` writes to the file that it is given; it may be called again from the start.

    Raises
    ------
    DataError
        The disk is full, or the place cannot be written to.
    """
    for turn in range(_SWEEPS):
        try:
            _write_and_rename(path, write)
        except OSError as error:
            # Not there: another process finished this very store meanwhile, and swept what was half written.
            passing = isinstance(error, FileNotFoundError) and path.parent.is_dir()
            if turn + 1 < _SWEEPS and (passing or (turn == 0 and error.errno in _PASSING)):
                continue
            raise DataError(f"{path}: cannot be written: {_why(error)}; the store stays as it was") from error
        return


def _write_and_rename(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    # A name of its own: process numbers repeat on the machines of a cluster.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def flush_names(folder: Path) -> None:
    """Flush a folder's list of names, so that no file in it is forgotten with the power.

    Raises
    ------
    DataError
        The disk is full or broken.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH | _PASSING:
            raise DataError(f"{folder}: cannot be written: {_why(error)}; the store stays as it was") from error


def to_json(content: Mapping[str, Any]) -> str:
    """Return JSON whose bytes depend on the content alone."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def sealed(content: Mapping[str, Any]) -> bytes:
    """Return JSON that holds the digest of itself, under `SEAL`: no bit of it can flip unseen."""
    text = to_json({**content, SEAL: _NO_SEAL})
    start, stop = _place_of_seal(text)
    return (text[:start] + sha256(text.encode()) + text[stop:]).encode()


def sha256(content: bytes | memoryview) -> str:
    """Return the digest of some bytes."""
    return hashlib.sha256(content).hexdigest()


# -------------------------------------------------------------------------------------------------------------- reading
def once_more(act: Callable[[], T]) -> T:
    """Do something with files, and again where a handle went stale (NFS) or a call was interrupted."""
    try:
        return act()
    except OSError as error:
        if error.errno not in _PASSING:
            raise
    return act()


def read_bytes(path: Path, digest: str | None = None) -> bytes:
    """Return a file of the store, whose digest is compared where it is told.

    Raises
    ------
    DataError
        It is missing, cannot be read, or was changed.
    """
    try:
        content = once_more(path.read_bytes)
    except (OSError, MemoryError) as error:
        raise unreadable(path, error) from error
    if digest is not None and sha256(content) != digest:
        raise changed(path)
    return content


def read_json(path: Path, word: str, digest: str | None = None) -> dict[str, Any]:
    """Return the content of a JSON file of the store that has ``word`` among its keys; its seal is looked at.

    Raises
    ------
    DataError
        It is missing, cannot be read, or was changed.
    """
    raw = read_bytes(path, digest)
    try:
        text = raw.decode()
        content: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise damaged(path) from error
    if not isinstance(content, dict) or word not in content:
        raise damaged(path)
    if SEAL in content and not _seal_holds(text, content[SEAL]):
        raise changed(path)
    return content


def _seal_holds(text: str, seal: Any) -> bool:
    start, stop = _place_of_seal(text)
    return bool(text[start:stop] == seal == sha256((text[:start] + _NO_SEAL + text[stop:]).encode()))


def _place_of_seal(text: str) -> tuple[int, int]:
    found = _SEALED.search(text)
    return found.span(1) if found else (0, 0)


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file of a store, by its name in the folder; nothing is opened.

    Raises
    ------
    DataError
        The folder cannot be read.
    """
    found: dict[str, int] = {}
    for below in ("", "lots/"):
        try:
            with once_more(lambda below=below: os.scandir(folder / below)) as entries:  # type: ignore[misc]
                found |= {f"{below}{e.name}": e.stat().st_size for e in entries if e.is_file() and not e.name.startswith(".")}
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{folder / below}: cannot be read: {_why(error)}") from error
    return found


# --------------------------------------------------------------------------------------------------------------- errors
def unreadable(path: Path, error: BaseException) -> DataError:
    """Return the error for a file that could not be read; deleting it is advised only where that would help."""
    gone = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | RecursionError)
    # A thread that cannot be started is a want of memory too.
    if gone or not isinstance(error, OSError | MemoryError | RuntimeError):
        return damaged(path)
    return DataError(f"{path}: cannot be read: {_why(error)}")


def damaged(path: Path) -> DataError:
    """Return the error for a file that is missing or is not what it should be."""
    return DataError(f"{path}: missing or damaged; delete it and run `biosig-mtl prepare` again")


def changed(path: Path) -> DataError:
    """Return the error for a file whose content is not what was written."""
    return DataError(f"{path}: content does not match its sha256; delete it and run `biosig-mtl prepare` again")


def _why(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    return (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
