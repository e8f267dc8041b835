"""Nouns of the recording side: channels, beats, quality, records and where they come from.

The other rooms know them through `biosig_mtl.types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.errors import DataError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I8 = NDArray[np.int8]
Bool = NDArray[np.bool_]

EMPTY: Mapping[str, Any] = MappingProxyType({})

MARKS = ("normal", "ectopic", "doubtful", "long")
"""What a beat may be: normal; premature with a pause or a return to the rhythm after it; false or misplaced by its timing; a
normal one after which at least one beat is missing."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One sampled signal.

    ``kind`` says what is measured (``ppg``, ``ecg``, ``abp``, ``eeg`` …). A channel that is computed from another keeps the
    kind of its source: that is how the reference is kept out of the inputs. ``samples`` has shape (sample,), float32, NaN
    where the recording has none.
    """

    name: str
    kind: str
    unit: str
    fs: float
    samples: F32
    source_name: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A value that the data set gives for a record. ``time_s`` is None where it holds for the whole record.

    ``unit`` is a unit (``mmHg``), or the scale of a rating in the data set as ``low..high`` (``1..9``, ``-1..1``).
    """

    name: str
    value: float
    unit: str
    source: str = "cuff"
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Beats:
    """Beats of one channel, as samples at ``fs`` counted from the start of the record value they belong to.

    Beat *i* runs from ``onset[i]`` to ``end[i]`` (the next onset); its systolic or R peak is ``peak[i]``. For ECG ``onset`` is
    the R peak and ``end`` the next one. ``end`` is −1 where the next onset is unknown (before a gap or at the end).
    ``quality`` in [0, 1] is the agreement of the beat with its neighbours. ``points`` are fiducials as fractional samples,
    NaN where a point does not exist. ``mark`` is a place in `MARKS`, ``polarity`` −1 where the beat was found pointing down
    (an ECG whose QRS is negative, a pulse wave that is upside down), ``confirmed`` whether a second detector of another kind
    found it too. All arrays have shape (beat,); where they are not given, marks are 0, polarities 1 and all is confirmed.
    """

    channel: str
    fs: float
    onset: I64
    peak: I64
    end: I64
    quality: F32
    points: Mapping[str, F64] = field(default_factory=lambda: EMPTY)
    mark: I8 = field(default_factory=lambda: np.empty(0, np.int8))
    polarity: I8 = field(default_factory=lambda: np.empty(0, np.int8))
    confirmed: Bool = field(default_factory=lambda: np.empty(0, bool))

    def __post_init__(self) -> None:
        """Fill in what was not given."""
        if self.mark.size != self.peak.size:
            object.__setattr__(self, "mark", np.zeros(self.peak.size, np.int8))
        if self.polarity.size != self.peak.size:
            object.__setattr__(self, "polarity", np.ones(self.peak.size, np.int8))
        if self.confirmed.size != self.peak.size:
            object.__setattr__(self, "confirmed", np.ones(self.peak.size, bool))

    def __len__(self) -> int:
        """Return the number of beats."""
        return int(self.peak.size)


@dataclass(frozen=True, slots=True)
class Quality:
    """Signal quality of one channel on a regular grid: value *j* describes the second that starts at ``j / fs``.

    ``sqi`` in [0, 1], shape (sample,). ``indices`` holds the numbers it was made of (each index a track of the same shape):
    among them always ``missing``, ``flat`` and ``clipped``, as shares of the second.
    """

    channel: str
    fs: float
    sqi: F32
    indices: Mapping[str, F32] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Record:
    """One continuous recording of one subject in one session, or a part of it that starts at ``start_s``.

    ``seams_s`` are instants, in seconds from the start of the *recording*, that no window may have inside it.
    ``demographics`` holds ``age_years sex_male height_cm weight_kg`` as far as they are known. ``notes`` tell what a reader
    could not read. ``baseline_s`` are the seconds of the recording, from and up to, that the data set gives as a rest before
    the stimulus: they describe the person's state and are never windows of their own. ``session_s`` is when the record begins
    on the clock of its session, None where that is not known: trials are not always listed in the order of time. ``person`` is
    a tighter id than ``subject`` where a set has one: for personal calibration, never for a split.

    A value that the data set gives again and again is a channel of kind ``label`` (named ``valence``, ``stress`` …), sampled at
    its own rate, NaN where there is none; its unit tells the scale of the data set as ``low..high``.
    """

    name: str
    subject: str
    session: str
    channels: Mapping[str, Channel]
    start_s: float = 0.0
    seams_s: F64 = field(default_factory=lambda: np.empty(0))
    labels: tuple[Label, ...] = ()
    demographics: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    beats: Mapping[str, Beats] = field(default_factory=lambda: EMPTY)
    quality: Mapping[str, Quality] = field(default_factory=lambda: EMPTY)
    timing_reliable: bool = False
    stimulus: str = ""
    notes: tuple[str, ...] = ()
    baseline_s: tuple[float, float] | None = None
    session_s: float | None = None
    person: str = ""

    def channel(self, name: str) -> Channel:
        """Return a channel; raise `DataError` that names the record and what it has."""
        if name not in self.channels:
            raise missing_channel(self.name, name, self.channels)
        return self.channels[name]

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from biosig_mtl import cards

        return cards.of_record(self)

    def with_channel(self, channel: Channel) -> Record:
        """Return a copy with one channel added or replaced."""
        return replace(self, channels={**self.channels, channel.name: channel})

    def with_beats(self, beats: Beats) -> Record:
        """Return a copy with the beats of ``beats.channel``."""
        return replace(self, beats={**self.beats, beats.channel: beats})

    def with_quality(self, quality: Quality) -> Record:
        """Return a copy with the quality track of ``quality.channel``."""
        return replace(self, quality={**self.quality, quality.channel: quality})

    @property
    def duration_s(self) -> float:
        """Length of the longest channel in seconds."""
        return max((c.samples.size / c.fs for c in self.channels.values()), default=0.0)


def missing_channel(where: str, name: str, present: Mapping[str, object]) -> DataError:
    """Return the error for a channel that is not there."""
    return DataError(f"{where}: missing channel '{name}'; it has {', '.join(sorted(present)) or 'no channels'}")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one record lies, and what the data set knows of it without opening it.

    ``channels`` maps our channel names to the names in the file, in order of preference; empty: guess by name.
    """

    dataset: str
    record: str
    subject: str
    session: str
    path: Path
    format: str
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EMPTY)
    labels: tuple[Label, ...] = ()
    demographics: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    timing_reliable: bool = False
    stimulus: str = ""
    options: Mapping[str, Any] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """What a header tells of a channel."""

    name: str
    kind: str
    unit: str
    fs: float


@runtime_checkable
class Source(Protocol):
    """An opened record: its header is read, its samples are not."""

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """Channels by our name."""

    @property
    def duration_s(self) -> float:
        """Length in seconds."""

    def read(self, start_s: float = 0.0, stop_s: float | None = None) -> Record:
        """Return the part from ``start_s`` up to ``stop_s``; times beyond the ends are cut off."""
