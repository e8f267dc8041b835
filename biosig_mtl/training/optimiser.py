"""What the optimiser is told: which weights decay, and the learning rate of every step."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from biosig_mtl.training.prediction import as_network
from biosig_mtl.training.settings import TrainingSettings

SEVERITY_RATE = 10.0


def groups(model: nn.Module, others: list[nn.Module | None], settings: TrainingSettings) -> list[dict[str, Any]]:
    """Decay matrices, not biases, norms, embeddings, loss weights or severities; the linear skip learns at its own pace.

    Severities learn faster: each sees the windows of one person only.
    """
    skip = as_network(model).answers.skip
    slow = [p for p in skip.parameters() if p.requires_grad] if skip is not None else []
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad and all(p is not s for s in slow)]
    weighing, severe = (list(other.parameters()) if other is not None else [] for other in others)
    decayed = [p for name, p in named if name.endswith("weight") and p.ndim > 1]
    rest = [p for name, p in named if not (name.endswith("weight") and p.ndim > 1)]
    return [
        {"params": decayed, "weight_decay": settings.weight_decay, "share": 1.0},
        {"params": [*rest, *weighing], "weight_decay": 0.0, "share": 1.0},
        {"params": slow, "weight_decay": 0.0, "share": settings.skip_rate},
    ] + ([{"params": severe, "weight_decay": 0.0, "share": SEVERITY_RATE}] if severe else [])


def rate(settings: TrainingSettings, step: int, windows: int) -> float:
    """Return the share of the learning rate at a step: a linear rise, then half a cosine down to 0."""
    total = settings.epochs * math.ceil(windows / settings.batch_size)
    done = (step + 1) / total
    if done < settings.warmup:
        return done / settings.warmup
    return 0.5 + 0.5 * math.cos(math.pi * (done - settings.warmup) / (1.0 - settings.warmup))
