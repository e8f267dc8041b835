"""Masked pre-training: a network's token maker learns to see windows before anybody tells it a label.

Most of each window is hidden, the rest is made into tokens, and a small decoder has to tell from them what was hidden:
stretches of waveforms and tracks, and families of features (MultiMAE, Bachmann et al., ECCV 2022, §3: tokens of several
modalities, a small share of them shown, the share split between modalities by a symmetric Dirichlet, α = 1; loss on hidden
tokens only; a linear map in and out for each modality). Our writing follows the paper; nothing was copied.

What is ours:

- Hidden content is taken from the *input*, before any encoder: a convolution sees its neighbours. Hidden stretches are zeros,
  hidden families are told to be missing, a track that is hidden altogether is absent. So the row of tokens keeps its length.
- Of 1/6 to 1/3 of the tokens of a window, drawn anew for each, and of these what a modality cannot use goes to the others.
- One decoder for all modalities; it knows tokens by learnt places and by modality, hidden ones are a learnt token.
- Tracks of an EEG (``spectral``) are told by the log power of each electrode in fixed bands: its encoder has no phase to tell.
- Tracks that each window scales by itself are scaled anew by what is shown: their spread would tell of the hidden stretches.
- Modalities have the same say in the loss. All of them are there from the first step (an early deficit lasts: critical learning
  periods, Achille et al., ICLR 2019); a single window may lack any.

No target is read, and no row but those that are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.training.batches import BatchSource, shuffled
from biosig_mtl.training.prediction import moved
from biosig_mtl.training.scaling import BY_WINDOW, Scaler
from biosig_mtl.types import I64, Batch, Bool, DataError, InputSpec, WindowTable

BANDS_HZ = ((4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 45.0))
FLOOR = 1e-4  # of a power, against that of an electrode of usual strength, 1


@dataclass(frozen=True)
class MaskingSettings:
    """How token makers are pre-trained; ``epochs`` 0 = not at all.

    ``keep`` are the smallest and largest share of a window's tokens that are shown, ``concentration`` is α of the Dirichlet
    that splits them between modalities, ``layers`` counts the decoder's blocks. ``spectral`` names tracks that are told by
    powers. AdamW; the rate rises over the share ``warmup`` of the steps, then falls along a cosine.
    """

    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    keep: tuple[float, float] = (1 / 6, 1 / 3)
    concentration: float = 1.0
    layers: int = 1
    spectral: tuple[str, ...] = ("eeg",)

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.epochs < 0 or self.batch_size < 1 or self.layers < 1:
            raise ValueError(f"need epochs >= 0, batch_size, layers >= 1, got {self.epochs}, {self.batch_size}, {self.layers}")
        if self.lr <= 0 or self.weight_decay < 0 or not 0 <= self.warmup < 1:
            raise ValueError(
                f"need lr > 0, weight_decay >= 0, 0 <= warmup < 1, got {self.lr}, {self.weight_decay}, {self.warmup}"
            )
        if not 0 < self.keep[0] <= self.keep[1] < 1 or self.concentration <= 0:
            raise ValueError(f"need 0 < keep < 1, rising, and concentration > 0, got {self.keep}, {self.concentration}")


@runtime_checkable
class TokenMaker(Protocol):
    """What pre-training asks of a module that makes tokens (B, N, D) of a batch: `biosig_mtl.models.tokens.Tokens`."""

    spec: InputSpec
    groups: tuple[Any, ...]
    uses_waveform: bool
    uses_tracks: tuple[str, ...]

    def look(self, batch: Batch) -> Any:
        """Embed a batch."""


@dataclass(frozen=True)
class Unlabelled:
    """Windows to learn to see: ``rows`` of a table, and the scaler that was fitted on them."""

    table: WindowTable
    rows: I64
    scaler: Scaler


def token_makers(model: nn.Module) -> list[nn.Module]:
    """Return all token makers of a network: one, or one a task where tasks have nothing in common."""
    return [part for part in model.modules() if isinstance(part, TokenMaker)]


# ----------------------------------------------------------------------------------------------------- what can be hidden
@dataclass(frozen=True)
class Stretch:
    """The tokens ``first`` … ``first + units − 1`` of a row, and what each of them stands for.

    That is ``patch`` samples of the waveform or of ``track``, or the feature ``columns`` (then there is one token).
    ``bands`` are the lines of the spectrum of a patch, band by band, where powers are told.
    """

    modality: int
    first: int
    units: int
    patch: int = 0
    track: str = ""
    columns: tuple[int, ...] = ()
    bands: tuple[tuple[int, ...], ...] = ()


def stretches_of(tokens: TokenMaker, n: int, spectral: tuple[str, ...] = ()) -> tuple[Stretch, ...]:
    """Return what the ``n`` tokens of a maker stand for, in order."""
    spec, found, first = tokens.spec, [], 0
    modalities = list(dict.fromkeys(group.modality for group in tokens.groups))
    tracks = {track.name: track for track in spec.tracks}
    rest = n - sum(group.tokens for group in tokens.groups)
    for group in tokens.groups:
        count = group.tokens or rest
        one = Stretch(modalities.index(group.modality), first, 1, columns=group.columns)
        if not group.columns:
            samples = tracks[group.track].samples if group.track else spec.samples
            patch = math.ceil(samples / count)
            one = replace(one, units=math.ceil(samples / patch), patch=patch, track=group.track)
            if group.track in spectral:
                one = replace(one, bands=_lines(patch, tracks[group.track].fs))
        found.append(one)
        first += count
    return tuple(found)


def _lines(patch: int, fs: float) -> tuple[tuple[int, ...], ...]:
    rates = np.fft.rfftfreq(patch, 1 / fs)
    lines = [np.flatnonzero((rates >= low) & (rates < high)) for low, high in BANDS_HZ]
    return tuple(tuple(map(int, line)) for line in lines if line.size)


def draw_shown(there: Bool, modality: I64, settings: MaskingSettings, rng: np.random.Generator) -> Bool:
    """Return which tokens (B, N) are shown, of those that are ``there`` (B, N) with their ``modality`` (N,).

    At least one, and not all unless there is only one.
    """
    count = there.sum(1)
    keep = np.rint(rng.uniform(*settings.keep, len(there)) * count).clip(1, np.maximum(count - 1, 1))
    kinds = int(modality.max()) + 1
    share = rng.dirichlet(np.full(kinds, settings.concentration), len(there))
    share *= np.stack([there[:, modality == m].any(1) for m in range(kinds)], axis=1)
    quota = np.rint(keep[:, None] * share / np.maximum(share.sum(1, keepdims=True), 1e-12))
    chance = np.where(there, rng.random(there.shape), 4.0)
    rank = np.empty(there.shape)
    for m in range(kinds):
        own = modality == m
        rank[:, own] = chance[:, own].argsort(1).argsort(1)
    # First what modalities may spend, in random order, then what they could not.
    order = (chance + (rank >= quota[:, modality])).argsort(1).argsort(1)
    return np.asarray(there & (order < keep[:, None]))


# ------------------------------------------------------------------------------------------------------ hiding and telling
class MaskedPretraining(nn.Module):
    """A token maker with a decoder that tells what was hidden from it; the loss is 1 where it knows nothing but means."""

    def __init__(self, tokens: nn.Module, probe: Batch, settings: MaskingSettings) -> None:
        super().__init__()
        self.tokens, self.settings = tokens, settings
        tokens.eval()
        with torch.no_grad():
            _, n, width = tokens(probe).shape
        self.stretches = stretches_of(cast("TokenMaker", tokens), n, settings.spectral)
        modality = np.full(n, 0)
        for one in self.stretches:
            modality[one.first : one.first + one.units] = one.modality
        self.modality = modality
        kinds = int(modality.max()) + 1
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.place = nn.Parameter(0.02 * torch.randn(n, width))
        self.kind = nn.Parameter(0.02 * torch.randn(kinds, width))
        self.into = nn.ModuleList(nn.Linear(width, width) for _ in range(kinds))
        heads = 4 if width % 4 == 0 else 1
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width)
        told = [self._content(one, probe) for one in self.stretches]
        self.out = nn.ModuleList(nn.Linear(width, content.shape[2]) for content, _ in told)
        # Powers have other means in every band and electrode; all other contents are about 0 and 1 already.
        self.scales = [_scale(*pair) if one.bands else None for one, pair in zip(self.stretches, told, strict=True)]

    def there(self, batch: Batch) -> Bool:
        """Return which tokens (B, N) stand for something that the windows have."""
        found = np.zeros((len(batch.values), len(self.modality)), bool)
        for one in self.stretches:
            here = torch.ones(len(batch.values), dtype=torch.bool)
            if one.columns:
                here = ~batch.missing[:, list(one.columns)].all(1)
            elif one.track:
                here = batch.present[one.track].any(1)
            found[:, one.first : one.first + one.units] = here.cpu().numpy()[:, None]
        return found

    def hide(self, batch: Batch, hidden: Tensor) -> Batch:
        """Return the batch without what ``hidden`` tokens (B, N) stand for."""
        waveform, missing = batch.waveform, batch.missing.clone()
        tracks, present = dict(batch.tracks), dict(batch.present)
        for one in self.stretches:
            gone = hidden[:, one.first : one.first + one.units]
            if one.columns:
                missing[:, list(one.columns)] |= gone
            elif one.track:
                track, shown = tracks[one.track], _shown(gone, one, tracks[one.track])
                present[one.track] = present[one.track] & ~gone.all(1, keepdim=True)
                heard = shown[:, None] & present[one.track][:, :, None]
                tracks[one.track] = _anew(track, heard) if one.track in BY_WINDOW else track * heard
            else:
                waveform = waveform * _shown(gone, one, waveform)[:, None]
        values = batch.values.masked_fill(missing, 0.0)
        return replace(batch, waveform=waveform, values=values, missing=missing, tracks=tracks, present=present)

    def forward(self, batch: Batch, hidden: Tensor) -> Tensor | None:
        """Return the loss () of telling what ``hidden`` tokens (B, N) of a batch stand for; None where nothing is hidden."""
        row = self.tokens(self.hide(batch, hidden))
        spread = torch.empty_like(row)
        for m, into in enumerate(self.into):
            spread[:, self.modality == m] = into(row[:, self.modality == m])
        row = torch.where(hidden[..., None], self.mask, spread) + self.place + self.kind[torch.from_numpy(self.modality)]
        for block in self.blocks:
            row = block(row)
        row = self.norm(row)
        errors: dict[int, list[Tensor]] = {}
        for one, out, scale in zip(self.stretches, self.out, self.scales, strict=True):
            content, known = self._content(one, batch)
            if scale is not None:
                content = (content - scale[0].to(content)) / scale[1].to(content)
            part = slice(one.first, one.first + one.units)
            asked = known & hidden[:, part, None]
            if bool(asked.any()):
                errors.setdefault(one.modality, []).append((out(row[:, part]) - content)[asked].square().mean())
        each = [torch.stack(own).mean() for own in errors.values()]
        return torch.stack(each).mean() if each else None

    def _content(self, one: Stretch, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what tokens stand for (B, units, size), and what of it is known."""
        if one.columns:
            columns = list(one.columns)
            return batch.values[:, None, columns], ~batch.missing[:, None, columns]
        signal = batch.tracks[one.track] if one.track else batch.waveform
        here = batch.present[one.track] if one.track else torch.ones_like(signal[..., 0], dtype=torch.bool)
        if not one.bands:
            spread = signal.std(2, correction=0, keepdim=True)
            signal = (signal - signal.mean(2, keepdim=True)) / spread.clamp(min=1e-3)
        patches, inside = (_cut(x, one) for x in (signal, torch.ones_like(signal)))
        if not one.bands:
            return patches.flatten(2), ((inside > 0) & here[:, None, :, None]).flatten(2)
        power = torch.fft.rfft(patches * torch.hann_window(one.patch, device=signal.device)).abs().square() / one.patch
        told = torch.stack([torch.log(power[..., list(lines)].mean(-1) + FLOOR) for lines in one.bands], dim=-1)
        whole = inside.all(-1) & here[:, None]
        return told.flatten(2), whole[..., None].expand(told.shape).flatten(2)


