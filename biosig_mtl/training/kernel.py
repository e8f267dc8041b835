"""Fitting the kernel ridge beside a network, on training rows, and its share of the prediction, on validation subjects."""

from __future__ import annotations

from collections.abc import Sequence
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
    near = kernel.similarity(shown.double(), shown[torch.from_numpy(chosen)].double())
    people, code = np.unique(subject, return_inverse=True)
    fold = torch.from_numpy((rng.permutation(people.size) % min(INNER_FOLDS, people.size))[code])
    known = np.isfinite(targets)
    # Targets that are known in the same rows share all products over rows, which are most of the work.
    for pattern in np.unique(known, axis=1).T:
        columns = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        if pattern.any():
            rows = torch.from_numpy(np.flatnonzero(pattern))
            part = _Part(near[rows], torch.from_numpy(targets)[rows][:, columns], torch.from_numpy(weight)[rows], fold[rows])
            kernel.slopes[: chosen.size, columns] = part.solve(near[chosen]).to(kernel.slopes.dtype)
            kernel.offset[columns] = part.offset.to(kernel.offset.dtype)


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
    """Training rows of targets (n, T) that are known together. Products over rows are made once a fold: whole minus held."""

    def __init__(self, near: Tensor, target: Tensor, weight: Tensor, fold: Tensor) -> None:
        self.near, self.target, self.weight, self.fold = near, target, weight, fold
        self.offset = (weight[:, None] * target).sum(0) / weight.sum()
        self.left, self.right = self._products(torch.arange(len(target)))

    def _products(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        weighted = self.near[rows] * self.weight[rows, None]
        return weighted.T @ self.near[rows], weighted.T @ (self.target[rows] - self.offset)

    def penalties(self, among: Tensor) -> list[float]:
        """Return, for each target, the penalty with the least weighted absolute error on inner folds."""
        errors = torch.zeros(len(PENALTIES), self.target.shape[1], dtype=torch.float64)
        for k in sorted(set(self.fold.tolist())):
            held = torch.nonzero(self.fold == k)[:, 0]
            if len(held) == len(self.fold):
                return [PENALTIES[-1]] * self.target.shape[1]
            left, right = self._products(held)
            for i, penalty in enumerate(PENALTIES):
                said = self.near[held] @ _solved(self.left - left, self.right - right, among, penalty) + self.offset
                errors[i] += self.weight[held] @ (said - self.target[held]).abs()
        return [PENALTIES[i] for i in errors.argmin(0).tolist()]

    def solve(self, among: Tensor, penalties: Sequence[float] = ()) -> Tensor:
        """Return slopes (m, T) that minimise Σ w (y − offset − K a)² + penalty · aᵀ K_mm a.

        The penalty of each target is chosen by inner folds where it is not given.
        """
        chosen = list(penalties) or self.penalties(among)
        columns = [_solved(self.left, self.right[:, [t]], among, penalty) for t, penalty in enumerate(chosen)]
        return torch.cat(columns, dim=1)


def _solved(left: Tensor, right: Tensor, among: Tensor, penalty: float) -> Tensor:
    system = left + penalty * among
    system.diagonal().add_(1e-6 * system.diagonal().mean())
    solved: Tensor = torch.cholesky_solve(right, torch.linalg.cholesky(system))
    return solved


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
