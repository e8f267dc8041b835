"""Knowledge extraction through a bottleneck: tasks hear of each other only what a few latent slots hold.

Source: Zhang et al., "SGW-based Multi-Task Learning in Vision Tasks", ACCV 2024 (arXiv 2410.03778), as its abstract describes
it: cross-attention between tasks lets noise through; a knowledge extraction module (KEM) limits the flow of information by a
bottleneck; before it, features are projected into the space of a simplex equiangular tight frame (ETF) for a stable selection.

    z_t = LN_t(W_t H)                                        (B, N, D)   what task t makes of the tokens
    c_t = Fᵀ z̄_t                                             (B, N, E)   z̄: centred, of length 1; F the fixed frame
    s_m = Σ_{t,n} softmax_{t,n}(q_m · c_t)  V z_t            (B, M, D)   slots write down what they select from all tasks
    u_t = LN_t(z_t + MHA_t(z_t, s, s));  u_t = LN_t(u_t + FFN_t(u_t))   tasks read the slots back
    e_t = pool u_t

Follows the source: task sets → fixed frame → selection into a bottleneck → reading back. Ours, as the full text was not at
hand: the equations above; the frame serves the selection alone, what is written keeps all D features (E of them would lose
most); reading back is the cross-attention of our merge. The frame is made of cosines, so it needs no chance, and is orthogonal
to the constant vector, which centred features have no part in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, StackedLinear, StackedNorm
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class KemSettings(NetworkSettings):
    """Settings of the extraction: ``slots`` is M, ``vertices`` is E, ``heads`` are those of reading back."""

    slots: int = 8
    vertices: int = 8
    heads: int = 2

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.slots < 1:
            raise ValueError(f"need slots >= 1, got {self.slots}")
        if not 2 <= self.vertices <= self.width:
            raise ValueError(f"need 2 <= vertices <= width, got {self.vertices}, {self.width}")
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f"need heads >= 1 that divide width, got {self.heads}, {self.width}")


def simplex_frame(width: int, vertices: int) -> Tensor:
    """Return the fixed frame F (D, E): E unit vectors, any two at the inner product −1/(E − 1), all with mean 0.

    E vertices of a simplex span E − 1 dimensions: they are made there of cosines, then put on the slowest E − 1 cosines of D.
    """
    corners = math.sqrt(vertices / (vertices - 1)) * _cosines(vertices, vertices - 1).T
    return (_cosines(width, vertices - 1) @ corners).float()


def _cosines(n: int, count: int) -> Tensor:
    """Return orthonormal columns (n, count), orthogonal to the constant: the DCT-II without its first vector."""
    place = torch.arange(n, dtype=torch.float64)[:, None] + 0.5
    rate = torch.arange(1, count + 1, dtype=torch.float64)
    return math.sqrt(2.0 / n) * torch.cos(math.pi / n * place * rate)


@dataclass(frozen=True)
class Written:
    """What is in the slots (B, M, D), and the share that came from each task (B, T)."""

    slots: Tensor
    shares: Tensor


class Writing(nn.Module):
    """Slots select from the tokens of all tasks, in the space of the frame; no task has parameters of its own here."""

    frame: Tensor

    def __init__(self, settings: KemSettings) -> None:
        super().__init__()
        s = settings
        self.register_buffer("frame", simplex_frame(s.width, s.vertices), persistent=False)
        self.queries = nn.Parameter(torch.randn(s.slots, s.vertices))
        self.values = nn.Linear(s.width, s.width)

    def forward(self, sets: Tensor) -> Written:
        """Fill the slots from task sets (T, B, N, D)."""
        by_window = sets.transpose(0, 1)
        unit = functional.layer_norm(by_window, by_window.shape[-1:]) / math.sqrt(by_window.shape[-1])
        scores = (unit.flatten(1, 2) @ self.frame) @ self.queries.T
        taken = torch.softmax(scores, dim=1).transpose(1, 2)
        slots = self.values(taken @ by_window.flatten(1, 2))
        shares = taken.reshape(*taken.shape[:2], *by_window.shape[1:3]).sum(3).mean(1)
        return Written(slots, shares)


class Reading(nn.Module):
    """Each task reads the slots back: task sets (T, B, N, D) and slots (B, M, D) → (T, B, N, D)."""

    def __init__(self, tasks: int, settings: KemSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.queries = StackedLinear(tasks, width, width)
        self.keys = StackedLinear(tasks, width, width)
        self.values = StackedLinear(tasks, width, width)
        self.out = StackedLinear(tasks, width, width)
        self.wide = StackedLinear(tasks, width, 2 * width)
        self.narrow = StackedLinear(tasks, 2 * width, width)
        self.norms = nn.ModuleList([StackedNorm(tasks, width), StackedNorm(tasks, width)])
        self.drop = FeatureDropout(settings.dropout)

    def forward(self, sets: Tensor, slots: Tensor) -> Tensor:
        """Add to every token what its task reads."""
        held = slots[None]
        asked = self._attend(self.queries(sets), self.keys(held), self.values(held))
        fused = self.norms[0](sets + self.drop(self.out(asked)))
        added: Tensor = self.drop(self.narrow(functional.relu(self.wide(fused))))
        made: Tensor = self.norms[1](fused + added)
        return made

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # As in `blocks.attend`, for fewer slots than tokens: the softmax is better exact.
        width = v.shape[-1]
        with torch.autocast(v.device.type, enabled=False):
            exact = v.dtype if v.dtype == torch.float64 else torch.float32
            cut = [x.to(exact).reshape(-1, x.shape[2], self.heads, width // self.heads).transpose(1, 2) for x in (q, k, v)]
            mixed = functional.scaled_dot_product_attention(cut[0], cut[1], cut[2])
        return mixed.transpose(1, 2).flatten(2).view_as(q)


class Bottleneck(Body):
    """Task sets → slots → task sets; shows as ``slots`` (B, T) which tasks the slots were filled from."""

    def __init__(self, targets: tuple[str, ...], settings: KemSettings) -> None:
        super().__init__()
        tasks, self.width = len(targets), settings.width
        self.own = StackedLinear(tasks, settings.width, settings.width)
        self.norm = StackedNorm(tasks, settings.width)
        self.writing = Writing(settings)
        self.reading = Reading(tasks, settings)
        self.shown = {"slots": targets}

    def sets(self, tokens: Tensor) -> Tensor:
        """Return what each task makes of tokens (B, N, D), (T, B, N, D)."""
        made: Tensor = self.norm(self.own(tokens[None]))
        return made

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return one embedding a task (B, T, D)."""
        sets = self.sets(tokens)
        written: Written = self.writing(sets)
        read = self.reading(sets, written.slots)
        return Joint(pool(read, 1).transpose(0, 1), weights={"slots": written.shares})


def kem(settings: KemSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, Bottleneck(spec.targets, settings))
