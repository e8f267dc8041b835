"""Verbs that take a finished run to other places: one file for other programs, and a card that says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from biosig_mtl.cli.shell import StoreOption, say
from biosig_mtl.types import DataError

RunArg = Annotated[Path, typer.Argument(help="A run folder.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (export, card):
        app.command()(verb)


def export(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: RunArg,
    out: Annotated[Path, typer.Option("--out", help="File to write, ….onnx.")],
    store: StoreOption = None,
    members: Annotated[str, typer.Option(help="Networks: all, fold, fold:K or how many.")] = "all",
    opset: Annotated[int, typer.Option(help="Version of the ONNX operators.")] = 20,
    runner: Annotated[
        Path | None, typer.Option(help="Also write a folder that needs onnxruntime, numpy and scipy only.")
    ] = None,
    *,
    int8: Annotated[bool, typer.Option("--int8", help="Also write a file in 8 bits, and measure what it costs.")] = False,
) -> None:
    """Write the networks of a run as one ONNX file, from unscaled windows to estimates, with its recipe and its card."""
    from biosig_mtl import export as exporting
    from biosig_mtl import report_card
    from biosig_mtl.export.runner import write_runner

    settings = exporting.ExportSettings(members, opset, int8)
    written = exporting.export(run, out, settings, evidence_of(run, store, asked=int8 or store is not None))
    for line in written.lines:
        say(line)
    for path in (written.model, written.recipe, *written.beside):
        say(f"written: {path.resolve()}")
    if (run / "scores.json").is_file():
        made = report_card.write(run, out.parent / "MODEL_CARD.md", written.figures)
        say(f"card: {made.resolve()}")
    if runner is not None:
        say(f"runner: python {write_runner(written, runner).resolve()} RECORDING.csv --out ESTIMATES.csv")


def card(
    run: RunArg,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, .md or .html. Default: MODEL_CARD.md in the run.")
    ] = None,
) -> None:
    """Write the model card of a run: data, protocol, scores, limits and intended use, all from its own files."""
    from biosig_mtl import report_card

    say(f"card: {report_card.write(run, out or run / 'MODEL_CARD.md').resolve()}")


def evidence_of(run: Path, store: Path | None, *, asked: bool) -> Any:
    """Return windows of the run's store with its folds; None where there is no store and nobody asked for it."""
    from biosig_mtl.export import Evidence
    from biosig_mtl.lifecycle.opened import open_run

    place = store or run.parent / "store"
    if not place.is_dir() and not asked:
        return None
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; give the folder of window stores with --store")
    try:
        opened = open_run(run, place)
    except DataError:
        if asked:
            raise
        return None
    return Evidence(opened.table, opened.folds)
