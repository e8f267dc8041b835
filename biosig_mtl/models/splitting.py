"""The splitting network: one attention block per split makes a dynamic mask over the embedding.

Index 0 is the shared split, 1…T are the task-specific ones. See `biosig_mtl.models.split_merge` for what of this is the
paper's and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import StackedLinear, attend

Normaliser = Literal["sigmoid", "softmax", "hard", "noise"]
MasksAct = Literal["tokens_features", "features", "tokens"]
SplitHeads = Literal["per_split", "one_head_each"]


@dataclass(frozen=True)
class SplitChoice:
    """How the masks are made; the words are those of `SplitMergeSettings`."""

    heads: int
    split_heads: SplitHeads
    normaliser: Normaliser
    masks_act: MasksAct
    temperature: float


class Splitter(nn.Module):
    """H (B, N, D) → masks M and splits z, both (B, K, N, D).

        A_k = MHA_k(H, H, H);   S_k = A_k W_k + b_k;   M_k = normalise(S_k / τ);   z_k = M_k ⊙ H

    The output projection of each attention block and W_k are one matrix: two linear maps in a row would be one. With
    ``one_head_each`` the splits are the heads of one attention: queries and keys are common, values and W_k are each split's
    own. With ``noise`` what is masked is replaced by noise, z = M ⊙ H + (1 − M) ⊙ ε, ε ~ N(0, 1) in training and its mean 0
    in evaluation (H is layer-normed, so the noise has its scale): only then does "masked" mean "removed".
    """

    def __init__(self, splits: int, width: int, choice: SplitChoice) -> None:
        super().__init__()
        self.choice = choice
        own = choice.split_heads == "per_split"
        self.queries = StackedLinear(splits if own else 1, width, width)
        self.keys = StackedLinear(splits if own else 1, width, width)
        self.values = StackedLinear(splits, width, width)
        self.logits = StackedLinear(splits, width, width)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and splits."""
        whole = embedding.unsqueeze(0)
        masks = self._masks(self._scores(whole)).expand(-1, *embedding.shape)
        splits = masks * whole
        if self.choice.normaliser == "noise" and self.training:
            splits = splits + (1.0 - masks) * torch.randn_like(masks)
        return masks.transpose(0, 1), splits.transpose(0, 1)

    def _scores(self, whole: Tensor) -> Tensor:
        heads = self.choice.heads if self.choice.split_heads == "per_split" else 1
        asked = attend(self.queries(whole), self.keys(whole), self.values(whole), heads)
        scores: Tensor = self.logits(asked)
        if self.choice.masks_act == "features":
            return scores.mean(2, keepdim=True)
        if self.choice.masks_act == "tokens":
            return scores.mean(3, keepdim=True)
        return scores

    def _masks(self, scores: Tensor) -> Tensor:
        scaled = scores / self.choice.temperature
        if self.choice.normaliser == "softmax":
            return torch.softmax(scaled, dim=0)
        if self.choice.normaliser == "hard":
            return functional.hardsigmoid(scaled)
        return torch.sigmoid(scaled)
