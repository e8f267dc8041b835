"""Irregular readings to a regular grid: a multi-task Gaussian process as the first layer of a network.

A cuff is read every 5 to 30 minutes, a wrist tells a heart rate when it lies still. Whoever holds the last value or draws lines
between readings makes up certainty. The adapter says what a Gaussian process (GP) says: a mean and a covariance on a grid, and
draws of both, so that the network behind learns from what *could* have been between the readings.

The form is that of Futoma, Hariharan & Heller (ICML 2017, "MGP-RNN") and of Moor et al. (MLHC 2019, "MGP-TCN"); the kernel of
several tasks is that of Bonilla, Chai & Williams (NeurIPS 2007):

    Cov(y_ic, y_jc') = K_C[c, c'] k_t(t_i, t_j) + δ_ij δ_cc' s_c²;   loss = mean over draws of L(TCN(z_draw))

All of K_C, k_t and s are learnt end to end. Equations only; no code of the authors was used. What is ours:

- K_C = W Wᵀ + diag(d), low rank and a diagonal: positive definite by construction, whatever is learnt;
- k_t(t, t') = a + (1 − a) κ(|t − t'| / ℓ): the share a of the variance is a level that stays (people differ in it), κ is
  Ornstein–Uhlenbeck, e^{−x}, or Gaussian, e^{−x²/2}. Both are 1 at 0, so that K_C has the variances;
- one network step for each point of the grid reads draws of all channels, as in the sources; the blocks are normed per window,
  never over the batch;
- in evaluation the draws of all windows are made of the same numbers, from a generator of their own: an answer depends neither
  on what else is in the batch nor on when it was asked for;
- ``beside``: answers may start from the posterior mean at the time of the question and add to it.

Values are expected scaled (`biosig_mtl.data.irregular.Irregular.scaled`). Work is in float64 and costs O(n³ + (G C)³) a window:
made for vital signs, never for waveforms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.answers import Heads
from biosig_mtl.types import DataError

Kernel = Literal["ou", "rbf"]
KERNELS: dict[str, Callable[[Tensor], Tensor]] = {"ou": lambda x: torch.exp(-x), "rbf": lambda x: torch.exp(-0.5 * x.square())}
MOST_READINGS = 200
JITTER = 1e-6  # of the mean variance of a channel: what keeps the readings' covariance invertible
DRAW_JITTER = 1e-4  # the same for draws: a hundredth of a standard deviation, so that gradients of its root stay small
SEED = 0  # of the draws of evaluation


@dataclass(frozen=True, slots=True)
class Observed:
    """Readings of B windows: ``values``, ``times_s`` (float64), ``channel`` (int64) and ``valid`` (bool), all (B, n).

    Where ``valid`` is False the rest may be anything, NaN too. Times are in seconds from the question that is asked.
    """

    values: Tensor
    times_s: Tensor
    channel: Tensor
    valid: Tensor

    @classmethod
    def of(cls, values: ArrayLike, times_s: ArrayLike, channel: ArrayLike, valid: ArrayLike) -> Observed:
        """Make it of arrays (B, n).

        Raises
        ------
        DataError
            Shapes differ, or a valid reading is not finite.
        """
        kinds = (np.float64, np.float64, np.int64, np.bool_)
        given: list[NDArray[Any]] = [
            np.asarray(part, kind) for part, kind in zip((values, times_s, channel, valid), kinds, strict=True)
        ]
        shapes = {part.shape for part in given}
        if len(shapes) > 1 or given[0].ndim != 2:
            raise DataError(f"readings: need four arrays of one shape (windows, readings), got {sorted(shapes)}")
        if not np.isfinite(np.stack(given[:2])[:, given[3]]).all():
            raise DataError("readings: a valid one has a value or a time that is not finite; set valid to False there")
        return cls(*(torch.from_numpy(part.copy()) for part in given))

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.values)

    def rows(self, index: Tensor | slice) -> Observed:
        """Return some windows."""
        return Observed(self.values[index], self.times_s[index], self.channel[index], self.valid[index])


@dataclass(frozen=True)
class GpSettings:
    """Of the Gaussian process: C ``channels``, a grid of ``points`` from ``start_s`` to ``end_s``, where it starts to learn.

    ``rank`` is that of W in K_C. ``length_s`` (ℓ), ``noise`` (s, a standard deviation in scaled units) and ``level`` (a, below
    1; 0 = no level, and none is learnt) are starting values. ``draws`` are drawn for each window.
    """

    channels: int
    start_s: float
    end_s: float
    points: int = 48
    rank: int = 2
    kernel: Kernel = "ou"
    length_s: float = 600.0
    noise: float = 0.3
    level: float = 0.5
    draws: int = 10

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        for name in ("channels", "points", "rank", "draws"):
            if getattr(self, name) < 1:
                raise ValueError(f"need {name} >= 1, got {getattr(self, name)}")
        if not self.start_s < self.end_s:
            raise ValueError(f"need start_s < end_s, got {self.start_s}, {self.end_s}")
        if self.length_s <= 0.0 or self.noise <= 0.0:
            raise ValueError(f"need length_s and noise > 0, got {self.length_s}, {self.noise}")
        if not 0.0 <= self.level < 1.0:
            raise ValueError(f"need 0 <= level < 1, got {self.level}")
        if self.kernel not in KERNELS:
            raise ValueError(f"need kernel in {', '.join(KERNELS)}, got {self.kernel}")


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is known at Q times: ``mean`` (B, Q, C) and ``covariance`` (B, Q · C, Q · C), time by time, both float64.

    It is that of the course itself, without the noise of a new reading.
    """

    mean: Tensor
    covariance: Tensor

    @property
    def sd(self) -> Tensor:
        """Return the standard deviation (B, Q, C)."""
        return self.covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt().view_as(self.mean)


