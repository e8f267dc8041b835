"""What a detector says of its candidates, and what all detectors do alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal import templates
from biosig_mtl.signal.choice import SURE, choose
from biosig_mtl.signal.sliding import rows_around, running_sum
from biosig_mtl.signal.trace import Trace
from biosig_mtl.types import F32, F64, I8, I64, Bool

# Crests this far below the usual height are not looked at.
SMALLEST = 0.15
# Noise is told from beats by the mean of those chosen within so many seconds.
REFUSE_S = 8.0
# So many samples are worked at once: what lies between stays in the cache, and no new memory has to be asked for.
PART = 32768
Group = tuple[NDArray[Any], ...]
CONTRAST = 2
# A pulse is compared from here to here around its rise, on a grid of about 32 ms.
PULSE_S, PULSE_HZ = (0.3, 0.5), 31.25
LONELY_S = 3.0


@dataclass(frozen=True)
class Detection:
    """Candidates for beats, all arrays of shape (candidate,).

    ``looks`` is what speaks for one, shape (candidate, number), `CONTRAST` the place of its height against the surroundings;
    ``odds`` are the log-odds made of it; ``confirmed`` tells whether a second detector found it too, ``limits`` the least mean
    contrast and log-odds of a stretch that is not noise.
    """

    onset: I64
    peak: I64
    looks: F32
    odds: F64
    confirmed: Bool
    polarity: I8
    limits: tuple[float, float]

    def take(self, rows: Bool | I64) -> Detection:
        """Return some of the candidates."""
        return Detection(
            self.onset[rows],
            self.peak[rows],
            self.looks[rows],
            self.odds[rows],
            self.confirmed[rows],
            self.polarity[rows],
            self.limits,
        )


def in_parts(trace: Trace, work: Callable[[Trace], Sequence[Group]], reach_s: float) -> tuple[Group, ...]:
    """Return what a function finds in a channel, working on parts of it that stay in the cache.

    ``work`` returns groups of arrays; the first array of a group holds positions, and every other array of whole numbers does
    too. A position may depend on ``reach_s`` seconds around it.
    """
    reach, found = trace.samples(reach_s), []
    for begin in range(0, trace.values.size, PART):
        low, high = max(begin - reach, 0), min(begin + PART + reach, trace.values.size)
        groups = []
        for group in work(trace.part(low, high)):
            mine = (group[0] >= begin - low) & (group[0] < begin - low + PART)
            groups.append(tuple(a[mine] + low if a.dtype.kind == "i" else a[mine] for a in group))
        found.append(groups)
    return tuple(tuple(np.concatenate(arrays) for arrays in zip(*group, strict=True)) for group in zip(*found, strict=True))


def select(found: Detection, trace: Trace) -> Detection:
    """Return the beats among the candidates; none where those near by are noise on the whole."""
    near = np.argsort(found.peak, kind="stable")
    found = found.take(near)
    return believable(found.take(choose(found.peak, found.odds, trace.fs, trace.first)), trace)


def believable(beats: Detection, trace: Trace) -> Detection:
    """Return the beats that do not lie in noise, nor doubtful and alone in silence."""
    beats = beats.take(~_noise(beats, trace))
    return beats.take(~_lonely(beats, trace))


def _lonely(beats: Detection, trace: Trace) -> Bool:
    """Return which doubtful beats have no other within three seconds on either side, though there is a signal."""
    at, far = beats.peak, trace.samples(LONELY_S)
    before = at - np.maximum(np.append(np.iinfo(np.int64).min // 2, at[:-1]), trace.run_start(at))
    after = np.minimum(np.append(at[1:], np.iinfo(np.int64).max // 2), trace.run_stop(at)) - at
    lonely: Bool = (before > far) & (after > far) & (beats.odds < SURE)
    return lonely


def _noise(beats: Detection, trace: Trace) -> Bool:
    near = trace.samples(REFUSE_S)
    low, high = np.searchsorted(beats.peak, beats.peak - near), np.searchsorted(beats.peak, beats.peak + near, side="right")
    count = high - low
    total = running_sum(np.stack((np.clip(beats.looks[:, CONTRAST], -1, 1.5), np.clip(beats.odds, -6, 6))))
    least = np.array(beats.limits)[:, None] * count
    noise: Bool = ((total[:, high] - total[:, low]) / 2**20 < least).any(axis=0)
    return noise


def log_odds(looks: F32, weights: Sequence[float]) -> F64:
    """Return a constant and a weighted sum of what speaks for each candidate."""
    # Not a matrix product: its last bit may depend on where a row lies.
    total = np.full(looks.shape[0], weights[0])
    for column, weight in zip(looks.T, weights[1:], strict=True):
        total += weight * column
    return total


def log_ratio(height: F32, other: F32) -> F32:
    """Return the logarithm of a positive height over another."""
    tiny = np.finfo(np.float32).tiny
    return np.log(np.maximum(height, tiny) / np.maximum(other, tiny))


def sensible(trace: Trace, at: I64, above: F32) -> Bool:
    """Return which candidates are worth looking at: high enough, and not at the very end of a run."""
    high: Bool = above >= np.log(SMALLEST)
    return high & (at > trace.run_start(at)) & (at < trace.run_stop(at) - 1) if at.size else high


def sure(above: F32, contrast: F32) -> F32:
    """Return how much a candidate counts in the mean of its neighbours: of usual height, and standing out."""
    return np.asarray(np.exp(-2 * np.abs(above)) * np.clip(contrast - 0.3, 0.01, 1), np.float32)


def pulses_alike(trace: Trace, x: F32, at: I64, weight: F32) -> F32:
    """Return how far the pulse around each rise looks like those within some 12 s, which count by their weight."""
    before, after = (trace.samples(s) for s in PULSE_S)
    step = max(int(trace.fs / PULSE_HZ), 1)
    pulses = templates.unit(rows_around(x, at, before, after, step))
    typical = templates.pulse(pulses.shape[1], step / trace.fs, PULSE_S[0])
    return templates.likeness(pulses, weight, trace.block(at, templates.BLOCK_S), typical)


def confirmed(trace: Trace, crest: I64, height: F32, at: I64, rule: tuple[float, float]) -> Bool:
    """Return which positions have a crest of another curve near them.

    ``rule``: how high a crest must be against the usual one, and how near in seconds.
    """
    smallest, near_s = rule
    crest = crest[height >= smallest * trace.usual(crest, height)]
    if not crest.size:
        return np.zeros(at.size, bool)
    spot = np.searchsorted(crest, at)
    after, before = crest[np.minimum(spot, crest.size - 1)], crest[np.maximum(spot - 1, 0)]
    near: Bool = np.minimum(np.abs(after - at), np.abs(at - before)) <= trace.samples(near_s)
    return near
