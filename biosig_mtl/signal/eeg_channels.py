"""Electrodes that do not measure the brain: which, for how long, and what is put in their place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from biosig_mtl import montage
from biosig_mtl.signal.eeg import EEG, blocks, of_kind, one_rate, stacked, with_samples
from biosig_mtl.signal.eeg_spline import spline_weights
from biosig_mtl.types import F32, F64, Bool, ChannelInfo, Record

REASONS = ("missing", "flat", "amplitude", "high frequencies", "unlike the others")
"""Why a channel is bad in a block, in the order in which they are looked for; the first that applies is told."""

# Share of a block without samples, and share of samples that repeat the one before.
MOST_MISSING = 0.5
MOST_REPEATED = 0.5
# SD by the median SD of the channels, below which a channel is flat.
FLAT = 0.01
# SD of an interquartile range of 1; and the least spread between channels, in nats, that deviations are counted in: a cap with
# equal channels would find every little difference.
SD_OF_IQR = 0.7413
LEAST_SPREAD = 0.2
# Splines from fewer electrodes than these guess.
LEAST_GOOD = 4
LEAST_GOOD_SHARE = 0.5
# Seconds of valid signal that a verdict needs.
LEAST_S = 2.0


@dataclass(frozen=True)
class EegBadChannels:
    """Find bad channels of the EEG, block by block, and interpolate them or make them a gap.

    A channel is judged in blocks on a fixed grid of the *recording*, by what lies inside the block and nothing else: so a part
    of a recording is judged as the whole, and an electrode that comes off after an hour costs what comes after. The last block
    is judged with the one before if it is less than half full. The statistics are medians over the seconds of a block, which a
    blink or a movement of a few seconds does not change.

    Filter before (`EegFilter`), or a slow drift is taken for an amplitude; reference after (`EegReference`), or a bad channel
    is spread over the others.

    Parameters
    ----------
    block_s
        Length of a block in seconds.
    repair
        ``interpolate``: a bad channel is replaced by the spherical spline through the good ones (Perrin et al. 1989), and is a
        gap where fewer than four, or fewer than half, of the channels are good or where its place on the head is not known;
        ``mark``: it is a gap.
    most_deviation
        Robust z-score, over channels, of the logarithm of the SD and of the ratio of the SD of differences to the SD, beyond
        which a channel is bad. (The PREP pipeline, Bigdely-Shamlo et al., Front Neuroinform 9:16, 2015, takes the amplitude
        itself, which finds small ones never, and noise above 50 Hz, which data of 128 Hz do not have.)
    least_correlation
        The greatest absolute correlation with any other channel within a second must reach this (PREP: 0.4).
    optional
        Return a record without EEG unchanged.

    Notes
    -----
    The record's notes name every channel, why and in how many blocks. Short gaps of a channel that is otherwise good stay gaps.
    """

    block_s: float = 32.0
    repair: Literal["interpolate", "mark"] = "interpolate"
    most_deviation: float = 5.0
    least_correlation: float = 0.4
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 4 <= self.block_s < math.inf:
            raise ValueError(f"need block_s >= 4, got {self.block_s}")
        if self.repair not in {"interpolate", "mark"}:
            raise ValueError(f"need repair interpolate or mark, got {self.repair}")
        if not 0 < self.most_deviation < math.inf:
            raise ValueError(f"need most_deviation > 0, got {self.most_deviation}")
        if not 0 <= self.least_correlation < 1:
            raise ValueError(f"need 0 <= least_correlation < 1, got {self.least_correlation}")

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds: the block, and the one before it."""
        return 2 * self.block_s

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels, which stay; raise an error for different rates."""
        found = of_kind(channels, (EEG,), "eeg_bad_channels", optional=self.optional)
        if found:
            one_rate(found, "eeg_bad_channels")
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record without its bad channels, with notes that name them."""
        found = of_kind(record.channels, (EEG,), f"{record.name}: eeg_bad_channels", optional=self.optional)
        if not found:
            return record
        fs, x, names = one_rate(found, "eeg_bad_channels"), stacked(record, found), tuple(found)
        out, told, count = x.copy(), Counter[tuple[str, str, str]](), 0
        before = slice(0, 0)
        for _, block in blocks(record, fs, x.shape[1], self.block_s):
            whole = block.stop - block.start >= self.block_s * fs / 2
            why = self._verdict(x[:, block if whole else slice(before.start, block.stop)], fs)
            told.update((names[k], REASONS[code], self._mend(out, x, block, why, k, names)) for k, code in why.items())
            before, count = block, count + 1
        return with_samples(record, found, out, _notes(told, count, self.block_s))

    def _verdict(self, x: F32, fs: float) -> dict[int, int]:
        """Return the bad channels of a block: place → number of the reason."""
        width = max(round(fs), 2)
        seconds = x.shape[1] // width
        if seconds < LEAST_S:
            return {}
        x = x[:, : seconds * width].reshape(x.shape[0], seconds, width)
        known = np.isfinite(x)
        step = np.diff(x, axis=-1)
        with np.errstate(invalid="ignore"):
            bad = [known.mean(axis=(1, 2)) < MOST_MISSING, (step == 0).mean(axis=(1, 2)) > MOST_REPEATED]
        size, change = _over_seconds(x), _over_seconds(step)
        judged = ~(bad[0] | bad[1])
        bad[1] |= judged & (size <= FLAT * _median(size, judged))
        judged &= ~bad[1]
        bad.append(np.abs(self._deviation(size, judged)) > self.most_deviation)
        bad.append(self._deviation(change / np.where(size > 0, size, 1), judged) > self.most_deviation)
        bad.append(judged & (_likeness(x, judged) < self.least_correlation))
        return {k: next(code for code, mask in enumerate(bad) if mask[k]) for k in np.flatnonzero(np.any(bad, axis=0)).tolist()}

    def _deviation(self, value: F64, judged: Bool) -> F64:
        """Return the robust z-score of the logarithm, over the channels that are judged; 0 for the others."""
        out = np.zeros(value.size)
        judged = judged & (value > 0)
        if judged.sum() > 2:
            level = np.log(value[judged])
            low, middle, high = np.percentile(level, [25, 50, 75])
            out[judged] = (level - middle) / max(SD_OF_IQR * (high - low), LEAST_SPREAD)
        return out

    def _mend(self, out: F32, x: F32, block: slice, why: Mapping[int, int], k: int, names: tuple[str, ...]) -> str:
        """Put something in the place of a bad channel in a block; say what."""
        good = [j for j in range(len(names)) if j not in why and montage.position(names[j]) is not None]
        enough = len(good) >= max(LEAST_GOOD, LEAST_GOOD_SHARE * len(names))
        if self.repair == "mark" or not enough or montage.position(names[k]) is None:
            out[k, block] = np.nan
            return "left out"
        weights = spline_weights((names[k],), tuple(names[j] for j in good))[0].astype(np.float32)
        out[k, block] = weights @ x[good, block]
        return "interpolated"


