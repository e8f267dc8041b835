"""What a file that mne is to read may name and claim: asked before mne opens it, because mne believes what it reads.

A BrainVision header names the files of samples and marks; a FIF file that was split names the next one. Both lead wherever they
say. A FIF file is a chain of tags, and a tag that points back makes mne read for ever.
"""

from __future__ import annotations

import gzip
import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from biosig_mtl.data.inflated import MOST_GROWN, SMALL_BYTES
from biosig_mtl.data.readers.files import read_start
from biosig_mtl.data.readers.wfdb_header import beside
from biosig_mtl.types import DataError

_MOST_HEADER_BYTES = 4 << 20
_NAMED = re.compile(r"^\s*(DataFile|MarkerFile)\s*[=:](.*)$", re.IGNORECASE | re.MULTILINE)
_CODEPAGE = re.compile(r"^\s*Codepage\s*[=:](.*)$", re.IGNORECASE | re.MULTILINE)
# Codings in which a letter of ASCII is that letter: what is checked here is then what mne reads.
_CODINGS = re.compile(r"utf-?8|ansi|us-?ascii|ascii|latin-?\d|iso-?8859-?\d{1,2}|(windows-?|cp)125\d", re.IGNORECASE)
# Tags of a FIF file: of the file, of its directory, of the name of another file.
_DIRECTORY, _OTHER_FILE = 101, 118
_TAG_BYTES = 16
_MOST_TAGS = 1_000_000
# Bytes of a value in each type of GDF (table 3).
_GDF_VERSION = re.compile(rb"GDF (\d\.\d\d?)")
_GDF_BYTES = {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 8, 8: 8, 16: 4, 17: 8}
# A header that claims so many times more samples than its files have bytes is wrong.
_ABSURD = 1000


def check_named(path: Path) -> None:
    """Refuse a container that names files outside of its folder, or whose chain of tags does not end.

    Raises
    ------
    DataError
        It names such a file, or a tag leads back; it inflates beyond all measure.
    """
    name = path.name.lower()
    if name.endswith(".vhdr"):
        _check_brainvision(path)
    elif name.endswith(".gdf"):
        _check_gdf(path)
    elif name.endswith(".fif"):
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _check_fif(path, data)
    elif name.endswith(".fif.gz"):
        _check_fif(path, _inflated(path))


def check_claimed(path: Path, files: Iterator[Path], values: int) -> None:
    """Refuse samples that lie outside of the folder, and more of them than the files can hold."""
    held = 0
    for file in files:
        held += beside(path, file.name).stat().st_size
        if file.parent.resolve() not in {path.parent.resolve(), path.resolve().parent}:
            raise DataError(f"{path}: refers to '{file}'; only files beside the header are read")
    if values > _ABSURD * held:
        raise DataError(f"{path}: the header claims {values} values, the files hold {held} bytes: one of them is wrong")


def _check_brainvision(path: Path) -> None:
    raw = read_start(path, _MOST_HEADER_BYTES + 1)
    if len(raw) > _MOST_HEADER_BYTES:
        raise DataError(f"{path}: is no header of BrainVision: it is larger than {_MOST_HEADER_BYTES} bytes")
    text = raw.decode("utf-8", errors="replace")
    for coding in _CODEPAGE.findall(text):
        if not _CODINGS.fullmatch(coding.strip()):
            raise DataError(f"{path}: is written in '{coding.strip()[:40]}'; save it as UTF-8")
    for _, name in _NAMED.findall(text):
        _plain(path, name.strip().replace("$b", path.stem))


def _plain(path: Path, name: str) -> None:
    if name in {"", ".", ".."} or PurePosixPath(name).name != name or "\\" in name or not name.isprintable():
        raise DataError(f"{path}: refers to '{name[:80]}'; only files beside the header are read")
    beside(path, name)


