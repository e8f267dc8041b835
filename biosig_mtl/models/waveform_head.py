"""The waveform of the reference signal, told at any resolution from time tokens: a head beside those of the targets.

After the multi-task DeepONet (Kumar et al., Synergistic learning with multi-task DeepONet for efficient PDE problem solving,
arXiv 2408.02198), whose answer at a coordinate is a product of what was seen and of where it is asked for:

    y(s) = Σ_p branch_p(input) · trunk_p(s) + bias

Here s in [0, 1) is the time in the window. What is ours:

- The trunk's functions are local. One embedding of a whole window knows how high a pressure is and not *when* its beats come,
  so that its waveform has no phase. Every time step n of the encoded waveform therefore has P functions of its own,

      trunk_np(s) = hat(q(s) − n) · t_p(q(s) − n),        q(s) = (s − first) / step

  where q is the time in steps, hat(u) = max(0, 1 − |u|) hands over from one step to the next without a jump (the hats sum to
  1 everywhere), and t is a small network of harmonics of u that all steps share. The branch is of the step's token and of the
  pooled tokens: branch_np = B(token_n, pooled). The sum over p becomes one over n and p, and stays a product.
- The bias is a number of the window: bias(pooled), the level about which the pressure moves.
- The mask of valid points is in the loss only (`biosig_mtl.training.waveform`); no geometry is given to the branch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

FUNCTIONS = 16
HARMONICS = 6
TRUNK_WIDTH = 32


@dataclass(frozen=True)
class Steps:
    """Where time steps lie in a window, as shares of its length: the centre of the first, and the distance between two."""

    first: float
    step: float

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.step > 0 or self.first < 0:
            raise ValueError(f"need first >= 0 and step > 0, got {self.first}, {self.step}")

    @classmethod
    def of(cls, encoder: str, stride: int, samples: int) -> Steps:
        """Return the steps of an encoder of the waveform; a step of patches lies in the middle of its patch.

        >>> Steps.of("conv", 32, 1000)
        Steps(first=0.0, step=0.032)
        """
        if samples < 1:
            raise ValueError(f"need samples >= 1 in a window, got {samples}")
        return cls((stride - 1) / 2 / samples if encoder == "patch" else 0.0, stride / samples)


def times(points: int) -> Tensor:
    """Return times s (S,) of so many points, evenly from 0; the points of n are among those of 2n.

    >>> times(4).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    if points < 1:
        raise ValueError(f"need points >= 1, got {points}")
    return torch.arange(points) / points


class WaveformHead(nn.Module):
    """Time tokens (B, N, D) and pooled tokens (B, D) → waveform (B, S) in scaled units, at S times of choice.

    ``scale`` are mean and standard deviation of the reference in its unit, which travel with the weights: 0 and 1 until
    `set_scale`. There is no dropout: a network draws the same chance with this head as without.
    """

    scale: Tensor

    def __init__(self, width: int, steps: Steps) -> None:
        super().__init__()
        self.steps = steps
        self.own = nn.Linear(width, width)
        self.whole = nn.Linear(width, width, bias=False)
        self.branch = nn.Linear(width, FUNCTIONS)
        self.level = nn.Linear(width, 1)
        self.trunk = nn.Sequential(
            nn.Linear(2 * HARMONICS + 1, TRUNK_WIDTH), nn.GELU(), nn.Linear(TRUNK_WIDTH, FUNCTIONS)
        )  # fmt: skip
        self.register_buffer("scale", torch.tensor([0.0, 1.0]))

    def set_scale(self, mean: float, spread: float) -> None:
        """Tell mean and standard deviation of the reference in its unit."""
        self.scale.copy_(torch.tensor([mean, spread]))

    def basis(self, s: Tensor, steps: int) -> Tensor:
        """Return the trunk at times s (S,) of so many steps: (S, N, P).

        Before the first step and after the last one that step alone speaks.
        """
        q = (s - self.steps.first) / self.steps.step
        # Steps are some at most: a table of all pairs is smaller than the gather and its way back would be.
        number = torch.arange(steps, device=s.device, dtype=s.dtype)
        hat = (1.0 - (q.clamp(0, steps - 1)[:, None] - number).abs()).clamp(min=0.0)
        local = (q[:, None] - number).clamp(-2.0, 2.0)
        functions: Tensor = self.trunk(_harmonics(local))
        return hat.unsqueeze(2) * functions

    def forward(self, tokens: Tensor, pooled: Tensor, s: Tensor) -> Tensor:
        """Return the waveform (B, S) of time tokens (B, N, D) and pooled tokens (B, D) at times s (S,), each in [0, 1]."""
        basis = self.basis(s.to(tokens), tokens.shape[1])
        branch = self.branch(functional.gelu(self.own(tokens) + self.whole(pooled).unsqueeze(1)))
        told = branch.flatten(1) @ basis.flatten(1).to(branch.dtype).T
        return torch.add(told, self.level(pooled))

    def in_units(self, waveform: Tensor) -> Tensor:
        """Return a scaled waveform in the unit of the reference."""
        return waveform * self.scale[1] + self.scale[0]


def _harmonics(u: Tensor) -> Tensor:
    """Return u and sin, cos of πku, k = 1 … K: (…, 2K + 1)."""
    k = torch.pi * torch.arange(1, HARMONICS + 1, device=u.device, dtype=u.dtype)
    angle = u.unsqueeze(-1) * k
    return torch.cat([u.unsqueeze(-1), torch.sin(angle), torch.cos(angle)], dim=-1)
