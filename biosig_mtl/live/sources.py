"""Where a recording that is being made comes from: the face of every source, and a file replayed as if it were one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np

from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Record, Source

# How much of a file is read at once, and how much of it is told at once.
BLOCK_S, CHUNK_S, FAST_CHUNK_S = 60.0, 0.2, 2.0
MAX_SPEED = math.inf
# A source that has nothing to say says so after this long, so that whoever waits for it can see to other things.
PATIENCE_S = 0.25
# Stamps that are off by so many samples from where they should be tell of a hole; less is the jitter of a clock.
GAP_SAMPLES = 1.5
TOLD = 5


@runtime_checkable
class LiveSource(Protocol):
    """Something that samples come from while they are taken."""

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """What will arrive, by our names: kinds, units and rates."""

    @property
    def name(self) -> str:
        """What it is, in a word for the table."""

    @property
    def notes(self) -> list[str]:
        """What there is to know of it. More may come while it runs."""

    def chunks(self) -> Iterator[Chunk | None]:
        """Yield what arrives, None where nothing did for `PATIENCE_S`; end when no more will come."""

    def close(self) -> None:
        """Let go of it; the iterator ends soon."""


class Tally:
    """What of a source could not be read: the first few are told, the rest is counted.

    Parameters
    ----------
    where
        What stands before the number of the place.
    most
        So many one after the other end the source.
    """

    def __init__(self, where: str, most: int) -> None:
        """Start with nothing."""
        self._where, self._most = where, most
        self._told: list[str] = []
        self._count = self._row = 0

    @property
    def notes(self) -> list[str]:
        """What could not be read."""
        more = self._count - len(self._told)
        return self._told + ([f"{self._where} …: {more} more cannot be read"] if more else [])

    def bad(self, number: int, why: str) -> None:
        """Note that one cannot be read; raise `DataError` when that has been so too often in a row."""
        self._count += 1
        self._row += 1
        if self._row >= self._most:
            raise DataError(f"{self._where} {number}: {why}; so were the {self._row - 1} before: this is no recording")
        if len(self._told) < TOLD:
            self._told.append(f"{self._where} {number}: {why}")

    def good(self) -> None:
        """Note that one could be read."""
        self._row = 0


def split_at_gaps(times: F64, fs: float) -> Iterator[tuple[slice, float | None]]:
    """Yield the runs of samples that follow one another, with the time of the first of each in seconds.

    Parameters
    ----------
    times
        When each was taken, shape (sample,); NaN where that is not known: it follows on the one before.
    fs
        Their rate in Hz.

    Examples
    --------
    >>> import numpy as np
    >>> [(part.start, part.stop, at) for part, at in split_at_gaps(np.array([0.0, 0.1, 0.2, 5.0, 5.1]), 10.0)]
    [(0, 3, 0.0), (3, 5, 5.0)]
    """
    count, known = times.size, np.flatnonzero(np.isfinite(times))
    if not known.size:
        yield slice(0, count), None
        return
    # Where every stamp says that sample 0 lies; steps of it are holes.
    origin = times[known] - known / fs
    jumps = known[1:][np.abs(np.diff(origin)) > GAP_SAMPLES / fs]
    edges = [0, *jumps.tolist(), count]
    for low, high in pairwise(edges):
        at = int(known[np.searchsorted(known, low)])
        yield slice(low, high), float(times[at] - (at - low) / fs)


@dataclass(frozen=True)
class Pace:
    """How fast a file is told.

    Parameters
    ----------
    speed
        Seconds of signal a second; infinite: as fast as it is taken.
    rounds
        How often it is told; 0: again and again. Between two rounds lies a seam.
    chunk_s
        Seconds of signal told at once; None: 0.2 s in real time, more when it goes faster.
    """

    speed: float = 1.0
    rounds: int = 1
    chunk_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.speed > 0:
            raise ValueError(f"need speed > 0, got {self.speed}")
        if self.rounds < 0:
            raise ValueError(f"need rounds >= 0, got {self.rounds}")
        if self.chunk_s is not None and not 0 < self.chunk_s < math.inf:
            raise ValueError(f"need chunk_s > 0, got {self.chunk_s}")

    @property
    def step_s(self) -> float:
        """Seconds of signal in a chunk."""
        return self.chunk_s or min(CHUNK_S * max(self.speed, 1.0), FAST_CHUNK_S)


class ReplaySource:
    """A recording told chunk by chunk, at a given speed.

    The chunks joined are the samples of the file, bit for bit. Channels of several rates stay together: each chunk holds of
    every channel the samples that lie in its seconds.

    Parameters
    ----------
    source
        An opened recording.
    only
        Our names of the channels that are wanted; empty: all.
    pace
        How fast, how often.
    now, sleep
        The clock it goes by, in seconds.
    """

    def __init__(
        self,
        source: Source,
        only: tuple[str, ...] = (),
        pace: Pace | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look at what the file holds; raise `DataError` where that is none of the wanted channels."""
        self._source, self._pace, self._now, self._sleep = source, pace or Pace(), now, sleep
        self._channels = {n: info for n, info in source.channels.items() if not only or n in only}
        if not self._channels:
            raise DataError(
                f"the recording has none of the channels {', '.join(only)}; it has {', '.join(source.channels) or 'none'}; "
                "say which is which with --channel OURS=THEIRS"
            )
        self._notes: dict[str, None] = {}
        self._name = "recording"
        self._closed = False

    @property
    def channels(self) -> Mapping[str, ChannelInfo]:
        """What will arrive."""
        return self._channels

    @property
    def name(self) -> str:
        """The name of the record, once a part of it has been read."""
        return self._name

    @property
    def notes(self) -> list[str]:
        """What the reader noted."""
        return list(self._notes)

    @property
    def duration_s(self) -> float:
        """Length of one round in seconds."""
        return self._source.duration_s

    def close(self) -> None:
        """End after the chunk in hand."""
        self._closed = True

    def chunks(self) -> Iterator[Chunk | None]:
        """Yield the chunks, each when it is due.

        Raises
        ------
        DataError
            A part of the file cannot be read.
        """
        begin, told_s, turn = self._now(), 0.0, 0
        while not self._closed and (self._pace.rounds == 0 or turn < self._pace.rounds):
            for chunk, seconds in self._round(again=turn > 0):
                told_s += seconds
                # A chunk is due when its last sample has been taken.
                yield from self._wait(begin + told_s / self._pace.speed)
                if self._closed:
                    return
                yield chunk
            turn += 1

    def _wait(self, due: float) -> Iterator[None]:
        while not self._closed and (left := due - self._now()) > 0:
            self._sleep(min(left, PATIENCE_S))
            if left > PATIENCE_S:
                yield None

    def _round(self, *, again: bool) -> Iterator[tuple[Chunk, float]]:
        step, length = self._pace.step_s, self._source.duration_s
        reel, start, number = _Reel(self._read, self._channels, length), 0.0, 0
        while start < length:
            number += 1
            stop = min(number * step, length)
            # Parts lie on the frames of the file, so a chunk may end a little after what has been read.
            reel.reach(stop)
            for low, high in pairwise(sorted({start, stop, *(s for s in reel.seams if start < s < stop)})):
                seam = low in reel.seams or (again and low == 0)
                if seam:
                    self._notes["the file has seams, or is told again: no window crosses them"] = None
                yield Chunk(reel.cut(high, last=high >= length), seam=seam), high - low
            start = stop

    def _read(self, start_s: float, stop_s: float) -> Record:
        record = self._source.read(start_s, stop_s)
        self._name = record.name
        self._notes |= dict.fromkeys(record.notes)
        return record


