"""The merging network: each task fuses its own split with the shared one into its augmented embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, StackedLinear, StackedNorm, attend

Merge = Literal["cross_attention", "gate", "concat", "none"]
Merged = tuple[Tensor, Tensor | None]
PoolTokens = Callable[[Tensor, int], Tensor]  # tokens (…, N, D) and the axis of the windows


class CrossAttentionMerge(nn.Module):
    """The task asks what is shared; splits (B, K, N, D) → augmented embeddings, pooled, (B, T, D).

    c_t = MHA_t(Q=z_t, K=z_0, V=z_0);   u_t = LN(z_t + c_t);   u_t = LN(u_t + FFN_t(u_t));   e_t = pool_N(u_t)
    """

    def __init__(self, tasks: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.queries = StackedLinear(tasks, width, width)
        self.keys = StackedLinear(tasks, width, width)
        self.values = StackedLinear(tasks, width, width)
        self.out = StackedLinear(tasks, width, width)
        self.wide = StackedLinear(tasks, width, 2 * width)
        self.narrow = StackedLinear(tasks, 2 * width, width)
        self.norms = nn.ModuleList([StackedNorm(tasks, width), StackedNorm(tasks, width)])
        self.drop = FeatureDropout(dropout)

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return pooled augmented embeddings; there is no gate to show."""
        stacked = splits.transpose(0, 1)
        shared, own = stacked[:1], stacked[1:]
        asked = attend(self.queries(own), self.keys(shared), self.values(shared), self.heads)
        fused = self.norms[0](own + self.drop(self.out(asked)))
        fused = self.norms[1](fused + self.drop(self.narrow(functional.relu(self.wide(fused)))))
        return pool(fused, 1).transpose(0, 1), None


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


class ConcatMerge(nn.Module):
    """Shared and own split side by side, (B, T, 2D)."""

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return both embeddings in a row."""
        pooled = pool(splits, 0)
        own = pooled[:, 1:]
        return torch.cat([pooled[:, :1].expand_as(own), own], dim=-1), None


class NoMerge(nn.Module):
    """The head sees its own split only, (B, T, D)."""

    def forward(self, splits: Tensor, pool: PoolTokens) -> Merged:
        """Return the task-specific embeddings."""
        return pool(splits[:, 1:], 0), None


def make_merge(merge: Merge, tasks: int, width: int, heads: int, dropout: float) -> nn.Module:
    """Return the merging network of that name."""
    if merge == "cross_attention":
        return CrossAttentionMerge(tasks, width, heads, dropout)
    if merge == "gate":
        return GateMerge(tasks, width)
    return ConcatMerge() if merge == "concat" else NoMerge()
