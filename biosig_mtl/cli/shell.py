"""What all verbs share: their options, quiet lines, progress, and which folder holds which data set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from biosig_mtl.types import DataError, RecipeError

RecipeArg = Annotated[str, typer.Argument(help="A recipe file, or the name of one that comes with the package.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data", help="Folder of the data set; NAME=FOLDER when a recipe names several. Default: below $BIOSIG_DATA."
    ),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: model.width=64. May be repeated.")]
StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of window stores. Default: 'store' beside the run.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Processes.")]
OutOption = Annotated[Path, typer.Option("--out", help="Run folder.")]
ChannelOption = Annotated[
    list[str] | None, typer.Option("--channel", help="OURS=THEIRS, e.g. ppg=Finger. Default: guessed by name.")
]
PersonOption = Annotated[
    list[str] | None, typer.Option("--person", help="age_years=61, sex_male=1, height_cm=170, weight_kg=70.")
]
PersonalOption = Annotated[Path | None, typer.Option("--personal", help="What `personalise` has written for this person.")]
TimingOption = Annotated[
    bool, typer.Option("--timing-reliable", help="Times between the channels of this recording may be trusted.")
]
EngineOption = Annotated[str, typer.Option("--engine", help="Where lots are worked: local.")]


def say(text: str) -> None:
    """Write a line for the user."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def progress(what: str, unit: str) -> Callable[[int, int], None]:
    """Return a progress callback: a bar on a terminal, a line every tenth otherwise."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(desc=what, unit=unit, leave=False)

        def draw(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done >= total:
                bar.close()

        return draw
    told = [-1]

    def tell(done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > told[0]:
            told[0] = tenth
            sys.stderr.write(f"{what}: {done} of {total} {unit}\n")

    return tell


def roots_of(data: Sequence[str] | None, datasets: Sequence[str]) -> dict[str, Path | None]:
    """Return the folder of each data set that the user named; None where it is to be looked for."""
    roots: dict[str, Path | None] = dict.fromkeys(datasets)
    for word in data or ():
        name, named, folder = word.partition("=")
        # A folder may have '=' in its name.
        if not named or (name not in roots and Path(word).is_dir()):
            name, folder = datasets[0], word
            if len(datasets) > 1:
                raise RecipeError(f"--data {word}: this recipe names {' and '.join(datasets)}; write --data NAME=FOLDER")
        if name not in roots:
            raise RecipeError(f"--data {word}: this recipe names {' and '.join(datasets)}")
        if not Path(folder).is_dir():
            raise DataError(f"--data {folder}: no such folder")
        roots[name] = Path(folder)
    return roots
