"""One channel of a stream: its samples on a grid of their own rate, and how that grid lies to the clock of the source."""

from __future__ import annotations

from collections import deque

import numpy as np

from biosig_mtl.types import F32

# Received samples so old are compared with what comes twice.
REMEMBER_S = 10.0
# A clock is followed as slowly as this, so that jitter of single chunks moves nothing.
FOLLOW_S = 30.0
# The rate is counted over spans of so many seconds; so many in a row must say the same; so much may it be off.
RATE_S, RATE_SPANS, RATE_OFF = 10.0, 3, 0.02


class Line:
    """The samples of one channel.

    Positions are whole numbers of samples from the start of the stretch, so that days of signal add no rounding. Sample *n* was
    taken at ``zero + n / fs + lag`` on the clock of the source, where chunks have times; ``lag`` follows its drift.
    """

    def __init__(self, name: str, fs: float) -> None:
        """Start with nothing."""
        self.name, self.fs = name, fs
        self.heard = False  # anything at all, ever
        self.lost = False
        self.begin()

    def begin(self) -> None:
        """Begin a new stretch: positions count from 0 again, and the clock has to be set."""
        self.arrived = self.emitted = 0
        self.waiting: list[F32] = []
        self.past: deque[F32] = deque()
        self._remembered = 0
        self.hole_until = 0  # where the last hole that had to be filled ends
        self.pending: list[tuple[float, F32]] = []
        self.zero: float | None = None
        self.lag = 0.0
        self._rate_from: tuple[float, int] | None = None
        self._received = 0
        self._odd = 0

    # --------------------------------------------------------------------------------------------------------- samples
    @property
    def now_s(self) -> float:
        """Seconds of the stretch that have arrived."""
        return self.arrived / self.fs

    @property
    def pending_s(self) -> float:
        """Seconds of signal that are kept back."""
        return sum(x.size for _, x in self.pending) / self.fs

    def accept(self, samples: F32) -> None:
        """Let samples follow on."""
        self._append(samples)

    def fill(self, count: int) -> None:
        """Let so many missing samples follow on."""
        if count > 0:
            self._append(np.full(count, np.nan, np.float32))
            self.hole_until = self.arrived

    def repeat(self) -> None:
        """Repeat the last sample: this channel's clock runs slow against the others'."""
        self._append(self.past[-1][-1:])
        self.lag -= 1 / self.fs

    def drop(self) -> bool:
        """Drop the last sample, if it has not been handed on yet: this channel's clock runs fast."""
        if not self.waiting or not self.waiting[-1].size:
            return False
        self.waiting[-1] = self.waiting[-1][:-1]
        self.past[-1] = self.past[-1][:-1]
        self._remembered -= 1
        self.arrived -= 1
        self.lag += 1 / self.fs
        return True

    def take(self, stop: int) -> F32:
        """Hand on the samples up to a position."""
        joined = self.waiting[0] if len(self.waiting) == 1 else np.concatenate([np.empty(0, np.float32), *self.waiting])
        count = stop - self.emitted
        self.waiting = [joined[count:]] if joined.size > count else []
        self.emitted = min(stop, self.emitted + joined.size)
        return joined[:count]

    def _append(self, samples: F32) -> None:
        self.waiting.append(samples)
        self.arrived += samples.size
        keep = round(REMEMBER_S * self.fs)
        self.past.append(samples[-keep:])
        self._remembered += self.past[-1].size
        while self._remembered - self.past[0].size >= keep:
            self._remembered -= self.past.popleft().size

    # ----------------------------------------------------------------------------------------------------------- clock
    def off_s(self, at_s: float) -> float:
        """Return how much later than expected samples of this time are; negative: earlier."""
        return at_s - (self._zero + self.arrived / self.fs + self.lag)

    def follow(self, off_s: float, seconds: float) -> None:
        """Let the clock follow a chunk of so many seconds that was a little off."""
        self.lag += off_s * min(seconds / FOLLOW_S, 1.0)

    def jump(self, seconds: float) -> None:
        """Take note that the clock of the source jumped."""
        self.zero = self._zero + seconds
        self._rate_from, self._odd = None, 0

    @property
    def _zero(self) -> float:
        return 0.0 if self.zero is None else self.zero

    def offset_s(self) -> float:
        """Return the clock of the source less the time of the stretch."""
        return self._zero + self.lag

    def came_before(self, samples: F32, early: int) -> bool:
        """Return whether the first ``early`` of some samples are the last that arrived."""
        if early > self._remembered:
            return False
        past = np.concatenate(self.past)[-early:]
        count = min(early, samples.size)
        return bool(np.array_equal(past[:count], samples[:count], equal_nan=True))

    def in_hole(self, start: int) -> bool:
        """Return whether something from a position on had to be filled."""
        return self.hole_until > 0 and start < self.hole_until

    def odd_rate(self, at_s: float, count: int) -> float | None:
        """Return the rate in Hz at which samples really come, once it is sure that it is not the promised one; else None.

        Asked with the time and the number of samples of every chunk.
        """
        self._received += count
        if self._rate_from is None:
            self._rate_from = at_s, self._received - count
            return None
        seconds = at_s - self._rate_from[0]
        if seconds < RATE_S:
            return None
        rate = (self._received - count - self._rate_from[1]) / seconds
        self._rate_from = at_s, self._received - count
        self._odd = self._odd + 1 if abs(rate / self.fs - 1) > RATE_OFF else 0
        return rate if self._odd == RATE_SPANS else None
