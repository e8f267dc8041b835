"""A record in memory with the face of an opened file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path

import numpy as np

from biosig_mtl.types import ChannelInfo, DataError, Entry, Record

MEMORY = "memory"
# Rates such as 62.4725 Hz are kept exact up to here.
_LARGEST = 200_000
# A frame longer than this is no use for parts: then every part is the whole.
_LONGEST_FRAME_S = 60.0


@dataclass(frozen=True)
class RecordSource:
    """A record that is held in memory, as a `biosig_mtl.types.Source`.

    Parts begin and end on a frame, an instant at which every channel has a sample, so channels of different rates stay
    aligned; where rates share none within a minute, every part is the whole record.
    """

    record: Record

    def __post_init__(self) -> None:
        """Raise `DataError` for a part of a recording: times would mean another instant in it."""
        if self.record.start_s:
            raise DataError(f"{self.record.name}: starts at {self.record.start_s:g} s: need a record that starts at 0 s")

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """Channels by our name."""
        return {n: ChannelInfo(n, c.kind, c.unit, c.fs) for n, c in self.record.channels.items()}

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.record.duration_s

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> Record:
        """Return the part from ``start_s`` up to ``stop_s``, both rounded to a frame; beyond the ends it is cut off."""
        frame = _frame_s([channel.fs for channel in self.record.channels.values()])
        if frame is None or (start_s <= 0 and (stop_s is None or stop_s >= self.duration_s)):
            return self.record
        first = round(float(np.clip(start_s, 0, self.duration_s)) / frame)
        last = None if stop_s is None or stop_s >= self.duration_s else max(round(stop_s / frame), first)
        channels = {}
        for name, channel in self.record.channels.items():
            each = round(Fraction(channel.fs).limit_denominator(_LARGEST) * frame)
            channels[name] = replace(channel, samples=channel.samples[first * each : None if last is None else last * each])
        return replace(self.record, channels=channels, start_s=float(first * frame))


def opened(record: Record) -> tuple[RecordSource, Entry]:
    """Return a record as an opened source, with the entry that tells of it, as `biosig_mtl.inference.Predictor` wants both."""
    entry = Entry(
        dataset=MEMORY,
        record=record.name,
        subject=record.subject,
        session=record.session,
        path=Path(MEMORY),
        format=MEMORY,
        labels=record.labels,
        demographics=record.demographics,
        timing_reliable=record.timing_reliable,
        stimulus=record.stimulus,
    )
    return RecordSource(record), entry


def _frame_s(rates: list[float]) -> Fraction | None:
    """Return the seconds between instants at which all channels have a sample, None where they are too far apart."""
    exact = [Fraction(rate).limit_denominator(_LARGEST) for rate in rates]
    if not exact:
        return None
    # The greatest rate of which all others are multiples.
    frame = 1 / Fraction(gcd(*(x.numerator for x in exact)), lcm(*(x.denominator for x in exact)))
    return frame if frame <= _LONGEST_FRAME_S else None
