"""Data sets that lie in an object store: listed from afar, staged a record at a time.

The driver lists the place once and lays a *listing* of it: a folder in which every file has its name and its size and, but for
headers and indices, no content. All listing rules work on it as on the set itself, and the digest of the store is the same. A
worker that opens a record stages its own files first, into a folder in which nothing else lies; so a file that was not fetched
is missing, loudly, and never read as zeros. Only the record in hand is kept.

Every listing and every worker has a folder of its own: nobody takes away what another run, process or thread is reading. They
go when their process ends; what a killed one left goes after `KEPT_S`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from multiprocessing.util import Finalize
from pathlib import Path, PurePosixPath

from biosig_mtl.data.manifest_schema import Manifest
from biosig_mtl.places import Place, bring, cache
from biosig_mtl.types import DataError, Entry

MARK = ".biosig-listing.json"
# Formats whose listing looks at names, sizes, indices and headers only; the others are copied whole before they are listed.
LISTED = ("wfdb", "edf", "table", "mne")
HEADERS = (".hea", ".vhdr")
SMALL_BYTES = 2**20
_OURS = re.compile(r"\d+-[0-9a-f]{16}")  # how folders of listings are called
KEPT_S = 30 * 86400.0
_LONGEST_NAME = 255  # bytes that a file system takes
_HOPS = 3  # a record of segments names headers, which name files


def lay(manifest: Manifest, place: Place) -> Path:
    """Lay the listing of a data set at a place; return its folder, which stands for the set's own.

    Raises
    ------
    DataError
        The place cannot be reached or holds nothing, or the disk has no room for what must be copied.
    """
    found = place.files()
    if not found:
        raise DataError(f"{place.url}: holds no file; see `biosig-mtl data describe {manifest.name}`")
    found.pop(MARK, None)  # ours is the only one
    _sweep()
    folder = _own_folder("listings")
    needed = {name: size for name, size in found.items() if _needed(manifest, name, size)}
    try:
        folder.mkdir(parents=True)
        # Before the first hole: no listing is ever taken for a data set of this machine.
        told = {"url": place.url, "whole": manifest.format not in LISTED}
        (folder / MARK).write_text(json.dumps(told), encoding="utf-8")
        for name, size in found.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name not in needed:
                with path.open("wb") as file:
                    file.truncate(size)  # a hole: it takes no room
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; set BIOSIG_CACHE to a larger disk") from error
    bring(place, needed, folder)
    return folder


def _own_folder(kind: str) -> Path:
    """Return the name of a folder that nobody else has; it goes when this process ends."""
    folder = cache() / kind / f"{os.getpid()}-{secrets.token_hex(8)}"
    # Also kept by processes of a pool, which end without what `atexit` has to do.
    Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=0)
    return folder


def _sweep() -> None:
    """Take away what killed processes left long ago."""
    for left in (*cache().glob("listings/*"), *cache().glob("staged/*")):
        if _age_s(left) > KEPT_S:
            shutil.rmtree(left, ignore_errors=True)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0


def _needed(manifest: Manifest, name: str, size: int) -> bool:
    """Whether the listing of a set opens this file."""
    if manifest.format not in LISTED:
        return True
    index = manifest.index.file if manifest.index else ""
    return name == index or (PurePosixPath(name).suffix.lower() in HEADERS and size <= SMALL_BYTES)


@dataclass
class Staged:
    """The files of one record at a time, in a folder of one thread alone; ``given`` is that folder where it is told."""

    given: Path | None = None
    record: tuple[str, str] = ("", "")

    @cached_property
    def folder(self) -> Path:
        """Where the record in hand lies; a data set on this machine needs no such folder, and no home to put it in."""
        return self.given or _own_folder("staged")

    def entry(self, entry: Entry, root: Path) -> Entry:
        """Return the record with its files at hand; of a set on this machine, as it is.

        Raises
        ------
        GoneError
            A file is no longer there.
        DataError
            A file cannot be fetched: this says nothing about the record.
        """
        url = _laid(root)
        if not url:
            return entry
        if self.record != (url, entry.record):
            self.clear()
            name = entry.path.relative_to(root).as_posix()
            self._fetch(Place(url), name, root)
            self.record = (url, entry.record)
        return replace(entry, path=self.folder / entry.path.relative_to(root))

    def _fetch(self, place: Place, name: str, root: Path) -> None:
        waiting, seen = [name], set[str]()
        for _ in range(_HOPS):
            names = {n for n in waiting if n not in seen and (root / n).is_file()}
            bring(place, {n: (root / n).stat().st_size for n in names}, self.folder)
            seen |= names
            waiting = [other for n in sorted(names) for other in _company(self.folder / n, PurePosixPath(n), root)]

    def plain(self, text: str, root: Path) -> str:
        """Return a message without the place of the data on this machine."""
        text = text.replace(f"{root}/", "")
        return text.replace(f"{self.folder}/", "") if _laid(root) else text

    def clear(self) -> None:
        """Take the staged record away."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.record = ("", "")


def _company(path: Path, name: PurePosixPath, root: Path) -> Iterator[str]:
    """Yield the files that go with one: of the same stem beside it, and those that a header names."""
    beside = name.parent
    if name.suffix.lower() not in HEADERS:
        for other in (root / beside).glob(f"{_literal(name.stem)}.*"):
            yield (beside / other.name).as_posix()
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    words = re.findall(r"^(?:(?:Data|Marker)File=)?(\S+)", text, re.MULTILINE)
    for word in words:
        for candidate in (word, f"{word}.hea"):
            parts = PurePosixPath(candidate).parts
            fits = all(len(part.encode()) <= _LONGEST_NAME for part in parts) and candidate.isprintable()
            if fits and ".." not in parts and not candidate.startswith(("/", "#", "~")):
                yield (beside / candidate).as_posix()


def _literal(stem: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", stem)


@lru_cache(maxsize=8)
def _laid(root: Path) -> str:
    """Return the address of which a folder is the listing; empty for a data set on this machine.

    A mark that came along with somebody's data set is not believed: it would have us fetch from wherever it says.
    """
    if root.parent.name != "listings" or not _OURS.fullmatch(root.name):
        return ""
    try:
        told = json.loads((root / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise DataError(f"{root / MARK}: not readable; run the same command again") from error
    return "" if told["whole"] else str(told["url"])


_HERE = threading.local()


def staged() -> Staged:
    """Return what this thread stages its records with: a process that is split off begins with a folder of its own."""
    if getattr(_HERE, "process", 0) != os.getpid():
        _HERE.process, _HERE.own = os.getpid(), Staged()
    own: Staged = _HERE.own
    return own
