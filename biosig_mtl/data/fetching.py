"""One file over an unsteady line: it goes on where it stopped, and takes its name only when it is whole.

No library at hand does this: pooch 1.9 checks sums but neither goes on where a transfer stopped nor notices a stall, and has
no word on links in archives; `wfdb.dl_*` checks nothing. So: urllib, and the rules of RFC 9110 on ranges.

While a file is on its way it is called ``NAME.part``, and ``NAME.part.json`` says which version of it the server named.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from biosig_mtl.data.fetching_line import Later, Line, NoSuchPart
from biosig_mtl.types import DataError

# Name of the file, bytes so far, bytes in all (0 where unknown).
Progress = Callable[[str, int, int], None]

_CHUNK = 1 << 18
# An attempt that brings this much was no failure.
_WORTH = 1 << 16
# No file of a known set comes near this; an endless answer must not fill the disk.
_MOST_BYTES = 50 << 30
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoomError(DataError):
    """There is no room: no other file of the set will fit either."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch: its address, its path below the folder, and what is known of it (empty and 0 where nothing is)."""

    url: str
    name: str
    sha256: str = ""
    bytes: int = 0
    unpack: bool = False


@dataclass(slots=True)
class _Held:
    """What we hold of a file: how much, its hash so far, and which version of it the server said it was."""

    part: Path
    done: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    etag: str = ""
    modified: str = ""
    total: int = 0
    best: int = 0
    stale: bool = False

    @property
    def note(self) -> Path:
        """Where it is noted which version this is."""
        return self.part.with_name(self.part.name + ".json")

    def drop(self) -> None:
        """Forget all: what we hold is not a beginning of what they have."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.done, self.hash, self.etag, self.modified, self.total, self.stale = 0, hashlib.sha256(), "", "", 0, False


def fetch_file(wanted: Wanted, path: Path, line: Line, progress: Progress | None = None) -> tuple[int, str]:
    """Fetch a file; return its size and sha256.

    A part that an earlier attempt left is gone on with, if the server still has that very version (its ETag or date, asked by
    ``If-Range``), or if the checksum is known, so that a mixture would be found. Otherwise it begins anew, as it does where
    the server knows no ranges.

    Raises
    ------
    DataError
        It could not be had: the message says why, and whether it may be run again. Nothing stands under the name; what came
        so far stays as ``NAME.part`` wherever it may be gone on with.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = _found(wanted, path.with_name(path.name + ".part"))
    while True:
        _until_whole(wanted, held, line, progress)
        digest = held.hash.hexdigest()
        wrong = (wanted.bytes and held.done != wanted.bytes) or (wanted.sha256 and digest != wanted.sha256)
        if not wrong:
            return held.done, _settle(held, path)
        size, stale = held.done, held.stale
        held.drop()
        # What was begun by an earlier run may have been damaged on this disk: that deserves one attempt from nothing.
        if not stale:
            raise DataError(
                f"{wanted.url}: is not the file that the manifest names ({size} bytes, sha256 {digest}); nothing was kept"
            )


def _found(wanted: Wanted, part: Path) -> _Held:
    """Return what an earlier run left, if it may be gone on with."""
    held = _Held(part)
    if not part.is_file():
        held.drop()
        return held
    try:
        note = json.loads(held.note.read_text(encoding="utf-8"))
        held.etag, held.modified, held.total = str(note["etag"]), str(note["modified"]), int(note["total"])
        same = note["url"] == wanted.url and bool(held.etag or held.modified)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not (same or wanted.sha256):
        held.drop()
        return held
    held.done, held.stale = part.stat().st_size, True
    if held.done > (wanted.bytes or held.total or held.done):
        held.drop()
        return held
    with part.open("rb") as stream:
        held.hash = hashlib.file_digest(stream, "sha256")
    return held


def _settle(held: _Held, path: Path) -> str:
    digest: str = held.hash.hexdigest()
    os.replace(held.part, path)  # noqa: PTH105
    held.note.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # the name must outlive a loss of power too, where a folder can be flushed
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return digest


def _until_whole(wanted: Wanted, held: _Held, line: Line, progress: Progress | None) -> None:
    """Try until the file is whole; wait longer after each attempt that brought nothing."""
    failed = 0
    held.best = held.done
    while True:
        size = wanted.bytes or held.total
        if held.done and held.done == size and held.stale:
            return  # was whole, and only not checked yet
        try:
            _attempt(wanted, held, line, progress)
        except Later as reason:
            failed = 0 if held.done - held.best >= _WORTH else failed + 1
            held.best = max(held.best, held.done)
            _wait(wanted, reason, failed, line)
        else:
            return


def _wait(wanted: Wanted, reason: Later, failed: int, line: Line) -> None:
    patience = line.patience
    if failed >= patience.tries:
        raise DataError(f"{wanted.url}: transfer failed {failed} times ({reason}); run it again to go on") from reason
    if reason.wait_s > patience.longest_wait_s:
        raise DataError(f"{wanted.url}: the server asks us to come back in {reason.wait_s:.0f} s ({reason}); run it again then")
    pause = min(patience.first_wait_s * 2 ** max(failed - 1, 0), patience.longest_wait_s) * random.uniform(0.5, 1.5)
    if line.stop.wait(max(pause, reason.wait_s)):
        raise DataError(f"{wanted.url}: stopped; run it again to go on")


