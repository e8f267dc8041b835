"""The way of a live recording: from its source through the stream to everybody who looks on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np

from biosig_mtl.inference.stream_words import Chunk, Estimate, Event
from biosig_mtl.live.sources import LiveSource
from biosig_mtl.live.table import state_of
from biosig_mtl.live.trace import Scope, Strip, beats_per_minute
from biosig_mtl.types import EMPTY, F64, ChannelInfo, DataError, Record

RESEARCH = "Research use only: no estimate may guide the care of a person."
# Traces are told so often a second; a replay in a hurry is told no oftener.
DRAW_S = 0.2
STATUS_S = 1.0
SILENT_S = 5.0
BEATS_KEPT = 32
# Beats of so many seconds tell the rate.
RATE_S = 10.0


class Engine(Protocol):
    """What is asked of a stream (`biosig_mtl.inference.Stream`)."""

    @property
    def now_s(self) -> float:
        """Seconds of signal so far."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many events and windows there have been."""

    @property
    def state(self) -> str:
        """How it is."""

    @property
    def seen(self) -> Record | None:
        """The last seconds with beats."""

    def push(self, part: Chunk) -> list[Estimate]:
        """Take the next chunk."""

    def finish(self) -> list[Estimate]:
        """Return what is left."""

    def events(self) -> list[Event]:
        """Return what happened."""


@dataclass(frozen=True)
class About:
    """What onlookers are told at the beginning. Nothing of it says who is recorded.

    ``units`` are by target; ``classes`` names the classes of a target that has them; ``provisional`` says whether estimates
    come twice; ``settled_after_s`` is how long the second takes.
    """

    run: str
    task: str
    targets: tuple[str, ...]
    units: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]
    channels: Mapping[str, ChannelInfo]
    speed: float = 1.0
    provisional: bool = True
    settled_after_s: float = math.nan
    says: str = RESEARCH


@dataclass(frozen=True)
class Status:
    """How the recording does: ``rate`` is beats per minute by drawn channel, ``behind_s`` how far the work lags."""

    now_s: float
    state: str
    counts: Mapping[str, int] = field(default_factory=lambda: EMPTY)
    rate: Mapping[str, float] = field(default_factory=lambda: EMPTY)
    behind_s: float = 0.0
    silent_s: float = 0.0


class Viewer(Protocol):
    """Somebody who looks on. What it cannot draw it leaves out; it never holds up the recording."""

    def begin(self, about: About) -> None:
        """Take what is known beforehand."""

    def trace(self, strips: Mapping[str, Strip], beats: Mapping[str, F64]) -> None:
        """Take a piece of the signals, and beats in seconds of the stream."""

    def estimate(self, record: str, estimate: Estimate) -> None:
        """Take an estimate, or the reason why there is none."""

    def event(self, event: Event) -> None:
        """Take what happened to the samples."""

    def note(self, text: str) -> None:
        """Take a remark of the source, which may name files."""

    def status(self, status: Status) -> None:
        """Take how the recording does."""

    def end(self, summary: str) -> None:
        """Take the last word."""


@dataclass
class Told:
    """What has been told so far: windows by state, reasons by how often, kinds of events by how often."""

    windows: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False

    def count(self, estimate: Estimate) -> None:
        """Count a window once: by its last word."""
        state = state_of(estimate)
        if state == "refused" and not estimate.settled:
            return
        self.windows[state] = self.windows.get(state, 0) + 1
        if estimate.reason:
            self.reasons[estimate.reason] = self.reasons.get(estimate.reason, 0) + 1

    def line(self) -> str:
        """Return all of it in a sentence."""
        said = [f"{self.windows.get('settled', 0)} windows in {clock(self.seconds)} of signal"]
        if self.reasons:
            said.append("refused " + ", ".join(f"{n} × {reason}" for reason, n in _often(self.reasons)))
        if self.events:
            said.append("events " + ", ".join(f"{n} × {kind}" for kind, n in _often(self.events)))
        return f"{'stopped' if self.stopped else 'ended'}: {'; '.join(said)}"


