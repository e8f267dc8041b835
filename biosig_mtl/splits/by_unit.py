"""Folds of whole subjects, stimuli or trials, and the labelled leak."""

from __future__ import annotations

import numpy as np

from biosig_mtl.splits.drawing import Draw, too_few
from biosig_mtl.types import Fold, RecipeError


def subject_kfold(draw: Draw) -> list[Fold]:
    """Test every subject once a seed."""
    folds, many = draw.protocol.folds, np.unique(draw.keys.code("subject")).size
    if many < folds + 1:
        raise too_few(many, "subject", f"for {folds} folds; lower split.folds")
    return _each(draw, "subject", folds)


def leave_one_subject_out(draw: Draw) -> list[Fold]:
    """Test every subject alone, in the order of their names."""
    code = draw.keys.code("subject")
    return [draw.fold("subject", code != k, code == k, k) for k in range(int(code.max(initial=-1)) + 1)]


def leave_stimulus_out(draw: Draw) -> list[Fold]:
    """Test every stimulus once a seed, on everybody; all people are learned from."""
    return _each(draw, "stimulus", draw.protocol.folds)


def trial_kfold(draw: Draw) -> list[Fold]:
    """Test every trial once a seed; each person's trials are dealt out over the folds."""
    return _each(draw, "trial", draw.protocol.folds)


def subject_and_stimulus(draw: Draw) -> list[Fold]:
    """Test new people on new stimuli: every pair of a group of subjects and a group of stimuli is a fold.

    What other people did under the tested stimuli, and what the tested people did under other stimuli, is left out of the
    fold: neither learned from nor tested. Over all folds of a seed each window is tested once. Validation subjects are drawn
    from the others; they have seen the stimuli that are learned from.
    """
    who = draw.groups("subject", draw.protocol.folds)
    what = draw.groups("stimulus", draw.protocol.stimulus_folds)
    pairs = [(i, j) for i in range(draw.protocol.folds) for j in range(draw.protocol.stimulus_folds)]
    return [
        draw.fold("subject", (who != i) & (what != j), (who == i) & (what == j), number) for number, (i, j) in enumerate(pairs)
    ]


def transfer(draw: Draw) -> list[Fold]:
    """Learn from one data set and test on another, marked ``transfer_test`` in the table."""
    index = draw.keys.table.index
    test = index["transfer_test"].to_numpy(dtype=bool) if "transfer_test" in index else np.zeros(len(index), bool)
    if not test.any() or test.all():
        names = ", ".join(np.unique(index["dataset"].to_numpy(dtype=str)))
        raise RecipeError(f"split.scheme 'transfer' needs data.test_dataset; the table has only {names}")
    return [draw.fold("subject", ~test, test, 0)]


def random_window(draw: Draw) -> list[Fold]:
    """Throw all windows into one pot: the same people, and the same trials, are on all sides."""
    rng = np.random.default_rng(draw.seed)
    folds = draw.protocol.folds
    group = rng.permutation(np.arange(len(draw.keys)) % folds)
    made = []
    for k in range(folds):
        side = rng.permutation(np.flatnonzero(group != k))
        cut = max(1, round(draw.protocol.validation * side.size))
        test = np.flatnonzero(group == k)
        made.append(Fold(np.sort(side[cut:]), np.sort(side[:cut]), test, number=k, seed=draw.seed, leaky=True))
    return made


def _each(draw: Draw, unit: str, folds: int) -> list[Fold]:
    group = draw.groups(unit, folds)
    return [draw.fold(unit, group != k, group == k, k) for k in range(folds)]
