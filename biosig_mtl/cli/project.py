"""The verb that says beforehand what a preparation will take."""

from __future__ import annotations

from typing import Annotated

import typer

from biosig_mtl.cli.shell import DataOption, RecipeArg, SetOption, roots_of, say
from biosig_mtl.types import RecipeError


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(project)


def project(
    recipe: RecipeArg,
    data: DataOption = None,
    workers: Annotated[str, typer.Option("--workers", help="Numbers of processes to project, e.g. 1,16,256.")] = "1,16,256",
    price: Annotated[float, typer.Option(min=0, help="Of one process for an hour, in your currency.")] = 0.05,
    line: Annotated[float | None, typer.Option("--line", min=1e-6, help="MB a second that all can read together.")] = None,
    overrides: SetOption = None,
) -> None:
    """Say what `prepare` will take on other numbers of processes: from three lots worked here, and a simulated scheduler."""
    from biosig_mtl import recipe as recipes
    from biosig_mtl.pipeline import projecting
    from biosig_mtl.pipeline import projection as projections

    read = recipes.load(recipe, overrides or ())
    counts = _counts(workers)
    for name, root in roots_of(data, [n for n in (read.data.dataset, read.data.test_dataset) if n]).items():
        size, rates = projecting.measure(read, root, dataset=name)
        say(
            f"{name}: {size.records} records, {size.bytes / 1e9:.3g} GB; one process: {rates.s_per_mb:.3g} s a MB; "
            f"store {rates.store_share:.2g} × the input"
        )
        for count in counts:
            cluster = projections.Cluster(count, line_mb_s=line)
            found = projections.project(size, rates, cluster)
            say(
                f"  {count:>5} processes: {_time(found.wall_h)}, {100 * found.efficiency:.0f} % of the time at work "
                f"(waits for {found.limit}), price {found.price(cluster, price):.2f}"
            )
    say("assumed: equally fast processes, none lost, 30 s to start; storage and traffic are not in the price")


def _counts(words: str) -> list[int]:
    try:
        counts = [int(word) for word in words.split(",")]
    except ValueError as error:
        raise RecipeError(f"--workers {words}: write numbers with commas between, as 1,16,256") from error
    if not all(1 <= count <= 100_000 for count in counts):
        raise RecipeError(f"--workers {words}: need numbers from 1 to 100000")
    return counts


def _time(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"
