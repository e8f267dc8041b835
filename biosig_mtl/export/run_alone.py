"""Estimate on a recording with onnxruntime, numpy and scipy alone. Research use only; not a medical device.

    python run.py recording.csv --out estimates.csv
    python run.py samples.npy --fs 125 --names ppg,ecg --out estimates.csv

A CSV has a column a channel and a time column in seconds (or ``--fs``); an .npy file holds (samples, channels). What prepares
the recording lies beside this file as it is in the package, so nothing can differ from what the networks were trained on.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.readers.channels import match
from biosig_mtl.export.runtime import Answered, Exported
from biosig_mtl.pipeline.upstream import Preparation, preparation
from biosig_mtl.tasks import within_scale
from biosig_mtl.training.person import relative
from biosig_mtl.types import (
    F32,
    F64,
    BiosigError,
    Channel,
    DataError,
    Features,
    InputSpec,
    RecipeError,
    Record,
    Rejected,
    Track,
    Windows,
    WindowTable,
)

_TIME = re.compile(r"(time\b.*|t|timestamp.*|timer?|elapsed.*|date_?time|seconds|sec|time_?(s|ms)?)", re.IGNORECASE)
PERSON = ("age_years", "sex_male", "height_cm", "weight_kg", "bmi")
# A time stamp may be this far from its place, in samples.
OFF_GRID = 0.75


@dataclass(frozen=True)
class Known:
    """What is known of a recording beside its samples.

    ``fs_hz`` is its rate where it has no time column, ``names`` the channels of an .npy file, ``channels`` our names to those
    in the file (empty: guessed), ``person`` facts about the person, ``timing_reliable`` whether times between channels may be
    trusted, ``rest_s`` where the rest before the stimulus lies.
    """

    fs_hz: float | None = None
    names: tuple[str, ...] = ()
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    person: Mapping[str, float] = field(default_factory=dict)
    timing_reliable: bool = False
    rest_s: tuple[float, float] | None = None


# ---------------------------------------------------------------------------------------------------------------- reading
def read(path: Path, known: Known) -> Record:
    """Read a recording.

    Raises
    ------
    DataError
        It cannot be read, its time stamps are uneven, its rate is not known, or none of its channels is.
    """
    try:
        names, samples = _npy(path, known) if path.suffix == ".npy" else _csv(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    time = next((i for i, name in enumerate(names) if _TIME.fullmatch(name.strip())), None)
    fs = known.fs_hz if known.fs_hz is not None else _rate(path, names, samples, time)
    places = [i for i in range(len(names)) if i != time]
    chosen = match([names[i] for i in places], known.channels, str(path))
    channels = {
        ours: Channel(ours, kind, "", fs, samples[:, places[spot]].astype(np.float32), names[places[spot]])
        for ours, (kind, spot) in chosen.items()
    }
    return Record(path.stem, path.stem, "1", channels, demographics=dict(known.person), timing_reliable=known.timing_reliable)


def _npy(path: Path, known: Known) -> tuple[list[str], F64]:
    samples = np.load(path, allow_pickle=False)
    samples = samples[:, None] if samples.ndim == 1 else samples
    if samples.ndim != 2 or samples.shape[1] != len(known.names):
        raise DataError(f"{path}: needs (samples, channels) and --names for each channel, got the shape {samples.shape}")
    return list(known.names), np.asarray(samples, np.float64)


def _csv(path: Path) -> tuple[list[str], F64]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        mark = max(",;\t", key=first.count)
        names = [name.strip() for name in next(csv.reader([first], delimiter=mark))]
        samples = np.genfromtxt(file, delimiter=mark, dtype=np.float64, ndmin=2)
    if samples.shape[1] != len(names) or not len(samples):
        raise DataError(f"{path}: needs a heading and as many columns in every row")
    return names, samples


def _rate(path: Path, names: Sequence[str], samples: F64, time: int | None) -> float:
    if time is None:
        raise DataError(f"{path}: no time column ({', '.join(names[:6])}); say the sampling rate with --fs")
    stamps = samples[:, time] * (1e-3 if names[time].lower().endswith(("_ms", "(ms)", "[ms]")) else 1.0)
    span = float(stamps[-1] - stamps[0])
    if not span > 0:
        raise DataError(f"{path}: the last time stamp is not later than the first")
    fs = (stamps.size - 1) / span
    if np.abs((stamps - stamps[0]) * fs - np.arange(stamps.size)).max() > OFF_GRID:
        raise DataError(f"{path}: the time stamps are uneven; bring the recording to one rate first")
    nice = round(fs * 8) / 8
    return float(nice if nice and abs(fs / nice - 1) < max(1e-5, 0.002 / span) else fs)


# -------------------------------------------------------------------------------------------------------------- preparing
def prepared(recipe: Mapping[str, Any]) -> Preparation:
    """Return the preparation that ``model.recipe.json`` describes, for recordings without a reference."""
    blocks: Any = SimpleNamespace(**recipe["preparation"])
    return preparation(blocks).unlabelled()


def fitted(made: Preparation, spec: InputSpec, record: Record) -> tuple[Preparation, tuple[str, ...]]:
    """Return the preparation for a recording with these channels, and what it has to do without; as `Predictor.predict` does.

    Raises
    ------
    DataError
        A channel that the run needs is missing.
    """
    there, origin = set(record.channels), {name: name for name in record.channels}
    for step in made.steps:
        needed = getattr(step, "channel", None)
        name = getattr(step, "name", None) or needed
        if needed is not None and name is not None:
            origin.setdefault(str(name), origin.get(needed, needed))
        if name and (needed is None or needed in there):
            there.add(str(name))
    cut = made.windowing
    lacking = tuple(name for name in cut.channels if name not in there)
    spare = [name for name in (*cut.channels, *cut.optional, *cut.trails) if name in there]
    missed = dict.fromkeys(origin.get(name, name) for name in (*lacking, *cut.trails) if name not in there)
    if lacking and spec.tracks and spare:
        return made.doing_without(lacking, spare[0]), tuple(missed)
    _require(made, record, lacking)
    return made, tuple(missed)


def _require(made: Preparation, record: Record, lacking: Sequence[str]) -> None:
    there = set(record.channels)
    for step in made.steps:
        needed = getattr(step, "channel", None)
        if needed is not None and needed not in there and not getattr(step, "optional", False):
            lacking = (needed, *lacking)
            break
        if name := getattr(step, "name", None) or needed:
            there.add(str(name))
    if lacking:
        has = ", ".join(sorted(record.channels))
        raise DataError(f"{record.name}: missing channel '{lacking[0]}', which this run needs; it has {has}")


class _Column:
    """A column of the index of windows, with the one word that is asked of it."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def to_numpy(self, dtype: Any = None) -> NDArray[Any]:
        """Return the column as an array."""
        return np.asarray(self.values, dtype)


