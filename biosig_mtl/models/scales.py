"""Several scales of a window for the networks that compare them: each level is deeper and coarser than the one before.

The sources take their scales from the stages of an image network, whose resolution halves from one to the next. What is ours:

- only time steps have neighbours, so they alone are averaged, in blocks of 2, 4, … within the waveform or within one track; a
  family of features is one token at every level, and in a row of features alone levels differ in depth only;
- a block of time steps keeps its tokens, all of them the same (nearest up-sampling, done at once): a level has as many tokens
  as the row, levels add up token by token, and modalities keep their say when tokens are pooled;
- a stage is a layer of attention over the row and a layer of each token by itself, not a convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, attend
from biosig_mtl.models.network import NetworkSettings
from biosig_mtl.models.tokens import Tokens

MOST_LEVELS = 6  # beyond, a block is longer than most rows


@dataclass(frozen=True)
class ScaleSettings(NetworkSettings):
    """Words of the networks of several scales: ``levels`` of them, the last the coarsest; ``heads`` of every attention."""

    levels: int = 3
    heads: int = 2

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if not 2 <= self.levels <= MOST_LEVELS:
            raise ValueError(f"need 2 <= levels <= {MOST_LEVELS}, got {self.levels}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"need heads >= 1 that divide width, got {self.heads}, {self.width}")


def level_names(levels: int) -> tuple[str, ...]:
    """Return the names of levels, the finest first.

    >>> level_names(2)
    ('level 1', 'level 2')
    """
    return tuple(f"level {i + 1}" for i in range(levels))


def pairs(tasks: int) -> tuple[list[int], list[int]]:
    """Return who reads and who is read, for all pairs of different tasks; the T − 1 pairs of a reader are neighbours.

    >>> pairs(3)
    ([0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1])
    """
    both = [(t, r) for t in range(tasks) for r in range(tasks) if r != t]
    return [t for t, _ in both], [r for _, r in both]


def coarsen(x: Tensor, spans: tuple[int, ...], size: int) -> Tensor:
    """Give every token of (…, N, D) the mean of its block: ``size`` neighbours in one span, fewer at the end of a span.

    ``spans`` are numbers of tokens in a row, 0 for what the others leave.

    >>> coarsen(torch.tensor([[0.0], [2.0], [6.0], [9.0]]), (3, 1), 2).flatten().tolist()
    [1.0, 1.0, 6.0, 9.0]
    """
    rest = x.shape[-2] - sum(spans)
    block: list[int] = []
    for span in spans:
        first = block[-1] + 1 if block else 0
        block += [first + i // size for i in range(span or rest)]
    number = torch.tensor(block, device=x.device)
    same = (number[:, None] == number).to(x.dtype)
    return (same / same.sum(1, keepdim=True)) @ x


class Block(nn.Module):
    """Attention over the row, then each token by itself, both added to what came in; normed first.

    (B, N, D) → the first and the last feature of the block, both (B, N, D).
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.queries = nn.Linear(width, width)
        self.keys = nn.Linear(width, width, bias=False)  # a common offset of all keys would change nothing
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.drop = FeatureDropout(dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what attention made, and what the whole block made."""
        normed = self.norms[0](x).unsqueeze(0)
        asked = attend(self.queries(normed), self.keys(normed), self.values(normed), self.heads)[0]
        first = x + self.drop(self.out(asked))
        last = first + self.drop(self.narrow(functional.gelu(self.wide(self.norms[1](first)))))
        return first, last


class Levels(nn.Module):
    """H (B, N, D) → one row (B, N, D) a level, layer-normed: h^1 = block_1(H), h^l = block_l(coarsen(h^{l−1}, 2^{l−1}))."""

    def __init__(self, settings: ScaleSettings, tokens: Tokens) -> None:
        super().__init__()
        s = settings
        self.spans = tuple(group.tokens for group in tokens.groups)
        self.blocks = nn.ModuleList(Block(s.width, s.heads, s.dropout) for _ in range(s.levels))
        self.norms = nn.ModuleList(nn.LayerNorm(s.width) for _ in range(s.levels))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the levels, the finest first."""
        rows: list[Tensor] = []
        x = tokens
        for i, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            x = block(coarsen(x, self.spans, 2**i) if i else x)[1]
            rows.append(norm(x))
        return rows
