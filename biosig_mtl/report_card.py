"""The model card: what a run is, for whom, and where it fails; every number from the run's own files.

The form follows Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), with the YAML head that model hubs read. What
the files do not tell is said to be missing; nothing is filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biosig_mtl import report, report_card_scores
from biosig_mtl.recipe_text import plain_yaml
from biosig_mtl.report_card_parts import Block, Card, Section, data, inputs, intended, limits, made_of, protocol, use
from biosig_mtl.types import DataError, RecipeError

__all__ = ["Block", "Card", "Section", "card_of", "render", "write"]

TEMPLATES = {".md": "card.md.j2", ".html": "card.html.j2"}


def write(run: Path, out: Path, export: Mapping[str, Any] | None = None) -> Path:
    """Write the card of a run and return its path.

    Parameters
    ----------
    run
        Run folder.
    out
        ``….md`` or ``….html``; both say the same.
    export
        Figures of an export that the card lies beside; None: it lies in the run.

    Raises
    ------
    DataError
        No run folder, a broken file in it, another suffix, or the card cannot be written.
    """
    if out.suffix not in TEMPLATES:
        raise DataError(f"{out}: a card is written as .md or .html")
    page = render(card_of(run, export), out.suffix)
    part = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(page, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    return out


def card_of(run: Path, export: Mapping[str, Any] | None = None) -> Card:
    """Return the card of a run; see `write`."""
    found = report.read(run)
    model = _model(run)
    name = _name(found.recipe, run)
    try:
        sections = (
            Section("In short", (Block(lines=report.verdict_lines(found.scores)),)),
            intended(found.scores),
            inputs(found, model),
            data(found, model),
            protocol(found),
            report_card_scores.scores(found),
            report_card_scores.baselines(found),
            report_card_scores.classes(found),
            report_card_scores.intervals(found, model),
            limits(found),
            *([_exported(export)] if export else []),
            use(found, exported=export is not None),
            made_of(found, model),
        )
        head = report_card_scores.head(found, name)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{run / 'scores.json'}: not as schema 1 says ({error!r}); evaluate the run again") from error
    return Card(name, head, tuple(section for section in sections if section.blocks))


def render(card: Card, suffix: str = ".md") -> str:
    """Return the card as Markdown with a YAML head, or as one HTML file that loads nothing."""
    import yaml
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=suffix == ".html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cell=_cell, safe_text=_plain_text)
    style = (folder / "report.css").read_text(encoding="utf-8")
    head = yaml.safe_dump(card.head, sort_keys=False, allow_unicode=True, width=120)
    return environment.get_template(TEMPLATES[suffix]).render(card=card, head=head, style=style)


def _plain_text(text: str) -> str:
    """Return text in which Markdown finds no markup of HTML."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def _cell(text: str) -> str:
    return _plain_text(text).replace("|", "\\|")


def _model(run: Path) -> Mapping[str, Any]:
    """Return what ``model.json`` says; empty where the run has none."""
    path = run / "model" / "model.json"
    if not path.is_file():
        return {}
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not readable as JSON: the model folder is damaged") from error
    return found


def _name(recipe: str | None, run: Path) -> str:
    if recipe is None:
        return run.resolve().name
    try:
        return str((plain_yaml(recipe, "recipe.yaml") or {}).get("name") or run.resolve().name)
    except (RecipeError, AttributeError) as error:
        raise DataError(f"{run / 'recipe.yaml'}: not readable as YAML; copy the run folder again") from error


def _exported(export: Mapping[str, Any]) -> Section:
    found, ms = export["parity"], export["one_window_ms"]
    on = "windows of the run's store" if found["on"] == "store" else "windows of noise"
    lines = [
        f"{export['networks']} of {export['networks_of_the_run']} networks in one ONNX graph (opset {export['opset']}), "
        f"{export['bytes'] / 1e6:.1f} MB; one window in {ms['p50']:.2f} ms on one thread of the machine that wrote it",
        f"largest difference from the networks in torch: {found['worst']:.1e}, on {found['windows']} {on}",
    ]
    for what, rows in (("fewer networks", export.get("fewer_networks")), ("8 bits", (export.get("int8") or {}).get("costs"))):
        lines += [f"{what}, {_cost(row)}" for row in rows or ()]
    return Section("This file", (Block(lines=tuple(lines)),))


def _cost(row: Mapping[str, Any]) -> str:
    text = f"{row['target']}: differs by {row['mean_difference']:.2f} in the mean, {row['max_difference']:.2f} at most"
    if row["mae_before"] is None:
        return text
    return f"{text}; mean error on unseen people {row['mae_after']:.2f} instead of {row['mae_before']:.2f}"