@dataclass(frozen=True, slots=True)
class _Known:
    """The readings with what they say of all else: root of their covariance (B, n, n), whitened residuals (B, n, 1)."""

    root: Tensor
    white: Tensor
    valid: Tensor
    times: Tensor
    channel: Tensor


class GpAdapter(nn.Module):
    """Readings → posterior of a multi-task GP → draws on a grid, (S, B, C, G); see the head of this file.

    ``factor`` is W, ``log_own`` is log d, ``mean`` the prior mean of every channel (born as 0), the rest is named after the
    settings. No name ends in ``weight``: none of them is pulled to zero by weight decay.
    """

    grid_s: Tensor

    def __init__(self, settings: GpSettings) -> None:
        super().__init__()
        s = settings
        self.settings = s
        self.factor = nn.Parameter(torch.randn(s.channels, s.rank) / math.sqrt(2.0 * s.rank))
        self.log_own = nn.Parameter(torch.full((s.channels,), math.log(0.5)))
        self.mean = nn.Parameter(torch.zeros(s.channels))
        self.log_length = nn.Parameter(torch.tensor(math.log(s.length_s)))
        self.log_noise = nn.Parameter(torch.full((s.channels,), math.log(s.noise)))
        self.level = nn.Parameter(torch.tensor(math.log(s.level / (1.0 - s.level)))) if s.level > 0.0 else None
        self.register_buffer("grid_s", torch.linspace(s.start_s, s.end_s, s.points, dtype=torch.float64))

    def covariance(self) -> Tensor:
        """Return K_C (C, C), float64: between channels, at one time."""
        factor = self.factor.double()
        return factor @ factor.T + torch.diag(self.log_own.double().exp())

    def in_time(self, first_s: Tensor, second_s: Tensor) -> Tensor:
        """Return k_t (…, n, m) between times (…, n) and (…, m) in seconds."""
        apart = (first_s.unsqueeze(-1) - second_s.unsqueeze(-2)).abs() / self.log_length.double().exp()
        shape = KERNELS[self.settings.kernel](apart)
        return shape if self.level is None else shape.lerp(torch.ones_like(shape), torch.sigmoid(self.level.double()))

    def posterior(self, observed: Observed, at_s: Tensor | None = None) -> Posterior:
        """Return what the readings say of all channels at times ``at_s``, (Q,) for all windows, (B, Q), or None for the grid.

        A window without readings has the prior.

        Raises
        ------
        DataError
            More than 200 readings a window, or a channel that there is not.
        """
        return self._at(self._know(observed), self.grid_s if at_s is None else at_s.to(self.grid_s))

    def log_likelihood(self, observed: Observed) -> Tensor:
        """Return the log marginal likelihood of the readings of each window (B,), float64, in nats: what a GP alone learns by.

        log p(y) = −½ yᵀ K⁻¹ y − ½ log |K| − ½ n log 2π (Rasmussen & Williams 2006, eq. 2.30).
        """
        known = self._know(observed)
        count = known.valid.sum(1)
        volume = known.root.diagonal(dim1=1, dim2=2).log().sum(1)  # 0 for readings that are not valid: their root is 1
        return -0.5 * known.white.square().sum((1, 2)) - volume - 0.5 * count * math.log(2.0 * math.pi)

    def draw(self, posterior: Posterior) -> Tensor:
        """Return draws (S, B, C, Q), z = μ + R ε with R Rᵀ the covariance: gradients reach everything that is learnt."""
        size = posterior.covariance.shape[-1]
        root = torch.linalg.cholesky(posterior.covariance + self._least(DRAW_JITTER) * _eye(posterior.covariance))
        noise = self._noise((len(posterior.mean), self.settings.draws, size), root)
        drawn: Tensor = posterior.mean.flatten(1).unsqueeze(1) + noise @ root.transpose(1, 2)
        return drawn.view(*noise.shape[:2], *posterior.mean.shape[1:]).permute(1, 0, 3, 2)

    def forward(self, observed: Observed) -> Tensor:
        """Return draws on the grid, (S, B, C, G) in float32."""
        return self.draw(self.posterior(observed)).float()

    def _noise(self, shape: tuple[int, int, int], like: Tensor) -> Tensor:
        if self.training:
            return torch.randn(shape, dtype=like.dtype, device=like.device)
        rng = torch.Generator().manual_seed(SEED)
        return torch.randn(shape[1:], generator=rng, dtype=like.dtype).to(like.device).expand(shape)

    def _least(self, share: float) -> Tensor:
        return share * self.covariance().diagonal().mean()

    def _know(self, observed: Observed) -> _Known:
        valid = observed.valid
        self._check(observed)
        channel = torch.where(valid, observed.channel, 0)
        times = torch.where(valid, observed.times_s.double(), 0.0)
        residual = torch.where(valid, observed.values.double(), 0.0) - self.mean.double()[channel] * valid
        between = self.covariance()[channel.unsqueeze(-1), channel.unsqueeze(-2)]
        both = valid.unsqueeze(-1) & valid.unsqueeze(-2)
        noise = (2.0 * self.log_noise.double()).exp()[channel] + self._least(JITTER)
        # A reading that is not valid is a number of its own with variance 1, which nothing else depends on.
        alone = torch.where(valid, noise, 1.0)
        whole = between * self.in_time(times, times) * both + torch.diag_embed(alone)
        root = torch.linalg.cholesky(whole)
        white = torch.linalg.solve_triangular(root, residual.unsqueeze(-1), upper=False)
        return _Known(root, white, valid, times, channel)

    def _at(self, known: _Known, at_s: Tensor) -> Posterior:
        channels = self.covariance()
        times = at_s.expand(len(known.valid), -1)
        toward = self.in_time(times, known.times) * known.valid.unsqueeze(1)
        cross = (toward.unsqueeze(2) * channels[:, known.channel].transpose(0, 1).unsqueeze(1)).flatten(1, 2)
        seen = torch.linalg.solve_triangular(known.root, cross.transpose(1, 2), upper=False)
        mean = (seen.transpose(1, 2) @ known.white).view(*times.shape, -1) + self.mean.double()
        in_time = self.in_time(times, times)
        prior = (in_time[:, :, None, :, None] * channels[None, None, :, None, :]).flatten(3, 4).flatten(1, 2)
        return Posterior(mean, prior - seen.transpose(1, 2) @ seen)

    def _check(self, observed: Observed) -> None:
        many, channels = observed.values.shape[1], self.settings.channels
        if many > MOST_READINGS:
            raise DataError(f"readings: {many} a window, the GP adapter takes {MOST_READINGS}; look back less, or keep fewer")
        wrong = observed.valid & ((observed.channel < 0) | (observed.channel >= channels))
        if bool(wrong.any()):
            raise DataError(f"readings: channel {int(observed.channel[wrong][0])} of a network for {channels} channels, from 0")


