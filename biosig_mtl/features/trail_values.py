"""What the families on trails have in common: fewer samples, gaps bridged, how much is known, and how long it must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.rowwise import SAMPLES, in_blocks
from biosig_mtl.types import F32, F64, Bool, Trail, WindowBeats

# From the first known sample to the end, this share must be known: what was recorded late is short, what has holes is poor.
LEAST_KNOWN = 0.8


@dataclass(frozen=True)
class Stretch:
    """Trails of some windows, ready to be worked: ``values`` and ``known`` have shape (window, time).

    ``values`` have no NaN but in rows of which nothing is known: inside they are joined by lines, before the first and after
    the last known sample they are held. ``begun`` marks what does not lie before the first known sample.
    """

    fs: float
    values: F64
    known: Bool
    begun: Bool

    @property
    def long_s(self) -> F64:
        """Seconds from the first known sample to the end, 0 where less than `LEAST_KNOWN` of them is known; shape (window,)."""
        begun = self.begun.sum(axis=1)
        whole = self.known.sum(axis=1) >= LEAST_KNOWN * np.maximum(begun, 1)
        return np.where(whole, begun / self.fs, 0.0)

    def mean(self) -> F64:
        """Return the mean of what is known, shape (window,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self.known, self.values, 0).sum(axis=1) / self.known.sum(axis=1))

    def slope(self) -> F64:
        """Return the slope per second of the least-squares line through what is known, shape (window,)."""
        weight = self.known.astype(np.float64)
        at = np.arange(self.values.shape[1]) / self.fs
        level = self.mean()[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = (weight * at).sum(axis=1) / weight.sum(axis=1)
            far = weight * (at - middle[:, None])
            rise = np.where(self.known, far * (self.values - level), 0).sum(axis=1)
            return np.asarray(rise / (far * (at - middle[:, None])).sum(axis=1))


def stretch(x: F32, fs: float, least_hz: float) -> Stretch:
    """Return trails at the lowest whole fraction of their rate that is not below ``least_hz``, by means over what is known.

    Parameters
    ----------
    x
        Shape (window, time), NaN where unknown.
    """
    known = np.isfinite(x)
    values = np.where(known, x, 0).astype(np.float64)
    step = max(int(fs // least_hz), 1)
    if step > 1:
        # The end stays where it is: a trail ends with its window.
        spare = x.shape[1] % step
        parts = known[:, spare:].reshape(len(x), -1, step).sum(axis=2)
        sums = values[:, spare:].reshape(len(x), -1, step).sum(axis=2)
        known, values = parts > 0, sums / np.maximum(parts, 1)
    begun = np.logical_or.accumulate(known, axis=1)
    return Stretch(fs / step, _joined(values, known), known, begun)


def _joined(values: F64, known: Bool) -> F64:
    """Return the values with lines across what is not known; its ends are held, and rows without any are NaN."""
    samples = values.shape[1]
    at = np.arange(samples)
    if known.all() or not samples:
        return values
    before = np.maximum.accumulate(np.where(known, at, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, at, samples)[:, ::-1], axis=1)[:, ::-1]
    left = np.where(before < 0, np.minimum(after, samples - 1), before)
    right = np.where(after >= samples, np.maximum(before, 0), after)
    low, high = np.take_along_axis(values, left, axis=1), np.take_along_axis(values, right, axis=1)
    part = (at - left) / np.maximum(right - left, 1)
    joined = np.where(right > left, low + part * (high - low), low)
    return np.where(known.any(axis=1, keepdims=True), joined, np.nan)


def moving_mean(x: F64, samples: int) -> F64:
    """Return centred means over an odd number of samples along the last axis; fewer at the two ends."""
    half = min(samples // 2, x.shape[1])
    total = np.cumsum(np.pad(x, ((0, 0), (1, 0))), axis=1)
    at = np.arange(x.shape[1])
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, x.shape[1])
    return np.asarray((total[:, high] - total[:, low]) / (high - low))


def recent(trail: Trail, length_s: float | None) -> Trail:
    """Return the last seconds of a trail, and the beats that lie in them; all of it where it is shorter, or for None."""
    samples = trail.signal.shape[1]
    kept = samples if length_s is None else min(max(round(length_s * trail.fs), 1), samples)
    if kept == samples:
        return trail
    beats = trail.beats
    return replace(
        trail,
        signal=trail.signal[:, samples - kept :],
        beats=None if beats is None else _after(beats, (samples - kept) / trail.fs),
    )


def _after(beats: WindowBeats, first_s: float) -> WindowBeats:
    """Return the beats that begin at ``first_s`` or later, counted from there."""
    first = round(first_s * beats.fs)
    keep = np.flatnonzero(beats.onset >= first)
    return replace(
        beats,
        window=beats.window[keep],
        onset=beats.onset[keep] - first,
        peak=beats.peak[keep] - first,
        end=beats.end[keep] - first,
        quality=beats.quality[keep],
        points={name: at[keep] - first for name, at in beats.points.items()},
        normal=beats.normal[keep],
    )


def on_trail(
    inputs: Inputs, role: str, family: str, least_s: Mapping[str, float], make: Callable[[Trail, slice], Mapping[str, F64]]
) -> dict[str, F32]:
    """Return the columns of a family on the trail that plays a part, each of shape (window,).

    Parameters
    ----------
    inputs
        Without this trail every column is NaN.
    role
        The setting that names the trail.
    family
        Put before the names.
    least_s
        The names, with the least length of a trail that each asks for; a trail that is shorter as a whole is not looked at.
    make
        Gives the columns of some windows, among them one ``long_s``: the seconds that each window knows. What asks for more is
        made NaN here, and so is what is not finite.
    """
    trail = inputs.trails.get(getattr(inputs.settings, role))
    if trail is not None:
        trail = recent(trail, inputs.settings.recent_s)
    if trail is None or not trail.signal.size or long_enough(trail.length_s, trail.fs) < min(least_s.values()):
        return {f"{family}.{name}": inputs.nan() for name in least_s}
    made = by_rows(trail, make)
    known_s = long_enough(np.asarray(made["long_s"]), trail.fs)
    columns = {}
    for name, least in least_s.items():
        with np.errstate(over="ignore"):
            value = np.asarray(made[name]).astype(np.float32)
        columns[f"{family}.{name}"] = np.where(np.isfinite(value) & (known_s >= least), value, np.float32(np.nan))
    return columns


def by_rows(trail: Trail, make: Callable[[Trail, slice], Mapping[str, F64]]) -> dict[str, F32 | F64]:
    """Return the columns that ``make`` makes of some windows at a time, each of shape (window,)."""
    whole = trail
    return in_blocks(lambda rows: make(whole, rows), len(trail.signal), max(SAMPLES // max(trail.signal.shape[1], 1), 1))


def long_enough(length_s: F64 | float, fs: float) -> F64:
    """Return lengths with a sample (a second at most) or a quarter of a second forgiven: uneven rates cut a little short."""
    return np.asarray(length_s + min(max(1 / fs, 0.25), 1.0), dtype=np.float64)
