"""The verb `compare`: many models, the same folds, one table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from biosig_mtl.cli.shell import DataOption, RecipeArg, SetOption, StoreOption, WorkersOption, progress, say
from biosig_mtl.types import AuditError, RecipeError

ALL = "all"
CPUS = os.cpu_count() or 1


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(compare)


def compare(  # noqa: PLR0913 (the options of a verb are its arguments)
    recipe: RecipeArg,
    out: Annotated[Path, typer.Option("--out", help="Folder of the contest.")],
    models: Annotated[str, typer.Option("--models", help="Networks, by commas; 'all' for every one that fits.")] = ALL,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Whole sets of folds, each with other starts.")] = 5,
    data: DataOption = None,
    store: StoreOption = None,
    variants: Annotated[
        str | None, typer.Option("--variants", help="YAML of changes to the recipe by label, or 'split_merge': its ablations.")
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Settings tried for each network, chosen on validation.")] = 1,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Shares of the training subjects for learning curves, e.g. 0.25,0.5.")
    ] = "",
    curves: Annotated[str, typer.Option("--curves", help="Who has a learning curve. Default: three of them.")] = "",
    parameters: Annotated[
        int | None, typer.Option("--parameters", min=100, help="Size of every network. Default: that of the recipe's.")
    ] = None,
    workers: WorkersOption = CPUS,
    overrides: SetOption = None,
    *,
    unmatched: Annotated[bool, typer.Option("--unmatched", help="Same width in place of the same size.")] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Keep linear skip and kernel ridge beside networks.")] = False,
) -> None:
    """Compare models: the same folds, seeds, sizes and trials; gains over single-task networks with their intervals."""
    from biosig_mtl import experiment, pipeline, report_compare
    from biosig_mtl import recipe as recipes
    from biosig_mtl.cli.stores import prepare_stores
    from biosig_mtl.data import manifest

    read = recipes.load(recipe, overrides or ())
    terms = _terms(experiment, seeds, trials, _numbers(sizes), _words(curves))
    changed = experiment.read_variants(variants) if variants else {}
    if store is not None and data is None:
        names = [name for name in (read.data.dataset, read.data.test_dataset) if name]
        stores = [pipeline.find_store(read, store, name) for name in names]
    else:
        stores = prepare_stores(read, data, store or out.parent / "store", workers)
    chosen = experiment.Choice(
        experiment.fitting(read, stores) if models == ALL else _words(models),
        changed, parameters, matched=not unmatched, beside=beside,
    )  # fmt: skip
    told = _Board(out)
    facts = tuple(manifest.load(name).facts() for name in (read.data.dataset, read.data.test_dataset) if name)
    crew = experiment.Crew(workers, progress("compare", "jobs"), told, facts)
    made = experiment.compare(read, stores, out, chosen, terms, crew)
    path = report_compare.render(out)
    say(f"page: {path.resolve()}")
    for line in report_compare.lines(made):
        say(line)
    if not made["audit"]["passed"]:
        failed = [c for c in made["audit"]["checks"] if not c["passed"]]
        raise AuditError("audit failed: " + "; ".join(f"{c['name']}: {c['detail']}" for c in failed))


class _Board:
    """Tells each finished contestant in a line, and keeps the page of the contest up to date while it runs."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.known: set[str] = set()

    def __call__(self, made: Any) -> None:
        """Tell who is new."""
        from biosig_mtl import report_compare

        report_compare.write(made, self.out)
        for row in made["rows"]:
            if row["label"] not in self.known:
                self.known.add(row["label"])
                say(report_compare.line(made, row))


def _terms(experiment: Any, seeds: int, trials: int, sizes: tuple[float, ...], curves: tuple[str, ...]) -> Any:
    try:
        return experiment.Terms(seeds, trials, sizes, curves)
    except ValueError as error:
        raise RecipeError(f"compare: {error}") from error


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in _words(text))
    except ValueError:
        raise RecipeError(f"--sizes {text}: write shares with commas, e.g. 0.25,0.5") from None
