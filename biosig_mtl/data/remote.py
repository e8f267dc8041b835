"""Data sets that lie in an object store: listed from afar, staged a record at a time.

The driver lists the place once and lays a *listing* of it: a folder in which every file has its name and its size and, but for
headers and indices, no content. All listing rules work on it as on the set itself, and the digest of the store is the same. A
worker that opens a record stages its own files first, into a folder in which nothing else lies; so a file that was not fetched
is missing, loudly, and never read as zeros. Only the record in hand is kept.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath

from biosig_mtl.data.manifest_schema import Manifest
from biosig_mtl.places import Place, bring, cache
from biosig_mtl.types import DataError, Entry

MARK = ".biosig-listing.json"
# Formats whose listing looks at names, sizes, indices and headers only; the others are copied whole before they are listed.
LISTED = ("wfdb", "edf", "table", "mne")
HEADERS = (".hea", ".vhdr")
SMALL_BYTES = 2**20
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
    folder = cache() / "listings" / hashlib.sha256(place.url.encode()).hexdigest()[:16]
    shutil.rmtree(folder, ignore_errors=True)  # what was taken away there must not stay here
    needed = {name: size for name, size in found.items() if _needed(manifest, name, size)}
    for name, size in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name not in needed:
            with path.open("wb") as file:
                file.truncate(size)  # a hole: it takes no room
    for name in needed:
        (folder / name).unlink(missing_ok=True)
    bring(place, needed, folder)
    (folder / MARK).write_text(json.dumps({"url": place.url, "whole": manifest.format not in LISTED}), encoding="utf-8")
    return folder


def _needed(manifest: Manifest, name: str, size: int) -> bool:
    """Whether the listing of a set opens this file."""
    if manifest.format not in LISTED:
        return True
    index = manifest.index.file if manifest.index else ""
    return name == index or (PurePosixPath(name).suffix.lower() in HEADERS and size <= SMALL_BYTES)


@dataclass
class Staged:
    """The files of one record at a time, in a folder of this process alone."""

    folder: Path = field(default_factory=lambda: cache() / "staged" / f"{os.getpid()}-{secrets.token_hex(4)}")
    record: tuple[str, str] = ("", "")

    def entry(self, entry: Entry, root: Path) -> Entry:
        """Return the record with its files at hand; of a set on this machine, as it is.

        Raises
        ------
        DataError
            A file cannot be fetched.
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
        return text.replace(f"{root}/", "").replace(f"{self.folder}/", "")

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
            if ".." not in PurePosixPath(candidate).parts and not candidate.startswith(("/", "#", "~")):
                yield (beside / candidate).as_posix()


def _literal(stem: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", stem)


@lru_cache(maxsize=8)
def _laid(root: Path) -> str:
    """Return the address of which a folder is the listing; empty for a data set on this machine."""
    try:
        told = json.loads((root / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise DataError(f"{root / MARK}: not readable; run the same command again") from error
    return "" if told["whole"] else str(told["url"])


STAGED = Staged()
atexit.register(STAGED.clear)
