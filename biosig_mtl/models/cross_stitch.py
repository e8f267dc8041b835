"""Cross-stitch: one column of layers for each task, and learnt numbers that say how much of each column the others take.

Follows the source (Misra et al., Cross-stitch networks for multi-task learning, CVPR 2016, eq. 1): after a layer, activations
of all columns are mixed linearly at every place, with weights learnt end to end,

    x̃_t = Σ_r α_tr x_r.

Ours: the columns begin after the tokens, since all rivals read windows by one encoder (the source has a whole network for each
task); layers are residual per-token layers; a unit follows every layer; α is born 0.9 on the diagonal and 0.1 / (T − 1) beside
it, 1 where there is one task, and learns at the pace of all other weights, without decay; columns start from chance, not from
trained single-task networks; any number of tasks. Nothing keeps α within 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.blocks import FeatureDropout, StackedLinear, StackedNorm
from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec

Stitch = Literal["column", "feature"]
OWN = 0.9  # share of its own column that a task is born with


@dataclass(frozen=True)
class CrossStitchSettings(NetworkSettings):
    """Settings of cross-stitch: ``layers`` in a column, each followed by a unit.

    ``stitch: column`` has one T × T matrix a layer, ``feature`` one for each of the D features of a token.
    """

    layers: int = 2
    stitch: Stitch = "column"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"need layers >= 1, got {self.layers}")
        if self.stitch not in get_args(Stitch):
            raise ValueError(f"need stitch in {', '.join(get_args(Stitch))}, got {self.stitch}")


class ColumnLayer(nn.Module):
    """x + MLP_t(LN_t(x)) with weights of its own for each of ``n`` columns; (n, B, N, D) → the same."""

    def __init__(self, n: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = StackedNorm(n, width)
        self.wide = StackedLinear(n, width, 2 * width)
        self.drop = FeatureDropout(dropout)
        self.narrow = StackedLinear(n, 2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add the layer's answer to its input; an input (1, B, N, D) is sent through every column."""
        added: Tensor = self.narrow(self.drop(functional.gelu(self.wide(self.norm(x)))))
        return x + added


class StitchUnit(nn.Module):
    """x̃_t = Σ_r α_tr x_r; (T, B, N, D) → the same. ``alpha`` is (T, T, 1), or (T, T, D) with one matrix a feature."""

    def __init__(self, tasks: int, features: int) -> None:
        super().__init__()
        own = torch.eye(tasks)
        beside = (1.0 - own) * (1.0 - OWN) / max(tasks - 1, 1)
        born = OWN * own + beside if tasks > 1 else own
        self.alpha = nn.Parameter(born[..., None].repeat(1, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the columns."""
        return torch.einsum("trd,rbnd->tbnd", self.alpha.expand(-1, -1, x.shape[-1]).to(x.dtype), x)


class StitchedColumns(Body):
    """Tokens → T columns of layers, each followed by a unit → pool → one embedding a task.

    ``stitch.<layer>.<target>`` shows what a task takes of each column, (B, T): α, as a mean over features, the same for every
    window.
    """

    def __init__(self, targets: tuple[str, ...], settings: CrossStitchSettings) -> None:
        super().__init__()
        s, tasks = settings, len(targets)
        self.width, self.targets = s.width, targets
        self.layers = nn.ModuleList(ColumnLayer(tasks, s.width, s.dropout) for _ in range(s.layers))
        self.units = nn.ModuleList(StitchUnit(tasks, s.width if s.stitch == "feature" else 1) for _ in range(s.layers))
        self.shown = {name: targets for layer in range(s.layers) for name in self._names(layer)}

    def _names(self, layer: int) -> list[str]:
        return [f"stitch.{layer + 1}.{target}" for target in self.targets]

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return one embedding a task (B, T, D), and the mixing weights."""
        x = tokens.expand(len(self.targets), *tokens.shape)
        weights: dict[str, Tensor] = {}
        for i, (layer, unit) in enumerate(zip(self.layers, self.units, strict=True)):
            x = unit(layer(x))
            taken = cast("StitchUnit", unit).alpha.mean(2)
            rows = taken[:, None].expand(-1, tokens.shape[0], -1)
            weights.update(zip(self._names(i), rows.unbind(0), strict=True))
        return Joint(pool(x, 1).transpose(0, 1), weights=weights)


def cross_stitch(settings: CrossStitchSettings, spec: InputSpec) -> Network:
    """Make the network."""
    tokens = tokens_of(settings, spec)
    return Network(settings, spec, tokens, StitchedColumns(spec.targets, settings))
