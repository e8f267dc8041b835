"""How severe each training rater is: learnt beside the network, shrunk to nothing, and forgotten afterwards.

People use a rating scale differently: what is 6 to one is 4 to another. Heads of kind ``rasch`` take that apart: the answer of
a person is θ − s, θ what the window says and s the person's severity (many-facet Rasch measurement, Linacre 1989). A person
that nobody has met has none, so s never leaves the training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.types import Head


class Severity(nn.Module):
    """Severities (R, T) of training subjects, with mean 0 over subjects; columns of other heads are always 0."""

    latent: Tensor
    code: Tensor

    def __init__(self, subject: NDArray[np.str_], heads: tuple[Head, ...]) -> None:
        super().__init__()
        self.people, code = np.unique(subject, return_inverse=True)
        self.register_buffer("code", torch.from_numpy(code.astype(np.int64)), persistent=False)
        latent = torch.tensor([float(head.kind == "rasch") for head in heads])
        self.register_buffer("latent", latent, persistent=False)
        self.raw = nn.Parameter(torch.zeros(len(self.people), len(heads)))

    def all(self) -> Tensor:
        """Return the severity of every subject (R, T), in the order of ``people``."""
        return (self.raw - self.raw.mean(0)) * self.latent

    def forward(self, positions: Tensor) -> Tensor:
        """Return the severities (B, T) of the subjects of training windows."""
        return self.all()[self.code[positions.to(self.code.device)]]

    def penalty(self) -> Tensor:
        """Return the mean over subjects of the squared severity, summed over targets."""
        return self.all().square().mean(0).sum()


def has_raters(heads: tuple[Head, ...]) -> bool:
    """Whether any head has a latent number that raters are severe about."""
    return any(head.kind == "rasch" for head in heads)
