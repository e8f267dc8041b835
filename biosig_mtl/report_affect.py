"""What the report says of answers about how people feel: ratings (a regression) and classes, beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl import plots, plots_affect
from biosig_mtl.evaluation import classification, metrics
from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.report_sections import Picture, Run, as_ends, as_float, bounds, interval, name_of, number, scored
from biosig_mtl.report_verdict import (
    CLASSES,
    RANKED_BY,
    REGRESSION,
    TRIVIAL,
    against_trivial,
    by_chance,
    class_names,
    kind_of,
    reached,
    versus_model,
)
from biosig_mtl.types import F64, I64, DataError

if TYPE_CHECKING:
    import pandas as pd

# Figure and what it is called.
FIGURES = {
    REGRESSION: (
        ("ccc", "concordance (CCC)"), ("r", "correlation r"), ("mae", "MAE"), ("rmse", "RMSE"), ("me", "mean error (bias)"),
        ("sd", "SD of errors"),
    ),
    CLASSES: (
        ("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"), ("accuracy", "accuracy"),
        ("macro_f1", "macro-F1"), ("kappa", "Cohen's kappa"), ("seq2hr", "Seq2HR"),
        ("tri_p", "Tri-P"), ("class_mae", "classes off, mean"),
    ),
}  # fmt: skip
# Columns of the comparison with baselines: figure and heading.
COMPARED = {
    REGRESSION: (("mae", "MAE"), ("rmse", "RMSE"), ("ccc", "CCC")),
    CLASSES: (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"), ("accuracy", "accuracy")),
}
# Cards: figure, heading, and the figure that stands below it ("" for the pooled one).
CARDS = {
    REGRESSION: (("ccc", "CCC", ""), ("mae", "MAE", "rmse")),
    CLASSES: (("balanced_accuracy", "balanced accuracy", ""), ("auc", "AUC", "")),
}
IN_UNITS = {"mae", "rmse", "me", "sd"}
# Whose figure counts as chance where no formula gives one: the first of these that the run has.
BY_CHANCE = {
    "mae": ("train_mean", "train_median"), "rmse": ("train_mean", "train_median"),
    "accuracy": ("majority", "class_prior"), "macro_f1": ("class_prior", "majority"),
}  # fmt: skip


def targets(run: Run) -> list[dict[str, Any]]:
    """Return the tables and pictures of every target."""
    test = scored(run)
    return [_target(run, name, test[test["target"] == name]) for name in run.scores["targets"]]


def _target(run: Run, name: str, test: pd.DataFrame) -> dict[str, Any]:
    content = run.scores["targets"][name]
    kind = kind_of(content)
    title = name_of(name).capitalize()
    people = _people(run, test, content)
    told = against_trivial(run.scores, name)
    return {
        "name": name, "title": title, "kind": kind, "unit": content.get("unit", ""), "content": content,
        "cards": _cards(title, content), "figures": _figures(run.scores, name), "undefined": _undefined(title, content),
        "varying": _varying(title, content),
        "baselines": _baseline_rows(run, name), "compared": COMPARED[kind], "told": f"{told[:1].upper()}{told[1:]}",
        "baselines_picture": _baselines_picture(run, name, title), "agreement": _agreement(run, name, title, test),
        "people": people, "people_picture": _people_picture(title, people, content), "twin": _twin(run.scores, name),
        "bounds": bounds(test) if kind == REGRESSION else None,
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- figures
def _cards(title: str, content: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Return label, value and the lines below it, for each card."""
    cards = []
    for key, label, beside in CARDS[kind_of(content)]:
        unit = f", {content['unit']}" if key in IN_UNITS and content.get("unit") else ""
        value, ends, how = reached(content, key)
        written = interval(ends, 2)
        lines = [f"95 % CI {written}" if written else "interval unknown"]
        source, called = (content, beside.upper()) if beside else (_pooled(content), "pooled")
        if source.get(beside or key) is not None and not how:
            lines.append(f"{called} {_with_interval(source, beside or key)}")
        cards.append((f"{title} {label}{unit}{how}", number(value, 2), lines))
    return cards


def _with_interval(source: Mapping[str, Any], key: str) -> str:
    ends = interval(source.get(f"{key}_ci95"), 2)
    return number(source.get(key), 2) + (f" ({ends})" if ends else "")


