"""What the splits of a run learned: the report of each fold's first network, and of all of them together.

Everything is measured on test windows: of people that the network did not learn from, unless the protocol says otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from biosig_mtl.evaluation import intervals
from biosig_mtl.evaluation.dependence import dependence
from biosig_mtl.evaluation.probes import NUISANCE, PERSON, TARGET, Asked, Probe, probe, tells_persons
from biosig_mtl.training.diagnostics import Seen, Subjects, look_and_report, pooled_of, rounded
from biosig_mtl.types import F64, I64, WindowTable

COSINE = "cosine_"
# Columns of the index that may be read from a split and should not be: classes, then numbers.
CLASSED = ("dataset", "device", "site")
QUALITY = "sqi"
# Features of the person, and the rate, by the name that a reader knows.
NUMBERS = {"person.age_years": "age", "hr.mean_per_min": "heart rate"}
SEX = "person.sex_male"
AGREE = 0.5  # mean correlation between maps of networks below which they must not be interpreted; ours
FEWEST_POINTS = 4  # a correlation of fewer points of a map says nothing
BY_PERSON = "by_person"
SHARED = "shared"
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?%?")
FEW = 3  # networks that are named


def fold_report(model: nn.Module, given: Subjects) -> dict[str, Any]:
    """Return the split report of one network: that of `training.diagnostics`, and what is asked of its arrays.

    Returns
    -------
    dict
        Beside the keys of `split_report`: ``dependence`` (`Dependence`, None for too few windows), ``probes`` (a list for each
        split, of `Probe` with ``skill``), ``gates_by_person`` (``mean sd`` over people of each one's mean, (T,)), ``cosines``
        (by pair of targets: ``mean last negative`` over epochs) and ``by_person`` (absolute errors of each person, from which
        `gather` pools removal over folds). A network that does not split has only the keys that `split_report` gives.
    """
    seen, told = look_and_report(model, given)
    if seen is None:
        return told
    names = told["splits"]
    v = pooled_of(torch.from_numpy(seen.pooled)).numpy()
    found = dependence(v, seen.subject, np.random.default_rng(0))
    things = asked_of(given.table, seen.rows)
    read = [[probe(x, one, seen.subject) for one in things] for x in v]
    told["warnings"] += _person_warnings([n for n in names if n != SHARED], read)
    return {
        **told,
        "dependence": None if found is None else rounded(asdict(found)),
        "probes": rounded([[asdict(one) | {"skill": one.skill} for one in row] for row in read]),
        "gates_by_person": _gates(seen),
        "cosines": _cosines(given.history),
        BY_PERSON: _by_person(seen),
    }


def asked_of(table: WindowTable, rows: I64) -> list[Asked]:
    """Return what is asked of every split: the targets, the person, and what else must not decide, where the table has it."""
    found = []
    for t, (name, head) in enumerate(zip(table.target_names, table.head, strict=True)):
        values = head.encode(np.asarray(table.targets[rows, t], np.float64))
        found.append(Asked(name, TARGET, values, head.classes))
    found.append(Asked("person", PERSON, _codes(table.subject[rows]), int(np.unique(table.subject[rows]).size)))
    for column in (c for c in CLASSED if c in table.index):
        code = _codes(table.index[column].to_numpy(dtype=str)[rows])
        found.append(Asked(column, NUISANCE, code, int(code.max()) + 1))
    found += [Asked(name, NUISANCE, _feature(table, rows, column)) for column, name in NUMBERS.items() if column in table.names]
    if SEX in table.names:
        found.append(Asked("sex", NUISANCE, _feature(table, rows, SEX), 2))
    if QUALITY in table.index:
        found.append(Asked("signal quality", NUISANCE, table.index[QUALITY].to_numpy(dtype=np.float64)[rows]))
    # One data set alone, say, is nothing that can be asked.
    return [one for one in found if one.kind != NUISANCE or np.unique(one.values[np.isfinite(one.values)]).size > 1]


def gather(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of ``split_report.json`` from the reports of folds by name.

    Returns
    -------
    dict
        ``sentences`` (warnings, each once, with where they hold), ``folds`` (the reports) and, where networks split,
        ``removal`` (by operator, ``value`` (K, T) and ``ci95`` (K, T, 2), of all people of all folds) and ``agreement`` (by
        kind of map, the mean correlation between networks of each split (K,), and ``networks``).
    """
    split = {where: report for where, report in reports.items() if report.get("splits")}
    told = _once(reports)
    found: dict[str, Any] = {"sentences": told}
    if split:
        agreement = _agreement(list(split.values()))
        removal = _removal(list(split.values()))
        names = next(iter(split.values()))["splits"]
        # First what holds for the run as a whole.
        told[:0] = _unsure(names, removal) + _agreement_warnings(names, agreement)
        found |= {"agreement": agreement, "removal": removal}
    bare = {where: {key: value for key, value in report.items() if key != BY_PERSON} for where, report in reports.items()}
    return found | {"folds": bare}


def _once(reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the warnings of all networks, one for those that differ in their numbers alone, with where they hold."""
    alike: dict[str, tuple[str, list[str]]] = {}
    for where, report in reports.items():
        for sentence in report.get("warnings", []):
            alike.setdefault(NUMBER.sub("#", sentence), (sentence, []))[1].append(where)
    told = []
    for sentence, places in alike.values():
        many = f"{places[0]}; alike in {len(places)} of {len(reports)} networks"
        told.append(f"{sentence} ({many if len(places) > FEW else '; '.join(places)})")
    return told


# ---------------------------------------------------------------------------------------------------------- of one network
def _codes(words: NDArray[np.str_]) -> F64:
    return np.unique(words, return_inverse=True)[1].astype(np.float64)


def _feature(table: WindowTable, rows: I64, column: str) -> F64:
    return np.asarray(table.values[rows, table.names.index(column)], np.float64)


def _person_warnings(targets: Sequence[str], read: Sequence[Sequence[Probe]]) -> list[str]:
    told = []
    for name, row in zip(targets, read[-len(targets) :], strict=True):
        person = tells_persons(row, name)
        if person is not None:
            own = next(one for one in row if one.name == name)
            told.append(
                f"the '{name}' split tells persons better than its target: {person.value:.0%} of windows go to the right one "
                f"of {person.people} people (chance {person.chance:.0%}), a skill of {person.skill:.2f} beside {own.skill:.2f} "
                f"for '{name}'"
            )
    return told


def _gates(seen: Seen) -> dict[str, Any] | None:
    if seen.gates is None:
        return None
    _, code, count = np.unique(seen.subject, return_inverse=True, return_counts=True)
    each = np.stack([np.bincount(code, column) / count for column in seen.gates.T], axis=1)
    return {"mean": rounded(each.mean(axis=0)), "sd": rounded(each.std(axis=0, ddof=1) if len(each) > 1 else each[0] * np.nan)}


def _cosines(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the columns ``cosine_<a>_<b>`` of a history tell."""
    found = {}
    for column in sorted({key for row in history for key in row if key.startswith(COSINE)}):
        known = [float(row[column]) for row in history if not math.isnan(row.get(column, math.nan))]
        if known:
            values = np.array(known)
            found[column.removeprefix(COSINE)] = rounded(
                {"mean": values.mean(), "last": values[-1], "negative": float((values < 0).mean())}
            )
    return found


def _by_person(seen: Seen) -> dict[str, Any]:
    """Return the mean absolute error of each ``subject`` (S,): ``whole`` (S, T), ``zeros`` and ``shuffled`` (K, S, T)."""
    _, code = np.unique(seen.subject, return_inverse=True)

    def each(errors: F64) -> F64:
        known = np.isfinite(errors)
        count = np.stack([np.bincount(code, column) for column in known.T.astype(float)], axis=1)
        total = np.stack([np.bincount(code, column) for column in np.where(known, np.abs(errors), 0.0).T], axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    return {
        "subject": np.unique(seen.subject).tolist(),
        "whole": rounded(each(seen.errors)),
        "zeros": rounded(np.stack([each(part) for part in seen.zeros])),
        "shuffled": rounded(np.stack([each(part) for part in seen.shuffled])),
    }


# -------------------------------------------------------------------------------------------------------- of all networks
def _array(values: Any) -> F64:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _removal(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return by how much errors grow without a split, as a share, with a bootstrap over the people of all folds."""
    told = [report[BY_PERSON] for report in reports if BY_PERSON in report]
    if not told:
        return {}
    people, code = np.unique([name for one in told for name in one["subject"]], return_inverse=True)
    # With several seeds a person is tested several times, and is still one person.
    whole = _by_code(np.concatenate([_array(one["whole"]) for one in told])[None], code)[0]
    counts = intervals.draw(people.size, np.random.default_rng(0))
    found: dict[str, Any] = {"people": int(people.size)}
    for how in ("zeros", "shuffled"):
        without = _by_code(np.concatenate([_array(one[how]) for one in told], axis=1), code)
        value = np.full((len(without), whole.shape[1]), np.nan)
        ends = np.full((*value.shape, 2), np.nan)
        for k, t in np.ndindex(value.shape):
            known = np.isfinite(whole[:, t])
            if known.any():
                value[k, t] = without[k, known, t].mean() / max(float(whole[known, t].mean()), 1e-12) - 1
                ends[k, t] = np.array(intervals.ratio_ci95(without[k, :, t], whole[:, t], counts)) - 1
        found[how] = {"value": rounded(value), "ci95": rounded(ends)}
    return found


def _by_code(values: F64, code: I64) -> F64:
    """Return the mean of rows (K, R, T) of the same person, (K, S, T)."""
    return np.stack([_known_mean(values[:, code == one].swapaxes(0, 1)) for one in range(int(code.max()) + 1)], axis=1)


def _unsure(names: Sequence[str], removal: Mapping[str, Any]) -> list[str]:
    """Return which private splits cannot be said to be of use to their target: both intervals hold 0 or lie below it."""
    told = []
    targets = [name for name in names if name != SHARED]
    for t, name in enumerate(targets) if removal else ():
        low = [_array(removal[how]["ci95"])[t - len(targets), t, 0] for how in ("zeros", "shuffled")]
        if not any(end > 0 for end in low):
            told.append(
                f"it cannot be said that '{name}' needs its own split: over {removal['people']} people the error does not "
                "surely grow without it, by either operator"
            )
    return told


def _points(report: Mapping[str, Any]) -> dict[str, F64]:
    """Return the maps of a network as rows of points (K, M), by kind."""
    maps = report.get("maps") or {}
    found = {}
    if maps.get("beat"):
        found["beat"] = _array(maps["beat"]["mean"])
    if maps.get("families"):
        found["families"] = np.stack([_array(one["mean"]) for one in maps["families"].values()], axis=1)
    for name, track in (maps.get("tracks") or {}).items():
        found[name] = _array(track["mean"])
    return found


def _agreement(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    each = [_points(report) for report in reports]
    kinds = dict.fromkeys(kind for one in each for kind in one)
    found: dict[str, Any] = {"networks": len(reports)}
    for kind in kinds:
        stack = [one[kind] for one in each if kind in one]
        pairs = [[_correlation(a[k], b[k]) for k in range(len(a))] for a, b in combinations(stack, 2) if a.shape == b.shape]
        if pairs and np.isfinite(_array(pairs)).any():
            found[kind] = rounded(_known_mean(_array(pairs)))
    return found


def _known_mean(values: F64) -> F64:
    """Return the mean over the first axis of what is known, NaN where nothing is."""
    known = np.isfinite(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)


def _correlation(a: F64, b: F64) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < FEWEST_POINTS:
        return math.nan
    x, y = a[known] - a[known].mean(), b[known] - b[known].mean()
    size = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / size) if size > 1e-12 else math.nan


def _agreement_warnings(names: Sequence[str], agreement: Mapping[str, Any]) -> list[str]:
    told = []
    for kind, values in agreement.items():
        if kind == "networks":
            continue
        low = [f"'{name}' {r:.2f}" for name, r in zip(names, values, strict=True) if r is not None and r < AGREE]
        if low:
            told.append(
                f"masks are not stable: their maps ({kind}) agree too little between {agreement['networks']} networks "
                f"(mean correlation: {', '.join(low)}); do not interpret them"
            )
    return told
