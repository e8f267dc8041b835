"""MATLAB v7.3 (HDF5): files opened so that nothing but their own samples is read.

Files of version 5 to 7.2 have another layout: see `biosig_mtl.data.mat5`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.types import DataError

# No compression of HDF5 does better than deflate, which shrinks a constant by 1030.
_MOST_SHRUNK = 1100
# A chunk is inflated whole, whatever part of it is asked for.
_MOST_CHUNK_BYTES = 1 << 28
# Filters of HDF5 itself (H5Zpublic.h); MATLAB uses the first.
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
# Path, time, size and place of the datasets whose pieces were measured.
_MEASURED: set[tuple[Path, int, int, int]] = set()


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
    except DataError:
        raise
    # On files that are cut off or tampered with h5py raises nearly everything, SystemError included.
    except Exception as error:
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
    check_dataset(item, name, path)
    return item


def check_dataset(item: Any, name: str, path: Path) -> None:
    """Refuse a dataset whose values lie elsewhere, or that claims more of them than the file can hold.

    Raises
    ------
    DataError
        One line that names the dataset. Nothing of it has been read.
    """
    import h5py

    if item.external or item.is_virtual:
        raise DataError(f"{path}: '{name}' keeps its samples elsewhere; links are not followed")
    held, size = int(item.id.get_storage_size()), path.stat().st_size
    claimed = item.dtype.itemsize * math.prod(int(n) for n in item.shape or ())
    # What a file says of its own storage is a claim as well; without chunks every value lies there.
    most = _MOST_SHRUNK * min(held, size) if item.chunks else min(held, size)
    if claimed > most:
        raise DataError(f"{path}: '{name}' claims {claimed} bytes, far more than the file holds")
    if item.chunks and claimed:
        known = (path, path.stat().st_mtime_ns, size, int(h5py.h5o.get_info(item.id).addr))
        if known not in _MEASURED:
            _check_pieces(item, name, path)
            _MEASURED.add(known)


def _check_pieces(item: Any, name: str, path: Path) -> None:
    """Refuse pieces that bring fewer bytes than they must.

    HDF5 hands out what lies in memory behind a short piece: samples that are none, and other data of the process (seen with
    its version 2.0). So every piece is measured, once in a process, before HDF5 may read it.
    """
    size = path.stat().st_size
    whole = item.dtype.itemsize * math.prod(int(n) for n in item.chunks)
    settings = item.id.get_create_plist()
    filters = [settings.get_filter(n)[0] for n in range(settings.get_nfilters())]
    if set(filters) - {_DEFLATE, _SHUFFLE, _CHECKSUM} or len(set(filters)) < len(filters):
        raise DataError(f"{path}: '{name}' is packed in a way that MATLAB does not use (filters {filters})")
    if whole > min(_MOST_CHUNK_BYTES, _MOST_SHRUNK * size):
        raise DataError(f"{path}: '{name}' is stored in pieces of {whole} bytes, more than any writer makes")
    pieces: list[Any] = []
    item.id.chunk_iter(pieces.append)
    needed = math.prod(-(-int(n) // int(c)) for n, c in zip(item.shape, item.chunks, strict=True))
    if len(pieces) != needed or sum(p.size for p in pieces) > size or any(p.filter_mask for p in pieces):
        raise DataError(f"{path}: '{name}' holds {len(pieces)} of {needed} pieces, or they are damaged")
    for piece in pieces:
        if _brought(item, piece, filters, whole) != whole:
            raise DataError(f"{path}: '{name}' holds a piece that is cut or damaged")


def _brought(item: Any, piece: Any, filters: list[int], whole: int) -> int:
    """Return how many bytes of values a piece brings; a checksum of four bytes is none of them."""
    checksum = 4 if _CHECKSUM in filters else 0
    if _DEFLATE not in filters:
        return int(piece.size) - checksum
    engine = zlib.decompressobj()
    made = len(engine.decompress(item.id.read_direct_chunk(piece.chunk_offset)[1], whole + checksum + 1))
    inside = checksum and filters.index(_CHECKSUM) < filters.index(_DEFLATE)
    return made - (checksum if inside else 0) if engine.eof else -1
