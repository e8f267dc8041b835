"""What a network used: electrodes and bands on the head, modalities, and the features that windows do not have.

All of it is read from ``interpretation.json`` of the run folder; whatever that does not hold is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biosig_mtl import plots, plots_scalp
from biosig_mtl.report_sections import Picture, Run, as_ends, as_float, name_of, number
from biosig_mtl.types import F64, DataError

# Weights closer to an equal share than this (in per cent) are drawn as what they are: nearly equal.
EVEN_PERCENT = 10.0
GROWTH = "growth of the error without it, %"
WITHIN = "correlation with the target within persons, r"
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
            "electrodes": _weights(run, electrodes), "bands": _bands(run, electrodes), "removal": _removal(run, modalities),
            "learned": _learned(run, modalities), "reasons": _reasons(given.get("reasons") or {}),
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = run.path / "interpretation.json"
        raise DataError(f"{path}: cannot be shown ({' '.join(str(error).split())}); evaluate the run again") from error


# ------------------------------------------------------------------------------------------------------------ electrodes
def _values(given: Sequence[Any]) -> F64:
    return np.array([as_float(value) for value in given], dtype=np.float64)


def _weights(run: Run, electrodes: Mapping[str, Any]) -> list[Picture]:
    names = tuple(str(name) for name in electrodes.get("names") or ())
    pictures = []
    for word, given in (electrodes.get("weights") or {}).items():
        values, title = _values(given), _title(run, word)
        label, least = "weight", 0.0
        mean = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        if mean > 0 and not (values < 0).any():
            values, label, least = 100 * (values / mean - 1), SHARES, EVEN_PERCENT
        svg = plots_scalp.topographic([plots_scalp.Scalp(title, names, values)], label, least)
        pictures.append(Picture(svg, f"{title}: what the network learned to look at.{_most(names, values)}{_unplaced(names)}"))
    return pictures


def _bands(run: Run, electrodes: Mapping[str, Any]) -> list[Picture]:
    """Return one picture a target (or one for all) with a head a band; all heads of a picture have one scale."""
    names = tuple(str(name) for name in electrodes.get("names") or ())
    label = str(electrodes.get("bands_are") or WITHIN)
    pictures = []
    for target, by_band in _by_target(electrodes.get("bands") or {}).items():
        heads = [plots_scalp.Scalp(name_of(band), names, _values(values)) for band, values in by_band.items()]
        title = f"{_title(run, target)}: " if target else ""
        told = f"{title}{label}, band by band, on one scale.{_unplaced(names)}"
        pictures.append(Picture(plots_scalp.topographic(heads, label), f"{told[:1].upper()}{told[1:]}"))
    return pictures


def _by_target(bands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return values by target and band, from ``{target: {band: …}}``, ``{"target, band": …}`` or ``{band: …}``."""
    found: dict[str, dict[str, Any]] = {}
    for word, given in bands.items():
        if isinstance(given, Mapping):
            found.setdefault(word, {}).update(given)
        else:
            target, _, band = word.rpartition(", ")
            found.setdefault(target, {})[band] = given
    return found


def _title(run: Run, word: str) -> str:
    """Write the name of a target, or of a modality: ``valence`` → ``Valence``, ``eeg`` → ``EEG``."""
    return name_of(word).capitalize() if word in run.scores["targets"] or len(word) > 4 else word.upper()


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
    """Return one picture a target; growth is a share of the error, shown in per cent, unless ``removal_is`` says otherwise."""
    label, factor = GROWTH, 100.0
    if modalities.get("removal_is"):
        label, factor = str(modalities["removal_is"]), 1.0
    pictures = []
    for target, growth in (modalities.get("removal") or {}).items():
        rows = sorted((_estimate(name, value, factor) for name, value in growth.items()), key=_largest_first)
        if rows:
            told = f"{_title(run, target)}: {_needed(rows, ' %' if factor > 1 else '')}"
            pictures.append(Picture(plots.comparison(rows, label, line=0.0), told))
    return pictures


def _largest_first(row: plots.Estimate) -> float:
    return -row.value if np.isfinite(row.value) else np.inf


def _needed(rows: Sequence[plots.Estimate], unit: str) -> str:
    known = [row for row in rows if np.isfinite(row.value)]
    if not known or known[0].value <= 0:
        return "no modality is missed when it is left out of the prediction."
    return f"most is lost without {known[0].name} ({number(known[0].value, 1 if unit else 3)}{unit})."


def _learned(run: Run, modalities: Mapping[str, Any]) -> list[Picture]:
    given = modalities.get("learned") or {}
    nested = bool(given) and all(isinstance(value, Mapping) and "value" not in value for value in given.values())
    pictures = []
    for target, weights in (given if nested else {"": given} if given else {}).items():
        rows = sorted((_estimate(name, value) for name, value in weights.items()), key=_largest_first)
        total = sum(row.value for row in rows)
        equal = 1 / len(rows) if rows and abs(total - 1) < 0.02 else float("nan")
        title = f"{_title(run, target)}: weight" if target else "Weight"
        line = "; the line is an equal say" if np.isfinite(equal) else ""
        pictures.append(Picture(plots.comparison(rows, "learned weight", line=equal), f"{title} of each modality{line}."))
    return pictures


def _estimate(name: str, given: Any, factor: float = 1.0) -> plots.Estimate:
    """Return a number, or a mapping of ``value`` and ``ci95``, as a row of a comparison."""
    if isinstance(given, Mapping):
        low, high = as_ends(given.get("ci95"))
        return plots.Estimate(name_of(name), factor * as_float(given["value"]), (factor * low, factor * high))
    return plots.Estimate(name_of(name), factor * as_float(given))


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
