"""The nouns: every value that one room hands to the next.

All are frozen dataclasses. Arrays inside them are never written to after birth: a step returns a new value and leaves the old
one alone. Axes are called ``window channel time feature target beat sample``; suffixes carry units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

EMPTY: Mapping[str, Any] = MappingProxyType({})


# ---------------------------------------------------------------------------------------------------------------- errors
class BiosigError(Exception):
    """An error that a user can act on: one line that says what, where and what to do."""

    exit_code = 1


class RecipeError(BiosigError):
    """Wrong words: a recipe, a manifest, a setting or a command that cannot be followed."""

    exit_code = 2


class DataError(BiosigError):
    """Data that cannot be used: the message names the file, channel or subject."""

    exit_code = 3


class AuditError(BiosigError):
    """A run whose numbers must not be believed."""

    exit_code = 4


# ------------------------------------------------------------------------------------------------------------ recordings
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
    """A value that the data set gives for a record. ``time_s`` is None where it holds for the whole record."""

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
    NaN where a point does not exist. All arrays have shape (beat,).
    """

    channel: str
    fs: float
    onset: I64
    peak: I64
    end: I64
    quality: F32
    points: Mapping[str, F64] = field(default_factory=lambda: EMPTY)

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
    could not read.
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

    def channel(self, name: str) -> Channel:
        """Return a channel; raise `DataError` that names the record and what it has."""
        if name not in self.channels:
            raise missing_channel(self.name, name, self.channels)
        return self.channels[name]

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


# --------------------------------------------------------------------------------------------------------------- windows
@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that was not used. ``onset_s`` is NaN where it was a whole record."""

    record: str
    onset_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class WindowBeats:
    """Complete beats inside windows, flat: row *i* lies in window ``window[i]``; samples count from that window's start.

    A beat that lies in two overlapping windows has two rows. Rows are sorted by window, then by time.
    """

    channel: str
    fs: float
    window: I64
    onset: I64
    peak: I64
    end: I64
    quality: F32
    points: Mapping[str, F64] = field(default_factory=lambda: EMPTY)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.window.size)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one record.

    ``signal`` has shape (window, channel, time), float32, without NaN; ``channels`` and ``kinds`` name its middle axis.
    ``targets`` has shape (window, target), NaN where unknown. ``facts`` are further columns of the window table, one value a
    window: they describe label, alignment and quality, and are never inputs of a model.
    """

    record: str
    subject: str
    session: str
    fs: float
    onset_s: F64
    signal: F32
    channels: tuple[str, ...]
    kinds: tuple[str, ...]
    sqi: F32
    targets: F32
    target_names: tuple[str, ...]
    beats: Mapping[str, WindowBeats] = field(default_factory=lambda: EMPTY)
    facts: Mapping[str, NDArray[Any]] = field(default_factory=lambda: EMPTY)
    demographics: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    timing_reliable: bool = False
    stimulus: str = ""
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        """Return the number of windows."""
        return int(self.onset_s.size)

    def channel(self, name: str) -> F32:
        """Return one channel, shape (window, time)."""
        if name not in self.channels:
            raise missing_channel(self.record, name, dict.fromkeys(self.channels))
        return self.signal[:, self.channels.index(name)]


@dataclass(frozen=True, slots=True)
class Features:
    """What a model may see of the windows of one record.

    ``values`` has shape (window, feature), float32, NaN where a feature does not exist; ``waveform`` has shape
    (window, channel, time), float32. Feature names carry their family: ``pulse.…  hr.…  pat.…  person.…``.
    """

    values: F32
    names: tuple[str, ...]
    waveform: F32
    waveform_channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WindowTable:
    """All windows of a store, memory-mapped: row *i* of every member is the same window.

    ``index`` has the columns of the window table (``subject session record stimulus onset_s sqi`` …, targets, facts);
    ``waveform`` has shape (window, channel, time) and accepts integer-array indexing.
    """

    index: pd.DataFrame
    values: F32
    names: tuple[str, ...]
    waveform: F32
    waveform_channels: tuple[str, ...]
    fs: float
    targets: F32
    target_names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.index)

    @property
    def subject(self) -> NDArray[np.str_]:
        """Subject of every window, shape (window,)."""
        return self.index["subject"].to_numpy(dtype=str)


@dataclass(frozen=True, slots=True)
class Fold:
    """One assignment of windows (row numbers) to parts. ``leaky`` marks the labelled demonstration of a leak."""

    train: I64
    validation: I64
    test: I64
    calibration: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    number: int = 0
    seed: int = 0
    leaky: bool = False

    def parts(self) -> dict[str, I64]:
        """Return the four parts by name."""
        return {"train": self.train, "validation": self.validation, "calibration": self.calibration, "test": self.test}


# --------------------------------------------------------------------------------------------------- tasks and the network
@dataclass(frozen=True, slots=True)
class Target:
    """One number to estimate. ``low`` and ``high`` bound what is plausible, in ``unit``."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Task:
    """A named set of targets. Channels of a ``reference_kinds`` kind are barred from the inputs, with all made of them."""

    name: str
    targets: tuple[Target, ...]
    reference_kinds: frozenset[str]

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets in order."""
        return tuple(t.name for t in self.targets)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The shapes that a network is built for."""

    waveform_channels: tuple[str, ...]
    samples: int
    features: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Scaled windows as tensors: waveform (B, C, L), values (B, F) without NaN, missing (B, F) bool, targets (B, T) with NaN
    where unknown, weight (B,).
    """

    waveform: Tensor
    values: Tensor
    missing: Tensor
    targets: Tensor
    weight: Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """What every network returns: predictions (B, T) in scaled units. Networks that split also give ``masks`` and ``splits``
    (B, K, N, D), K = T + 1 with the shared split first; ``private`` (B, T) are each private split's own predictions;
    ``gates`` (B, T) is the share of the shared split where the merge has one.
    """

    predictions: Tensor
    masks: Tensor | None = None
    splits: Tensor | None = None
    private: Tensor | None = None
    gates: Tensor | None = None


# --------------------------------------------------------------------------------------------------------------- results
@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in the unit of the target. ``y_true`` and ``y_pred`` have shape (window, target); ``row`` numbers windows of
    the `WindowTable`.
    """

    row: I64
    fold: I64
    seed: I64
    subject: NDArray[np.str_]
    onset_s: F64
    y_true: F64
    y_pred: F64
    target_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the audit and its answer."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Scores:
    """A graded run; ``content`` is what ``scores.json`` holds (schema 1)."""

    content: Mapping[str, Any]

    @property
    def audit_passed(self) -> bool:
        """Whether every check of the audit passed."""
        return bool(self.content["audit"]["passed"])
