"""The command line: one verb a conductor. An error is one line on standard error; a traceback only with ``--debug``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from biosig_mtl.types import AuditError, BiosigError, DataError, RecipeError

# No completion and no rich boxes: a tracing formatter could print a recording's values.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From clinical recordings to honest joint estimates. Research use only.",
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data sets: list, describe, fetch, verify.")
store_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Window stores: verify, export.")
app.add_typer(data_app, name="data")
app.add_typer(store_app, name="store")

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
EngineOption = Annotated[str, typer.Option("--engine", help="Where lots are worked: local.")]

CPUS = os.cpu_count() or 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 2 wrong words, 3 nothing usable, 4 audit failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [w for w in words if w != "--debug"]
    try:
        code = typer.main.get_command(app).main(words, prog_name="biosig-mtl", standalone_mode=False)
    except (BiosigError, TyperException) as error:
        if debug:
            raise
        text = error.format_message() if isinstance(error, TyperException) else str(error)
        _fail(text, getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        _fail("stopped; what was finished is kept, the same command goes on from there", 130)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.filename or 'file'}: {error.strerror}", DataError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> None:
    if text:
        sys.stderr.write(f"biosig-mtl: {' '.join(text.split())}\n")
    sys.exit(code)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _progress(what: str, unit: str) -> Callable[[int, int], None]:
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


def _roots(data: Sequence[str] | None, datasets: Sequence[str]) -> dict[str, Path | None]:
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


def _local(engine: str) -> None:
    if engine != "local":
        raise RecipeError(f"--engine {engine}: this version works on this machine only; leave it out or write 'local'")


# ----------------------------------------------------------------------------------------------------------------- verbs
@app.command()
def demo(
    out: OutOption = Path("runs/demo"),
    workers: WorkersOption = CPUS,
    subjects: Annotated[int, typer.Option(min=12, help="How many people to simulate.")] = 60,
) -> None:
    """Run the whole main job on a simulated cohort, with nothing downloaded."""
    from biosig_mtl.data.synthetic import Cohort, write

    _say(f"simulating {subjects} people (no number of this run says anything about real ones)")
    root = write(Cohort(n_subjects=subjects), out.parent / "simulated_bp")
    run("demo_bp", out, data=[str(root)], workers=workers)


@app.command()
def check(recipe: RecipeArg, overrides: SetOption = None) -> None:
    """Follow a recipe without data: steps, channels, feature names."""
    from biosig_mtl import pipeline
    from biosig_mtl import recipe as recipes
    from biosig_mtl.data import manifest

    read = recipes.load(recipe, overrides or ())
    names, channels = pipeline.check(read, manifest.load(read.data.dataset).channel_infos())
    _say(f"{read.name}: task {read.task}, data {read.data.dataset}, {len(read.signal)} signal steps")
    _say(f"waveform channels: {', '.join(channels) or 'none'}")
    _say(f"{len(names)} features: {', '.join(names)}")


@app.command()
def prepare(
    recipe: RecipeArg,
    store: Annotated[Path, typer.Option("--store", help="Folder of window stores.")],
    data: DataOption = None,
    workers: WorkersOption = CPUS,
    engine: EngineOption = "local",
    overrides: SetOption = None,
) -> None:
    """Turn recordings into a window store; what is there already is not done again."""
    _local(engine)
    from biosig_mtl import recipe as recipes

    _prepare(recipes.load(recipe, overrides or ()), data, store, workers)


def _prepare(recipe: Any, data: Sequence[str] | None, into: Path, workers: int) -> list[Path]:
    from biosig_mtl import pipeline, store

    datasets = [name for name in (recipe.data.dataset, recipe.data.test_dataset) if name]
    folders = []
    for name, root in _roots(data, datasets).items():
        progress = _progress(f"prepare {name}", "lots")
        folder = pipeline.prepare(recipe, root, into, workers=workers, progress=progress, dataset=name)
        told = store.summary(folder)
        _say(
            f"{folder}: {told['windows']} windows of {told['subjects']} subjects from {told['records_used']} of "
            f"{told['records']} records; "
            f"{told['windows_rejected']} windows and {told['records_rejected']} whole records rejected"
        )
        for record, note in told["notes"][:5]:
            _say(f"  note on {record}: {note}")
        folders.append(folder)
    return folders


@app.command()
def train(
    recipe: RecipeArg,
    store: Annotated[Path, typer.Option("--store", help="Folder of window stores, as given to prepare.")],
    out: OutOption,
    workers: WorkersOption = CPUS,
    overrides: SetOption = None,
) -> None:
    """Train, test and report on a prepared store."""
    from biosig_mtl import pipeline
    from biosig_mtl import recipe as recipes

    read = recipes.load(recipe, overrides or ())
    datasets = [name for name in (read.data.dataset, read.data.test_dataset) if name]
    _train(read, [pipeline.find_store(read, store, name) for name in datasets], out, workers)


def _train(recipe: Any, stores: list[Path], out: Path, workers: int) -> None:
    from biosig_mtl import experiment, report
    from biosig_mtl.data import manifest

    facts = [manifest.load(name).facts() for name in (recipe.data.dataset, recipe.data.test_dataset) if name]
    scores = experiment.run(recipe, stores, out, workers=workers, progress=_progress("train", "networks"), facts=facts)
    path = report.render(out)
    _say(f"report: {path.resolve()}")
    for line in report.verdict_lines(scores.content):
        _say(line)
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
    """Prepare, train, evaluate and report: the whole main job."""
    from biosig_mtl import recipe as recipes

    read = recipes.load(recipe, overrides or ())
    _train(read, _prepare(read, data, store or out.parent / "store", workers), out, workers)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write report.html again from what the run folder holds."""
    from biosig_mtl import report as reports

    _say(f"report: {reports.render(run).resolve()}")


