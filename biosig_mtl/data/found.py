"""What a search for records finds, and the order and index by which it is told."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from biosig_mtl.types import DataError, Label


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
    return tuple((0, int(w)) if w.isdigit() else (1, w) for w in re.findall(r"\d+|\D+", name))


def read_index(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of an index with their line numbers; raise `DataError` where one is not readable."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
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
