"""Splits: who is learned from, who is chosen with, who is tested on. The unit is the subject, and every fold proves it.

Stratified-group K-fold on 4 × 4 pressure classes of the subject's median (SBP < 100, 100–140, 140–160, ≥ 160; DBP < 60, 60–80,
80–100, ≥ 100 mmHg: the classes of bp-benchmark, whose own stratifier is withheld). Validation subjects are drawn from the
training side of each fold by the same rule, so model selection never sees a test subject (nested).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, I64, DataError, Fold, RecipeError, WindowTable

Subjects = NDArray[np.str_]

# Inner edges of the pressure classes, by target.
CLASS_EDGES: dict[str, tuple[float, ...]] = {"sbp": (100.0, 140.0, 160.0), "dbp": (60.0, 80.0, 100.0)}


@dataclass(frozen=True)
class Protocol:
    """How a run is judged: the split, its repetitions, and the controls that are trained beside the model.

    ``scheme``: ``subject_kfold`` (every subject is tested once a seed), ``transfer`` (train on one data set, test on another)
    or ``random_window``, which shares subjects between the parts and exists only as a labelled demonstration of a leak.
    ``validation`` is the share of training subjects that early stopping may look at. ``ablations`` are feature families that
    are left out in a second, otherwise equal training.
    """

    scheme: Literal["subject_kfold", "transfer", "random_window"] = "subject_kfold"
    folds: int = 5
    seeds: tuple[int, ...] = (0,)
    validation: float = 0.2
    stratify: bool = True
    negative_control: bool = True
    ablations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.folds < 2:
            raise ValueError(f"need folds >= 2, got {self.folds}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"need one or more different seeds, got {self.seeds}")
        if min(self.seeds) < 0:
            raise ValueError(f"need seeds >= 0, got {self.seeds}")
        if not 0 < self.validation < 0.5:
            raise ValueError(f"need 0 < validation < 0.5, got {self.validation}")


def make(table: WindowTable, protocol: Protocol) -> list[Fold]:
    """Return the folds of every seed.

    Raises
    ------
    DataError
        There are too few subjects (or windows) for every part to have one.
    RecipeError
        A transfer split on a table with one data set.
    """
    subject = table.subject
    if len(np.unique(subject)) < protocol.folds + 1 and protocol.scheme == "subject_kfold":
        raise DataError(f"{len(np.unique(subject))} subjects are too few for {protocol.folds} folds; lower split.folds")
    folds = [fold for seed in protocol.seeds for fold in _SCHEMES[protocol.scheme](table, protocol, seed)]
    for fold in folds:
        for part in ("train", "validation", "test"):
            if not fold.parts()[part].size:
                many = len(np.unique(subject))
                raise DataError(f"fold {fold.number} has nobody to {part} on: {many} subjects are too few for this split")
        if not fold.leaky:
            prove_disjoint(fold, subject)
    return folds


def prove_disjoint(fold: Fold, subject: Subjects) -> None:
    """Raise `DataError` where a subject or a window is in two parts of a fold."""
    parts = {name: set(subject[rows]) for name, rows in fold.parts().items()}
    names = sorted(parts)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if shared := parts[first] & parts[second]:
                raise DataError(f"fold {fold.number}: subject '{min(shared)}' is in {first} and in {second}; this is a leak")


def inner(fold: Fold, table: WindowTable, member: int, members: int) -> Fold:
    """Return the fold with other validation subjects: member *m* of an ensemble validates on part *m* of the training side.

    Every subject of the training side is thus learned from by some members, and none of the test side by any.
    """
    if members <= 1 or fold.leaky:
        return fold
    side = np.sort(np.concatenate([fold.train, fold.validation]))
    subject = table.subject[side]
    parts = max(2, min(max(members, 3), len(np.unique(subject))))
    group = assign(subject, table.targets[side], table.target_names, parts, fold.seed * 1009 + fold.number)
    chosen = group == member % parts
    return replace(fold, train=side[~chosen], validation=side[chosen])


def assign(subject: Subjects, targets: F32, target_names: tuple[str, ...], parts: int, seed: int) -> I64:
    """Assign every window to one of ``parts`` groups of whole subjects, stratified by the pressure class of the subject.

    Subjects are taken class by class (largest class first), shuffled within the class, and each goes to the group that has the
    fewest subjects of that class, then the fewest subjects, then the fewest windows. Returns shape (window,).
    """
    rng = np.random.default_rng(seed)
    people, code = np.unique(subject, return_inverse=True)
    classes = _classes(code, targets, target_names, people.size)
    windows = np.bincount(code, minlength=people.size)
    load = np.zeros((parts, 2), np.int64)
    group = np.empty(people.size, np.int64)
    found, sizes = np.unique(classes, return_counts=True)
    for label in found[np.argsort(-sizes, kind="stable")]:
        members = rng.permutation(np.flatnonzero(classes == label))
        here = np.zeros(parts, np.int64)
        for person in members:
            best = int(np.lexsort((load[:, 1], load[:, 0], here))[0])
            group[person] = best
            here[best] += 1
            load[best] += (1, windows[person])
    return group[code]


def _classes(code: I64, targets: F32, target_names: tuple[str, ...], people: int) -> I64:
    """Return the joint class of each subject's median targets, shape (subject,)."""
    order = np.argsort(code, kind="stable")
    bounds = np.searchsorted(code[order], np.arange(people + 1))
    label = np.zeros(people, np.int64)
    for j, name in enumerate(target_names):
        values = targets[order, j]
        median = np.array([_median(values[a:b]) for a, b in pairwise(bounds)])
        known = median[~np.isnan(median)]
        edges = CLASS_EDGES.get(name) or (tuple(np.quantile(known, [0.25, 0.5, 0.75])) if known.size else ())
        label = label * 5 + np.where(np.isnan(median), 4, np.digitize(median, edges))
    return label


