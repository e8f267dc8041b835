"""Task tokens: a transformer over the tokens of a window and one learnt token a task, which becomes the answer of the task.

Source: MultiTab-Net (Sinodinos, Wei & Armanfard, "MultiTab: A Scalable Foundation for Multitask Learning on Tabular Data",
AAAI 2026, arXiv 2511.09970), as descriptions of it say: one token a task beside one token a feature, and an attention mask that
keeps tasks apart. The mask is named by who is kept from reading whom:

    txt    a task token does not read the tokens of other tasks
    fxt    a token of the window does not read task tokens
    both   txt and fxt: a task then has no path at all to another task's answer
    none   everybody reads everybody

Follows the source: the tokens, the mask and its kinds, the read-out. Ours: the tokens of the window are those of the common
frame (time steps and families of features, not single features); layers norm before they act; the last layer asks on behalf of
the task tokens only, as nothing else is read. The source's attention between rows of a table is left out for good: it would let
a window's answer depend on the other windows of its batch, often of the same subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec

TaskMask = Literal["none", "txt", "fxt", "both"]
MASKS: tuple[TaskMask, ...] = get_args(TaskMask)
START_SCALE = 0.02  # standard deviation of the task tokens at birth


@dataclass(frozen=True)
class TaskTokensSettings(NetworkSettings):
    """Settings of the transformer: ``layers``, ``heads`` of each attention, ``mask``: who is kept from reading whom."""

    layers: int = 2
    heads: int = 2
    mask: TaskMask = "both"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"need layers >= 1, got {self.layers}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"need heads >= 1 that divide width, got {self.heads}, {self.width}")
        if self.mask not in MASKS:
            raise ValueError(f"need mask in {', '.join(MASKS)}, got {self.mask}")


def may_read(tasks: int, tokens: int, mask: TaskMask, device: torch.device | None = None) -> Tensor:
    """Return who (row) may read whom (column), (T + N, T + N) of bool, task tokens first.

    >>> may_read(2, 1, "both").int().tolist()
    [[1, 0, 1], [0, 1, 1], [0, 0, 1]]
    """
    may = torch.ones(tasks + tokens, tasks + tokens, dtype=torch.bool, device=device)
    if mask in {"txt", "both"}:
        may[:tasks, :tasks] = torch.eye(tasks, dtype=torch.bool, device=device)
    if mask in {"fxt", "both"}:
        may[tasks:, :tasks] = False
    return may


class TransformerLayer(nn.Module):
    """x + MHA(LN(x)), then x + MLP(LN(x)), under a mask; (B, A, D) → (B, A, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.queries = nn.Linear(width, width)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.drop = FeatureDropout(dropout)

    def forward(self, asking: Tensor, row: Tensor, may: Tensor) -> Tensor:
        """Let ``asking`` (B, A, D) read ``row`` (B, S, D) where ``may`` (A, S) says so."""
        asked, said = self.before(asking), self.before(row)
        read = self._attend(self.queries(asked), self.keys(said), self.values(said), may)
        asking = asking + self.drop(self.out(read))
        added: Tensor = self.drop(self.narrow(functional.gelu(self.wide(self.between(asking)))))
        return asking + added

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, may: Tensor) -> Tensor:
        # As in `blocks.attend`: bfloat16 attention of small heads is slow on CPU, and the softmax is better exact.
        with torch.autocast(v.device.type, enabled=False):
            exact = v.dtype if v.dtype == torch.float64 else torch.float32
            cut = [x.to(exact).view(*x.shape[:2], self.heads, -1).transpose(1, 2) for x in (q, k, v)]
            mixed = functional.scaled_dot_product_attention(cut[0], cut[1], cut[2], attn_mask=may)
        return mixed.transpose(1, 2).flatten(2)


class TaskTokens(Body):
    """[task tokens ; tokens of the window] → layers → the task tokens, normed."""

    def __init__(self, tasks: int, settings: TaskTokensSettings) -> None:
        super().__init__()
        s = settings
        self.width, self.mask = s.width, s.mask
        self.tasks = nn.Parameter(START_SCALE * torch.randn(tasks, s.width))
        self.layers = nn.ModuleList([TransformerLayer(s.width, s.heads, s.dropout) for _ in range(s.layers)])
        self.norm = nn.LayerNorm(s.width)

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return what became of the task tokens (B, T, D)."""
        del pool  # attention weighs the tokens itself
        tasks = len(self.tasks)
        row = torch.cat([self.tasks.to(tokens.dtype).expand(tokens.shape[0], -1, -1), tokens], dim=1)
        may = may_read(tasks, tokens.shape[1], self.mask, tokens.device)
        for layer in self.layers[:-1]:
            row = layer(row, row, may)
        read = self.layers[-1](row[:, :tasks], row, may[:tasks])
        return Joint(self.norm(read))


def task_tokens(settings: TaskTokensSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, TaskTokens(len(spec.targets), settings))
