"""Verbs on data sets and on window stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biosig_mtl.cli.shell import DataOption, roots_of, say
from biosig_mtl.types import DataError

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data sets: list, describe, fetch, verify.")
store_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Window stores: verify, export.")


@data_app.command("list")
def data_list() -> None:
    """List the data sets that are described."""
    from biosig_mtl.data import manifest

    for name in manifest.names():
        one = manifest.load(name)
        say(f"{name:22} {one.title} [{one.licence}]")


@data_app.command("describe")
def data_describe(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Tell what a data set holds, its licence, how to get it, its known defects."""
    from biosig_mtl.data import download, manifest

    say(download.describe(manifest.load(name)))


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="Data set.")], folder: Path) -> None:
    """Fetch an open data set; for one that needs registration, say how."""
    from biosig_mtl.data import download, manifest

    say(str(download.fetch(manifest.load(name), folder)))


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

    problems = store.verify(folder)
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

    say(f"{store.export(folder, to, out)}")
