"""What a paper needs of a run: tables, figures, the protocol in words, a checklist and the citations, as files.

Every number is one of ``scores.json`` (or a count of the run's own tables), rounded once; nothing is trained or graded anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biosig_mtl import report, report_paper_figures, report_paper_tables, report_paper_tripod
from biosig_mtl.report_paper_methods import methods, sets_of
from biosig_mtl.report_paper_text import (
    Table,
    comma_separated,
    document,
    escaped,
    latex,
    markdown,
    text_latex,
    text_markdown,
)
from biosig_mtl.report_sections import Run
from biosig_mtl.types import DataError

_STATEMENT = r"""@article{tripod_ai,
  author  = {Collins, Gary S. and others},
  title   = {{TRIPOD+AI} statement: updated guidance for reporting clinical prediction models that use regression or machine
             learning methods},
  journal = {BMJ},
  year    = {2024},
  volume  = {385},
  pages   = {e078378},
  doi     = {10.1136/bmj-2023-078378},
}
"""


def write(run: str | Path, out: str | Path) -> list[Path]:
    """Write what a paper needs of a run folder, or the table of a contest folder, into a folder; return the files.

    ``tables/NAME.md``, ``.tex`` (booktabs) and ``.csv`` (all digits); ``figures/NAME.svg`` and ``.pdf`` (85 or 180 mm);
    ``methods.md`` and ``.tex``; ``tripod_ai.md``, ``.tex`` and ``.csv``; ``citations.bib``; ``paper.md`` and ``paper.tex``,
    which hold all of it. Files of these names are written over.

    Raises
    ------
    DataError
        The folder is no finished run and no contest, one of its files is broken, or the place cannot be written to.
    """
    source, place = Path(run), Path(out)
    try:
        if not (source / "scores.json").is_file() and (source / "compare.json").is_file():
            return _of_contest(source, place)
        return _of_run(report.read(source), place)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{source}: not as schema 1 says ({error!r}); write it again with this version") from error
    except OSError as error:
        raise DataError(f"{error.filename or place}: {error.strerror}; choose another --out") from error


def _of_run(run: Run, place: Path) -> list[Path]:
    made = report_paper_tables.tables(run)
    checklist = report_paper_tripod.checklist(run)
    parts = methods(run)
    drawn = report_paper_figures.drawings(run)
    # All that can fail for want of content has failed by now: a broken run leaves no half of a paper.
    for folder in (place / "tables", place / "figures"):
        folder.mkdir(parents=True, exist_ok=True)
    files = [path for table in made for path in _table(table, place / "tables")]
    files += [path for drawing in drawn for path in report_paper_figures.save(drawing, place / "figures")]
    files += _table(checklist, place)
    title = f"{run.scores['model']} on {run.scores['dataset']}"
    files += [
        _text(place / "methods.md", text_markdown("Methods", parts)),
        _text(place / "methods.tex", text_latex(parts)),
        _text(place / "citations.bib", citations(run)),
        _text(place / "paper.md", _as_one(run, title, made, drawn)),
    ]
    inputs = ["methods", *(f"tables/{table.name}" for table in made), checklist.name]
    figures = [(f"figures/{drawing.name}", drawing.caption, drawing.width_mm) for drawing in drawn]
    return [*files, _text(place / "paper.tex", document(title, inputs, figures))]


def _of_contest(source: Path, place: Path) -> list[Path]:
    try:
        made = json.loads((source / "compare.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{source / 'compare.json'}: not readable as JSON; run the comparison again") from error
    table = report_paper_tables.contest(made)
    (place / "tables").mkdir(parents=True, exist_ok=True)
    return _table(table, place / "tables")


def _table(table: Table, folder: Path) -> list[Path]:
    return [
        _text(folder / f"{table.name}.md", markdown(table)),
        _text(folder / f"{table.name}.tex", latex(table)),
        _text(folder / f"{table.name}.csv", comma_separated(table)),
    ]


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _as_one(run: Run, title: str, made: list[Table], drawn: list[report_paper_figures.Drawing]) -> str:
    marks = "".join(f"**{mark}**\n\n" for mark in report_paper_tables.warnings(run.scores))
    beside = "Methods: `methods.md`; checklist: `tripod_ai.md`; citations: `citations.bib`."
    head = f"# {title}\n\n{marks}Research use only. {beside}\n"
    tables = "\n".join(markdown(table) for table in made)
    pictures = "\n".join(f"![{drawing.name}](figures/{drawing.name}.svg)\n\n{drawing.caption}\n" for drawing in drawn)
    return f"{head}\n## Tables\n\n{tables}\n## Figures\n\n{pictures}"


def citations(run: Run) -> str:
    """Return data sets, software and the reporting statement as BibTeX."""
    entries = [_data_entry(one) for one in sets_of(run)]
    version = str(((run.environment or {}).get("packages") or {}).get("biosig-mtl", ""))
    fields = {"title": "{biosig_mtl}: multi-task learning on biosignals", "version": version, "note": "Software"}
    return "\n".join([*entries, _entry("misc", "biosig_mtl", fields), _STATEMENT])


def _data_entry(one: Mapping[str, Any]) -> str:
    fields = {
        "title": f"{{{one['title']}}}",
        "version": str(one.get("version") or ""),
        "doi": str(one.get("doi") or ""),
        "url": str(one.get("url") or ""),
        "note": f"Data set, {one.get('licence', 'licence not known')}. Cite: {one.get('citation', '')}",
    }
    return _entry("misc", re.sub(r"\W+", "_", str(one["name"])), fields)


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    # A doi and an address are read by BibTeX as they are; words are typeset.
    raw = {"doi", "url"}
    lines = [f"  {name} = {{{value if name in raw else _typeset(value)}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _typeset(value: str) -> str:
    """Escape a field; outer braces, which keep capitals, stay."""
    inner = re.fullmatch(r"\{(.*)\}", value)
    return f"{{{escaped(inner[1])}}}" if inner else escaped(value).replace(r"\{", "{").replace(r"\}", "}")
