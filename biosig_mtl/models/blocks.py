"""Parts that several networks are made of: encoders, tokens, per-task layers and answers.

A network sees a window as a row of *tokens* of width D: time steps of the encoded waveform, and one token for each family of
hand-made features (``pulse. hr. pat. ppg. person.`` …). Whatever has to exist once per split or once per task is one stacked
parameter whose first axis counts splits or tasks, so that all of them are computed in one matrix product and permuting tasks
is permuting that axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.types import Batch, InputSpec

Pool = Literal["balanced", "mean"]
STRIDES = (8, 16, 32, 64)
MAX_TOKEN_PERIOD = 1000.0  # longest wavelength of the position code, in tokens


# --------------------------------------------------------------------------------------------------------------- encoders
@dataclass(frozen=True)
class TokenChoice:
    """How windows become tokens; the words are those of the networks' settings."""

    width: int
    encoder: str = "conv"
    stride: int = 32
    use_waveform: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.encoder not in ENCODERS:
            raise ValueError(f"need encoder in {', '.join(ENCODERS)}, got {self.encoder}")
        if self.width < 4:
            raise ValueError(f"need width >= 4, got {self.width}")
        if self.stride not in STRIDES:
            raise ValueError(f"need stride in {', '.join(map(str, STRIDES))}, got {self.stride}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"need 0 <= dropout < 1, got {self.dropout}")


class ConvEncoder(nn.Module):
    """Two strided convolutions and two residual blocks; (B, C, L) → (B, N, D), N ≈ L / stride.

    Normalisation is per window (group norm with one group), never over the batch: a window's answer must not depend on its
    neighbours in the batch.
    """

    def __init__(self, channels: int, choice: TokenChoice) -> None:
        super().__init__()
        width, second = choice.width, choice.stride // 4
        half = max(width // 2, 4)
        self.stem = nn.Sequential(
            nn.Conv1d(channels, half, 9, stride=4, padding=4), nn.GroupNorm(1, half), nn.ReLU(),
            nn.Conv1d(half, width, 2 * second + 1, stride=second, padding=second), nn.GroupNorm(1, width), nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.ModuleList(ResidualBlock(width, choice.dropout) for _ in range(2))
        self.norm = nn.LayerNorm(width)

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode waveforms (B, C, L) as tokens (B, N, D)."""
        x = self.stem(waveform)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.norm(x.transpose(1, 2))
        return tokens


class ResidualBlock(nn.Module):
    """x + conv–norm–ReLU–dropout–conv–norm, all at stride 1; (B, D, N) → (B, D, N)."""

    def __init__(self, width: int, dropout: float, kernel: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2), nn.GroupNorm(1, width), nn.ReLU(), nn.Dropout1d(dropout),
            nn.Conv1d(width, width, kernel, padding=kernel // 2), nn.GroupNorm(1, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Add the body's answer to its input."""
        return functional.relu(x + self.body(x))


class PatchEncoder(nn.Module):
    """One linear map per patch of ``stride`` samples; (B, C, L) → (B, L // stride, D). For very small sets."""

    def __init__(self, channels: int, choice: TokenChoice) -> None:
        super().__init__()
        self.stride = choice.stride
        self.patch = nn.Conv1d(channels, choice.width, choice.stride, stride=choice.stride)
        self.norm = nn.LayerNorm(choice.width)

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode waveforms (B, C, L) as tokens (B, N, D)."""
        short = max(0, self.stride - waveform.shape[-1])
        patches = self.patch(functional.pad(waveform, (0, short)))
        tokens: Tensor = self.norm(functional.relu(patches).transpose(1, 2))
        return tokens


# Whatever maps (channels, choice) to a module (B, C, L) → (B, N, D) may be entered here.
ENCODERS: dict[str, Callable[[int, TokenChoice], nn.Module]] = {"conv": ConvEncoder, "patch": PatchEncoder}


# ----------------------------------------------------------------------------------------------------------------- tokens
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

    (B, F), (B, F) → (B, G, D). A missing value enters as zero (the training mean) together with its flag.
    """

    def __init__(self, features: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.groups = families(features)
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


class Tokens(nn.Module):
    """A window as tokens H (B, N, D): encoded time steps first, then one token per feature family, all layer-normed.

    Waveform or features may be absent, not both.
    """

    def __init__(self, spec: InputSpec, choice: TokenChoice) -> None:
        super().__init__()
        channels = len(spec.waveform_channels) if choice.use_waveform and spec.samples > 0 else 0
        if not channels and not spec.features:
            raise ValueError("need a waveform or features, got neither")
        self.waveform = WaveformTokens(channels, choice) if channels else None
        self.features = FeatureTokens(spec.features, choice.width) if spec.features else None
        self.n_families = len(families(spec.features))
        self.norm = nn.LayerNorm(choice.width)
        self.drop = FeatureDropout(choice.dropout)

    @property
    def uses_waveform(self) -> bool:
        """Whether the waveform of a batch is looked at."""
        return self.waveform is not None

    def forward(self, batch: Batch) -> Tensor:
        """Embed a batch as tokens (B, N, D)."""
        parts: list[Tensor] = []
        if self.waveform is not None:
            parts.append(self.waveform(batch.waveform))
        if self.features is not None:
            parts.append(self.features(batch.values, batch.missing))
        tokens: Tensor = self.drop(self.norm(torch.cat(parts, dim=1)))
        return tokens

    def pool(self, x: Tensor, how: Pool) -> Tensor:
        """Average (…, N, D) over tokens. ``balanced`` gives all time steps together the same say as all feature tokens."""
        if how == "mean" or self.waveform is None or not self.n_families:
            return x.mean(-2)
        return 0.5 * (x[..., : -self.n_families, :].mean(-2) + x[..., -self.n_families :, :].mean(-2))


def position_code(n: int, width: int, like: Tensor) -> Tensor:
    """Return sines and cosines of the token number, shape (n, width), small against a normed embedding."""
    half = (width + 1) // 2
    rates = torch.exp(-math.log(MAX_TOKEN_PERIOD) * torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(n, dtype=torch.float64)[:, None] * rates
    code = torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
    return 0.3 * code.to(device=like.device, dtype=like.dtype)


# -------------------------------------------------------------------------------------------------------- stacked layers
class StackedLinear(nn.Module):
    """``n`` linear maps side by side, one for every split or task; weight (n, in, out), bias (n, 1, out).

    Axes are (n, B, N, in) → (n, B, N, out): with the stack in front all maps are one batched matrix product without a copy.
    An input (1, B, N, in) is sent through every map.
    """

    def __init__(self, n: int, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(n, d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n, 1, d_out))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the maps."""
        n, d_in, d_out = self.weight.shape
        flat = x.reshape(x.shape[0], -1, d_in).expand(n, -1, -1)
        return torch.baddbmm(self.bias, flat, self.weight).view(n, x.shape[1], x.shape[2], d_out)


class StackedNorm(nn.Module):
    """Layer norm with own gain and offset for every task; (n, B, N, D) → the same."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n, 1, 1, width))
        self.offset = nn.Parameter(torch.zeros(n, 1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        return functional.layer_norm(x, x.shape[-1:]) * self.gain + self.offset


class Heads(nn.Module):
    """One two-layer head per task; (B, T, in) → (B, T)."""

    def __init__(self, tasks: int, d_in: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden = StackedLinear(tasks, d_in, hidden)
        self.drop = nn.Dropout(dropout)
        self.last = StackedLinear(tasks, hidden, 1)

    def forward(self, embedding: Tensor) -> Tensor:
        """Answer every task from its own embedding."""
        stacked = embedding.transpose(0, 1).unsqueeze(2)
        out: Tensor = self.last(self.drop(functional.gelu(self.hidden(stacked))))
        return out[:, :, 0, 0].transpose(0, 1)


class FeatureDropout(nn.Module):
    """Dropout that takes a feature away from all tokens of a window; (…, N, D) → the same.

    Drawing one number per window and feature instead of one per token costs a fraction, and neighbouring tokens of a signal
    would give away what single dropped entries hid.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Drop features while training."""
        if not self.training or self.share == 0.0:
            return x
        ones = torch.ones_like(x[..., :1, :])
        return x * functional.dropout(ones, self.share)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention in ``heads`` heads over the token axis; all (n, B, N, D) → (n, B, N, D)."""
    n, b, tokens, d = v.shape

    def cut(x: Tensor) -> Tensor:
        return x.expand(n, -1, -1, -1).reshape(n * b, x.shape[2], heads, d // heads).transpose(1, 2)

    # bfloat16 attention of small heads is several times slower than float32 on CPU, and the softmax is better exact.
    with torch.autocast(v.device.type, enabled=False):
        exact = v.dtype if v.dtype == torch.float64 else torch.float32
        mixed = functional.scaled_dot_product_attention(cut(q).to(exact), cut(k).to(exact), cut(v).to(exact))
    return mixed.transpose(1, 2).reshape(n, b, tokens, d)


# ---------------------------------------------------------------------------------------------------------------- answers
class Answers(nn.Module):
    """From what the heads say to predictions (B, T) in scaled units: linear skip, then order of the two pressures.

    ``linear_skip`` adds a linear path from values and missing flags to every task ("wide & deep", Cheng et al. 2016; our
    extension), born as zero. ``min_pulse_pressure`` (mmHg, None = off) makes DBP < SBP by construction: the SBP head then
    answers softplus of the pulse pressure above that margin, so the SBP loss also reaches the DBP head. ``target_mean`` and
    ``target_scale`` are set by the trainer and travel with the weights.
    """

    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, spec: InputSpec, *, linear_skip: bool, min_pulse_pressure: float | None) -> None:
        super().__init__()
        if min_pulse_pressure is not None and not {"sbp", "dbp"} <= set(spec.targets):
            raise ValueError(f"need targets sbp and dbp for ordered pressures, got {', '.join(spec.targets)}")
        n = len(spec.targets)
        self.targets = spec.targets
        self.margin = min_pulse_pressure
        self.skip = nn.Linear(2 * len(spec.features), n) if linear_skip and spec.features else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)
        self.register_buffer("target_mean", torch.zeros(n))
        self.register_buffer("target_scale", torch.ones(n))

    def set_target_scale(self, mean: Tensor, scale: Tensor) -> None:
        """Tell how scaled units relate to mmHg: value = mean + scale · scaled; both (T,)."""
        self.target_mean.copy_(mean)
        self.target_scale.copy_(scale)

    def set_linear_skip(self, slopes: Tensor, offsets: Tensor) -> None:
        """Give the linear skip, where there is one, its start: (T, 2F) for values then missing flags, and (T,)."""
        if self.skip is not None:
            with torch.no_grad():
                self.skip.weight.copy_(slopes)
                self.skip.bias.copy_(offsets)

    def said_for(self, targets: Tensor) -> Tensor:
        """Return what heads and skip together would have to say for scaled targets (B, T)."""
        if self.margin is None:
            return targets
        s, d, offset = self._pressures(self.margin)
        value = self.target_mean + self.target_scale * targets
        above = ((value[:, s] - value[:, d] - self.margin) / self.target_scale[s]).clamp(min=1e-2)
        columns = list(targets.unbind(1))
        columns[s] = torch.log(torch.expm1(above)) - offset
        return torch.stack(columns, dim=1)

    def forward(self, said: Tensor, batch: Batch) -> Tensor:
        """Turn the heads' answers (B, T) into predictions (B, T)."""
        if self.skip is not None:
            flags = batch.missing.to(batch.values.dtype)
            shown = batch.values.masked_fill(batch.missing, 0.0)
            said = said + self.skip(torch.cat([shown, flags], dim=1))
        return said if self.margin is None else self._ordered(said, self.margin)

    def _pressures(self, margin: float) -> tuple[int, int, Tensor]:
        """Return the columns of SBP and DBP, and the offset that makes zero mean the average pulse pressure."""
        s, d = self.targets.index("sbp"), self.targets.index("dbp")
        usual = ((self.target_mean[s] - self.target_mean[d] - margin) / self.target_scale[s]).clamp(min=1e-2)
        return s, d, torch.log(torch.expm1(usual))

    def _ordered(self, said: Tensor, margin: float) -> Tensor:
        s, d, offset = self._pressures(margin)
        mean, scale = self.target_mean, self.target_scale
        dbp = mean[d] + scale[d] * said[:, d]
        sbp = dbp + margin + scale[s] * functional.softplus(said[:, s] + offset)
        columns = list(said.unbind(1))
        columns[s] = (sbp - mean[s]) / scale[s]
        return torch.stack(columns, dim=1)
