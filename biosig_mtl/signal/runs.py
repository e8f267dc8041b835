"""Stretches of a record that may be worked as one: between gaps (NaN) and seams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.sliding import Float
from biosig_mtl.types import I64, Bool, Channel, ChannelInfo, Record, missing_channel

T = TypeVar("T", Channel, ChannelInfo)


def find(channels: Mapping[str, T], name: str, where: str, *, optional: bool) -> T | None:
    """Return a channel, None where an optional one is absent; raise `DataError` for any other absent one."""
    found = channels.get(name)
    if found is None and not optional:
        raise missing_channel(where, name, channels)
    return found


def first_sample(record: Record, fs: float) -> int:
    """Return the number, counted from the start of the recording, of the first sample of this part."""
    return round(record.start_s * fs)


def seam_samples(record: Record, fs: float, size: int) -> I64:
    """Return the samples that start a new piece of the recording, sorted, shape (seam,)."""
    if not record.seams_s.size:
        return np.empty(0, np.int64)
    at = np.unique(np.round(np.asarray(record.seams_s, np.float64) * fs).astype(np.int64) - first_sample(record, fs))
    return at[(at > 0) & (at < size)]


def runs(valid: Bool, seams: I64) -> tuple[I64, I64]:
    """Return start and stop (one past the end) of every stretch of valid samples without a seam inside."""
    if valid.size and valid.all():
        starts, stops = np.zeros(1, np.int64), np.full(1, valid.size, np.int64)
    else:
        padded = np.zeros(valid.size + 2, np.int8)
        padded[1:-1] = valid
        change = np.flatnonzero(np.diff(padded))
        starts, stops = change[::2], change[1::2]
    if seams.size:
        inner = seams[valid[seams] & valid[seams - 1]]
        starts, stops = np.union1d(starts, inner), np.union1d(stops, inner)
    return starts, stops


def long_runs(mask: Bool, shortest: int) -> Bool:
    """Keep only the true stretches of at least ``shortest`` samples."""
    at = np.flatnonzero(mask)
    out = np.zeros(mask.size, bool)
    if at.size >= max(shortest, 1):
        edge = np.flatnonzero(np.diff(at) > 1)
        first, last = np.append(0, edge + 1), np.append(edge, at.size - 1)
        keep = last - first + 1 >= shortest
        kept = np.repeat(keep, last - first + 1)
        out[at[kept]] = True
    return out


def hold(x: NDArray[Float], valid: Bool) -> NDArray[Float]:
    """Fill gaps with the nearest valid sample, so that what comes after sees no jump at their edges.

    An array without gaps is returned as it is.
    """
    if valid.all():
        return x
    if not valid.any():
        return np.zeros_like(x)
    at = np.arange(x.size)
    before = np.maximum.accumulate(np.where(valid, at, -1))
    after = np.minimum.accumulate(np.where(valid, at, x.size)[::-1])[::-1]
    nearer = np.where((before < 0) | ((after < x.size) & (after - at < at - before)), after, before)
    return x[nearer]


def bridge(x: NDArray[Float], valid: Bool, longest: int) -> Bool:
    """Fill inner gaps of at most ``longest`` samples in ``x`` by straight lines, in place; return what is valid then."""
    if valid.all() or not valid.any():
        return valid
    starts, stops = runs(~valid, np.empty(0, np.int64))
    short = (stops - starts <= longest) & (starts > 0) & (stops < x.size)
    filled = valid.copy()
    change = np.zeros(x.size + 1, np.int8)
    change[starts[short]] = 1
    change[stops[short]] -= 1
    gap = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
    at = np.flatnonzero(valid)
    x[gap] = np.interp(np.flatnonzero(gap), at, x[at])
    filled[gap] = True
    return filled
