"""From chunks to parts that follow one another exactly: gaps, jumps of the clock, doubled and late samples, lost channels.

Nothing that arrives raises an error: what cannot be used is dropped, and told.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.inference.stream_journal import Journal
from biosig_mtl.inference.stream_line import Line
from biosig_mtl.inference.stream_words import Chunk, StreamSettings
from biosig_mtl.types import F32, ChannelInfo

# Channels whose clocks are apart by more than this, and by more than a sample and a half, are brought together again.
APART_S = 0.02
ANCHORS = 1200
# Parts are no longer than this, however much arrives at once: work on them needs so much memory and no more.
PART_S = 60


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of all channels from a whole second of a stretch on; ``ends``: the stretch ends with them.

    ``base_s`` is the second of the stream at which the stretch began; ``seams_s`` are seconds of the stretch.
    """

    base_s: int
    start_s: int
    samples: Mapping[str, F32]
    seams_s: tuple[float, ...]
    ends: bool = False


class Intake:
    """The channels of a stream, and their clock."""

    def __init__(self, channels: Mapping[str, ChannelInfo], settings: StreamSettings, journal: Journal) -> None:
        """Start with nothing."""
        self._settings, self._journal = settings, journal
        self._lines = {name: Line(name, info.fs) for name, info in channels.items()}
        self._ready: deque[Part] = deque()
        self._base_s = self._emitted_s = 0
        self._zero: float | None = None  # the clock of the source at the start of the stretch
        self._seams: list[float] = []
        self._silent = False
        # Pairs of a second of the stream and what the clock of the source had beyond it.
        self._anchors: deque[tuple[float, float]] = deque(maxlen=ANCHORS)

    # ------------------------------------------------------------------------------------------------------------- face
    @property
    def now_s(self) -> float:
        """Seconds of the stream that have arrived, of the channel that has most."""
        return self._base_s + max(line.now_s for line in self._lines.values())

    @property
    def state(self) -> str:
        """Return ``waiting``, ``running``, ``degraded`` (a channel is lost) or ``silent``."""
        lines = self._lines.values()
        if not any(line.heard for line in lines):
            return "waiting"
        return "silent" if self._silent else "degraded" if any(line.lost for line in lines) else "running"

    def clock_s(self, second: float) -> float:
        """Return the clock of the source at a second of the stream, NaN where it has none."""
        found = next((offset for at, offset in reversed(self._anchors) if at <= second), None)
        if found is None:
            found = self._anchors[0][1] if self._anchors else math.nan
        return second + found

    def offer(self, chunk: Chunk) -> list[Part]:
        """Take a chunk; return the parts that are whole now."""
        arrived = False
        if chunk.seam is True:
            self._seam()
        for name, (samples, at_s) in self._read(chunk).items():
            arrived |= samples.size > 0
            if samples.size:
                self._heard(self._lines[name])
                self._offer(self._lines[name], samples, at_s)
        self._silence(chunk, arrived=arrived)
        self._align()
        self._give_up_on_lost()
        self._anchor()
        self._emit()
        return self._taken()

    def _seam(self) -> None:
        """Let no window reach over this instant, and let the next times set the clock."""
        for line in self._lines.values():
            self._resolve(line)
            line.jump(0.0)
            line.zero = None
        self._zero = None
        at_s = max(line.now_s for line in self._lines.values())
        if at_s > 0 and at_s not in self._seams:
            self._seams.append(at_s)

    def finish(self) -> list[Part]:
        """Return what is left, when the recording has ended."""
        for line in self._lines.values():
            self._resolve(line)
        self._end()
        return self._taken()

    def _taken(self) -> list[Part]:
        parts = list(self._ready)
        self._ready.clear()
        return parts

    # ---------------------------------------------------------------------------------------------------------- reading
    def _read(self, chunk: Chunk) -> dict[str, tuple[F32, float | None]]:
        """Return what can be used of a chunk, by channel, with its time; the earliest first, for it sets the clock."""
        read: dict[str, tuple[F32, float | None]] = {}
        given = chunk.samples if isinstance(chunk.samples, Mapping) else {}
        if given is not chunk.samples:
            self._tell("bad", "a chunk is to map channels to lists of numbers; dropped")
        for name, values in given.items():
            if name not in self._lines:
                self._tell("unknown", f"'{name}' was not promised; dropped. There are {', '.join(self._lines)}", str(name))
                continue
            read[name] = self._numbers(name, values), self._time(chunk, name)
        return dict(sorted(read.items(), key=lambda pair: math.inf if pair[1][1] is None else pair[1][1]))

    def _numbers(self, name: str, values: object) -> F32:
        nothing = np.empty(0, np.float32)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found = np.asarray(values)
                samples = np.array(found, np.float32) if found.dtype.kind in "fiubO" else nothing
        except (ValueError, TypeError, OverflowError):
            self._tell("bad", f"{name}: needs a list of numbers; dropped", name)
            return nothing
        if samples.ndim != 1 or (samples is nothing and found.size):
            self._tell("bad", f"{name}: needs a list of numbers, got {found.dtype} of shape {found.shape}; dropped", name)
            return nothing
        infinite = np.isinf(samples)
        if infinite.any():
            samples[infinite] = np.nan
            self._tell("bad", f"{name}: {int(infinite.sum())} infinite samples; NaN in their place", name)
        return samples

    def _time(self, chunk: Chunk, name: str) -> float | None:
        at_s = chunk.at_s.get(name) if isinstance(chunk.at_s, Mapping) else chunk.at_s
        if at_s is None:
            return None
        try:
            seconds = float(at_s)
        except (TypeError, ValueError):
            seconds = math.nan
        if math.isfinite(seconds):
            return seconds
        self._tell("bad", f"{name}: its time is no number; taken as following on", name)
        return None

    def _heard(self, line: Line) -> None:
        if line.lost:
            line.lost = False
            self._tell("back", f"{line.name} sends again", line.name)
        line.heard, self._silent = True, False

    # ----------------------------------------------------------------------------------------------------------- placing
    def _offer(self, line: Line, samples: F32, at_s: float | None) -> None:
        """Place samples: at their time, or where none is known behind what came before."""
        if at_s is None:
            self._resolve(line)
            line.accept(samples)
            return
        rate = line.odd_rate(at_s, samples.size)
        if rate is not None:
            says = f"{line.name}: {rate:.4g} samples a second arrive, {line.fs:g} were promised; tell the true rate"
            self._tell("rate", f"{says}, unless so many are lost on the way", line.name)
        self._place(line, samples, at_s)

    def _place(self, line: Line, samples: F32, at_s: float) -> None:
        if line.zero is None:
            self._start(line, samples, at_s)
        elif line.pending:
            self._among_pending(line, samples, at_s)
        elif line.off_s(at_s) > self._settings.slack_s:
            line.pending.append((at_s, samples))
        else:
            self._near(line, samples, at_s)

    def _start(self, line: Line, samples: F32, at_s: float) -> None:
        """Set the clock of a channel by its first chunk with a time, and place what of it falls into the stretch."""
        if self._zero is None:
            self._zero = at_s - line.now_s
        line.zero = self._zero
        off_s = line.off_s(at_s)
        if abs(off_s) > self._settings.fill_s:
            # A clock of its own: taken as following on.
            line.zero, off_s = line.zero + off_s, 0.0
        count = round(off_s * line.fs)
        if -count >= samples.size:
            line.zero = None  # all of it lies before the stretch
            return
        line.lag = off_s - count / line.fs
        if off_s > self._settings.lost_s:
            self._tell("gap", f"{line.name} begins {off_s:.1f} s after the others", line.name, off_s)
        line.fill(count)
        line.accept(samples[max(-count, 0) :])

    def _near(self, line: Line, samples: F32, at_s: float) -> None:
        """Place samples that come about when they are expected, or earlier."""
        off_s = line.off_s(at_s)
        if off_s >= -self._settings.slack_s:
            line.follow(off_s, samples.size / line.fs)
            line.accept(samples)
            return
        early = round(-off_s * line.fs)
        again = line.came_before(samples, early)
        if not again and not (early <= self._settings.fill_s * line.fs and line.in_hole(line.arrived - early)):
            self._jump(line, samples, off_s)
            return
        dropped = min(early, samples.size) / line.fs
        what = "arrived twice" if again else "came after their place had been filled"
        self._tell(
            "overlap" if again else "late", f"{line.name}: {dropped:.3g} s of samples {what}; dropped", line.name, dropped
        )
        if early < samples.size:
            line.accept(samples[early:])

    def _jump(self, line: Line, samples: F32, off_s: float) -> None:
        """Let samples follow on whose time lies before that of what came before."""
        self._tell("clock", f"{line.name}: the clock of the source jumped by {off_s:+.3f} s", line.name, off_s)
        if -off_s > self._settings.fill_s:
            self._break(line, 0.0)
        else:
            line.jump(off_s)
            # One seam for all channels of a chunk: they jump together.
            if line.arrived and not (self._seams and abs(self._seams[-1] - line.now_s) < 0.5 / line.fs):
                self._seams.append(line.now_s)
        line.accept(samples)

    # ------------------------------------------------------------------------------------------------------------- holes
    def _among_pending(self, line: Line, samples: F32, at_s: float) -> None:
        """Place samples while others wait behind a hole."""
        slack, off_s = self._settings.slack_s, line.off_s(at_s)
        behind, end_s = abs(off_s - line.pending_s), at_s + samples.size / line.fs
        joins = any(abs(later_s - end_s) <= 0.5 / line.fs for later_s, _ in line.pending)
        if behind <= slack and behind <= abs(off_s) and not joins:
            # As if the others had followed on: it was their time that was wrong.
            says = f"{line.name}: {line.pending_s:.3g} s of samples had a wrong time; taken as following on"
            self._tell("clock", says, line.name, line.pending_s)
            kept, line.pending = line.pending, []
            for _, earlier in kept:
                line.accept(earlier)
            line.accept(samples)
            return
        if off_s < -slack:
            self._resolve(line)
            self._place(line, samples, at_s)
            return
        line.pending = sorted([*line.pending, (at_s, samples)], key=lambda pair: pair[0])
        if line.off_s(line.pending[0][0]) <= slack:
            self._put_in_order(line)
        elif line.pending_s >= self._settings.reorder_s:
            self._resolve(line)

    def _put_in_order(self, line: Line) -> None:
        self._tell("order", f"{line.name}: chunks came in another order; put right", line.name)
        while line.pending and abs(line.off_s(line.pending[0][0])) <= self._settings.slack_s:
            line.accept(line.pending.pop(0)[1])

    def _resolve(self, line: Line) -> None:
        """Give up waiting for what is missing: fill the hole, or begin a new stretch."""
        pending, line.pending = line.pending, []
        for at_s, samples in pending:
            if line.zero is None:
                self._start(line, samples, at_s)
            elif line.off_s(at_s) > self._settings.slack_s:
                self._hole(line, samples, at_s)
            else:
                self._near(line, samples, at_s)

    def _hole(self, line: Line, samples: F32, at_s: float) -> None:
        off_s = line.off_s(at_s)
        ahead_s = line.now_s + off_s - max(other.now_s for other in self._lines.values())
        if ahead_s > self._settings.fill_s:
            self._break(line, off_s)
            self._start(line, samples, at_s)
            return
        self._tell("gap", f"{line.name}: {off_s:.3g} s of samples are missing; NaN in their place", line.name, off_s)
        count = round(off_s * line.fs)
        line.fill(count)
        line.lag += off_s - count / line.fs
        line.accept(samples)

    def _break(self, cause: Line, off_s: float) -> None:
        """End the stretch and begin another, ``off_s`` seconds after the last sample of a channel."""
        begins_s = max(self.now_s, self._base_s + cause.now_s + off_s)
        held = {name: line.pending for name, line in self._lines.items() if line is not cause}
        self._end()
        self._base_s = math.ceil(begins_s - 1e-9)
        self._emitted_s, self._zero, self._seams = 0, None, []
        for line in self._lines.values():
            line.begin()
        says = f"{off_s:.1f} s without samples" if off_s else "the clock of the source began anew"
        self._tell("stretch", f"{says}; a new stretch begins at {self._base_s} s", "", off_s)
        for name, chunks in held.items():
            for at_s, samples in chunks:
                self._place(self._lines[name], samples, at_s)

    # ----------------------------------------------------------------------------------------------- between the channels
    def _align(self) -> None:
        """Bring channels together whose clocks have drifted apart: by a sample a channel and chunk at the most."""
        timed = [line for line in self._lines.values() if line.zero is not None and not line.lost and not line.pending]
        if len(timed) < 2:
            return
        middle = float(np.median([line.lag for line in timed]))
        for line in timed:
            apart_s = line.lag - middle
            if abs(apart_s) <= max(APART_S, 1.5 / line.fs):
                continue
            if apart_s > 0:
                line.repeat()
            elif not line.drop():
                continue
            says = f"{line.name}: its clock is {apart_s * 1000:+.0f} ms from the others'"
            self._tell("drift", f"{says}; a sample {'repeated' if apart_s > 0 else 'dropped'}", line.name)

    def _give_up_on_lost(self) -> None:
        furthest, base_s = max(line.now_s for line in self._lines.values()), self._base_s
        for line in self._lines.values():
            behind = furthest - line.now_s - line.pending_s
            if line.lost:
                line.fill(math.floor(furthest * line.fs + 1e-9) - line.arrived)
            elif behind > self._settings.lost_s:
                self._resolve(line)
                if self._base_s != base_s:
                    return  # what was kept back began a new stretch
                line.lost = True
                line.fill(math.floor(furthest * line.fs + 1e-9) - line.arrived)
                what = "sends nothing more" if line.heard else "has sent nothing yet"
                self._tell("lost", f"{line.name} {what} for {behind:.1f} s; the others go on", line.name, behind)

    def _silence(self, chunk: Chunk, *, arrived: bool) -> None:
        """Tell that nothing arrives, where a chunk without samples says what o'clock it is."""
        if arrived or self._silent or isinstance(chunk.at_s, Mapping) or not self._anchors:
            return
        at_s = self._time(chunk, "a chunk")
        if at_s is None:
            return
        missing = at_s - self.clock_s(self.now_s)
        if missing > self._settings.lost_s:
            self._silent = True
            self._tell("silent", f"nothing has arrived for {missing:.1f} s", "", missing)

    def _anchor(self) -> None:
        timed = [line for line in self._lines.values() if line.zero is not None and not line.lost]
        if not timed:
            return
        offset = float(np.median([line.offset_s() for line in timed])) - self._base_s
        if not self._anchors or self.now_s >= self._anchors[-1][0] + 1 or abs(offset - self._anchors[-1][1]) > 0.5:
            self._anchors.append((self.now_s if self._anchors else 0.0, offset))

    # ---------------------------------------------------------------------------------------------------------- handing on
    def _emit(self) -> None:
        whole = math.floor(min(line.now_s for line in self._lines.values()) + 1e-9)
        while whole > self._emitted_s:
            until = min(whole, self._emitted_s + PART_S)
            samples = {name: line.take(round(until * line.fs)) for name, line in self._lines.items()}
            self._hand_on(samples, until)

    def _end(self) -> None:
        """Hand on all that has arrived: the end of a stretch."""
        self._emit()
        samples = {name: line.take(line.arrived) for name, line in self._lines.items()}
        self._hand_on(samples, self._emitted_s, ends=True)

    def _hand_on(self, samples: Mapping[str, F32], whole: int, *, ends: bool = False) -> None:
        seams = tuple(s for s in self._seams if ends or s < whole)
        self._seams = [s for s in self._seams if s not in seams]
        self._ready.append(Part(self._base_s, self._emitted_s, samples, seams, ends))
        self._emitted_s = whole

    def _tell(self, kind: str, says: str, channel: str = "", seconds: float = math.nan) -> None:
        self._journal.tell(kind, self.now_s, says, channel, seconds)  # type: ignore[arg-type]
