"""The verb `personalise`: a few cuff readings make a run one person's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biosig_mtl.cli import words
from biosig_mtl.cli.shell import ChannelOption, PersonOption, TimingOption, say


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(personalise)


def personalise(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    recording: Annotated[Path, typer.Argument(help="A recording of the person, during which the readings were taken.")],
    reading: Annotated[
        list[str],
        typer.Option("--reading", help="SECONDS:TARGET=VALUE,…, e.g. 12.5:sbp=128,dbp=81. Repeat for each reading."),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write, e.g. person.personal; for predict --personal.")],
    method: Annotated[
        str | None,
        typer.Option(help="offset, share, shrink, difference, person_head, last_split. Default: what was chosen."),
    ] = None,
    max_mb: Annotated[float | None, typer.Option("--max-mb", help="Most MB that the file, and tuning, may take.")] = None,
    calibrated: Annotated[
        Path | None, typer.Option("--calibrated", help="Folder with fitted methods. Default: RUN, where calibrate leaves them.")
    ] = None,
    channel: ChannelOption = None,
    person: PersonOption = None,
    *,
    timing_reliable: TimingOption = False,
) -> None:
    """Make a run one person's own by cuff readings, as a small file for predict."""
    from biosig_mtl.inference import Told
    from biosig_mtl.inference.personal import Wish
    from biosig_mtl.inference.personal_files import personalise_file, read_reading

    readings = [read_reading(word) for word in reading]
    told = Told(words.channels(channel), words.facts(person), timing_reliable)
    for line in personalise_file(run, recording, out, readings, Wish(method, max_mb, calibrated), told):
        say(line)
