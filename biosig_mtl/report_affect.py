"""What the report says of answers about how people feel: ratings (a regression) and classes, beside what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl import plots, plots_affect
from biosig_mtl.evaluation import classification, metrics
from biosig_mtl.report_sections import Picture, Run, as_ends, as_float, bounds, interval, name_of, number, scored
from biosig_mtl.report_verdict import CLASSES, ORACLES, RANKED_BY, REGRESSION, TRIVIAL, against_trivial, kind_of
from biosig_mtl.types import F64, I64

if TYPE_CHECKING:
    import pandas as pd

# Figure and what it is called.
FIGURES = {
    REGRESSION: (
        ("ccc", "concordance (CCC)"), ("r", "correlation r"), ("mae", "MAE"), ("rmse", "RMSE"), ("me", "mean error (bias)"),
        ("sd", "SD of errors"),
    ),
    CLASSES: (
        ("balanced_accuracy", "balanced accuracy"), ("auc", "area under the ROC curve (AUC)"), ("accuracy", "accuracy"),
        ("macro_f1", "macro-F1"), ("kappa", "Cohen's kappa"), ("seq2hr", "Seq2HR: two likeliest adjacent, one right"),
        ("tri_p", "Tri-P: at most one class off"), ("class_mae", "mean distance, classes"),
    ),
}  # fmt: skip
# Columns of the comparison with baselines: figure and heading.
COMPARED = {
    REGRESSION: (("mae", "MAE"), ("rmse", "RMSE"), ("ccc", "CCC")),
    CLASSES: (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC"), ("accuracy", "accuracy")),
}
CARDS = {
    REGRESSION: (("ccc", "CCC"), ("mae", "MAE"), ("rmse", "RMSE")),
    CLASSES: (("balanced_accuracy", "balanced accuracy"), ("auc", "AUC")),
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
    people = _people(test, content)
    told = against_trivial(run.scores, name)
    return {
        "name": name, "title": title, "kind": kind, "unit": content.get("unit", ""), "content": content,
        "cards": _cards(title, content), "figures": _figures(run.scores, name),
        "undefined": content.get("undefined_subjects") or {},
        "baselines": _baseline_rows(run, name), "compared": COMPARED[kind], "told": f"{told[:1].upper()}{told[1:]}",
        "baselines_picture": _baselines_picture(run, name, title), "agreement": _agreement(run, name, title, test),
        "people": people, "people_picture": _people_picture(title, people, content), "twin": _twin(run.scores, name),
        "bounds": bounds(test) if kind == REGRESSION else None,
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- figures
def _cards(title: str, content: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return label, value and what stands below it, for each card."""
    cards = []
    for key, label in CARDS[kind_of(content)]:
        unit = f", {content['unit']}" if key in IN_UNITS and content.get("unit") else ""
        ends = interval(content.get(f"{key}_ci95"), 2)
        cards.append((f"{title} {label}{unit}", number(content.get(key), 2), f"95 % CI {ends}" if ends else "interval unknown"))
    return cards


