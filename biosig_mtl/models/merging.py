"""The merging network: each task fuses its own split with the shared one into its augmented embedding.

Without a shared split (``shared_split: false``, an ablation of ours) there is no partner: with cross-attention and with the
bottleneck the task's own split takes its place, the gate is shut, and concatenation leaves the own split alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, StackedLinear, StackedNorm, attend, gather
from biosig_mtl.models.splitting import Attention

Merge = Literal["cross_attention", "gate", "concat", "bottleneck", "none"]
Merged = tuple[Tensor, Tensor | None]
PoolTokens = Callable[[Tensor, int], Tensor]  # tokens (…, N, D) and the axis of the windows
SLOTS = 8


@dataclass(frozen=True)
class MergeForm:
    """What is not the plain form; the words are those of `SplitMergeSettings`, ``shared`` is its ``shared_split``."""

    attention: Attention = "full"
    rank: int = 8
    shared: bool = True


PLAIN = MergeForm()


def partners(splits: Tensor, tasks: int) -> tuple[Tensor, Tensor]:
    """Return what tasks ask, (1 or T, B, N, D), and their own splits (T, B, N, D), of splits (B, K, N, D)."""
    stacked = splits.transpose(0, 1)
    if len(stacked) == tasks:
        return stacked, stacked
    shared, own = torch.tensor_split(stacked, [1])
    return shared, own


class CrossAttentionMerge(nn.Module):
    """The task asks what is shared; splits (B, K, N, D) → augmented embeddings, pooled, (B, T, D).

    c_t = MHA_t(Q=z_t, K=z_0, V=z_0);   u_t = LN(z_t + c_t);   u_t = LN(u_t + FFN_t(u_t));   e_t = pool_N(u_t)

    With ``low_rank`` attention (see `gather`) the task asks once a window, with the mean token of its split, and all its
    tokens get the one answer. Without a shared split z_t stands for z_0.
    """

    def __init__(self, tasks: int, width: int, heads: int, dropout: float, form: MergeForm = PLAIN) -> None:
        super().__init__()
        self.tasks, self.heads, self.low_rank = tasks, heads, form.attention == "low_rank"
        asked = heads * form.rank if self.low_rank else width
        self.queries = StackedLinear(tasks, width, asked)
        self.keys = StackedLinear(tasks, width, asked)
        self.values = StackedLinear(tasks, width, width)
        self.out = StackedLinear(tasks, width, width)
        self.wide = StackedLinear(tasks, width, 2 * width)
        self.narrow = StackedLinear(tasks, 2 * width, width)
        self.norms = nn.ModuleList([StackedNorm(tasks, width), StackedNorm(tasks, width)])
        self.drop = FeatureDropout(dropout)

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return pooled augmented embeddings; there is no gate to show."""
        asked, own = partners(splits, self.tasks)
        return self.fuse(asked, own, pool), None

    def fuse(self, partner: Tensor, own: Tensor, pool: PoolTokens) -> Tensor:
        """Return (B, T, D) of what is asked, (1 or T, B, M, D), and own splits (T, B, N, D)."""
        fused = self.norms[0](own + self.drop(self.out(self._ask(partner, own))))
        fused = fused + self.drop(self.narrow(functional.relu(self.wide(fused))))
        last = self.norms[1]
        assert isinstance(last, StackedNorm)
        return last.pooled(fused, lambda x: pool(x, 1)).transpose(0, 1)

    def _ask(self, partner: Tensor, own: Tensor) -> Tensor:
        if self.low_rank:
            asked = self.queries(own.mean(2, keepdim=True))
            return gather(asked, self.keys(partner), self.values(partner), self.heads)
        return attend(self.queries(own), self.keys(partner), self.values(partner), self.heads)


