"""The verb that calibrates the people of a finished run with few readings each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from biosig_mtl.cli.shell import OutOption, StoreOption, aside, progress, say
from biosig_mtl.types import DataError, RecipeError


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(calibrate)


def calibrate(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: Annotated[Path, typer.Argument(help="A run folder whose people have several readings each.")],
    out: OutOption,
    store: StoreOption = None,
    k: Annotated[str, typer.Option("--k", help="Readings a person, by commas.")] = "1,2,3,5",
    method: Annotated[list[str] | None, typer.Option(help="A method to compare; may be repeated. Default: all.")] = None,
    embargo: Annotated[
        float | None, typer.Option(help="Seconds between readings and what is asked for. Default: one window.")
    ] = None,
    draws: Annotated[int, typer.Option(help="How often random readings are drawn; 0 = never.")] = 3,
    seeds: Annotated[int, typer.Option(help="Seeds of the run to use, the first ones.")] = 1,
    also: Annotated[
        list[str] | None, typer.Option(help="A baseline whose estimates methods may use, e.g. ridge. May be repeated.")
    ] = None,
    *,
    keep: Annotated[bool, typer.Option(help="Leave fitted methods in the run, in personal/, for somebody new.")] = True,
) -> None:
    """Calibrate the people of a run with few readings each, and tell what that gains over holding the readings."""
    from biosig_mtl import report_calibration
    from biosig_mtl.lifecycle import calibrate as calibrating
    from biosig_mtl.splits.anchors import Anchoring

    try:
        anchoring = Anchoring(_counts(k), embargo, draws)
        settings = calibrating.CalibrateSettings(anchoring, tuple(method or ()), tuple(also or ()), seeds, keep=keep)
    except ValueError as error:
        raise RecipeError(f"calibrate: {error}") from error
    stores = store or run.parent / "store"
    if not stores.is_dir():
        raise DataError(f"{stores}: no such folder; give the folder of window stores with --store")
    told = calibrating.calibrate(run, stores, out, settings, progress("calibrate", "folds"), _aside)
    for line in told["sentences"]:
        say(line)
    say(f"page: {report_calibration.render(out).resolve()}")
    say(f"figures: {(out / calibrating.FILE).resolve()}")


def _aside(text: str) -> None:
    # On a terminal the bar says how far it is, and lines would tear it.
    if sys.stderr is None or not sys.stderr.isatty():
        aside(f"calibrate: {text}")


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise RecipeError(f"--k {text}: write whole numbers with commas, e.g. 1,2,5") from None