def _often(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def clock(seconds: float) -> str:
    """Return seconds as people read them.

    >>> clock(8.25), clock(75), clock(3725)
    ('8.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class Watch:
    """Leads a source through a stream and tells the viewers.

    Parameters
    ----------
    source, stream, viewers
        From where, through what, to whom.
    speed
        Seconds of signal that arrive in a second, to say how far the work is behind; infinite: that is no question.
    now
        The clock it goes by, in seconds.
    """

    def __init__(
        self,
        source: LiveSource,
        stream: Engine,
        viewers: Sequence[Viewer],
        speed: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet."""
        self._source, self._stream, self._viewers = source, stream, viewers
        self._speed, self._now = speed, now
        self._scope = Scope(source.channels)
        self._beats: dict[str, F64] = {}
        self._notes = 0
        self._behind_s = 0.0
        self._seen: Record | None = None
        self._failure: DataError | None = None
        self.told = Told()

    def run(self, about: About) -> Told:
        """Follow the recording to its end, or until ``KeyboardInterrupt``; what has arrived by then is still estimated.

        Raises
        ------
        DataError
            The source cannot go on. What was estimated before has been told.
        """
        try:
            # The second time Ctrl-C is pressed, what is left is left.
            for work in (partial(self._follow, about), self._finish):
                try:
                    work()
                except KeyboardInterrupt:
                    self.told.stopped = True
        finally:
            self._source.close()
            # Whatever happened: a terminal is given back, a table is closed.
            for viewer in self._viewers:
                viewer.end(self.told.line())
        if self._failure is not None:
            raise self._failure
        return self.told

    def _finish(self) -> None:
        self._source.close()
        self._tell(self._stream.finish())
        self._draw()
        self._status(0.0)

    def _follow(self, about: About) -> None:
        for viewer in self._viewers:
            viewer.begin(about)
        last = heard = drawn = counted = self._now()
        silent = False
        for part in self._parts():
            now, arrived_s = self._now(), self._stream.now_s
            if part is not None:
                heard, silent = now, False
                self._tell(self._stream.push(part))
                self._scope.add(part, self._stream.now_s)
            elif now - heard > SILENT_S and not silent:
                silent = True
                self._event(Event("silent", self._stream.now_s, f"nothing has arrived for {SILENT_S:g} s"))
            self._keep_up(part, now - last, self._stream.now_s - arrived_s)
            last = now
            if now - drawn >= DRAW_S:
                drawn = now
                self._draw()
            if now - counted >= STATUS_S:
                counted = now
                self._status(now - heard)

    def _parts(self) -> Iterator[Chunk | None]:
        """Yield what the source gives; what it fails by is kept until all that came before is told."""
        try:
            yield from self._source.chunks()
        except DataError as error:
            self._failure = error

    def _tell(self, estimates: Sequence[Estimate]) -> None:
        self.told.seconds = self._stream.now_s
        for event in self._stream.events():
            self._event(event)
        notes = self._source.notes
        for note in notes[self._notes :]:
            self.told.events["note"] = self.told.events.get("note", 0) + 1
            for viewer in self._viewers:
                viewer.note(note)
        self._notes = max(len(notes), self._notes)
        for estimate in estimates:
            self.told.count(estimate)
            for viewer in self._viewers:
                viewer.estimate(self._source.name, estimate)

    def _event(self, event: Event) -> None:
        self.told.events[event.kind] = self.told.events.get(event.kind, 0) + 1
        for viewer in self._viewers:
            viewer.event(event)

    def _draw(self) -> None:
        seen = self._stream.seen
        beats = {} if seen is self._seen else self._scope.beats(seen)
        self._seen = seen
        for name, at in beats.items():
            self._beats[name] = np.concatenate((self._beats.get(name, at[:0]), at))[-BEATS_KEPT:]
        strips = self._scope.take()
        if strips or beats:
            for viewer in self._viewers:
                viewer.trace(strips, beats)

    def _keep_up(self, part: Chunk | None, passed_s: float, arrived_s: float) -> None:
        """Follow how far the work is behind the signal: who is waited for is not behind."""
        if part is None or math.isinf(self._speed):
            self._behind_s = 0.0
        else:
            self._behind_s = max(self._behind_s + passed_s * self._speed - arrived_s, 0.0)

    def _status(self, quiet_s: float) -> None:
        status = Status(
            now_s=self._stream.now_s,
            state=self._stream.state,
            counts=dict(self._stream.counts),
            rate={name: beats_per_minute(at[at > at[-1] - RATE_S]) for name, at in self._beats.items()},
            behind_s=self._behind_s,
            silent_s=quiet_s if quiet_s > SILENT_S else 0.0,
        )
        for viewer in self._viewers:
            viewer.status(status)