def _attempt(wanted: Wanted, held: _Held, line: Line, progress: Progress | None) -> None:
    asked = {}
    if held.done:
        asked["Range"] = f"bytes={held.done}-"
        # A weak ETag names a meaning, not bytes (RFC 9110, 13.1.5): then the date has to do.
        version = held.etag if held.etag and not held.etag.startswith("W/") else held.modified
        asked |= {"If-Range": version} if version else {}
    try:
        with line.open(wanted.url, asked) as answer:
            _meet(answer, wanted, held)
            _drain(answer, wanted, held, line, progress)
    except NoSuchPart:
        held.drop()
        raise
    except (OSError, http.client.HTTPException) as error:
        raise Later(str(error)[:100] or type(error).__name__) from error


def _meet(answer: Any, wanted: Wanted, held: _Held) -> None:
    """Decide by the head of an answer whether it goes on, begins anew, or is not what was asked for."""
    heads = answer.headers
    _check_kind(answer, wanted)
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        _goes_on(heads, held)
    else:
        held.drop()
        held.total = _length(heads)
    known = held.total or heads.get("Content-Length") == "0" or answer.chunked or wanted.sha256 or wanted.bytes
    if not known:
        raise DataError(f"{wanted.url}: neither the server nor the manifest says how long it is: a cut could not be noticed")
    if wanted.bytes and held.total and held.total != wanted.bytes:
        total = held.total
        held.drop()
        raise DataError(f"{wanted.url}: is not the file that the manifest names ({total} bytes, not {wanted.bytes})")
    held.etag, held.modified = heads.get("ETag", ""), heads.get("Last-Modified", "")
    _room(wanted, held)
    _note(wanted, held)


def _check_kind(answer: Any, wanted: Wanted) -> None:
    heads = answer.headers
    if answer.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        raise DataError(f"{wanted.url}: answers HTTP {answer.status} and no file")
    if heads.get("Content-Encoding", "identity").lower() not in {"identity", ""}:
        raise DataError(f"{wanted.url}: is sent in a packed form that was not asked for ({heads['Content-Encoding'][:20]})")
    if not wanted.sha256 and "html" in heads.get("Content-Type", "") and not wanted.name.lower().endswith((".htm", ".html")):
        raise DataError(f"{wanted.url}: is a web page (of an error or a log-in?), not the file {wanted.name}")


def _goes_on(heads: Any, held: _Held) -> None:
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", heads.get("Content-Range", "").strip())
    total = int(found[3]) if found and found[3] != "*" else 0
    other = (
        (held.etag and heads.get("ETag", held.etag) != held.etag)
        or (held.modified and heads.get("Last-Modified", held.modified) != held.modified)
        or (held.total and total and total != held.total)
    )
    if not held.done or found is None or int(found[1]) != held.done or other:
        held.drop()
        raise Later("the file changed on the server meanwhile" if other else "the server sent another part than was asked for")
    held.total = total or held.total


def _length(heads: Any) -> int:
    text = heads.get("Content-Length", "").strip()
    return int(text) if text.isdigit() else 0


def _note(wanted: Wanted, held: _Held) -> None:
    note = {"url": wanted.url, "etag": held.etag, "modified": held.modified, "total": held.total}
    _on_disk(held, lambda: held.note.write_text(json.dumps(note), encoding="utf-8"))


def _room(wanted: Wanted, held: _Held) -> None:
    """Refuse what cannot fit before it comes."""
    total = held.total or wanted.bytes
    free = shutil.disk_usage(held.part.parent).free
    if total - held.done > free:
        raise NoRoomError(
            f"{held.part.parent}: {wanted.name} needs {total - held.done} more bytes, there are {free}; make room first"
        )


def _drain(answer: Any, wanted: Wanted, held: _Held, line: Line, progress: Progress | None) -> None:
    total = wanted.bytes or held.total
    most = wanted.bytes or _MOST_BYTES
    mark_s, mark = time.monotonic(), held.done
    with held.part.open("ab" if held.done else "wb", buffering=0) as stream:
        # read1 gives what is there: a cut line leaves us all that came before it.
        while block := answer.read1(_CHUNK):
            if held.done + len(block) > most:
                stream.close()
                held.drop()
                raise DataError(f"{wanted.url}: sends more than {most} bytes; nothing was kept")
            _on_disk(held, lambda block=block: _write(stream, block))  # type: ignore[misc]
            held.done += len(block)
            held.hash.update(block)
            if progress:
                progress(wanted.name, held.done, total)
            if line.stop.is_set():
                raise DataError(f"{wanted.url}: stopped; run it again to go on")
            mark_s, mark = _moves(held, line, mark_s, mark)
        _on_disk(held, lambda: os.fsync(stream.fileno()))
    if total and held.done < total:
        raise Later(f"{held.done} of {total} bytes came")


def _write(stream: io.FileIO, block: bytes) -> None:
    # Unbuffered: a buffer would be tried once more, and fail once more, when the file is closed.
    rest = memoryview(block)
    while rest:
        rest = rest[stream.write(rest) :]


def _moves(held: _Held, line: Line, mark_s: float, mark: int) -> tuple[float, int]:
    """Return the next mark; raise `Later` where too little came since the last."""
    now_s = time.monotonic()
    if now_s - mark_s < line.patience.stall_s:
        return mark_s, mark
    if held.done - mark < line.patience.least_rate * (now_s - mark_s):
        raise Later(f"only {held.done - mark} bytes in {now_s - mark_s:.0f} s")
    return now_s, held.done


def _on_disk(held: _Held, write: Callable[[], object]) -> None:
    """Write; where the disk refuses, say so, apart from what the line does."""
    try:
        write()
    except OSError as error:
        folder = held.part.parent
        if error.errno in _FULL:
            missing = f"; {held.total - held.done} more bytes are needed" if held.total else ""
            raise NoRoomError(
                f"{folder}: no room left{missing}; make room and run it again: it goes on from {held.done} bytes"
            ) from error
        raise NoRoomError(f"{folder}: cannot be written to: {error.strerror}") from error
