"""What the splits of the network learned, as pictures, tables and sentences of one section of the report.

All is read from ``split_report.json`` (and gradient cosines from ``history.csv``); what is not there is not shown. Where a run
has several networks (folds × seeds), figures are means over them, and small figures their range unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from biosig_mtl import plots, plots_splits
from biosig_mtl.plots_splits import Band, Series
from biosig_mtl.report_sections import Picture, Run, name_of, number
from biosig_mtl.types import F64, DataError

OPERATORS = {"zeros": "by zeros", "shuffled": "by another window's"}
COSINE = "cosine_"
SURE = 0.05
Reports = Sequence[Mapping[str, Any]]


def splits(run: Run) -> dict[str, Any] | None:
    """Return the content of the section, None where no network of the run tells of splits.

    Keys: ``sentences names networks beat tracks families dependence removal gates cosines`` (pictures, or None or empty),
    ``probes masks`` (tables).

    Raises
    ------
    DataError
        The file is not of the form that a run writes.
    """
    given = run.split_report or {}
    folds = given.get("folds")
    if not isinstance(folds, Mapping):
        return None
    reports = [one for one in folds.values() if isinstance(one, Mapping) and one.get("splits") and "maps" in one]
    if not reports:
        return None
    try:
        names = [str(name) for name in reports[0]["splits"]]
        return {
            "sentences": list(given.get("sentences") or ()), "names": names, "networks": len(reports),
            "beat": _beat(reports, names), "tracks": _tracks(reports, names), "families": _families(reports, names),
            "dependence": _dependence(reports, names),
            "removal": _removal(given.get("removal") or {}, names), "gates": _gates(reports, names), "cosines": _cosines(run),
            "probes": _probes(reports), "masks": _masks(reports, names, given.get("agreement") or {}),
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        path = run.path / "split_report.json"
        raise DataError(f"{path}: cannot be shown ({' '.join(str(error).split())}); evaluate the run again") from error


def _array(values: Any) -> F64:
    return np.array(values, dtype=np.float64)  # None becomes NaN


def _mean(values: Sequence[Any]) -> F64:
    """Return the mean over networks of what is known."""
    stack = np.stack([_array(one) for one in values])
    known = np.isfinite(stack)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, stack, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _bands(parts: Reports, names: Sequence[str]) -> list[Band]:
    mean, sd = _mean([one["mean"] for one in parts]), np.sqrt(_mean([_array(one["sd"]) ** 2 for one in parts]))
    return [Band(name, mean[k], sd[k]) for k, name in enumerate(names)]


# ------------------------------------------------------------------------------------------------------------------ maps
def _beat(reports: Reports, names: Sequence[str]) -> list[Picture]:
    parts = [one["maps"]["beat"] for one in reports if one["maps"].get("beat")]
    if not parts:
        return []
    phase, bands = parts[0]["phase"], _bands(parts, names)
    token, beat = (float(np.mean([one[key] for one in parts])) for key in ("token_s", "beat_s"))
    size = [100 * float(np.nanstd(band.mean)) / max(float(np.nanmean(band.mean)), 1e-9) for band in bands]
    told = ", ".join(f"{name} ±{number(one, 2)} %" for name, one in zip(names, size, strict=True))
    caption = (
        f"Mask by phase of the beat, mean ± SD over people, over the mean pulse (grey); {sum(one['beats'] for one in parts):,} "
        f"beats. Change over the beat, of the level: {told}. {_shared(parts, names)} One time step of the network is "
        f"{number(token, 2)} s, {number(100 * token / beat, 0)} % of a beat: finer detail is not in a mask."
    )
    pictures = [Picture(plots_splits.over_the_pulse(phase, _mean([one["pulse"] for one in parts]), bands), caption)]
    fine = [one["sensitivity"] for one in parts if one.get("sensitivity")]
    if fine:
        rows = [Band(name, row, np.full_like(row, np.nan)) for name, row in zip(names, _mean(fine), strict=True)]
        svg = plots_splits.lines(phase, rows, "gradient, 1 = mean")
        pictures.append(Picture(svg, "Which samples the masks of time steps follow: size of their gradient in the waveform."))
    return pictures


def _shared(parts: Reports, names: Sequence[str]) -> str:
    p = np.stack([_array(one["p"]) for one in parts])
    if not np.isfinite(p).any():
        return "Too few people to say whether they share these shapes."
    sure = [f"{name} in {int((p[:, k] < SURE).sum())}" for k, name in enumerate(names)]
    return f"People share the shape (p < {SURE}): {', '.join(sure)} of {len(parts)} networks."


def _tracks(reports: Reports, names: Sequence[str]) -> list[Picture]:
    pictures = []
    for track in dict.fromkeys(name for one in reports for name in one["maps"].get("tracks") or {}):
        parts = [one["maps"]["tracks"][track] for one in reports if track in one["maps"]["tracks"]]
        svg = plots_splits.over_time(parts[0]["before_s"], _bands(parts, names))
        title = track.upper() if len(track) <= 4 else name_of(track).capitalize()
        pictures.append(Picture(svg, f"{title}: mask by time before the end of the window, mean ± SD over people."))
    return pictures


def _families(reports: Reports, names: Sequence[str]) -> Picture | None:
    found = list(dict.fromkeys(name for one in reports for name in one["maps"].get("families") or {}))
    if not found:
        return None
    each = {name: [one["maps"]["families"][name] for one in reports if name in one["maps"]["families"]] for name in found}
    mean = np.stack([_mean([one["mean"] for one in parts]) for parts in each.values()])
    sd = np.sqrt(np.stack([_mean([_array(one["sd"]) ** 2 for one in parts]) for parts in each.values()]))
    series = [Series(name, mean[:, k], mean[:, k] - sd[:, k], mean[:, k] + sd[:, k]) for k, name in enumerate(names)]
    svg = plots_splits.dots([name_of(name) for name in found], series, "mean of the mask")
    return Picture(svg, "Mask of each family of features, mean ± SD over people; an untrained sigmoid mask stands at 0.5.")


# ------------------------------------------------------------------------------------------------------------ dependence
def _dependence(reports: Reports, names: Sequence[str]) -> Picture | None:
    parts = [one["dependence"] for one in reports if one.get("dependence")]
    if not parts:
        return None
    value, null = _mean([one["uhsic"] for one in parts]), _mean([one["null95"] for one in parts])
    # The largest p: what is claimed then holds in every network.
    p = np.stack([_array(one["p"]) for one in parts]).max(axis=0)
    units = sorted({f"{one['permuted']}" for one in parts})
    least, most = min(one["units"] for one in parts), max(one["units"] for one in parts)
    count = f"{least}" if least == most else f"{least} to {most}"
    caption = (
        f"Dependence of splits (uHSIC: 0 independent, 1 a copy), and its p-value, the largest of {len(parts)} networks. "
        f"The null exchanges whole {' or '.join(units)} ({count} in a network, {parts[0]['permutations']} times); by chance "
        f"95 % lie below {number(float(np.nanmax(null)), 2)}."
    )
    return Picture(plots_splits.matrix(names, value, p), caption)


def _removal(given: Mapping[str, Any], names: Sequence[str]) -> list[Picture]:
    pictures = []
    for t, target in enumerate(_targets(names)):
        series = [
            Series(words, 100 * _array(given[how]["value"])[:, t], *(100 * _array(given[how]["ci95"])[:, t].T))
            for how, words in OPERATORS.items()
            if how in given
        ]
        if series:
            svg = plots_splits.dots([f"without {name}" for name in names], series, "growth of the error, %", line=0.0)
            told = (
                f"{_title(target)}: what is missed when a split is replaced, with 95 % intervals over {given['people']} people."
            )
            pictures.append(Picture(svg, told))
    return pictures


def _targets(names: Sequence[str]) -> list[str]:
    return [name for name in names if name != "shared"]


def _title(target: str) -> str:
    return target.upper() if len(target) <= 4 else name_of(target).capitalize()


def _gates(reports: Reports, names: Sequence[str]) -> Picture | None:
    parts = [one["gates_by_person"] for one in reports if one.get("gates_by_person")]
    if not parts:
        return None
    mean, sd = _mean([one["mean"] for one in parts]), np.sqrt(_mean([_array(one["sd"]) ** 2 for one in parts]))
    svg = plots_splits.dots(
        _targets(names), [Series("shared", mean, mean - sd, mean + sd)], "share of the shared split", line=0.5
    )
    return Picture(svg, "How much of each answer the merge takes from the shared split: mean ± SD over people.")


def _cosines(run: Run) -> Picture | None:
    table = run.history
    if table is None or "epoch" not in table:
        return None
    if "variant" in table:
        table = table[table["variant"] == "model"]
    columns = [c for c in table.columns if str(c).startswith(COSINE) and table[c].dtype.kind == "f" and table[c].notna().any()]
    keys = [key for key in ("fold", "seed", "member") if key in table]
    runs = [part for _, part in table.groupby(keys)] if keys else [table]
    if not columns or not len(table):
        return None
    drawn = {_pair(column): [(part["epoch"], part[column]) for part in runs] for column in columns}
    told = ", ".join(f"{_pair(c)} {number(100 * float((table[c].dropna() < 0).mean()), 0)} %" for c in columns)
    caption = (
        f"Cosine between the gradients of two tasks in what they share, by epoch; below 0 they pull apart ({told} of epochs)."
    )
    return Picture(plots.learning_curves(drawn, "cosine"), caption)


def _pair(column: str) -> str:
    return column.removeprefix(COSINE).replace("_", " – ")


# ---------------------------------------------------------------------------------------------------------------- tables
def _probes(reports: Reports) -> list[dict[str, Any]]:
    """Return a row for everything that was asked: ``name kind metric chance cells why``; cells are mean and range.

    Networks whose windows could not be asked are left out; where none could, ``why`` is the reason of the first.
    """
    given = [one["probes"] for one in reports if one.get("probes")]
    rows = []
    for name in dict.fromkeys(probe["name"] for one in given for probe in one[0]):
        found = [[probe for row in one for probe in row if probe["name"] == name] for one in given]
        whole = [row for row, one in zip(found, given, strict=True) if len(row) == len(one)]
        known = [row for row in whole if all(probe["value"] is not None for probe in row)]
        if whole:
            first = (known or whole)[0][0]
            metric = "R²" if first["metric"] == "r2" else "balanced accuracy"
            chance = float(np.mean([row[0]["chance"] for row in known or whole]))
            told = {"name": name, "kind": first["kind"], "metric": metric, "chance": chance}
            rows.append({**told, "why": "" if known else first["why"], "cells": _cells(known)})
    return rows


def _cells(known: Sequence[Reports]) -> list[tuple[float, tuple[Any, Any]]]:
    """Return the mean of every split with the range of networks, or the interval over people of the only one."""
    if len(known) == 1:
        return [(float(probe["value"]), (probe["ci95"][0], probe["ci95"][1])) for probe in known[0]]
    columns = [[float(row[k]["value"]) for row in known] for k in range(len(known[0]))] if known else []
    return [(float(np.mean(column)), (min(column), max(column))) for column in columns]


def _masks(reports: Reports, names: Sequence[str], agreement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of masks: ``columns`` and ``rows`` (name, values), means over networks."""
    columns = [("mean", "mask_mean"), ("spread", "mask_spread"), ("SD of the split", "split_std")]
    columns += [("r, unlearned", "fresh")] if all(one.get("fresh") for one in reports) else []
    told = [_mean([one[key] for one in reports]) for _, key in columns]
    kinds = [kind for kind in agreement if kind != "networks"]
    told += [_array(agreement[kind]) for kind in kinds]
    heads = [name for name, _ in columns] + [f"r, networks: {kind}" for kind in kinds]
    return {"columns": heads, "rows": [(name, [float(column[k]) for column in told]) for k, name in enumerate(names)]}