@app.command()
def audit(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    store: StoreOption = None,
) -> None:
    """Check a run again: model files by digest, and with its store every check on folds and windows."""
    from biosig_mtl import experiment

    checks = experiment.audit_again(run, store or run.parent / "store")
    for one in checks:
        _say(f"{'passed' if one.passed else 'FAILED'}  {one.name}: {one.detail}")
    if failed := [c.name for c in checks if not c.passed]:
        raise AuditError(f"{run}: audit failed: {', '.join(failed)}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    recording: Annotated[Path, typer.Argument(help="A recording the run has never seen, in any readable format.")],
    out: Annotated[Path, typer.Option("--out", help="Table to write: CSV, or Parquet by its suffix.")],
    channel: Annotated[
        list[str] | None, typer.Option("--channel", help="OURS=THEIRS, e.g. ppg=Finger. Default: guessed by name.")
    ] = None,
    person: Annotated[
        list[str] | None, typer.Option("--person", help="age_years=61, sex_male=1, height_cm=170, weight_kg=70.")
    ] = None,
    *,
    timing_reliable: Annotated[
        bool, typer.Option("--timing-reliable", help="Times between the channels of this recording may be trusted.")
    ] = False,
) -> None:
    """Estimate pressures on a new recording, one row a window."""
    from biosig_mtl import inference

    names = {ours: (theirs,) for ours, theirs in (_pair(w, "--channel") for w in channel or ())}
    facts = {key: _number(value, key) for key, value in (_pair(w, "--person") for w in person or ())}
    told = inference.predict_file(
        run, recording, out, channels=names or None, demographics=facts, timing_reliable=timing_reliable
    )
    _say(told)


@app.command()
def look(  # noqa: PLR0913 (the options of a verb are its arguments)
    recording: Annotated[Path, typer.Argument(help="A recording in any readable format.")],
    start: Annotated[float | None, typer.Option(help="Second to begin at. Default: where there is a signal.")] = None,
    length: Annotated[float | None, typer.Option(help="Seconds to draw. Default: 20.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="OURS=THEIRS, e.g. ppg=Finger. Default: guessed by name.")] = None,
    out: Annotated[Path | None, typer.Option(help=".png or .html. Default: NAME.png in the current folder.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Use its signal steps and windows, and show what they refuse.")] = None,
    fs_hz: Annotated[float | None, typer.Option(help="Sampling rate of a table without a time column.")] = None,
    *,
    overview: Annotated[bool | None, typer.Option(help="Quality of the whole recording. Default: up to an hour.")] = None,
) -> None:
    """Draw a stretch of a recording: beats, fiducials, quality, and what is refused with its reason."""
    from biosig_mtl import looking
    from biosig_mtl.data.readers import entry_for

    names = {ours: (theirs,) for ours, theirs in (_pair(w, "--channel") for w in channel or ())}
    entry = entry_for(recording, names, {} if fs_hz is None else {"fs_hz": fs_hz})
    seen = looking.view(entry, start, length, recipe=recipe, overview=overview)
    path = looking.write(seen, looking.place_for(entry.path, seen) if out is None else out)
    for line in seen.lines():
        _say(line)
    _say(f"picture: {path}")


def _pair(word: str, option: str) -> tuple[str, str]:
    key, found, value = word.partition("=")
    if not found or not key or not value:
        raise RecipeError(f"{option} {word}: write it as NAME=VALUE")
    return key, value


def _number(value: str, key: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise RecipeError(f"--person {key}={value}: not a number") from None


# ------------------------------------------------------------------------------------------------------------------ data
@data_app.command("list")
def data_list() -> None:
    """List the data sets that are described."""
    from biosig_mtl.data import manifest

    for name in manifest.names():
        one = manifest.load(name)
        _say(f"{name:22} {one.title} [{one.licence}]")


@data_app.command("describe")
def data_describe(name: Annotated[str, typer.Argument(help="Data set.")]) -> None:
    """Tell what a data set holds, its licence, how to get it, its known defects."""
    from biosig_mtl.data import download, manifest

    _say(download.describe(manifest.load(name)))


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="Data set.")], folder: Path) -> None:
    """Fetch an open data set; for one that needs registration, say how."""
    from biosig_mtl.data import download, manifest

    _say(str(download.fetch(manifest.load(name), folder)))


@data_app.command("verify")
def data_verify(name: Annotated[str, typer.Argument(help="Data set.")], data: DataOption = None) -> None:
    """Compare a copy of a data set with its manifest."""
    from biosig_mtl.data import download, manifest

    one = manifest.load(name)
    root = manifest.locate(one, _roots(data, [name])[name])
    problems = download.verify(one, root)
    for problem in problems:
        _say(problem)
    if problems:
        raise DataError(f"{root}: {len(problems)} problems")
    _say(f"{root}: as its manifest says")


@store_app.command("verify")
def store_verify(folder: Annotated[Path, typer.Argument(help="One store: the folder named by its digest.")]) -> None:
    """Compare every file of a store with its sha256."""
    from biosig_mtl import store

    problems = store.verify(folder)
    for problem in problems:
        _say(problem)
    if problems:
        raise DataError(f"{folder}: {len(problems)} damaged or missing files")
    _say(f"{folder}: every file is as it was written")


@store_app.command("export")
def store_export(
    folder: Annotated[Path, typer.Argument(help="One store: the folder named by its digest.")],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.")],
    to: Annotated[str, typer.Option("--to", help="zarr, hdf5 or parquet.")] = "parquet",
) -> None:
    """Write a store for xarray, MATLAB or a table reader."""
    from biosig_mtl import store

    _say(f"{store.export(folder, to, out)}")


if __name__ == "__main__":
    main()
