"""The command line: one verb a conductor. An error is one line on standard error; a traceback only with ``--debug``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from biosig_mtl.cli import calibrate as calibrating
from biosig_mtl.cli import (
    compress,
    contest,
    deidentify,
    export,
    grow,
    joint,
    live,
    paper,
    personalise,
    pretraining,
    project,
    reproduce,
    together,
    words,
)
from biosig_mtl.cli.data import data_app, store_app
from biosig_mtl.cli.shell import (
    ChannelOption,
    DataOption,
    EngineOption,
    OutOption,
    PersonalOption,
    PersonOption,
    RecipeArg,
    SchedulerOption,
    SetOption,
    ShardOption,
    StoreOption,
    TimeoutOption,
    TimingOption,
    WorkersOption,
    aside,
    at_hand,
    progress,
    say,
)
from biosig_mtl.cli.stores import Place, prepare_stores, warn_of_bands
from biosig_mtl.types import AuditError, BiosigError, DataError, RecipeError

# No completion and no rich boxes: a tracing formatter could print a recording's values.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From clinical recordings to honest joint estimates. Research use only.",
)
app.add_typer(data_app, name="data")
app.add_typer(store_app, name="store")
contest.register(app)
compress.register(app)
joint.register(app)
pretraining.register(app)
grow.register(app)
calibrating.register(app)
personalise.register(app)
export.register(app)
live.register(app)
paper.register(app)
deidentify.register(app)
project.register(app)
reproduce.register(app)

CPUS = os.cpu_count() or 1
STOPPED = "stopped; what was finished is kept, the same command goes on from there"
LONG = 60  # names of a family of features that are still written out
DEMO_EFFECT = 1.25  # of the simulated feelings on the simulated signals: large enough to be found among 20 people


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 2 wrong words, 3 nothing usable, 4 audit failed.

    Who was stopped by Ctrl-C leaves with 130, who was asked to end (SIGTERM) with 143, as a shell has it.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [w for w in given if w != "--debug"]
    asked: list[int] = []
    try:
        together.refuse(given)
        with _ends_politely(asked):
            code = typer.main.get_command(app).main(given, prog_name="biosig-mtl", standalone_mode=False)
    except (BiosigError, TyperException, OSError, MemoryError) as error:
        if debug:
            raise
        text, code = _told(error)
        _fail(text if together.speaks(error) else "", code)
    except KeyboardInterrupt:
        code = 130
    if code == 130:  # typer makes a number of Ctrl-C before it gets here
        _fail(STOPPED, 143 if asked else 130)
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> tuple[str, int]:
    """Return what to say of an error, and the exit code."""
    if isinstance(error, MemoryError):
        return "not enough memory; try fewer --workers; what was finished is kept", DataError.exit_code
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror}", DataError.exit_code
    text = error.format_message() if isinstance(error, TyperException) else str(error)
    return text, getattr(error, "exit_code", 1)


@contextmanager
def _ends_politely(asked: list[int]) -> Iterator[None]:
    """Let SIGTERM, by which schedulers end a job, stop a verb as Ctrl-C does, and note it in ``asked``."""

    def stop(number: int, _: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: somebody else decides over signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(text: str, code: int) -> None:
    if text:
        # Names in a recording are a stranger's words: one that steers the terminal is shown, not obeyed.
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
        aside(f"biosig-mtl: {shown}")
    sys.exit(code)


# ----------------------------------------------------------------------------------------------------------------- verbs
@app.command()
def demo(
    out: OutOption = Path("runs/demo"),
    workers: WorkersOption = CPUS,
    subjects: Annotated[int, typer.Option(min=12, help="How many people to simulate; a third of them for affect.")] = 60,
    task: Annotated[str, typer.Option(help="blood_pressure, affect or both.")] = "both",
) -> None:
    """Run the whole main job of both tasks on simulated cohorts, with nothing downloaded."""
    from biosig_mtl.data import affect_cohort, synthetic
    from biosig_mtl.recipe import choose

    choose(task, ("blood_pressure", "affect", "both"), "task")
    few = max(subjects // 3, 8)
    if task != "affect":
        say(f"simulating {subjects} people (no number of this run says anything about real ones)")
        root = synthetic.write(synthetic.Cohort(n_subjects=subjects), out.parent / "simulated_bp")
        run("demo_bp", out, data=[str(root)], workers=workers)
    if task != "blood_pressure":
        say(f"simulating {few} people who watch film clips (no number of this run says anything about real ones)")
        cohort = affect_cohort.AffectCohort(n_subjects=few, effect=DEMO_EFFECT)
        root = affect_cohort.write(cohort, out.parent / "simulated_affect")
        run("demo_affect", out.with_name(f"{out.name}_affect"), data=[str(root)], workers=workers)


@app.command()
def check(recipe: RecipeArg, overrides: SetOption = None) -> None:
    """Follow a recipe without data: steps, channels, feature names, what its protocol promises."""
    from biosig_mtl import pipeline, splits
    from biosig_mtl import recipe as recipes
    from biosig_mtl.data import manifest

    read = recipes.load(recipe, overrides or ())
    one = manifest.load(read.data.dataset)
    pipeline.check_labels(read, one.name, one.labels)
    names, channels = pipeline.check(read, one.channel_infos())
    warn_of_bands(read, one)
    say(f"{read.name}: task {read.task}, data {read.data.dataset}, {len(read.signal)} signal steps")
    say(f"waveform channels: {', '.join([*channels, *(str(track) for track in read.features.get('tracks') or ())]) or 'none'}")
    say(f"{len(names)} features: {'; '.join(_families(names))}")
    say(splits.describe(recipes.build(splits.Protocol, read.split, "split")))


def _families(names: Sequence[str]) -> list[str]:
    """Return the names of features by family; of a long family its ends."""
    told = []
    for family in dict.fromkeys(name.partition(".")[0] for name in names):
        own = [name for name in names if name.partition(".")[0] == family]
        told.append(", ".join(own) if len(own) <= LONG else f"{own[0]}, {own[1]} … {own[-1]} ({len(own)})")
    return told


@app.command()
def prepare(  # noqa: PLR0913 (the options of a verb are its arguments)
    recipe: RecipeArg,
    store: Annotated[Path, typer.Option("--store", help="Folder of window stores.")],
    data: DataOption = None,
    workers: WorkersOption = CPUS,
    engine: EngineOption = "local",
    scheduler: SchedulerOption = None,
    shard: ShardOption = None,
    record_timeout: TimeoutOption = None,
    overrides: SetOption = None,
) -> None:
    """Turn recordings into a window store; what is there already is not done again."""
    from biosig_mtl import recipe as recipes

    place = Place(workers, engine, scheduler, shard, record_timeout)
    prepare_stores(recipes.load(recipe, overrides or ()), data, store, place)


@app.command()
def train(
    recipe: RecipeArg,
    store: Annotated[Path, typer.Option("--store", help="Folder of window stores, as given to prepare.")],
    out: OutOption,
    workers: WorkersOption = CPUS,
    overrides: SetOption = None,
) -> None:
    """Train, test and report on a prepared store; under ``torchrun`` with several processes."""
    from biosig_mtl import pipeline
    from biosig_mtl import recipe as recipes

    read = recipes.load(recipe, overrides or ())
    datasets = [name for name in (read.data.dataset, read.data.test_dataset) if name]
    together.led(lambda: _train(read, [pipeline.find_store(read, store, name) for name in datasets], out, workers))


def _train(recipe: Any, stores: list[Path], out: Path, workers: int) -> None:
    from biosig_mtl import experiment, report
    from biosig_mtl.data import manifest

    facts = [manifest.load(name).facts() for name in (recipe.data.dataset, recipe.data.test_dataset) if name]
    scores = experiment.run(recipe, stores, out, workers=workers, progress=progress("train", "networks"), facts=facts)
    path = report.render(out)
    say(f"report: {path.resolve()}")
    for line in report.verdict_lines(scores.content):
        say(line)
    if not scores.audit_passed:
        failed = [c for c in scores.content["audit"]["checks"] if not c["passed"]]
        raise AuditError("audit failed: " + "; ".join(f"{c['name']}: {c['detail']}" for c in failed))


@app.command()
def run(
    recipe: RecipeArg,
    out: OutOption,
    data: DataOption = None,
    store: StoreOption = None,
    workers: WorkersOption = CPUS,
    overrides: SetOption = None,
) -> None:
    """Prepare, train, evaluate and report: the whole main job; under ``torchrun`` several processes train."""
    from biosig_mtl import pipeline
    from biosig_mtl import recipe as recipes

    read = recipes.load(recipe, overrides or ())
    into = store or out.parent / "store"
    together.led(
        lambda: _train(read, [pipeline.staged(p, into) for p in prepare_stores(read, data, into, workers)], out, workers)
    )


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write report.html again from what the run folder holds."""
    from biosig_mtl import report as reports

    say(f"report: {reports.render(run).resolve()}")


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    store: StoreOption = None,
) -> None:
    """Check a run again: model files by digest, and with its store every check on folds and windows."""
    from biosig_mtl import experiment

    checks = experiment.audit_again(run, at_hand(store or run.parent / "store"))
    for one in checks:
        say(f"{'passed' if one.passed else 'FAILED'}  {one.name}: {one.detail}")
    if failed := [c.name for c in checks if not c.passed]:
        raise AuditError(f"{run}: audit failed: {', '.join(failed)}")


