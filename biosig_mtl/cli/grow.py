"""Verbs on finished runs that grow: a further target, and which targets have to do with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from biosig_mtl.cli.shell import OutOption, StoreOption, progress, say
from biosig_mtl.types import DataError, RecipeError

RunArg = Annotated[Path, typer.Argument(help="A run folder.")]
TargetOption = Annotated[str, typer.Option("--target", help="Name of the target.")]
ColumnOption = Annotated[str, typer.Option("--column", help="Where its label stands. Default: under its own name.")]
LabelStoreOption = Annotated[
    Path | None, typer.Option("--label-store", help="Store of the same windows that has the label. Default: the run's own.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command("add-task")(add_task)
    app.command("suggest-tasks")(suggest_tasks)


def add_task(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: RunArg,
    target: TargetOption,
    out: OutOption,
    store: StoreOption = None,
    column: ColumnOption = "",
    label_store: LabelStoreOption = None,
    unit: Annotated[str, typer.Option(help="Unit of the target, for the table.")] = "",
    how: Annotated[str, typer.Option(help="frozen, ewc, rehearsal or joint.")] = "frozen",
    strength: Annotated[float, typer.Option(min=0.0, help="λ of ewc.")] = 10.0,
    buffer: Annotated[int, typer.Option(min=1, help="Old windows that rehearsal may show.")] = 256,
    members: Annotated[int, typer.Option(min=0, help="Networks of each fold to extend; 0 = all.")] = 0,
    *,
    compare: Annotated[bool, typer.Option(help="Train a network on all targets beside each.")] = True,
) -> None:
    """Add a target to a finished run; with --how frozen the old answers stay, bit for bit."""
    from biosig_mtl.lifecycle import add_task as adding
    from biosig_mtl.lifecycle.consolidation import HOWS, AddSettings
    from biosig_mtl.recipe import choose

    chosen: Any = choose(how, HOWS, "way to add a target (--how)")
    settings = AddSettings(chosen, strength, buffer, members, compare)
    new = _named(target, column, label_store, unit)
    told = adding.add_task(run, _stores(run, store), new, out, settings, progress("add task", "networks"))
    for sentence in told["sentences"]:
        say(sentence)
    say(f"table: {(out / 'add_task.md').resolve()}")


def suggest_tasks(
    run: RunArg,
    target: TargetOption,
    store: StoreOption = None,
    column: ColumnOption = "",
    label_store: LabelStoreOption = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Further target to look at, NAME or NAME=COLUMN. May be repeated."),
    ] = None,
) -> None:
    """Rank targets by what they have to do with a wanted one."""
    from biosig_mtl.lifecycle import suggest_tasks as suggesting

    sources = [_named(*_pair(word), label_store, "") for word in source or ()]
    told = suggesting.suggest_tasks(run, _stores(run, store), _named(target, column, label_store, ""), sources)
    for line in _lines(told["sources"]):
        say(line)
    say(told["sentence"])


def _lines(sources: Sequence[Any]) -> list[str]:
    wide = max(len(one["name"]) for one in sources)
    return [f"{one['name']:{wide}}  {one['nu']:+.3f}  chosen in {100 * one['chosen']:.0f} % of folds" for one in sources]


def _pair(word: str) -> tuple[str, str]:
    name, found, column = word.partition("=")
    if not name or (found and not column):
        raise RecipeError(f"--source {word}: write it as NAME or NAME=COLUMN")
    return name, column


def _named(target: str, column: str, label_store: Path | None, unit: str) -> Any:
    from biosig_mtl.lifecycle.suggest_tasks import NewTarget

    if not target:
        raise RecipeError("--target: need a name")
    if label_store is not None and not label_store.is_dir():
        raise DataError(f"--label-store {label_store}: no such folder")
    return NewTarget(target, column, label_store, unit)


def _stores(run: Path, store: Path | None) -> Path:
    return store or run.parent / "store"
