"""A soft label for a target that a window lacks, made of another target's answer and a table of what goes with what.

Distribution matching between tasks that are labelled on different windows (Kollias, Sharmanska, Zafeiriou, arXiv 2105.03790
and 2401.01219): with a table p(b|a) from data or from an expert

    q_B(b|x) = Σ_a p(b|a) ŷ_A(a|x),    L_DM = −Σ_b q_B(b|x) log ŷ_B(b|x)    for windows x that lack a label of B

No gradient goes through q_B: A teaches B and is not pulled towards it. The equations are those of the project's notes on the
paper. Ours are: classes of a regression by soft bins (`View`), a table whose rows are drawn towards the share of each b (few
windows have both labels), people with the same say in it, and the epochs over which the weight rises (an answer of A that is
not learned yet teaches nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from biosig_mtl.training.batches import subject_weights
from biosig_mtl.training.independence import ramp
from biosig_mtl.training.scaling import Scaler
from biosig_mtl.types import F64, I64, Batch, DataError, Output, RecipeError, WindowTable

EPS = 1e-6


@dataclass(frozen=True)
class Cooccurrence:
    """One pair of targets, as a recipe says it.

    Attributes
    ----------
    given, told
        Target A, whose answer is used, and target B, which learns from it.
    table
        p(b|a), a row for each class of A; rows sum to 1. Empty: counted in the training windows that have both labels.
    edges
        Inner edges of classes, in the unit of the target, for targets that are answered by a number.
    softness
        Width τ of the soft bins of such a target, in its standard deviations.
    weight, ramp_epochs
        Weight of the loss, and the epochs over which it rises from 0.
    pseudo
        How many windows' worth each row of a counted table is drawn towards the share of each b.
    """

    given: str
    told: str
    table: tuple[tuple[float, ...], ...] = ()
    edges: dict[str, tuple[float, ...]] = field(default_factory=dict)
    softness: float = 0.5
    weight: float = 1.0
    ramp_epochs: int = 5
    pseudo: float = 1.0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.given == self.told:
            raise ValueError(f"need two targets, got '{self.given}' twice")
        if self.softness <= 0 or min(self.weight, self.ramp_epochs, self.pseudo) < 0:
            raise ValueError("need softness > 0 and weight, ramp_epochs, pseudo >= 0")
        if odd := sorted(set(self.edges) - {self.given, self.told}):
            raise ValueError(f"need edges of {self.given} and {self.told} alone, got those of '{odd[0]}'")
        for name, edges in self.edges.items():
            if not edges or list(edges) != sorted(set(edges)):
                raise ValueError(f"need edges that rise, got {edges} for '{name}'")
        for row in self.table:
            if min(row, default=-1.0) < 0 or abs(sum(row) - 1.0) > 1e-3 or len(row) != len(self.table[0]):
                raise ValueError(f"need rows of equal length with shares that sum to 1, got {row}")


@dataclass(frozen=True)
class View:
    """A target seen as classes: its column, how many classes, and for a regression the inner edges in scaled units.

    With edges e and width τ a scaled answer v has the class probabilities

        p_k = σ((e_{k+1} − v) / τ) − σ((e_k − v) / τ),    e_0 = −∞, e_K = ∞

    as if the truth were logistic about it: they sum to 1, and have a gradient everywhere.
    """

    column: int
    classes: int
    edges: tuple[float, ...] = ()
    softness: float = 0.5

    def shares(self, output: Output) -> Tensor:
        """Return the probabilities (B, K) that a network gives to the classes."""
        if not self.edges:
            if output.logits is None:
                raise ValueError("need logits of a head with classes, got none")
            return torch.softmax(output.logits[:, self.column, : self.classes].float(), dim=1)
        value = output.predictions[:, self.column].float()
        edges = torch.tensor(self.edges, dtype=value.dtype, device=value.device)
        below = torch.sigmoid((edges - value[:, None]) / self.softness)
        ends = below.new_zeros(len(below), 1), below.new_ones(len(below), 1)
        return torch.cat([ends[0], below, ends[1]], dim=1).diff(dim=1)


@dataclass(frozen=True)
class CooccurrenceLoss:
    """The term L_DM of one pair, in the form of `biosig_mtl.training.hooks.Extra`; ``table`` (Ka, Kb) holds p(b|a)."""

    given: View
    told: View
    table: Tensor
    weight: float = 1.0
    ramp_epochs: int = 0

    def __call__(self, network: nn.Module, output: Output, batch: Batch, epoch: int) -> Tensor:
        """Return the weighted mean over the windows of a batch that lack B, (); 0 where none does."""
        del network
        lacks = (~torch.isfinite(batch.targets[:, self.told.column])).to(output.predictions.dtype) * batch.weight
        q = self.wanted(output)
        each = -(q * self.told.shares(output).clamp(min=EPS).log()).sum(1)
        share = self.weight * ramp(epoch, self.ramp_epochs)
        return share * (each * lacks).sum() / lacks.sum().clamp(min=EPS)

    def wanted(self, output: Output) -> Tensor:
        """Return q_B (B, Kb), which has no gradient."""
        seen = self.given.shares(output).detach()
        return seen @ self.table.to(seen)


def cooccurrence_losses(
    pairs: Sequence[Cooccurrence], table: WindowTable, rows: I64, scaler: Scaler
) -> tuple[CooccurrenceLoss, ...]:
    """Make the loss of every pair for a network of ``table`` that learns from ``rows``; nothing else is counted.

    Raises
    ------
    RecipeError
        A target that the table does not have, a regression without edges, a table of another size than the classes.
    DataError
        No training window has both labels and no table is given.
    """
    return tuple(_fit(pair, table, rows, scaler) for pair in pairs)


def _fit(pair: Cooccurrence, table: WindowTable, rows: I64, scaler: Scaler) -> CooccurrenceLoss:
    given, told = (_view(pair, name, table, scaler) for name in (pair.given, pair.told))
    if pair.table:
        found = np.array(pair.table, dtype=np.float64)
        if found.shape != (given.classes, told.classes):
            size = f"{given.classes} rows of {told.classes}"
            raise RecipeError(
                f"cooccurrence {pair.given} → {pair.told}: need a table of {size}, got {found.shape[0]} of {found.shape[1]}"
            )
        found /= found.sum(axis=1, keepdims=True)
    else:
        weight = subject_weights(table.subject[rows], 1.0).astype(np.float64)
        numbers = [_numbers(pair, name, table, rows) for name in (pair.given, pair.told)]
        if not np.isfinite(numbers).all(axis=0).any():
            raise DataError(
                f"cooccurrence {pair.given} → {pair.told}: no training window has both labels to count; give its table"
            )
        found = counted(numbers[0], numbers[1], (given.classes, told.classes), weight, pair.pseudo)
    return CooccurrenceLoss(given, told, torch.from_numpy(found).float(), pair.weight, pair.ramp_epochs)


def counted(a: F64, b: F64, sizes: tuple[int, int], weight: F64, pseudo: float) -> F64:
    """Return p(b|a) (Ka, Kb) from class numbers (n,), NaN where unknown, of windows with a weight (n,).

        p(b|a) = (n_ab + s p(b)) / (n_a + s)

    with weighted counts of windows that know both, s = ``pseudo``. An ``a`` that never stands with a ``b`` has the row p(b).

    >>> counted(np.array([0.0, 1.0, np.nan]), np.array([0.0, 1.0, 1.0]), (2, 2), np.ones(3), 0.0).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    both = np.isfinite(a) & np.isfinite(b)
    counts = np.zeros(sizes)
    np.add.at(counts, (a[both].astype(int), b[both].astype(int)), weight[both])
    share = counts.sum(axis=0) / counts.sum()
    total = counts.sum(axis=1, keepdims=True) + pseudo
    drawn = (counts + pseudo * share) / np.where(total > 0, total, 1.0)
    return np.asarray(np.where(total > 0, drawn, share), dtype=np.float64)


