"""DASPS: 14 EEG channels of people who listened to six unsettling situations and then recalled them, rated by themselves.

A file of one subject (MATLAB v7.3) holds 12 windows of 15 s: situation 1 to 6, of each first the listening, then the recall.
The order follows from the files: the ratings of two neighbours are equal and are those of that situation in the table of
ratings; and each window is found in the continuous recording of the same subject, every second one 15 s after the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.affect.ratings import ratings
from biosig_mtl.data.found import Found, natural, read_index
from biosig_mtl.data.matlab import hdf5_dataset, open_hdf5
from biosig_mtl.data.readers.channels import kind_of, match
from biosig_mtl.data.readers.mne_file import open_mne
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.recipe import choose
from biosig_mtl.types import F32, ChannelInfo, DataError, Entry, Label

CHANNELS = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
FS_HZ = 128.0
SAMPLES = 1920
SITUATIONS = 6
PHASES = ("listen", "recall")
SCALE = (1.0, 9.0)
_RATED = ("valence", "arousal")
_WINDOWS = SITUATIONS * len(PHASES)
_FIF = re.compile(r"(?P<subject>S\d+)-situation(?P<situation>[1-6])-\w+_eeg\.fif(\.gz)?")


def open_dasps(entry: Entry) -> LazySource:
    """Open one window of 15 s (``.mat``, by the option ``window`` from 0), or one situation of 30 s (``.fif``).

    Signals are in µV, 4 to 45 Hz: there is no delta band.

    Raises
    ------
    DataError
        The file is not readable, or its signals have another shape.
    """
    if entry.path.suffix != ".mat":
        source = open_mne(entry)
        # Listening and recall lie end to end in the file: between them the recording was cut.
        return replace(source, seams_s=np.union1d(source.seams_s, [SAMPLES / FS_HZ]))
    number = int(entry.options.get("window", 0))
    with open_hdf5(entry.path) as file:
        _windows(file, entry.path)
    chosen = match(CHANNELS, entry.channels, str(entry.path))
    rows = {ours: position for ours, (_, position) in chosen.items()}

    def fetch(first: int, stop: int) -> dict[str, F32]:
        with open_hdf5(entry.path) as file:
            part = np.asarray(_windows(file, entry.path)[number, first:stop, :], np.float32)
        return {ours: np.ascontiguousarray(part[:, row]) for ours, row in rows.items()}

    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, kind_of(ours), "uV", FS_HZ) for ours in rows},
        source_names={ours: CHANNELS[row] for ours, row in rows.items()},
        fs=FS_HZ,
        frames=SAMPLES,
        fetch=fetch,
    )


def list_dasps(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """List the windows of ``mat/S*.mat`` or, with the option ``variant: fif``, the situations of ``fif/S*_eeg.fif``.

    Both windows of a situation share its one rating and its stimulus, ``situation1`` … ``situation6``. A window whose rating
    is NaN, off the scale or not the one of ``ratings.csv`` (where there is one) is told with the reason.

    Raises
    ------
    DataError
        None of these files is there.
    """
    variant = choose(str(options.get("variant", "mat")), ("mat", "fif"), "variant of DASPS")
    return (_list_mat if variant == "mat" else _list_fif)(root)


def _list_mat(root: Path) -> Iterator[Found]:
    folder = root / "mat" if (root / "mat").is_dir() else root
    paths = sorted(folder.glob("S*.mat"), key=lambda p: natural(p.name))
    if not paths:
        raise DataError(f"{root}: no file mat/S*.mat of DASPS")
    table = _table(root) if (root / "ratings.csv").is_file() else {}
    for path in paths:
        try:
            labels = read_labels(path)
        except DataError as error:
            yield Found(path.stem, path.stem, path, reason=str(error))
            continue
        for number in range(_WINDOWS):
            situation, phase = f"situation{number // 2 + 1}", PHASES[number % 2]
            record = f"{path.stem}/{situation}/{phase}"
            # Windows follow each other in time, with pauses of unknown length: their order is known, and that is what counts.
            options = {"window": number, "session_s": 15.0 * number}
            found = Found(record, path.stem, path, options=options, stimulus=situation)
            values = dict(zip(_RATED, labels[:, number].tolist(), strict=True))
            row = table.get((path.stem, str(number // 2 + 1)), (0, {}))[1]
            yield _compared(_rated(found, values, f"{path}, window {number + 1}"), row)


def read_labels(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the ratings of a file, shape (2, 12): valence, then arousal. Row order is that of the published code."""
    with open_hdf5(path) as file:
        _windows(file, path)
        labels = np.asarray(hdf5_dataset(file, "labels", path), np.float64)
    if labels.shape != (2, _WINDOWS):
        raise DataError(f"{path}: 'labels' has shape {labels.shape}; need (2, {_WINDOWS}): valence and arousal of each window")
    unequal = np.flatnonzero(
        (labels[:, 0::2] != labels[:, 1::2]).any(axis=0) & np.isfinite(labels).reshape(2, -1, 2).all((0, 2))
    )
    if unequal.size:
        raise DataError(
            f"{path}: the two windows of situation {int(unequal[0]) + 1} have different ratings: the order is not the usual one"
        )
    return labels


