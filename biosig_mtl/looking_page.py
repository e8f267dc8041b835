"""A look as one self-contained page: the picture, and the facts of its channels as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from biosig_mtl.looking_facts import Facts

if TYPE_CHECKING:
    from jinja2 import Template


TEMPLATES = Path(__file__).parent / "templates"


def template(name: str) -> Template:
    """Return a template of the package; what it is given is escaped, and what it lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(name)


def page(title: str, picture: str, facts: Sequence[Facts], notes: Sequence[str]) -> str:
    """Return the page; it loads nothing from outside. The picture stays light in a dark page: its shades mean something.

    Parameters
    ----------
    title
        What is drawn.
    picture
        The drawing as SVG text of ours.
    facts, notes
        What is told below it.
    """
    from markupsafe import Markup

    return template("look.html.j2").render(
        title=title,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        # matplotlib has escaped every name in its drawing.
        picture=Markup(picture),
        rows=[_row(one) for one in facts],
        notes=notes,
    )


def _row(one: Facts) -> dict[str, str]:
    return {
        "name": one.name,
        "in the file": one.source_name,
        "rate": f"{one.fs:.6g} Hz",
        "unit": one.unit,
        "beats": "–" if one.beats is None else str(one.beats),
        "per minute": _number(one.rate, 0),
        "quality": _number(one.sqi, 2),
        "points down": f"{100 * one.reversed_share:.0f} %" if one.reversed_share > 0 else "no" if one.beats else "–",
        "rejected": one.refusal().removeprefix("rejected "),
    }


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
