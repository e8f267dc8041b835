"""Task FiLM: hard sharing in which each task scales and shifts what is shared. The cheapest network with a word for the task.

    e_t (code of the task) → [Δγ_t ; β_t] = W e_t;   x_t = (1 + Δγ_t) ⊙ x + β_t

Follows the source: feature-wise linear modulation, one gain and one offset a feature, both made from what is conditioned on
(Perez et al., FiLM, AAAI 2018, eq. 1-2); that a task code makes parameters near the bottom of the network is the idea of DTRN
(Liu et al., CIKM 2023, see `biosig_mtl.models.dtrn`). Ours: it is put between layers of a shared trunk; W has no offset, since
an offset would be common to all tasks; W is born as zero, so every task begins as hard sharing does. Codes then have no
gradient before the first step. Pooling is linear: with no layers at all, modulating tokens or their pool would be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from biosig_mtl.models.cross_stitch import ColumnLayer
from biosig_mtl.models.hard_sharing import TrunkLayer
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec

FilmAt = Literal["tokens", "pooled"]
After = Literal["shared", "own", "none"]


@dataclass(frozen=True)
class TaskFilmSettings(NetworkSettings):
    """Settings of task FiLM.

    ``film_at`` says whether all of the trunk works on each token, to be pooled at its end, or on the pool. ``trunk_layers``
    shared layers come before the modulation; ``after`` is the layer behind it: one for all tasks, one for each, or none.
    ``code_size`` is the length of a task's code.
    """

    code_size: int = 16
    trunk_layers: int = 1
    film_at: FilmAt = "tokens"
    after: After = "shared"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.code_size < 1 or self.trunk_layers < 0:
            raise ValueError(f"need code_size >= 1 and trunk_layers >= 0, got {self.code_size}, {self.trunk_layers}")
        if self.film_at not in get_args(FilmAt):
            raise ValueError(f"need film_at in {', '.join(get_args(FilmAt))}, got {self.film_at}")
        if self.after not in get_args(After):
            raise ValueError(f"need after in {', '.join(get_args(After))}, got {self.after}")


class Film(nn.Module):
    """(B, N, D) → (T, B, N, D): a gain and an offset for every task and feature; born as identity."""

    def __init__(self, tasks: int, width: int, code_size: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(tasks, code_size))
        self.map = nn.Linear(code_size, 2 * width, bias=False)
        nn.init.zeros_(self.map.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Modulate."""
        gain, offset = self.map(self.codes)[:, None, None].chunk(2, dim=-1)
        made: Tensor = (1.0 + gain) * x + offset
        return made


class FilmedTrunk(Body):
    """Shared layers → FiLM a task → a layer → one embedding a task; pooled before all, or after all."""

    def __init__(self, tasks: int, settings: TaskFilmSettings) -> None:
        super().__init__()
        s = settings
        self.width, self.film_at = s.width, s.film_at
        self.trunk = nn.Sequential(*(TrunkLayer(s.width, s.dropout) for _ in range(s.trunk_layers)))
        self.film = Film(tasks, s.width, s.code_size)
        self.after: nn.Module = nn.Identity()
        if s.after != "none":
            self.after = TrunkLayer(s.width, s.dropout) if s.after == "shared" else ColumnLayer(tasks, s.width, s.dropout)

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return one embedding a task (B, T, D)."""
        x = tokens if self.film_at == "tokens" else pool(tokens).unsqueeze(1)
        made: Tensor = self.after(self.film(self.trunk(x)))
        pooled = pool(made, 1) if self.film_at == "tokens" else made.squeeze(2)
        return Joint(pooled.transpose(0, 1))


def task_film(settings: TaskFilmSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, FilmedTrunk(len(spec.targets), settings))
