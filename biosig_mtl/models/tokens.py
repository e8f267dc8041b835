"""From a batch to the tokens H (B, N, D) that a network works on.

A network sees a window as a row of *tokens* of width D: time steps of the encoded waveform and of each modality's track, and
one token for each family of hand-made features (``pulse. hr. eeg_de. eda. person.`` …). A modality is a track and the families
whose name begins with its name; families without a track are modalities of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from biosig_mtl.models.blocks import FeatureDropout, position_code, time_code
from biosig_mtl.models.electrodes import ElectrodeFeatures, per_electrode
from biosig_mtl.models.encoders import ENCODERS, STRIDES, MontageEncoder, TokenChoice
from biosig_mtl.types import Batch, InputSpec, TrackSpec

Pool = Literal["balanced", "mean", "learnt"]
POOLS = ("balanced", "mean", "learnt")


def families(features: tuple[str, ...]) -> dict[str, list[int]]:
    """Return the columns of every family, in order of first appearance.

    >>> families(("pulse.width_s", "hr.mean", "pulse.height"))
    {'pulse': [0, 2], 'hr': [1]}
    """
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(features):
        groups.setdefault(name.partition(".")[0], []).append(column)
    return groups


class FeatureTokens(nn.Module):
    """One token per family of features: a linear map of its values and missing flags, plus the family's own embedding.

    (B, F), (B, F) → (B, G, D). A missing value enters as zero (the training mean) together with its flag. Families in
    ``without`` are left out.
    """

    def __init__(self, features: tuple[str, ...], width: int, without: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.groups = {family: columns for family, columns in families(features).items() if family not in without}
        self.maps = nn.ModuleList(nn.Linear(2 * len(columns), width) for columns in self.groups.values())
        self.embedding = nn.Parameter(0.02 * torch.randn(len(self.groups), width))

    def forward(self, values: Tensor, missing: Tensor) -> Tensor:
        """Make tokens of values (B, F) and missing flags (B, F)."""
        flags = missing.to(values.dtype)
        shown = values.masked_fill(missing, 0.0)
        tokens = [
            layer(torch.cat([shown[:, columns], flags[:, columns]], dim=1))
            for layer, columns in zip(self.maps, self.groups.values(), strict=True)
        ]
        return torch.stack(tokens, dim=1) + self.embedding


class WaveformTokens(nn.Module):
    """One token per time step: the encoder's answer, a fixed position code (any length will do) and a learnt embedding."""

    def __init__(self, channels: int, choice: TokenChoice) -> None:
        super().__init__()
        self.encoder = ENCODERS[choice.encoder](channels, choice)
        self.embedding = nn.Parameter(0.02 * torch.randn(choice.width))

    def forward(self, waveform: Tensor) -> Tensor:
        """Make tokens (B, N, D) of waveforms (B, C, L)."""
        steps: Tensor = self.encoder(waveform)
        return steps + (position_code(steps.shape[1], steps.shape[2], steps) + self.embedding)


