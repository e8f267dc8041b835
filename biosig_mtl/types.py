"""The nouns: every value that one room hands to the next.

All are frozen dataclasses. Arrays inside them are never written to after birth: a step returns a new value and leaves the old
one alone. Axes are called ``window channel time feature target beat sample``; suffixes carry units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.errors import AuditError as AuditError
from biosig_mtl.errors import BiosigError as BiosigError
from biosig_mtl.errors import DataError as DataError
from biosig_mtl.errors import RecipeError as RecipeError
from biosig_mtl.recordings import EMPTY as EMPTY
from biosig_mtl.recordings import F32 as F32
from biosig_mtl.recordings import F64 as F64
from biosig_mtl.recordings import I8 as I8
from biosig_mtl.recordings import I64 as I64
from biosig_mtl.recordings import MARKS as MARKS
from biosig_mtl.recordings import Beats as Beats
from biosig_mtl.recordings import Bool as Bool
from biosig_mtl.recordings import Channel as Channel
from biosig_mtl.recordings import ChannelInfo as ChannelInfo
from biosig_mtl.recordings import Entry as Entry
from biosig_mtl.recordings import Label as Label
from biosig_mtl.recordings import Quality as Quality
from biosig_mtl.recordings import Record as Record
from biosig_mtl.recordings import Source as Source
from biosig_mtl.recordings import missing_channel as missing_channel

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


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

    A beat that lies in two overlapping windows has two rows. Rows are sorted by window, then by time. ``normal`` tells that
    the interval from onset to end lies between two beats marked normal; where it is not given, all are.
    """

    channel: str
    fs: float
    window: I64
    onset: I64
    peak: I64
    end: I64
    quality: F32
    points: Mapping[str, F64] = field(default_factory=lambda: EMPTY)
    normal: Bool = field(default_factory=lambda: np.empty(0, bool))

    def __post_init__(self) -> None:
        """Take every interval as normal where nothing is said."""
        if self.normal.size != self.window.size:
            object.__setattr__(self, "normal", np.ones(self.window.size, bool))

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
