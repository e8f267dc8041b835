"""From the window table to batches: scaling fitted on the training part only, weights, order and light augmentation.

The waveform is read from the memory map by integer-array indexing when a batch needs it; features and targets are small and
are scaled once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_mtl.types import F32, F64, I64, Batch, DataError, InputSpec, WindowTable

CLIP = 5.0  # scaled features beyond this many standard deviations are cut: one broken beat must not steer a window
WAVEFORM_CLIP = 8.0
WINSOR = (0.01, 0.99)
WAVEFORM_ROWS = 2000  # windows that are read to scale the waveform


@dataclass(frozen=True)
class Scaler:
    """Centre and spread of features (F,), waveform channels (C,) and targets (T,), and the rows they were computed from.

    A feature without spread or without any value in the training part has scale 0 and becomes 0 everywhere. ``fitted_rows``
    lets the audit prove that nothing outside the training part was looked at.
    """

    feature_center: F64
    feature_scale: F64
    waveform_center: F64
    waveform_scale: F64
    target_mean: F64
    target_scale: F64
    fitted_rows: I64

    @classmethod
    def fit(cls, table: WindowTable, rows: I64) -> Scaler:
        """Fit on ``rows`` of a table; raise `DataError` where a target has no known value in them."""
        if len(rows) == 0:
            raise DataError("no windows in the training part: use more subjects or another split")
        center, scale = _robust(np.asarray(table.values[rows], dtype=np.float64))
        wave_center, wave_scale = _waveform_scale(table, rows)
        mean, spread = _target_scale(np.asarray(table.targets[rows], dtype=np.float64), table.target_names)
        return cls(center, scale, wave_center, wave_scale, mean, spread, np.array(rows, dtype=np.int64))

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

    def targets(self, raw: NDArray[np.floating]) -> F32:
        """Return scaled targets (n, T); NaN stays NaN."""
        return ((raw - self.target_mean) / self.target_scale).astype(np.float32)

    def unscale(self, predictions: NDArray[np.floating]) -> F64:
        """Return predictions (n, T) in the unit of the target."""
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


def _waveform_scale(table: WindowTable, rows: I64) -> tuple[F64, F64]:
    channels = len(table.waveform_channels)
    if not channels or table.waveform.shape[-1] == 0:
        return np.zeros(channels), np.ones(channels)
    some = np.sort(rows)[np.linspace(0, len(rows) - 1, min(len(rows), WAVEFORM_ROWS)).astype(int)]
    part = np.asarray(table.waveform[some])
    center = part.mean(axis=(0, 2), dtype=np.float64)
    scale = part.std(axis=(0, 2), dtype=np.float64)
    return center, np.where(scale > 0, scale, 1.0)


def _target_scale(targets: F64, names: tuple[str, ...]) -> tuple[F64, F64]:
    for name, column in zip(names, targets.T, strict=True):
        if not np.isfinite(column).any():
            raise DataError(f"target '{name}' is unknown in every window of the training part: drop the target")
    spread = np.nanstd(targets, axis=0)
    return np.nanmean(targets, axis=0), np.where(spread > 0, spread, 1.0)


@dataclass(frozen=True)
class Augmentation:
    """Light changes of training windows, all in scaled units and all 0 = off.

    ``amplitude`` is the standard deviation of a common gain (log scale); ``shift_samples`` the largest shift in time, the edge
    held; ``noise`` white noise; ``feature_noise`` white noise on features; ``feature_dropout`` the chance that a feature is
    taken away and flagged missing.
    """

    amplitude: float = 0.1
    shift_samples: int = 16
    noise: float = 0.02
    feature_noise: float = 0.1
    feature_dropout: float = 0.05

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if min(self.amplitude, self.shift_samples, self.noise, self.feature_noise) < 0:
            raise ValueError("need amplitude, shift_samples, noise and feature_noise >= 0")
        if not 0.0 <= self.feature_dropout < 1.0:
            raise ValueError(f"need 0 <= feature_dropout < 1, got {self.feature_dropout}")

    def apply(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Return a changed copy; targets and weights are those of ``batch``."""
        waveform, values, missing = batch.waveform, batch.values, batch.missing
        if waveform.numel():
            waveform = self._waveform(waveform, rng)
        if values.numel():
            gone = missing | (torch.rand(values.shape, generator=rng) < self.feature_dropout)
            noisy = values + self.feature_noise * torch.randn(values.shape, generator=rng)
            values, missing = noisy.masked_fill(gone, 0.0), gone
        return Batch(waveform, values, missing, batch.targets, batch.weight)

    def _waveform(self, waveform: Tensor, rng: torch.Generator) -> Tensor:
        b, _, length = waveform.shape
        shift = torch.randint(-self.shift_samples, self.shift_samples + 1, (b, 1), generator=rng)
        where = (torch.arange(length) + shift).clamp(0, length - 1)
        moved = waveform.gather(2, where[:, None, :].expand_as(waveform))
        gain = torch.exp(self.amplitude * torch.randn(b, 1, 1, generator=rng))
        return moved * gain + self.noise * torch.randn(waveform.shape, generator=rng)


