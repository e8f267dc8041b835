"""What the report says of pressures: figures, agreement, error by class, and the screens of the standards."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import plots
from biosig_mtl.report_sections import Picture, Run, as_ends, as_float, bounds, interval, name_of, number, scored

if TYPE_CHECKING:
    import pandas as pd

# Figure, what it is called, decimals.
FIGURES = (
    ("mae", "MAE", 1), ("me", "mean error (bias)", 1), ("sd", "SD of errors", 1), ("rmse", "RMSE", 1),
    ("mapd", "MAPD, % of reference", 1), ("r", "correlation r", 2), ("ccc", "concordance (CCC)", 2),
    ("cp5", "share of errors ≤ 5", 2), ("cp10", "share of errors ≤ 10", 2), ("cp15", "share of errors ≤ 15", 2),
)  # fmt: skip


def targets(run: Run) -> list[dict[str, Any]]:
    """Return the tables and pictures of every target."""
    test = scored(run)
    return [_target(run, name, content, test[test["target"] == name]) for name, content in run.scores["targets"].items()]


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
        "cards": _cards(title, content),
        "figures": [(label, digits, content.get(key), content.get("pooled", {}).get(key)) for key, label, digits in FIGURES],
        "baselines": _baseline_rows(run, name), "screens": screens(content), "quality": _by_quality(one),
        "bounds": bounds(test), "undefined": content.get("undefined_subjects", {}),
    }  # fmt: skip


def _cards(title: str, content: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Return label, value and the lines below it, for each card."""
    ends, relative = interval(content.get("mae_ci95")), interval(content.get("mase_ci95"), 2)
    return [
        (f"{title} MAE, {content['unit']}", number(content["mae"]), [f"95 % CI {ends or 'unknown'}"]),
        (f"{title} MASE", number(content.get("mase"), 2), [f"95 % CI {relative}" if relative else "of the training median"]),
    ]


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
    estimates = [plots.Estimate(name_of(r["name"]), r["mae"], as_ends(r.get("mae_ci95")), highlight=r["model"]) for r in rows]
    return plots.comparison(estimates, f"MAE ({content['unit']})", line=as_float(content["mae"]))


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


def _within(value: Any, limit: float) -> bool:
    return value is not None and abs(value) <= limit
