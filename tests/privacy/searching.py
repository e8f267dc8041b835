"""Looking for words in everything that was written: in each file, and in what is packed or encoded in it."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_BLOB = re.compile(rb"[A-Za-z0-9+/]{48,}={0,2}")
_DEEPEST = 3


def forms(word: str) -> dict[str, bytes]:
    """Return the bytes as which a word may stand in a file; letters are compared without their case in text."""
    made = {name: word.encode(name) for name in ("utf-8", "utf-16-le", "utf-16-be", "latin-1")}
    made["hex"] = binascii.hexlify(word.encode())
    for shift in range(3):
        # Base64 of a word depends on where it stands among threes of bytes: the letters that do not are searched for.
        whole = base64.b64encode(b"\0" * shift + word.encode()).decode()
        skipped = -(-8 * shift // 6)
        made[f"base64+{shift}"] = whole[skipped : len(whole.rstrip("=")) - 1].encode()
    return made


def layers(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield some bytes, and what is packed, compressed or encoded in them."""
    yield content
    if depth >= _DEEPEST:
        return
    for inner in _inside(content):
        yield from layers(inner, depth + 1)


def _inside(content: bytes) -> Iterator[bytes]:
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (name.encode() for name in archive.namelist())
            yield from (archive.read(name) for name in archive.namelist())
    elif content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_texts(content)
    elif content[:4] == b"PAR1":
        yield _parquet(content)
    else:
        for found in _BLOB.finditer(content):
            word = found[0].rstrip(b"=")
            # A last letter that makes no byte belongs to what follows.
            word = word[: len(word) - (len(word) % 4 == 1)]
            yield from _unpacked(base64.b64decode(word + b"=" * (-len(word) % 4)))


def _unpacked(data: bytes) -> Iterator[bytes]:
    yield data
    for open_ in (gzip.decompress, zlib.decompress, lambda d: zlib.decompress(d, -15)):
        try:
            yield open_(data)
        except (OSError, EOFError, zlib.error):
            continue
        return


def _png_texts(content: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        body = content[at + 8 : at + 8 + size]
        if kind in {b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tEXt"}:
            yield body
            # Words come first, each with a zero behind it; what is compressed follows one of them.
            for cut in [n + 1 for n, byte in enumerate(body[:120]) if byte == 0]:
                yield from _unpacked(body[cut:])
        at += size + 12


def _parquet(content: bytes) -> bytes:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(content))
    words = [str(table.schema.metadata), *table.schema.names]
    for name in table.schema.names:
        words += {str(value) for value in table.column(name).to_pylist()}
    return "\n".join(words).encode()


def found_in(content: bytes, words: Iterable[str]) -> list[tuple[str, str]]:
    """Return the words that are in some bytes, each with the form it has there."""
    made = [(word, name, form) for word in words for name, form in forms(word).items()]
    seen = []
    for layer in layers(content):
        low = layer.lower()
        seen += [(word, name) for word, name, form in made if form in layer or (name == "utf-8" and form.lower() in low)]
    return list(dict.fromkeys(seen))


def search(folder: Path, words: Iterable[str]) -> list[str]:
    """Return a line for every word found in a folder: in names of files, or in what they hold."""
    words = list(words)
    told = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() or p.is_dir()):
        name = path.relative_to(folder).as_posix()
        told += [f"{name}: the name holds {word}" for word, _ in found_in(name.encode(), words)]
        if path.is_file():
            told += [f"{name}: {word} as {form}" for word, form in found_in(path.read_bytes(), words)]
    return told
