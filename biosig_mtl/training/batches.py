"""From the window table to batches, in an order of their own.

Waveforms and tracks are read from the memory map by integer-array indexing when a batch needs them; features and targets are
small and are scaled once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_mtl.training.augmentation import NO_AUGMENTATION, Augmentation
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F32, I64, Batch, DataError, InputSpec, TrackSpec, WindowTable

__all__ = [
    "NO_AUGMENTATION",
    "Augmentation",
    "BatchSource",
    "Scaler",
    "check_table",
    "has_waveform",
    "shuffled",
    "spec_of",
    "subject_weights",
    "to_batch",
]


class BatchSource:
    """Scaled windows of some rows of a table; positions count within ``rows``. Only ``tracks`` by name are read.

    The waveform of the reference goes with the batches only after ``reference`` is set: only a loss may ask for it, and those
    that predict never do.
    """

    def __init__(self, table: WindowTable, rows: I64, scaler: Scaler, *, waveform: bool, tracks: tuple[str, ...] = ()) -> None:
        values, missing = scaler.values(table.values[rows])
        self._table, self._scaler, self.rows = table, scaler, rows
        self._values, self._missing = torch.from_numpy(values), torch.from_numpy(missing)
        self._targets = torch.from_numpy(scaler.targets(table.targets[rows]))
        self._waveform, self._tracks = waveform, tracks
        self.weight = torch.ones(len(rows))
        self.reference = False

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
        tracks, present = {}, {}
        for name in self._tracks:
            tracks[name], present[name] = self._track(name, self.rows[positions.numpy()])
        return Batch(
            waveform, self._values[positions], self._missing[positions], self._targets[positions], self.weight[positions],
            tracks, present, reference=self._reference(self.rows[positions.numpy()]) if self.reference else None,
        )  # fmt: skip

    def judged(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the targets (B, T) and weights (B,) of the windows at ``positions`` (B,), without reading their inputs."""
        return self._targets[positions], self.weight[positions]

    def _track(self, name: str, rows: I64) -> tuple[Tensor, Tensor]:
        """Return the scaled waveforms (B, C, L) of a track, and which channels each window has (B, C)."""
        track = self._table.tracks[name]
        raw = track.signal[rows]
        # A sum is finite only where all samples are: far cheaper than asking each.
        present = np.isfinite(raw.sum(axis=2, dtype=np.float64))
        if not present.all():
            odd = ~present & ~np.isnan(raw).all(axis=2)
            if odd.any():
                window, channel = np.argwhere(odd)[0]
                raise self._broken(int(rows[window]), track.channels[channel])
            raw = np.where(present[..., None], raw, np.float32(0.0))
        return torch.from_numpy(self._scaler.track(name, raw, present)), torch.from_numpy(present)

    def _reference(self, rows: I64) -> Tensor:
        """Return the scaled waveform of the reference (B, L), NaN where unknown."""
        if self._table.reference is None:
            raise DataError("the windows have no reference waveform: set windows.reference_waveform and prepare them anew")
        return torch.from_numpy(self._scaler.reference_waveform(self._table.reference.signal[rows][:, 0]))

    def _not_finite(self, raw: NDArray[np.floating], rows: I64) -> DataError:
        window, channel = np.argwhere(~np.isfinite(raw).all(axis=2))[0]
        return self._broken(int(rows[window]), self._table.waveform_channels[channel])

    def _broken(self, row: int, channel: str) -> DataError:
        return DataError(
            f"window {row} of subject {self._table.subject[row]}: channel '{channel}' has values that are not finite"
        )

    def in_order(self, size: int) -> Iterator[Batch]:
        """Yield all windows in the order of ``rows``."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self))))

    def linear_inputs(self) -> tuple[Tensor, Tensor]:
        """Return values beside missing flags (n, 2F), and scaled targets (n, T)."""
        return torch.cat([self._values, self._missing.to(self._values.dtype)], dim=1), self._targets


def to_batch(table: WindowTable, rows: I64, scaler: Scaler) -> Batch:
    """Return rows of a table as one batch with its waveform, where the table has one, and all tracks."""
    source = BatchSource(table, rows, scaler, waveform=has_waveform(table), tracks=tuple(table.tracks))
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
    tracks = tuple(
        TrackSpec(name, tuple(track.channels), int(track.signal.shape[-1]), float(track.fs))
        for name, track in table.tracks.items()
    )
    return InputSpec(
        tuple(table.waveform_channels), samples, tuple(table.names), tuple(table.target_names), tracks, tuple(table.heads)
    )


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
    made = {track.name: track for track in spec_of(table).tracks}
    for wanted in spec.tracks:
        if made.get(wanted.name) != wanted:
            there = _told(made.get(wanted.name))
            raise DataError(f"the model was made for a track '{wanted.name}' of {_told(wanted)}; the table has {there}")
    if table.heads and spec.heads and table.head != spec.head:
        raise DataError("the window table asks for other heads than the model was made for: train a model for them")


def _told(track: TrackSpec | None) -> str:
    if track is None:
        return "no such track"
    return f"{track.samples} samples at {track.fs:g} Hz of {', '.join(track.channels)}"
