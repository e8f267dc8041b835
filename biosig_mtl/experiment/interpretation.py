"""What a run shows of itself beside its scores: modalities, electrodes, bands, and features that could not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biosig_mtl.evaluation import class_grades, grades, intervals, metrics
from biosig_mtl.experiment.grading import decided, predictions
from biosig_mtl.experiment.members import MODEL, Estimated, Result
from biosig_mtl.training.person import SUFFIX
from biosig_mtl.types import F64, Fold, Predictions, WindowTable

DE = "eeg_de."


def interpretation(table: WindowTable, folds: Sequence[Fold], results: Sequence[Result]) -> dict[str, Any]:
    """Return the content of ``interpretation.json``.

    ``modalities.removal``: by how much the error of a target grows, as a share of it, when a modality is taken from the test
    windows (1 − balanced accuracy for classes), measured with the first network of every fold. Learnt weights (``learned``,
    ``electrodes.weights``) are means over those networks; attention alone explains nothing, so read them beside the removal.
    ``electrodes.bands``: correlation of the band's differential entropy with each target within persons (deviations from the
    person's mean), over all windows: a description of the data that no model has a part in.
    """
    first = [r for r in results if r.job.variant == MODEL and r.job.member == 0]
    found: dict[str, Any] = {}
    if modalities := _modalities(table, folds, first):
        found["modalities"] = modalities
    if electrodes := _electrodes(table, first):
        found["electrodes"] = electrodes
    never = np.flatnonzero(~np.isfinite(np.asarray(table.values)).any(axis=0))
    if never.size:
        # What is shown of a feature beside the person's own is unknown where the feature is: said once.
        found["empty"] = [name for j in never.tolist() if not (name := table.names[j]).endswith(tuple(SUFFIX.values()))]
    return found


def _modalities(table: WindowTable, folds: Sequence[Fold], first: Sequence[Result]) -> dict[str, Any]:
    names = list(first[0].removed) if first else []
    learned = _mean_weights(first, "modalities")
    if not names:
        return {"names": list(learned), "learned": learned} if learned else {}
    whole = _errors(_joined(table, folds, [(r, Estimated(r.test, r.shares)) for r in first]))
    removal: dict[str, dict[str, float]] = {target: {} for target in table.target_names}
    for name in names:
        less = _errors(_joined(table, folds, [(r, r.removed[name]) for r in first]))
        for target, error in less.items():
            removal[target][name] = error / whole[target] - 1 if whole[target] > 0 else float("nan")
    return {"names": names, "removal": removal, "learned": learned}


def _joined(table: WindowTable, folds: Sequence[Fold], parts: Sequence[tuple[Result, Estimated]]) -> Predictions:
    by_fold = {(r.job.fold.seed, r.job.fold.number): found for r, found in parts}
    kept = [(fold, decided(by_fold[fold.seed, fold.number], table)) for fold in folds if (fold.seed, fold.number) in by_fold]
    return predictions(table, kept)


def _errors(given: Predictions) -> dict[str, float]:
    """Return the mean over subjects of the absolute error, or of 1 − balanced accuracy (pooled where nobody has one)."""
    counts = intervals.draw(np.unique(given.subject).size, np.random.default_rng(0), 1)
    found = {}
    for name, head in zip(given.target_names, given.head, strict=True):
        if head.classes:
            graded = class_grades.grade(given, name, counts)
            found[name] = 1 - float(graded.pooled[class_grades.MAIN])
        else:
            found[name] = float(metrics.nanmean(grades.grade(given, name, counts).mae))
    return found


def _mean_weights(first: Sequence[Result], word: str) -> dict[str, float]:
    told = [r.weights[word] for r in first if word in r.weights]
    return {name: float(np.mean([one[name] for one in told])) for name in told[0]} if told else {}


def _electrodes(table: WindowTable, first: Sequence[Result]) -> dict[str, Any]:
    words = sorted({word for r in first for word in r.weights if word.startswith("electrodes.")})
    weights = {word.removeprefix("electrodes."): _mean_weights(first, word) for word in words}
    bands = _bands(table)
    names = list(dict.fromkeys([*(n for one in weights.values() for n in one), *(n for one in bands.values() for n in one)]))
    if not names:
        return {}
    return {
        "names": names,
        "weights": {word: [one.get(name) for name in names] for word, one in weights.items()},
        "bands": {word: [one.get(name) for name in names] for word, one in bands.items()},
    }


def _bands(table: WindowTable) -> dict[str, dict[str, float]]:
    """Return, for each target and band, the within-person correlation of every electrode's differential entropy."""
    columns: dict[str, dict[str, int]] = {}
    for j, name in enumerate(table.names):
        words = name.split(".")
        if name.startswith(DE) and len(words) == 3:
            columns.setdefault(words[1], {})[words[2]] = j
    if not columns:
        return {}
    _, code = np.unique(table.subject, return_inverse=True)
    found = {}
    for t, target in enumerate(table.target_names):
        wanted = _within(table.targets[:, [t]].astype(np.float64), code)
        for band, places in columns.items():
            values = _within(np.asarray(table.values[:, list(places.values())], np.float64), code)
            found[f"{target}, {band}"] = dict(zip(places, _correlation(values, wanted).tolist(), strict=True))
    return found


def _within(values: F64, code: np.ndarray[Any, Any]) -> F64:
    """Return deviations from the mean of each person, NaN where unknown."""
    known = np.isfinite(values)
    count = np.stack([np.bincount(code, k) for k in known.T.astype(float)], axis=1)
    total = np.stack([np.bincount(code, v) for v in np.where(known, values, 0.0).T], axis=1)
    return np.where(known, values - (total / np.maximum(count, 1))[code], np.nan)


def _correlation(values: F64, wanted: F64) -> F64:
    known = np.isfinite(values) & np.isfinite(wanted)
    x, y = np.where(known, values, 0.0), np.where(known, wanted, 0.0)
    scale = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.asarray(np.where(scale > 0, (x * y).sum(axis=0) / np.where(scale > 0, scale, 1.0), np.nan))


def with_reasons(found: Mapping[str, Any], reasons: Mapping[str, str]) -> dict[str, Any]:
    """Return the interpretation with a reason for every feature that is never known."""
    told = {name: _reason(name, reasons) for name in found.get("empty", ())}
    return {key: value for key, value in found.items() if key != "empty"} | ({"reasons": told} if told else {})


def _reason(name: str, reasons: Mapping[str, str]) -> str:
    """Return the reason of a feature, or of its name without the channel or the last word."""
    while name:
        if name in reasons:
            return reasons[name]
        name = name.rpartition(".")[0]
    return "unknown in every window"
