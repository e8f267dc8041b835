"""The seeded recordings, broken so that a reader quotes what it stumbles over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

WORD = "KanariBroken"


def variants(path: Path) -> Iterator[str]:
    """Break the recording in place, one way after another; yield the name of each way. The next way starts from the whole."""
    whole = path.read_bytes()
    ways = {
        "half": whole[: len(whole) // 2],
        "tenth": whole[: len(whole) // 10],
        "word in front": WORD.encode() + b"\n" + whole,
        "word in the head": whole[:100] + WORD.encode() + whole[100:],
        "word in numbers": re.sub(rb"(?<![A-Za-z0-9])\d+\.?\d*(?![A-Za-z0-9])", WORD.encode(), whole, count=400),
        "word in every line": whole.replace(b"\n", f" {WORD}\n".encode()),
        "word in a cell": _third_line(whole),
        "word over the numbers of a header": _overwritten(whole),
        "words alone": f"patient {WORD}\n".encode() * 60,
    }
    for name, content in ways.items():
        path.write_bytes(content)
        yield name
    path.write_bytes(whole)


def _third_line(whole: bytes) -> bytes:
    lines = whole.split(b"\n")
    for n in range(2, min(len(lines), 8)):
        for mark in (b",", b"\t", b" "):
            lines[n] = lines[n].replace(mark, mark + WORD.encode() + mark, 1)
    return b"\n".join(lines)


def _overwritten(whole: bytes) -> bytes:
    # Where EDF says how many records there are, how long they are, and how many signals.
    return whole[:236] + WORD[:8].encode() + whole[244:]