def _eye(like: Tensor) -> Tensor:
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


# ------------------------------------------------------------------------------------------------------------ the network
@dataclass(frozen=True)
class VitalsSettings:
    """Of the network behind the adapter.

    ``blocks`` of causal convolutions of size ``kernel`` with dilation 1, 2, 4, …; ``width`` is D. ``beside`` has for each
    target the channel from whose posterior mean at time 0 its answer starts, targets then being in that channel's scaled unit;
    empty: answers start from nothing, as in the sources.
    """

    gp: GpSettings
    width: int = 16
    blocks: int = 4
    kernel: int = 3
    dropout: float = 0.1
    beside: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        for name in ("width", "blocks", "kernel"):
            if getattr(self, name) < 1:
                raise ValueError(f"need {name} >= 1, got {getattr(self, name)}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"need 0 <= dropout < 1, got {self.dropout}")
        if not all(0 <= channel < self.gp.channels for channel in self.beside):
            raise ValueError(f"need channels from 0 to {self.gp.channels - 1} in beside, got {self.beside}")


class CausalBlock(nn.Module):
    """x + dropout(GELU(norm(conv(x)))), padded with zeros on the left only; (B, D, G) → (B, D, G).

    After the temporal convolutional network of Bai, Kolter & Koltun (2018, §3). Ours: one convolution a block, and layer norm
    over the channels of each step for weight norm: nothing of a later step, nor of another window, comes in.
    """

    def __init__(self, settings: VitalsSettings, dilation: int) -> None:
        super().__init__()
        s = settings
        self.before = (s.kernel - 1) * dilation
        self.conv = nn.Conv1d(s.width, s.width, s.kernel, dilation=dilation)
        self.norm = nn.LayerNorm(s.width)
        self.drop = nn.Dropout1d(s.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the block makes of its past to each step."""
        made = self.norm(self.conv(functional.pad(x, (self.before, 0))).transpose(1, 2)).transpose(1, 2)
        added: Tensor = self.drop(functional.gelu(made))
        return x + added


class VitalsNetwork(nn.Module):
    """Irregular readings → GP adapter → causal convolutions → last step, (B, D) a draw → heads; T targets.

    `forward` gives the answer of each draw (S, B, T) in scaled units. `answer` is their mean, (B, T); `loss` the mean of the
    draws' losses.
    """

    def __init__(self, settings: VitalsSettings, targets: Sequence[str]) -> None:
        super().__init__()
        s = settings
        if s.beside and len(s.beside) != len(targets):
            raise ValueError(f"need one channel for each of {len(targets)} targets in beside, got {len(s.beside)}")
        self.settings, self.targets = s, tuple(targets)
        self.adapter = GpAdapter(s.gp)
        self.widen = nn.Conv1d(s.gp.channels, s.width, 1)
        self.blocks = nn.Sequential(*(CausalBlock(s, 2**number) for number in range(s.blocks)))
        self.norm = nn.LayerNorm(s.width)
        self.heads = Heads(len(self.targets), s.width, s.width, s.dropout)
        if s.beside:  # Then the first answers are those of the posterior.
            nn.init.zeros_(self.heads.last.weight)

    def embed(self, drawn: Tensor) -> Tensor:
        """Return the embedding (B, D) of one draw a window (B, C, G)."""
        made: Tensor = self.norm(self.blocks(self.widen(drawn))[:, :, -1])
        return made

    def forward(self, observed: Observed) -> Tensor:
        """Return the answers of all draws, (S, B, T)."""
        drawn = self.adapter(observed)
        embedding = self.embed(drawn.flatten(0, 1)).unsqueeze(1).expand(-1, len(self.targets), -1)
        said = self.heads(embedding).unflatten(0, drawn.shape[:2])
        if not self.settings.beside:
            return said  # type: ignore[no-any-return]
        start = self.adapter.posterior(observed, torch.zeros(1)).mean[:, 0, list(self.settings.beside)]
        return start.to(said.dtype) + said  # type: ignore[no-any-return]

    def answer(self, observed: Observed) -> Tensor:
        """Return the mean of the answers of all draws, (B, T)."""
        return self(observed).mean(0)  # type: ignore[no-any-return]

    def loss(self, observed: Observed, targets: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the Huber loss (δ = 1) of scaled ``targets`` (B, T), NaN where unknown, averaged over draws, then windows.

        ``weight`` (B,) weighs windows; None: alike. Without any known target it is 0.
        """
        known = torch.isfinite(targets)
        # Of each draw, not of their average: that would forget how far they lie apart.
        each = functional.huber_loss(
            self(observed), targets.nan_to_num().expand(self.settings.gp.draws, -1, -1), reduction="none"
        )
        say = known * (1.0 if weight is None else weight.unsqueeze(1))
        return (each.mean(0) * say).sum() / say.sum().clamp(min=1e-12)


# ----------------------------------------------------------------------------------------------- what it has to be better than
def hold_last(observed: Observed, channel: int = 0) -> Tensor:
    """Return the last reading of a channel before time 0 (B,), NaN where there is none; at one time, their mean."""
    usable = observed.valid & (observed.channel == channel) & (observed.times_s < 0.0)
    return _nearest(observed, usable)[1]


def straight_line(observed: Observed, channel: int = 0) -> Tensor:
    """Return the value at time 0 (B,) on the line between the last reading of a channel before it and the first after it.

    Where one of them is missing the other is held: lines are never drawn on into the unknown. NaN where both are missing.
    """
    own = observed.valid & (observed.channel == channel)
    before_s, before = _nearest(observed, own & (observed.times_s < 0.0))
    after_s, after = _nearest(observed, own & (observed.times_s >= 0.0))
    share = before_s / (before_s + after_s).clamp(min=1e-12)
    between = before + share * (after - before)
    return torch.where(between.isfinite(), between, torch.where(before.isfinite(), before, after))


def _nearest(observed: Observed, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far from time 0 the nearest usable reading lies and its value, both (B,), NaN where there is none."""
    apart = torch.where(usable, observed.times_s.abs().double(), math.inf)
    least = apart.min(1).values
    chosen = usable & (apart == least.unsqueeze(1))
    value = torch.where(chosen, observed.values.double(), 0.0).sum(1) / chosen.sum(1)
    return torch.where(least.isfinite(), least, math.nan), value
