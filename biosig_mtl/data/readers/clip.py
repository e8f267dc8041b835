"""A stretch of a recording as a recording of its own: one film clip of a session, its times counted from its own start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from biosig_mtl.types import F64, ChannelInfo, DataError, Entry, Label, Record, Source


@dataclass(frozen=True, slots=True)
class Clip:
    """The part of ``source`` from ``start_s`` up to ``stop_s``, under the names of ``entry``.

    Times (seams, labels, parts to read) count from the start of the clip. A clip begins and ends on a frame of its source,
    the nearest one, so read(0, a) and read(a, b) joined equal read(0, b). ``baseline_s`` are seconds of the *clip*, from and
    up to, that were a rest before the stimulus; None keeps what the source has of it. ``seams_s`` are further instants of the
    clip that no window may hold.
    """

    source: Source
    entry: Entry
    start_s: float
    stop_s: float
    baseline_s: tuple[float, float] | None = None
    seams_s: F64 = field(default_factory=lambda: np.empty(0))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a stretch that does not lie in the recording."""
        where = f"{self.entry.path}: {self.entry.record}"
        if not 0 <= self.start_s < self.stop_s:
            raise DataError(f"{where}: begins at {self.start_s:g} s and ends at {self.stop_s:g} s: no part of a recording")
        if self.start_s >= self.source.duration_s:
            raise DataError(f"{where}: begins at {self.start_s:g} s, the recording ends at {self.source.duration_s:g} s")
        # The clip begins where its first frame does; all its times count from there. Reading nothing costs nothing.
        object.__setattr__(self, "start_s", self.source.read(self.start_s, self.start_s).start_s)

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """Channels by our name."""
        return self.source.channels

    @property
    def duration_s(self) -> float:
        """Length in seconds; shorter than asked for where the recording ends early."""
        return min(self.stop_s, self.source.duration_s) - self.start_s

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> Record:
        """Return the part from ``start_s`` up to ``stop_s`` of the clip; times beyond its ends are cut off."""
        length = self.duration_s
        begin = float(np.clip(start_s, 0, length))
        end = length if stop_s is None else float(np.clip(stop_s, begin, length))
        whole = self.source.read(self.start_s + begin, self.start_s + end)
        seams = np.union1d(whole.seams_s - self.start_s, self.seams_s)
        return replace(
            whole,
            name=self.entry.record,
            subject=self.entry.subject,
            session=self.entry.session,
            stimulus=self.entry.stimulus,
            start_s=whole.start_s - self.start_s,
            seams_s=seams[(seams > 0) & (seams < length)],
            labels=self.entry.labels or tuple(_moved(whole, self.start_s, length)),
            baseline_s=self.baseline_s or _within(whole.baseline_s, self.start_s, length),
            notes=(*whole.notes, *self.notes, *self._short()),
        )

    def _short(self) -> tuple[str, ...]:
        missing = self.stop_s - self.source.duration_s
        return (f"{self.entry.path.name}: ends {missing:.1f} s before the clip does",) if missing > 0.1 else ()


def _moved(record: Record, start_s: float, length: float) -> list[Label]:
    """Return labels with their times counted from the clip; those of other times are none of its labels."""
    moved = [replace(x, time_s=x.time_s - start_s) if x.time_s is not None else x for x in record.labels]
    return [x for x in moved if x.time_s is None or 0 <= x.time_s <= length]


def _within(span: tuple[float, float] | None, start_s: float, length: float) -> tuple[float, float] | None:
    if span is None:
        return None
    begin, end = max(span[0] - start_s, 0.0), min(span[1] - start_s, length)
    return (begin, end) if begin < end else None
