"""What a network knows of a head with electrodes on it: where they lie, and which of them to listen to.

Nothing here counts electrodes: every parameter is shared by all of them, and their places are told by name. A network that was
trained with 14 electrodes can therefore be given 32 others; its weights fit, its places (buffers that are not saved) are new.
The idea of attention over sensor positions is that of Défossez et al. (Nature Machine Intelligence 5, 2023, "spatial
attention"); that it also looks at what the electrodes measure, and the rest, is ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.montage import position

HIDDEN = 16  # size of an electrode's place code
FILTERS = 4  # spatial filters; each listens to all electrodes with weights that sum to 1
LOW_HZ, HIGH_HZ = 2.0, 45.0
CYCLES = 3.3  # of a wave under its window
PARTS = 3  # a feature of one electrode is named family.quantity.electrode, or family.quantity.electrode.relation


def places(names: tuple[str, ...]) -> Tensor:
    """Return the places of electrodes on the unit sphere (C, 3), zero (the middle of the head) where a name is not known."""
    found = [position(name) or (0.0, 0.0, 0.0) for name in names]
    return torch.from_numpy(np.array(found, np.float32).reshape(-1, 3))


def filters_of(width: int) -> int:
    """Return the number of spatial filters for tokens of that width."""
    return min(FILTERS, width)


class ElectrodePool(nn.Module):
    """Attention over electrodes; content (B, C, N, F) and present (B, C) → tokens (B, N, D) and shares (B, C).

        k_c = tanh(W mean_N(x_c) + MLP(place_c));   a_s = softmax over present electrodes of u_s · k_c
        token_n = V [Σ_c a_sc x_cn ; Σ_c a_sc MLP(place_c)] over all filters s

    The shares are the mean of a over filters: how much each electrode is listened to. They are zero where there is none.
    """

    places: Tensor

    def __init__(self, names: tuple[str, ...], inputs: int, width: int) -> None:
        super().__init__()
        filters = filters_of(width)
        self.register_buffer("places", places(names), persistent=False)
        self.place = nn.Sequential(nn.Linear(3, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN))
        self.content = nn.Linear(inputs, HIDDEN)
        self.score = nn.Linear(HIDDEN, filters, bias=False)
        self.out = nn.Linear(filters * (inputs + HIDDEN), width)

    def forward(self, content: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over electrodes."""
        where = self.place(self.places.to(content.dtype))
        scores = self.score(torch.tanh(self.content(content.mean(2)) + where))
        heard = present.unsqueeze(-1)
        low = torch.finfo(scores.dtype).min / 2
        # Without any electrode the softmax is even; what is multiplied by it is zero then, and so are the shares.
        shares = torch.softmax(scores.masked_fill(~heard, low), dim=1) * heard
        b, _, n, _ = content.shape
        seen = torch.einsum("bcs,bcnf->bnsf", shares, content).flatten(2)
        places_seen = torch.einsum("bcs,ch->bsh", shares, where).flatten(1)
        tokens: Tensor = self.out(torch.cat([seen, places_seen.unsqueeze(1).expand(b, n, -1)], dim=2))
        return tokens, shares.mean(2)


def per_electrode(features: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]]:
    """Return the families that have the same quantities of every electrode: {family: (electrodes, columns by electrode)}.

    >>> per_electrode(("eeg_de.alpha.F3", "eeg_de.beta.F3", "eeg_de.alpha.Cz", "eeg_de.beta.Cz", "hr.mean"))
    {'eeg_de': (('F3', 'Cz'), ((0, 1), (2, 3)))}
    """
    by_family: dict[str, dict[str, dict[str, int]]] = {}
    odd = set()
    for column, name in enumerate(features):
        words = name.split(".")
        if len(words) >= PARTS and position(words[2]) is not None:
            quantity = ".".join([words[1], *words[PARTS:]])
            by_family.setdefault(words[0], {}).setdefault(words[2], {})[quantity] = column
        else:
            odd.add(words[0])
    found = {}
    for family, electrodes in by_family.items():
        quantities = next(iter(electrodes.values())).keys()
        if family not in odd and all(columns.keys() == quantities for columns in electrodes.values()):
            rows = tuple(tuple(columns[q] for q in quantities) for columns in electrodes.values())
            found[family] = (tuple(electrodes), rows)
    return found