class BottleneckMerge(nn.Module):
    """Cross-attention through M = 8 slots: what is shared has to pass through 8 vectors, at a cost of N · M instead of N².

        s = LN(slots + MHA(Q=slots, K=z_0, V=z_0)), (B, M, D);   then as in `CrossAttentionMerge` with s in place of z_0

    The idea is that of the knowledge extraction module (KEM) of Zhang et al., "SGW-based Multi-Task Learning in Vision Tasks",
    ACCV 2024: plain attention between tasks imports noise, a bottleneck limits the flow. Ours: slots read the shared split
    alone, not the splits of all tasks, so that a task's loss still reaches no other task's split; and there is no equiangular
    tight frame (`biosig_mtl.models.kem` is the rival that has both). Attention is always full here.
    """

    def __init__(self, tasks: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.tasks, self.heads = tasks, heads
        self.slots = nn.Parameter(torch.randn(SLOTS, width))
        self.queries = StackedLinear(1, width, width)
        self.keys = StackedLinear(1, width, width)
        self.values = StackedLinear(1, width, width)
        self.norm = nn.LayerNorm(width)
        self.merge = CrossAttentionMerge(tasks, width, heads, dropout)

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return pooled augmented embeddings; there is no gate to show."""
        asked, own = partners(splits, self.tasks)
        return self.merge.fuse(self.read(asked), own, pool), None

    def read(self, partner: Tensor) -> Tensor:
        """Return slots (n, B, M, D) that have read tokens (n, B, N, D)."""
        rows = partner.flatten(0, 1).unsqueeze(0)
        slots = self.slots.expand(1, rows.shape[1], -1, -1)
        found = attend(self.queries(slots), self.keys(rows), self.values(rows), self.heads)
        read: Tensor = self.norm(slots + found)
        return read.reshape(*partner.shape[:2], *slots.shape[2:])


class GateMerge(nn.Module):
    """One number per task and window says how much is shared: g_t = σ(W_t [pool z_0; pool z_t]).

    u_t = g_t P_0 z_0 + (1 − g_t) P_t z_t; the maps are linear, so they are applied after pooling.
    """

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.gate = StackedLinear(tasks, 2 * width, 1)
        self.shared = nn.Linear(width, width)
        self.own = StackedLinear(tasks, width, width)

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return fused embeddings (B, T, D) and gates (B, T)."""
        pooled = pool(splits, 0).transpose(0, 1).unsqueeze(2)
        own = pooled[1:]
        shared = pooled[:1].expand_as(own)
        gate = torch.sigmoid(self.gate(torch.cat([shared, own], dim=-1)))
        fused = gate * self.shared(shared) + (1.0 - gate) * self.own(own)
        return fused.squeeze(2).transpose(0, 1), gate[:, :, 0, 0].transpose(0, 1)


class ShutGateMerge(nn.Module):
    """`GateMerge` with nothing shared to let in, g_t = 0: u_t = P_t z_t, (B, T, D)."""

    def __init__(self, tasks: int, width: int) -> None:
        super().__init__()
        self.own = StackedLinear(tasks, width, width)

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return mapped embeddings; there is no gate to show."""
        own = self.own(pool(splits, 0).transpose(0, 1).unsqueeze(2))
        return own.squeeze(2).transpose(0, 1), None


class ConcatMerge(nn.Module):
    """Shared and own split side by side, (B, T, 2D)."""

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return both embeddings in a row."""
        pooled = pool(splits, 0)
        own = pooled[:, 1:]
        return torch.cat([pooled[:, :1].expand_as(own), own], dim=-1), None


class NoMerge(nn.Module):
    """The head sees its own split only, (B, T, D)."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return the task-specific embeddings."""
        return pool(splits, 0)[:, -self.tasks :], None


def merged_width(merge: Merge, width: int, form: MergeForm = PLAIN) -> int:
    """Return the size of an augmented embedding."""
    return 2 * width if merge == "concat" and form.shared else width


def make_merge(merge: Merge, tasks: int, width: int, heads: int, dropout: float, form: MergeForm = PLAIN) -> nn.Module:
    """Return the merging network of that name."""
    if merge == "cross_attention":
        return CrossAttentionMerge(tasks, width, heads, dropout, form)
    if merge == "bottleneck":
        return BottleneckMerge(tasks, width, heads, dropout)
    if merge == "gate":
        return GateMerge(tasks, width) if form.shared else ShutGateMerge(tasks, width)
    return ConcatMerge() if merge == "concat" and form.shared else NoMerge(tasks)
