"""What every reader asks of a file before it opens it."""

from __future__ import annotations

import stat
from pathlib import Path

from biosig_mtl.types import DataError

_LFS_MARK = b"version https://git-lfs"


def check_file(path: Path) -> int:
    """Return the size of a data file in bytes; raise `DataError` where it cannot hold data.

    A file that is kept with Git-LFS and was not fetched is a text of some 130 bytes in place of the data: it must not be
    taken for a short recording.
    """
    try:
        told = path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {_why_not(path, error)}") from error
    size = told.st_size
    if stat.S_ISDIR(told.st_mode):
        raise DataError(f"{path}: is a folder, not a recording; name one file in it")
    if not stat.S_ISREG(told.st_mode):  # to read it might take for ever
        raise DataError(f"{path}: is a pipe or a device, not a file")
    if size == 0:
        raise DataError(f"{path}: the file is empty")
    if size < 1024 and read_start(path, len(_LFS_MARK)) == _LFS_MARK:
        raise DataError(f"{path}: is a Git-LFS pointer, not data; fetch it with `git lfs pull`")
    return size


def _why_not(path: Path, error: Exception) -> str:
    """Return why nothing is known of a file; a link whose target was never fetched is not the same as no file."""
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError) or not isinstance(error, OSError):
        return "is a link that leads to no file; fetch what it stands for" if path.is_symlink() else "no such file"
    return f"not readable: {error.strerror}"


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a file."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
