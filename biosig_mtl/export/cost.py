"""What is lost by fewer networks, or by smaller numbers: in the unit of the target, on windows that the networks never saw.

A window is judged by the networks of those folds in which its person was tested; the mean of all networks of a run has learned
from everybody, and an error of it on the run's own windows would say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.export.chosen import place_of
from biosig_mtl.export.parity import Evidence, rows_of
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.prediction import predict_full
from biosig_mtl.types import F64, I64, Fold, WindowTable

MOST_WINDOWS = 1500


@dataclass(frozen=True)
class Cost:
    """One target: how far two answers are apart, and the error of both where it can be measured.

    ``mean_difference``, ``p95_difference`` and ``max_difference`` are of |after − before|. ``mae_before`` and ``mae_after`` are
    means over subjects, on windows of people that the judged networks did not learn from; None where there are none.
    """

    target: str
    mean_difference: float
    p95_difference: float
    max_difference: float
    mae_before: float | None
    mae_after: float | None
    windows: int
    judged: int

    def content(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def rows_tested(evidence: Evidence, most: int = MOST_WINDOWS) -> I64:
    """Return up to so many windows that were tested in some fold, evenly spread."""
    rows = np.unique(np.concatenate([fold.test for fold in evidence.folds if not fold.leaky] or [np.empty(0, np.int64)]))
    return np.asarray(rows[np.unique(np.linspace(0, rows.size - 1, min(rows.size, most)).astype(int))], np.int64)


def each_answer(members: Sequence[Member], table: WindowTable) -> F64:
    """Return what each network in torch says (n, M, T), in the unit of the target."""
    rows = np.arange(len(table), dtype=np.int64)
    return np.stack([predict_full(member.model, table, rows, member.scaler).estimates for member in members], axis=1)


def costs(before: tuple[Sequence[str], F64], after: tuple[Sequence[str], F64], evidence: Evidence, rows: I64) -> list[Cost]:
    """Compare two sets of networks, each with its names and what its networks say (n, M, T) on ``rows``; one cost a target."""
    table = evidence.table
    truth = np.asarray(table.targets[rows], np.float64)
    subject = table.subject[rows]
    away = np.abs(after[1].mean(axis=1) - before[1].mean(axis=1))
    honest = [_unseen(names, said, evidence.folds, rows) for names, said in (before, after)]
    found = []
    for j, name in enumerate(table.target_names):
        known = np.isfinite(truth[:, j]) & np.isfinite(honest[0][:, j]) & np.isfinite(honest[1][:, j])
        errors = [_by_subject(np.abs(said[known, j] - truth[known, j]), subject[known]) for said in honest]
        mean, most = float(away[:, j].mean()), float(away[:, j].max())
        usual = float(np.quantile(away[:, j], 0.95))
        found.append(Cost(name, mean, usual, most, errors[0], errors[1], rows.size, int(known.sum())))
    return found


def _unseen(names: Sequence[str], said: F64, folds: Sequence[Fold], rows: I64) -> F64:
    """Return, for each window, the mean of those networks that never saw its person (n, T); NaN where there is none."""
    total, count = np.zeros((rows.size, said.shape[2])), np.zeros((rows.size, 1))
    places = [place_of(name)[:2] for name in names]
    for fold in folds:
        own = np.array([place == (fold.seed, fold.number) for place in places])
        inside = np.isin(rows, fold.test)
        if own.any() and inside.any() and not fold.leaky:
            total[inside] += said[inside][:, own].sum(axis=1)
            count[inside] += own.sum()
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _by_subject(errors: F64, subject: NDArray[np.str_]) -> float | None:
    if not errors.size:
        return None
    _, code = np.unique(subject, return_inverse=True)
    return float((np.bincount(code, errors) / np.bincount(code)).mean())


def windows_of(evidence: Evidence, rows: I64) -> WindowTable:
    """Return some windows of the evidence, read from its files."""
    return rows_of(evidence.table, rows)
