"""Words of the page that differ by task: sections, protocols and the meaning of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biosig_mtl.report_verdict import CLASSES, REGRESSION

PROTOCOLS = {
    "subject_kfold": "Subjects, not windows, were dealt into folds. Every subject was tested by a model that had seen none of "
    "that subject's windows; validation subjects for early stopping came out of the training side.",
    "transfer": "The model learned on one data set and was tested on another one without any tuning. The median predictor that "
    "it is measured against is that of the tested data set.",
    "random_window": "Windows were dealt at random, so windows of one subject are on both sides. This is a labelled "
    "demonstration of a leak: its errors say how well a model recognises people, and nothing of what it was asked.",
}
_OF_PRESSURE = (
    ("figures", "Figures"), ("baselines", "Baselines"), ("agreement", "Agreement"), ("classes", "Pressure classes"),
    ("screens", "Standards"),
)  # fmt: skip
_OF_AFFECT = (
    ("figures", "Figures"), ("baselines", "Baselines"), ("agreement", "Agreement"), ("people", "People"),
    ("electrodes", "Electrodes"), ("modalities", "Modalities"),
)  # fmt: skip
_OF_ALL = (
    ("examples", "Windows"), ("training", "Training"), ("protocol", "Protocol"), ("data", "Data"), ("recipe", "Recipe"),
)  # fmt: skip
_COMMON_TERMS = (
    ("subject", "a person (or what the data set calls one: see the audit); the unit that must not leak across a split, and the "
     "unit of every interval"),
    ("window", "a slice of fixed length; one estimate each"),
)  # fmt: skip
_FOLD = ("fold", "one dealing of subjects to training, validation and test; each test subject is scored once a seed")
_MEANS = ("mean over subjects", "a figure is computed for each subject, then averaged: long recordings do not weigh more")
_PRESSURE_TERMS = (
    _FOLD, _MEANS, ("pooled", "every window weighs the same; what the standards look at"),
    ("MASE", "MAE ÷ MAE of the training median on the same windows; 1 means that the signals added nothing"),
)  # fmt: skip
_AFFECT_TERMS = (
    ("trial", "one stimulus shown to one person once; all its windows share one rating and stand in one part of a fold, unless "
     "the protocol says otherwise"),
    ("fold", "one dealing of the data to training, validation and test; every tested window is scored once a seed"),
    _MEANS, ("pooled", "every window weighs the same: whoever guesses the mean of each person does well, so read it second"),
    ("trivial baseline", "a predictor that sees no signal: it knows the labels of training subjects, and at most what was "
     "shown (stimulus mean) or how long the recording has run (elapsed time)"),
)  # fmt: skip
_TERMS_OF = {
    REGRESSION: (
        ("CCC", "concordance (Lin 1989): 1 for identity, 0 for a constant; it asks for the right changes, size and level"),
    ),
    CLASSES: (
        ("balanced accuracy", "mean recall of the classes; chance is 1 ÷ number of classes, however rare a class is; "
         "of a person who never had some of them, 1 ÷ number of those that the person had"),
        ("Seq2HR, Tri-P", "of ordered classes, the share of windows whose two likeliest classes are neighbours and hold the "
         "right one, and whose answer is at most one class off; with few classes both are high by chance"),
        ("AUC", "chance that a window of a class gets a higher probability of it than one of another class; 0.5 is guessing"),
    ),
}  # fmt: skip


def words(scores: Mapping[str, Any], targets: Sequence[Mapping[str, Any]], *, pressure: bool, twin: bool) -> dict[str, Any]:
    """Return the parts of the page that are words alone.

    Parameters
    ----------
    scores
        Content of ``scores.json``.
    targets
        What `report_pressure.targets` or `report_affect.targets` gave.
    pressure
        Whether pressures are told.
    twin
        Whether there is a section of the uncalibrated twin.
    """
    kinds = {target.get("kind", "") for target in targets}
    own = _OF_PRESSURE if pressure else _OF_AFFECT
    special = [term for kind, terms in _TERMS_OF.items() if kind in kinds for term in terms]
    says = str((scores.get("protocol_guarantee") or {}).get("says") or "")
    ours = PROTOCOLS.get(str(scores["protocol"]), "")
    return {
        "sections": [*([("twin", "Twin")] if twin else []), *own, ("audit", "Audit"), ("dropped", "Dropped"), *_OF_ALL],
        "protocol": [line for line in (ours or says if pressure else says or ours).splitlines() if line.strip()],
        "glossary": [*_COMMON_TERMS, *(_PRESSURE_TERMS if pressure else (*_AFFECT_TERMS, *special))],
        "chance_words": "the training median (MASE about 1)" if pressure else _chance(kinds),
        "windows_title": "Windows with their beats and points" if pressure else "Windows",
    }


def _chance(kinds: set[str]) -> str:
    told = {
        REGRESSION: "a constant (CCC about 0)",
        CLASSES: "chance (balanced accuracy about 1 ÷ number of classes that a person had)",
    }
    return " and ".join(text for kind, text in told.items() if kind in kinds)
