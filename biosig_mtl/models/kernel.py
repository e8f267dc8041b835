"""A kernel ridge on the features that stands beside a network: our extension for sets with few people.

With one or two hundred people a closed-form kernel machine is hard to beat by gradient steps. Where a recipe asks for it, its
estimates are blended with the network's, task by task, by a share that the trainer reads off validation subjects. The share
is told in the report: at 1 the network has added nothing, at 0 the kernel has not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biosig_mtl.types import Batch, InputSpec

# exp(−γ/2F · ‖x − l‖²) + c/F · x·l over F scaled features that are cut at ±CLIP. γ and c are ours.
GAMMA, LINEAR, CLIP = 2.0, 0.2, 3.0


class KernelRidge(nn.Module):
    """Estimates (B, T) in scaled units from the similarity of features to landmarks; everything in it is set by the trainer.

    ``share`` (T,) is how much of a blended prediction is the kernel's; it is born as zero, so an unset kernel changes nothing.
    """

    landmarks: Tensor
    slopes: Tensor
    offset: Tensor
    live: Tensor
    share: Tensor

    def __init__(self, spec: InputSpec, landmarks: int) -> None:
        super().__init__()
        features, tasks = len(spec.features), len(spec.targets)
        self.register_buffer("landmarks", torch.zeros(landmarks, features))
        self.register_buffer("slopes", torch.zeros(landmarks, tasks))
        self.register_buffer("offset", torch.zeros(tasks))
        self.register_buffer("live", torch.ones(()))
        self.register_buffer("share", torch.zeros(tasks))

    def similarity(self, shown: Tensor, others: Tensor) -> Tensor:
        """Return the kernel (n, m) between scaled features (n, F) and (m, F)."""
        a, b = shown.clamp(-CLIP, CLIP), others.clamp(-CLIP, CLIP)
        inner = a @ b.T
        distance = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * inner
        near: Tensor = torch.exp(-GAMMA / (2 * self.live) * distance.clamp(min=0)) + LINEAR / self.live * inner
        return near

    def forward(self, batch: Batch) -> Tensor:
        """Return the kernel's own estimates (B, T)."""
        shown = batch.values.masked_fill(batch.missing, 0.0)
        estimates: Tensor = self.similarity(shown, self.landmarks) @ self.slopes + self.offset
        return estimates

    def blend(self, predictions: Tensor, batch: Batch) -> Tensor:
        """Return predictions (B, T) mixed with the kernel's."""
        mixed: Tensor = predictions + self.share * (self(batch) - predictions)
        return mixed
