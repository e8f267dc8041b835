"""Verbs of networks that see windows before they are told labels: `pretrain` and `finetune`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from biosig_mtl.cli.shell import OutOption, RecipeArg, SetOption, WorkersOption, progress, say
from biosig_mtl.types import AuditError, RecipeError

CPUS = os.cpu_count() or 1
StoresOption = Annotated[Path, typer.Option("--store", help="Folder of window stores, as given to prepare.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(pretrain)
    app.command()(finetune)


def pretrain(  # noqa: PLR0913 (the options of a verb are its arguments)
    recipe: RecipeArg,
    store: StoresOption,
    out: Annotated[Path, typer.Option("--out", help="Folder of the pre-trained part of a network.")],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over all windows.")] = 30,
    keep: Annotated[str, typer.Option("--keep", help="Smallest and largest share of a window that is shown.")] = "0.17,0.33",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights, masks and order.")] = 0,
    overrides: SetOption = None,
) -> None:
    """Learn to see the windows of a data set, without labels, from a small share of each; for `finetune` on other people."""
    from biosig_mtl import recipe as recipes
    from biosig_mtl.lifecycle import pretrain as pretraining
    from biosig_mtl.training.masking import MaskingSettings

    try:
        low, high = (float(word) for word in keep.split(","))
        settings = MaskingSettings(epochs=epochs, keep=(low, high))
    except ValueError as error:
        raise RecipeError(f"--keep {keep}: write two shares with a comma, e.g. 0.17,0.33 ({error})") from error
    read = recipes.load(recipe, overrides or ())
    told = pretraining.pretrain(read, _stores(read, store), out, settings, seed)
    say(f"{out}: seen {told['windows']} windows of {len(told['people'])} people without a label")
    say(f"error on what was hidden: {told['losses'][0]:.3f} in the first epoch, {told['losses'][-1]:.3f} in the last")


def finetune(
    recipe: RecipeArg,
    pretrained: Annotated[Path, typer.Option("--from", help="Folder that `pretrain` wrote, of other people.")],
    store: StoresOption,
    out: OutOption,
    workers: WorkersOption = CPUS,
    overrides: SetOption = None,
) -> None:
    """Train, test and report as `train` does, with networks that start from a pre-trained folder."""
    from biosig_mtl import experiment, report
    from biosig_mtl import recipe as recipes
    from biosig_mtl.data import manifest
    from biosig_mtl.lifecycle import pretrain as pretraining

    read = recipes.load(recipe, overrides or ())
    facts = tuple(manifest.load(name).facts() for name in _datasets(read))
    crew = experiment.Crew(workers, progress("finetune", "networks"), facts=facts)
    scores, said = pretraining.finetune(read, _stores(read, store), pretrained, out, crew)
    for line in said:
        say(line)
    say(f"report: {report.render(out).resolve()}")
    for line in report.verdict_lines(scores.content):
        say(line)
    if not scores.audit_passed:
        failed = [c for c in scores.content["audit"]["checks"] if not c["passed"]]
        raise AuditError("audit failed: " + "; ".join(f"{c['name']}: {c['detail']}" for c in failed))


def _datasets(recipe: Any) -> list[str]:
    return [name for name in (recipe.data.dataset, recipe.data.test_dataset) if name]


def _stores(recipe: Any, into: Path) -> list[Path]:
    from biosig_mtl import pipeline

    return [pipeline.find_store(recipe, into, name) for name in _datasets(recipe)]
