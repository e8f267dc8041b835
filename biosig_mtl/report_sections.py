"""What the report says: each function turns a run into the content of one section, as plain values and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl import plots
from biosig_mtl.types import DataError

if TYPE_CHECKING:
    import pandas as pd

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
    interpretation: Mapping[str, Any] | None = None


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
    return word.replace("train_", "training ").replace("_ci95", ", 95 % CI").replace("_", " ")


def audit_sentence(audit: Mapping[str, Any]) -> str:
    """Return the audit in one sentence."""
    checks = audit["checks"]
    failed = [check["name"].replace("_", " ") for check in checks if not check["passed"]]
    if audit["passed"]:
        return f"Audit passed: {len(checks)} checks."
    return f"Audit failed: {len(failed)} of {len(checks)} checks ({', '.join(failed)})."


def scored(run: Run) -> pd.DataFrame:
    """Return the predictions that count: those of test windows."""
    table = run.predictions
    return table[table["role"] == "test"] if "role" in table else table


def curves(run: Run) -> list[Picture]:
    """Return the learning curves that ``history.csv`` has columns for."""
    table = run.history
    if table is None or "epoch" not in table or table.empty:
        return []
    if "variant" in table and (table["variant"] == "model").any():
        # Controls and twins are trained too, and are not what the page is about.
        table = table[table["variant"] == "model"]
    keys = [key for key in ("variant", "fold", "seed", "member") if key in table]
    runs = [part for _, part in table.groupby(keys)] if keys else [table]
    losses = {name.removesuffix("_loss"): name for name in ("train_loss", "validation_loss") if name in table}
    pictures = []
    if losses:
        lines = {name: [(part["epoch"], part[column]) for part in runs] for name, column in losses.items()}
        pictures.append(Picture(plots.learning_curves(lines), f"Loss of {len(runs)} trainings (folds × seeds × members)."))
    drawn: list[str] = []
    for column in table.columns:
        if column in _UNPLOTTED | set(losses.values()) or not _is_curve(table[column]):
            continue
        if any(table[column].equals(table[other]) for other in drawn):
            # With one target its own loss is the whole.
            continue
        drawn.append(column)
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
            example = _example(given, run.scores["targets"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{run.path / 'examples.json'}: example {i} cannot be drawn ({error}); write the run again"
            ) from error
        pictures.append(Picture(plots.example_window(example), _example_sentence(given)))
    return pictures


def _example(given: Mapping[str, Any], targets: Mapping[str, Any]) -> plots.Example:
    def arrays(marks: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
        return {
            channel: {n: np.array(where, dtype=float) for n, where in kinds.items()} for channel, kinds in (marks or {}).items()
        }

    channels = {name: np.array(samples, dtype=float) for name, samples in given["channels"].items()}
    if not channels or not float(given["fs"]) > 0:
        raise ValueError("need channels and fs > 0")
    truth, told = given.get("y_true") or {}, given.get("y_pred") or {}
    asked = {name: targets.get(name) or {} for name in truth}
    title = "   ".join(
        f"{_called(name, asked[name])} {_answer(truth[name], asked[name])} → {_answer(told.get(name), asked[name])}"
        for name in truth
    )
    title = f"{title}  (reference → estimate)" if title else str(given.get("title", ""))
    return plots.Example(title, float(given["fs"]), channels, arrays(given.get("beats")), arrays(given.get("points")))


def bounds(test: pd.DataFrame) -> dict[str, Any] | None:
    """Return how often the prediction intervals hold the reference, and how wide they are."""
    if "lower" not in test or "upper" not in test:
        return None
    low, high, true = (test[column].to_numpy(float) for column in ("lower", "upper", "y_true"))
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(true)
    if not known.any():
        return None
    inside = (low <= true) & (true <= high)
    return {"coverage": float(inside[known].mean()), "width": float((high - low)[known].mean()), "n": int(known.sum())}


def _called(name: str, target: Mapping[str, Any]) -> str:
    """Write the name of a target: pressures have short ones."""
    return name.upper() if target.get("unit", "mmHg") == "mmHg" else name_of(name)


def _answer(value: Any, target: Mapping[str, Any]) -> str:
    """Write a reference or an estimate: the name of a class, or a number to the digits that mean something."""
    names = target.get("classes") or ()
    if value is not None and names and all(isinstance(word, str) for word in names):
        return str(names[round(value)]) if 0 <= round(value) < len(names) else number(value)
    return number(value, 0 if target.get("unit", "mmHg") == "mmHg" else 1)


def _example_sentence(given: Mapping[str, Any]) -> str:
    parts = [str(given.get("title") or "")]
    parts += [f"record {given['record']}"] if "record" in given else []
    parts += [f"subject {given['subject']}"] if "subject" in given else []
    parts += [f"{number(given['onset_s'])} s from its start"] if given.get("onset_s") is not None else []
    parts += [f"signal quality {number(given['sqi'], 2)}"] if given.get("sqi") is not None else []
    return ", ".join(part for part in parts if part) + "."


def as_float(value: Any) -> float:
    """Return a number of JSON; NaN where it has none."""
    return math.nan if value is None else float(value)


def as_ends(ends: Sequence[Any] | None) -> tuple[float, float]:
    """Return both ends of an interval; NaN where they are unknown."""
    low, high = ends or (None, None)
    return as_float(low), as_float(high)
