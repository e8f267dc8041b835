"""What a search for records finds, and the order and index by which it is told."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from biosig_mtl.types import DataError, Label

FOLLOW = "BIOSIG_FOLLOW_LINKS"
LONGEST_NAME = 400
_MOST_BYTES = 1 << 28
_MOST_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A record on disk (or not, with a ``reason``), and what the set knows of it without opening its samples.

    ``options`` go to the reader of the format: which trial of a file, where a clip begins.
    """

    record: str
    subject: str
    path: Path
    session: str = "1"
    labels: tuple[Label, ...] = ()
    demographics: Mapping[str, float] | None = None
    options: Mapping[str, object] | None = None
    reason: str = ""
    stimulus: str = ""


def natural(name: str) -> tuple[tuple[int, str | int], ...]:
    """Return a sort key by which ``u2`` comes before ``u10``."""
    # Digits beyond these are no number of a subject, and Python refuses to read thousands of them.
    return tuple((0, int(w[:300])) if w.isdecimal() else (1, w) for w in re.findall(r"\d+|\D+", name))


def showable(name: str) -> bool:
    """Tell whether a name from a stranger's file can stand in a line, a table, a page and a path."""
    return name.isprintable() and len(name) <= LONGEST_NAME and ".." not in re.split(r"[/\\]", name)


class Fence:
    """Which files lie below a folder when every link is followed.

    The folder itself may be a link, and so may what lies in it, as long as it leads to a place below it or into the store of
    git-annex around it. Who has laid links to elsewhere sets ``BIOSIG_FOLLOW_LINKS=1``.
    """

    def __init__(self, root: Path) -> None:
        """Follow the folder itself."""
        self._root = root.resolve()
        self._annexes = [folder / ".git" / "annex" / "objects" for folder in (self._root, *self._root.parents)]
        self._known: dict[Path, bool] = {}
        self._open = os.environ.get(FOLLOW, "") == "1"

    def holds(self, path: Path) -> bool:
        """Tell whether a path leads to a place below the folder."""
        if self._open:
            return True
        if path.parent not in self._known:
            self._known[path.parent] = self._below(path.parent)
        return self._known[path.parent] and (not path.is_symlink() or self._below(path))

    def _below(self, path: Path) -> bool:
        try:
            place = path.resolve()
        except (OSError, RuntimeError, ValueError):  # links in a circle, a name with a zero
            return False
        return place.is_relative_to(self._root) or any(place.is_relative_to(annex) for annex in self._annexes)


def read_index(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of an index with their line numbers; raise `DataError` where one is not readable."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: has more than {_MOST_BYTES >> 20} MB: is it an index with a row a record?")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            _check_heading(reader.fieldnames or [], path)
            missing = [c for c in columns if c not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"{path}: no column '{missing[0]}'; it has {', '.join(reader.fieldnames or []) or 'nothing'}")
            for row in reader:
                short = [c for c in columns if not row.get(c)]
                if short or None in row:
                    what = f"no value in column '{short[0]}'" if short else "more cells than headings"
                    raise DataError(f"{path}, line {reader.line_num}: {what}")
                yield reader.line_num, {k: v for k, v in row.items() if v is not None}
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as CSV: {str(error)[:100]}") from error


def _check_heading(names: Sequence[str], path: Path) -> None:
    if len(names) > _MOST_COLUMNS:
        raise DataError(f"{path}: has {len(names)} columns: is it an index with a row a record?")
    twice = next((name for name in names if name and names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError(f"{path}: has two columns '{twice[:80]}': nobody knows which is meant")