def _figures(scores: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the table of figures: windows and trials, by subject and pooled, and what chance gives.

    Columns and rows without any number are left out.
    """
    content = scores["targets"][name]
    trials = content.get("trial_level") or {}
    columns = [("windows", "by subject", content), ("windows", "pooled", content.get("pooled") or {}),
               ("trials", "by subject", trials), ("trials", "pooled", trials.get("pooled") or {})]  # fmt: skip
    kind = kind_of(content)
    rows = [
        (label, [(source.get(key), source.get(f"{key}_ci95")) for _, _, source in columns], _chance(scores, name, key))
        for key, label in FIGURES[kind]
    ]
    rows = [row for row in rows if any(value is not None for value, _ in row[1])]
    used = [i for i in range(len(columns)) if i == 0 or any(row[1][i][0] is not None for row in rows)]
    return {
        "columns": [columns[i][:2] for i in used],
        "rows": [(label, [cells[i] for i in used], chance) for label, cells, chance in rows],
        "trials": trials.get("n_trials"),
    }


def _chance(scores: Mapping[str, Any], name: str, key: str) -> tuple[float | None, str]:
    """Return what a predictor without signals reaches, and which one; None where nothing is known."""
    if key in {"ccc", "r", "kappa"}:
        return 0.0, ""
    if key == "auc":
        return 0.5, ""
    count = len(class_names(scores["targets"][name]))
    if key == "balanced_accuracy":
        return (1 / count, "") if count else (None, "")
    for word in BY_CHANCE.get(key, ()):
        value = ((scores["baselines"].get(word) or {}).get(name) or {}).get(key)
        if value is not None:
            return value, name_of(word)
    return None, ""


def class_names(content: Mapping[str, Any]) -> list[str]:
    """Return the names of a target's classes, numbers where it has none; empty for a regression."""
    names = [str(name) for name in content.get("classes") or ()]
    return names or [str(i) for i in range(len(content.get("confusion") or ()))]


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
    own = run.scores["targets"][target]
    rows = [{"name": run.scores["model"], "sort": "model", "entry": own}]
    for name, content in run.scores["baselines"].items():
        sort = "trivial" if name in TRIVIAL else "oracle" if name in ORACLES else ""
        rows.append({"name": name, "sort": sort, "entry": content.get(target) or {}, "absent": content.get("unavailable")})
    return rows


def _baselines_picture(run: Run, target: str, title: str) -> Picture:
    content = run.scores["targets"][target]
    figure, called, more = RANKED_BY[kind_of(content)]
    rows = [row for row in _baseline_rows(run, target) if row["entry"].get(figure) is not None]
    estimates = [
        plots.Estimate(
            name_of(row["name"]), row["entry"][figure], as_ends(row["entry"].get(f"{figure}_ci95")), row["sort"] == "model"
        )
        for row in rows
    ]
    unit = f" ({content['unit']})" if not more and content.get("unit") else ""
    svg = plots.comparison(estimates, f"{called}{unit}", line=as_float(content.get(figure)))
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
    levels = [("windows", content.get("confusion")), ("trials", (content.get("trial_level") or {}).get("confusion"))]
    pictures = []
    for what, matrix in levels:
        if matrix:
            total = sum(as_float(n) for row in matrix for n in row)
            told = f"{title}: {number(total, 0)} {what}, pooled. Colour and percent are the share of the reference class."
            pictures.append(Picture(plots_affect.confusion(matrix, names), told))
    return pictures


# ---------------------------------------------------------------------------------------------------------------- people
def _people(test: pd.DataFrame, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the main figure of every person, averaged over seeds: ``subject windows value``, NaN where it does not exist."""
    known = test[np.isfinite(test["y_true"].to_numpy(float)) & np.isfinite(test["y_pred"].to_numpy(float))]
    subjects, code = np.unique(known["subject"].to_numpy(str), return_inverse=True)
    seeds = np.unique(known["seed"].to_numpy())
    count = len(class_names(content))
    values, windows = [], np.zeros(subjects.size, np.int64)
    for seed in seeds:
        rows = known["seed"].to_numpy() == seed
        true, pred = known["y_true"].to_numpy(float)[rows], known["y_pred"].to_numpy(float)[rows]
        windows = np.maximum(windows, np.bincount(code[rows], minlength=subjects.size))
        values.append(_one_seed(true, pred, (code[rows], subjects.size), count))
    figure = metrics.nanmean(np.stack(values)) if values else np.empty(0)
    return {"subject": subjects.tolist(), "windows": windows.tolist(), "value": figure}


def _one_seed(true: F64, pred: F64, people: tuple[I64, int], classes: int) -> F64:
    code, n = people
    value = np.full(n, np.nan)
    if classes:
        counted = classification.count(true, pred, None, code.astype(str), classes)
        found = classification.figures(counted, np.eye(counted.subject.size))["balanced_accuracy"]
        value[counted.subject.astype(np.int64)] = found
    else:
        scored_people = metrics.per_subject(true, pred, code.astype(str))
        value[scored_people.subject.astype(np.int64)] = scored_people.figures["ccc"]
    return value


def _people_picture(title: str, people: Mapping[str, Any], content: Mapping[str, Any]) -> Picture | None:
    value = np.asarray(people["value"], dtype=float)
    known = np.isfinite(value)
    if not known.any():
        return None
    count = len(class_names(content))
    chance, called = (1 / count, "balanced accuracy") if count else (0.0, "CCC")
    text = f"{title}: {called} of each person; {int((value > chance).sum())} of {int(known.sum())} are above chance"
    text += f" ({number(chance, 2)})." if count else "."
    if lacking := int((~known).sum()):
        text += f" {lacking} have none (one constant reference)."
    return Picture(plots_affect.per_subject(people["subject"], value, chance, called), text)
