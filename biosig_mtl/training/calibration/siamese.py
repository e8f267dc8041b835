"""The two layers of a Siamese network: torch teaches them, plain products of arrays use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from biosig_mtl.types import F64, Bool

WIDTH, HIDDEN = 16, 32
EPOCHS, BATCH, RATE, DECAY = 4, 512, 2e-3, 0.05
CLIP = 3.0  # standard deviations: one broken feature must not steer a correction
NOISE_QUERY, NOISE_ANCHOR, DROPPED = 0.5, 0.3, 0.2  # of features, in training


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learned from: features of queries and anchors (M, F), what is told (M, E), errors and weights (M, T)."""

    query: F64
    anchor: F64
    told: F64
    wrong: F64
    weight: F64

    def of(self, rows: Bool) -> Lesson:
        """Return a part of it."""
        return Lesson(*(x[rows] for x in (self.query, self.anchor, self.told, self.wrong, self.weight)))


@dataclass(frozen=True, eq=False)
class Twins:
    """Learned weights: φ(x) = tanh(W x + b), then a layer of ReLU, then T answers in scaled units."""

    map_weight: F64
    map_bias: F64
    hidden_weight: F64
    hidden_bias: F64
    last_weight: F64
    last_bias: F64

    AXES: ClassVar[Mapping[str, int]] = {
        "map_weight": 2, "map_bias": 1, "hidden_weight": 2, "hidden_bias": 1, "last_weight": 2, "last_bias": 1,
    }  # fmt: skip

    @property
    def features(self) -> int:
        """How many features it looks at."""
        return int(self.map_weight.shape[1])

    def numbers(self) -> dict[str, F64]:
        """Return the weights by name."""
        return {name: getattr(self, name) for name in self.AXES}

    def say(self, query: F64, anchor: F64, told: F64) -> F64:
        """Return answers (M, T) in scaled units."""
        own, other = (np.tanh(np.clip(x, -CLIP, CLIP) @ self.map_weight.T + self.map_bias) for x in (query, anchor))
        seen = np.concatenate([own - other, own, told], axis=1)
        hidden = np.maximum(seen @ self.hidden_weight.T + self.hidden_bias, 0.0)
        return np.asarray(hidden @ self.last_weight.T + self.last_bias, dtype=np.float64)


class _Net(nn.Module):
    def __init__(self, features: int, told: int, targets: int) -> None:
        super().__init__()
        self.map = nn.Linear(features, WIDTH)
        self.hidden = nn.Linear(2 * WIDTH + told, HIDDEN)
        self.last = nn.Linear(HIDDEN, targets)
        self.drop = nn.Dropout(DROPPED)
        # Born saying nothing: the base stands until something is learned.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, query: torch.Tensor, anchor: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        # The same features are dropped on both sides: their difference stays one of like with like.
        kept = (torch.rand_like(query) >= DROPPED).to(query.dtype)
        own = torch.tanh(self.map(kept * (query + NOISE_QUERY * torch.randn_like(query))))
        other = torch.tanh(self.map(kept * (anchor + NOISE_ANCHOR * torch.randn_like(anchor))))
        seen = torch.cat([own - other, own, told], dim=1)
        said: torch.Tensor = self.last(self.drop(torch.relu(self.hidden(seen))))
        return said


def teach(lesson: Lesson, seed: int) -> Twins:
    """Return weights learned by few epochs of AdamW on the weighted absolute error; the same seed gives the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        query, anchor = (torch.from_numpy(np.clip(x, -CLIP, CLIP)).float() for x in (lesson.query, lesson.anchor))
        told, wrong, weight = (torch.from_numpy(x).float() for x in (lesson.told, lesson.wrong, lesson.weight))
        net = _Net(query.shape[1], told.shape[1], wrong.shape[1])
        batches = -(-len(query) // BATCH)
        optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * batches + 1)
        for _ in range(EPOCHS):
            for part in torch.split(torch.randperm(len(query)), BATCH):
                away = (net(query[part], anchor[part], told[part]) - wrong[part]).abs()
                optimiser.zero_grad()
                (away * weight[part]).mean().backward()
                optimiser.step()
                rate.step()
    layers = (net.map, net.hidden, net.last)
    return Twins(*(x.detach().double().numpy() for layer in layers for x in (layer.weight, layer.bias)))
