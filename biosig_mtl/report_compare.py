"""The page of a contest: one self-contained HTML file and a Markdown table, written from ``compare.json`` alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from biosig_mtl import plots, plots_compare
from biosig_mtl import report_sections as sections
from biosig_mtl.report import Ink, plainly
from biosig_mtl.report_sections import Picture, as_ends, as_float, interval, number
from biosig_mtl.types import DataError

OURS = "split_merge"


def render(out: str | Path) -> Path:
    """Write ``compare.html`` and ``compare.md`` into the folder of a contest and return the path of the page.

    Raises
    ------
    DataError
        There is no contest in the folder, or its file is broken.
    """
    path = Path(out) / "compare.json"
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: not there; run `biosig-mtl compare` first") from error
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON; run the same `biosig-mtl compare` again") from error
    return write(made, Path(out))


def write(made: Mapping[str, Any], out: Path) -> Path:
    """Write page and table of what ``compare.json`` holds, or of standings so far."""
    try:
        page, table = _page(made), markdown(made)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{out / 'compare.json'}: not as schema 1 says ({error!r}); run the comparison again") from error
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(table, encoding="utf-8")
    path = out / "compare.html"
    path.write_text(page, encoding="utf-8")
    return path


def lines(made: Mapping[str, Any]) -> list[str]:
    """Return the standings as lines for a terminal: the headline, then a row a model, the best first."""
    return [made["headline"], *(line(made, row) for row in _ordered(made))]


def line(made: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return one row as a line for a terminal."""
    words = [f"{name} {_error(made, row, name)}" for name in made["targets"]]
    gain = "reference" if row["verdict"] == "reference" else f"Δm {_gain(row)}"
    return f"{row['label']:<24} {', '.join(words)}; {gain}"