def _list_fif(root: Path) -> Iterator[Found]:
    folder = root / "fif" if (root / "fif").is_dir() else root
    named = {path: _FIF.fullmatch(path.name) for path in sorted(folder.glob("S*_eeg.fif*"), key=lambda p: natural(p.name))}
    if not any(named.values()):
        raise DataError(f"{root}: no file fif/S<number>-situation<number>-<word>_eeg.fif of DASPS")
    rows = _table(root)
    for path, found in named.items():
        if not found:
            yield Found(path.stem, "", path, reason=f"{path.name}: not named S<number>-situation<number>-<word>_eeg.fif")
            continue
        subject, situation = found["subject"], found["situation"]
        item = Found(f"{subject}/situation{situation}", subject, path, stimulus=f"situation{situation}")
        line, row = rows.get((subject, situation), (0, {}))
        if not row:
            yield replace(item, reason=f"ratings.csv holds no row of {subject}, situation {situation}")
            continue
        yield _rated(item, {k: row.get(k) for k in _RATED}, f"{root / 'ratings.csv'}, line {line}")


def _table(root: Path) -> dict[tuple[str, str], tuple[int, dict[str, str]]]:
    """Return the line and the row of every subject and situation."""
    path = root / "ratings.csv"
    return {(row["subject"], row["situation"]): (line, row) for line, row in read_index(path, ["subject", "situation"])}


def _compared(found: Found, row: Mapping[str, str]) -> Found:
    """Refuse a window whose ratings are not those of the table: rows of 'labels' that changed places show here."""
    stated = {name: row.get(name) for name in _RATED}
    differ = [label for label in found.labels if row and str(stated[label.name]) != f"{label.value:g}"]
    if not differ:
        return found
    own = ", ".join(f"{label.name} {label.value:g}" for label in found.labels)
    reason = f"{found.path}: {own}; ratings.csv says valence {stated['valence']}, arousal {stated['arousal']}"
    return replace(found, labels=(), reason=reason)


def _rated(found: Found, values: Mapping[str, object], where: str) -> Found:
    try:
        labels: tuple[Label, ...] = ratings(values, SCALE, where)
    except DataError as error:
        return replace(found, reason=str(error))
    return replace(found, labels=labels)


def _windows(file: Any, path: Path) -> Any:
    data = hdf5_dataset(file, "data", path)
    if data.shape != (_WINDOWS, SAMPLES, len(CHANNELS)):
        raise DataError(f"{path}: 'data' has shape {data.shape}; need {(_WINDOWS, SAMPLES, len(CHANNELS))}")
    return data
