"""Stress-Predict: an Empatica E4 export and a label of stress each second for every subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.affect.columns import read_columns
from biosig_mtl.data.affect.ratings import check_scale, unit_of
from biosig_mtl.data.found import Found, natural, read_index
from biosig_mtl.data.readers.e4 import source_of
from biosig_mtl.data.readers.e4_session import Stream, read_session
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import DataError, Entry

SCALE = (0.0, 1.0)
_TIME, _STRESS = "time_unix_s", "stress"


def open_stress_predict(entry: Entry) -> LazySource:
    """Open one subject: the streams of the wristband and the channel ``stress`` (1 Hz, ``0..1``) on one clock.

    A label holds for the second that begins at its time stamp (UTC). Seconds without a label are NaN.

    Raises
    ------
    DataError
        An export or labels that are not readable; a label that is NaN or neither in 0 to 1; a second that is labelled twice;
        labels of another day than the recording.
    """
    session = read_session(entry.path)
    path = labels_of(entry.path)
    columns = read_columns(path, (_TIME, _STRESS))
    values = check_scale(_STRESS, columns[_STRESS], SCALE, str(path), first_row=2)
    second = np.rint(columns[_TIME] - session.start_unix)
    wrong = np.flatnonzero(~np.isfinite(second) | (np.diff(second, prepend=-np.inf) <= 0))
    if wrong.size:
        raise DataError(f"{path}, line {int(wrong[0]) + 2}: its time is missing, or not later than that of the line before")
    inside = (second >= 0) & (second < session.stop_unix - session.start_unix)
    if not inside.any():
        raise DataError(
            f"{path}: none of its labels lies within the recording ({entry.path.name}): they do not belong together"
        )
    track = np.full((int(second[inside][-1]) + 1, 1), np.nan, np.float32)
    track[second[inside].astype(np.int64), 0] = values[inside]
    stream = Stream(path.name, session.start_unix, 1.0, track)
    source = source_of(session, entry, {_STRESS: (unit_of(SCALE), stream)})
    return _noted(source, path, int((~inside).sum()))


def list_stress_predict(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """List one record a subject; who has no labels, or is named in ``subjects.csv`` and has no export, is told with the reason.

    Raises
    ------
    DataError
        The folder holds no ``S<number>.zip``.
    """
    paths = sorted((p for p in root.glob("S*.zip") if p.is_file()), key=lambda p: natural(p.name))
    if not paths:
        raise DataError(f"{root}: no export S<number>.zip of Stress-Predict")
    for path in paths:
        labels = labels_of(path)
        reason = "" if labels.is_file() else f"no labels: {labels.name} is missing"
        # The size tells labels that were corrected: the record is then another one.
        options = {} if reason else {"labels_bytes": labels.stat().st_size}
        yield Found(path.stem, path.stem, path, options=options, reason=reason)
    index = root / "subjects.csv"
    if index.is_file():
        present = {path.stem for path in paths}
        for _line, row in read_index(index, ["subject"]):
            if row["subject"] not in present:
                yield Found(row["subject"], row["subject"], index, reason=f"{row['subject']}.zip is missing")


def labels_of(path: Path) -> Path:
    """Return where the labels of an export lie."""
    return path.with_name(f"{path.stem}_labels.csv")


def _noted(source: LazySource, path: Path, outside: int) -> LazySource:
    if not outside:
        return source
    return replace(source, notes=(*source.notes, f"{path.name}: {outside} labels lie outside of the recording"))