class _Reel:
    """A file read block by block, of which chunks are cut off at the front."""

    def __init__(self, read: Callable[[float, float], Record], channels: Mapping[str, ChannelInfo], length_s: float) -> None:
        self._fetch, self._length_s = read, length_s
        self._held = {name: np.empty(0, np.float32) for name in channels}
        self._cut = dict.fromkeys(channels, 0)  # samples that were cut off
        self._fs = {name: info.fs for name, info in channels.items()}
        self._read_s = 0.0
        self.seams: set[float] = set()

    def reach(self, stop_s: float) -> None:
        while self._read_s < min(stop_s + 1.0, self._length_s):
            ahead = min(self._read_s + BLOCK_S, self._length_s)
            record = self._fetch(self._read_s, ahead)
            self.seams = {float(s) for s in record.seams_s}
            self._held = {n: np.concatenate((held, record.channels[n].samples)) for n, held in self._held.items()}
            self._read_s = ahead

    def cut(self, stop_s: float, *, last: bool) -> dict[str, F32]:
        made = {}
        for name, held in self._held.items():
            count = held.size if last else min(max(round(stop_s * self._fs[name]) - self._cut[name], 0), held.size)
            made[name], self._held[name] = held[:count], held[count:]
            self._cut[name] += count
        return made