def _ordered(made: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all rows, the largest gain first; those without one last."""
    return sorted(made["rows"], key=lambda row: -as_float(row["delta_m"]) if row["delta_m"] is not None else float("inf"))


def _digits(made: Mapping[str, Any], name: str) -> int:
    target = made["targets"][name]
    return 3 if target["classes"] else 1 if target["unit"] == "mmHg" else 2


def _error(made: Mapping[str, Any], row: Mapping[str, Any], name: str) -> str:
    one = row["targets"].get(name)
    if one is None:
        return "–"
    digits = _digits(made, name)
    return f"{number(one['error'], digits)} ({interval(one['error_ci95'], digits)})"


def _gain(row: Mapping[str, Any]) -> str:
    value = row["delta_m"]
    if value is None:
        return "–"
    sign = "+" if value > 0 else ""
    return f"{sign}{number(value, 1)} % ({interval(row['delta_m_ci95'], 1)})"


def markdown(made: Mapping[str, Any]) -> str:
    """Return the table of a contest as Markdown, with its headline and terms."""
    targets = list(made["targets"])
    head = ["model", *(f"{name} {_told(made, name)}" for name in targets), "Δm", "verdict", "parameters", "MFLOP",
            "training CPU s", "step ms", "latency ms"]  # fmt: skip
    rows = [
        [
            f"**{row['label']}**" if row["label"] == OURS else row["label"], *(_error(made, row, name) for name in targets),
            "" if row["verdict"] == "reference" else _gain(row), row["verdict"], _whole(row.get("parameters")),
            _mega(row.get("flops_per_window")), number(row.get("train_cpu_s"), 1), number(row.get("step_ms"), 1),
            number(row.get("latency_ms"), 2),
        ]
        for row in _ordered(made)
    ]  # fmt: skip
    text = [
        *(f"**{stamp}**" for stamp in made["stamps"]),
        made["headline"],
        "",
        terms(made),
        "",
        _md(head),
        _md(["---"] * len(head)),
        *map(_md, rows),
    ]
    return "\n".join(text) + "\n"


def _md(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _told(made: Mapping[str, Any], name: str) -> str:
    target = made["targets"][name]
    return "1 − balanced accuracy" if target["classes"] else f"MAE ({target['unit']})"


def _whole(value: Any) -> str:
    return "" if value is None else f"{int(value):,}"


def _mega(value: Any) -> str:
    return "" if value is None else number(value / 1e6, 2)


def terms(made: Mapping[str, Any]) -> str:
    """Say under what terms the contest was held."""
    told = made["terms"]
    trials = told.get("trials", 1)
    tuned = (
        f"{trials} settings tried for each network and fold, chosen on that fold's validation subjects"
        if trials > 1
        else "all networks trained with the settings of the recipe, none tuned"
    )
    return (
        f"{made['dataset']}, {made['protocol'].replace('_', ' ')}, {made['folds']} folds × {len(made['seeds'])} seeds, "
        f"{made['n_subjects']} subjects, {made['n_windows']:,} windows; {tuned}. Intervals: 95 %, over subjects. "
        "Δm: mean over targets of the relative gain over single-task networks; above 0 is better."
    )


# ------------------------------------------------------------------------------------------------------------------ page
def _page(made: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        num=sections.number,
        ci=sections.interval,
        human=sections.name_of,
        picture=Ink().inline,
        whole=_whole,
        mega=_mega,
        plainly=plainly,
    )
    return environment.get_template("compare.html.j2").render(
        made=made,
        rows=_ordered(made),
        terms=terms(made),
        heads={name: _told(made, name) for name in made["targets"]},
        digits={name: _digits(made, name) for name in made["targets"]},
        gains=_gains(made),
        ranks=_ranks(made),
        curves=_curves(made),
        costs=_costs(made),
        style=(templates / "report.css").read_text(encoding="utf-8"),
        ours=OURS,
    )


def _gains(made: Mapping[str, Any]) -> list[Picture]:
    rows = [row for row in _ordered(made) if row["delta_m"] is not None and row["verdict"] != "reference"]
    drawn = [
        plots.Estimate(row["label"], row["delta_m"], as_ends(row["delta_m_ci95"]), highlight=row["label"] == OURS)
        for row in rows
    ]
    if not drawn:
        return []
    told = "Gain over single-task networks, mean over targets; 95 % interval over subjects. Right of the line is better."
    return [Picture(plots.comparison(drawn, "Δm, %", line=0.0), told)]


def _ranks(made: Mapping[str, Any]) -> list[Picture]:
    ranking = made["ranking"]
    if not ranking["ranks"]:
        return []
    svg = plots_compare.critical_difference(
        ranking["ranks"], as_float(ranking["critical_difference"]), ranking["cliques"], [OURS]
    )
    p = as_float(ranking["friedman_p"])
    alike = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    told = (
        f"Mean ranks over {ranking['subjects']} subjects. Models joined by a bar are not told apart (Nemenyi, 5 %); "
        f"that all are alike has {alike} (Friedman)."
    )
    return [Picture(svg, told)]


def _curves(made: Mapping[str, Any]) -> list[Picture]:
    pictures = []
    for name in made["targets"]:
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for point in made.get("curves", ()):
            if point["target"] == name:
                low, high = as_ends(point["error_ci95"])
                found.setdefault(point["label"], []).append((point["subjects"], as_float(point["error"]), low, high))
        if found:
            svg = plots_compare.learning_curves(found, _told(made, name))
            told = f"{name.upper()}: what more people are worth. Bars: 95 % interval over tested subjects."
            pictures.append(Picture(svg, told))
    return pictures


def _costs(made: Mapping[str, Any]) -> list[Picture]:
    rows = [row for row in made["rows"] if row["kind"] == "network" and row.get("step_ms") is not None]
    if not rows:
        return []
    drawn = {row["label"]: (as_float(row["step_ms"]), as_float(row["delta_m"] or 0.0)) for row in rows}
    svg = plots_compare.cost(drawn, f"one training step on {rows[0]['step_windows']} windows, ms", "Δm, %", [OURS])
    return [Picture(svg, "What a network costs in training against what it gains; measured in turns, on one thread.")]
