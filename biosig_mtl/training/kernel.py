"""Fitting the kernel ridge beside a network, on training rows, and its share of the prediction, on validation subjects."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from biosig_mtl.types import F64, I64

PENALTIES = (0.3, 1.0, 3.0, 10.0)
INNER_FOLDS = 4
SHARES = np.linspace(0.0, 1.0, 21)


class Kernel(Protocol):
    """What training asks of the kernel beside a network (`biosig_mtl.models.kernel`)."""

    landmarks: Tensor
    slopes: Tensor
    offset: Tensor
    live: Tensor
    share: Tensor

    def similarity(self, shown: Tensor, others: Tensor) -> Tensor:
        """Return the kernel (n, m) between scaled features (n, F) and (m, F)."""


def fit_kernel(kernel: Kernel, shown: Tensor, targets: F64, subject: NDArray[np.str_], weight: F64, seed: int) -> None:
    """Set landmarks, slopes and offsets of a kernel (Nyström approximation of kernel ridge, Williams & Seeger 2001).

    Parameters
    ----------
    kernel
        As it was built.
    shown
        Scaled features of the training rows (n, F), zero where missing.
    targets
        Scaled targets (n, T), NaN where unknown.
    subject, weight
        Of each row. Landmarks are drawn in turn from every subject, and the penalty of each target is the best, on the weighted
        absolute error, of inner folds by subject.
    seed
        Of landmarks and inner folds.
    """
    rng = np.random.default_rng(seed)
    chosen = landmarks(subject, len(kernel.landmarks), rng)
    live = (shown != 0).any(dim=0).sum().clamp(min=1)
    kernel.live.copy_(live.to(kernel.live.dtype))
    kernel.landmarks.zero_()
    kernel.landmarks[: chosen.size] = shown[torch.from_numpy(chosen)]
    near = kernel.similarity(shown.double(), shown[torch.from_numpy(chosen)].double()).numpy()
    among = near[chosen]
    people, code = np.unique(subject, return_inverse=True)
    fold = (rng.permutation(people.size) % min(INNER_FOLDS, people.size))[code]
    for t, target in enumerate(targets.T):
        known = np.isfinite(target)
        if known.any():
            part = _Part(near[known], target[known], weight[known], fold[known])
            slopes, offset = part.solve(among, part.best_penalty(among))
            kernel.slopes[: chosen.size, t] = torch.from_numpy(slopes)
            kernel.offset[t] = offset


def landmarks(subject: NDArray[np.str_], count: int, rng: np.random.Generator) -> I64:
    """Return up to ``count`` rows, as evenly over subjects as they have windows."""
    order = rng.permutation(subject.size)
    _, code = np.unique(subject[order], return_inverse=True)
    by_person = np.argsort(code, kind="stable")
    first = np.searchsorted(code[by_person], code[by_person])
    turn = np.empty(order.size, np.int64)
    turn[by_person] = np.arange(order.size) - first
    return np.sort(order[np.argsort(turn, kind="stable")[:count]])


class _Part:
    """Training rows of one target. Products over rows are made once a fold: the whole minus what is held out."""

    def __init__(self, near: F64, target: F64, weight: F64, fold: I64) -> None:
        self.near, self.target, self.weight, self.fold = near, target, weight, fold
        self.offset = float(np.average(target, weights=weight))
        self.products = self._products(np.ones(target.size, bool))

    def _products(self, rows: NDArray[np.bool_]) -> tuple[F64, F64]:
        weighted = self.near[rows] * self.weight[rows, None]
        return weighted.T @ self.near[rows], weighted.T @ (self.target[rows] - self.offset)

    def best_penalty(self, among: F64) -> float:
        """Return the penalty with the least weighted absolute error on inner folds."""
        errors = np.zeros(len(PENALTIES))
        for k in np.unique(self.fold):
            held = self.fold == k
            if held.all():
                return PENALTIES[-1]
            without = self._products(held)
            left, right = self.products[0] - without[0], self.products[1] - without[1]
            for i, penalty in enumerate(PENALTIES):
                said = self.near[held] @ _solved(left, right, among, penalty) + self.offset
                errors[i] += self.weight[held] @ np.abs(said - self.target[held])
        return PENALTIES[int(np.argmin(errors))]

    def solve(self, among: F64, penalty: float) -> tuple[F64, float]:
        """Minimise Σ w (y − offset − K a)² + penalty · aᵀ K_mm a; the offset is the weighted mean of the targets."""
        return _solved(*self.products, among, penalty), self.offset


def _solved(left: F64, right: F64, among: F64, penalty: float) -> F64:
    system = left + penalty * among
    system[np.diag_indices_from(system)] += 1e-6 * np.trace(system) / len(system)
    return np.asarray(np.linalg.solve(system, right), np.float64)


def choose_share(network: F64, kernel: F64, truth: F64, subject: NDArray[np.str_]) -> F64:
    """Return, for each target, the kernel's share (T,) with the least mean over subjects of the absolute error.

    All arguments but ``subject`` have shape (n, T), of validation windows; of equal shares the smallest is taken, and a target
    that is unknown everywhere keeps the network alone.
    """
    _, code = np.unique(subject, return_inverse=True)
    shares = np.zeros(truth.shape[1])
    for t in range(truth.shape[1]):
        known = np.isfinite(truth[:, t])
        if not known.any():
            continue
        count = np.bincount(code[known])
        weight = 1.0 / count[code[known]]
        mixed = network[known, t, None] + SHARES * (kernel[known, t] - network[known, t])[:, None]
        shares[t] = SHARES[int(np.argmin(weight @ np.abs(mixed - truth[known, t, None])))]
    return shares
