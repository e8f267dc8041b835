"""Verbs that make networks smaller: pruning, distillation, several widths in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from biosig_mtl.cli.shell import OutOption, RecipeArg, SetOption, StoreOption, progress, say
from biosig_mtl.types import DataError, RecipeError

RunArg = Annotated[Path, typer.Argument(help="A run folder.")]
CompareOption = Annotated[bool, typer.Option(help="Train the controls too; takes several times as long.")]
T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (prune, distil, slim):
        app.command()(verb)


def prune(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: RunArg,
    out: OutOption,
    store: StoreOption = None,
    keep: Annotated[float, typer.Option(help="Share of the weights that stays.")] = 0.1,
    rounds: Annotated[int, typer.Option(help="Rounds; 0 = as many as 20 % of the rest a round takes.")] = 0,
    rewind_epoch: Annotated[int, typer.Option(help="Put survivors back to the end of this epoch; 0 = the start.")] = 0,
    floor: Annotated[float, typer.Option(help="Share of its weights that every task's part keeps.")] = 0.05,
    members: Annotated[int, typer.Option(help="Networks of each fold to prune.")] = 1,
    *,
    compare: CompareOption = True,
) -> None:
    """Prune the networks of a finished run, with rewinding, and tell what each round costs."""
    from biosig_mtl.lifecycle import prune as pruning

    words = {"keep": keep, "rounds": rounds, "rewind_epoch": rewind_epoch, "floor": floor, "members": members}
    settings = _made(pruning.PruneSettings, {**words, "compare": compare}, "prune")
    stores = _stores(run, store)
    told = pruning.prune(run, stores, out, settings, progress("prune", "networks"))
    _tell(pruning.in_words(told), out / pruning.FILE)


def distil(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: RunArg,
    out: OutOption,
    store: StoreOption = None,
    student: Annotated[str, typer.Option(help="Network of the student.")] = "hard_sharing",
    width: Annotated[int, typer.Option(help="Its width.")] = 8,
    most: Annotated[float, typer.Option(help="Most parameters, as a share of one network of the teacher.")] = 0.1,
    *,
    compare: CompareOption = True,
) -> None:
    """Distil the networks of a finished run into small ones, one a fold, and tell what that costs."""
    from biosig_mtl.lifecycle import distil as distilling

    words = {"name": student, "width": width, "most": most, "compare": compare}
    settings = _made(distilling.DistilSettings, words, "distil")
    told = distilling.distil(run, _stores(run, store), out, settings, progress("distil", "folds"))
    _tell(distilling.in_words(told), out / distilling.FILE)


def slim(  # noqa: PLR0913 (the options of a verb are its arguments)
    recipe: RecipeArg,
    out: OutOption,
    store: StoreOption = None,
    widths: Annotated[str, typer.Option(help="Shares of the width, by commas, up to 1.")] = "0.25,0.5,0.75,1",
    export: Annotated[float | None, typer.Option(help="Also write this share as a run of its own, OUT/width-SHARE.")] = None,
    overrides: SetOption = None,
    *,
    compare: CompareOption = True,
) -> None:
    """Train networks that answer at several widths, and tell what each width costs and saves."""
    from biosig_mtl import pipeline
    from biosig_mtl import recipe as recipes
    from biosig_mtl.lifecycle import slim as slimming

    settings = _made(slimming.SlimSettings, {"shares": _shares(widths), "compare": compare}, "slim")
    if export is not None and export not in settings.shares:
        raise RecipeError(f"--export {export:g}: need one of --widths {widths}")
    read = recipes.load(recipe, overrides or ())
    names = [name for name in (read.data.dataset, read.data.test_dataset) if name]
    stores = [pipeline.find_store(read, store or out.parent / "store", name) for name in names]
    told = slimming.slim(read, stores, out, settings, progress("slim", "folds"))
    _tell(slimming.in_words(told), out / slimming.FILE)
    if export is not None:
        place = out / f"width-{export:g}"
        slimming.export_width(out, export, place)
        say(f"width {export:g}: {place.resolve()}")


def _tell(lines: list[str], path: Path) -> None:
    for line in lines:
        say(line)
    say(f"figures: {path.resolve()}")


def _made(settings: Callable[..., T], words: Mapping[str, Any], verb: str) -> T:
    try:
        return settings(**words)
    except ValueError as error:
        raise RecipeError(f"{verb}: {error}") from error


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise RecipeError(f"--widths {text}: write shares with commas, e.g. 0.5,1") from None


def _stores(run: Path, store: Path | None) -> Path:
    place = store or run.parent / "store"
    if not place.is_dir():
        raise DataError(f"{place}: no such folder; give the folder of window stores with --store")
    return place
