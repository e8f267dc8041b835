"""Verbs on data sets and on window stores."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Annotated

import typer

from biosig_mtl.cli.shell import DataOption, aside, at_hand, roots_of, say
from biosig_mtl.types import DataError, RecipeError

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data sets: list, describe, fetch, verify.")
store_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Window stores: verify, export.")


@data_app.command("list")
def data_list() -> None:
    """List the data sets that are described: which are here (below $BIOSIG_DATA), and how the others are had."""
    from biosig_mtl.data import manifest

    for name in manifest.names():
        one = manifest.load(name)
        try:
            state, place = "here", f" at {manifest.locate(one)}"
        except DataError:
            by_hand = one.access.kind == "open" and not (one.access.files or one.access.sums)
            state, place = "by hand" if by_hand else one.access.kind, ""
        say(f"{name:17} {state:12} {one.title} [{one.licence}]{place}")
    if not os.environ.get("BIOSIG_DATA"):
        aside("which of them are here is not known: BIOSIG_DATA is not set")


@data_app.command("describe")
def data_describe(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Tell what a data set holds, its licence, how to get it, its known defects."""
    from biosig_mtl.data import download, manifest

    say(download.describe(manifest.load(name)))


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Data set.")],
    folder: Annotated[Path | None, typer.Argument(help="Where to. Default: $BIOSIG_DATA/NAME.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=32, help="Files at a time.")] = 4,
    only: Annotated[list[str] | None, typer.Option("--only", help="Pattern of wanted paths: 's1_*'. May be repeated.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which files, how large, where to.")] = False,
) -> None:
    """Fetch a data set; for one that needs registration, say how.

    It goes on where it stopped when run again. Name and password, where a set wants them, are taken from the environment or
    from netrc; no option takes them.
    """
    from biosig_mtl.data import download, manifest

    one, how = manifest.load(name), download.How(workers, tuple(only or ()))
    root = os.environ.get("BIOSIG_DATA")
    if folder is None and not root:
        raise RecipeError(f"{name}: say where to (biosig-mtl data fetch {name} FOLDER) or set BIOSIG_DATA")
    place = folder or Path(str(root)) / one.name
    if dry_run:
        say(download.preview(one, place, how))
        return
    with transfers() as progress:
        told = download.fetch(one, place, progress, how)
    say(told)


@contextmanager
def transfers() -> Iterator[Callable[[str, int, int], None]]:
    """Give a progress callback for files that come at the same time: one bar on a terminal, a line a whole file otherwise."""
    sizes: dict[str, tuple[int, int]] = {}
    lock = Lock()
    if sys.stderr is None or not sys.stderr.isatty():

        def tell(name: str, done: int, total: int) -> None:
            with lock:
                tenths = 10 * done // total if total else 0
                if tenths > sizes.get(name, (0, 0))[0]:
                    sizes[name] = (tenths, 0)
                    # Of a small file only its end is worth a line.
                    if tenths == 10 or total > 100_000_000:
                        aside(f"{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB")

        yield tell
        return
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, leave=False) as bar:

        def draw(name: str, done: int, total: int) -> None:
            with lock:
                sizes[name] = (done, max(done, total))
                bar.total = sum(size for _, size in sizes.values())
                bar.set_description(name[-30:], refresh=False)
                bar.update(sum(held for held, _ in sizes.values()) - bar.n)

        yield draw


@data_app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(help="Data set.")], data: DataOption = None) -> None:
    """Compare a copy of a data set with its manifest."""
    from biosig_mtl.data import download, manifest

    one = manifest.load(name)
    root = manifest.locate(one, roots_of(data, [name])[name])
    problems = download.verify(one, root)
    for problem in problems:
        say(problem)
    if problems:
        raise DataError(f"{root}: {len(problems)} problems")
    say(f"{root}: as its manifest says")


@store_app.command("verify")
def store_verify(folder: Annotated[Path, typer.Argument(help="One store: the folder named by its digest.")]) -> None:
    """Compare every file of a store with its sha256."""
    from biosig_mtl import store

    problems = store.verify(at_hand(folder))
    for problem in problems:
        say(problem)
    if problems:
        raise DataError(f"{folder}: {len(problems)} damaged or missing files")
    say(f"{folder}: every file is as it was written")


@store_app.command("export")
def store_export(
    folder: Annotated[Path, typer.Argument(help="One store: the folder named by its digest.")],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.")],
    to: Annotated[str, typer.Option("--to", help="zarr, hdf5 or parquet.")] = "parquet",
) -> None:
    """Write a store for xarray, MATLAB or a table reader."""
    from biosig_mtl import store

    say(f"{store.export(at_hand(folder), to, out)}")
