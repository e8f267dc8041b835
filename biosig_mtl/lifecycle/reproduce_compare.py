"""Two finished runs of one recipe beside each other: windows, estimates, scores, networks, files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.lifecycle.reproduce_folder import Finished
from biosig_mtl.lifecycle.reproduce_tolerance import Tolerance, Verdict, worst
from biosig_mtl.types import F64

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["target", "seed", "fold", "subject", "session", "record", "stimulus", "onset_s"]
FOLD_KEYS = ["seed", "fold", "twin", "part", "subject", "record", "onset_s", "window_id"]
FIGURES = ("mae", "me", "sd", "rmse", "r", "ccc", "mase", "accuracy", "balanced_accuracy", "macro_f1")
# All that a run writes from its data and seeds; the environment and the page that shows it are not among them.
FILES = (
    "recipe.yaml", "scores.json", "predictions.parquet", "folds.parquet", "history.csv", "rejected.csv", "examples.json",
    "interpretation.json", "split_report.json", "dataset.json",
)  # fmt: skip


def compare(run: Finished, again: Finished, tolerance: Tolerance) -> dict[str, Any]:
    """Return what is the same and what is not.

    Returns
    -------
    dict
        ``verdict``; ``windows`` and ``folds`` (how many rows, how many of one run only); ``targets`` by name; ``networks``;
        ``files`` by name, whether their bytes are equal.

    Raises
    ------
    DataError
        A file of either run is damaged.
    """
    ours, theirs = run.table("predictions.parquet"), again.table("predictions.parquet")
    pairs, windows = paired(ours, theirs)
    targets = {
        str(name): target(str(name), rows, (run, again), tolerance) for name, rows in pairs.groupby("target", sort=False)
    }
    same_keys: Verdict = "differs" if windows["only_run"] or windows["only_again"] else "identical"
    folds = folds_of(run, again)
    verdicts: list[Verdict] = [same_keys, folds["verdict"], *(told["verdict"] for told in targets.values())]
    if run.scores.get("audit", {}).get("passed") != again.scores.get("audit", {}).get("passed"):
        verdicts.append("differs")
    return {
        "verdict": worst(verdicts),
        "windows": windows | {"verdict": same_keys},
        "folds": folds,
        "targets": targets,
        "audit": [told.scores.get("audit", {}).get("passed") for told in (run, again)],
        "networks": networks(run, again),
        "files": {name: _same_bytes(run.folder / name, again.folder / name) for name in FILES},
    }


def paired(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the predictions of both runs on the windows that both have (columns with ``_again`` are the second's), and how
    many rows there are, in both and in one only.
    """
    keys = [key for key in KEYS if key in ours and key in theirs]
    # A window may stand twice for one fold where it is tested at two trials; the count tells them apart.
    first, second = (t.assign(place=t.groupby(keys, sort=False, dropna=False).cumcount()) for t in (ours, theirs))
    merged = first.merge(second, on=[*keys, "place"], how="outer", suffixes=("", "_again"), indicator=True, sort=False)
    count = merged["_merge"].value_counts()
    told = {"rows": int(count["both"]), "only_run": int(count["left_only"]), "only_again": int(count["right_only"])}
    return merged[merged["_merge"] == "both"], told


def target(name: str, rows: pd.DataFrame, runs: tuple[Finished, Finished], tolerance: Tolerance) -> dict[str, Any]:
    """Return how far the estimates of one target lie apart: a number in its unit, or the predicted shares of classes."""
    told = [dict(run.scores["targets"].get(name) or {}) for run in runs]
    shares = [c for c in map(str, rows) if c.startswith("p_") and f"{c}_again" in rows and bool(rows[c].notna().any())]
    reference = _apart(rows, "y_true")
    found: dict[str, Any] = {"unit": str(told[0].get("unit", "")), "rows": len(rows), "reference_largest": _largest(reference)}
    exact = all(_largest(_apart(rows, c)) == 0 for c in ("y_true", "y_pred", "lower", "upper", *shares))
    figures, near = _classes(rows, shares, told, tolerance) if shares else _number(rows, told, tolerance)
    same = exact and all(told[0].get(key) == told[1].get(key) for key in FIGURES)
    return found | figures | {"verdict": "identical" if same else "within tolerance" if near else "differs"}


