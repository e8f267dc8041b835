"""Light changes of training batches, and whole modalities taken away."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from biosig_mtl.types import Batch, InputSpec, RecipeError


@dataclass(frozen=True)
class Augmentation:
    """Light changes of training windows, all in scaled units and all 0 = off.

    ``amplitude`` is the standard deviation of a common gain (log scale); ``shift_samples`` the largest shift in time of the
    waveform, the edge held; ``noise`` white noise; ``feature_noise`` white noise on features; ``feature_dropout`` the chance
    that a feature is taken away and flagged missing. ``modality_dropout`` is the chance that a whole modality is taken away,
    its track and its families of features, but never all that a window has (after the modality drop of masked autoencoders,
    MultiMAE, Bachmann et al. 2022); ``electrode_dropout`` the chance that an electrode of the EEG track is.
    """

    amplitude: float = 0.1
    shift_samples: int = 16
    noise: float = 0.02
    feature_noise: float = 0.1
    feature_dropout: float = 0.05
    modality_dropout: float = 0.0
    electrode_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if min(self.amplitude, self.shift_samples, self.noise, self.feature_noise) < 0:
            raise ValueError("need amplitude, shift_samples, noise and feature_noise >= 0")
        for name in ("feature_dropout", "modality_dropout", "electrode_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"need 0 <= {name} < 1, got {getattr(self, name)}")

    def apply(self, batch: Batch, rng: torch.Generator, spec: InputSpec | None = None) -> Batch:
        """Return a changed copy; targets and weights are those of ``batch``. Modalities are those of ``spec``."""
        waveform, values, missing, reference = batch.waveform, batch.values, batch.missing, batch.reference
        if waveform.numel():
            waveform, shift = self._waveform(waveform, rng)
            reference = None if reference is None else _moved(reference, shift)
        if values.numel():
            gone = missing | (torch.rand(values.shape, generator=rng) < self.feature_dropout)
            noisy = values + self.feature_noise * torch.randn(values.shape, generator=rng)
            values, missing = noisy.masked_fill(gone, 0.0), gone
        changed = replace(batch, waveform=waveform, values=values, missing=missing, reference=reference)
        if batch.tracks:
            changed = self._tracks(changed, rng)
        if self.modality_dropout and spec is not None:
            changed = taken_away(changed, spec, self._gone(changed, spec, rng))
        return changed

    def _waveform(self, waveform: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return waveforms with another start, gain and noise, and by which share of their length (B, 1) they were moved."""
        b, _, length = waveform.shape
        shift = torch.randint(-self.shift_samples, self.shift_samples + 1, (b, 1), generator=rng)
        where = (torch.arange(length) + shift).clamp(0, length - 1)
        moved = waveform.gather(2, where[:, None, :].expand_as(waveform))
        gain = torch.exp(self.amplitude * torch.randn(b, 1, 1, generator=rng))
        return moved * gain + self.noise * torch.randn(waveform.shape, generator=rng), shift / length

    def _tracks(self, batch: Batch, rng: torch.Generator) -> Batch:
        """Change gain, noise and electrodes; a shift in samples means another time in each track, so there is none."""
        tracks, present = dict(batch.tracks), dict(batch.present)
        for name, track in tracks.items():
            if name == "eeg" and self.electrode_dropout:
                kept = present[name] & (torch.rand(present[name].shape, generator=rng) >= self.electrode_dropout)
                present[name] = torch.where(kept.any(1, keepdim=True), kept, present[name])
            if self.amplitude or self.noise:
                gain = torch.exp(self.amplitude * torch.randn(len(track), 1, 1, generator=rng))
                track = torch.addcmul(self.noise * torch.randn(track.shape, generator=rng), track, gain)
            tracks[name] = track * present[name].unsqueeze(2)
        return replace(batch, tracks=tracks, present=present)

    def _gone(self, batch: Batch, spec: InputSpec, rng: torch.Generator) -> Tensor:
        """Draw which modalities of which windows are taken away (B, M): of those that a window has one always stays."""
        here = modalities_present(batch, spec)
        chance = torch.rand(here.shape, generator=rng)
        last = torch.where(here, chance, -1.0).argmax(1, keepdim=True)
        gone = chance < self.modality_dropout
        return gone & (torch.arange(here.shape[1]) != last)


def _moved(reference: Tensor, shift: Tensor) -> Tensor:
    """Move a reference (B, L) as its waveform was, by shares of the length (B, 1); what moves in from outside is unknown."""
    length = reference.shape[1]
    where = torch.arange(length) + torch.round(shift * length).long()
    inside = (where >= 0) & (where < length)
    return torch.where(inside, reference.gather(1, where.clamp(0, length - 1)), torch.nan)


NO_AUGMENTATION = Augmentation(0.0, 0, 0.0, 0.0, 0.0)


def modalities_present(batch: Batch, spec: InputSpec) -> Tensor:
    """Return which modalities every window has (B, M): a channel of its track, or a feature of its families."""
    columns = []
    for name, features in spec.modalities.items():
        here = ~batch.missing[:, list(features)].all(1) if features else batch.missing.new_zeros(len(batch.missing))
        columns.append(here | batch.present[name].any(1) if name in batch.present else here)
    return torch.stack(columns, dim=1) if columns else batch.missing.new_zeros((len(batch.missing), 0))


def taken_away(batch: Batch, spec: InputSpec, gone: Tensor) -> Batch:
    """Return the batch without the modalities that are ``gone`` (B, M): zero, and told to be missing."""
    tracks, present, missing = dict(batch.tracks), dict(batch.present), batch.missing.clone()
    for m, (name, features) in enumerate(spec.modalities.items()):
        away = gone[:, m, None]
        if features:
            missing[:, list(features)] |= away
        if name in tracks:
            present[name] = present[name] & ~away
            tracks[name] = tracks[name] * ~away[:, :, None]
    return replace(batch, values=batch.values.masked_fill(missing, 0.0), missing=missing, tracks=tracks, present=present)


def without(batch: Batch, spec: InputSpec, names: Collection[str]) -> Batch:
    """Return the batch without whole modalities; raise `RecipeError` for one that the network does not know."""
    known = tuple(spec.modalities)
    for name in names:
        if name not in known:
            raise RecipeError(f"unknown modality '{name}'; choose from {', '.join(known)}")
    gone = torch.tensor([name in names for name in known], device=batch.missing.device)
    return taken_away(batch, spec, gone.expand(len(batch.missing), -1)) if names else batch
