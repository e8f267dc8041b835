"""DEAP, original recordings (Koelstra et al. 2012): ``sNN.bdf`` at 512 Hz and ``participant_ratings.csv``.

The two places of recording used other orders of electrodes, so channels are taken by name. Videos are found by the marks in the
Status channel: they lie in the order of presentation, and the table of ratings says which video that was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.deap import ELECTRODES, RATINGS, SCALE, site
from biosig_mtl.data.affect.trials import files, option, rated, siemens
from biosig_mtl.data.found import Found, read_index
from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.edf import open_edf, read_codes
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, ChannelInfo, DataError, Entry

VIDEO_CODE = 4
FIXATION_S, VIDEO_S = 5.0, 60.0
TABLE = "participant_ratings.csv"
_SUBJECT, _PRESENTED, _VIDEO = "Participant_id", "Trial", "Experiment_id"
# Our name, unit, and the signals of the file: the difference of two, where there are two.
_PERIPHERAL: dict[str, tuple[str, tuple[str, ...]]] = {
    "eog_h": ("uV", ("EXG1", "EXG2")),
    "eog_v": ("uV", ("EXG3", "EXG4")),
    "emg_zygo": ("uV", ("EXG5", "EXG6")),
    "emg_trap": ("uV", ("EXG7", "EXG8")),
    "eda": ("uS", ("GSR1",)),
    "resp": ("a.u.", ("Resp",)),
    "ppg": ("a.u.", ("Plet",)),
    "temp": ("degC", ("Temp",)),
}
_SIGNALS = {name: ("uV", (name,)) for name in ELECTRODES} | _PERIPHERAL


def list_deap_bdf(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a video, named as those of the preprocessed set (``s01/01`` is video 1); the stimulus is the video.

    The n-th mark of a video belongs to the row of the table with Trial n. A file whose marks are not as many as the rows of
    its subject is told with the reason: nobody could say which video is which.
    """
    paths = files(root, "s[0-9][0-9].bdf", "data_original/s[0-9][0-9].bdf", "**/s[0-9][0-9].bdf")
    tables = files(root, TABLE, f"*/{TABLE}", f"**/{TABLE}")
    rows = _by_subject(tables[0]) if paths and tables else {}
    for path in paths:
        subject = path.stem
        try:
            starts, fs = video_starts(path)
            own = rows.get(int(subject[1:]), {})
            _check(path, starts, own, tables)
        except DataError as error:
            yield Found(subject, subject, path, reason=str(error))
            continue
        for number, start in enumerate(starts.tolist(), 1):
            line, row = own[number]
            found = Found(
                record=f"{subject}/{int(row[_VIDEO]):02d}",
                subject=subject,
                path=path,
                options={"onset_ms": round(start / fs * 1000), "session_s": round(start / fs, 3)},
                stimulus=row[_VIDEO],
            )
            yield rated(found, {name: row[name.title()] for name in RATINGS}, SCALE, f"{tables[0]}, line {line}")


def open_deap_bdf(entry: Entry) -> LazySource:
    """Open one video (``entry.options['onset_ms']``): the 5 s of fixation before it, which are the rest, and its 60 s.

    EOG and EMG are differences of two electrodes. Skin conductance is in µS: Twente stored nS, Geneva a resistance in ohm.
    """
    wanted = entry.channels or {ours: (ours,) for ours in _SIGNALS}
    chosen = match([ours for ours, _ in _SIGNALS.items()], _own(wanted), str(entry.path))
    kept = {ours: list(_SIGNALS)[position] for ours, (_, position) in chosen.items()}
    needed = {label: (label,) for name in kept.values() for label in _SIGNALS[name][1]}
    whole = open_edf(replace(entry, channels=needed))
    kept = {ours: name for ours, name in kept.items() if all(label in whole.channels for label in _SIGNALS[name][1])}
    onset = option(entry, "onset_ms") / 1000
    first = max(round((onset - FIXATION_S) * whole.fs), 0)
    stop = min(round((onset + VIDEO_S) * whole.fs), whole.frames)
    if not kept or stop <= first:
        raise DataError(f"{entry.path}, {entry.record}: holds none of the channels or seconds that are asked for")
    short = onset + VIDEO_S - stop / whole.fs
    notes = (f"{entry.record}: the recording ends {short:.1f} s before the video does",) if short > 1 / whole.fs else ()
    place = site(entry.subject)

    def fetch(begin: int, end: int) -> dict[str, F32]:
        raw = whole.fetch(first + begin, first + end)
        return {ours: _made(name, [raw[label] for label in _SIGNALS[name][1]], place) for ours, name in kept.items()}

    return LazySource(
        entry=entry,
        channels={
            ours: ChannelInfo(ours, chosen[ours][0], _SIGNALS[name][0], whole.channels[_SIGNALS[name][1][0]].fs)
            for ours, name in kept.items()
        },
        source_names={ours: " - ".join(_SIGNALS[name][1]) for ours, name in kept.items()},
        fs=whole.fs,
        frames=stop - first,
        fetch=fetch,
        notes=(*whole.notes, *notes),
        baseline_s=(0.0, onset - first / whole.fs),
    )


def video_starts(path: Path) -> tuple[NDArray[np.int64], float]:
    """Return the samples at which a video begins, and their rate: where the low byte of Status becomes 4."""
    codes, fs = read_codes(path)
    code = codes & 0xFF
    return np.flatnonzero((code == VIDEO_CODE) & (np.append(0, code[:-1]) != VIDEO_CODE)), fs


def _own(wanted: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return names by which signals are looked for: those of the file mean the channel that is made of them."""
    made = {labels[0]: ours for ours, (_, labels) in _SIGNALS.items()}
    return {ours: tuple(made.get(name, name) for name in names) for ours, names in wanted.items()}


def _made(name: str, raw: list[F32], place: str) -> F32:
    if len(raw) == 2:
        return raw[0] - raw[1]
    if name != "eda":
        return raw[0]
    return (raw[0] / np.float32(1000)) if place == "Twente" else siemens(raw[0]).astype(np.float32)


def _by_subject(path: Path) -> dict[int, dict[int, tuple[int, dict[str, str]]]]:
    """Return subject → number of presentation → line and row of the table."""
    found: dict[int, dict[int, tuple[int, dict[str, str]]]] = {}
    for line, row in read_index(path, [_SUBJECT, _PRESENTED, _VIDEO, *(name.title() for name in RATINGS)]):
        try:
            subject, presented, video = (int(float(row[key])) for key in (_SUBJECT, _PRESENTED, _VIDEO))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}, line {line}: {_SUBJECT}, {_PRESENTED} and {_VIDEO} need whole numbers") from error
        if presented in found.setdefault(subject, {}):
            raise DataError(f"{path}, line {line}: subject {subject} has two rows of Trial {presented}")
        found[subject][presented] = (line, {**row, _VIDEO: str(video)})
    return found


def _check(path: Path, starts: NDArray[np.int64], rows: Mapping[int, Any], tables: list[Path]) -> None:
    if not tables:
        raise DataError(f"{path}: no ratings: {TABLE} is missing (save the spreadsheet of the set as CSV)")
    if sorted(rows) != list(range(1, len(starts) + 1)):
        raise DataError(f"{path}: marks {len(starts)} videos, but {tables[0].name} has {len(rows)} rows of its subject")