class TrackTokens(nn.Module):
    """Tokens of one modality's waveform; (B, C, L) and present (B, C) → (B, N, D) and shares of electrodes (B, C) or None.

    Each token carries the embedding of the modality and the code of its time before the window's end, in seconds, so that
    tokens of tracks with other rates and lengths agree on time. A window without the modality has learnt tokens in its place.
    A single channel that is missing enters as zero, the training mean; the montage encoder does not listen to it at all.
    """

    before_s: Tensor

    def __init__(self, track: TrackSpec, choice: TokenChoice) -> None:
        super().__init__()
        self.spec = track
        own = replace(choice, stride=_stride(track.samples, choice.track_tokens))
        word = choice.eeg_encoder if track.name == "eeg" else choice.encoder
        channels = len(track.channels)
        self.encoder = (
            MontageEncoder(channels, own, track.channels, track.fs) if word == "montage" else ENCODERS[word](channels, own)
        )
        self.embedding = nn.Parameter(0.02 * torch.randn(choice.width))
        self.absent = nn.Parameter(0.02 * torch.randn(choice.width))
        self.tokens = self._count()
        step_s = track.samples / track.fs / self.tokens
        self.register_buffer("before_s", step_s * (torch.arange(self.tokens).flip(0) + 0.5), persistent=False)

    def _count(self) -> int:
        self.encoder.eval()
        with torch.no_grad():
            shape = self.encoder(torch.zeros(1, len(self.spec.channels), self.spec.samples)).shape
        self.encoder.train()
        return int(shape[1])

    def forward(self, waveform: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Make tokens of one track."""
        shares: Tensor | None = None
        if isinstance(self.encoder, MontageEncoder):
            steps, shares = self.encoder.listen(waveform, present)
        else:
            steps = self.encoder(waveform)
        here = present.any(1)[:, None, None]
        tokens: Tensor = torch.where(here, steps, self.absent.to(steps.dtype))
        return tokens + (time_code(self.before_s, steps.shape[2], steps) + self.embedding), shares


def _stride(samples: int, tokens: int) -> int:
    return next((stride for stride in STRIDES if samples / stride <= tokens), STRIDES[-1])


@dataclass(frozen=True)
class Group:
    """A row of tokens that belong together; ``columns`` are the features that they are made of."""

    modality: str
    tokens: int
    track: str = ""
    columns: tuple[int, ...] = ()
    montage: bool = False


@dataclass(frozen=True)
class Embedded:
    """Tokens (B, N, D), and what was listened to, by name, each (B, n)."""

    tokens: Tensor
    weights: Mapping[str, Tensor]


class Tokens(nn.Module):
    """A window as tokens H (B, N, D), all layer-normed: time steps of the waveform and of the tracks, then feature families.

    Waveform, tracks or features may be absent, not all of them. ``say`` are the learnt weights of modalities where the pool is
    ``learnt``: born equal.
    """

    def __init__(self, spec: InputSpec, choice: TokenChoice, pool: Pool = "balanced") -> None:
        super().__init__()
        if pool not in POOLS:
            raise ValueError(f"need pool in {', '.join(POOLS)}, got {pool}")
        channels = len(spec.waveform_channels) if choice.use_waveform and spec.samples > 0 else 0
        tracks = spec.tracks if choice.use_waveform else ()
        if not channels and not spec.features and not tracks:
            raise ValueError("need a waveform or features, got neither")
        montages = per_electrode(spec.features) if choice.montage else {}
        plain = [family for family in families(spec.features) if family not in montages]
        self.how, self.spec = pool, spec
        self.waveform = WaveformTokens(channels, choice) if channels else None
        self.features = FeatureTokens(spec.features, choice.width, frozenset(montages)) if plain else None
        self.tracks = nn.ModuleDict({track.name: TrackTokens(track, choice) for track in tracks}) if tracks else None
        self.montages = (
            nn.ModuleDict({name: ElectrodeFeatures(*told, choice.width) for name, told in montages.items()})
            if montages
            else None
        )
        self.n_families = len(families(spec.features))
        self.norm = nn.LayerNorm(choice.width)
        self.drop = FeatureDropout(choice.dropout)
        self.groups = self._groups([*plain, *montages])
        self.modalities = tuple(dict.fromkeys(group.modality for group in self.groups))
        self.say = nn.Parameter(torch.zeros(len(self.modalities))) if pool == "learnt" else None

    def _groups(self, names: list[str]) -> tuple[Group, ...]:
        columns = families(self.spec.features)
        found = [Group("waveform", 0)] if self.waveform is not None else []
        found += [Group(name, part.tokens, track=name) for name, part in self._tracks()]
        pooled = dict(self._montages())
        found += [Group(name.partition("_")[0], 1, columns=tuple(columns[name]), montage=name in pooled) for name in names]
        return tuple(found)

    def _tracks(self) -> list[tuple[str, TrackTokens]]:
        return [(name, cast("TrackTokens", part)) for name, part in (self.tracks or {}).items()]

    def _montages(self) -> list[tuple[str, ElectrodeFeatures]]:
        return [(name, cast("ElectrodeFeatures", part)) for name, part in (self.montages or {}).items()]

    @property
    def uses_waveform(self) -> bool:
        """Whether the waveform of a batch is looked at."""
        return self.waveform is not None

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks of a batch that are looked at."""
        return tuple(name for name, _ in self._tracks())

    @property
    def by_electrode(self) -> frozenset[int]:
        """Columns of features that are pooled over electrodes: no layer may count them."""
        return frozenset(column for group in self.groups if group.montage for column in group.columns)

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        told: dict[str, tuple[str, ...]] = {"modalities": self.modalities} if self.say is not None else {}
        for name, part in self._tracks():
            if isinstance(part.encoder, MontageEncoder):
                told[f"electrodes.{name}"] = part.spec.channels
        return told | {f"electrodes.{name}": part.electrodes for name, part in self._montages()}

    def forward(self, batch: Batch) -> Tensor:
        """Embed a batch as tokens (B, N, D)."""
        return self.look(batch).tokens

    def look(self, batch: Batch) -> Embedded:
        """Embed a batch, and tell which electrodes and modalities were listened to."""
        parts: list[Tensor] = []
        weights: dict[str, Tensor] = {}
        if self.waveform is not None:
            parts.append(self.waveform(batch.waveform))
        for name, track in self._tracks():
            steps, shares = track(batch.tracks[name], batch.present[name])
            parts.append(steps)
            if shares is not None:
                weights[f"electrodes.{name}"] = shares
        if self.features is not None:
            parts.append(self.features(batch.values, batch.missing))
        for name, family in self._montages():
            token, shares = family(batch.values, batch.missing)
            parts.append(token)
            weights[f"electrodes.{name}"] = shares
        if self.say is not None:
            weights["modalities"] = self.shares(batch)[1]
        tokens: Tensor = self.drop(self.norm(torch.cat(parts, dim=1)))
        return Embedded(tokens, weights)

    def shares(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the say of every group of tokens (B, G) and of every modality (B, M); each row sums to 1.

        What a window does not have has no say. Within a modality its track and each family present have the same say. Where
        nothing at all is present, all have the same say.
        """
        here = torch.stack([self._present(group, batch) for group in self.groups], dim=1)
        here = here | ~here.any(1, keepdim=True)
        code = [self.modalities.index(group.modality) for group in self.groups]
        member = nn.functional.one_hot(torch.tensor(code, device=here.device), len(self.modalities)).to(self.norm.weight.dtype)
        alive = here.to(member.dtype) @ member
        say = self.say if self.say is not None else torch.zeros_like(alive[0])
        modal = torch.softmax(say.expand_as(alive).masked_fill(alive == 0, float("-inf")), dim=1)
        grouped = here * ((modal / alive.clamp(min=1.0)) @ member.T)
        return grouped, modal

    def _present(self, group: Group, batch: Batch) -> Tensor:
        if group.track:
            return batch.present[group.track].any(1)
        if group.columns:
            return ~batch.missing[:, list(group.columns)].all(1)
        return torch.ones(len(batch.values), dtype=torch.bool, device=batch.values.device)

    def pool(self, x: Tensor, how: Pool, batch: Batch | None = None, axis: int = 0) -> Tensor:
        """Average (…, N, D) over tokens; ``axis`` is that of the windows.

        ``balanced`` gives all time steps of the waveform together the same say as all feature tokens; with tracks, every
        modality that is present has the same say, and with ``learnt`` its learnt say.
        """
        if how == "mean" or batch is None or (self.tracks is None and how == "balanced"):
            if how == "mean" or self.waveform is None or not self.n_families:
                return x.mean(-2)
            return 0.5 * (x[..., : -self.n_families, :].mean(-2) + x[..., -self.n_families :, :].mean(-2))
        say, _ = self.shares(batch)
        rest = x.shape[-2] - sum(group.tokens for group in self.groups)  # those of the waveform are not counted before
        counts = [group.tokens or rest for group in self.groups]
        each = torch.repeat_interleave(say / torch.tensor(counts, device=x.device), torch.tensor(counts, device=x.device), 1)
        shape = [1] * x.ndim
        shape[axis], shape[-2] = each.shape
        return (x * each.to(x.dtype).view(shape)).sum(-2)
