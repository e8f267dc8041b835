"""Predictions in the unit of the target, with all modalities or without some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.training.augmentation import without as taken
from biosig_mtl.training.batches import BatchSource, check_table
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F64, I64, Batch, InputSpec, WindowTable

EVALUATION_BATCH = 512


class Answers(Protocol):
    """The last part of a network, which knows the scale of the targets and may have a linear skip."""

    skip: nn.Linear | None
    seen: list[int]
    outputs: int

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
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""

    @property
    def shown(self) -> Mapping[str, tuple[str, ...]]:
        """What the columns of the weights in an output belong to, by name."""

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
    return Batch(
        batch.waveform.to(device), batch.values.to(device), batch.missing.to(device),
        batch.targets.to(device), batch.weight.to(device),
        tracks={name: track.to(device) for name, track in batch.tracks.items()},
        present={name: here.to(device) for name, here in batch.present.items()},
        offset=None if batch.offset is None else batch.offset.to(device),
        reference=None if batch.reference is None else batch.reference.to(device),
    )  # fmt: skip


@dataclass(frozen=True)
class Predicted:
    """What networks say of windows.

    ``estimates`` (n, T) are in the unit of the target, or expected class numbers for heads of classes; ``probabilities`` map
    the number of such a target to the shares (n, C) of its classes. ``weights`` are learnt weights to show, as means over the
    windows: {``modalities`` or ``electrodes.<track>``: {name: mean}}.
    """

    estimates: F64
    probabilities: Mapping[int, F64]
    weights: Mapping[str, Mapping[str, float]]


def predict(
    models: nn.Module | Sequence[nn.Module], table: WindowTable, rows: I64, scaler: Scaler, without: tuple[str, ...] = ()
) -> F64:
    """Return predictions (n, T) in the unit of the target, expected class numbers for heads of classes; models are averaged.

    Modalities in ``without`` are taken from every window, their tracks and their features, as if they had not been recorded.
    """
    return predict_full(models, table, rows, scaler, without).estimates


def predict_full(
    models: nn.Module | Sequence[nn.Module], table: WindowTable, rows: I64, scaler: Scaler, without: tuple[str, ...] = ()
) -> Predicted:
    """Return predictions with probabilities and learnt weights; see `predict`."""
    members = [models] if isinstance(models, nn.Module) else list(models)
    for model in members:
        check_table(table, as_network(model).spec)
        model.eval()
    source = source_for(members, table, rows, scaler)
    spec = as_network(members[0]).spec
    parts: list[NDArray[np.floating]] = []
    shares: dict[int, list[NDArray[np.floating]]] = {t: [] for t, head in enumerate(spec.head) if head.classes}
    sums: dict[str, Tensor] = {}
    with torch.inference_mode():
        for given in source.in_order(EVALUATION_BATCH):
            batch = taken(given, spec, without)
            made = [model(moved(batch, model)) for model in members]
            scaled = [out.predictions.double().cpu() for out in made]
            parts.append(torch.stack(scaled).mean(0).numpy())
            for t, found in shares.items():
                each = [torch.softmax(out.logits[:, t, : spec.head[t].classes].double().cpu(), dim=1) for out in made]
                found.append(torch.stack(each).mean(0).numpy())
            for name in made[0].weights:
                here = torch.stack([out.weights[name].double().cpu() for out in made]).mean(0)
                sums[name] = sums.get(name, 0) + here.sum(0)
    targets = len(table.target_names)
    estimates = scaler.unscale(np.concatenate(parts) if parts else np.empty((0, targets)))
    probabilities = {t: np.concatenate(found) if found else np.empty((0, spec.head[t].classes)) for t, found in shares.items()}
    return Predicted(estimates, probabilities, _named(sums, members[0], len(rows)))


def source_for(members: Sequence[nn.Module], table: WindowTable, rows: I64, scaler: Scaler) -> BatchSource:
    """Return batches with everything that any of the networks looks at."""
    tracks = dict.fromkeys(name for model in members for name in as_network(model).uses_tracks)
    waveform = any(as_network(model).uses_waveform for model in members)
    return BatchSource(table, rows, scaler, waveform=waveform, tracks=tuple(tracks))


def _named(sums: Mapping[str, Tensor], model: nn.Module, n: int) -> dict[str, dict[str, float]]:
    shown = as_network(model).shown
    return {
        name: {word: float(x) / n for word, x in zip(shown[name], total.tolist(), strict=True)} for name, total in sums.items()
    }


def mean_of(found: Sequence[Predicted]) -> Predicted:
    """Return the mean over several networks of everything."""
    estimates = np.asarray(np.stack([part.estimates for part in found]).mean(axis=0))
    probabilities = {t: np.mean([part.probabilities[t] for part in found], axis=0) for t in found[0].probabilities}
    weights = {
        name: {word: float(np.mean([part.weights[name][word] for part in found])) for word in words}
        for name, words in found[0].weights.items()
    }
    return Predicted(estimates, probabilities, weights)
