"""What every reader asks of a file before it opens it."""

from __future__ import annotations

from pathlib import Path

from biosig_mtl.types import DataError

_LFS_MARK = b"version https://git-lfs"


def check_file(path: Path) -> int:
    """Return the size of a data file in bytes; raise `DataError` where it cannot hold data.

    A file that is kept with Git-LFS and was not fetched is a text of some 130 bytes in place of the data: it must not be
    taken for a short recording.
    """
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no such file") from error
    if path.is_dir():
        raise DataError(f"{path}: is a folder, not a recording; name one file in it")
    if size == 0:
        raise DataError(f"{path}: the file is empty")
    if size < 1024 and read_start(path, len(_LFS_MARK)) == _LFS_MARK:
        raise DataError(f"{path}: is a Git-LFS pointer, not data; fetch it with `git lfs pull`")
    return size


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a file."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error
