"""MATLAB v7.3 (HDF5): files opened so that nothing but their own samples is read.

Files of version 5 to 7.2 have another layout: see `biosig_mtl.data.mat5`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.types import DataError

# What h5py raises on files that are cut off or tampered with.
_HDF5_ERRORS = (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError)
# No compression of HDF5 does better than deflate, which shrinks a constant by 1030.
_MOST_SHRUNK = 1100
_SMALL_BYTES = 1 << 20


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file of MATLAB v7.3 (any HDF5) for reading; use `hdf5_dataset` to take something out of it.

    Raises
    ------
    DataError
        The file is missing, empty, no HDF5 or damaged, also where the damage shows only inside the ``with`` block.
    """
    check_file(path)
    import h5py

    if not h5py.is_hdf5(path):
        old = read_start(path, 10) == b"MATLAB 5.0"
        raise DataError(f"{path}: {'is MATLAB v5; save it with -v7.3' if old else 'is not MATLAB v7.3 (HDF5)'}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except _HDF5_ERRORS as error:
        said = str(error).splitlines()[0][:120] if str(error) else repr(error)
        raise DataError(f"{path}: not readable as MATLAB v7.3: {said}") from error


def hdf5_dataset(file: Any, name: str, path: Path) -> Any:
    """Return the numbers called ``name`` (``a/b`` lies in group ``a``) as an h5py dataset; nothing is read yet.

    Raises
    ------
    DataError
        There is none of that name; it is a link, or its samples lie in another file (neither is followed: it may lead to any
        file of the reader); it holds no numbers, or claims far more of them than the file can hold.
    """
    import h5py

    item = file
    for part in name.split("/"):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if link is None:
            raise DataError(f"{path}: no '{name}'; it has {', '.join(sorted(file)) or 'nothing'}")
        if not isinstance(link, h5py.HardLink):
            raise DataError(f"{path}: '{name}' is a link to elsewhere; links are not followed")
        item = item[part]
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
        raise DataError(f"{path}: '{name}' is no array of numbers")
    if item.external or item.is_virtual:
        raise DataError(f"{path}: '{name}' keeps its samples elsewhere; links are not followed")
    claimed = item.dtype.itemsize * int(np.prod(item.shape, dtype=object))
    if claimed > max(_SMALL_BYTES, _MOST_SHRUNK * item.id.get_storage_size()):
        raise DataError(f"{path}: '{name}' claims {claimed} bytes, far more than the file holds")
    return item