def _figures(scores: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the table of figures: windows and trials, by subject and pooled, and what chance gives.

    Columns and rows without any number are left out.
    """
    content = scores["targets"][name]
    trials = _trials(content)
    columns = [("windows", "by subject", content), ("windows", "pooled", _pooled(content)),
               ("trials", "by subject", trials), ("trials", "pooled", _pooled(trials))]  # fmt: skip
    rows = [
        (label, [(source.get(key), source.get(f"{key}_ci95")) for _, _, source in columns], _chance(scores, name, key))
        for key, label in FIGURES[kind_of(content)]
    ]
    rows = [row for row in rows if any(value is not None for value, _ in row[1])]
    used = [i for i in range(len(columns)) if i == 0 or any(row[1][i][0] is not None for row in rows)]
    return {
        "columns": [columns[i][:2] for i in used],
        "rows": [(label, [cells[i] for i in used], chance) for label, cells, chance in rows],
        "trials": trials.get("n_trials"),
    }


def _trials(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures of trials; none where the class changes within most of them, for such a trial has no class."""
    trials: Mapping[str, Any] = content.get("trial_level") or {}
    return {} if _varying("", content) else trials


def _varying(title: str, content: Mapping[str, Any]) -> str:
    trials = content.get("trial_level") or {}
    count, varying = trials.get("n_trials") or 0, trials.get("trials_whose_reference_varies") or 0
    if kind_of(content) != CLASSES or 2 * varying <= count:
        return ""
    return f"{title}: the class changes within {varying} of {count} trials, so nothing is told of whole trials."


def _pooled(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pooled figures with their intervals, in the form of those over subjects."""
    ends = {f"{key}_ci95": value for key, value in (content.get("pooled_ci95") or {}).items()}
    return {**(content.get("pooled") or {}), **ends}


def _undefined(title: str, content: Mapping[str, Any]) -> str:
    """Return which figures some subjects do not have, in words."""
    called = dict(FIGURES[kind_of(content)])
    lacking: dict[int, list[str]] = {}
    for key, people in (content.get("undefined_subjects") or {}).items():
        if key in called:
            lacking.setdefault(int(people), []).append(called[key])
    told = [f"{people} without {', '.join(names)}" for people, names in sorted(lacking.items())]
    return f"{title}: {'; '.join(told)}." if told else ""


def _chance(scores: Mapping[str, Any], name: str, key: str) -> tuple[float | None, str]:
    """Return what a predictor without signals reaches, and which one; None where nothing is known."""
    if key in {"ccc", "r", "kappa"}:
        return 0.0, ""
    if key == "auc":
        return 0.5, ""
    if key == "balanced_accuracy":
        return by_chance(scores["targets"][name]), ""
    for word in BY_CHANCE.get(key, ()):
        value = ((scores["baselines"].get(word) or {}).get(name) or {}).get(key)
        if value is not None:
            return value, name_of(word)
    return None, ""


def _twin(scores: Mapping[str, Any], name: str) -> list[tuple[str, Any, Any]]:
    """Return label, (value, interval) with labels of the tested people, and (value, interval) without, for each figure."""
    without = ((scores.get("uncalibrated_twin") or {}).get("targets") or {}).get(name)
    if not without:
        return []
    own = scores["targets"][name]
    rows = [
        (label, (own.get(key), own.get(f"{key}_ci95")), (without.get(key), without.get(f"{key}_ci95")))
        for key, label in FIGURES[kind_of(own)]
    ]
    return [row for row in rows if row[1][0] is not None or row[2][0] is not None]


# ------------------------------------------------------------------------------------------------------------- baselines
def _baseline_rows(run: Run, target: str) -> list[dict[str, Any]]:
    """Return the model and each baseline: ``name sort cells versus absent``, cells as in the columns of `COMPARED`."""
    own = run.scores["targets"][target]
    kind = kind_of(own)
    given = [(run.scores["model"], "model", own, None)]
    for name, content in run.scores["baselines"].items():
        entry = content.get(target) or {}
        sort = "trivial" if name in TRIVIAL else "oracle" if name in ORACLES or entry.get("oracle") else ""
        if entry or content.get("unavailable"):
            given.append((name, sort, entry, content.get("unavailable")))
    return [
        {
            "name": name, "sort": sort, "absent": absent, "cells": [reached(entry, key) for key, _ in COMPARED[kind]],
            "versus": {} if sort == "model" else versus_model(entry, RANKED_BY[kind][0]),
        }
        for name, sort, entry, absent in given
    ]  # fmt: skip


def _baselines_picture(run: Run, target: str, title: str) -> Picture:
    content = run.scores["targets"][target]
    figure, called, more = RANKED_BY[kind_of(content)]
    # The first column is what predictors are ranked by.
    estimates = [
        plots.Estimate(name_of(row["name"]), row["cells"][0][0], as_ends(row["cells"][0][1]), row["sort"] == "model")
        for row in _baseline_rows(run, target)
        if row["cells"][0][0] is not None
    ]
    unit = f" ({content['unit']})" if not more and content.get("unit") else ""
    svg = plots.comparison(estimates, f"{called}{unit}", line=as_float(reached(content, figure)[0]))
    direction = "right" if more else "left"
    return Picture(svg, f"{title}: {called} with 95 % interval over subjects; further to the {direction} is better.")


# ------------------------------------------------------------------------------------------------------------- agreement
def _agreement(run: Run, name: str, title: str, test: pd.DataFrame) -> list[Picture]:
    content = run.scores["targets"][name]
    if kind_of(content) == CLASSES:
        return _confusions(title, content)
    one = test[test["seed"] == test["seed"].min()] if len(test) else test
    seeds = run.scores["seeds"]
    note = f" Seed {one['seed'].min()} of {len(seeds)}." if len(seeds) > 1 and len(one) else ""
    unit = str(content.get("unit", ""))
    pictures = [_scatter(one, unit, f"{title}: {len(one):,} windows.{note}")]
    if "trial" in one and one["trial"].nunique() < len(one):
        means = one.groupby(["subject", "trial"], sort=True)[["y_true", "y_pred"]].mean()
        pictures.append(_scatter(means, unit, f"{title}: means of {len(means):,} trials.{note}"))
    return pictures


def _scatter(table: pd.DataFrame, unit: str, caption: str) -> Picture:
    return Picture(plots.agreement(table["y_true"].to_numpy(float), table["y_pred"].to_numpy(float), unit), caption)


def _confusions(title: str, content: Mapping[str, Any]) -> list[Picture]:
    names = class_names(content)
    if len(names) == 2:
        names = [f"{word}\n({name})" for word, name in zip(("low", "high"), names, strict=True)]
    levels = [("windows", content.get("confusion")), ("trials", _trials(content).get("confusion"))]
    pictures = []
    for what, matrix in levels:
        if matrix:
            total = sum(as_float(n) for row in matrix for n in row)
            told = f"{title}: {number(total, 0)} {what}, pooled. Colour and percent are the share of the reference class."
            pictures.append(Picture(plots_affect.confusion(matrix, names), told))
    return pictures


# ---------------------------------------------------------------------------------------------------------------- people
def _people(run: Run, test: pd.DataFrame, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the main figure of every person, averaged over seeds, NaN where it does not exist.

    ``floor`` is what a constant answer reaches at best: 0 for CCC; for classes 1 ÷ the number of classes that the person's
    reference has, which is more than 1 ÷ all classes where some never come.
    """
    known = test[np.isfinite(test["y_true"].to_numpy(float)) & np.isfinite(test["y_pred"].to_numpy(float))]
    subjects, code = np.unique(known["subject"].to_numpy(str), return_inverse=True)
    count = len(class_names(content))
    values, windows, floor = [], np.zeros(subjects.size, np.int64), np.zeros(subjects.size)
    for seed in np.unique(known["seed"].to_numpy()):
        rows = known["seed"].to_numpy() == seed
        true, pred = known["y_true"].to_numpy(float)[rows], known["y_pred"].to_numpy(float)[rows]
        windows = np.maximum(windows, np.bincount(code[rows], minlength=subjects.size))
        try:
            value, floor = _one_seed(true, pred, (code[rows], subjects.size), count)
        except ValueError as error:
            path = run.path / "predictions.parquet"
            raise DataError(f"{path}: does not go with the classes of scores.json ({error}); evaluate the run again") from error
        values.append(value)
    figure = metrics.nanmean(np.stack(values)) if values else np.empty(0)
    called = "balanced accuracy" if count else "CCC"
    rows_told = list(zip(subjects.tolist(), windows.tolist(), figure.tolist(), strict=True))
    return {"rows": rows_told, "subject": subjects.tolist(), "value": figure, "floor": floor, "called": called}


def _one_seed(true: F64, pred: F64, people: tuple[I64, int], classes: int) -> tuple[F64, F64]:
    """Return the figure and the floor of each person, shape (subject,)."""
    code, n = people
    value, floor = np.full(n, np.nan), np.zeros(n)
    if not classes:
        found = metrics.per_subject(true, pred, code.astype(str))
        value[found.subject.astype(np.int64)] = found.figures["ccc"]
        return value, floor
    counted = classification.count(true, pred, None, code.astype(str), classes)
    place = counted.subject.astype(np.int64)
    value[place] = classification.figures(counted, np.eye(place.size))["balanced_accuracy"]
    floor[place] = 1 / np.maximum((counted.confusion.sum(axis=2) > 0).sum(axis=1), 1)
    return value, floor


def _people_picture(title: str, people: Mapping[str, Any], content: Mapping[str, Any]) -> Picture | None:
    value, floor = np.asarray(people["value"], dtype=float), np.asarray(people["floor"], dtype=float)
    known = np.isfinite(value)
    if not known.any():
        return None
    better = int((value[known] > floor[known]).sum())
    text = f"{title}: {people['called']} of each person; {better} of {int(known.sum())} do better than a constant answer would."
    if lacking := int((~known).sum()):
        text += f" {lacking} {'has' if lacking == 1 else 'have'} none: one constant reference, or too few windows."
    svg = plots_affect.per_subject(people["subject"], value, by_chance(content) or 0.0, people["called"], floor)
    return Picture(svg, text)
