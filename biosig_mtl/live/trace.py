"""What of a signal is drawn: its latest seconds, thinned so that no peak is lost, and the beats in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from biosig_mtl.inference.stream_words import Chunk
from biosig_mtl.types import F32, F64, ChannelInfo, Record

# A screen has some thousand columns for some ten seconds; more points than this a second are not seen.
POINTS_HZ = 125.0
# Of what came at once no more is drawn than this: a recording replayed in a hurry is not watched beat by beat.
LONGEST_S = 12.0
MOST_CHANNELS = 4
_KINDS = ("ppg", "ecg", "abp", "eda", "resp", "eeg", "eog", "emg")
# Two marks closer than this are the same beat, seen again by the next round of work.
SAME_BEAT_S = 0.2


@dataclass(frozen=True, slots=True)
class Strip:
    """A piece of a channel to draw: point *i* is at ``start_s + i * step_s`` and reaches from ``low[i]`` to ``high[i]``."""

    start_s: float
    step_s: float
    low: F32
    high: F32


def thin(samples: F32, start: int, fs: float, points_hz: float = POINTS_HZ) -> tuple[Strip, int]:
    """Return the least and greatest of blocks of samples, and how many samples at the end wait for the next time.

    Blocks lie on a grid of the recording, so that what is drawn does not depend on how it arrived.

    Parameters
    ----------
    samples
        Shape (sample,); NaN where there are none. A block without a number is NaN.
    start
        Number of the first sample in the recording; what lies before the first block that begins in it is left out.
    fs
        Rate in Hz.
    points_hz
        Points a second, at the most.

    Examples
    --------
    >>> import numpy as np
    >>> strip, left = thin(np.array([0, 5, 1, -3, 2], np.float32), start=0, fs=2.0, points_hz=1.0)
    >>> strip.low.tolist(), strip.high.tolist(), left
    ([0.0, -3.0], [5.0, 1.0], 1)
    """
    block = max(math.ceil(fs / points_hz - 1e-9), 1)
    lead = min(-start % block, samples.size)
    count = (samples.size - lead) // block
    blocks = samples[lead : lead + count * block].reshape(count, block)
    # fmin and fmax pass over NaN, and keep it where there is nothing else.
    low, high = np.fmin.reduce(blocks, axis=1, initial=np.nan), np.fmax.reduce(blocks, axis=1, initial=np.nan)
    left = samples.size - lead - count * block
    return Strip((start + lead) / fs, block / fs, low, high), left


@dataclass
class Scope:
    """Gathers what arrives until somebody takes it to draw it.

    Parameters
    ----------
    channels
        What arrives; of many channels the first few are drawn, pulse and heart before others.
    """

    channels: Mapping[str, ChannelInfo]
    _held: dict[str, list[F32]] = field(default_factory=dict)
    _begin: dict[str, int] = field(default_factory=dict)
    _beat_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose what is drawn."""
        self.drawn = tuple(sorted(self.channels, key=lambda n: _rank(self.channels[n].kind)))[:MOST_CHANNELS]

    def add(self, chunk: Chunk, now_s: float) -> None:
        """Keep a chunk whose last samples were taken at ``now_s`` seconds of the stream."""
        for name in self.drawn:
            samples = np.asarray(chunk.samples.get(name, ()), np.float32)
            if not samples.size:
                continue
            fs, held = self.channels[name].fs, self._held.setdefault(name, [])
            begin = round(now_s * fs) - samples.size
            end = self._begin.get(name, 0) + sum(part.size for part in held)
            # A hole, or a clock that was put right: what is held no longer meets what comes.
            if not held or abs(begin - end) > max(0.05 * fs, 1):
                held.clear()
                self._begin[name] = begin
            held.append(samples)
            self._forget(name, round(LONGEST_S * fs))

    def take(self) -> dict[str, Strip]:
        """Return what came since the last time, by channel."""
        strips = {}
        for name, held in self._held.items():
            samples = np.concatenate(held) if held else np.empty(0, np.float32)
            strip, left = thin(samples, self._begin[name], self.channels[name].fs)
            self._begin[name] += samples.size - left
            held[:] = [samples[samples.size - left :]]
            if strip.low.size:
                strips[name] = strip
        return strips

    def beats(self, seen: Record | None) -> dict[str, F64]:
        """Return the beats that have been found since the last time, in seconds of the stream, by the channel that is drawn."""
        found: dict[str, F64] = {}
        for made, beats in seen.beats.items() if seen else ():
            name = self._origin(seen, made) if seen else None
            if name is None or name in found or seen is None:
                continue
            at = seen.start_s + beats.peak / beats.fs
            fresh = at[at > self._beat_s.get(name, -math.inf) + SAME_BEAT_S]
            if fresh.size:
                found[name] = fresh
                self._beat_s[name] = float(fresh[-1])
        return found

    def _origin(self, seen: Record | None, made: str) -> str | None:
        """Return the drawn channel from which a channel was made."""
        channel = seen.channels.get(made) if seen else None
        kind = channel.kind if channel else ""
        named = (made, channel.source_name if channel else "")
        return next((n for n in self.drawn if n in named), next((n for n in self.drawn if self.channels[n].kind == kind), None))

    def _forget(self, name: str, most: int) -> None:
        held = self._held[name]
        while len(held) > 1 and sum(part.size for part in held) - held[0].size >= most:
            self._begin[name] += held.pop(0).size
        if held[0].size > most and len(held) == 1:
            self._begin[name] += held[0].size - most
            held[0] = held[0][-most:]


def _rank(kind: str) -> int:
    return _KINDS.index(kind) if kind in _KINDS else len(_KINDS)


def beats_per_minute(beats_s: F64) -> float:
    """Return the rate of some beats: 60 over the median of the seconds between them, NaN for fewer than three.

    >>> import numpy as np
    >>> beats_per_minute(np.array([0.0, 0.8, 1.6, 2.4]))
    75.0
    """
    if beats_s.size < 3:
        return math.nan
    return round(60 / float(np.median(np.diff(beats_s))), 1)