@app.command()
def predict(  # noqa: PLR0913 (the options of a verb are its arguments)
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    recording: Annotated[Path, typer.Argument(help="A recording the run has never seen, in any readable format.")],
    out: Annotated[Path, typer.Option("--out", help="Table to write: CSV, or Parquet by its suffix.")],
    channel: ChannelOption = None,
    person: PersonOption = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Modality to treat as not recorded, e.g. eeg. May be repeated.")
    ] = None,
    rest: Annotated[
        str | None,
        typer.Option("--rest", help="START:STOP of the rest before the stimulus, in seconds."),
    ] = None,
    personal: PersonalOption = None,
    began: Annotated[
        float | None, typer.Option("--began", help="With --personal: seconds after the recording with the readings began.")
    ] = None,
    refuse_above: Annotated[
        float | None, typer.Option("--refuse-above", help="Refuse windows whose interval reaches further to either side, mmHg.")
    ] = None,
    *,
    timing_reliable: TimingOption = False,
) -> None:
    """Estimate on a new recording, one row a window."""
    from biosig_mtl import inference

    about = words.channels(channel), words.facts(person)
    told = inference.Told(*about, timing_reliable, tuple(without or ()), words.span(rest), refuse_above)
    say(inference.predict_file(run, recording, out, told, personal, began))


