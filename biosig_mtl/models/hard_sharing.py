"""Hard parameter sharing: one trunk for all tasks, one head each. The reference rival (Caruana 1997)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.answers import Answers, Heads
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.encoders import TokenChoice
from biosig_mtl.models.tokens import Pool, Tokens
from biosig_mtl.types import Batch, InputSpec, Output


@dataclass(frozen=True)
class HardSharingSettings:
    """Settings of hard sharing; the words mean what they mean in `SplitMergeSettings`.

    ``trunk_layers`` residual layers of width 2D follow the pooled embedding.
    """

    width: int = 32
    encoder: str = "conv"
    stride: int = 32
    use_waveform: bool = True
    dropout: float = 0.1
    pool: Pool = "balanced"
    trunk_layers: int = 1
    linear_skip: bool = True
    ordered: bool = False
    min_pulse_pressure_mmhg: float = 5.0
    eeg_encoder: str = "montage"
    track_tokens: int = 8
    montage: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        self.token_choice()
        if self.trunk_layers < 0:
            raise ValueError(f"need trunk_layers >= 0, got {self.trunk_layers}")
        if self.min_pulse_pressure_mmhg < 0.0:
            raise ValueError(f"need min_pulse_pressure_mmhg >= 0, got {self.min_pulse_pressure_mmhg}")

    def token_choice(self) -> TokenChoice:
        """Return the part of the settings that makes tokens."""
        return TokenChoice(
            self.width, self.encoder, self.stride, self.use_waveform, self.dropout,
            self.eeg_encoder, self.track_tokens, self.montage,
        )  # fmt: skip


class TrunkLayer(nn.Module):
    """x + MLP(LN(x)); (B, D) → (B, D)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.drop = nn.Dropout(dropout)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add the layer's answer to its input."""
        added: Tensor = self.narrow(self.drop(functional.gelu(self.wide(self.norm(x)))))
        return x + added


class HardSharing(nn.Module):
    """Embed → pool → shared trunk → one head per task; same encoder and tokens as Split 'n' Merge."""

    def __init__(self, settings: HardSharingSettings, spec: InputSpec) -> None:
        super().__init__()
        s = settings
        self.settings, self.spec = s, spec
        self.tokens = Tokens(spec, s.token_choice(), s.pool)
        self.trunk = nn.Sequential(*(TrunkLayer(s.width, s.dropout) for _ in range(s.trunk_layers)))
        self.heads = Heads(len(spec.targets), s.width, s.width, s.dropout, outputs_of(spec.head))
        self.answers = Answers(
            spec,
            linear_skip=s.linear_skip,
            min_pulse_pressure=s.min_pulse_pressure_mmhg if s.ordered else None,
            unseen=self.tokens.by_electrode,
        )

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""
        return self.tokens.uses_waveform

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""
        return self.tokens.uses_tracks

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        return self.tokens.shown

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, T) in scaled units, and what was listened to."""
        embedded = self.tokens.look(batch)
        pooled = self.trunk(self.tokens.pool(embedded.tokens, self.settings.pool, batch))
        said = self.heads(pooled.unsqueeze(1).expand(-1, len(self.spec.targets), -1))
        predictions, logits = self.answers(said, batch)
        return Output(predictions, logits=logits, weights=embedded.weights)
