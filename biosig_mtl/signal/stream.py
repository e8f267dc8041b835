"""A recording that arrives part by part: the same beats, points and quality as of the whole, whatever the parts are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from biosig_mtl.signal.steps import Step, context_s
from biosig_mtl.types import Beats, Channel, DataError, Quality, Record

# How much new signal is waited for before work is done again.
HOP_S = 10.0


class Tape:
    """The last of a recording: what has arrived and is not settled yet, with the context that work on it needs.

    Parameters
    ----------
    context_s
        Seconds on either side within which a result depends on the signal.
    hop_s
        Seconds of new signal that are waited for.
    ahead_s
        Seconds of context after, where less of it is enough than before. Default: as much.
    """

    def __init__(self, context_s: float, hop_s: float = HOP_S, ahead_s: float | None = None) -> None:
        """Start with nothing."""
        ahead_s = context_s if ahead_s is None else ahead_s
        if context_s < 0 or hop_s <= 0 or ahead_s < 0:
            raise ValueError(f"need context_s >= 0 and hop_s > 0 and ahead_s >= 0, got {context_s}, {hop_s}, {ahead_s}")
        self._context, self._ahead = math.ceil(context_s), math.ceil(ahead_s)
        self._hop = max(math.ceil(hop_s), 1)
        self._about: Record | None = None
        self._parts: dict[str, list[Channel]] = {}
        self._arrived: dict[str, int] = {}
        self._begin = 0  # whole second at which what is kept begins
        self._settled = 0  # whole second up to which results were given

    @property
    def latency_s(self) -> float:
        """Seconds of signal after which an instant is settled, at the most."""
        return float(self._ahead + self._hop)

    def add(self, part: Record) -> None:
        """Append a part, which starts where the last one ended.

        Raises
        ------
        DataError
            Channels, rates or the start are not those that were expected.
        """
        first = self._about is None
        if self._about is None:
            self._about = replace(part, channels={}, seams_s=np.empty(0), notes=())
            self._parts = {name: [] for name in part.channels}
            self._arrived = dict.fromkeys(part.channels, 0)
        if set(part.channels) != set(self._parts):
            had, has = ", ".join(sorted(self._parts)), ", ".join(sorted(part.channels))
            raise DataError(f"{part.name}: a part of the stream has the channels {has}, the first one had {had}")
        for channel in part.channels.values():
            self._expect(part, channel, first=first)
        for name, channel in part.channels.items():
            self._parts[name].append(channel)
            self._arrived[name] += channel.samples.size
        if part.seams_s.size:
            self._about = replace(self._about, seams_s=np.union1d(self._about.seams_s, part.seams_s))

    def _expect(self, part: Record, channel: Channel, *, first: bool) -> None:
        before = self._parts[channel.name]
        if before and before[0].fs != channel.fs:
            raise DataError(f"{part.name}: channel '{channel.name}' has fs={channel.fs:g} Hz, the stream had {before[0].fs:g}")
        start = round(part.start_s * channel.fs)
        if start != self._arrived[channel.name]:
            what = "must start at 0 s" if first else f"has {self._arrived[channel.name] / channel.fs:g} s so far"
            raise DataError(
                f"{part.name}: a part starts at {part.start_s:g} s, channel '{channel.name}' of the stream {what}; "
                "fill what is lost with NaN"
            )

    def take(self, *, last: bool = False) -> tuple[Record, float, float] | None:
        """Return a record with context and the span in seconds that is settled in it, or None while there is too little."""
        if self._about is None:
            return None
        lengths = [self._arrived[n] / parts[0].fs for n, parts in self._parts.items() if parts]
        whole = math.floor(min(lengths, default=0.0) + 1e-9)
        stop = float(max(lengths, default=0.0)) if last else float(whole - self._ahead)
        if stop <= self._settled or (not last and stop - self._settled < self._hop):
            return None
        start, self._settled = float(self._settled), math.ceil(stop)
        record = replace(self._about, channels=self._joined(), start_s=float(self._begin))
        self._drop(max(self._settled - self._context, 0))
        return record, start, math.inf if last else stop

    def _joined(self) -> dict[str, Channel]:
        for name, parts in self._parts.items():
            samples = np.concatenate([p.samples for p in parts]) if len(parts) > 1 else parts[0].samples
            self._parts[name] = [replace(parts[0], samples=samples)]
        return {name: parts[0] for name, parts in self._parts.items()}

    def _drop(self, second: int) -> None:
        for name, parts in self._parts.items():
            channel = parts[0]
            away = round(second * channel.fs) - round(self._begin * channel.fs)
            self._parts[name] = [replace(channel, samples=channel.samples[away:])]
        if self._about is not None and self._about.seams_s.size:
            # What no window can reach any more is forgotten, so that days of seams do not add up.
            self._about = replace(self._about, seams_s=self._about.seams_s[self._about.seams_s >= second])
        self._begin = second


class Stream:
    """Signal steps on a recording that arrives part by part.

    Every part that `push` returns is settled: its channels, beats, points, marks and quality are, bit for bit, those of the
    whole recording. So a result comes ``latency_s`` seconds of signal after the instant it describes at the latest. Memory and
    work per second of signal do not grow with the recording.

    Parameters
    ----------
    steps
        Signal steps in order, as a recipe has them.
    hop_s
        Seconds of new signal between two rounds of work: longer is cheaper, shorter is sooner.
    """

    def __init__(self, steps: Sequence[Step], hop_s: float = HOP_S) -> None:
        """Start with nothing."""
        self._steps = tuple(steps)
        self._tape = Tape(context_s(steps), hop_s)

    @property
    def latency_s(self) -> float:
        """Seconds of signal between an instant and its results, at the most."""
        return self._tape.latency_s

    def push(self, part: Record) -> Record | None:
        """Take the next part of the recording; return the stretch that has become settled, or None.

        Raises
        ------
        DataError
            The part does not follow the one before.
        """
        self._tape.add(part)
        return self._work(self._tape.take())

    def finish(self) -> Record | None:
        """Return what is left, when the recording has ended."""
        return self._work(self._tape.take(last=True))

    def _work(self, taken: tuple[Record, float, float] | None) -> Record | None:
        if taken is None:
            return None
        record, start_s, stop_s = taken
        for step in self._steps:
            record = step(record)
        return stretch(record, start_s, stop_s)


def stretch(record: Record, start_s: float, stop_s: float) -> Record:
    """Return the part of a described record between two instants of the recording, given in whole seconds.

    Beats belong to the stretch in which they start; the end of the last one may lie beyond it.
    """
    channels = {n: _cut_channel(c, record.start_s, start_s, stop_s) for n, c in record.channels.items()}
    beats = {n: _cut_beats(b, record.start_s, start_s, stop_s) for n, b in record.beats.items()}
    quality = {n: _cut_quality(q, record.start_s, start_s, stop_s) for n, q in record.quality.items()}
    return replace(record, channels=channels, beats=beats, quality=quality, start_s=start_s)


def _span(fs: float, origin_s: float, start_s: float, stop_s: float) -> tuple[int, int]:
    first = round(origin_s * fs)
    stop = np.iinfo(np.int64).max if math.isinf(stop_s) else round(stop_s * fs) - first
    return round(start_s * fs) - first, int(stop)


def _cut_channel(channel: Channel, origin_s: float, start_s: float, stop_s: float) -> Channel:
    low, high = _span(channel.fs, origin_s, start_s, stop_s)
    return replace(channel, samples=channel.samples[low:high])


def _cut_beats(beats: Beats, origin_s: float, start_s: float, stop_s: float) -> Beats:
    low, high = _span(beats.fs, origin_s, start_s, stop_s)
    mine = slice(*np.searchsorted(beats.onset, [low, high]).tolist())
    return Beats(
        beats.channel,
        beats.fs,
        beats.onset[mine] - low,
        beats.peak[mine] - low,
        np.where(beats.end[mine] >= 0, beats.end[mine] - low, -1),
        beats.quality[mine],
        {name: values[mine] - low for name, values in beats.points.items()},
        beats.mark[mine],
        beats.polarity[mine],
        beats.confirmed[mine],
    )


def _cut_quality(quality: Quality, origin_s: float, start_s: float, stop_s: float) -> Quality:
    low, high = _span(quality.fs, origin_s, start_s, stop_s)
    indices = {name: track[low:high] for name, track in quality.indices.items()}
    return Quality(quality.channel, quality.fs, quality.sqi[low:high], indices)
