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
from biosig_mtl.outcomes import Batch as Batch
from biosig_mtl.outcomes import Check as Check
from biosig_mtl.outcomes import Guarantee as Guarantee
from biosig_mtl.outcomes import Head as Head
from biosig_mtl.outcomes import HeadKind as HeadKind
from biosig_mtl.outcomes import InputSpec as InputSpec
from biosig_mtl.outcomes import Output as Output
from biosig_mtl.outcomes import Predictions as Predictions
from biosig_mtl.outcomes import Scores as Scores
from biosig_mtl.outcomes import Target as Target
from biosig_mtl.outcomes import Task as Task
from biosig_mtl.outcomes import TrackSpec as TrackSpec
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
class Trail:
    """One channel on the seconds that end with each window, at its own rate.

    ``signal`` has shape (window, time), float32, NaN where the recording has none (before its start, in a gap; everywhere
    where it has no such channel, whose kind is then ``absent``). Beats count samples from the start of the trail. ``sqi`` has
    shape (window,): the mean quality of the trail, NaN where it was not assessed.
    """

    channel: str
    kind: str
    fs: float
    signal: F32
    sqi: F32
    beats: WindowBeats | None = None

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return float(self.signal.shape[1] / self.fs)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one record.

    ``signal`` has shape (window, channel, time), float32, without NaN; ``channels`` and ``kinds`` name its middle axis.
    ``targets`` has shape (window, target), NaN where unknown. ``facts`` are further columns of the window table, one value a
    window: they describe label, alignment and quality, and are never inputs of a model. ``trails`` are channels at their own
    rates on a longer stretch that ends with each window. ``reference`` is the waveform of the reference signal, where a recipe
    asks for it: something to learn to tell, and never an input either.
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
    trails: Mapping[str, Trail] = field(default_factory=lambda: EMPTY)
    reference: Track | None = None

    def __len__(self) -> int:
        """Return the number of windows."""
        return int(self.onset_s.size)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from biosig_mtl import cards

        return cards.of_windows(self)

    def channel(self, name: str) -> F32:
        """Return one channel, shape (window, time)."""
        if name not in self.channels:
            raise missing_channel(self.record, name, dict.fromkeys(self.channels))
        return self.signal[:, self.channels.index(name)]


@dataclass(frozen=True, slots=True)
class Track:
    """The waveform of one modality as a network sees it: signal (window, channel, time) at ``fs``, float32.

    A channel that a window does not have is NaN throughout that window; otherwise there is no NaN. The waveform of a reference
    signal has one channel, is in its own unit, and is NaN wherever it cannot be relied on.
    """

    channels: tuple[str, ...]
    fs: float
    signal: F32


@dataclass(frozen=True, slots=True)
class Features:
    """What a model may see of the windows of one record.

    ``values`` has shape (window, feature), float32, NaN where a feature does not exist; ``waveform`` has shape
    (window, channel, time), float32. Feature names carry their family: ``pulse.…  hr.…  eeg_de.…  eda.…``; the part of the
    family before ``_`` is the modality that it belongs to. ``tracks`` holds further waveforms by modality.
    """

    values: F32
    names: tuple[str, ...]
    waveform: F32
    waveform_channels: tuple[str, ...]
    tracks: Mapping[str, Track] = field(default_factory=lambda: EMPTY)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from biosig_mtl import cards

        return cards.of_features(self)


@dataclass(frozen=True, slots=True)
class WindowTable:
    """All windows of a store, memory-mapped: row *i* of every member is the same window.

    ``index`` has the columns of the window table (``subject session record stimulus onset_s sqi`` …, targets, facts);
    ``waveform`` has shape (window, channel, time) and accepts integer-array indexing. ``reference`` (window, 1, time), where a
    store has it, is the waveform of the reference signal in its unit: it is learned to be told, and is no input.
    """

    index: pd.DataFrame
    values: F32
    names: tuple[str, ...]
    waveform: F32
    waveform_channels: tuple[str, ...]
    fs: float
    targets: F32
    target_names: tuple[str, ...]
    tracks: Mapping[str, Track] = field(default_factory=lambda: EMPTY)
    heads: tuple[Head, ...] = ()
    reference: Track | None = None

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from biosig_mtl import cards

        return cards.of_table(self)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.index)

    @property
    def subject(self) -> NDArray[np.str_]:
        """Subject of every window, shape (window,)."""
        return self.index["subject"].to_numpy(dtype=str)

    @property
    def stimulus(self) -> NDArray[np.str_]:
        """Stimulus of every window, shape (window,); empty where the data set names none."""
        return self.index["stimulus"].to_numpy(dtype=str)

    @property
    def trial(self) -> NDArray[np.str_]:
        """Trial of every window, shape (window,): one stimulus, or else one record, of one session of one subject."""
        keys = [self.index[key].to_numpy(dtype=str) for key in ("subject", "session", "stimulus", "record")]
        what = np.where(keys[2] != "", keys[2], keys[3])
        return np.array(["/".join(words) for words in zip(keys[0], keys[1], what, strict=True)], dtype=str)

    @property
    def head(self) -> tuple[Head, ...]:
        """One head a target: regression where nothing else is said."""
        return self.heads or (Head(),) * len(self.target_names)


@dataclass(frozen=True, slots=True)
class Fold:
    """One assignment of windows (row numbers) to parts. ``leaky`` marks the labelled demonstration of a leak.

    ``unit`` is what validation windows were drawn by: ``subject stimulus trial``, or ``time`` where they are the later part of
    what is learned from. ``twin`` is the same fold without the labels of the people that it tests, for a protocol that learns
    from some of them: its test rows are the same, so that both can be scored side by side.
    """

    train: I64
    validation: I64
    test: I64
    calibration: I64 = field(default_factory=lambda: np.empty(0, np.int64))
    number: int = 0
    seed: int = 0
    leaky: bool = False
    unit: str = "subject"
    twin: Fold | None = None

    def parts(self) -> dict[str, I64]:
        """Return the four parts by name."""
        return {"train": self.train, "validation": self.validation, "calibration": self.calibration, "test": self.test}
