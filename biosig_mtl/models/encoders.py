"""Encoders: whatever makes a row of tokens of a waveform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import ResidualBlock, along_time, channels_last
from biosig_mtl.models.electrodes import ElectrodePool, PowerBands

STRIDES = (4, 8, 16, 32, 64, 128, 256)
USUAL_FS = 128.0  # of an electroencephalogram whose rate is not told


@dataclass(frozen=True)
class TokenChoice:
    """How windows become tokens; the words are those of the networks' settings.

    ``encoder`` and ``stride`` (samples a token) are for the waveform. Tracks have ``eeg_encoder`` where the modality is called
    ``eeg`` and ``encoder`` elsewhere, and the shortest stride that gives at most ``track_tokens`` tokens. With ``montage``,
    families that have the same quantities of every electrode are pooled over electrodes by place.
    """

    width: int
    encoder: str = "conv"
    stride: int = 32
    use_waveform: bool = True
    dropout: float = 0.0
    eeg_encoder: str = "montage"
    track_tokens: int = 8
    montage: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        for word in (self.encoder, self.eeg_encoder):
            if word not in ENCODERS:
                raise ValueError(f"need encoder in {', '.join(ENCODERS)}, got {word}")
        if self.track_tokens < 1:
            raise ValueError(f"need track_tokens >= 1, got {self.track_tokens}")
        if self.width < 4:
            raise ValueError(f"need width >= 4, got {self.width}")
        if self.stride not in STRIDES:
            raise ValueError(f"need stride in {', '.join(map(str, STRIDES))}, got {self.stride}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"need 0 <= dropout < 1, got {self.dropout}")


class ConvEncoder(nn.Module):
    """Two strided convolutions and two residual blocks; (B, C, L) → (B, N, D), N ≈ L / stride.

    Normalisation is per window (group norm with one group), never over the batch: a window's answer must not depend on its
    neighbours in the batch. Computed with channels last, see `along_time`; the weights have the shapes of Conv1d.
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
        x = channels_last(waveform)
        for layer in self.stem:
            x = along_time(layer, x)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.norm(x.squeeze(2).transpose(1, 2))
        return tokens


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


class MontageEncoder(nn.Module):
    """Power of each electrode in learnt bands, pooled over electrodes by place, then one residual block; for EEG.

    (B, C, L) → (B, N, D), N ≈ L / stride, with as many parameters for 14 electrodes as for 62; their order does not matter. An
    electrode that is ``present`` nowhere is not listened to. Without ``names`` all electrodes lie in one place.
    """

    BANDS = 12

    def __init__(self, channels: int, choice: TokenChoice, names: tuple[str, ...] = (), fs: float = USUAL_FS) -> None:
        super().__init__()
        self.power = PowerBands(choice.stride, fs, self.BANDS)
        self.pool = ElectrodePool(names or ("",) * channels, self.BANDS, choice.width)
        self.block = ResidualBlock(choice.width, choice.dropout)
        self.norm = nn.LayerNorm(choice.width)

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode waveforms (B, C, L) as tokens (B, N, D), all electrodes present."""
        return self.listen(waveform, torch.ones(waveform.shape[:2], dtype=torch.bool, device=waveform.device))[0]

    def listen(self, waveform: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Encode waveforms (B, C, L) of electrodes that are present (B, C); return tokens and each electrode's share (B, C)."""
        pooled, shares = self.pool(self.power(waveform), present)
        tokens: Tensor = self.norm(self.block(pooled.transpose(1, 2)).transpose(1, 2))
        return tokens, shares


# Whatever maps (channels, choice) to a module (B, C, L) → (B, N, D) may be entered here.
ENCODERS: dict[str, Callable[[int, TokenChoice], nn.Module]] = {
    "conv": ConvEncoder,
    "patch": PatchEncoder,
    "montage": MontageEncoder,
}