def _view(pair: Cooccurrence, name: str, table: WindowTable, scaler: Scaler) -> View:
    """Return a target as classes: those of its head, or the bins that the pair names."""
    column, edges = _column(pair, name, table), pair.edges.get(name, ())
    head = table.head[column]
    if bool(head.classes) == bool(edges):
        what = "has classes of its own: leave out its edges" if edges else "is answered by a number: give its edges"
        raise RecipeError(f"cooccurrence {pair.given} → {pair.told}: '{name}' {what}")
    if head.classes:
        return View(column, head.classes)
    scaled = (np.array(edges) - scaler.target_mean[column]) / scaler.target_scale[column]
    return View(column, len(edges) + 1, tuple(scaled.tolist()), pair.softness)


def _column(pair: Cooccurrence, name: str, table: WindowTable) -> int:
    if name not in table.target_names:
        known = ", ".join(table.target_names)
        raise RecipeError(f"cooccurrence {pair.given} → {pair.told}: there is no target '{name}'; there are {known}")
    return table.target_names.index(name)


def _numbers(pair: Cooccurrence, name: str, table: WindowTable, rows: I64) -> F64:
    column = _column(pair, name, table)
    values: NDArray[np.floating] = np.asarray(table.targets[rows, column], dtype=np.float64)
    edges: Mapping[str, tuple[float, ...]] = pair.edges
    if name not in edges:
        return table.head[column].encode(values)
    return np.where(np.isnan(values), np.nan, np.digitize(values, edges[name], right=True))
