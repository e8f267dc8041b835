"""Single-task networks: T networks with nothing in common, in one module. What every gain of sharing is measured against.

Each task has its own tokens (encoder), trunk and head: it is `hard_sharing` of one task, T times, and with T = 1 it is hard
sharing, parameter for parameter. Stacked heads and the rows of the linear skip touch no other task either.

Fidelity. Follows the source: the single-task baseline of multi-task papers (e.g. Caruana 1997), on the backbone of the rivals.
Ours: all T networks are trained in one run. Their gradients never meet, but what the trainer does once for a model stays
common: early stopping, the clipping of the norm of the gradient, learned loss weights. To part these too, train one run for
each target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from biosig_mtl.models.answers import Answers, Heads
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.hard_sharing import HardSharingSettings, SharedTrunk
from biosig_mtl.models.network import kernel_beside, tokens_of
from biosig_mtl.models.tokens import Embedded, Tokens
from biosig_mtl.types import Batch, InputSpec, Output


@dataclass(frozen=True)
class SingleTaskSettings(HardSharingSettings):
    """Settings of single-task networks: those of hard sharing, for each task alone.

    ``ordered`` is refused: DBP < SBP by construction sends the loss of SBP to the network of DBP.
    """

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.ordered:
            raise ValueError("need ordered false: networks with nothing in common cannot keep DBP below SBP, got true")


class Column(nn.Module):
    """The network of one task without its head; a batch → embedding (B, 1, D) and what was listened to."""

    def __init__(self, settings: SingleTaskSettings, spec: InputSpec) -> None:
        super().__init__()
        s = settings
        self.how = s.pool
        self.tokens = tokens_of(s, spec)
        self.body = SharedTrunk(1, s.width, s.trunk_layers, s.dropout)

    def forward(self, batch: Batch) -> Embedded:
        """Embed a batch."""

        def pool(x: Tensor, axis: int = 0) -> Tensor:
            return self.tokens.pool(x, self.how, batch, axis)

        embedded = self.tokens.look(batch)
        return Embedded(self.body(embedded.tokens, pool).embedding, embedded.weights)


class SingleTask(nn.Module):
    """T columns side by side, with the face of a `Network`.

    Weights to show (electrodes, modalities) are means over the columns: reports know one weight a name.
    """

    def __init__(self, settings: SingleTaskSettings, spec: InputSpec) -> None:
        super().__init__()
        s = settings
        self.settings, self.spec = s, spec
        self.columns = nn.ModuleList(Column(s, spec) for _ in spec.targets)
        self.heads = Heads(len(spec.targets), s.width, s.width, s.dropout, outputs_of(spec.head))
        unseen = self._tokens.by_electrode
        self.answers = Answers(spec, linear_skip=s.linear_skip, min_pulse_pressure=None, unseen=unseen)
        self.beside = kernel_beside(s.kernel_landmarks, spec)

    @property
    def _tokens(self) -> Tokens:
        """Those of the first column: all look at the same inputs."""
        return cast("Column", self.columns[0]).tokens

    @property
    def uses_waveform(self) -> bool:
        """Whether batches need their waveform."""
        return self._tokens.uses_waveform

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """Tracks that batches need."""
        return self._tokens.uses_tracks

    @property
    def shown(self) -> Mapping[str, tuple[str, ...]]:
        """What the columns of the weights in an `Output` belong to, by name."""
        return self._tokens.shown

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, T) in scaled units, and what was listened to."""
        looks: list[Embedded] = [column(batch) for column in self.columns]
        embedding = torch.cat([look.tokens for look in looks], dim=1)
        predictions, logits = self.answers(self.heads(embedding), batch)
        if self.beside is not None and not self.training:
            predictions = self.beside.blend(predictions, batch)
        weights = {name: torch.stack([look.weights[name] for look in looks]).mean(0) for name in looks[0].weights}
        return Output(predictions, logits=logits, weights=weights)
