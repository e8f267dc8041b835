"""Predictions in the unit of the target, and the score that early stopping reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.training.batches import BatchSource, Scaler, check_table
from biosig_mtl.types import F64, I64, Batch, InputSpec, WindowTable

EVALUATION_BATCH = 512


class Answers(Protocol):
    """The last part of a network, which knows the scale of the targets and may have a linear skip."""

    skip: nn.Linear | None

    def set_target_scale(self, mean: Tensor, scale: Tensor) -> None:
        """Tell how scaled units relate to the unit of the target."""

    def set_linear_skip(self, slopes: Tensor, offsets: Tensor) -> None:
        """Give the linear skip its start."""

    def said_for(self, targets: Tensor) -> Tensor:
        """Return what has to be said for scaled targets."""


class Network(Protocol):
    """What training asks of a network beside being a torch module with ``forward(Batch) -> Output``."""

    spec: InputSpec

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""

    @property
    def answers(self) -> Answers:
        """What turns the heads' answers into predictions."""


def as_network(model: nn.Module) -> Network:
    """Return the same object with the face that training needs."""
    return cast("Network", model)


def device_of(model: nn.Module) -> torch.device:
    """Return the device that a network lies on."""
    return next(model.parameters()).device


def moved(batch: Batch, model: nn.Module) -> Batch:
    """Return the batch on the device of a network."""
    device = device_of(model)
    if device.type == "cpu":
        return batch
    waveform, values, missing = batch.waveform.to(device), batch.values.to(device), batch.missing.to(device)
    return Batch(waveform, values, missing, batch.targets.to(device), batch.weight.to(device))


def predict(models: nn.Module | Sequence[nn.Module], table: WindowTable, rows: I64, scaler: Scaler) -> F64:
    """Return predictions (n, T) in the unit of the target; several models are averaged."""
    members = [models] if isinstance(models, nn.Module) else list(models)
    parts: list[NDArray[np.floating]] = []
    for model in members:
        check_table(table, as_network(model).spec)
        model.eval()
    source = BatchSource(table, rows, scaler, waveform=any(as_network(m).uses_waveform for m in members))
    with torch.inference_mode():
        for batch in source.in_order(EVALUATION_BATCH):
            scaled = [model(moved(batch, model)).predictions.double().cpu() for model in members]
            parts.append(torch.stack(scaled).mean(0).numpy())
    targets = len(table.target_names)
    return scaler.unscale(np.concatenate(parts) if parts else np.empty((0, targets)))


def subject_mae(errors: NDArray[np.floating], subject: NDArray[np.str_]) -> F64:
    """Return the mean over subjects of each subject's mean absolute error, (T,), from errors (n, T) with NaN where unknown."""
    _, code = np.unique(subject, return_inverse=True)
    known = np.isfinite(errors)
    size = np.where(known, np.abs(errors), 0.0)
    scores = np.full(errors.shape[1], np.nan)
    for t in range(errors.shape[1]):
        counts = np.bincount(code, known[:, t])
        sums = np.bincount(code, size[:, t])
        if counts.any():
            scores[t] = (sums[counts > 0] / counts[counts > 0]).mean()
    return scores
