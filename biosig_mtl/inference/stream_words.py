"""What goes into a stream and what comes out of it: chunks of samples; estimates, and events that say what went wrong.

All times are in seconds of the stream: its first sample lies at 0, and what was lost counts as if it had arrived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from numpy.typing import ArrayLike

from biosig_mtl.types import EMPTY

EventKind = Literal[
    "gap", "stretch", "overlap", "late", "order", "clock", "drift", "rate", "lost", "back", "silent", "bad", "unknown", "note"
]
EVENTS: Mapping[EventKind, str] = {
    "gap": "samples are missing: NaN in their place",
    "stretch": "so much is missing that a new stretch begins: no window reaches over the seam",
    "overlap": "samples that had arrived already: dropped",
    "late": "samples that came after their place had been filled: dropped",
    "order": "chunks that came in another order: put right",
    "clock": "the clock of the source jumped, its samples did not: a seam, no window reaches over it",
    "drift": "the clock of a channel runs otherwise than that of the others: a sample was dropped or repeated",
    "rate": "samples come at another rate than was promised",
    "lost": "a channel sends nothing more: NaN in its place, the others go on",
    "back": "a channel sends again",
    "silent": "nothing arrives at all",
    "bad": "what arrived was no list of numbers, or not finite: dropped, or NaN in its place",
    "unknown": "a channel that was not promised: dropped",
    "note": "something to know about the estimates",
}
"""Every kind of event, and what it means."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples that arrived together, of any number.

    ``samples`` maps our channel names to lists of numbers, shape (sample,), each at the rate that was promised of it; a channel
    that sent nothing is left out or empty. ``at_s`` is when their first sample was taken, in seconds on the clock of the source
    (any origin): one number for all, or one a channel; None: they follow on what came before. A chunk without samples tells the
    stream what o'clock it is. ``seam`` says that it does not follow on what came before (a file whose pieces were glued): no
    window may reach over its beginning, and its times begin anew.
    """

    samples: Mapping[str, ArrayLike]
    at_s: float | Mapping[str, float] | None = None
    seam: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is estimated on one window, or why nothing is.

    Attributes
    ----------
    onset_s, end_s
        Where the window lies, in seconds of the stream.
    clock_s
        When it ended on the clock of the source; NaN where chunks have no times.
    values, lower, upper
        By target, in its unit. A target with classes has the name of its likeliest class, and no interval. Empty where refused.
    shares
        By target with classes: the share of each class.
    sqi
        Quality of the signal in [0, 1]; NaN where refused.
    reason
        Why the window was refused; empty where there is an estimate.
    settled
        True: this is what a whole recording would give, and it will not change. False: provisional, computed from the last
        seconds alone; the settled estimate of the same ``onset_s`` follows.
    latency_s
        Seconds of signal that had arrived beyond the end of the window.
    work_ms
        Milliseconds of computing: its share, where several windows were worked at once.
    """

    onset_s: float
    end_s: float
    clock_s: float = math.nan
    values: Mapping[str, float | str] = field(default_factory=lambda: EMPTY)
    lower: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    upper: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    shares: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: EMPTY)
    sqi: float = math.nan
    reason: str = ""
    settled: bool = True
    latency_s: float = 0.0
    work_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the samples on their way.

    ``at_s`` is where, in seconds of the stream; ``channel`` is empty where all are meant; ``seconds`` is how much signal it is
    about, NaN where that is no question; ``count`` is how many events of this kind and channel there have been with it.
    """

    kind: EventKind
    at_s: float
    says: str
    channel: str = ""
    seconds: float = math.nan
    count: int = 1


@dataclass(frozen=True)
class StreamSettings:
    """How a stream works.

    Parameters
    ----------
    hop_s
        Seconds of new signal between two rounds of settled work: longer is cheaper, shorter is sooner.
    settle_s
        Seconds of signal after the end of a window at which its estimate is called settled. None: so many that the estimate is,
        for certain, that of the whole recording (some 230 s with beats). Shorter is sooner and nearly always the same: see
        ``docs/live.md`` for how often it is not.
    context_s
        Seconds of signal before the end of a window from which its provisional estimate is made; 0: no provisional estimates.
    look_ahead_s
        Seconds of signal after the end of a window that a provisional estimate waits for.
    slack_s
        How far the time of a chunk may be off before something counts as lost, doubled or jumped.
    reorder_s
        Seconds of signal behind a hole that are kept back for a chunk that is late.
    fill_s
        A hole up to so long is filled with NaN; a longer one begins a new stretch.
    lost_s
        A channel that lies so far behind the others is lost.
    networks
        Use only so many networks of the run, taken evenly from its folds: sooner, and another estimate than the whole run
        gives. None: all.
    quick_networks
        The same for provisional estimates.
    """

    hop_s: float = 30.0
    settle_s: float | None = None
    context_s: float = 30.0
    look_ahead_s: float = 2.0
    slack_s: float = 0.25
    reorder_s: float = 0.5
    fill_s: float = 60.0
    lost_s: float = 5.0
    networks: int | None = None
    quick_networks: int | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        for name in ("hop_s", "slack_s", "lost_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"need {name} > 0, got {getattr(self, name)}")
        for name in ("context_s", "look_ahead_s", "reorder_s", "fill_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"need {name} >= 0, got {getattr(self, name)}")
        if self.settle_s is not None and not 0 <= self.settle_s < math.inf:
            raise ValueError(f"need settle_s >= 0, got {self.settle_s}")
        for number in (self.networks, self.quick_networks):
            if number is not None and number < 1:
                raise ValueError(f"need at least one network, got {number}")
