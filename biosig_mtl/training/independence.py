"""Terms that make splits distinct: the mutual-information loss of Split 'n' Merge, in forms that can be trusted.

The paper's own formulation is not known to us. All terms work on *pooled, projected, standardised* splits

    v_k = standardise(P · mean_N(z_k)),   (B, d), d = 32

with mean 0 and variance 1 over the batch. Standardising matters: mutual information does not change when a split is made
smaller, but a critic's estimate does, and a network then shrinks its splits instead of separating them. P is a *fixed* random
matrix with orthonormal rows (the identity where D ≤ d): a learnt projection could make its outputs independent all by
itself, with the splits as they were.

`uhsic` is the default: the unbiased Hilbert–Schmidt independence criterion (Song et al., JMLR 2012, eq. 5), Gaussian kernel
with the median rule, normalised to 1 for a copy. It averages 0 for independent splits at any batch size, where biased
estimates have floors of 0.3 to 0.8. None of these values is in nats or bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

Independence = Literal["uhsic", "vclub", "xcov", "none"]
Pairs = Literal["all", "private", "shared_private"]
MIN_BATCH = 8
PROJECTED = 32
EPS = 1e-6


def standardise(v: Tensor) -> Tensor:
    """Give every column of (…, B, d) mean 0 and variance 1 over the batch: batch norm without affine part, in training mode."""
    centred = v - v.mean(-2, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-2, keepdim=True) + EPS)


def projection(width: int, seed: int = 0) -> Tensor | None:
    """Return the fixed map (D, d) with orthonormal columns, None where D ≤ d; from its own generator."""
    if width <= PROJECTED:
        return None
    rng = torch.Generator().manual_seed(seed)
    orthonormal: Tensor = torch.linalg.qr(torch.randn(width, PROJECTED, generator=rng, dtype=torch.float64))[0]
    return orthonormal


def pooled(splits: Tensor, matrix: Tensor | None) -> Tensor:
    """Return v (K, B, d) of splits (B, K, N, D), in float32 or better."""
    v = splits.to(torch.promote_types(splits.dtype, torch.float32)).mean(2).transpose(0, 1)
    return standardise(v if matrix is None else v @ matrix.to(v))


def uhsic(v: Tensor) -> Tensor:
    """Return the normalised unbiased HSIC between all splits, (K, K), from v (K, B, d); 1 on the diagonal.

    Computed with U-centred kernel matrices (Székely & Rizzo 2014), which is the same number as Song's eq. 5. Needs B ≥ 4.
    """
    k, n, _ = v.shape
    square = v.square().sum(-1)
    distance = (square[:, :, None] + square[:, None, :] - 2.0 * v @ v.transpose(1, 2)).clamp(min=0.0)
    upper = torch.triu_indices(n, n, 1, device=v.device)
    median = distance.detach()[:, upper[0], upper[1]].median(dim=1).values.clamp(min=EPS)
    kernel = torch.exp(-distance / median[:, None, None])
    off = 1.0 - torch.eye(n, device=v.device, dtype=v.dtype)
    kernel = kernel * off
    rows = kernel.sum(2)
    total = rows.sum(1) / ((n - 1) * (n - 2))
    centred = (kernel - (rows[:, :, None] + rows[:, None, :]) / (n - 2) + total[:, None, None]) * off
    flat = centred.reshape(k, n * n)
    gram = flat @ flat.T / (n * (n - 3))
    size = torch.sqrt(gram.diagonal().clamp(min=EPS**2))
    return gram / (size[:, None] * size[None, :])


def xcov(v: Tensor) -> Tensor:
    """Return the mean squared cross-correlation between all splits, (K, K), from v (K, B, d): linear dependence only."""
    cross = torch.einsum("ibd,jbe->ijde", v, v) / v.shape[1]
    return cross.square().mean((-1, -2))


def choose_pairs(splits: int, pairs: Pairs) -> list[tuple[int, int]]:
    """Return the pairs of splits that should differ; the shared split is 0."""
    every = list(combinations(range(splits), 2))
    if pairs == "private":
        return [p for p in every if p[0] != 0]
    return [p for p in every if p[0] == 0] if pairs == "shared_private" else every


class Critic(nn.Module):
    """q(y | x) for each pair: a Gaussian whose mean, and log variance unless it is fixed at 0, a small net tells.

    The log variance goes through tanh; fixing it is what the author of CLUB advises against a collapsing likelihood.
    """

    def __init__(self, pairs: int, d: int, *, fixed_variance: bool) -> None:
        super().__init__()
        self.fixed_variance = fixed_variance
        self.nets = nn.ModuleList(
            nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d if fixed_variance else 2 * d))
            for _ in range(pairs)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of y, both (P, B, d), for x (P, B, d)."""
        told = torch.stack([net(part) for net, part in zip(self.nets, x, strict=True)])
        if self.fixed_variance:
            return told, torch.zeros_like(told)
        mean, spread = told.chunk(2, dim=-1)
        return mean, torch.tanh(spread)


