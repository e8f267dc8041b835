"""What the steps of the EEG have in common: they act on all its channels at once, under the names these have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from biosig_mtl.signal.runs import T, first_sample
from biosig_mtl.types import F32, Channel, ChannelInfo, DataError, RecipeError, Record

EEG, EOG = "eeg", "eog"


def of_kind(channels: Mapping[str, T], kinds: tuple[str, ...], where: str, *, optional: bool) -> dict[str, T]:
    """Return the channels of some kinds; raise `DataError` where there is none of the first kind, unless that is allowed."""
    found = {name: channel for name, channel in channels.items() if channel.kind in kinds}
    if not any(channel.kind == kinds[0] for channel in found.values()):
        if optional:
            return {}
        have = ", ".join(f"{name} ({channel.kind})" for name, channel in sorted(channels.items())) or "no channels"
        raise DataError(f"{where}: no channel of kind {kinds[0]}; it has {have}; name some in data.channels")
    return found


def one_rate(channels: Mapping[str, Channel] | Mapping[str, ChannelInfo], step: str) -> float:
    """Return the sampling rate that the channels share; raise `RecipeError` where they differ."""
    rates = {channel.fs: name for name, channel in channels.items()}
    if len(rates) > 1:
        told = ", ".join(f"{name} {fs:g} Hz" for fs, name in rates.items())
        raise RecipeError(f"'{step}' needs channels of one rate ({told}): add a 'resample' step before it")
    return next(iter(rates))


def same_length(record: Record, channels: Mapping[str, Channel]) -> None:
    """Raise `DataError` where channels have different numbers of samples."""
    sizes = {channel.samples.size: name for name, channel in channels.items()}
    if len(sizes) > 1:
        told = ", ".join(f"{name} {size}" for size, name in sizes.items())
        raise DataError(f"{record.name}: channels of the EEG differ in length ({told} samples)")


def stacked(record: Record, channels: Mapping[str, Channel]) -> F32:
    """Return the samples, shape (channel, sample); raise `DataError` where the channels have different lengths."""
    same_length(record, channels)
    return np.stack([channel.samples for channel in channels.values()])


def with_samples(record: Record, channels: Mapping[str, Channel], samples: F32, notes: tuple[str, ...] = ()) -> Record:
    """Return the record with other samples in the channels, and more notes."""
    changed = {name: replace(c, samples=x) for (name, c), x in zip(channels.items(), samples, strict=True)}
    return replace(record, channels={**record.channels, **changed}, notes=(*record.notes, *notes))


def blocks(record: Record, fs: float, size: int, block_s: float) -> Iterator[tuple[int, slice]]:
    """Go through the blocks of a fixed grid of the *recording*: number of each, and its place in this part."""
    first = first_sample(record, fs)
    number = int(first / (block_s * fs))
    start = 0
    while start < size:
        stop = min(round((number + 1) * block_s * fs) - first, size)
        if stop > start:
            yield number, slice(start, stop)
        start, number = max(stop, start), number + 1
