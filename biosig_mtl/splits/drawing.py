"""Drawing one fold: given who is tested, who of the others is chosen with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from biosig_mtl.splits.groups import assign, deal
from biosig_mtl.splits.keys import Keys
from biosig_mtl.splits.protocol import Protocol
from biosig_mtl.types import I64, Bool, DataError, Fold, WindowTable


@dataclass(frozen=True)
class Draw:
    """What folds are drawn from: the windows, the protocol, and one of its seeds."""

    keys: Keys
    protocol: Protocol
    seed: int

    @property
    def target_names(self) -> tuple[str, ...]:
        """Targets whose classes are spread over the folds."""
        return self.keys.table.target_names if self.protocol.stratify else ()

    def groups(self, unit: str, parts: int) -> I64:
        """Assign every window to one of ``parts`` groups of whole units; raise `DataError` where there are too few of them."""
        many = int(self.keys.code(unit).max(initial=-1)) + 1
        if many < parts:
            grid = unit == "stimulus" and self.protocol.scheme == "subject_and_stimulus"
            raise too_few(many, unit, f"for {parts} folds; lower split.{'stimulus_folds' if grid else 'folds'}")
        if unit == "trial":
            return deal(self.keys.code("subject"), self.keys.code("trial"), parts, self.seed)
        return assign(self.keys.code(unit), self.keys.table.targets, self.target_names, parts, self.seed)

    def fold(self, unit: str, side: Bool, test: Bool, number: int) -> Fold:
        """Return one fold: validation units are drawn from the training side, by the rule by which test units are."""
        rows = np.flatnonzero(side)
        share = Fraction(self.protocol.validation).limit_denominator(10)
        parts = max(min(share.denominator, np.unique(self.keys.code(unit)[rows]).size), 2)
        group = _groups(self.keys, unit, rows, parts, self.seed * 1009 + number + 1)
        chosen = group < max(round(float(share) * parts), 1)
        return Fold(rows[~chosen], rows[chosen], np.flatnonzero(test), number=number, seed=self.seed, unit=unit)


def inner(fold: Fold, table: WindowTable, member: int, members: int) -> Fold:
    """Return the fold with another validation part: member *m* of an ensemble validates on part *m* of the training side.

    Every subject (stimulus, trial: whatever the fold's validation was drawn by) of the training side is thus learned from by
    some members, and none of the test side by any. Labels of tested people that a fold may learn from stay in training.
    A validation part that is later in time has no other that could stand in for it: then all members share it.
    """
    if members <= 1 or fold.leaky or fold.unit == "time":
        return fold
    keys = Keys(table)
    side = np.sort(np.concatenate([fold.train, fold.validation]))
    code = keys.code("subject")
    given = np.isin(code[side], np.unique(code[fold.test])) & (fold.unit == "subject")
    side, kept = side[~given], side[given]
    parts = max(2, min(max(members, 3), np.unique(keys.code(fold.unit)[side]).size))
    chosen = _groups(keys, fold.unit, side, parts, fold.seed * 1009 + fold.number) == member % parts
    twin = inner(fold.twin, table, member, members) if fold.twin else None
    train = np.sort(np.concatenate([side[~chosen], kept]))
    return replace(fold, train=train, validation=side[chosen], twin=twin)


def _groups(keys: Keys, unit: str, rows: I64, parts: int, seed: int) -> I64:
    if unit == "trial":
        return deal(keys.code("subject")[rows], keys.code("trial")[rows], parts, seed)
    return assign(keys.code(unit)[rows], keys.table.targets[rows], keys.table.target_names, parts, seed)


def too_few(many: int, unit: str, why: str) -> DataError:
    """Return the error of a table with too few units for a split."""
    words = {"subject": "subjects", "stimulus": "stimuli", "trial": "trials"}
    return DataError(f"{many} {words[unit]} are too few {why}")