def _check_gdf(path: Path) -> None:
    """Refuse a table of events that claims more than the file has: mne makes room for it before it reads (GDF 2.51, §3)."""
    size, head = path.stat().st_size, read_start(path, 256)
    version = _GDF_VERSION.match(head)
    if version is None or len(head) < 256:
        raise DataError(f"{path}: not readable: it does not start as a GDF file does")
    number = float(version[1])
    table = _gdf_table(path, size, head, newer=number >= 1.9)
    with path.open("rb") as stream:
        stream.seek(min(table, size))
        first = stream.read(8).ljust(8, b"\0")
    counted = int.from_bytes(first[1:4] if number >= 1.94 else first[4:8], "little")
    if 6 * counted > max(size - table, 0):
        raise DataError(f"{path}: not readable: {counted} events claimed in {max(size - table, 0)} bytes")


def _gdf_table(path: Path, size: int, head: bytes, *, newer: bool) -> int:
    """Return where the table of events begins: behind the header and all data records."""
    records: int = struct.unpack("<q", head[236:244])[0]
    channels = int.from_bytes(head[252 : 254 if newer else 256], "little")
    start: int = 256 * int.from_bytes(head[184:186], "little") if newer else struct.unpack("<q", head[184:192])[0]
    if not (256 * (channels + 1) <= min(start, size) and -1 <= records <= size):
        raise DataError(f"{path}: not readable: {records} records of {channels} channels after a header of {start} bytes")
    described = read_start(path, 256 * (channels + 1))[256 + 216 * channels :]
    samples = struct.unpack(f"<{channels}i", described[: 4 * channels])
    types = struct.unpack(f"<{channels}i", described[4 * channels : 8 * channels])
    if min(samples, default=0) < 0 or not _GDF_BYTES.keys() >= set(types):
        raise DataError(f"{path}: not readable: channels of {samples[:8]} values of the types {types[:8]}")
    data: int = max(records, 0) * sum(n * _GDF_BYTES[t] for n, t in zip(samples, types, strict=True))
    return start + data


def _inflated(path: Path) -> bytes:
    most, parts = max(SMALL_BYTES, MOST_GROWN * path.stat().st_size), []
    try:
        with gzip.open(path) as stream:
            while part := stream.read(1 << 20):
                parts.append(part)
                if len(parts) << 20 > most:
                    raise DataError(f"{path}: its compressed part holds more than {most} bytes")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable: {error}") from error
    return b"".join(parts)


def _check_fif(path: Path, data: mmap.mmap | bytes) -> None:
    size = len(data)
    if size < 2 * _TAG_BYTES or data[:4] != b"\0\0\0\x64":
        raise DataError(f"{path}: not readable: it does not start as a FIF file does")
    for kind, at in _tags(path, data):
        if kind != _OTHER_FILE:
            continue
        # Whatever the directory says of it, the tag itself is read.
        _, _, length, _ = struct.unpack(">iiii", data[at : at + _TAG_BYTES].ljust(_TAG_BYTES, b"\0"))
        _plain(path, data[at + _TAG_BYTES : at + _TAG_BYTES + max(length, 0)].decode("latin-1"))


def _tags(path: Path, data: mmap.mmap | bytes) -> Iterator[tuple[int, int]]:
    """Give the kind and the place of every tag: by the chain, and by the directory, which may tell another story."""
    at, directory = 0, -1
    for _ in range(_MOST_TAGS):
        if not 0 <= at <= len(data) - _TAG_BYTES:
            break
        kind, _, length, after = struct.unpack(">iiii", data[at : at + _TAG_BYTES])
        if length < 0 or 0 < after <= at:
            raise DataError(f"{path}: not readable: a tag of {length} bytes after which comes byte {after}")
        if kind == _DIRECTORY and directory < 0:
            directory = _whole(data, at + _TAG_BYTES)
        yield kind, at
        at = after or at + _TAG_BYTES + length
    else:
        raise DataError(f"{path}: not readable: more than {_MOST_TAGS} tags")
    if 0 < directory <= len(data) - _TAG_BYTES:
        begin = directory + _TAG_BYTES
        entries = data[begin : begin + max(_whole(data, directory + 8), 0)]
        for kind, _, _, place in struct.iter_unpack(">iiii", entries[: len(entries) // 16 * 16]):
            yield kind, max(place, 0)


def _whole(data: mmap.mmap | bytes, at: int) -> int:
    number: int = struct.unpack(">i", data[at : at + 4].ljust(4, b"\0"))[0]
    return number
