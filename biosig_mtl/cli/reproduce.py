"""The verb that runs a finished run again and compares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from biosig_mtl.cli.shell import DataOption, StoreOption, WorkersOption, at_hand, progress, say
from biosig_mtl.types import AuditError, DataError, RecipeError

RunArg = Annotated[Path, typer.Argument(help="A finished run folder.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(reproduce)


def reproduce(
    run: RunArg,
    data: DataOption = None,
    store: StoreOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the new run. Default: NAME_again beside it.")] = None,
    workers: WorkersOption = 1,
    *,
    anyway: Annotated[bool, typer.Option("--anyway", help="Train also on stores that are not those of the run.")] = False,
) -> None:
    """Run a finished run again and tell whether it is the same: exit 0 if it is, within tolerance; 4 if not.

    With --data the recordings are prepared again, in OUT/store; without, the run's own stores are taken from --store. Killed,
    it goes on where it was; a finished OUT is only compared.
    """
    from biosig_mtl.data import manifest
    from biosig_mtl.lifecycle import reproduce as again
    from biosig_mtl.lifecycle import reproduce_words

    if data and store:
        raise RecipeError("--data and --store: give one; with --data the store is prepared again, in OUT/store")
    into = out or run.absolute().with_name(f"{run.absolute().name}_again")
    recipe = again.recipe_of(run)
    stores = _prepared(recipe, data, into, workers) if data else again.stores_of(run, at_hand(store or run.parent / "store"))
    facts = [manifest.load(name).facts() for name in (recipe.data.dataset, recipe.data.test_dataset) if name]
    told = again.reproduce(run, stores, into, again.Work(workers, progress("train", "networks"), facts, anyway))
    if not told["trained"]:
        say(f"{into}: was finished; only compared")
    for line in reproduce_words.in_words(told):
        say(line)
    say(f"figures: {(into / again.FILE).resolve()}")
    if told["verdict"] == "differs":
        raise AuditError(f"{run}: not reproduced: {'; '.join(reproduce_words.reasons(told))}")


def _prepared(recipe: Any, data: list[str], into: Path, workers: int) -> list[Path]:
    """Prepare in a folder of its own: a store that stands there already would only be found again."""
    from biosig_mtl.cli.stores import prepare_stores

    if (into / "store").exists() and not (into / "store").is_dir():
        raise DataError(f"{into / 'store'}: is no folder; choose another --out")
    return prepare_stores(recipe, data, into / "store", workers)