def _median(values: F32) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def _fold(table: WindowTable, side: I64, test: I64, number: int, seed: int, protocol: Protocol) -> Fold:
    """Return one fold: validation subjects are drawn from the training side."""
    share = Fraction(protocol.validation).limit_denominator(10)
    parts = max(min(share.denominator, np.unique(table.subject[side]).size), 2)
    group = assign(table.subject[side], table.targets[side], table.target_names, parts, seed * 1009 + number + 1)
    chosen = group < max(round(float(share) * parts), 1)
    return Fold(train=side[~chosen], validation=side[chosen], test=test, number=number, seed=seed)


def _subject_kfold(table: WindowTable, protocol: Protocol, seed: int) -> list[Fold]:
    names = table.target_names if protocol.stratify else ()
    group = assign(table.subject, table.targets, names, protocol.folds, seed)
    return [
        _fold(table, np.flatnonzero(group != k), np.flatnonzero(group == k), k, seed, protocol) for k in range(protocol.folds)
    ]


def _transfer(table: WindowTable, protocol: Protocol, seed: int) -> list[Fold]:
    dataset = table.index["dataset"].to_numpy(dtype=str)
    test = table.index["transfer_test"].to_numpy(dtype=bool) if "transfer_test" in table.index else np.zeros(len(table), bool)
    if not test.any() or test.all():
        raise RecipeError(
            f"split.scheme 'transfer' needs data.test_dataset; the table has only {', '.join(np.unique(dataset))}"
        )
    return [_fold(table, np.flatnonzero(~test), np.flatnonzero(test), 0, seed, protocol)]


def _random_window(table: WindowTable, protocol: Protocol, seed: int) -> list[Fold]:
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(len(table)) % protocol.folds)
    folds = []
    for k in range(protocol.folds):
        side = rng.permutation(np.flatnonzero(group != k))
        cut = max(1, round(protocol.validation * side.size))
        test = np.flatnonzero(group == k)
        folds.append(Fold(np.sort(side[cut:]), np.sort(side[:cut]), test, number=k, seed=seed, leaky=True))
    return folds


_SCHEMES = {"subject_kfold": _subject_kfold, "transfer": _transfer, "random_window": _random_window}