class _Index(dict[str, _Column]):
    """The index of windows without pandas; its length is the number of windows."""

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(next(iter(self.values())).values)


def table_of(windows: Windows, features: Features, spec: InputSpec) -> WindowTable:
    """Return the windows of a recording as a table, as `Exported.predict_full` takes it."""
    sqi = np.min(windows.sqi, axis=1, initial=1.0, where=windows.signal.any(axis=2))
    columns = {"subject": np.full(len(windows), windows.subject), "onset_s": windows.onset_s, "sqi": sqi}
    index: Any = _Index({name: _Column(values) for name, values in columns.items()})
    return WindowTable(
        index=index,
        values=features.values,
        names=features.names,
        waveform=features.waveform,
        waveform_channels=features.waveform_channels,
        fs=windows.fs,
        targets=np.full((len(windows), len(spec.targets)), np.nan, np.float32),
        target_names=spec.targets,
        tracks={t.name: _track(features.tracks[t.name], t.channels, t.samples, t.fs) for t in spec.tracks},
        heads=spec.heads,
    )


def _track(found: Track, channels: tuple[str, ...], samples: int, fs: float) -> Track:
    """Return a track; one that the recording lacks altogether has the length that the networks know."""
    if found.signal.shape[2] != samples and np.isnan(found.signal).all():
        return Track(channels, fs, np.full((len(found.signal), len(channels), samples), np.nan, np.float32))
    return found


# ------------------------------------------------------------------------------------------------------------- estimating
@dataclass(frozen=True)
class Estimated:
    """Columns of the table of estimates, what was refused, and what has to be said."""

    columns: Mapping[str, NDArray[Any]]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...]


def estimate(model: Exported, record: Record, rest_s: tuple[float, float] | None = None) -> Estimated:
    """Estimate on a recording; the table has the columns of ``biosig-mtl predict``.

    Raises
    ------
    DataError
        A channel is missing, or no window is usable.
    """
    made, missed = fitted(prepared(model.recipe), model.spec, record)
    described, windows, features = replace(made, rest_s=rest_s).apply(record)
    if not len(windows):
        why = "; ".join(sorted({row.reason for row in windows.rejected})) or "the recording is empty"
        raise DataError(f"{record.name}: no usable window ({why})")
    table = relative(table_of(windows, features, model.spec), model.recipe["per_subject"])
    told = [f"estimated without {', '.join(missed)}: the recording has none; expect larger errors"] if missed else []
    columns = _columns(model, table, model.predict_full(table), windows)
    return Estimated(columns, windows.rejected, (*told, *described.notes))


