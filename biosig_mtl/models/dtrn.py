"""DTRN: bottoms of their own for each task, made by one small network from the code of the task.

Written from the abstract of its paper (Liu et al., Deep task-specific bottom representation network for multi-task
recommendation, CIKM 2023, arXiv 2308.05996); the full text and its sizes were not used. Two parts come one after the other:

    C_tg, b_tg = Hyper([e_t ; e_g]);   x_tn = h_n + U ReLU(C_tg V h_n + b_tg)        g: the group that token n belongs to
    x̃_tg = σ(W2_t ReLU(W1_t pool(x_t)))_g · x_tg

Follows the source: a hypernetwork with few parameters makes, from a task and the kind of behaviour, the parameters of what
extracts interest; then a squeeze-and-excitation gate of every task weighs the fields (Hu et al., CVPR 2018, section 3, is the
form of the gate). Ours: groups of tokens (waveform, a track, a family of features) stand for kinds of behaviour and for
fields; the extractor is a low-rank map of each token by itself, of which only the core C (rank × rank) and b are made, and U
and V are common; the gate squeezes by the pool of the network; behind the bottoms stands the trunk of hard sharing.
``gate_acts: features`` weighs the D features of the embedding in place of groups, as in the original gate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.hard_sharing import TrunkLayer
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.models.tokens import Group
from biosig_mtl.types import InputSpec

GateActs = Literal["groups", "features"]


@dataclass(frozen=True)
class DtrnSettings(NetworkSettings):
    """Settings of DTRN: codes of ``code_size``, extractors of ``rank``, gates with a hidden layer of D / ``reduction``, at
    least 4, and ``trunk_layers`` shared layers behind the bottoms.
    """

    code_size: int = 16
    rank: int = 8
    reduction: int = 4
    gate_acts: GateActs = "groups"
    trunk_layers: int = 1

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if min(self.code_size, self.rank, self.reduction) < 1 or self.trunk_layers < 0:
            given = f"{self.code_size}, {self.rank}, {self.reduction}, {self.trunk_layers}"
            raise ValueError(f"need code_size, rank and reduction >= 1 and trunk_layers >= 0, got {given}")
        if self.gate_acts not in get_args(GateActs):
            raise ValueError(f"need gate_acts in {', '.join(get_args(GateActs))}, got {self.gate_acts}")


@dataclass(frozen=True)
class Row:
    """The groups of a row of tokens by name, with the number of tokens of each; 0 stands for those that are left (waveform).

    >>> Row(("waveform", "hr"), (0, 1)).counts(5)
    (4, 1)
    """

    names: tuple[str, ...]
    tokens: tuple[int, ...]

    def counts(self, n: int) -> tuple[int, ...]:
        """Return how many of ``n`` tokens each group has."""
        return tuple(count or n - sum(self.tokens) for count in self.tokens)

    def spread(self, x: Tensor, axis: int, n: int) -> Tensor:
        """Repeat entries of groups along ``axis`` for each of their tokens: (…, G, …) → (…, n, …)."""
        shape = [-1] * x.ndim
        wide = []
        for i, count in enumerate(self.counts(n)):
            shape[axis] = count
            wide.append(x.narrow(axis, i, 1).expand(shape))
        return torch.cat(wide, dim=axis)


def row_of(groups: tuple[Group, ...], features: tuple[str, ...]) -> Row:
    """Return the names of the groups of tokens: ``waveform``, ``track.<modality>``, or the family of features."""

    def name(group: Group) -> str:
        if group.track:
            return f"track.{group.track}"
        return features[group.columns[0]].partition(".")[0] if group.columns else group.modality

    return Row(tuple(name(group) for group in groups), tuple(group.tokens for group in groups))


class Extractor(nn.Module):
    """h + U ReLU(C_tg V h + b_tg), C and b made from codes of task and group; (B, N, D) → (T, B, N, D)."""

    def __init__(self, tasks: int, row: Row, settings: DtrnSettings) -> None:
        super().__init__()
        s = settings
        self.row, self.rank = row, s.rank
        self.task_codes = nn.Parameter(torch.randn(tasks, s.code_size))
        self.group_codes = nn.Parameter(torch.randn(len(row.names), s.code_size))
        self.hyper = nn.Linear(2 * s.code_size, s.rank * (s.rank + 1))
        self.down = nn.Linear(s.width, s.rank, bias=False)
        self.up = nn.Linear(s.rank, s.width)

    def cores(self) -> Tensor:
        """Return [C | b] of every task and group, (T, G, rank, rank + 1), scaled by 1/√rank as the sum over rank asks for."""
        t, g = len(self.task_codes), len(self.group_codes)
        tasks, groups = self.task_codes[:, None].expand(-1, g, -1), self.group_codes[None].expand(t, -1, -1)
        made: Tensor = self.hyper(torch.cat([tasks, groups], dim=-1)) / math.sqrt(self.rank)
        return made.view(t, g, self.rank, self.rank + 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Extract what each task is interested in."""
        own = self.row.spread(self.cores(), 1, tokens.shape[1])
        core, offset = own[..., :-1], own[..., -1]
        inner = torch.einsum("tnij,bnj->tbni", core, self.down(tokens)) + offset[:, None]
        made: Tensor = tokens + self.up(functional.relu(inner))
        return made


class Gate(nn.Module):
    """σ(W2 ReLU(W1 x)) of every task; pooled (T, B, D) → (T, B, n)."""

    def __init__(self, tasks: int, width: int, hidden: int, n: int) -> None:
        super().__init__()
        self.squeeze = StackedLinear(tasks, width, hidden)
        self.excite = StackedLinear(tasks, hidden, n)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return gates in (0, 1)."""
        said: Tensor = self.excite(functional.relu(self.squeeze(pooled.unsqueeze(2))))
        return torch.sigmoid(said.squeeze(2))


class OwnBottoms(Body):
    """Tokens → extractor and gate of each task → pool → shared trunk → one embedding a task.

    ``fields.<target>`` shows the gates (B, G) where they weigh groups of tokens.
    """

    def __init__(self, targets: tuple[str, ...], row: Row, settings: DtrnSettings) -> None:
        super().__init__()
        s, tasks = settings, len(targets)
        self.width, self.targets, self.row = s.width, targets, row
        self.by_group = s.gate_acts == "groups"
        self.extractor = Extractor(tasks, row, s)
        self.gate = Gate(tasks, s.width, max(s.width // s.reduction, 4), len(row.names) if self.by_group else s.width)
        self.trunk = nn.Sequential(*(TrunkLayer(s.width, s.dropout) for _ in range(s.trunk_layers)))
        self.shown = {f"fields.{target}": row.names for target in targets} if self.by_group else {}

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return one embedding a task (B, T, D), and the gates of groups."""
        x = self.extractor(tokens)
        pooled = pool(x, 1)
        gates = self.gate(pooled)
        weights: dict[str, Tensor] = {}
        if self.by_group:
            weights = dict(zip(self.shown, gates.unbind(0), strict=True))
            pooled = pool(x * self.row.spread(gates, 2, tokens.shape[1])[..., None], 1)
        else:
            pooled = gates * pooled  # a gate that is the same for all tokens may as well follow their pool
        return Joint(self.trunk(pooled).transpose(0, 1), weights=weights)


def dtrn(settings: DtrnSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    row = row_of(tokens.groups, spec.features)
    return Network(settings, spec, tokens, OwnBottoms(spec.targets, row, settings))
