"""What the report says of prediction intervals: what they hold, where they fail, and what refusing the unsure gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from biosig_mtl import plots_intervals
from biosig_mtl.report_sections import Picture, Run, as_ends, interval, name_of, number

# A class of fewer people is told in the table, and is too few for a sentence.
FEWEST = 5


def intervals(run: Run) -> dict[str, Any] | None:
    """Return the content of the section, None where a run has no intervals or only those of an older version.

    Keys: ``targets``, each with ``title unit sentences levels classes quality other other_head pictures method refusal``.
    """
    given = run.scores.get("intervals") or {}
    targets = [
        _target(name, told, str(run.scores["targets"].get(name, {}).get("unit", "")))
        for name, told in given.items()
        if told.get("levels") and told.get("coverage") is not None
    ]
    return {"targets": targets} if targets else None


def _target(name: str, told: Mapping[str, Any], unit: str) -> dict[str, Any]:
    title = name.upper() if unit == "mmHg" else name_of(name).capitalize()
    refusal = told.get("selective") or {}
    return {
        "title": title,
        "unit": unit,
        "method": told["method"],
        "sentences": sentences(title, told, unit),
        "levels": [_row(percent(row["level"]), row) for row in told["levels"]],
        "classes": [_row(row["class"], row) for row in told.get("classes", ())],
        "quality": [_row(_between(row["sqi"]), row) for row in told.get("quality", ())],
        "other": [_row(row["method"], row) for row in told.get("other", ())],
        "other_head": "other way, without weights" if told.get("shift") else "other way",
        "refusal": [_refusal(way, row, unit) for way, row in (refusal.get("by") or {}).items()],
        "pictures": _pictures(title, told, unit),
    }


def _between(ends: Sequence[float]) -> str:
    """Return both ends with as many digits as tell them apart: of a clean set all quality lies near 1."""
    written = [[number(end, digits) for end in ends] for digits in (2, 3, 4)]
    return "–".join(next((words for words in written if len(set(words)) > 1), written[-1]))


def _row(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "held": percent(row["coverage"]),
        "ends": _ends(row.get("coverage_ci95")),
        "width": row["width"],
        "people": row["n_subjects"],
    }


def percent(share: float | None) -> str:
    """Write a share for people.

    >>> percent(0.9), percent(None)
    ('90 %', '–')
    """
    return "–" if share is None else f"{number(100 * share, 0)} %"


def _ends(ends: Sequence[float | None] | None) -> str:
    return "" if ends is None else interval([None if end is None else 100 * end for end in ends], 0)


def sentences(title: str, told: Mapping[str, Any], unit: str) -> list[str]:
    """Return what intervals of a target hold and where they do not, in words."""
    level, half = percent(told["level"]), number(told["width"] / 2.0)
    ends = _ends(told["coverage_ci95"])
    said = [
        f"{title}: {level} intervals hold the reference in {percent(told['coverage'])} of the windows of a new person"
        f"{f' (95 % CI {ends} %)' if ends else ''}; on average they reach {half} {unit} to either side."
    ]
    if told["promised"] is not None and told["promised"] < told["level"]:
        said.append(
            f"{told['calibration_people']} people are too few for {level}: they can promise {percent(told['promised'])} at "
            "most, and the largest error that was seen stands in."
        )
    said += _weak(title, told, unit)
    people = told.get("people") or {}
    if people.get("share_below"):
        said.append(
            f"They are not for each person: of {percent(people['share_below'])} of the people they hold less than "
            f"{percent(people['below'])} of the windows."
        )
    if shift := told.get("shift"):
        plain = next((row for row in told.get("other", ()) if row["method"] == "one width"), None)
        unweighted = f"; without weights they hold {percent(plain['coverage'])}" if plain else ""
        said.append(
            "The people tested are of another set: errors are weighted by how like theirs an input is, which leaves the worth "
            f"of {number(shift['effective_people'], 0)} of {told['calibration_people']} people{unweighted}. Labels of the "
            "tested people were not used; where their pressures lie elsewhere for the same signals, no weights can know."
        )
    return said


def _weak(title: str, told: Mapping[str, Any], unit: str) -> list[str]:
    """Return the class of the truth that is held least, where it is held less than was asked for."""
    known = [row for row in told.get("classes", ()) if row["n_subjects"] >= FEWEST and row["coverage"] is not None]
    worst = min(known, key=lambda row: float(row["coverage"]), default=None)
    if worst is None or worst["coverage"] >= told["level"]:
        return []
    return [
        f"Least where {title} is {worst['class']} {unit}: {percent(worst['coverage'])} ({worst['n_subjects']} people). "
        "Estimates lean to the middle, so intervals around them miss the ends."
    ]


def _refusal(way: str, row: Mapping[str, Any], unit: str) -> dict[str, Any]:
    return {"name": way, "half": f"{number(row['kept_half'])} {unit}", "gain": row["gain"], "ends": _ends(row["gain_ci95"])}


def _pictures(title: str, told: Mapping[str, Any], unit: str) -> list[Picture]:
    made = []
    everyone = ("all", told["coverage"], as_ends(told["coverage_ci95"]))
    rows = [everyone] + [(row["class"], row["coverage"], as_ends(row["coverage_ci95"])) for row in told.get("classes", ())]
    if len(rows) > 1:
        caption = f"{title}: what {percent(told['level'])} intervals hold, by class of the reference ({unit}), over people."
        made.append(Picture(plots_intervals.held(rows, told["level"]), caption))
    refusal = told.get("selective") or {}
    if refusal:
        curves = {way: row["risk"] for way, row in refusal["by"].items()}
        bounds = {"at random": refusal["random"]["risk"], "knowing the errors": refusal["oracle"]["risk"]}
        better = [way for way, row in refusal["by"].items() if as_ends(row["gain_ci95"])[0] > 0]
        best = max(better, key=lambda way: float(refusal["by"][way]["gain"]), default="")
        caption = f"{title}: error of what is kept when the unsure are refused; "
        caption += f"best by {best}." if best else "nothing tried here is surely better than chance."
        made.append(Picture(plots_intervals.risk_coverage(refusal["shares"], curves, bounds, unit), caption))
    return made
