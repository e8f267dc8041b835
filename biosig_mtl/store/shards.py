"""Arrays of lots: opened when they are first touched, compared with their digest then, and indexed as one."""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.store.files import changed, damaged, once_more, unreadable

KINDS = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U64": np.uint64}
HEADER_BYTES = 1 << 20
"""The longest header that is read: ours have some hundred bytes."""

_OPEN = 16_384  # memory maps that are held: the kernel allows a process some 65,000
_BLOCK = 1 << 20
_LONG_ROW = 2048  # bytes from which a row is copied by itself: gathering first would move it twice
_THREADS = min(4, os.cpu_count() or 1)

WORTH_A_THREAD = 1 << 24
"""Bytes from which a second thread is started: some 10 ms of work."""

T = TypeVar("T")

# What was compared with its digest in this process, and has the same date and size since.
_known: set[tuple[str, str, str, int, int, int]] = set()


class Part(Protocol):
    """Rows of a `Sharded`: an array, or what can be opened to one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Kind of its numbers."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One array of one lot, not opened yet. ``digest`` is that of its bytes alone.

    Where only the digest of the whole file is known (``whole``), that is compared.
    """

    path: Path
    key: str
    shape: tuple[int, ...]
    kind: str
    digest: str
    whole: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Kind of its numbers."""
        return np.dtype(KINDS[self.kind])

    @property
    def nbytes(self) -> int:
        """How much memory it would take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self) -> NDArray[Any]:
        """Return the array as a memory map of the file, whose bytes were compared with the digest.

        Raises
        ------
        DataError
            The file is missing, cannot be read, or is not what was written.
        """
        return cast("NDArray[Any]", self._opened(None))

    def read_into(self, out: NDArray[Any]) -> None:
        """Read the array into one of its shape, and compare what was read.

        Raises
        ------
        DataError
            The file is missing, cannot be read, or is not what was written.
        """
        self._opened(out)

    def _opened(self, out: NDArray[Any] | None) -> NDArray[Any] | None:
        try:
            return once_more(lambda: self._open(out))
        except (OSError, MemoryError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise unreadable(self.path, error) from error

    def _open(self, out: NDArray[Any] | None) -> NDArray[Any] | None:
        with self.path.open("rb", buffering=0) as file:
            start, stop = self._place(file)
            if out is not None and not self.whole:
                file.seek(start)
                if _filled(file, out) != self.digest:
                    raise changed(self.path)
                return None
            self._compare(file, start, stop)
            if start == stop:
                found = np.empty(self.shape, self.dtype)
            else:
                mapped = mmap.mmap(file.fileno(), stop, access=mmap.ACCESS_READ)
                found = np.frombuffer(mapped, self.dtype, (stop - start) // self.dtype.itemsize, start).reshape(self.shape)
        if out is None:
            return found
        out[:] = found
        return None

    def _place(self, file: IO[bytes]) -> tuple[int, int]:
        """Return where in the file the array begins and ends; raise where the header does not say what it should."""
        entry, start = read_header(file)
        told = entry[self.key]
        first, last = told["data_offsets"]
        if tuple(told["shape"]) != self.shape or told["dtype"] != self.kind:
            raise damaged(self.path)
        size = os.fstat(file.fileno()).st_size
        if not 0 <= first <= last <= size - start or last - first != self.nbytes:
            raise damaged(self.path)
        return start + first, start + last

    def _compare(self, file: IO[bytes], start: int, stop: int) -> None:
        """Compare the array (or the file) with its digest, unless this process has done so since the file was written."""
        told = os.fstat(file.fileno())
        key = (str(self.path), "" if self.whole else self.key, self.digest, told.st_size, told.st_mtime_ns, told.st_ino)
        if key in _known:
            return
        if digest_of(file, *((0, told.st_size) if self.whole else (start, stop))) != self.digest:
            raise changed(self.path)
        _known.add(key)


def read_header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where its data begin.

    Raises
    ------
    ValueError
        There is none, or it is longer than `HEADER_BYTES`.
    """
    head = file.read(4096)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length > HEADER_BYTES:
        raise ValueError("no header")
    text = head[8 : 8 + length]
    while len(text) < length:
        more = file.read(length - len(text))
        if not more:
            raise ValueError("the header ends early")
        text += more
    header = json.loads(text)
    if not isinstance(header, dict):
        raise ValueError("the header is no table")
    return header, 8 + length


def header_of(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file.

    Raises
    ------
    DataError
        It is missing, cannot be read, or has none.
    """
    try:
        with once_more(lambda: path.open("rb", buffering=0)) as file:
            return read_header(file)[0]
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise unreadable(path, error) from error


def digest_of(file: IO[bytes], start: int, stop: int) -> str:
    """Return the sha256 of some bytes of a file, read in blocks: an error of the disk is an error here, and no signal."""
    file.seek(start)
    made, block, left = sha256(), memoryview(bytearray(min(_BLOCK, max(stop - start, 1)))), stop - start
    while left:
        count = file.readinto(block[: min(left, len(block))])  # type: ignore[attr-defined]
        if not count:
            break
        made.update(block[:count])
        left -= count
    return made.hexdigest()


def digest_and_size(path: Path) -> tuple[str, int]:
    """Return sha256 and bytes of a whole file.

    Raises
    ------
    DataError
        It is missing or cannot be read.
    """
    try:
        with once_more(lambda: path.open("rb", buffering=0)) as file:
            size = os.fstat(file.fileno()).st_size
            return digest_of(file, 0, size), size
    except OSError as error:
        raise unreadable(path, error) from error


def _filled(file: IO[bytes], out: NDArray[Any]) -> str:
    """Fill an array from a file; return the sha256 of what was read."""
    view = out.reshape(-1).view(np.uint8).data
    made, done = sha256(), 0
    while done < len(view):
        count = file.readinto(view[done : done + _BLOCK])  # type: ignore[attr-defined]
        if not count:
            break
        made.update(view[done : done + count])
        done += count
    return made.hexdigest()


def each(act: Callable[[int], T], numbers: Sequence[int], nbytes: int) -> list[T]:
    """Do something with each number: in threads where many bytes are compared, for their digests are made side by side."""
    if len(numbers) < 2 or nbytes < WORTH_A_THREAD:
        return [act(number) for number in numbers]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(act, numbers))


def joined(parts: Sequence[Any]) -> NDArray[Any]:
    """Return arrays of lots as one array in memory, every byte of which was compared with its digest."""
    for part in parts:
        # Whatever a summary or a header claims, no more memory is asked for than there are bytes on the disk.
        if part.nbytes > once_more(part.path.stat).st_size:
            raise damaged(part.path)
    bounds = np.cumsum([0, *(part.shape[0] for part in parts)])
    out = np.empty((int(bounds[-1]), *parts[0].shape[1:]), parts[0].dtype)
    each(lambda i: parts[i].read_into(out[bounds[i] : bounds[i + 1]]), range(len(parts)), out.nbytes)
    return out


class _Opened(NamedTuple):
    """Parts that are open, by number: as arrays and as bytes."""

    arrays: dict[int, NDArray[Any]]
    views: dict[int, memoryview]


class Sharded:
    """Arrays of equal trailing shape as one, along the first axis; it is indexed as NumPy does.

    Only the rows asked for are read, unless the index begins with ``...`` or has arrays on its later axes. Parts that are a
    `Shard` are opened, and compared with their digest, when a row of theirs is first asked for.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        """Join parts without opening them."""
        self.parts = tuple(parts)
        self._starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self._opened = _Opened({}, {})
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes by the names of the files, not with what is in them."""
        return Sharded, (self.parts,)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, *, copy: Any = None) -> NDArray[Any]:
        """Read everything."""
        del copy
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Read some rows."""
        if isinstance(rows, tuple):
            first, rest = (rows[0], rows[1:]) if rows else (..., ())
            if first is None or first is ... or not all(isinstance(r, int | np.integer | slice) for r in rest):
                return np.asarray(np.asarray(self)[rows])
            taken = self[first]
            return np.asarray(taken[(*[slice(None)] * (taken.ndim - self.ndim + 1), *rest)])
        if isinstance(rows, slice) and rows.step in {None, 1}:
            return self._sliced(*rows.indices(len(self))[:2])
        picked = self._picked(rows)
        if picked.ndim == 0:
            part = int(np.searchsorted(self._starts, picked, side="right")) - 1
            return np.array(self._open({part}).arrays[part][int(picked) - self._starts[part]])
        return self._gathered(picked.ravel()).reshape(*picked.shape, *self.shape[1:])

    def _picked(self, rows: Any) -> NDArray[np.int64]:
        """Return the numbers of the rows that an index means."""
        if isinstance(rows, np.ndarray) and rows.dtype.kind in "iu" and rows.ndim:
            if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
                raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
            return np.where(rows < 0, rows + len(self), rows).astype(np.int64, copy=False)
        return np.asarray(np.arange(len(self))[rows])

    def _sliced(self, start: int, stop: int) -> NDArray[Any]:
        """Return consecutive rows."""
        out = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        if not out.shape[0]:
            return out
        first, last = (int(np.searchsorted(self._starts, row, side="right")) - 1 for row in (start, stop - 1))
        for part in range(first, last + 1):
            low, high = (int(self._starts[at]) for at in (part, part + 1))
            if low < high:
                rows = self._open({part}).arrays[part][max(start - low, 0) : stop - low]
                out[max(low - start, 0) : high - start] = rows
        return out

    def _gathered(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows; long ones are copied one by one, since gathering those of a part first would move them twice."""
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        local = rows - self._starts[owner]
        if self._row_bytes >= _LONG_ROW and rows.size:
            numbers, size = owner.tolist(), self._row_bytes
            views = self._open(set(numbers)).views
            places = (local * size).tolist()
            # Joining bytes is the loop in C that NumPy has not for rows of several arrays.
            whole = bytearray().join([views[number][at : at + size] for number, at in zip(numbers, places, strict=True)])
            return np.frombuffer(whole, self.dtype).reshape(rows.size, *self.shape[1:])
        out = np.empty((rows.size, *self.shape[1:]), self.dtype)
        order = np.argsort(owner, kind="stable")
        ordered = owner[order]
        cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        for here in np.split(order, cuts) if rows.size else ():
            number = int(owner[here[0]])
            out[here] = self._open({number}).arrays[number][local[here]]
        return out

    def _open(self, numbers: set[int]) -> _Opened:
        """Return the arrays of some parts (and of others), opening those that are not open."""
        opened = self._opened  # threads may do this at once: what one holds is not taken from it by another
        missing = sorted(numbers - opened.arrays.keys())
        if not missing:
            return opened
        if len(opened.arrays) + len(missing) > _OPEN:
            opened = self._opened = _Opened({}, {})
            missing = sorted(numbers)
        rows = sum(self.parts[number].shape[0] for number in missing)
        found = each(lambda number: _array(self.parts[number]), missing, rows * self._row_bytes)
        for number, array in zip(missing, found, strict=True):
            opened.views[number] = array.reshape(-1).view(np.uint8).data
            opened.arrays[number] = array
        return opened


def _array(part: Part) -> NDArray[Any]:
    return part.array() if isinstance(part, Shard) else np.ascontiguousarray(part)
