"""What the eyes add to the EEG, taken away by regression on the EOG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.eeg import EEG, EOG, blocks, of_kind, one_rate, same_length, stacked, with_samples
from biosig_mtl.signal.runs import first_sample
from biosig_mtl.types import F32, F64, I64, Bool, ChannelInfo, Record

# Valid seconds below which no coefficients are fitted.
LEAST_S = 5.0
# Directions of the EOG weaker than so much of the strongest are not fitted (two electrodes that measure the same).
WEAKEST = 1e-6


@dataclass(frozen=True)
class EegEog:
    """Take what the EOG explains of each channel of the EEG away from it.

    EEG = brain + B · EOG, with B by least squares (Gratton, Coles & Donchin, Electroencephalogr Clin Neurophysiol 55:468, 1983;
    Croft & Barry, Neurophysiol Clin 30:5, 2000) from this recording alone. All EOG channels are fitted together. B is fitted
    about the middle of blocks on a fixed grid of the recording, over the block and its neighbours, and goes in straight lines
    from middle to middle: so it follows an electrode that dries, leaves no steps, and a part of a recording is corrected as the
    whole is. Deviations: Gratton fits blinks and saccades apart, on what is left after the mean response to an event; there is
    no event here. Croft & Barry fit averaged, aligned blinks, so that brain activity in the EOG does not bias B; here it does,
    by the share of brain activity in the EOG, most in the front of the head.

    Filter EEG and EOG alike before (`EegFilter` does). A recording without EOG passes with a note.

    Parameters
    ----------
    block_s
        Length of a block in seconds; three are fitted together.
    optional
        Return a record without EEG unchanged.
    """

    block_s: float = 30.0
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not LEAST_S <= self.block_s < math.inf:
            raise ValueError(f"need block_s >= {LEAST_S:g}, got {self.block_s}")

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds: coefficients of the neighbouring block are fitted with the one beyond."""
        return 3 * self.block_s

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels, which stay; raise an error for different rates of EEG and EOG."""
        found = of_kind(channels, (EEG, EOG), "eeg_eog", optional=self.optional)
        if any(channel.kind == EOG for channel in found.values()):
            one_rate(found, "eeg_eog")
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record with the EOG regressed out of its EEG."""
        found = of_kind(record.channels, (EEG, EOG), f"{record.name}: eeg_eog", optional=self.optional)
        brain = {name: channel for name, channel in found.items() if channel.kind == EEG}
        eyes = {name: channel for name, channel in found.items() if channel.kind == EOG}
        if not brain:
            return record
        if not eyes:
            return with_samples(record, {}, np.empty((0, 0), np.float32), ("no EOG: nothing was regressed out of the EEG",))
        fs = one_rate(found, "eeg_eog")
        same_length(record, found)
        x, e = stacked(record, brain), stacked(record, eyes)
        seen: Bool = np.asarray(np.isfinite(e).all(axis=0))
        e = np.where(seen, e, np.float32(0))
        grid = list(blocks(record, fs, x.shape[1], self.block_s))
        sums = [_sums(x[:, part], e[:, part], seen[part]) for _, part in grid]
        fitted = [_coefficients(sum(sums[max(k - 1, 0) : k + 2], start=0 * sums[k]), LEAST_S * fs) for k in range(len(grid))]
        middles = np.array([(number + 0.5) * self.block_s * fs for number, _ in grid]) - first_sample(record, fs)
        out = x.copy()
        for k, (_, part) in enumerate(grid):
            at = np.arange(part.start, part.stop)
            for j, weight in _shares(at, middles, k):
                out[:, part] -= fitted[j] @ (e[:, part] * weight)
        return with_samples(record, brain, out, _notes(seen, fs))


def _sums(x: F32, e: F32, seen: Bool) -> F64:
    """Return what a fit needs of a block, shape (channel, sum): of ones, EOG, products of EOG, EEG, and EEG times EOG.

    Only samples at which EOG and that channel of the EEG are there count, so sums of blocks can be added.
    """
    known = np.isfinite(x) & seen
    eyes = e.astype(np.float64)
    ones = np.concatenate((np.ones((1, e.shape[1])), eyes))
    products = (ones[:, None] * ones[None]).reshape(-1, e.shape[1])
    within = known.astype(np.float64) @ products.T
    across = np.where(known, x, 0).astype(np.float64) @ ones.T
    return np.concatenate((within, across), axis=1)


def _coefficients(sums: F64, least: float) -> F32:
    """Return B, shape (channel, EOG); zeros for a channel with fewer than ``least`` samples."""
    size = round((np.sqrt(1 + 4 * sums.shape[1]) - 1) / 2)
    within, across = sums[:, : size * size].reshape(-1, size, size), sums[:, size * size :]
    count = np.maximum(within[:, :1, :1], 1)
    mean = within[:, :1, 1:] / count
    spread = within[:, 1:, 1:] / count - mean.swapaxes(1, 2) * mean
    shared = across[:, None, 1:] / count - (across[:, None, :1] / count) * mean
    b = (shared @ np.linalg.pinv(spread, rcond=WEAKEST, hermitian=True))[:, 0]
    return np.where(count[:, 0] >= least, b, 0).astype(np.float32)


def _shares(at: I64, middles: F64, k: int) -> Iterator[tuple[int, F32]]:
    """Yield the blocks whose coefficients count for samples of block ``k``, and how much at each sample."""
    before, after = max(k - 1, 0), min(k + 1, middles.size - 1)
    width = middles[1] - middles[0] if middles.size > 1 else 1.0
    place = (at - middles[k]) / width
    shares = {before: np.clip(-place, 0, 1), after: np.clip(place, 0, 1)}
    shares.pop(k, None)
    yield k, (1 - sum(shares.values(), start=np.zeros(at.size))).astype(np.float32)
    for j, share in shares.items():
        yield j, share.astype(np.float32)


def _notes(seen: Bool, fs: float) -> tuple[str, ...]:
    lost = np.count_nonzero(~seen) / fs
    if lost >= seen.size / fs - LEAST_S:
        return (f"less than {LEAST_S:g} s of EOG: nothing was regressed out of the EEG",)
    return (f"{lost:.1f} s without EOG: there, nothing was regressed out of the EEG",) if lost else ()
