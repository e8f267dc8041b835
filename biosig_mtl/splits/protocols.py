"""Protocols as named objects: what each promises, how its folds are made, and the words in which it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.splits import by_elicitor, by_time, by_unit
from biosig_mtl.splits.drawing import Draw, too_few
from biosig_mtl.splits.keys import Keys
from biosig_mtl.splits.proof import prove
from biosig_mtl.splits.protocol import Protocol
from biosig_mtl.types import DataError, Fold, Guarantee, WindowTable

UNITS = {"subject": "people", "stimulus": "stimuli", "trial": "trials", "window": "samples"}


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to split: its promise, its maker, the question that its figures answer, and what they do not tell."""

    guarantee: Guarantee
    folds: Callable[[Draw], list[Fold]]
    answers: str
    silent: str


NEW_PEOPLE = Guarantee(
    ("subject", "trial", "window"),
    subject_independent=True,
    says="nobody who is tested was learned from",
)
NEW_BOTH = Guarantee(
    ("subject", "stimulus", "trial", "window"),
    subject_independent=True,
    says="neither the people nor the stimuli that are tested were learned from",
)
NEW_STIMULI = Guarantee(
    ("stimulus", "trial", "window"),
    subject_independent=False,
    says="the people are known, the stimuli are new",
)
NEW_TRIALS = Guarantee(
    ("trial", "window"),
    subject_independent=False,
    says="the people are known, and so may be the stimuli, rated by others or in another session",
)
LATER = Guarantee(
    ("window", "past"),
    subject_independent=False,
    says="the people and the trials are known; only what lies later in the same recording is tested",
)
NOTHING = Guarantee((), subject_independent=False, says="a leak on purpose: windows of one trial are on all sides")

PROTOCOLS: dict[str, Scheme] = {
    "subject_kfold": Scheme(
        NEW_PEOPLE,
        by_unit.subject_kfold,
        "how large is the error on new people?",
        "how much of it is known from the stimulus alone, where all see the same: read the baseline stimulus_mean",
    ),
    "leave_one_subject_out": Scheme(
        NEW_PEOPLE,
        by_unit.leave_one_subject_out,
        "how large is the error on a new person, with everybody else to learn from?",
        "how much of it is known from the stimulus alone, where all see the same: read the baseline stimulus_mean",
    ),
    "leave_stimulus_out": Scheme(
        NEW_STIMULI,
        by_unit.leave_stimulus_out,
        "does it hold for stimuli that nobody was learned from under?",
        "anything about new people",
    ),
    "subject_and_stimulus": Scheme(
        NEW_BOTH,
        by_unit.subject_and_stimulus,
        "how large is the error on new people under new stimuli?",
        "what more data would give: much of it is left out of each fold",
    ),
    "trial_kfold": Scheme(
        NEW_TRIALS,
        by_unit.trial_kfold,
        "how large is the error on further trials of people who gave labelled ones?",
        "anything about new people, or new stimuli",
    ),
    "epic_time": Scheme(
        LATER,
        by_time.epic_time,
        "does what was learned early in a recording hold later in it?",
        "anything about new people, stimuli or trials; a rating that stays the same through a trial is simply remembered",
    ),
    "epic_subject": Scheme(
        NEW_PEOPLE, by_unit.subject_kfold, "how large is the error on new people?", "anything about new stimuli"
    ),
    "epic_elicitor": Scheme(
        NEW_STIMULI,
        by_elicitor.epic_elicitor,
        "does it hold in a quadrant of valence and arousal that was never learned from?",
        "anything about new people",
    ),
    "epic_version": Scheme(
        NEW_STIMULI,
        by_elicitor.epic_version,
        "does it hold for another stimulus of the same kind?",
        "anything about new people",
    ),
    "calibrated_within_trial": Scheme(
        LATER,
        by_time.calibrated_within_trial,
        "how much do labelled first seconds of every tested trial help? (The twin, without them, stands beside it.)",
        "anything about new people, or about trials whose rating is not known yet",
    ),
    "transfer": Scheme(
        NEW_PEOPLE,
        by_unit.transfer,
        "how large is the error on the people of another data set, without tuning?",
        "which of the many differences between two data sets is to blame",
    ),
    "random_window": Scheme(
        NOTHING, by_unit.random_window, "how large is the leak?", "anything about the signals: its audit fails"
    ),
}


def make(table: WindowTable, protocol: Protocol) -> list[Fold]:
    """Return the folds of every seed, each of which has proven what its protocol promises.

    Raises
    ------
    DataError
        There are too few subjects, stimuli, trials or windows for every part to have one; the data set names no stimulus where
        the scheme needs it; a fold breaks its guarantee (which would be a fault of ours, or of ids that are not people).
    RecipeError
        A transfer split on a table with one data set, or stimuli that ``split.quadrants`` or ``split.versions`` do not place.
    """
    keys, scheme = Keys(table), PROTOCOLS[protocol.scheme]
    folds = [fold for seed in protocol.seeds for fold in scheme.folds(Draw(keys, protocol, seed))]
    for fold in folds:
        _refuse_empty(fold, keys)
        prove(fold, keys, scheme.guarantee)
        if fold.twin is not None:
            prove(fold.twin, keys, NEW_PEOPLE)
    return folds


def _refuse_empty(fold: Fold, keys: Keys) -> None:
    for part in ("train", "validation", "test"):
        if not fold.parts()[part].size:
            unit = fold.unit if fold.unit in UNITS else "subject"
            many = np.unique(keys.code(unit)).size
            raise DataError(f"fold {fold.number} has nobody to {part} on: {too_few(many, unit, 'for this split')}")


def describe(protocol: Protocol) -> str:
    """Return what a protocol promises and what it does not, in words.

    >>> print(describe(Protocol("leave_one_subject_out")))
    leave_one_subject_out — subject-independent: nobody who is tested was learned from.
    Never on both sides: people, trials, samples. May be on both sides: stimuli.
    It answers: how large is the error on a new person, with everybody else to learn from?
    It does not tell how much of it is known from the stimulus alone, where all see the same: read the baseline stimulus_mean.
    """
    scheme = PROTOCOLS[protocol.scheme]
    promise = scheme.guarantee
    apart = [word for unit, word in UNITS.items() if unit in promise.disjoint]
    shared = [word for word in UNITS.values() if word not in apart]
    kind = "subject-independent" if promise.subject_independent else "NOT subject-independent"
    lines = [
        f"{protocol.scheme} — {kind}: {promise.says}.",
        f"Never on both sides: {', '.join(apart) or 'nothing'}. May be on both sides: {', '.join(shared) or 'nothing'}.",
    ]
    if "past" in promise.disjoint:
        lines.append("Within a recording, all that is learned from lies before all that is tested.")
    return "\n".join([*lines, f"It answers: {scheme.answers}", f"It does not tell {scheme.silent}."])


def left_out(folds: Sequence[Fold], table: WindowTable) -> str:
    """Return how many windows are never tested, so that none is lost unsaid; empty where all are.

    Counted over the folds of one seed: windows that are only ever learned from, and windows in no part (gaps, borders).
    """
    tested, used = np.zeros(len(table), bool), np.zeros(len(table), bool)
    for fold in (fold for fold in folds if fold.seed == folds[0].seed):
        tested[fold.test] = True
        for rows in fold.parts().values():
            used[rows] = True
    n, never, lost = len(table), int((~tested).sum()), int((~used).sum())
    if not never:
        return ""
    trial = table.trial
    gone = np.unique(trial).size - np.unique(trial[tested]).size
    return f"{never} of {n} windows are never tested ({lost} of them in no part of any fold), and {gone} whole trials"
