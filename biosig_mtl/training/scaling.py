"""Scales, fitted on the training part only, or on a window alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64, DataError, Head, Track, WindowTable

CLIP = 5.0  # scaled features beyond this many standard deviations are cut: one broken beat must not steer a window
WAVEFORM_CLIP = 8.0
WINSOR = (0.01, 0.99)
WAVEFORM_ROWS = 2000  # windows that are read to scale a waveform
BY_WINDOW = frozenset({"eeg"})
"""Tracks that every window scales by itself: the mean of each channel is taken away, and all channels are divided by the median
of their standard deviations. Amplifiers, caps and offsets then agree between sets, and montages of other electrodes can share a
network; how strong a person's EEG is altogether is left to the features. All other tracks are scaled by the training part."""


@dataclass(frozen=True)
class Scaler:
    """Centre and spread of features (F,), waveform channels (C,) and targets (T,), and the rows they were computed from.

    A feature without spread or without any value in the training part has scale 0 and becomes 0 everywhere. ``fitted_rows``
    lets the audit prove that nothing outside the training part was looked at. ``tracks`` are centre and spread (2, C) of the
    channels of each track that is not in `BY_WINDOW`. Targets whose head has classes become class numbers: their mean is 0 and
    their scale 1. ``reference`` are mean and standard deviation (2,) of the waveform of the reference, None without one.
    """

    feature_center: F64
    feature_scale: F64
    waveform_center: F64
    waveform_scale: F64
    target_mean: F64
    target_scale: F64
    fitted_rows: I64
    tracks: Mapping[str, F64] = field(default_factory=dict)
    heads: tuple[Head, ...] = ()
    reference: F64 | None = None

    @classmethod
    def fit(cls, table: WindowTable, rows: I64) -> Scaler:
        """Fit on ``rows`` of a table; raise `DataError` where a target has no known value in them."""
        if len(rows) == 0:
            raise DataError("no windows in the training part: use more subjects or another split")
        center, scale = _robust(np.asarray(table.values[rows], dtype=np.float64))
        wave_center, wave_scale = _waveform_scale(table, rows)
        targets = np.asarray(table.targets[rows], dtype=np.float64)
        mean, spread = _target_scale(targets, table.target_names)
        classed = np.array([head.classes > 0 for head in table.head])
        mean, spread = np.where(classed, 0.0, mean), np.where(classed, 1.0, spread)
        tracks = {name: _track_scale(track, rows) for name, track in table.tracks.items() if name not in BY_WINDOW}
        told = None if table.reference is None else _track_scale(table.reference, rows)[:, 0]
        done = np.array(rows, dtype=np.int64)
        return cls(center, scale, wave_center, wave_scale, mean, spread, done, tracks, tuple(table.heads), told)

    def values(self, raw: NDArray[np.floating]) -> tuple[F32, NDArray[np.bool_]]:
        """Return scaled features (n, F) without NaN, and where they were missing (n, F)."""
        missing = ~np.isfinite(raw)
        safe = np.where(self.feature_scale > 0, self.feature_scale, 1.0)
        scaled = (np.where(missing, 0.0, raw) - self.feature_center) / safe
        dead = missing | (self.feature_scale == 0)
        return np.where(dead, 0.0, np.clip(scaled, -CLIP, CLIP)).astype(np.float32), missing

    def waveform(self, raw: NDArray[np.floating]) -> F32:
        """Return scaled waveforms (n, C, L)."""
        scaled = (raw - self.waveform_center[:, None].astype(np.float32)) / self.waveform_scale[:, None].astype(np.float32)
        return np.asarray(np.clip(scaled, -WAVEFORM_CLIP, WAVEFORM_CLIP), dtype=np.float32)

    def track(self, name: str, raw: NDArray[np.floating], present: NDArray[np.bool_]) -> F32:
        """Return the scaled waveforms (n, C, L) of a track, zero where a channel is not ``present`` (n, C)."""
        if name in BY_WINDOW:
            scaled = _by_window(raw, present)
        else:
            center, scale = self.tracks[name].astype(np.float32)
            scaled = (raw - center[:, None]) / scale[:, None]
        clipped = np.clip(scaled, -WAVEFORM_CLIP, WAVEFORM_CLIP)
        return np.asarray(clipped if present.all() else np.where(present[..., None], clipped, 0.0), dtype=np.float32)

    def reference_waveform(self, raw: NDArray[np.floating]) -> F32:
        """Return scaled waveforms of the reference, shape as given; NaN stays NaN."""
        if self.reference is None:
            raise DataError("the scales were fitted on windows without a reference waveform: fit them anew")
        center, scale = self.reference.astype(np.float32)
        return np.asarray((raw - center) / scale, dtype=np.float32)

    def targets(self, raw: NDArray[np.floating]) -> F32:
        """Return scaled targets (n, T), class numbers where a head has classes; NaN stays NaN."""
        if any(head.classes for head in self.heads):
            columns = zip(self.heads, np.asarray(raw).T, strict=True)
            raw = np.stack([head.encode(column) for head, column in columns], axis=1)
        return ((raw - self.target_mean) / self.target_scale).astype(np.float32)

    def unscale(self, predictions: NDArray[np.floating]) -> F64:
        """Return predictions (n, T) in the unit of the target, or as (expected) class numbers."""
        return np.asarray(predictions, dtype=np.float64) * self.target_scale + self.target_mean


