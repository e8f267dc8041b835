"""The frame of every network but Split 'n' Merge and HiSTN: one way in, one way out, and a body of its own between them.

    batch → tokens H (B, N, D) → body → one embedding a task (B, T, E) → heads → answers

What is compared is then the body alone: all rivals read windows by the same encoder, answer through heads of the same form, and
have the same linear skip and kernel ridge beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor, nn

from biosig_mtl.models.answers import Answers, Heads
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.encoders import TokenChoice
from biosig_mtl.models.kernel import KernelRidge
from biosig_mtl.models.tokens import Pool, Tokens
from biosig_mtl.types import EMPTY, Batch, InputSpec, Output


@dataclass(frozen=True)
class NetworkSettings:
    """Words that all networks share; never used by itself.

    ``width`` is D, the size of a token; ``stride`` the number of samples per waveform token. ``linear_skip`` adds a linear path
    from features to predictions, ``kernel_landmarks`` a kernel ridge beside the network. ``ordered`` makes DBP < SBP by
    construction, by at least ``min_pulse_pressure_mmhg``. ``eeg_encoder``, ``track_tokens`` and ``montage`` are about inputs of
    several modalities, see `TokenChoice`; ``pool: learnt`` weighs modalities by learnt numbers.
    """

    width: int = 32
    encoder: str = "conv"
    stride: int = 32
    use_waveform: bool = True
    dropout: float = 0.1
    pool: Pool = "balanced"
    linear_skip: bool = True
    kernel_landmarks: int = 0
    ordered: bool = False
    min_pulse_pressure_mmhg: float = 5.0
    eeg_encoder: str = "montage"
    track_tokens: int = 8
    montage: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        self.token_choice()
        if self.kernel_landmarks < 0 or (self.kernel_landmarks and self.ordered):
            raise ValueError("need kernel_landmarks >= 0, and 0 with ordered: a blend would not keep DBP below SBP")
        if self.min_pulse_pressure_mmhg < 0.0:
            raise ValueError(f"need min_pulse_pressure_mmhg >= 0, got {self.min_pulse_pressure_mmhg}")

    def token_choice(self) -> TokenChoice:
        """Return the part of the settings that makes tokens."""
        return TokenChoice(
            self.width, self.encoder, self.stride, self.use_waveform, self.dropout,
            self.eeg_encoder, self.track_tokens, self.montage,
        )  # fmt: skip


class TokenPool(Protocol):
    """Averages tokens as the settings say."""

    def __call__(self, x: Tensor, axis: int = 0) -> Tensor:
        """Average (…, N, D) over tokens; ``axis`` is that of the windows."""


@dataclass(frozen=True)
class Joint:
    """What a body makes of a batch: ``embedding`` (B, T, E).

    ``early`` are answers before the last, each what heads say, (B, T) or (B, T, O): with deep supervision they have a loss of
    their own. ``gates`` (B, T) is the share of what is shared; ``weights`` are learnt weights to show, by name, each (B, n).
    """

    embedding: Tensor
    early: tuple[Tensor, ...] = ()
    gates: Tensor | None = None
    weights: Mapping[str, Tensor] = field(default_factory=lambda: EMPTY)


class Body(nn.Module):
    """What is between tokens and heads; abstract, a network has one of its own.

    ``width`` is E, the size of the embedding of a task. ``shown`` names the columns of the weights to show.
    """

    width: int
    shown: Mapping[str, tuple[str, ...]] = EMPTY

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Make one embedding a task of tokens (B, N, D)."""
        raise NotImplementedError


class Network(nn.Module):
    """Tokens, a body, heads and answers; final: what differs between networks is the body that is given."""

    def __init__(self, settings: NetworkSettings, spec: InputSpec, tokens: Tokens, body: Body) -> None:
        super().__init__()
        s = settings
        self.settings, self.spec = s, spec
        self.tokens = tokens
        self.body = body
        outputs = outputs_of(spec.head)
        self.heads = Heads(len(spec.targets), body.width, s.width, s.dropout, outputs)
        self.answers = Answers(
            spec,
            linear_skip=s.linear_skip,
            min_pulse_pressure=s.min_pulse_pressure_mmhg if s.ordered else None,
            unseen=tokens.by_electrode,
        )
        self.beside = kernel_beside(s.kernel_landmarks, spec)

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
        return {**self.tokens.shown, **self.body.shown}

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, T) in scaled units, early ones, and what was listened to."""

        def pool(x: Tensor, axis: int = 0) -> Tensor:
            return self.tokens.pool(x, self.settings.pool, batch, axis)

        embedded = self.tokens.look(batch)
        joint: Joint = self.body(embedded.tokens, pool)
        predictions, logits = self.answers(self.heads(joint.embedding), batch)
        if self.beside is not None and not self.training:
            predictions = self.beside.blend(predictions, batch)
        made = Output(predictions, logits=logits, gates=joint.gates, weights={**embedded.weights, **joint.weights})
        if not joint.early:
            return made
        early = [self.answers.plain(said, batch) for said in joint.early]
        told = tuple(answer.logits for answer in early if answer.logits is not None)
        return replace(made, early=tuple(answer.predictions for answer in early), early_logits=told)


def kernel_beside(landmarks: int, spec: InputSpec) -> KernelRidge | None:
    """Return the kernel ridge beside a network, None where it is off or there are no features; it knows no classes."""
    if landmarks and outputs_of(spec.head) > 1:
        raise ValueError("need kernel_landmarks 0 with heads of classes: the kernel beside the network knows no classes")
    return KernelRidge(spec, landmarks) if landmarks > 0 and spec.features else None


def tokens_of(settings: NetworkSettings, spec: InputSpec) -> Tokens:
    """Return what makes tokens of windows; made before the body, so that its chance comes first."""
    return Tokens(spec, settings.token_choice(), settings.pool)
