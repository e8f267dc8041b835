"""Batches that each come from one data set, where one network learns from several sets that label different targets.

Homogeneous-task batches with a sampling weight a data set are those of modular networks that learn from single-task sets
together (heterogeneous training). A batch then has a loss for the targets of its own set alone, so that no set is thinned out
by windows that another set has brought along. The equations are ours, see `Sampling` and `OneSetBatches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from biosig_mtl.types import F64, I64, RecipeError


@dataclass(frozen=True)
class Sampling:
    """How often each set is drawn: share ∝ n^alpha of its training windows n, or ∝ the given ``weights`` by name.

    ``alpha`` 1 draws all windows alike, 0 all sets alike. With ``mixed`` batches are drawn from all windows together as if
    they were one set, and neither counts.
    """

    alpha: float = 0.5
    weights: Mapping[str, float] = field(default_factory=dict)
    mixed: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"need 0 <= alpha <= 1, got {self.alpha}")
        for name, weight in self.weights.items():
            if not 0.0 < weight < float("inf"):
                raise ValueError(f"need weights > 0, got {weight} for '{name}'")

    def shares(self, names: Sequence[str], windows: Sequence[int]) -> F64:
        """Return the share of the batches of every set (set,), summing to 1; a set without windows has none.

        Raises
        ------
        RecipeError
            Weights are given, but not one for each set.

        >>> Sampling(alpha=0.5).shares(("a", "b"), (100, 900)).tolist()
        [0.25, 0.75]
        """
        if self.weights and set(self.weights) != set(names):
            wanted, got = ", ".join(names), ", ".join(self.weights)
            raise RecipeError(f"sampling weights: need one for each of {wanted}, got {got}")
        counts = np.asarray(windows, dtype=np.float64)
        raw = np.array([self.weights[name] for name in names]) if self.weights else counts**self.alpha
        raw = np.where(counts > 0, raw, 0.0)
        return np.asarray(raw / raw.sum(), dtype=np.float64)


@dataclass(frozen=True)
class OneSetBatches:
    """An order of windows (`biosig_mtl.training.hooks.Order`) in which every batch comes from one set.

    ``code`` (n,) is the number of the set of each training window, ``shares`` (set,) the share of the batches of each set. An
    epoch has ⌈n / size⌉ batches of equal size, as many as without this order, so the learning rate falls as it would. Set s has

        m_s = ⌊C_s + u⌋ − ⌊C_{s−1} + u⌋,   C_s = ⌈n / size⌉ · (shares of sets 1 … s),   u uniform on [0, 1)

    batches: in the mean over epochs exactly its share, also where that is less than one batch an epoch (systematic sampling).
    Within an epoch no window of a set is seen a second time before all of that set were seen once. Nothing is remembered from
    epoch to epoch but the state of the generator, so a training that was stopped goes on with the same batches.
    """

    code: I64
    shares: F64

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.code.size == 0 or self.code.min() < 0 or self.code.max() >= len(self.shares):
            raise ValueError(f"need windows of sets 0 to {len(self.shares) - 1}, got {np.unique(self.code).tolist()}")
        if not np.isclose(self.shares.sum(), 1.0) or (self.shares < 0).any():
            raise ValueError(f"need shares >= 0 that sum to 1, got {self.shares.tolist()}")
        empty = np.bincount(self.code, minlength=len(self.shares)) == 0
        if (self.shares[empty] > 0).any():
            raise ValueError("need no share for a set without windows")

    def __call__(self, size: int, rng: torch.Generator) -> Iterator[Tensor]:
        """Yield the positions of every batch of an epoch."""
        n = len(self.code)
        count = -(-n // size)
        edges = np.concatenate([[0.0], np.cumsum(self.shares)]) * count
        edges[-1] = count  # a sum of shares may miss 1 by a rounding error
        start = float(torch.rand((), generator=rng, dtype=torch.float64))
        batches = np.diff(np.floor(edges + start).astype(int))
        parts: list[Tensor] = []
        for number, many in enumerate(batches):
            if many:
                rows = torch.from_numpy(np.flatnonzero(self.code == number))
                parts += _stream(rows, round(many * n / count), rng).tensor_split(int(many))
        for place in torch.randperm(len(parts), generator=rng).tolist():
            yield parts[place]


def _stream(rows: Tensor, many: int, rng: torch.Generator) -> Tensor:
    """Return ``many`` of the rows: shuffled, and shuffled anew whenever all were taken."""
    turns = -(-many // len(rows))
    return torch.cat([rows[torch.randperm(len(rows), generator=rng)] for _ in range(turns)])[:many]
