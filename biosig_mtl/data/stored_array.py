"""Arrays inside a file, and the few calls of numpy by which a pickle describes them.

Nothing of numpy is called with what a file says: the description is checked, and the numbers stay where they are until they
are asked for.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_CODES = re.compile(r"b1|[iu][1248]|f[248]")
_MOST_DIMENSIONS = 8
# A codec of Python that keeps bytes as they are; others may transform or inflate what they are given.
_LATIN = ("latin1", "latin-1", "iso-8859-1")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A long string of a pickle, left where it lies: ``size`` bytes of the file from ``start``."""

    start: int
    size: int
    text: bool = False


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Numbers that lie in a file from byte ``start`` (or in ``data``, where the file holds them in a coded form)."""

    path: Path
    shape: tuple[int, ...]
    dtype: str
    fortran: bool
    start: int = 0
    data: bytes | None = None

    def array(self) -> NDArray[Any]:
        """Return the numbers as an array that cannot be written to, mapped from the file where that is possible."""
        order: Literal["F", "C"] = "F" if self.fortran else "C"
        if math.prod(self.shape) == 0:
            return np.empty(self.shape, self.dtype)
        if self.data is not None:
            return np.frombuffer(self.data, self.dtype).reshape(self.shape, order=order)
        return np.memmap(self.path, self.dtype, "r", self.start, self.shape, order=order)


@dataclass(slots=True)
class Half:
    """An array or a number type that a pickle has begun and describes in its next words; ``known_as`` are its memo numbers."""

    what: str
    code: str = ""
    known_as: list[int] = field(default_factory=list)


def number_type(code: object) -> Half:
    """Return the number type of a code such as ``f8``; objects, texts, records and dates are refused."""
    if not isinstance(code, str) or not _CODES.fullmatch(code):
        raise ValueError(f"an array of type {_short(code)}, which is no plain number")
    return Half("dtype", code)


def ordered(half: Half, state: object) -> str:
    """Return the full name of a number type (``<f8``) from what a pickle says of its byte order (numpy: dtype.__setstate__)."""
    if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
        raise ValueError("a number type with fields or parts")
    order = text_of(state[1])
    if order not in {"<", ">", "|", "="}:
        raise ValueError(f"a number type of byte order {_short(order)}")
    return order.replace("=", "<") + half.code


def from_state(path: Path, state: object) -> StoredArray:
    """Return the array that a state describes: (version, shape, type, whether Fortran, bytes) (numpy: ndarray.__setstate__)."""
    if not isinstance(state, tuple) or len(state) not in {4, 5}:
        raise ValueError("an array whose description is not understood")
    shape, dtype, fortran, raw = state[-4:]
    return described(path, raw, dtype, shape, fortran=bool(fortran) if isinstance(fortran, bool | int) else False)


def described(path: Path, raw: object, dtype: object, shape: object, *, fortran: bool) -> StoredArray:
    """Return an array of which the bytes, the type and the shape are given; they must fit each other exactly."""
    code = dtype.code if isinstance(dtype, Half) and dtype.what == "dtype" else dtype
    if not isinstance(code, str) or not _CODES.fullmatch(code.lstrip("<>|")):
        raise ValueError(f"an array of type {_short(code)}, which is no plain number")
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {_short(shape)}")
    size = _size(raw)
    claimed = math.prod(shape) * int(code[-1])
    if claimed != size:
        raise ValueError(f"an array of shape {shape} that claims {claimed} bytes but brings {size}")
    if isinstance(raw, Stretch):
        return StoredArray(path, shape, code, fortran, start=raw.start)
    return StoredArray(path, shape, code, fortran, data=_bytes(raw))


def scalar(dtype: object, raw: object) -> float | int | bool:
    """Return one number as Python's own (numpy: scalar)."""
    value: float | int | bool = described(Path(), raw, dtype, (), fortran=False).array().item()
    return value


def latin(text: object, coding: object) -> str:
    """Return a text that a pickle wants turned to bytes, if it is by the one coding that is allowed."""
    if text_of(coding).lower() not in _LATIN or not isinstance(text, str):
        raise ValueError(f"a call of encode with {_short(coding)}")
    return text


def text_of(value: object) -> str:
    """Return a short text that may have been stored as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _size(raw: object) -> int:
    if isinstance(raw, Stretch) and not raw.text:
        return raw.size
    return len(_bytes(raw))


def _bytes(raw: object) -> bytes:
    # Texts of Python 2 are bytes; they come as texts of which every letter is one byte.
    if isinstance(raw, str):
        return raw.encode("latin-1")
    if not isinstance(raw, bytes):
        raise ValueError("an array without its bytes")
    return raw


def _short(value: object) -> str:
    return f"'{value}'"[:60] if isinstance(value, str | int | tuple) else f"'{type(value).__name__}'"