def _robust(values: F64) -> tuple[F64, F64]:
    """Mean and standard deviation after winsorising at the 1 % and 99 % quantiles of the known values."""
    center, scale = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    values = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values).any(axis=0)
    if known.any():
        part = values[:, known]
        low, high = np.nanquantile(part, WINSOR, axis=0)
        part = np.clip(part, low, high)
        center[known], scale[known] = np.nanmean(part, axis=0), np.nanstd(part, axis=0)
        scale[scale <= 1e-9 * np.abs(center)] = 0.0
    return center, scale


def _some(rows: I64) -> I64:
    even = np.linspace(0, len(rows) - 1, min(len(rows), WAVEFORM_ROWS)).astype(int)
    return np.asarray(np.sort(rows)[even], dtype=np.int64)


def _waveform_scale(table: WindowTable, rows: I64) -> tuple[F64, F64]:
    channels = len(table.waveform_channels)
    if not channels or table.waveform.shape[-1] == 0:
        return np.zeros(channels), np.ones(channels)
    part = np.asarray(table.waveform[_some(rows)])
    center = part.mean(axis=(0, 2), dtype=np.float64)
    scale = part.std(axis=(0, 2), dtype=np.float64)
    return center, np.where(scale > 0, scale, 1.0)


def _track_scale(track: Track, rows: I64) -> F64:
    """Centre and spread (2, C) of the windows that have a channel; 0 and 1 where none has."""
    part = np.asarray(track.signal[_some(rows)], dtype=np.float64)
    known = np.isfinite(part)
    n = np.maximum(known.sum(axis=(0, 2)), 1)
    center = np.where(known, part, 0.0).sum(axis=(0, 2)) / n
    away = np.where(known, part - center[:, None], 0.0)
    scale = np.sqrt(np.square(away).sum(axis=(0, 2)) / n)
    return np.stack([center, np.where(scale > 0, scale, 1.0)])


def _by_window(raw: NDArray[np.floating], present: NDArray[np.bool_]) -> F32:
    centred = raw - raw.mean(axis=2, keepdims=True, dtype=np.float32)
    spread = np.sqrt(np.einsum("ncl,ncl->nc", centred, centred) / raw.shape[2])
    alive = present & (spread > 0)
    ordered = np.sort(np.where(alive, spread, np.inf), axis=1)
    count = alive.sum(axis=1)
    rows = np.arange(len(raw))
    low, high = ordered[rows, np.maximum(count - 1, 0) // 2], ordered[rows, np.minimum(count // 2, raw.shape[1] - 1)]
    middle = np.where(count > 0, 0.5 * (np.where(count > 0, low, 1.0) + np.where(count > 0, high, 1.0)), 1.0)
    return np.asarray(centred / middle[:, None, None].astype(np.float32), dtype=np.float32)


def _target_scale(targets: F64, names: tuple[str, ...]) -> tuple[F64, F64]:
    for name, column in zip(names, targets.T, strict=True):
        if not np.isfinite(column).any():
            raise DataError(f"target '{name}' is unknown in every window of the training part: drop the target")
    spread = np.nanstd(targets, axis=0)
    return np.nanmean(targets, axis=0), np.where(spread > 0, spread, 1.0)
