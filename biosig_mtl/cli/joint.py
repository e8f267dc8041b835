"""The verb `joint`: one network for data sets that label different targets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from biosig_mtl.cli.shell import SetOption, WorkersOption, progress, say
from biosig_mtl.types import AuditError, RecipeError

CPUS = os.cpu_count() or 1
OWN = ("model.", "training.")


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(joint)


def joint(  # noqa: PLR0913 (the options of a verb are its arguments)
    recipes: Annotated[list[str], typer.Argument(help="Two or more recipes; the first one's network is trained.")],
    store: Annotated[Path, typer.Option("--store", help="Folder with the window stores of all recipes.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Whole sets of folds, each with other starts.")] = 1,
    folds: Annotated[int | None, typer.Option("--folds", min=2, help="Folds of people. Default: those of the recipes.")] = None,
    alpha: Annotated[float, typer.Option("--alpha", help="1 draws all windows alike, 0 all sets.")] = 0.5,
    weights: Annotated[str, typer.Option("--weights", help="How often each set is drawn: NAME=1,NAME=2.")] = "",
    baselines: Annotated[str, typer.Option("--baselines", help="Which, by commas. Default: all.")] = "",
    workers: WorkersOption = CPUS,
    overrides: SetOption = None,
    *,
    mixed: Annotated[bool, typer.Option("--mixed", help="Batches from all sets together.")] = False,
) -> None:
    """Train one network on sets with different labels, beside one network for each set, and say where it helps."""
    from biosig_mtl import pipeline
    from biosig_mtl import recipe as reading
    from biosig_mtl.experiment import joint as conductor
    from biosig_mtl.training.sampling import Sampling

    for override in overrides or ():
        if not override.startswith(OWN):
            raise RecipeError(f"--set {override}: only model and training can be set here, for the network of all sets")
    read = [reading.load(one, (overrides or ()) if i == 0 else ()) for i, one in enumerate(recipes)]
    try:
        terms = conductor.JointTerms(seeds, folds, Sampling(alpha, _weights(weights), mixed), _words(baselines))
    except ValueError as error:
        raise RecipeError(f"joint: {error}") from error
    stores = [pipeline.find_store(one, store, one.data.dataset) for one in read]
    made = conductor.joint(read, stores, out, terms, workers, progress("joint", "jobs"))
    for line in _lines(made):
        say(line)
    say(f"page: {(out / 'joint.md').resolve()}")
    if not made["audit"]["passed"]:
        failed = [c for c in made["audit"]["checks"] if not c["passed"]]
        raise AuditError("audit failed: " + "; ".join(f"{c['name']}: {c['detail']}" for c in failed))


def _lines(made: Any) -> list[str]:
    lines = []
    for one in made["sets"]:
        for name, target in one["targets"].items():
            for label, gain in target["gains"].items():
                low, high = gain["ci95"]
                told = "unknown" if low is None else f"{gain['value']:+.1f} % ({low:+.1f} to {high:+.1f})"
                lines.append(f"{one['name']} {name}: {label} {told}: {gain['verdict']}")
    return [*lines, made["headline"]]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _weights(text: str) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in (word.split("=") for word in _words(text))}
    except ValueError:
        raise RecipeError(f"--weights {text}: write NAME=NUMBER with commas") from None
