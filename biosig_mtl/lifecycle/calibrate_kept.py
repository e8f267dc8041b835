"""Methods of calibration to be used on somebody new: fitted on all people of a run, each answered by strangers.

For the figures of a calibration methods were fitted fold by fold. For use they are fitted once more, on everybody whom the
folds tested, with the estimates that were out of fold. Somebody new will be answered by the mean of all folds' networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from biosig_mtl.evaluation import held
from biosig_mtl.lifecycle.calibrate_answers import FIRST, Terms
from biosig_mtl.lifecycle.calibrate_judge import Judged
from biosig_mtl.lifecycle.calibrate_shown import everyone
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.splits import anchors
from biosig_mtl.splits.anchors import Course
from biosig_mtl.training.calibration.keeping import Fitted, Keeping, Standard
from biosig_mtl.types import F64, Fold

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.9
Say = Callable[[str], None]
Inner = Sequence[Mapping[str, Mapping[str, Mapping[str, float]]]]


@dataclass(frozen=True, eq=False)
class Compared:
    """What was compared, and what came of it.

    ``answers`` are those of the folds: the errors of strangers. ``inner`` has, fold by fold, the figures of the choice on
    training people: {K: {target: {method: share of holding's error}}}.
    """

    folds: Sequence[Fold]
    terms: Terms
    answers: pd.DataFrame
    inner: Inner


def keep(opened: Opened, course: Course, compared: Compared, say: Say | None = None) -> Keeping:
    """Fit every method for every K on all tested people.

    Parameters
    ----------
    opened, course
        The run, and whose every window of its table is and when.
    compared
        What was compared; of several seeds the folds of the first are used.
    say
        Told what takes long.
    """
    terms, answers, inner = compared.terms, compared.answers, compared.inner
    folds = [fold for fold in compared.folds if fold.seed == compared.folds[0].seed]
    side, scaler = everyone(opened, folds, course)
    judged = Judged(opened.table, course, "")
    people = np.unique(course.person[side.rows]).tolist()
    fitted = []
    for count in terms.anchoring.counts:
        drawn = anchors.first_in_time(course, people, count)
        own = side.people(drawn, course)
        for i, (name, method) in enumerate(terms.methods.items()):
            if say is not None:
                say(f"fitting {name} for {count} reading{'' if count == 1 else 's'} on all people, for use")
            calibrator = method.fit(side.hiding(np.arange(side.rows.size)), own, terms.rng(count, i))
            fitted.append(Fitted(name, count, calibrator, half_width(answers, (name, count), judged)))
    chosen = {count: best for count in terms.anchoring.counts if (best := best_of(inner, count, list(terms.methods)))}
    return Keeping(tuple(opened.table.target_names), Standard.of(tuple(opened.table.names), scaler), tuple(fitted), chosen)


def half_width(answers: pd.DataFrame, what: tuple[str, int], judged: Judged) -> F64:
    """Return what 90 % of a method's errors (T,) on strangers keep within, all windows after the readings, people alike."""
    name, count = what
    own = answers[(answers["draw"] == FIRST) & (answers["k"] == count)]
    found = []
    for target in judged.table.target_names:
        asked = judged.asked(own, target)
        error, weight = asked.error(name), asked.weight(held.PEOPLE)
        order = np.argsort(error, kind="stable")
        share = np.cumsum(weight[order]) / weight.sum()
        found.append(error[order][min(int(np.searchsorted(share, LEVEL)), order.size - 1)])
    return np.array(found, dtype=np.float64)


def best_of(inner: Inner, count: int, methods: Sequence[str]) -> str | None:
    """Return the method with the least error on training people, the mean over folds and targets; None without methods.

    Somebody new is answered by one method, so the targets have a say together, and holding is none: it needs no method.
    """
    figures = [by_target[str(count)] for by_target in inner]
    means = {name: float(np.mean([each[name] for one in figures for each in one.values()])) for name in methods}
    return min(means, key=lambda name: means[name]) if means else None