def _scale(content: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and spread (size,) of what is known of a content (B, units, size)."""
    seen = content.masked_fill(~known, math.nan)
    mean = seen.nanmean((0, 1))
    return mean.nan_to_num(0.0), (seen - mean).square().nanmean((0, 1)).sqrt().nan_to_num(1.0).clamp(min=FLOOR)


def _shown(gone: Tensor, one: Stretch, signal: Tensor) -> Tensor:
    return ~gone.repeat_interleave(one.patch, 1)[:, : signal.shape[-1]]


def _cut(signal: Tensor, one: Stretch) -> Tensor:
    """Cut (B, C, L) into (B, units, C, patch); the last may end in zeros."""
    full = functional.pad(signal, (0, one.units * one.patch - signal.shape[2]))
    return full.view(*full.shape[:2], one.units, one.patch).transpose(1, 2)


def _anew(signal: Tensor, heard: Tensor) -> Tensor:
    """Scale each window by itself, as `biosig_mtl.training.scaling` does, by the samples that are ``heard`` alone (B, C, L)."""
    count = heard.sum(2, keepdim=True).clamp(min=1)
    shown = torch.where(heard, signal, 0.0)
    centred = (shown - shown.sum(2, keepdim=True) / count) * heard
    spread = (centred.square().sum(2, keepdim=True) / count).sqrt()
    middle = spread.masked_fill(spread == 0, math.nan).nanquantile(0.5, dim=1, keepdim=True)
    return centred / middle.nan_to_num(1.0)


# --------------------------------------------------------------------------------------------------------------- training
def pretrain(model: nn.Module, windows: Unlabelled, settings: MaskingSettings, seed: int) -> tuple[float, ...]:
    """Pre-train the token makers of a network in place; return the mean loss of each epoch.

    Chance is of the seed alone. Where tasks have token makers of their own, one is trained and all become its copies.

    Raises
    ------
    DataError
        The network has no token maker, or the loss stops being finite.
    """
    makers = token_makers(model)
    if not makers:
        raise DataError("masked pre-training needs a network with tokens; this one has none: choose another model.name")
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        told = tuple(_epochs(makers[0], windows, settings, seed))
    for other in makers[1:]:
        other.load_state_dict(makers[0].state_dict())
    return told


def _epochs(tokens: nn.Module, windows: Unlabelled, s: MaskingSettings, seed: int) -> Iterator[float]:
    maker = cast("TokenMaker", tokens)
    blank = replace(windows.table, targets=np.zeros_like(windows.table.targets))
    source = BatchSource(blank, windows.rows, windows.scaler, waveform=maker.uses_waveform, tracks=maker.uses_tracks)
    some = torch.from_numpy(np.linspace(0, len(source) - 1, min(len(source), 512)).astype(np.int64))
    task = MaskedPretraining(tokens, moved(source.batch(some), tokens), s).to(next(tokens.parameters()).device)
    named = [(name, p) for name, p in task.named_parameters() if p.requires_grad]
    decayed = [p for name, p in named if name.endswith("weight") and p.ndim > 1]
    rest = [p for name, p in named if not (name.endswith("weight") and p.ndim > 1)]
    chosen = [{"params": decayed, "weight_decay": s.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(chosen, lr=s.lr)
    total = max(s.epochs * math.ceil(len(source) / s.batch_size), 1)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate((step + 1) / (total + 1), s.warmup))
    order, chance = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for epoch in range(s.epochs):
        task.train()
        losses = []
        for positions in shuffled(len(source), s.batch_size, order):
            batch = moved(source.batch(positions), tokens)
            there = task.there(batch)
            hidden = torch.from_numpy(there & ~draw_shown(there, task.modality, s, chance)).to(batch.missing.device)
            loss = task(batch, hidden)
            if loss is None:
                continue
            if not bool(torch.isfinite(loss)):
                raise DataError(f"the loss of pre-training is not finite in epoch {epoch}: lower its lr")
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(task.parameters(), 1.0)
            optimiser.step()
            rates.step()
            losses.append(float(loss.detach()))
        yield float(np.mean(losses)) if losses else math.nan
    tokens.zero_grad(set_to_none=True)


def _rate(done: float, warmup: float) -> float:
    return done / warmup if done < warmup else 0.5 + 0.5 * math.cos(math.pi * (done - warmup) / (1 - warmup))
