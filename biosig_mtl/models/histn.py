"""HiSTN as a tiny comparator: a hierarchical spatio-temporal network on the EEG, about a thousand parameters.

Written anew from what its paper and code are said to do (Kuang & Michoski, arXiv 2408.15255): a temporal convolution of each
electrode, graph convolutions over electrodes, then of four regions, then of the whole head, their answers averaged and side by
side. What is ours: edges from the places of electrodes in place of a fixed table of 14, so that it takes any montage; the
log power in place of a nonlinearity after the temporal convolution; every task has a linear head on the same trunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.answers import Answers
from biosig_mtl.models.blocks import StackedLinear
from biosig_mtl.models.classes import outputs_of
from biosig_mtl.models.electrodes import PowerBands, places
from biosig_mtl.types import Batch, InputSpec, Output

REACH = 0.6  # of the edges, on the unit sphere: the distance at which an edge weighs exp(−½)
REGIONS = 4


@dataclass(frozen=True)
class HistnSettings:
    """Settings of HiSTN: ``filters`` temporal filters, ``width`` features of a node, Chebyshev polynomials below ``order``.

    ``stride`` is the number of samples per time step.
    """

    filters: int = 6
    width: int = 8
    order: int = 3
    stride: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if min(self.filters, self.width, self.order) < 1:
            raise ValueError(f"need filters, width and order >= 1, got {self.filters}, {self.width}, {self.order}")
        if self.stride < 8 or self.stride % 8:
            raise ValueError(f"need stride a multiple of 8, got {self.stride}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"need 0 <= dropout < 1, got {self.dropout}")


def regions(where: Tensor) -> Tensor:
    """Return which region each electrode (C, 3) belongs to, as shares (4, C): front, left, right, back by angle from above.

    The four quarters of the head lie round the diagonals; an electrode on the vertex, or of unknown place, is in all of them.
    """
    x, y = where[:, 0], where[:, 1]
    near = torch.stack([y - x.abs(), -x - y.abs(), x - y.abs(), -y - x.abs()])
    middle = (where[:, :2].abs() < 1e-6).all(1)
    return torch.where(middle, torch.ones_like(near), (near >= near.max(0).values - 1e-6).to(where.dtype))


def scaled_laplacian(where: Tensor, present: Tensor) -> Tensor:
    """Return 2 L / λ_max − 1 with λ_max = 2, i.e. −D^−½ A D^−½, of the electrodes present (B, C): (B, C, C)."""
    distance_squared = (where[:, None] - where).square().sum(2)
    edges = torch.exp(-0.5 * distance_squared / REACH**2) * (1.0 - torch.eye(len(where), device=where.device))
    both = present[:, :, None] & present[:, None, :]
    held = edges * both
    degree = held.sum(2).clamp(min=1e-6).rsqrt()
    return -degree[:, :, None] * held * degree[:, None, :]


class ChebyshevConv(nn.Module):
    """Σ_k T_k(L̃) X W_k with Chebyshev polynomials T_k (Defferrard et al. 2016); nodes (B, C, N, F) → (B, C, N, D)."""

    def __init__(self, order: int, inputs: int, width: int) -> None:
        super().__init__()
        self.order = order
        self.map = nn.Linear(order * inputs, width)

    def forward(self, x: Tensor, laplacian: Tensor) -> Tensor:
        """Convolve over the graph."""
        terms = [x]
        for k in range(1, self.order):
            turned = torch.einsum("bij,bjnf->binf", laplacian, terms[-1])
            terms.append(turned if k == 1 else 2.0 * turned - terms[-2])
        out: Tensor = self.map(torch.cat(terms, dim=3))
        return functional.elu(out)


class Histn(nn.Module):
    """Temporal filters → graph of electrodes → regions → head; the EEG track alone."""

    places: Tensor
    regions: Tensor

    def __init__(self, settings: HistnSettings, spec: InputSpec) -> None:
        super().__init__()
        s = settings
        self.settings, self.spec = s, spec
        eeg = next((track for track in spec.tracks if track.name == "eeg"), None)
        if eeg is None:
            raise ValueError("need a track 'eeg': it looks at nothing else")
        where = places(eeg.channels)
        self.register_buffer("places", where, persistent=False)
        self.register_buffer("regions", regions(where), persistent=False)
        self.power = PowerBands(s.stride, eeg.fs, s.filters)
        self.electrodes = ChebyshevConv(s.order, s.filters, s.width)
        self.quarters = ChebyshevConv(1, s.width, s.width)
        self.head = nn.Linear(REGIONS * s.width, s.width)
        self.drop = nn.Dropout(s.dropout)
        self.last = StackedLinear(len(spec.targets), 3 * s.width, outputs_of(spec.head))
        self.answers = Answers(spec, linear_skip=False, min_pulse_pressure=None)

    @property
    def uses_waveform(self) -> bool:
        """It never looks at the waveform."""
        return False

    @property
    def uses_tracks(self) -> tuple[str, ...]:
        """The EEG alone."""
        return ("eeg",)

    @property
    def shown(self) -> dict[str, tuple[str, ...]]:
        """It has no weights to show."""
        return {}

    def forward(self, batch: Batch) -> Output:
        """Return predictions (B, T) in scaled units."""
        present = batch.present["eeg"]
        here = present.to(batch.tracks["eeg"].dtype)
        power = self.power(batch.tracks["eeg"]) * here[:, :, None, None]
        nodes = self.electrodes(power, scaled_laplacian(self.places, present)) * here[:, :, None, None]
        members = self.regions * here[:, None, :]
        count = members.sum(2, keepdim=True)
        areas = torch.einsum("bqc,bcnd->bqnd", members / count.clamp(min=1.0), nodes)
        areas = self.quarters(areas, areas.new_zeros(0)) * (count > 0).to(here.dtype)[..., None]
        alive = (count[..., 0] > 0).to(here.dtype).sum(1).clamp(min=1.0)[:, None]
        head = functional.elu(self.head(areas.transpose(1, 2).flatten(2)))
        seen = [nodes.sum(1).mean(1) / here.sum(1).clamp(min=1.0)[:, None], areas.sum(1).mean(1) / alive, head.mean(1)]
        stacked = self.drop(torch.cat(seen, dim=1)).expand(len(self.spec.targets), 1, -1, -1).transpose(1, 2)
        said = self.last(stacked)[:, :, 0].transpose(0, 1)
        predictions, logits = self.answers(said[..., 0] if said.shape[-1] == 1 else said, batch)
        return Output(predictions, logits=logits)
