"""What a reproduction found, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SHORT = 40  # characters of a fact of the environment
MOST = 12  # facts of the environment that are written out
VERDICTS = {
    "identical": "identical: every estimate and every figure is the same to the last bit",
    "within tolerance": "within tolerance: the same result, not the same bits",
    "differs": "DIFFERS: this is not the result of the run",
}


def in_words(told: Mapping[str, Any]) -> list[str]:
    """Return the table of a reproduction, and its verdict as the last line.

    Parameters
    ----------
    told
        What `reproduce` returned.
    """
    rows = [("", "run", "again", "")]
    rows += [_store(row) for row in told["stores"]]
    rows += [_windows(told["windows"]), _folds(told["folds"])]
    for name, target in told["targets"].items():
        rows += _target(name, target)
    rows.append(_networks(told["networks"]))
    return [
        *_table(rows),
        *_files(told["files"]),
        *_environment(told["environment"]),
        *_odd(told),
        f"tolerance: that of {told['tolerance']['name']}",
        VERDICTS[str(told["verdict"])],
    ]


def reasons(told: Mapping[str, Any]) -> list[str]:
    """Return in a few words each what makes a reproduction fail; none where it does not."""
    found = [f"store {row['again']} is not {row['run']}" for row in told["stores"] if not row["same_digest"]]
    windows = told["windows"]
    if windows["verdict"] == "differs":
        found.append(f"{windows['only_run'] + windows['only_again']} estimates are of windows that only one run has")
    if told["folds"]["verdict"] == "differs":
        found.append(f"{told['folds']['other']} rows of the folds are those of one run only")
    for name, target in told["targets"].items():
        if target["verdict"] == "differs":
            found.append(_why(name, target))
    if told["audit"][0] != told["audit"][1]:
        found.append("the audit passed in one run only")
    return found


def _why(name: str, target: Mapping[str, Any]) -> str:
    if "mean_share" in target:
        return (
            f"{name}: shares of classes differ by {_number(target['mean_share'])} on average, balanced accuracy by "
            f"{_number(target['balanced_accuracy_change'])}"
        )
    unit, bound = f" {target['unit']}".rstrip(), target["tolerance"]
    apart = (("up to", "largest", "largest"), ("usually", "usual", "usual"), ("the MAE by", "mae_change", "mae"))
    told = [f"{word} {_number(target[key])}{unit} (tolerance {_number(bound[limit])})" for word, key, limit in apart]
    return f"{name}: estimates differ by {', '.join(told)}"


def _store(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    same = {True: "identical", False: "same data and recipe, other bytes", None: "same digest (the run tells no content)"}
    said = same[row["same_content"]] if row["same_digest"] else "DIFFERS"
    return "store", str(row["run"]), str(row["again"]), said


def _windows(told: Mapping[str, Any]) -> tuple[str, str, str, str]:
    both = int(told["rows"])
    return "estimates", str(both + told["only_run"]), str(both + told["only_again"]), _loud(told["verdict"])


def _folds(told: Mapping[str, Any]) -> tuple[str, str, str, str]:
    beside = f", {told['other']} rows of one run only" if told["other"] else ""
    return "rows of the folds", str(told["rows"]), "", f"{_loud(told['verdict'])}{beside}"


def _target(name: str, told: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    said = _loud(told["verdict"])
    if "mean_share" in told:
        one, other = (_number(value) for value in told["balanced_accuracy"])
        bound = told["tolerance"]["mean_share"]
        moved = f"shares of classes moved by {_number(told['mean_share'])} on average; tolerance {bound:g}"
        return [(f"{name} balanced accuracy", one, other, said if said == "identical" else f"{said}: {moved}")]
    unit, bound = str(told["unit"]), told["tolerance"]
    one, other = (f"{_number(value)} {unit}".rstrip() for value in told["mae"])
    if said == "identical":
        return [(f"{name} MAE", one, other, said)]
    return [
        (f"{name} MAE", one, other, f"{said}: {_signed(told['mae_change'])} {unit}, tolerance {_number(bound['mae'])}"),
        (
            f"{name} a window", "", "",
            f"usually {_number(told['usual'])} {unit} apart (tolerance {_number(bound['usual'])}), at most "
            f"{_number(told['largest'])} ({_number(bound['largest'])})",
        ),
    ]  # fmt: skip


def _networks(told: Mapping[str, Any]) -> tuple[str, str, str, str]:
    every = told["identical"] == told["run"] == told["again"]
    far = told["largest_distance"]
    beside = "other shapes" if far is None else f"at most {far:.2g} of their length apart"
    said = "identical" if every else f"{told['identical']} to the last bit; weights {beside}"
    return "networks", str(told["run"]), str(told["again"]), said


def _files(told: Mapping[str, bool]) -> list[str]:
    other = [name for name, same in told.items() if not same]
    return [f"files with other bytes: {', '.join(other)}"] if other else [f"all {len(told)} files have the same bytes"]


def _environment(rows: Sequence[Mapping[str, str]]) -> list[str]:
    if not rows:
        return ["environment: the same"]
    told = [f"  {row['what']}: {_short(row['run'])} → {_short(row['again'])}" for row in rows[:MOST]]
    more = [f"  and {len(rows) - MOST} more, see the JSON"] if len(rows) > MOST else []
    return ["environment, what is not the same:", *told, *more]


def _odd(told: Mapping[str, Any]) -> list[str]:
    """Say so where one environment gave two results: that is no rounding, but chance that a seed does not govern."""
    if told["environment"] or told["verdict"] == "identical":
        return []
    return ["nothing of the environment differs, and yet the bits do: something here depends on chance or on time"]


def _table(rows: Sequence[tuple[str, str, str, str]]) -> Iterable[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    for first, one, other, said in rows:
        yield f"{first:<{widths[0]}}  {one:>{widths[1]}}  {other:>{widths[2]}}  {said}".rstrip()


def _loud(verdict: object) -> str:
    return "DIFFERS" if verdict == "differs" else str(verdict)


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:12]}…"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3g}"
