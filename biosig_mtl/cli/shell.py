"""What all verbs share: their options, quiet lines, progress, and which folder holds which data set."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer

from biosig_mtl.places import url_of
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
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine", help="Where lots are worked: local, or dask (this machine, --scheduler, or `cluster:` of the recipe)."
    ),
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", help="Address of a Dask scheduler that runs, e.g. tcp://host:8786.")
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", help="i/n: work every n-th lot only, as job i of a job array. No engine is needed.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option("--record-timeout", help="Seconds a record (an hour of a long one) may take; three times longer: left out."),
]


def say(text: str) -> None:
    """Write a line for the user. That nobody reads it (``| head -1``) ends no work.

    Raises
    ------
    DataError
        It goes to a file, and the disk is full.
    """
    try:
        _put(sys.stdout, text)
    except OSError as error:
        raise DataError(f"standard output: cannot be written: {error.strerror}") from error


def aside(text: str) -> None:
    """Write a line on standard error, beside the answer: whatever becomes of it, the work goes on."""
    with suppress(OSError):
        _put(sys.stderr, text)


def _put(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed before we began
        return
    try:
        try:
            stream.write(f"{text}\n")
        except UnicodeEncodeError:  # the name of a folder may hold what the terminal has no letter for
            stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding) + "\n")
        stream.flush()
    except OSError as error:
        # What waits in the buffer would be tried once more when the program ends; it goes nowhere instead.
        with suppress(OSError, ValueError), Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if error.errno != errno.EPIPE:
            raise


def progress(what: str, unit: str) -> Callable[[int, int], None]:
    """Return a progress callback: a bar on a terminal, a line every tenth otherwise."""
    if sys.stderr is not None and sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(desc=what, unit=unit, leave=False)

        def draw(done: int, total: int) -> None:
            bar.total = total
            with suppress(OSError):  # the terminal was closed, and the program was told to outlive it
                bar.update(done - bar.n)
                if done >= total:
                    bar.close()

        return draw
    told = [-1]

    def tell(done: int, total: int) -> None:
        tenth = 10 * done // max(total, 1)
        if tenth > told[0]:
            told[0] = tenth
            aside(f"{what}: {done} of {total} {unit}")

    return tell


def at_hand(folder: Path) -> Path:
    """Return a folder that a verb works in as it stands; refuse an address with what to do.

    Raises
    ------
    RecipeError
        It is an address.
    """
    url = url_of(folder)
    if url is not None:
        raise RecipeError(f"{url}: this verb needs a folder of this machine; copy the store here first")
    return folder


def roots_of(data: Sequence[str] | None, datasets: Sequence[str]) -> dict[str, Path | None]:
    """Return the folder of each data set that the user named; None where it is to be looked for."""
    roots: dict[str, Path | None] = dict.fromkeys(datasets)
    for word in data or ():
        name, named, folder = word.partition("=")
        # An address with a secret in it is refused here, before a message could hold it.
        address = url_of(word)
        if named:
            url_of(folder)
        # A folder may have '=' in its name, and so may an address.
        if not named or address is not None or (name not in roots and Path(word).is_dir()):
            name, folder = datasets[0], word
            if len(datasets) > 1:
                raise RecipeError(f"--data {word}: this recipe names {' and '.join(datasets)}; write --data NAME=FOLDER")
        if name not in roots:
            raise RecipeError(f"--data {word}: this recipe names {' and '.join(datasets)}")
        if url_of(folder) is None and not Path(folder).is_dir():
            raise DataError(f"--data {folder}: no such folder")
        roots[name] = Path(folder)
    return roots
