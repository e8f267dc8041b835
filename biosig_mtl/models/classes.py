"""From what a head says to classes: logits, and the class number that is expected of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.types import Head

STEP = 0.5413  # softplus of it is 1: thresholds are born one apart


class Answer(NamedTuple):
    """Predictions (B, T) in scaled units, the expected class number where a head has classes, and logits (B, T, O).

    Logits are −inf beyond a head's own classes and zero for regression; None where no head has classes.
    """

    predictions: Tensor
    logits: Tensor | None


class Classes(nn.Module):
    """What T heads say (B, T, O) → `Answer`.

    A regression speaks in column 0. Binary, nominal and ordinal heads say logits. ``rasch`` says one latent number θ in column
    0, and learnt thresholds b_1 < b_2 < … make classes of it by the rating scale model (Andrich, Psychometrika 43, 1978, eq.
    for m + 1 ordered categories, which is Rasch's for two):

        P(k | θ) ∝ exp Σ_{j ≤ k} (θ − s − b_j),   k = 0 … m

    s is the severity of the rater, given with training batches only; a new person is rated by nobody in particular, s = 0.
    That the thresholds must rise (b_{j+1} = b_j + softplus) is ours: Andrich's may cross.
    """

    own: Tensor
    classed: Tensor
    latent: Tensor
    rows: Tensor

    def __init__(self, heads: tuple[Head, ...]) -> None:
        super().__init__()
        outputs = max(head.classes for head in heads)
        counts = torch.tensor([head.classes for head in heads])
        latent = torch.tensor([head.kind == "rasch" for head in heads])
        self.outputs = outputs
        self.register_buffer("own", torch.arange(outputs) < counts[:, None], persistent=False)
        self.register_buffer("classed", counts > 0, persistent=False)
        self.register_buffer("latent", latent, persistent=False)
        self.register_buffer("rows", latent.nonzero()[:, 0], persistent=False)
        n = int(latent.sum())
        middle = (counts[latent].float() - 2.0) / 2.0
        self.first = nn.Parameter(-middle) if n else None
        self.steps = nn.Parameter(torch.full((n, outputs - 2), STEP)) if n and outputs > 2 else None

    def thresholds(self) -> Tensor:
        """Return the thresholds (R, O − 1) of the heads with a latent number."""
        if self.first is None:
            return self.own.new_zeros((0, self.outputs - 1), dtype=torch.float32)
        first = self.first[:, None]
        if self.steps is None:
            return first
        return torch.cat([first, first + functional.softplus(self.steps).cumsum(1)], dim=1)

    def forward(self, said: Tensor, severity: Tensor | None) -> Answer:
        """Turn what was said into classes; ``severity`` (B, T) is taken from latent numbers."""
        logits = said
        if self.first is not None:
            theta = said[..., 0] if severity is None else said[..., 0] - severity.to(said.dtype)
            ladder = (theta[:, self.rows, None] - self.thresholds().to(said.dtype)).cumsum(2)
            whole = torch.zeros_like(said)
            whole[:, self.rows, 1:] = ladder
            logits = torch.where(self.latent[:, None], whole, said)
        logits = torch.where(self.classed[:, None], logits, torch.zeros_like(logits))
        logits = logits.masked_fill(self.classed[:, None] & ~self.own, float("-inf"))
        number = torch.arange(self.outputs, device=said.device, dtype=torch.float32)
        expected = (torch.softmax(logits.float(), dim=2) * number).sum(2).to(said.dtype)
        return Answer(torch.where(self.classed, expected, said[..., 0]), logits)


def outputs_of(heads: tuple[Head, ...]) -> int:
    """Return how many numbers a task says: the largest number of classes, 1 where there are none."""
    return max([1, *(head.classes for head in heads)])
