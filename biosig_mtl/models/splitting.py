"""The splitting network: masks over the embedding, one for each split.

Index 0 is the shared split, 1…T are the task-specific ones; without a shared split, 0…T−1 are those of the tasks. The form of
the paper has dynamic masks, made by one attention block for each split. The other forms are ablations of ours, which ask what
of it matters. See `biosig_mtl.models.split_merge` for what of this is the paper's and what is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import StackedLinear, attend, gather

Normaliser = Literal["sigmoid", "softmax", "hard", "noise"]
MasksAct = Literal["tokens_features", "features", "tokens"]
SplitHeads = Literal["per_split", "one_head_each"]
Masks = Literal["dynamic", "static", "random", "conv", "none"]
Attention = Literal["full", "low_rank"]
STATIC_SPREAD = 0.2  # of the logits that static masks are born with: that of dynamic masks at birth


@dataclass(frozen=True)
class SplitChoice:
    """How the masks are made; the words are those of `SplitMergeSettings`."""

    heads: int
    split_heads: SplitHeads
    normaliser: Normaliser
    masks_act: MasksAct
    temperature: float
    masks: Masks = "dynamic"
    attention: Attention = "full"
    rank: int = 8


class MaskedSplits(nn.Module):
    """H (B, N, D) → masks M and splits z, both (B, K, N, D); abstract, each form of masks has its own scores S.

        M_k = normalise(S_k / τ);   z_k = M_k ⊙ H

    With ``noise`` what is masked is replaced by noise, z = M ⊙ H + (1 − M) ⊙ ε, ε ~ N(0, 1) in training and its mean 0 in
    evaluation (H is layer-normed, so the noise has its scale): only then does "masked" mean "removed".
    """

    choice: SplitChoice

    def scores(self, embedding: Tensor) -> Tensor:
        """Return the scores S of masks, (K, B or 1, N, D), of an embedding (B, N, D)."""
        raise NotImplementedError

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks and splits."""
        whole = embedding.unsqueeze(0)
        masks = self._masks(self._acting(self.scores(embedding))).expand(-1, *embedding.shape)
        splits = masks * whole
        if self.choice.normaliser == "noise" and self.training:
            splits = splits + (1.0 - masks) * torch.randn_like(masks)
        return masks.transpose(0, 1), splits.transpose(0, 1)

    def _acting(self, scores: Tensor) -> Tensor:
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


class Splitter(MaskedSplits):
    """``dynamic``: one attention block for each split.

        A_k = MHA_k(H, H, H);   S_k = A_k W_k + b_k

    The output projection of each attention block and W_k are one matrix: two linear maps in a row would be one. With
    ``one_head_each`` the splits are the heads of one attention: queries and keys are common, values and W_k are each split's
    own.

    With ``low_rank`` (see `gather`) the window asks once, with its mean token c. That gives one answer a window where a mask
    needs one a token, so each token adds what was gathered to its own value (ours): A_k[n] = v_k[n] + Σ_m a_k[m] v_k[m].
    """

    def __init__(self, splits: int, width: int, choice: SplitChoice) -> None:
        super().__init__()
        self.choice = choice
        own = choice.split_heads == "per_split"
        self.n_heads = choice.heads if own else 1
        asked = self.n_heads * choice.rank if choice.attention == "low_rank" else width
        self.queries = StackedLinear(splits if own else 1, width, asked)
        self.keys = StackedLinear(splits if own else 1, width, asked)
        self.values = StackedLinear(splits, width, width)
        self.logits = StackedLinear(splits, width, width)

    def scores(self, embedding: Tensor) -> Tensor:
        """Return the scores of every window's own masks, (K, B, N, D)."""
        whole = embedding.unsqueeze(0)
        values = self.values(whole)
        if self.choice.attention == "low_rank":
            asked = self.queries(whole.mean(2, keepdim=True))
            mixed = values + gather(asked, self.keys(whole), values, self.n_heads)
        else:
            mixed = attend(self.queries(whole), self.keys(whole), values, self.n_heads)
        made: Tensor = self.logits(mixed)
        return made


class ConvSplitter(MaskedSplits):
    """``conv``: S_k = W₂ ReLU(W₁ H), two 1 × 1 convolutions for each split: the masks of MTAN at one level.

    A token's mask depends on that token alone. MTAN (Liu et al., CVPR 2019) has batch norm after both convolutions and masks at
    every level of the encoder; here there is neither: no window may depend on its neighbours in the batch.
    """

    def __init__(self, splits: int, width: int, choice: SplitChoice) -> None:
        super().__init__()
        self.choice = choice
        self.hidden = StackedLinear(splits, width, width)
        self.logits = StackedLinear(splits, width, width)

    def scores(self, embedding: Tensor) -> Tensor:
        """Return the scores of every token's own masks, (K, B, N, D)."""
        made: Tensor = self.logits(functional.relu(self.hidden(embedding.unsqueeze(0))))
        return made


class FixedSplitter(MaskedSplits):
    """Masks that are the same for all windows, (K, 1, N, D): ``static`` ones are learnt, ``random`` ones stay as drawn.

    ``static`` asks whether masks have to be dynamic, ``random`` whether they have to be anything but different. Logits of
    random masks are standard normal; they are saved with the weights. Both belong to windows of one length.
    """

    def __init__(self, splits: int, tokens: int, width: int, choice: SplitChoice) -> None:
        super().__init__()
        self.choice = choice
        drawn = torch.randn(splits, 1, tokens, width)
        if choice.masks == "static":
            self.logits = nn.Parameter(STATIC_SPREAD * drawn)
        else:
            self.register_buffer("logits", drawn)

    def scores(self, embedding: Tensor) -> Tensor:
        """Return the scores (K, 1, N, D); raise ValueError where windows have another number of tokens."""
        logits: Tensor = self.logits
        if embedding.shape[1] != logits.shape[2]:
            raise ValueError(
                f"need windows of {logits.shape[2]} tokens with masks: {self.choice.masks}, got {embedding.shape[1]}; "
                "cut them to the length of the training set"
            )
        return logits


class OpenSplitter(MaskedSplits):
    """``none``: M ≡ 1, so that every split is the whole embedding; no parameters, whatever the normaliser."""

    def __init__(self, splits: int, choice: SplitChoice) -> None:
        super().__init__()
        self.splits, self.choice = splits, choice

    def scores(self, embedding: Tensor) -> Tensor:
        """Return zeros (K, 1, N, D): nothing is weighed."""
        return embedding.new_zeros(self.splits, 1, *embedding.shape[1:])

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks of 1 and the embedding for every split."""
        splits = embedding.unsqueeze(1).expand(-1, self.splits, -1, -1)
        return torch.ones_like(splits), splits


def make_splitter(splits: int, tokens: int, width: int, choice: SplitChoice) -> MaskedSplits:
    """Return the splitter of ``choice.masks``; ``tokens`` is N of a window, which only masks fixed to a length look at."""
    if choice.masks == "dynamic":
        return Splitter(splits, width, choice)
    if choice.masks == "conv":
        return ConvSplitter(splits, width, choice)
    return OpenSplitter(splits, choice) if choice.masks == "none" else FixedSplitter(splits, tokens, width, choice)
