"""The stored integers of WFDB signal files, decoded here.

Written from the format's own description (WFDB Applications Guide, *signal(5)*). ``wfdb`` reads the header once more by other
rules than ours, follows what it says, and allocates what it claims; here only what `wfdb_header` has checked is used, and no
more bytes are asked for than a file holds. The tests compare with wfdb to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.readers.files import read_start
from biosig_mtl.data.readers.wfdb_header import Header, beside
from biosig_mtl.types import DataError

Integers = NDArray[np.signedinteger[Any]]
_Bytes = NDArray[np.uint8]

# Values decoded at once: what is read of a long file at a time.
_BLOCK = 1 << 20
# FLAC shrinks a constant some 300 times by default; a header that claims far more values than bytes is wrong.
_MOST_SHRUNK = 1000


@dataclass(frozen=True, slots=True)
class Storage:
    """How a format stores values: ``values`` of them in ``width`` bytes, and the value that stands for "no sample"."""

    width: int
    values: int
    decode: Callable[[_Bytes], Integers]
    none: int | None = None


def _plain(code: str, shift: int = 0) -> Callable[[_Bytes], Integers]:
    return lambda raw: raw.view(code).astype(np.int32) - shift


def _three_bytes(raw: _Bytes) -> Integers:
    # They become the upper three of four, so that the sign comes out right.
    wide = np.zeros((raw.size // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return wide.view("<i4").reshape(-1) >> 8


def _signed(parts: Sequence[Integers], bits: int) -> Integers:
    """Interleave unsigned parts and give them their sign."""
    values = np.stack(parts, axis=1).reshape(-1) & ((1 << bits) - 1)
    return np.where(values >> (bits - 1), values - (1 << bits), values)


def _pairs(raw: _Bytes) -> Integers:
    low, mixed, high = raw.reshape(-1, 3).astype(np.int32).T
    return _signed((low | (mixed & 15) << 8, high | (mixed >> 4) << 8), 12)


def _triples_310(raw: _Bytes) -> Integers:
    one, two = raw.view("<u2").reshape(-1, 2).astype(np.int32).T
    return _signed((one >> 1, two >> 1, one >> 11 | (two >> 11) << 5), 10)


def _triples_311(raw: _Bytes) -> Integers:
    word = raw.view("<u4").astype(np.int64)
    return _signed((word, word >> 10, word >> 20), 10).astype(np.int32)


STORAGE: dict[str, Storage] = {
    "8": Storage(1, 1, _plain("<i1")),
    "16": Storage(2, 1, _plain("<i2"), -(2**15)),
    "24": Storage(3, 1, _three_bytes, -(2**23)),
    "32": Storage(4, 1, _plain("<i4"), -(2**31)),
    "61": Storage(2, 1, _plain(">i2"), -(2**15)),
    "80": Storage(1, 1, _plain("<u1", 128), -128),
    "160": Storage(2, 1, _plain("<u2", 2**15), -(2**15)),
    "212": Storage(3, 2, _pairs, -2048),
    "310": Storage(4, 3, _triples_310, -512),
    "311": Storage(4, 3, _triples_311, -512),
}
# Bits of a value in each of the formats that are FLAC, and the value that stands for "no sample".
FLAC = {"508": (8, -128), "516": (16, -(2**15)), "524": (24, -(2**23))}


def none_value(fmt: str) -> int | None:
    """Return the stored value of a format that stands for "no sample"; format 8 has none."""
    return FLAC[fmt][1] if fmt in FLAC else STORAGE[fmt].none


def held_frames(header: Header, file: str, size: int) -> int:
    """Return the number of frames that a signal file of ``size`` bytes really holds; raise `DataError` where it is wrong."""
    signals = [s for s in header.signals if s.file == file]
    first = signals[0]
    if len({(s.fmt, s.byte_offset) for s in signals}) > 1:
        raise DataError(f"{header.path}: says of {file} that it has several formats")
    if first.fmt in FLAC:
        return _flac_frames(beside(header.path, file), first.byte_offset, [s.samples_per_frame for s in signals], size)
    if first.fmt not in STORAGE:
        raise DataError(f"{header.path}: storage format {first.fmt} is unknown")
    form, per_frame = STORAGE[first.fmt], sum(s.samples_per_frame for s in signals)
    return max(size - first.byte_offset, 0) * form.values // (form.width * per_frame)


def read_digital(header: Header, positions: Sequence[int], first: int, stop: int) -> list[Integers]:
    """Return the stored integers of some signals from frame ``first`` up to ``stop``.

    Raises
    ------
    DataError
        A file became shorter since it was looked at, or is damaged FLAC.
    """
    found: dict[int, Integers] = {}
    for file in dict.fromkeys(header.signals[p].file for p in positions):
        here = [n for n, s in enumerate(header.signals) if s.file == file]
        wanted = [p for p in positions if header.signals[p].file == file]
        begin = 0 if header.signals[here[0]].fmt == "8" else first
        widths = np.array([header.signals[n].samples_per_frame for n in here])
        starts = dict(zip(here, np.cumsum(widths) - widths, strict=True))
        columns = {p: slice(int(starts[p]), int(starts[p]) + header.signals[p].samples_per_frame) for p in wanted}
        sums = begin != first or header.signals[here[0]].fmt == "8"
        blocks = _blocks(header, here, begin, stop)
        found |= _summed(header, columns, blocks, (first, stop)) if sums else _taken(columns, blocks)
    return [found[p] for p in positions]


def _taken(columns: dict[int, slice], blocks: Iterator[Integers]) -> dict[int, Integers]:
    parts: dict[int, list[Integers]] = {p: [] for p in columns}
    for block in blocks:
        for position, where in columns.items():
            parts[position].append(block[:, where].reshape(-1))
    return {p: np.concatenate(some) if some else np.empty(0, np.int32) for p, some in parts.items()}


def _summed(
    header: Header, columns: dict[int, slice], blocks: Iterator[Integers], part: tuple[int, int]
) -> dict[int, Integers]:
    """Add up the differences of format 8 from the beginning of the file: a part has no value to start from."""
    levels = {p: header.signals[p].initial for p in columns}
    kept: dict[int, list[Integers]] = {p: [np.empty(0, np.int64)] for p in columns}
    at = 0
    for block in blocks:
        for position, where in columns.items():
            values = np.cumsum(block[:, where].reshape(-1), dtype=np.int64) + levels[position]
            levels[position] = int(values[-1])
            width = where.stop - where.start
            kept[position].append(values[max(part[0] - at, 0) * width : max(part[1] - at, 0) * width])
        at += len(block)
    return {p: np.concatenate(some) for p, some in kept.items()}


def _blocks(header: Header, here: Sequence[int], first: int, stop: int) -> Iterator[Integers]:
    """Give frames of one file, shape (frame, value of the frame), some at a time."""
    signal = header.signals[here[0]]
    per_frame = sum(header.signals[n].samples_per_frame for n in here)
    path = beside(header.path, signal.file)
    step = max(_BLOCK // per_frame, 1)
    if signal.fmt in FLAC:
        yield from _flac_blocks(path, header, here, (first, stop, step))
        return
    form = STORAGE[signal.fmt]
    try:
        with path.open("rb") as stream:
            for begin in range(first, stop, step):
                part = (begin * per_frame, min(begin + step, stop) * per_frame)
                yield _decoded(stream, form, signal.byte_offset, part, path).reshape(-1, per_frame)
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error


def _decoded(stream: Any, form: Storage, offset: int, part: tuple[int, int], path: Path) -> Integers:
    """Return values of a file by their number; values may share bytes with their neighbours."""
    group = part[0] // form.values
    stream.seek(offset + group * form.width)
    # The last group of a file may be cut behind its last whole value.
    size = -(-part[1] // form.values) * form.width - group * form.width
    raw = stream.read(size)
    if len(raw) * form.values < (part[1] - group * form.values) * form.width:
        raise DataError(f"{path}: became shorter while it was read")
    values = form.decode(np.frombuffer(raw.ljust(size, b"\0"), np.uint8))
    return values[part[0] - group * form.values :][: part[1] - part[0]]


# -------------------------------------------------------------------------------------------------------------------- FLAC
@contextmanager
def _flac(path: Path) -> Iterator[Any]:
    """Open a file as FLAC and as nothing else: the library would try twenty formats, some of which name other files."""
    try:
        import soundfile  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:
        raise DataError(f"{path}: FLAC needs soundfile: pip install 'biosig-mtl[flac]'") from error
    if read_start(path, 4) != b"fLaC":
        raise DataError(f"{path}: not readable as FLAC")
    try:
        with soundfile.SoundFile(str(path)) as sound:
            yield sound
    except (RuntimeError, ValueError, OSError, OverflowError, MemoryError) as error:
        raise DataError(f"{path}: not readable as FLAC: {str(error)[:120]}") from error


def _flac_frames(path: Path, offset: int, widths: Sequence[int], size: int) -> int:
    with _flac(path) as sound:
        if sound.format != "FLAC" or sound.channels != len(widths) or len(set(widths)) > 1:
            raise DataError(f"{path}: FLAC of {sound.channels} signals where the header names {len(widths)} of one rate")
        frames = int(sound.frames)
    if not 0 <= frames <= _MOST_SHRUNK * size:
        raise DataError(f"{path}: claims {frames} samples in {size} bytes")
    return max(frames - offset, 0) // widths[0]


def _flac_blocks(path: Path, header: Header, here: Sequence[int], part: tuple[int, int, int]) -> Iterator[Integers]:
    first, stop, step = part
    signal, count = header.signals[here[0]], len(here)
    width = signal.samples_per_frame
    with _flac(path) as sound:
        bits = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}.get(sound.subtype, 32)
        if bits > FLAC[signal.fmt][0]:
            raise DataError(f"{path}: FLAC of {sound.subtype} where the header says format {signal.fmt}")
        sound.seek(first * width + signal.byte_offset)
        for begin in range(first, stop, step):
            frames = min(step, stop - begin)
            # The library gives the upper bits of 32.
            raw = sound.read(frames * width, dtype="int32", always_2d=True) >> (32 - bits)
            if len(raw) < frames * width:
                raise DataError(f"{path}: ends before the header says")
            # Stored is one value of every signal after the other; a frame has all values of a signal side by side.
            yield raw.reshape(frames, width, count).transpose(0, 2, 1).reshape(frames, count * width)