@app.command()
def look(  # noqa: PLR0913 (the options of a verb are its arguments)
    recording: Annotated[Path, typer.Argument(help="A recording in any readable format.")],
    start: Annotated[float | None, typer.Option(help="Second to begin at. Default: where there is a signal.")] = None,
    length: Annotated[float | None, typer.Option(help="Seconds to draw. Default: 20.")] = None,
    channel: ChannelOption = None,
    out: Annotated[Path | None, typer.Option(help=".png or .html. Default: NAME.png in the current folder.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Use its signal steps and windows, and show what they refuse.")] = None,
    fs_hz: Annotated[float | None, typer.Option(help="Sampling rate of a table without a time column.")] = None,
    *,
    overview: Annotated[bool | None, typer.Option(help="Quality of the whole recording. Default: up to an hour.")] = None,
    browse: Annotated[bool, typer.Option("--browse", help="The whole as a page (.html) to pan and zoom.")] = False,
) -> None:
    """Draw a stretch of a recording: beats, fiducials, quality, and what is refused with its reason."""
    from biosig_mtl import looking
    from biosig_mtl.data.readers import entry_for

    names = words.channels(channel)
    entry = entry_for(recording, names, {} if fs_hz is None else {"fs_hz": fs_hz})
    if browse:
        from biosig_mtl.looking_browse import browse as browsed

        if start is not None or length is not None:
            raise RecipeError("--browse: holds the whole recording; leave out --start and --length")
        page = browsed(entry, recipe=recipe)
        say(f"page: {page.write(out or looking.unasked(entry.path, f'{entry.path.stem}.html'))}")
        return
    seen = looking.view(entry, start, length, recipe=recipe, overview=overview)
    path = looking.write(seen, looking.place_for(entry.path, seen) if out is None else out)
    for line in seen.lines():
        say(line)
    say(f"picture: {path}")


if __name__ == "__main__":
    main()
