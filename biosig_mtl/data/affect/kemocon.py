"""K-EmoCon: debates of ten minutes between two people, wristbands, and valence and arousal every five seconds.

Each sample has its own time stamp (ms of UTC). The chest strap of the set gives a heart rate once a second, not an ECG. Files
of participants 31 and 32 hold the rows of two devices; which one was worn is told by the authors' own code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.affect.columns import read_columns, read_stamped
from biosig_mtl.data.affect.options import needed
from biosig_mtl.data.affect.ratings import check_scale, unit_of
from biosig_mtl.data.found import Found, natural, read_index
from biosig_mtl.data.readers.channels import kind_of, match
from biosig_mtl.data.readers.samples import as_samples
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.recipe import choose
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

SCALE = (1.0, 5.0)
STEP_S = 5.0
BASELINE_S = 120.0
COMPLETE = (1, 4, 5, 8, 9, 10, 11, 13, 14, 15, 16, 19, 22, 23, 24, 25, 26, 27, 28, 31, 32)
DEVICES = {31: "A013E1", 32: "A01A3A"}
RATERS = {
    "self": "self_annotations/P{pid}.self.csv",
    "partner": "partner_annotations/P{pid}.partner.csv",
    "external": "aggregated_external_annotations/P{pid}.external.csv",
}
_LONGEST_MS = 8.64e7
_LABELS = ("valence", "arousal")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a file of the set: where it lies, its rate, its unit, and what a value is divided by."""

    file: str
    column: str
    fs: float
    unit: str
    divisor: float = 1.0


# By the name that a manifest uses.
_COLUMNS: dict[str, _Column] = {
    "E4_BVP": _Column("e4_data/{pid}/E4_BVP.csv", "value", 64.0, "NU"),
    "E4_EDA": _Column("e4_data/{pid}/E4_EDA.csv", "value", 4.0, "uS"),
    "E4_TEMP": _Column("e4_data/{pid}/E4_TEMP.csv", "value", 4.0, "degC"),
    **{f"E4_ACC_{a.upper()}": _Column("e4_data/{pid}/E4_ACC.csv", a, 32.0, "g", 64.0) for a in "xyz"},
    "E4_HR": _Column("e4_data/{pid}/E4_HR.csv", "value", 1.0, "bpm"),
    "Polar_HR": _Column("neurosky_polar_data/{pid}/Polar_HR.csv", "value", 1.0, "bpm"),
}


