"""A stream without networks: the mean and the spread of what arrived in a window stand for its estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from biosig_mtl.inference.stream_words import Chunk, Estimate, Event
from biosig_mtl.types import Beats, Channel, ChannelInfo, Record

LENGTH_S = 4.0


class FakeStream:
    """Has the face of `biosig_mtl.inference.Stream`."""

    def __init__(self, channels: Mapping[str, ChannelInfo], *, twice: bool = True, settle_s: float = 8.0) -> None:
        self.channels, self.twice, self.settle_s = channels, twice, settle_s
        self.first = next(iter(channels))
        self.fs = channels[self.first].fs
        self.samples = np.empty(0, np.float32)
        self.chunks: list[Chunk] = []
        self.told = {"settled": 0, "provisional": 0, "refused": 0}
        self.pending: list[Event] = []
        self.seen: Record | None = None

    @property
    def now_s(self) -> float:
        return self.samples.size / self.fs

    @property
    def counts(self) -> Mapping[str, int]:
        return self.told

    @property
    def state(self) -> str:
        return "running" if self.samples.size else "waiting"

    def push(self, part: Chunk) -> list[Estimate]:
        self.chunks.append(part)
        self.samples = np.append(self.samples, np.asarray(part.samples.get(self.first, ()), np.float32))
        return self._due(self.now_s)

    def finish(self) -> list[Estimate]:
        return self._due(self.now_s + self.settle_s)

    def events(self) -> list[Event]:
        told, self.pending = self.pending, []
        return told

    def _due(self, until_s: float) -> list[Estimate]:
        made = []
        while self.twice and (self.told["provisional"] + 1) * LENGTH_S <= self.now_s:
            made.append(self._estimate(self.told["provisional"], settled=False))
            self.told["provisional"] += 1
            self._describe()
        while (n := self.told["settled"] + self.told["refused"] + 1) * LENGTH_S + self.settle_s <= until_s:
            made.append(self._estimate(n - 1, settled=True))
            self.told["refused" if made[-1].reason else "settled"] += 1
        return made

    def _estimate(self, number: int, *, settled: bool) -> Estimate:
        onset = number * LENGTH_S
        here = self.samples[round(onset * self.fs) : round((onset + LENGTH_S) * self.fs)]
        if not np.isfinite(here).all():
            return Estimate(onset, onset + LENGTH_S, reason="missing", settled=settled)
        sbp = 120 + 20 * float(here.mean()) + 6 * math.sin(number / 3) + (0 if settled else 2)
        return Estimate(
            onset,
            onset + LENGTH_S,
            values={"sbp": sbp, "dbp": sbp - 45},
            lower={"sbp": sbp - 14, "dbp": sbp - 54},
            upper={"sbp": sbp + 14, "dbp": sbp - 36},
            sqi=0.9 - 0.1 * (number % 3),
            settled=settled,
        )

    def _describe(self) -> None:
        start = max(self.now_s - 2 * LENGTH_S, 0.0)
        here = self.samples[round(start * self.fs) :]
        peaks = np.flatnonzero((here[1:-1] > here[:-2]) & (here[1:-1] >= here[2:]) & (here[1:-1] > 0.8)) + 1
        channel = Channel("made", self.channels[self.first].kind, "", self.fs, here, self.first)
        beats = Beats("made", self.fs, peaks, peaks, peaks, np.ones(peaks.size, np.float32))
        self.seen = Record("r", "s", "1", {"made": channel}, start_s=start, beats={"made": beats})