def _over_seconds(x: F32) -> F64:
    """Return the median over seconds of the SD within each, of the seconds without a gap; shape (channel,), 0 where none is."""
    mean = x.mean(axis=-1, keepdims=True)
    rest = x - mean
    spread = np.sort(np.einsum("cst,cst->cs", rest, rest).astype(np.float64) / x.shape[-1], axis=1)
    # What is not known sorts to the end.
    spread = np.sqrt(np.where(np.isfinite(spread), spread, np.nan))
    count = np.isfinite(spread).sum(axis=1)
    low, high = (np.take_along_axis(spread, np.maximum(at, 0)[:, None], axis=1)[:, 0] for at in ((count - 1) // 2, count // 2))
    return np.where(count > 0, (low + high) / 2, 0)


def _median(size: F64, judged: Bool) -> float:
    return float(np.median(size[judged])) if judged.any() else 0.0


def _likeness(x: F32, judged: Bool) -> F64:
    """Return how much a channel is like another one that is judged; 1 where there are no two others.

    The greatest absolute correlation with any, in each second without a gap in any of them; the median over seconds.
    """
    out = np.ones(x.shape[0])
    places = np.flatnonzero(judged)
    rows = x[places].swapaxes(0, 1)
    rows = rows[np.isfinite(rows).all(axis=(1, 2))]
    if places.size < 3 or not len(rows):
        return out
    rows -= rows.mean(axis=-1, keepdims=True)
    rows /= np.maximum(np.sqrt(np.einsum("sct,sct->sc", rows, rows)), np.finfo(np.float32).tiny)[..., None]
    between = np.abs(rows @ rows.swapaxes(-1, -2))
    between[:, np.arange(places.size), np.arange(places.size)] = 0
    out[places] = np.median(between.max(axis=-1), axis=0)
    return out


def _notes(told: Mapping[tuple[str, str, str], int], count: int, block_s: float) -> tuple[str, ...]:
    if not told:
        return ()
    words: Iterable[str] = (f"{name} {why} in {n} ({what})" for (name, why, what), n in sorted(told.items()))
    return (f"bad channels of the EEG, of {count} blocks of {block_s:g} s: {', '.join(words)}",)
