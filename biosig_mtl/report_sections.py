"""What the report says: each function turns a run into the content of one section, as plain values and pictures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import plots
from biosig_mtl.types import DataError

if TYPE_CHECKING:
    import pandas as pd

# Figure, what it is called, decimals.
FIGURES = (
    ("mae", "MAE", 1), ("me", "mean error (bias)", 1), ("sd", "SD of errors", 1), ("rmse", "RMSE", 1),
    ("mapd", "MAPD, % of reference", 1), ("r", "correlation r", 2), ("ccc", "concordance (CCC)", 2),
    ("cp5", "share of errors ≤ 5", 2), ("cp10", "share of errors ≤ 10", 2), ("cp15", "share of errors ≤ 15", 2),
)  # fmt: skip
PROTOCOLS = {
    "subject_kfold": "Subjects, not windows, were dealt into folds. Every subject was tested by a model that had seen none of "
    "that subject's windows; validation subjects for early stopping came out of the training side.",
    "transfer": "The model learned on one data set and was tested on another one without any tuning. The median predictor that "
    "it is measured against is that of the tested data set.",
    "random_window": "Windows were dealt at random, so windows of one subject are on both sides. This is a labelled "
    "demonstration of a leak: its errors say how well a model recognises people, not pressure.",
}
_WORDS = {"mi": "mutual information between the splits", "lr": "learning rate"}
_UNPLOTTED = {"fold", "seed", "member", "epoch"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, read. What is None or empty was not in the folder."""

    path: Path
    scores: Mapping[str, Any]
    predictions: pd.DataFrame
    recipe: str | None = None
    rejected: pd.DataFrame | None = None
    history: pd.DataFrame | None = None
    environment: Mapping[str, Any] | None = None
    examples: Sequence[Mapping[str, Any]] | None = None
    split_report: Mapping[str, Any] | None = None
    dataset: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing with the sentence under it."""

    svg: str
    caption: str


def number(value: Any, digits: int = 1) -> str:
    """Write a number for people: a true minus sign, an en dash where there is none.

    >>> number(-3.14159), number(None)
    ('−3.1', '–')
    """
    if value is None or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    # −0.0 is noise of rounding, not a direction.
    return (text.lstrip("-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def interval(ends: Sequence[Any] | None, digits: int = 1) -> str:
    """Write an interval: ``12.0–14.3``, with "to" where an end is negative, empty where it is unknown."""
    if ends is None or any(end is None for end in ends):
        return ""
    low, high = (number(end, digits) for end in ends)
    return f"{low} to {high}" if min(ends) < 0 else f"{low}–{high}"


def name_of(word: str) -> str:
    """Write a name of ours for people: ``train_median`` → ``training median``."""
    return word.replace("train_", "training ").replace("_", " ")


def verdict_lines(scores: Mapping[str, Any]) -> tuple[str, str]:
    """Return the run in two plain sentences, one a target (for a single target the second one is the audit's).

    Parameters
    ----------
    scores
        Content of ``scores.json``.
    """
    lines = [_verdict(name.upper(), target) for name, target in scores["targets"].items()]
    if len(lines) < 2:
        lines.append(audit_sentence(scores["audit"]))
    stamps = "".join(f"[{stamp}] " for stamp in scores.get("stamps", ()))
    failed = "" if scores["audit"]["passed"] else "AUDIT FAILED, do not believe these numbers. "
    return stamps + failed + lines[0], " ".join(lines[1:])


def _verdict(name: str, target: Mapping[str, Any]) -> str:
    text = f"{name}: MAE {number(target['mae'])} {target['unit']}"
    if ends := interval(target.get("mae_ci95")):
        text += f" (95 % CI {ends})"
    if target.get("mase") is not None:
        text += f", {number(target['mase'], 2)} of the training-median predictor"
    paired = target.get("paired") or {}
    if paired.get("verdict") is None:
        return text + "; no baseline to compare with."
    best, difference = name_of(paired["best_baseline"]), number(abs(paired["difference"]))
    told = {"better": f"better than {best}, the best baseline, by {difference} {target['unit']}",
            "worse": f"worse than {best} by {difference} {target['unit']}"}  # fmt: skip
    return f"{text}; {told.get(paired['verdict'], f'not distinguishable from {best}')}."


def audit_sentence(audit: Mapping[str, Any]) -> str:
    """Return the audit in one sentence."""
    checks = audit["checks"]
    failed = [check["name"].replace("_", " ") for check in checks if not check["passed"]]
    if audit["passed"]:
        return f"Audit passed: {len(checks)} checks."
    return f"Audit failed: {len(failed)} of {len(checks)} checks ({', '.join(failed)})."


def targets(run: Run) -> list[dict[str, Any]]:
    """Return the tables and pictures of every target."""
    test = scored(run)
    return [_target(run, name, content, test[test["target"] == name]) for name, content in run.scores["targets"].items()]


def scored(run: Run) -> pd.DataFrame:
    """Return the predictions that count: those of test windows."""
    table = run.predictions
    return table[table["role"] == "test"] if "role" in table else table


def _target(run: Run, name: str, content: Mapping[str, Any], test: pd.DataFrame) -> dict[str, Any]:
    # Clouds of several seeds on top of each other would hide one another: one seed is drawn, the figures speak of all.
    one = test[test["seed"] == test["seed"].min()] if len(test) else test
    true, pred = one["y_true"].to_numpy(float), one["y_pred"].to_numpy(float)
    unit, title = content["unit"], name.upper()
    seeds = run.scores["seeds"]
    note = f" Seed {one['seed'].min()} of {len(seeds)}." if len(seeds) > 1 and len(one) else ""
    limits = {key: math.nan if value is None else value for key, value in content.get("bland_altman", {}).items()}
    pictures = {
        "agreement": Picture(plots.agreement(true, pred, unit), f"{title}: {len(one):,} windows.{note}"),
        "bland_altman": Picture(plots.bland_altman(true, pred, limits, unit), _limits_sentence(title, content, unit)),
        "baselines": Picture(_baselines_plot(run, name, content), f"{title}: MAE with 95 % interval over subjects."),
    }  # fmt: skip
    if groups := _by_class(content.get("classes", ()), true, pred - true):
        pictures["classes"] = Picture(
            plots.error_by_class(groups, unit), f"{title}: a box that slopes down is shrinking to the mean."
        )
    return {
        "name": name, "title": title, "unit": unit, "content": content, "pictures": pictures,
        "figures": [(label, digits, content.get(key), content.get("pooled", {}).get(key)) for key, label, digits in FIGURES],
        "baselines": _baseline_rows(run, name), "screens": screens(content), "quality": _by_quality(one),
        "bounds": _bounds(test), "undefined": content.get("undefined_subjects", {}),
    }  # fmt: skip


def _limits_sentence(title: str, content: Mapping[str, Any], unit: str) -> str:
    known = content.get("bland_altman", {})
    text = f"{title}: bias {number(known.get('bias'))} {unit}, limits "
    text += interval([known.get("low"), known.get("high")]) or "unknown"
    corrected = interval([known.get("corrected_low"), known.get("corrected_high")])
    text += f", corrected for repeated measures {corrected}" if corrected else ", one window a subject: no repeated measures"
    return f"{text}; the error changes by {number(known.get('slope'), 2)} {unit} with each {unit} of pressure."


def _by_class(rows: Sequence[Mapping[str, Any]], true: NDArray[np.float64], error: NDArray[np.float64]) -> dict[str, Any]:
    edges = [float(re.findall(r"[\d.]+", row["class"])[0]) for row in rows[1:]]
    place = np.searchsorted(edges, true, side="right")
    return {row["class"]: error[place == i] for i, row in enumerate(rows)}


def _baseline_rows(run: Run, target: str) -> list[dict[str, Any]]:
    own = run.scores["targets"][target]
    rows = [{"name": run.scores["model"], "model": True, **{k: own.get(k) for k in ("mae", "mae_ci95", "mase", "mase_ci95")}}]
    for name, content in run.scores["baselines"].items():
        absent = content.get("unavailable")
        rows.append({"name": name, "model": False, "unavailable": absent, **(content.get(target) or {})})
    return rows


def _baselines_plot(run: Run, target: str, content: Mapping[str, Any]) -> str:
    rows = [row for row in _baseline_rows(run, target) if row.get("mae") is not None]
    estimates = [plots.Estimate(name_of(r["name"]), r["mae"], _ends(r.get("mae_ci95")), highlight=r["model"]) for r in rows]
    return plots.comparison(estimates, f"MAE ({content['unit']})", line=_float(content["mae"]))


def screens(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the screens of a target as rows: what, figure, limit, kept (None: does not apply)."""
    if "iso81060_2" not in content:
        return []
    iso, bhs, ieee = content["iso81060_2"], content["bhs"], content["ieee1708"]
    one, two = iso["criterion_1"], iso["criterion_2"]
    limit = f"≤ {two['subject_sd_limit']:.2f}" if two["applies"] else "does not apply: invasive reference"
    rows = [
        ("criterion 1: ME", f"{number(one['me'])} mmHg", f"±{one['me_limit']:.1f}", _within(one["me"], one["me_limit"])),
        ("criterion 1: SD", f"{number(one['sd'])} mmHg", f"≤ {one['sd_limit']:.1f}", _within(one["sd"], one["sd_limit"])),
        ("criterion 2: SD of subject means", f"{number(two['subject_sd'], 2)} mmHg", limit, two["kept"]),
        ("subjects", str(iso["n_subjects"]), "≥ 85", iso["n_subjects"] >= 85),
        ("pairs", f"{iso['n_pairs']:,}", "≥ 255", iso["n_pairs"] >= 255),
        *[(f"readings {r['readings']}", _percent(r["share"]), f"≥ {_percent(r['need'])}", r["kept"])
          for r in iso["reference_readings"]],
    ]  # fmt: skip
    shares = " / ".join(number(_hundred(bhs[f"cp{limit}"]), 0) for limit in (5, 10, 15)) + " %"
    needed = " · ".join(
        f"{grade} {'/'.join(number(100 * share, 0) for share in need)}" for grade, need in bhs["limits"].items()
    )
    mad = ("mean absolute difference", f"{number(ieee['mad'])} mmHg", "A ≤ 5, B ≤ 6, C < 7", None)
    return [
        {**iso, "name": "ISO 81060-2:2018", "rows": rows},
        {**bhs, "name": "BHS 1993", "rows": [("within 5 / 10 / 15 mmHg", shares, needed, None), _grade_row(bhs, "A or B")]},
        {**ieee, "name": "IEEE 1708", "rows": [mad, _grade_row(ieee, "A, B or C")]},
    ]  # fmt: skip


def _grade_row(screen: Mapping[str, Any], needed: str) -> tuple[str, str, str, bool]:
    return "grade", screen["grade"], needed, screen["grade"] in needed


def _percent(share: float | None) -> str:
    return f"{number(_hundred(share), 0)} %"


def _hundred(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _by_quality(one: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the error in quarters of signal quality: a model that reads the signal does better where the signal is good."""
    if "sqi" not in one:
        return []
    sqi, error = one["sqi"].to_numpy(float), (one["y_pred"] - one["y_true"]).abs().to_numpy(float)
    known = np.isfinite(sqi) & np.isfinite(error)
    sqi, error = sqi[known], error[known]
    if sqi.size < 8 or np.ptp(sqi) == 0:
        return []
    edges = np.unique(np.quantile(sqi, [0.25, 0.5, 0.75]))
    place = np.searchsorted(edges, sqi, side="left")
    quarters = [place == i for i in range(edges.size + 1)]
    return [
        {"sqi": f"{sqi[q].min():.2f}–{sqi[q].max():.2f}", "n": int(q.sum()), "mae": float(error[q].mean())}
        for q in quarters
        if q.any()
    ]


def _bounds(test: pd.DataFrame) -> dict[str, Any] | None:
    """Return how often the prediction intervals hold the reference, and how wide they are."""
    if "lower" not in test or "upper" not in test:
        return None
    low, high, true = (test[column].to_numpy(float) for column in ("lower", "upper", "y_true"))
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(true)
    if not known.any():
        return None
    inside = (low <= true) & (true <= high)
    return {"coverage": float(inside[known].mean()), "width": float((high - low)[known].mean()), "n": int(known.sum())}


def curves(run: Run) -> list[Picture]:
    """Return the learning curves that ``history.csv`` has columns for."""
    table = run.history
    if table is None or "epoch" not in table or table.empty:
        return []
    keys = [key for key in ("fold", "seed", "member") if key in table]
    runs = [part for _, part in table.groupby(keys)] if keys else [table]
    losses = {name.removesuffix("_loss"): name for name in ("train_loss", "validation_loss") if name in table}
    pictures = []
    if losses:
        lines = {name: [(part["epoch"], part[column]) for part in runs] for name, column in losses.items()}
        pictures.append(Picture(plots.learning_curves(lines), f"Loss of {len(runs)} trainings (folds × seeds × members)."))
    for column in table.columns:
        if column in _UNPLOTTED | set(losses.values()) or not _is_curve(table[column]):
            continue
        told = _WORDS.get(column, name_of(column))
        lines = {told: [(part["epoch"], part[column]) for part in runs]}
        pictures.append(Picture(plots.learning_curves(lines, name_of(column)), f"{told[0].upper()}{told[1:]}, by epoch."))
    return pictures[:6]


def _is_curve(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers that change; a constant is no curve."""
    return bool(column.dtype.kind in "fi" and column.nunique() > 1)


def dropped(run: Run) -> dict[str, Any] | None:
    """Return what was not used, by reason."""
    if run.rejected is None:
        return None
    table = run.rejected
    count = {str(reason): int(n) for reason, n in table["reason"].value_counts().items()}
    whole = int(table["onset_s"].isna().sum())
    records = sorted({str(name) for name in table.loc[table["onset_s"].isna(), "record"]})
    picture = Picture(plots.counts(count, "windows or records"), "What was not used, by reason.") if count else None
    return {"counts": count, "windows": len(table) - whole, "records": whole, "names": records, "picture": picture}


def examples(run: Run) -> list[Picture]:
    """Return the example windows with their beats and fiducials.

    Raises
    ------
    DataError
        An example lacks what is needed to draw it.
    """
    pictures = []
    for i, given in enumerate(run.examples or ()):
        try:
            example = _example(given)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{run.path / 'examples.json'}: example {i} cannot be drawn ({error}); write the run again"
            ) from error
        pictures.append(Picture(plots.example_window(example), _example_sentence(given)))
    return pictures


def _example(given: Mapping[str, Any]) -> plots.Example:
    def arrays(marks: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
        return {
            channel: {n: np.array(where, dtype=float) for n, where in kinds.items()} for channel, kinds in (marks or {}).items()
        }

    channels = {name: np.array(samples, dtype=float) for name, samples in given["channels"].items()}
    if not channels or not float(given["fs"]) > 0:
        raise ValueError("need channels and fs > 0")
    truth, told = given.get("y_true") or {}, given.get("y_pred") or {}
    title = "   ".join(f"{name.upper()} {number(truth[name], 0)} → {number(told.get(name), 0)}" for name in truth)
    title = f"{title}  (reference → estimate)" if title else str(given.get("title", ""))
    return plots.Example(title, float(given["fs"]), channels, arrays(given.get("beats")), arrays(given.get("points")))


def _example_sentence(given: Mapping[str, Any]) -> str:
    parts = [str(given.get("title") or "")]
    parts += [f"record {given['record']}"] if "record" in given else []
    parts += [f"subject {given['subject']}"] if "subject" in given else []
    parts += [f"{number(given['onset_s'])} s from its start"] if given.get("onset_s") is not None else []
    parts += [f"signal quality {number(given['sqi'], 2)}"] if given.get("sqi") is not None else []
    return ", ".join(part for part in parts if part) + "."


def _within(value: Any, limit: float) -> bool:
    return value is not None and abs(value) <= limit


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _ends(ends: Sequence[Any] | None) -> tuple[float, float]:
    low, high = ends or (None, None)
    return _float(low), _float(high)