NO_AUGMENTATION = Augmentation(0.0, 0, 0.0, 0.0, 0.0)


class BatchSource:
    """Scaled windows of some rows of a table; positions count within ``rows``."""

    def __init__(self, table: WindowTable, rows: I64, scaler: Scaler, *, waveform: bool) -> None:
        values, missing = scaler.values(table.values[rows])
        self._table, self._scaler, self.rows = table, scaler, rows
        self._values, self._missing = torch.from_numpy(values), torch.from_numpy(missing)
        self._targets = torch.from_numpy(scaler.targets(table.targets[rows]))
        self._waveform = waveform
        self.weight = torch.ones(len(rows))

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.rows)

    def batch(self, positions: Tensor) -> Batch:
        """Return the windows at ``positions`` (B,)."""
        waveform = torch.empty(len(positions), 0, 0)
        if self._waveform:
            rows = self.rows[positions.numpy()]
            raw = self._table.waveform[rows]
            if not np.isfinite(raw).all():
                raise self._not_finite(raw, rows)
            waveform = torch.from_numpy(self._scaler.waveform(raw))
        return Batch(
            waveform, self._values[positions], self._missing[positions], self._targets[positions], self.weight[positions]
        )

    def _not_finite(self, raw: NDArray[np.floating], rows: I64) -> DataError:
        window, channel = np.argwhere(~np.isfinite(raw).all(axis=2))[0]
        name, subject = self._table.waveform_channels[channel], self._table.subject[rows[window]]
        return DataError(f"window {rows[window]} of subject {subject}: channel '{name}' has values that are not finite")

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield all windows in the order of ``rows``."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self))))

    def linear_inputs(self) -> tuple[Tensor, Tensor]:
        """Return values beside missing flags (n, 2F), and scaled targets (n, T)."""
        return torch.cat([self._values, self._missing.to(self._values.dtype)], dim=1), self._targets


def to_batch(table: WindowTable, rows: I64, scaler: Scaler) -> Batch:
    """Return rows of a table as one batch with its waveform, where the table has one."""
    source = BatchSource(table, rows, scaler, waveform=has_waveform(table))
    return source.batch(torch.arange(len(rows)))


def has_waveform(table: WindowTable) -> bool:
    """Whether windows of this table carry a waveform."""
    return bool(table.waveform_channels) and table.waveform.shape[-1] > 0


def shuffled(n: int, size: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """Return positions 0…n−1 in random order, in parts of ``size``."""
    return torch.split(torch.randperm(n, generator=rng), size)


def subject_weights(subject: NDArray[np.str_], alpha: float) -> F32:
    """Return weights n_windows(subject)^−alpha with mean 1: alpha 1 gives every subject the same say, 0 every window."""
    _, inverse, counts = np.unique(subject, return_inverse=True, return_counts=True)
    weight = counts[inverse].astype(np.float64) ** -alpha
    return np.asarray(weight / weight.mean(), dtype=np.float32)


def spec_of(table: WindowTable) -> InputSpec:
    """Return the shapes that a network for this table needs."""
    samples = int(table.waveform.shape[-1]) if has_waveform(table) else 0
    return InputSpec(tuple(table.waveform_channels), samples, tuple(table.names), tuple(table.target_names))


def check_table(table: WindowTable, spec: InputSpec) -> None:
    """Raise `DataError` where a table does not have the inputs, in the order, that a network was made for."""
    for what, has, needs in (
        ("features", tuple(table.names), spec.features),
        ("waveform channels", tuple(table.waveform_channels), spec.waveform_channels),
        ("targets", tuple(table.target_names), spec.targets),
    ):
        if has != needs:
            odd = sorted(set(has) ^ set(needs)) or ["their order"]
            raise DataError(f"the window table has other {what} than the model was made for: {', '.join(odd[:5])}")
    samples = spec_of(table).samples
    if samples != spec.samples:
        raise DataError(f"the windows have {samples} samples, the model was made for {spec.samples}: prepare them anew")
