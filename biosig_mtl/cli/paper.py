"""The verb that writes what a paper needs of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biosig_mtl.cli.shell import say


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(paper)


def paper(
    run: Annotated[Path, typer.Argument(help="A run folder, or the folder of a contest.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write into. Default: 'paper' in the run folder.")] = None,
) -> None:
    """Write tables, figures, methods, a TRIPOD+AI checklist and citations for a paper."""
    from biosig_mtl import report_paper

    place = out or run / "paper"
    files = report_paper.write(run, place)
    kinds = {ending: sum(path.suffix == ending for path in files) for ending in (".md", ".tex", ".csv", ".svg", ".pdf", ".bib")}
    say(f"{place}: {', '.join(f'{n} {ending[1:]}' for ending, n in kinds.items() if n)}")
    first = place / "paper.md"
    say(f"begin with {first if first.is_file() else files[0]}")