class ElectrodeFeatures(nn.Module):
    """One token for a family with the same quantities of every electrode; (B, F), (B, F) → (B, 1, D) and shares (B, C).

    An electrode without any value counts as absent. The order of quantities is that of the features.
    """

    columns: Tensor

    def __init__(self, electrodes: tuple[str, ...], columns: tuple[tuple[int, ...], ...], width: int) -> None:
        super().__init__()
        self.electrodes = electrodes
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.pool = ElectrodePool(electrodes, 2 * len(columns[0]), width)
        self.embedding = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, values: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Make a token of values (B, F) and missing flags (B, F)."""
        gone = missing[:, self.columns]
        shown = values[:, self.columns].masked_fill(gone, 0.0)
        content = torch.cat([shown, gone.to(values.dtype)], dim=2).unsqueeze(2)
        tokens, shares = self.pool(content, ~gone.all(2))
        return tokens + self.embedding, shares


class PowerBands(nn.Module):
    """Log power of every electrode in learnt bands; (B, C, L) → (B, C, N, F), N ≈ L / stride.

    A bank of filters that all electrodes share, squared and averaged over a token's time, as in ShallowConvNet (Schirrmeister
    et al. 2017), but born as windowed waves from 45 down to 2 Hz in equal steps of the logarithm, in pairs a quarter of a wave
    apart, in place of random numbers.
    """

    HOP = 16  # samples between looks: an eighth of a second of EEG at its usual rate
    LENGTH_S = 0.35

    def __init__(self, stride: int, fs: float, filters: int) -> None:
        super().__init__()
        self.stride = stride
        self.hop = min(self.HOP, stride)
        length = 2 * round(self.LENGTH_S * fs / 2) + 1
        self.weight = nn.Parameter(_waves(length, fs, filters))

    def forward(self, waveform: Tensor) -> Tensor:
        """Filter, square, average, take the logarithm."""
        b, c, samples = waveform.shape
        filtered = functional.conv1d(
            waveform.reshape(b * c, 1, samples), self.weight, stride=self.hop, padding=self.weight.shape[2] // 2
        )
        step = self.stride // self.hop
        short = -filtered.shape[2] % step
        power = filtered.square()
        if short:  # the last token is the mean of what there is
            power = torch.cat([power, power[..., short - step :].mean(2, keepdim=True).expand(-1, -1, short)], dim=2)
        means = power.view(b, c, power.shape[1], -1, step).mean(4)
        return torch.log(means + 1e-4).transpose(2, 3)


def _waves(length: int, fs: float, filters: int) -> Tensor:
    """Return waves of unit norm (F, 1, K): each lasts `CYCLES` of its own, so that together they leave no gap."""
    time = (torch.arange(length, dtype=torch.float64) - length // 2) / fs
    pairs = (filters + 1) // 2
    low, high = min(LOW_HZ, 0.1 * fs), min(HIGH_HZ, 0.45 * fs)
    rates = (high * (low / high) ** (torch.arange(pairs, dtype=torch.float64) / max(pairs - 1, 1)))[:, None]
    half_s = torch.clamp(CYCLES / (2 * rates), min=2 / fs, max=(length // 2 + 1) / fs)
    window = torch.where(time.abs() < half_s, 0.5 + 0.5 * torch.cos(torch.pi * time / half_s), 0.0)
    waves = torch.stack([torch.cos(2 * torch.pi * rates * time), torch.sin(2 * torch.pi * rates * time)], dim=1)
    # The constant is taken out under the window: an offset then has no power, and there are no steps at the ends.
    shape = window[:, None]
    waves = shape * (waves - (waves * shape).sum(2, keepdim=True) / shape.sum(2, keepdim=True))
    waves = waves.flatten(0, 1)[:filters]
    normed: Tensor = waves / waves.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return normed.unsqueeze(1).float()
