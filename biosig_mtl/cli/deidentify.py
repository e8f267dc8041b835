"""The verb that writes a clean copy of recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from biosig_mtl.cli import words
from biosig_mtl.cli.shell import ChannelOption, DataOption, progress, roots_of, say
from biosig_mtl.types import DataError, RecipeError


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(deidentify)


def deidentify(  # noqa: PLR0913 (the options of a verb are its arguments)
    what: Annotated[list[str], typer.Argument(help="A data set (its name or manifest), or recordings.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the clean copy.")],
    mapping: Annotated[Path, typer.Option("--mapping", help="File that leads back to people: made once, kept elsewhere.")],
    data: DataOption = None,
    channel: ChannelOption = None,
    fs_hz: Annotated[float | None, typer.Option(help="Sampling rate of tables without a time column.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = 1,
    dates: Annotated[str, typer.Option(help="shift: by 30 to 3650 days, the same for all of a person; or drop.")] = "shift",
    *,
    keep_times: Annotated[bool, typer.Option("--keep-times", help="Keep the time of day.")] = False,
    keep_weekday: Annotated[bool, typer.Option("--keep-weekday", help="Move dates by whole weeks.")] = False,
    keep_ages: Annotated[bool, typer.Option("--keep-ages", help="Keep ages over 89 (otherwise 90).")] = False,
    keep_stimuli: Annotated[bool, typer.Option("--keep-stimuli", help="Keep the names of what was shown.")] = False,
) -> None:
    """Write a clean copy: channels, rates, units, labels, under new names. It does not prove that nobody can be recognised."""
    from biosig_mtl.data import deidentify as cleaning
    from biosig_mtl.data.deidentify_folder import WORDS

    kept = {"keep_times": keep_times, "keep_weekday": keep_weekday, "keep_ages": keep_ages, "keep_stimuli": keep_stimuli}
    settings = _settings(dates, kept)
    manifest, listing = _named(what, data, channel, fs_hz)
    told = cleaning.deidentify(listing, manifest, (out, mapping), settings, workers, progress("deidentify", "records"))
    for line in told.lines():
        say(line)
    say(f"copy: {out.resolve()}; prepare it with data.dataset={out / 'manifest.yaml'}")
    say(f"mapping: {mapping.resolve()} (leads back to people: never give it away with the copy)")
    say(WORDS)


def _settings(dates: str, kept: Mapping[str, bool]) -> Any:
    from biosig_mtl.data.deidentify import CleanSettings
    from biosig_mtl.recipe import choose

    chosen: Literal["shift", "drop"] = "drop" if choose(dates, ("shift", "drop"), "--dates") == "drop" else "shift"
    try:
        return CleanSettings(chosen, **kept)
    except ValueError as error:
        raise RecipeError(f"deidentify: {error}") from error


def _named(what: Sequence[str], data: Sequence[str] | None, channel: Sequence[str] | None, fs_hz: float | None) -> Any:
    """Return the manifest, or None, and the listing of what the user named."""
    from biosig_mtl.data import manifest as manifests

    if not (len(what) == 1 and (Path(what[0]).suffix in {".yaml", ".yml"} or what[0] in manifests.names())):
        if data:
            raise RecipeError("--data: goes with the name of a data set; recordings are named by their paths")
        return None, _recordings(what, channel, fs_hz)
    if channel or fs_hz is not None:
        raise RecipeError("--channel and --fs-hz go with recordings; of a data set its manifest says them")
    one = manifests.load(what[0])
    return one, manifests.entries(one, manifests.locate(one, roots_of(data, [one.name])[one.name]))


def _recordings(paths: Sequence[str], channel: Sequence[str] | None, fs_hz: float | None) -> Any:
    """Return a listing of recordings; each is its own subject, known by its whole path."""
    from biosig_mtl.data.listing import Listing
    from biosig_mtl.data.readers import entry_for
    from biosig_mtl.types import Rejected

    names = words.channels(channel)
    entries, refused = {}, []
    for path in paths:
        try:
            entry = entry_for(path, names, {} if fs_hz is None else {"fs_hz": fs_hz})
        except DataError as error:
            refused.append(Rejected(path, float("nan"), str(error)))
            continue
        whole = str(entry.path.resolve())
        entries[whole] = replace(entry, record=whole, subject=whole)
    return Listing(tuple(entries.values()), tuple(refused))