def _columns(model: Exported, table: WindowTable, found: Answered, windows: Windows) -> dict[str, NDArray[Any]]:
    sqi = table.index["sqi"].to_numpy()
    columns: dict[str, NDArray[Any]] = {
        "record": np.full(len(windows), windows.record),
        "onset_s": windows.onset_s,
        "end_s": windows.onset_s + windows.signal.shape[2] / windows.fs,
    }
    low, high = ends(model, found, sqi, table.values)
    for j, (name, head) in enumerate(zip(model.targets, model.spec.head, strict=True)):
        if head.classes:
            shares = found.probabilities[j]
            columns[name] = np.array(head.names())[shares.argmax(axis=1)]
            columns |= {f"{name}_p{k}": share for k, share in enumerate(shares.T)}
            continue
        each = np.stack([found.estimates[:, j], low[:, j], high[:, j]], axis=1)
        words = (name, f"{name}_lower", f"{name}_upper")
        columns |= dict(zip(words, within_scale((name, name, name), each).T, strict=True))
    columns["sqi"] = np.asarray(sqi)
    return columns


def ends(model: Exported, found: Answered, sqi: NDArray[Any], values: F32) -> tuple[F64, F64]:
    """Return the ends of the intervals (n, T): by the run's own rule where the recipe has one, else those of the graph."""
    rule = model.recipe.get("intervals")
    if not rule:
        return found.lower, found.upper
    from biosig_mtl.training.conformal_record import Intervals

    return Intervals.from_json(rule).bounds(found.estimates, sqi, values)


# ----------------------------------------------------------------------------------------------------------- command line
def main(words: Sequence[str] | None = None) -> int:
    """Read the words, estimate, write the table; return the exit code: 0, 2 for wrong words, 3 for nothing usable."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recording", type=Path, help=".csv or .npy")
    parser.add_argument("--out", type=Path, required=True, help="table of estimates, .csv")
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parent / "model.onnx")
    parser.add_argument("--fs", type=float, help="sampling rate in Hz, where there is no time column")
    parser.add_argument("--names", default="", help="channels of an .npy file, by commas: ppg,ecg")
    parser.add_argument("--channel", action="append", default=[], help="OURS=THEIRS, e.g. ppg=PLETH; may be repeated")
    parser.add_argument("--person", action="append", default=[], help="age_years=61, sex_male=1 …; may be repeated")
    parser.add_argument("--rest", help="START:STOP of the rest before the stimulus, in seconds")
    parser.add_argument("--timing-reliable", action="store_true", help="times between channels may be trusted")
    given = parser.parse_args(words)
    try:
        model = Exported.load(given.model)
        known = _known(given)
        found = estimate(model, read(given.recording, known), known.rest_s)
        _write(given.out, found.columns)
    except BiosigError as error:
        sys.stderr.write(f"run.py: {error}\n")
        return int(getattr(error, "exit_code", 1))
    except OSError as error:
        sys.stderr.write(f"run.py: {error.filename}: {error.strerror}\n")
        return DataError.exit_code
    sys.stdout.write("\n".join([f"{given.out}: {len(found.columns['onset_s'])} windows", *found.notes]) + "\n")
    return 0


def _known(given: argparse.Namespace) -> Known:
    channels = {ours: (theirs,) for ours, theirs in (_pair(word, "--channel") for word in given.channel)}
    person = {}
    for word in given.person:
        key, value = _pair(word, "--person")
        if key not in PERSON:
            raise RecipeError(f"--person {word}: choose from {', '.join(PERSON)}")
        person[key] = _number(value, word)
    rest = None
    if given.rest is not None:
        start, _, stop = given.rest.partition(":")
        rest = (_number(start, given.rest), _number(stop, given.rest))
    names = tuple(name for name in given.names.split(",") if name)
    return Known(given.fs, names, channels, person, given.timing_reliable, rest)


def _pair(word: str, option: str) -> tuple[str, str]:
    key, found, value = word.partition("=")
    if not (found and key and value):
        raise RecipeError(f"{option} {word}: write it as NAME=VALUE")
    return key, value


def _number(value: str, word: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise RecipeError(f"{word}: not a number") from None


def _write(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{x:.4f}" if isinstance(x, float | np.floating) else str(x) for x in row])


if __name__ == "__main__":
    sys.exit(main())
