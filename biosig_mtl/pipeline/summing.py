"""What there is to tell at the end of a preparation: the same on every engine, but for the seconds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from biosig_mtl import store
from biosig_mtl.pipeline.engines import Account

TOP = 5
_NUMBER = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[+-]?\d+)?")


@dataclass(frozen=True)
class Summary:
    """How a preparation went.

    ``lots`` of the whole store, of which this run ``wrote`` some and ``missing`` are still to be written by other shards;
    ``account`` holds retries and quarantined records; ``recorded_s`` are the seconds of recordings that this run worked, and
    ``wall_s`` what it took, planning included. ``refused`` counts whole records by reason, ``windows_refused`` windows, both
    most frequent first; empty while lots are missing.
    """

    lots: int
    wrote: int
    missing: int
    account: Account
    recorded_s: float
    wall_s: float
    refused: Sequence[tuple[str, int]] = ()
    windows_refused: Sequence[tuple[str, int]] = ()

    def lines(self) -> list[str]:
        """Return what a user is told."""
        told = [_counted("records refused", self.refused), _counted("windows refused", self.windows_refused)]
        if self.wrote or self.missing:
            told.append(self._of_lots())
        if self.account.quarantined:
            names = self.account.quarantined
            more = f" and {len(names) - TOP} more" if len(names) > TOP else ""
            told.append(f"left out after three tries: {', '.join(names[:TOP])}{more} (see rejected.csv)")
        if self.wrote and self.wall_s > 0:
            hours = self.recorded_s / 3600
            told.append(f"{hours:.2f} record-hours in {self.wall_s:.1f} s: {hours / self.wall_s:.3g} record-hours a second")
        return [line for line in told if line]

    def _of_lots(self) -> str:
        found = self.lots - self.wrote - self.missing
        words = [f"{self.wrote} written now"]
        words += [f"{found} found"] if found else []
        words += [f"{self.missing} still missing"] if self.missing else []
        retries = self.account.retries
        words += [f"{retries} {'retry' if retries == 1 else 'retries'} after a worker died"] if retries else []
        return f"{self.lots} {'lot' if self.lots == 1 else 'lots'}: {', '.join(words)}"


@dataclass(frozen=True)
class Prepared:
    """A prepared store, or what is there of it while shards are missing."""

    folder: Path
    summary: Summary

    @property
    def finished(self) -> bool:
        """Whether every lot is there."""
        return not self.summary.missing


def summarise(folder: Path, counts: Summary) -> Summary:
    """Return a summary with what the store itself tells of reasons."""
    if counts.missing:
        return counts
    rows = store.read_rejected(folder)
    whole = _kinds((record, why) for record, onset, why in rows if not onset)
    return replace(counts, refused=whole, windows_refused=_kinds((record, why) for record, onset, why in rows if onset))


def kind_of(reason: str, record: str) -> str:
    """Return a reason without what differs from record to record: its name, its file, the numbers.

    >>> kind_of("s001/s001_1.hea: 3 beats, need at least 5", "s001_1")
    '… beats, need at least …'
    """
    return _NUMBER.sub("…", _without(reason, record))


def _without(reason: str, record: str) -> str:
    """Return a reason without the name of its record and the file of that name."""
    own = re.sub(rf"\S*(?<!\w){re.escape(record)}(?!\w)\S*\s*", "", reason) if record else reason
    return own.strip() or reason


def _kinds(rows: Iterable[tuple[str, str]]) -> list[tuple[str, int]]:
    """Count rows by kind; one whose rows all say the same is told in full, with its numbers."""
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}
    for record, why in rows:
        kind = kind_of(why, record)
        counts[kind] += 1
        own = _without(why, record)
        words[kind] = own if words.setdefault(kind, own) == own else kind
    return [(words[kind], n) for kind, n in counts.most_common()]


def _counted(what: str, kinds: Sequence[tuple[str, int]]) -> str:
    if not kinds:
        return ""
    shown = "; ".join(f"{n} × {kind}" for kind, n in kinds[:TOP])
    rest = sum(n for _, n in kinds[TOP:])
    return f"{what}: {shown}{f'; {rest} for other reasons' if rest else ''}"
