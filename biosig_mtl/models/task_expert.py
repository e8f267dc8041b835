"""Experts that every task assembles anew for each window, with a memory of each task as one expert more.

Source: Ye & Xu, "TaskExpert: Dynamically Assembling Multi-Task Representations with Memorial Mixture-of-Experts", ICCV 2023
(arXiv 2307.15324), as its abstract describes it:

    f_t = Σ_e G_t(x)_e E_e(h) + G_t(x)_{E+1} m_t;   m_t ← update(m_t, f_t)

Follows the source: experts decompose shared features into several that belong to no task; a gate of each task weighs them
window by window; a memory of each task goes through the layers, joins the experts and takes up what each layer found.

Ours, as the full text was not at hand: an expert is a bottleneck D → D/2 → D on each token (the source works on images, but a
convolution over a row in which feature tokens follow time steps has no meaning); G_t = softmax(W_t [pool h ; m_t]); the memory
starts as a learnt token of the task and is updated by m_t ← LN_t(m_t + U_t f_t); the next layer reads h + mean_e E_e(h), as
there is no next stage of a backbone to read; the last memory is the embedding of the task.

Mixing is linear and a gate is one number a window, so experts are pooled before they are mixed: the same numbers for less work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, StackedLinear, StackedNorm
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec

START_SCALE = 0.02  # standard deviation of the memories at birth: small, so that the first layer speaks of the window


@dataclass(frozen=True)
class TaskExpertSettings(NetworkSettings):
    """Settings of the assembly: ``experts`` is E, ``layers`` how often the memory is updated."""

    experts: int = 4
    layers: int = 2

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.experts < 1 or self.layers < 1:
            raise ValueError(f"need experts and layers >= 1, got {self.experts}, {self.layers}")


@dataclass(frozen=True)
class Assembled:
    """What a layer leaves: shared ``tokens`` (B, N, D), ``memory`` (T, B, D), ``gates`` (T, B, E + 1) with the memory last."""

    tokens: Tensor
    memory: Tensor
    gates: Tensor


class MemorialLayer(nn.Module):
    """One memorial mixture of experts."""

    def __init__(self, tasks: int, width: int, experts: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = StackedLinear(experts, width, width // 2)
        self.drop = FeatureDropout(dropout)
        self.up = StackedLinear(experts, width // 2, width)
        self.gates = StackedLinear(tasks, 2 * width, experts + 1)
        self.update = StackedLinear(tasks, width, width)
        self.settled = StackedNorm(tasks, width)

    def forward(self, tokens: Tensor, memory: Tensor, pool: TokenPool) -> Assembled:
        """Assemble f_t from tokens (B, N, D) and memory (T, B, D), and take it up into the memory."""
        views = self.up(self.drop(functional.gelu(self.down(self.norm(tokens)[None]))))
        gates = self._gates(pool(tokens), memory)
        found = torch.einsum("tbe,ebd->tbd", gates[..., :-1], pool(views, 1)) + gates[..., -1:] * memory
        kept = self.settled((memory + self.update(found[:, :, None])[:, :, 0])[:, :, None])[:, :, 0]
        return Assembled(tokens + views.mean(0), kept, gates)

    def _gates(self, pooled: Tensor, memory: Tensor) -> Tensor:
        asked = torch.cat([pooled.expand_as(memory), memory], dim=-1)
        return torch.softmax(self.gates(asked[:, :, None])[:, :, 0], dim=-1)


class Assembly(Body):
    """Layers of experts and memories; shows the gates of the last layer as ``experts.<target>`` (B, E + 1).

    ``gates`` (B, T) are what the experts of the last layer, which all tasks share, weigh together.
    """

    def __init__(self, targets: tuple[str, ...], settings: TaskExpertSettings) -> None:
        super().__init__()
        s = settings
        self.targets, self.width = targets, s.width
        self.start = nn.Parameter(START_SCALE * torch.randn(len(targets), 1, s.width))
        self.layers = nn.ModuleList([MemorialLayer(len(targets), s.width, s.experts, s.dropout) for _ in range(s.layers)])
        columns = (*(f"expert {e + 1}" for e in range(s.experts)), "memory")
        self.shown = {f"experts.{target}": columns for target in targets}

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return the last memories (B, T, D)."""
        made: Assembled = self.layers[0](tokens, self.start.expand(-1, tokens.shape[0], -1), pool)
        for layer in self.layers[1:]:
            made = layer(made.tokens, made.memory, pool)
        return Joint(
            made.memory.transpose(0, 1),
            gates=made.gates[..., :-1].sum(-1).transpose(0, 1),
            weights={f"experts.{target}": gate for target, gate in zip(self.targets, made.gates, strict=True)},
        )


def task_expert(settings: TaskExpertSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, Assembly(spec.targets, settings))
