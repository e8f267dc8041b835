"""The one opened record that all formats share: they differ only in how they fetch samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from biosig_mtl.types import F32, F64, Channel, ChannelInfo, Entry, Record

# First and last frame (half-open) → samples of each channel by our name, float32, NaN where there are none.
Fetch = Callable[[int, int], Mapping[str, F32]]


_LONGEST_NAME = 200


def plain_text(text: str) -> str:
    r"""Return a name or unit of a file as it may be shown: what a terminal would obey or cannot write is left out.

    >>> plain_text("ECG\x1b[2J II\x00 ")
    'ECG[2J II'
    """
    shown = text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())
    return shown[:_LONGEST_NAME].strip()


@dataclass(frozen=True, slots=True)
class LazySource:
    """An opened record: frames ``fs`` times a second, each with one or more samples of every channel.

    A part always begins and ends on a frame, so that channels of different rates stay aligned; parts that meet in time meet
    in samples: read(0, a) and read(a, b) joined equal read(0, b).
    """

    entry: Entry
    channels: Mapping[str, ChannelInfo]
    source_names: Mapping[str, str]
    fs: float
    frames: int
    fetch: Fetch
    seams_s: F64 = field(default_factory=lambda: np.empty(0))
    notes: tuple[str, ...] = ()
    baseline_s: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Give label channels the scale that the manifest tells, where the file has none."""
        told = self.entry.options.get("units", {})
        scaled = {
            n: replace(i, unit=told[n]) for n, i in self.channels.items() if i.kind == "label" and not i.unit and n in told
        }
        if scaled:
            object.__setattr__(self, "channels", {**self.channels, **scaled})

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.fs

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> Record:
        """Return the part from ``start_s`` up to ``stop_s``; times beyond the ends are cut off.

        Times are rounded to the nearest frame; ``start_s`` of the record says where it really begins.
        """
        first = self._frame(start_s)
        stop = self.frames if stop_s is None else max(self._frame(stop_s), first)
        samples = self.fetch(first, stop)
        channels = {
            name: Channel(name, info.kind, info.unit, info.fs, samples[name], self.source_names[name])
            for name, info in self.channels.items()
        }
        return Record(
            name=self.entry.record,
            subject=self.entry.subject,
            session=self.entry.session,
            channels=channels,
            start_s=first / self.fs,
            seams_s=self.seams_s,
            labels=self.entry.labels,
            demographics=self.entry.demographics,
            timing_reliable=self.entry.timing_reliable,
            stimulus=self.entry.stimulus,
            notes=self.notes,
            baseline_s=self.baseline_s,
            session_s=self.entry.options.get("session_s"),
            person=str(self.entry.options.get("person", "")),
        )

    def _frame(self, time_s: float) -> int:
        # Clipped before it is made an integer: the time may be infinite.
        return int(np.rint(np.clip(time_s * self.fs, 0, self.frames)))
