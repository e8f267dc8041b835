"""The report: one self-contained HTML file, written from a run folder alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from biosig_mtl import plots, report_affect, report_insight, report_intervals, report_pressure, report_splits, report_words
from biosig_mtl import report_sections as sections
from biosig_mtl.evaluation import scores as graded
from biosig_mtl.report_sections import Run
from biosig_mtl.report_verdict import PRESSURE, kind_of, stamps, verdict_lines
from biosig_mtl.types import DataError

__all__ = ["read", "render", "verdict_lines"]

NEEDED = {"subject", "seed", "target", "y_true", "y_pred"}
# Checks that a full audit has; a run without one of them is told so.
OPTIONAL_CHECKS = ("negative_control", "too_good")


def render(run: str | Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The file loads nothing from outside, and follows the reader's light or dark setting.

    Parameters
    ----------
    run
        A run folder with at least ``scores.json`` and ``predictions.parquet``; what else is missing is told in the report.

    Raises
    ------
    DataError
        The folder is not a run folder, or one of its files is broken.
    """
    from jinja2 import UndefinedError

    content = read(Path(run))
    try:
        page = _page(content)
    except (KeyError, TypeError, AttributeError, ValueError, UndefinedError) as error:
        raise DataError(f"{content.path / 'scores.json'}: not as schema 1 says ({error!r}); evaluate the run again") from error
    path = content.path / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def read(folder: Path) -> Run:
    """Read a run folder; raise `DataError` where it is none or a file in it is broken."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such run folder")
    scores = _read(folder / "scores.json", _json)
    predictions = _read(folder / "predictions.parquet", _parquet)
    if scores is None or predictions is None:
        lacking = "scores.json" if scores is None else "predictions.parquet"
        raise DataError(f"{folder}: not a finished run, {lacking} is missing; train it (again)")
    if not isinstance(scores, dict) or scores.get("schema") != graded.SCHEMA:
        raise DataError(f"{folder / 'scores.json'}: not of schema {graded.SCHEMA}; evaluate the run again with this version")
    _need(folder / "predictions.parquet", predictions, NEEDED)
    rejected = _read(folder / "rejected.csv", _csv)
    if rejected is not None:
        _need(folder / "rejected.csv", rejected, {"record", "onset_s", "reason"})
    return Run(
        path=folder,
        scores=scores,
        predictions=predictions,
        recipe=_read(folder / "recipe.yaml", lambda path: path.read_text(encoding="utf-8")),
        rejected=rejected,
        history=_read(folder / "history.csv", _csv),
        environment=_read(folder / "environment.json", _json),
        examples=_read(folder / "examples.json", _json),
        split_report=_read(folder / "split_report.json", _json) or scores.get("split_report"),
        dataset=_read(folder / "dataset.json", _json),
        interpretation=_read(folder / "interpretation.json", _json),
    )


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    """Return what a file holds, None where it is not there."""
    if not path.is_file():
        return None
    try:
        return reader(path)
    except (ValueError, OSError, RecursionError) as error:
        # Readers' errors (JSON, CSV, Parquet, UTF-8) are all of these two kinds; their first line names the spot.
        raise DataError(
            f"{path}: cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error


def _need(path: Path, table: Any, columns: set[str]) -> None:
    if lacking := sorted(columns - set(table.columns)):
        raise DataError(f"{path}: missing columns {', '.join(lacking)}; write the run again")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _csv(path: Path) -> Any:
    import pandas as pd

    return pd.read_csv(path, dtype={"record": str, "reason": str}, float_precision="round_trip")


def _parquet(path: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _page(run: Run) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        num=sections.number, ci=sections.interval, human=sections.name_of, picture=Ink().inline, plainly=plainly
    )
    template = environment.get_template("report.html.j2")
    style = (templates / "report.css").read_text(encoding="utf-8")
    # First of all, because a broken example must not cost the time of every other picture.
    examples = sections.examples(run)
    names = [check["name"] for check in run.scores["audit"]["checks"]]
    scored = run.scores
    return template.render(
        run=run,
        scores=scored,
        style=style,
        verdict=verdict_lines(scored, stamped=False),
        audit=sections.audit_sentence(scored["audit"]),
        stamps=_stamps(scored),
        examples=examples,
        curves=sections.curves(run),
        dropped=sections.dropped(run),
        not_run=[name for name in OPTIONAL_CHECKS if name not in names],
        guarantee=scored.get("protocol_guarantee"),
        demographics=scored.get("demographics") or (run.dataset or {}).get("demographics"),
        ablation=_table(scored.get("ablation")),
        against_target=_table(scored.get("against_target_median")),
        control=_table(scored.get("negative_control")),
        **_told(run),
    )


def _told(run: Run) -> dict[str, Any]:
    """Return what is told differently of pressures and of how people feel."""
    pressure = any(kind_of(target) == PRESSURE for target in run.scores["targets"].values())
    insight = report_insight.insight(run)
    targets = report_pressure.targets(run) if pressure else report_affect.targets(run)
    words = report_words.words(run.scores, targets, pressure=pressure, twin=any(target.get("twin") for target in targets))
    seen = report_splits.splits(run)
    if seen is not None:
        place = next((i + 1 for i, (word, _) in enumerate(words["sections"]) if word == "training"), len(words["sections"]))
        words["sections"].insert(place, ("splits", "Splits"))
    bounds = report_intervals.intervals(run)
    if bounds is not None:
        words["sections"].insert([word for word, _ in words["sections"]].index("audit"), ("intervals", "Intervals"))
    return {
        "told_by": "report_pressure.html.j2" if pressure else "report_affect.html.j2",
        "targets": targets,
        "cards": [card for target in targets for card in target["cards"]],
        "insight": insight,
        "reasons": insight["reasons"],
        "splits": seen,
        "intervals": bounds,
        **words,
    }


def _stamps(scores: Mapping[str, Any]) -> list[str]:
    marks = stamps(scores)
    if not scores.get("coverage_sufficient", True):
        marks.append(f"COVERAGE {100 * scores['coverage']:.0f} %")
    return marks


def _table(rows: Any) -> tuple[list[str], list[list[Any]]] | None:
    """Return header and rows of a list (or mapping by name) of flat mappings, None where there is nothing to show."""
    if isinstance(rows, dict):
        rows = [{"name": name, **(row if isinstance(row, dict) else {"value": row})} for name, row in rows.items()]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    header = list(dict.fromkeys(key for row in rows for key in row))
    return header, [[row.get(key) for key in header] for row in rows]


def plainly(value: Any) -> str:
    """Write whatever an extra key holds so that a person can read it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, float):
        return sections.number(value, 3 if abs(value) < 10 else 1)
    if isinstance(value, dict):
        return ", ".join(f"{sections.name_of(str(key))} {plainly(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(end, float) for end in value):
            return sections.interval(value, 3 if abs(value[1]) < 10 else 1)
        return ", ".join(map(plainly, value))
    return str(value)


class Ink:
    """Puts pictures into the page: colours become the page's own, and ids stay unique."""

    def __init__(self) -> None:
        self._number = 0

    def inline(self, picture: sections.Picture) -> Any:
        """Return a picture as markup."""
        from markupsafe import Markup, escape

        self._number += 1
        mark = f"p{self._number}-"
        svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}\1"', picture.svg)
        svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}\1)", svg)
        svg = re.sub(r'href="#([^"]+)"', rf'href="#{mark}\1"', svg)
        svg = re.sub("|".join(plots.THEME), lambda found: f"var(--{plots.THEME[found[0]]})", svg)
        svg = svg.replace("<svg ", f'<svg aria-label="{escape(picture.caption)}" ', 1)
        # The drawing is ours, and matplotlib has escaped every name in it; the caption is escaped above and by format().
        return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(svg), picture.caption)