class VClub:
    """vCLUB (Cheng et al., ICML 2020): E_p(x,y) log q(y|x) − E_p(x)p(y) log q(y|x), an upper bound only while q ≈ p(y|x).

    The critic has its own optimiser and takes ``inner_steps`` on detached splits before each estimate; an estimate treats it
    as constant, so it never gets a gradient from the network's loss.
    """

    def __init__(
        self, pairs: int, d: int, *, inner_steps: int = 3, fixed_variance: bool = True, device: torch.device | None = None
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # so that the network's own numbers do not depend on whether a critic exists
            self.critic = Critic(pairs, d, fixed_variance=fixed_variance).to(device)
        self.optimiser = torch.optim.Adam(self.critic.parameters(), lr=3e-3)
        self.inner_steps = inner_steps
        self.log_likelihood = math.nan

    def learn(self, x: Tensor, y: Tensor) -> None:
        """Fit the critic to y given x, both (P, B, d)."""
        x, y = x.detach(), y.detach()
        for _ in range(self.inner_steps):
            mean, log_variance = self.critic(x)
            loss = -self._log_q(mean, log_variance, y).mean()
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.log_likelihood = -float(loss.detach())

    def estimate(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the estimate of every pair (P,)."""
        frozen = {name: p.detach() for name, p in self.critic.named_parameters()}
        mean, log_variance = functional_call(self.critic, frozen, (x,))
        joint = self._log_q(mean, log_variance, y)
        # Over the whole batch as partners: E_y (y − m)² = (ȳ − m)² + var(y), no need for B² terms.
        centre, spread = y.mean(1, keepdim=True), y.var(1, correction=0, keepdim=True)
        apart = -0.5 * (((centre - mean).square() + spread) * torch.exp(-log_variance) + log_variance).sum(-1)
        gained: Tensor = (joint - apart).mean(1)
        return gained

    @staticmethod
    def _log_q(mean: Tensor, log_variance: Tensor, y: Tensor) -> Tensor:
        return -0.5 * ((y - mean).square() * torch.exp(-log_variance) + log_variance).sum(-1)


MATRICES: dict[str, Callable[[Tensor], Tensor]] = {"uhsic": uhsic, "xcov": xcov}


class IndependenceTerm:
    """The penalty that keeps splits apart, and the count of batches that were too small for it."""

    def __init__(self, kind: Independence, pairs: Pairs, splits: int, width: int, device: torch.device | None = None) -> None:
        if kind == "none":
            raise ValueError("need a kind of independence other than none; leave the term out instead")
        self.kind = kind
        self.pairs = choose_pairs(splits, pairs)
        if not self.pairs:
            raise ValueError(f"need a pair of splits for pairs={pairs}, got {splits} splits")
        self.splits, self.width = splits, width
        self.matrix = projection(width)
        self.skipped = 0
        self.club = VClub(len(self.pairs), min(width, PROJECTED), device=device) if kind == "vclub" else None

    def __call__(self, splits: Tensor) -> Tensor | None:
        """Return the mean dependence over pairs of splits (B, K, N, D); None, counted, where B < 8."""
        if splits.shape[0] < MIN_BATCH:
            self.skipped += 1
            return None
        v = pooled(splits, self.matrix)
        first, second = (list(side) for side in zip(*self.pairs, strict=True))
        if self.club is not None:
            self.club.learn(v[first], v[second])
            return self.club.estimate(v[first], v[second]).mean()
        return MATRICES[self.kind](v)[first, second].mean()

    @property
    def critic_log_likelihood(self) -> float:
        """What the critic reached in its last step, NaN without a critic."""
        return self.club.log_likelihood if self.club is not None else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        state: dict[str, Any] = {"splits": self.splits, "width": self.width, "skipped": self.skipped}
        if self.club is not None:
            state |= {"critic": self.club.critic.state_dict(), "optimiser": self.club.optimiser.state_dict()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was made."""
        self.skipped = state["skipped"]
        if self.club is not None:
            self.club.critic.load_state_dict(state["critic"])
            self.club.optimiser.load_state_dict(state["optimiser"])


def ramp(epoch: int, ramp_epochs: int) -> float:
    """Return the share of the weight in ``epoch`` (from 0): linear from 0 to 1 over ``ramp_epochs``."""
    return 1.0 if ramp_epochs == 0 else min(1.0, epoch / ramp_epochs)