def list_kemocon(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """List one record a participant: from the start of the baseline to the end of the debate.

    ``options``: ``rater`` is ``self`` (default), ``partner`` or ``external``; ``complete_only`` (default true) leaves out those
    whose signals the authors call incomplete, with that reason.

    Raises
    ------
    DataError
        ``metadata/subjects.csv`` is missing or not readable.
    """
    rater = choose(str(options.get("rater", "self")), RATERS, "rater")
    table = root / "metadata" / "subjects.csv"
    for line, row in sorted(read_index(table, ["pid", "initTime", "startTime", "endTime"]), key=lambda r: natural(r[1]["pid"])):
        record = f"P{row['pid']}"
        found = Found(record, record, table)
        try:
            pid, times = _times(row, f"{table}, line {line}")
        except DataError as error:
            yield Found(record, record, table, reason=str(error))
            continue
        ratings = _base(root) / "emotion_annotations" / RATERS[rater].format(pid=pid)
        signals = _base(root) / "e4_data" / str(pid)
        reason = _reason(root, pid, [signals, ratings], complete_only=bool(options.get("complete_only", True)))
        facts = {
            "pid": pid,
            "rater": rater,
            "bytes": sum(p.stat().st_size for p in [ratings, *signals.glob("*.csv")] if p.exists()),
        }
        yield Found(record, found.subject, table, options=times | facts, reason=reason)


def _base(root: Path) -> Path:
    """Return the folder of signals and ratings: that of the set, or ``raw`` in it, where the authors' own code looks."""
    return root / "raw" if (root / "raw" / "e4_data").is_dir() else root


def _times(row: Mapping[str, str], where: str) -> tuple[int, dict[str, float]]:
    try:
        pid = int(row["pid"])
        init, start, end = (float(row[key]) for key in ("initTime", "startTime", "endTime"))
    except ValueError as error:
        raise DataError(f"{where}: {str(error)[:80]}") from error
    if not (init <= start < end and end - init <= _LONGEST_MS):
        raise DataError(f"{where}: the debate begins at {start:.0f} and ends at {end:.0f} ms")
    return pid, {"init_ms": init, "start_ms": start, "stop_ms": end}


def _reason(root: Path, pid: int, paths: list[Path], *, complete_only: bool) -> str:
    missing = [p for p in paths if not p.exists()]
    if missing:
        return f"{missing[0].relative_to(root)} is missing"
    if complete_only and pid not in COMPLETE:
        return "not among the 21 participants whose signals are complete, by the authors' list"
    return ""


def open_kemocon(entry: Entry) -> LazySource:
    """Open one participant; labels are channels at 1 Hz that hold each rating for its five seconds.

    The rating in the row ``seconds: 5`` is of the first five seconds of the debate; outside of the debate there is none. Of
    ratings that outlast the debate the first ones are left out, as in the authors' own code: their film began earlier. The
    record begins up to a second before the baseline, so that ratings begin on whole seconds. ``baseline_s`` are the first two
    minutes, as in the authors' own code, or up to 5 s less: a whole number of ratings lies between its end and the debate, so
    windows of 5, 10, … s, which are laid from its end on, hold whole ratings.

    Raises
    ------
    DataError
        No signal is there, a file is not readable, a rating is NaN or off the scale, rows of an unknown second device.
    """
    root, pid = _base(entry.path.parents[1]), int(needed(entry, "pid"))
    init, start, stop = (float(needed(entry, k)) for k in ("init_ms", "start_ms", "stop_ms"))
    lead_s = math.ceil((start - init) / 1000)
    zero = start - 1000.0 * lead_s
    frames = math.ceil((stop - zero) / 1000)
    present = [n for n, c in _COLUMNS.items() if (root / c.file.format(pid=pid)).is_file()]
    chosen = match(present, entry.channels, str(root / "e4_data" / str(pid)))
    names = {ours: present[position] for ours, (_, position) in chosen.items()}
    notes: list[str] = []
    laid: dict[str, F32] = {}
    infos: dict[str, ChannelInfo] = {}
    for ours, name in names.items():
        column = _COLUMNS[name]
        laid[ours] = _signal(root, pid, column, zero, frames, notes)
        infos[ours] = ChannelInfo(ours, kind_of(ours), column.unit, column.fs)
    ratings = root / "emotion_annotations" / RATERS[str(needed(entry, "rater"))].format(pid=pid)
    for label, values in _ratings(ratings, lead_s, frames, (stop - start) / 1000, notes).items():
        laid[label], infos[label] = values, ChannelInfo(label, "label", unit_of(SCALE), 1.0)
    rest = (init - zero) / 1000
    return LazySource(
        entry=entry,
        channels=infos,
        source_names=names | {label: label for label in _LABELS},
        fs=1.0,
        frames=frames,
        fetch=lambda first, last: {o: x[first * int(infos[o].fs) : last * int(infos[o].fs)] for o, x in laid.items()},
        notes=tuple(dict.fromkeys(notes)),
        baseline_s=_baseline(rest, float(lead_s)),
    )


def _baseline(start_s: float, debate_s: float) -> tuple[float, float] | None:
    """Return begin and end of the rest, which lies a whole number of ratings before the debate; None where there is none."""
    ahead = math.ceil((debate_s - min(start_s + BASELINE_S, debate_s)) / STEP_S)
    stop_s = debate_s - STEP_S * ahead
    return (start_s, stop_s) if stop_s > start_s else None


def _signal(root: Path, pid: int, column: _Column, zero_ms: float, frames: int, notes: list[str]) -> F32:
    """Lay stamped samples on an even grid, each at its nearest place; NaN where there is none."""
    path = root / column.file.format(pid=pid)
    time, values = read_stamped(path, "timestamp", column.column, "device_serial", DEVICES.get(pid, ""))
    place = np.rint((time - zero_ms) * column.fs / 1000)
    inside = (place >= 0) & (place < frames * column.fs)
    spots = place[inside].astype(np.int64)
    laid = np.full(int(frames * column.fs), np.nan, np.float32)
    laid[spots] = as_samples(values[inside]) / np.float32(column.divisor)
    twice = spots.size - np.unique(spots).size
    if twice:
        notes.append(f"{path.name}: {twice} samples fall on the place of another; the later row counts")
    if not spots.size:
        notes.append(f"{path.name}: holds nothing of the session")
    return laid


def _ratings(path: Path, lead_s: int, frames: int, debate_s: float, notes: list[str]) -> dict[str, F32]:
    columns = read_columns(path, ("seconds", *_LABELS))
    # A row tells of the five seconds that end with its time.
    begin: F64 = columns["seconds"] - STEP_S
    if not (np.isfinite(begin).all() and (np.diff(begin) > 0).all() and abs(begin).max() < _LONGEST_MS):
        raise DataError(f"{path}: the column 'seconds' is missing values or does not grow")
    early = max(begin.size - int(debate_s // STEP_S), 0) if begin[-1] + STEP_S >= debate_s else 0
    if early:
        begin = begin - begin[min(early, begin.size - 1)]
        notes.append(f"{path.name}: lasts longer than the debate; the first {early} ratings are left out")
    spots = (lead_s + np.rint(begin)[:, None] + np.arange(STEP_S)).astype(np.int64)
    inside = (spots >= lead_s) & (spots < frames)
    laid = {}
    for name in _LABELS:
        values = check_scale(name, columns[name], SCALE, str(path), first_row=2)
        laid[name] = np.full(frames, np.nan, np.float32)
        laid[name][spots[inside]] = np.broadcast_to(values[:, None], spots.shape)[inside]
    return laid