def _number(rows: pd.DataFrame, told: list[dict[str, Any]], tolerance: Tolerance) -> tuple[dict[str, Any], bool]:
    """Return the figures of a target that is answered by a number, and whether they are near enough."""
    apart = _apart(rows, "y_pred")
    spread = float(np.nanstd(rows["y_true"].to_numpy(np.float64))) if len(rows) else math.nan
    bounds = tolerance.scaled(str(told[0].get("unit", "")), spread)
    mae = [_figure(one, "mae") for one in told]
    found: dict[str, Any] = {"largest": _largest(apart), "usual": _usual(apart), "mae": mae, "mae_change": mae[1] - mae[0]}
    # The reference comes from the data alone: it may move as an estimate usually does, not as the worst one.
    held = (found["largest"], bounds.window), (found["usual"], bounds.usual), (_largest(_apart(rows, "y_true")), bounds.usual)
    near = all(value <= bound for value, bound in held) and _within(mae[1] - mae[0], bounds.mae)
    return found | {"tolerance": {"mae": bounds.mae, "usual": bounds.usual, "largest": bounds.window}}, near


def _classes(
    rows: pd.DataFrame, shares: list[str], told: list[dict[str, Any]], tolerance: Tolerance
) -> tuple[dict[str, Any], bool]:
    """Return the figures of a target that is answered by a class, and whether they are near enough."""
    apart = np.concatenate([_apart(rows, column) for column in shares])
    figure = [_figure(one, "balanced_accuracy") for one in told]
    found: dict[str, Any] = {
        "largest_share": _largest(apart),
        "mean_share": float(apart.mean()) if apart.size else 0.0,
        "other_class": float(np.mean(_apart(rows, "y_pred") > 0)) if len(rows) else 0.0,
        "balanced_accuracy": figure,
        "balanced_accuracy_change": figure[1] - figure[0],
    }
    near = found["mean_share"] <= tolerance.share and _within(figure[1] - figure[0], tolerance.figure)
    near = near and _largest(_apart(rows, "y_true")) == 0
    return found | {"tolerance": {"mean_share": tolerance.share, "balanced_accuracy": tolerance.figure}}, near


def folds_of(run: Finished, again: Finished) -> dict[str, Any]:
    """Return whether every window lies in the same part of every fold: (rows, rows of one run only)."""
    one, other = (_rows(run.table("folds.parquet")) for run in (run, again))
    lost = len(one ^ other)
    return {"rows": len(one), "other": lost, "verdict": "differs" if lost else "identical"}


def _rows(table: pd.DataFrame) -> set[tuple[Any, ...]]:
    return set(table[[key for key in FOLD_KEYS if key in table]].itertuples(index=False, name=None))


def networks(run: Finished, again: Finished) -> dict[str, Any]:
    """Return how many networks are the same to the last bit, and how far the others are: ‖a − b‖ ÷ ‖a‖ over all weights."""
    one, other = run.networks, again.networks
    both = [name for name in one if name in other]
    equal = [name for name in both if one[name] == other[name]]
    largest = 0.0
    for name in both:
        if one[name]["sha256"] != other[name]["sha256"]:
            pair = (run.tensors(name, str(one[name]["sha256"])), again.tensors(name, str(other[name]["sha256"])))
            largest = max(largest, _distance(*pair))
    return {"run": len(one), "again": len(other), "identical": len(equal), "largest_distance": largest}


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return ‖a − b‖ ÷ ‖a‖ over the weights of two networks; infinite where they do not have the same shape."""
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in other.items()}:
        return math.inf
    real = [k for k, v in one.items() if np.issubdtype(v.dtype, np.floating)]
    apart = sum(float(np.sum((one[k].astype(np.float64) - other[k].astype(np.float64)) ** 2)) for k in real)
    whole = sum(float(np.sum(one[k].astype(np.float64) ** 2)) for k in real)
    return math.sqrt(apart / whole) if whole else float(apart > 0)


def _apart(rows: pd.DataFrame, column: str) -> F64:
    """Return |a − b| of a column of both runs; 0 where neither has a value, infinite where only one has."""
    a, b = (rows[name].to_numpy(np.float64) for name in (column, f"{column}_again"))
    with np.errstate(invalid="ignore"):
        found: F64 = np.abs(a - b)
    found[np.isnan(a) & np.isnan(b)] = 0.0
    found[a == b] = 0.0  # of two infinite ends the difference is not a number
    found[np.isnan(a) != np.isnan(b)] = math.inf
    return found


def _largest(apart: F64) -> float:
    return float(apart.max()) if apart.size else 0.0


def _usual(apart: F64) -> float:
    return math.sqrt(float(np.mean(apart**2))) if apart.size else 0.0


def _within(value: float, bound: float) -> bool:
    return math.isnan(value) or abs(value) <= bound


def _figure(told: Mapping[str, Any], key: str) -> float:
    value = told.get(key)
    return float(value) if isinstance(value, int | float) else math.nan


def _same_bytes(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
