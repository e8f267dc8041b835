"""What a network used: electrodes and bands on the head, modalities, and the features that windows do not have.

All of it is read from ``interpretation.json`` of the run folder; whatever that does not hold is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biosig_mtl import plots, plots_scalp
from biosig_mtl.report_sections import Picture, Run, as_ends, as_float, name_of, number
from biosig_mtl.report_verdict import REGRESSION, kind_of
from biosig_mtl.types import F64, DataError

# Weights closer to an equal share than this (in per cent) are drawn as what they are: nearly equal.
EVEN_PERCENT = 10.0
SHARES = "weight, % above or below an equal share"


def insight(run: Run) -> dict[str, Any]:
    """Return pictures and tables of ``interpretation.json``: ``electrodes bands removal learned reasons``, empty where unknown.

    Raises
    ------
    DataError
        The file is not of the form that a run writes.
    """
    given = run.interpretation or {}
    try:
        electrodes, modalities = given.get("electrodes") or {}, given.get("modalities") or {}
        return {
            "electrodes": _weights(electrodes), "bands": _bands(electrodes), "removal": _removal(run, modalities),
            "learned": _learned(modalities), "reasons": _reasons(given.get("reasons") or {}),
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run.path / "interpretation.json"
        raise DataError(f"{path}: cannot be shown ({' '.join(str(error).split())}); evaluate the run again") from error


# ------------------------------------------------------------------------------------------------------------ electrodes
def _values(given: Sequence[Any]) -> F64:
    return np.array([as_float(value) for value in given], dtype=np.float64)


def _weights(electrodes: Mapping[str, Any]) -> list[Picture]:
    names = tuple(str(name) for name in electrodes.get("names") or ())
    pictures = []
    for target, given in (electrodes.get("weights") or {}).items():
        values, title = _values(given), name_of(target).capitalize()
        label, least = "weight", 0.0
        mean = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        if mean > 0 and not (values < 0).any():
            values, label, least = 100 * (values / mean - 1), SHARES, EVEN_PERCENT
        svg = plots_scalp.topographic([plots_scalp.Scalp(title, names, values)], label, least)
        pictures.append(Picture(svg, f"{title}: what the network learned to look at.{_most(names, values)}{_unplaced(names)}"))
    return pictures


def _bands(electrodes: Mapping[str, Any]) -> list[Picture]:
    """Return one picture a target (or one for all) with a head a band; all heads of a picture have one scale."""
    names = tuple(str(name) for name in electrodes.get("names") or ())
    bands = electrodes.get("bands") or {}
    nested = all(isinstance(given, Mapping) for given in bands.values())
    label = str(electrodes.get("bands_are") or "weight of the band")
    pictures = []
    for target, by_band in (bands if nested else {"": bands}).items():
        heads = [plots_scalp.Scalp(name_of(band), names, _values(values)) for band, values in by_band.items()]
        if heads:
            title = f"{name_of(target).capitalize()}: " if target else ""
            told = f"{title}{label}, band by band, on one scale.{_unplaced(names)}"
            pictures.append(Picture(plots_scalp.topographic(heads, label), f"{told[:1].upper()}{told[1:]}"))
    return pictures


def _most(names: Sequence[str], values: F64) -> str:
    known = [(value, name) for value, name in zip(values, names, strict=True) if np.isfinite(value)]
    if not known:
        return ""
    top = sorted(known, key=lambda pair: -pair[0])[:3]
    return f" Most: {', '.join(name for _, name in top)}."


def _unplaced(names: Sequence[str]) -> str:
    lacking = plots_scalp.unplaced(names)
    return f" Not drawn, no known place: {', '.join(lacking)}." if lacking else ""


# ------------------------------------------------------------------------------------------------------------ modalities
def _removal(run: Run, modalities: Mapping[str, Any]) -> list[Picture]:
    label = str(modalities.get("removal_is") or "growth of the error without it")
    pictures = []
    for target, growth in (modalities.get("removal") or {}).items():
        rows = sorted((_estimate(name, value) for name, value in growth.items()), key=_largest_first)
        asked = run.scores["targets"].get(target) or {}
        unit = str(asked.get("unit") or "") if kind_of(asked) == REGRESSION else ""
        written = f"{label} ({unit})" if unit and "(" not in label else label
        title = name_of(target).capitalize()
        pictures.append(Picture(plots.comparison(rows, written, line=0.0), f"{title}: {_needed(rows)}"))
    return pictures


def _largest_first(row: plots.Estimate) -> float:
    return -row.value if np.isfinite(row.value) else np.inf


def _needed(rows: Sequence[plots.Estimate]) -> str:
    known = [row for row in rows if np.isfinite(row.value)]
    if not known or known[0].value <= 0:
        return "no modality is missed when it is left out of the prediction."
    return f"most is lost without {known[0].name} ({number(known[0].value, 3)})."


def _learned(modalities: Mapping[str, Any]) -> list[Picture]:
    given = modalities.get("learned") or {}
    nested = bool(given) and all(isinstance(value, Mapping) and "value" not in value for value in given.values())
    pictures = []
    for target, weights in (given if nested else {"": given} if given else {}).items():
        rows = sorted((_estimate(name, value) for name, value in weights.items()), key=_largest_first)
        total = sum(row.value for row in rows)
        equal = 1 / len(rows) if rows and abs(total - 1) < 0.02 else float("nan")
        title = f"{name_of(target).capitalize()}: weight" if target else "Weight"
        line = "; the line is an equal say" if np.isfinite(equal) else ""
        pictures.append(Picture(plots.comparison(rows, "learned weight", line=equal), f"{title} of each modality{line}."))
    return pictures


def _estimate(name: str, given: Any) -> plots.Estimate:
    """Return a number, or a mapping of ``value`` and ``ci95``, as a row of a comparison."""
    if isinstance(given, Mapping):
        return plots.Estimate(name_of(name), as_float(given["value"]), as_ends(given.get("ci95")))
    return plots.Estimate(name_of(name), as_float(given))


# -------------------------------------------------------------------------------------------------------------- features
def _reasons(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the features without a value by reason, the most frequent first: ``reason features families``."""
    grouped: dict[str, list[str]] = {}
    for feature, reason in given.items():
        grouped.setdefault(str(reason), []).append(str(feature))
    rows = [
        {"reason": reason, "features": names, "families": sorted({name.partition(".")[0] for name in names})}
        for reason, names in grouped.items()
    ]
    return sorted(rows, key=lambda row: (-len(row["features"]), row["reason"]))
