"""Sequential cross attention (Kim et al., "Sequential cross attention based multi-task learning", arXiv 2209.02518).

Attention over all tasks and scales at once costs too much, so tasks first exchange at one scale (CTAM), then each task gathers
its scales (CSAM). With features f_t^s of task t at level s (B, N, D):

    CTAM: f̃_t^s = f_t^s + Σ_{r≠t} softmax(Q_t K_rᵀ / √d) V_r
    CSAM: g_t = f̃_t^1 + Σ_{s>1} softmax(Q_t^1 K_t^sᵀ / √d) V_t^s;     e_t = pool_N(g_t)

Fidelity. It follows the source in the order of the two exchanges, in what each reads, and in self-attention in the extractor
(our levels have it). The two equations are written after its description; its exact form was not seen. Ours: the levels
(`biosig_mtl.models.scales`), one layer per task and level in place of a decoder, a norm before each attention, several heads.
With one task there is no CTAM.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, StackedLinear, StackedNorm, attend
from biosig_mtl.models.network import Body, Joint, Network, TokenPool, tokens_of
from biosig_mtl.models.scales import Levels, ScaleSettings, pairs
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class CtamCsamSettings(ScaleSettings):
    """Settings of sequential cross attention: those of all networks of several scales."""


class TaskExchange(nn.Module):
    """CTAM at one level: every task asks every other; (T, B, N, D) → the same, T ≥ 2."""

    def __init__(self, tasks: int, settings: ScaleSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.readers, self.read = pairs(tasks)
        self.norm = StackedNorm(tasks, width)
        self.queries = StackedLinear(tasks, width, width)
        self.keys = StackedLinear(tasks, width, width)
        self.values = StackedLinear(tasks, width, width)
        self.drop = FeatureDropout(settings.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Add what the others say."""
        normed = self.norm(features)
        queries, keys, values = self.queries(normed), self.keys(normed), self.values(normed)
        heard = attend(queries[self.readers], keys[self.read], values[self.read], self.heads)
        others: Tensor = self.drop(heard.view(len(features), -1, *features.shape[1:]).sum(1))
        return features + others


class ScaleExchange(nn.Module):
    """CSAM: every task asks its own coarser levels from its finest; levels of (T, B, N, D) → (T, B, N, D)."""

    def __init__(self, tasks: int, settings: ScaleSettings) -> None:
        super().__init__()
        width, coarser = settings.width, settings.levels - 1
        self.heads = settings.heads
        self.norms = nn.ModuleList(StackedNorm(tasks, width) for _ in range(settings.levels))
        self.queries = StackedLinear(tasks, width, width)
        self.keys = nn.ModuleList(StackedLinear(tasks, width, width) for _ in range(coarser))
        self.values = nn.ModuleList(StackedLinear(tasks, width, width) for _ in range(coarser))
        self.drop = FeatureDropout(settings.dropout)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Add what the coarser levels say to the finest."""
        normed = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        queries, gathered = self.queries(normed[0]), levels[0]
        for level, keys, values in zip(normed[1:], self.keys, self.values, strict=True):
            gathered = gathered + self.drop(attend(queries, keys(level), values(level), self.heads))
        return gathered


class CtamCsam(Body):
    """Levels → features of every task and level → exchange between tasks → exchange between levels → pool."""

    def __init__(self, tasks: int, settings: CtamCsamSettings, levels: Levels) -> None:
        super().__init__()
        self.width = settings.width
        self.levels = levels
        count, width = settings.levels, settings.width
        self.own = nn.ModuleList(StackedLinear(tasks, width, width) for _ in range(count))
        self.tasks = nn.ModuleList(TaskExchange(tasks, settings) for _ in range(count)) if tasks > 1 else None
        self.scales = ScaleExchange(tasks, settings)
        self.norm = StackedNorm(tasks, width)

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return embeddings (B, T, D)."""
        features = [functional.gelu(own(row.unsqueeze(0))) for own, row in zip(self.own, self.levels(tokens), strict=True)]
        if self.tasks is not None:
            features = [exchange(level) for exchange, level in zip(self.tasks, features, strict=True)]
        return Joint(pool(self.norm(self.scales(features)), 1).transpose(0, 1))


def ctam_csam(settings: CtamCsamSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, CtamCsam(len(spec.targets), settings, Levels(settings, tokens)))
