"""AMIGOS, preprocessed (Miranda-Correa et al. 2021, doi:10.1109/TAFFC.2018.2884461): ``Data_Preprocessed_PNN.mat``.

Up to 20 videos a person: 16 short and 4 long ones, 14 electrodes, two ECG leads and GSR at 128 Hz, the first 5 s before the
video. Columns are not in the same order of videos for everyone, so a trial is named by its video. **The order of ratings turns
round**: people rated arousal first, the annotations from outside say valence first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.ratings import check_scale, unit_of
from biosig_mtl.data.affect.trials import Column, Span, files, option, rated, source_of, stamp
from biosig_mtl.data.found import Found
from biosig_mtl.data.mat5 import Mat, open_mat5
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.recipe import choose
from biosig_mtl.types import F64, DataError, Entry

FS_HZ = 128.0
BASELINE_S = 5.0
SEGMENT_S = 20.0
SELF_SCALE, EXTERNAL_SCALE = (1.0, 9.0), (-1.0, 1.0)
# Of twelve numbers of a self-assessment these are the first; then come familiarity and seven choices of emotions (0 or 1).
SELF_ORDER = ("arousal", "valence", "dominance", "liking")
_SELF_NUMBERS = 12
EXTERNAL_ORDER = ("valence", "arousal")
ELECTRODES = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
# Name in the set, ours, unit. The read-me gives no unit of GSR.
PERIPHERAL = (("ECG_Right", "ecg", "mV"), ("ECG_Left", "ecg_2", "mV"), ("GSR", "eda", "a.u."))
_CHANNELS = len(ELECTRODES) + len(PERIPHERAL)
_LABELS = ("self", "external")


def list_amigos(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a video (``P01/10``); the stimulus is the video. ``options['labels']`` is ``self`` or ``external``.

    Videos without data or self-assessment (P08, P24, P28 and P32 did not see the long ones) are told with the reason.
    """
    external = _labels(options) == "external"
    name = "Data_Preprocessed_P[0-9][0-9].mat"
    for path in files(root, name, f"*/{name}", f"**/{name}"):
        subject = path.stem[-3:]
        try:
            videos = _videos(path)
            ratings = open_mat5(path)["labels_selfassessment"]
        except DataError as error:
            yield Found(subject, subject, path, reason=str(error))
            continue
        for number, video in enumerate(videos):
            found = Found(
                record=f"{subject}/{video or f'column{number + 1}'}",
                subject=subject,
                path=path,
                options={"column": number},
                stimulus=video,
            )
            try:
                yield _labelled(found, ratings.cell(number), external=external)
            except DataError as error:
                yield Found(found.record, subject, path, reason=str(error))


def open_amigos(entry: Entry) -> LazySource:
    """Open one video (``entry.options['column']``, from 0); the first 5 s are the rest before it.

    With ``options['labels']: external`` there are channels ``valence`` and ``arousal`` of kind ``label`` (−1..1): the mean of
    the annotators for each 20 s. Channels without a number are told in the notes; a video without any is refused.
    """
    number = option(entry, "column")
    table = _table(entry.path, stamp(entry.path), number)
    names = [*((name, name, "uV") for name in ELECTRODES), *PERIPHERAL]
    columns = [Column(source, ours, unit, _load(table, n)) for n, (source, ours, unit) in enumerate(names)]
    if _labels(entry.options) == "external":
        tracks = external_tracks(entry.path, number, len(table))
        unit = unit_of(EXTERNAL_SCALE)
        columns += [Column(name, name, unit, _part(track), label=True) for name, track in tracks.items()]
    empty = [source for n, (source, _, _) in enumerate(names) if np.isnan(table[:, n]).all()]
    if len(empty) == len(names):
        raise DataError(f"{entry.path}, {entry.record}: all channels are NaN throughout")
    notes = (f"{entry.record}: NaN throughout: {', '.join(empty)}",) if empty else ()
    return source_of(entry, columns, Span(FS_HZ, len(table), (), (0.0, BASELINE_S), notes))


def external_tracks(path: Path, number: int, samples: int) -> dict[str, F64]:
    """Return valence and arousal as annotated from outside, one value a sample of the trial.

    Segment 0 is the first 20 s of the trial with its 5 s of rest, the last segment its last 20 s; those between follow each
    other from 5 s on, and count where they overlap with the two.
    """
    cell = open_mat5(path)["labels_ext_annotation"].cell(number)
    table = cell.array().astype(np.float64)
    where = f"{path}, {cell.name}"
    if table.ndim != 2 or table.shape[1] != 1 + len(EXTERNAL_ORDER) or not len(table):
        raise DataError(f"{where}: has shape {table.shape}; need rows of segment, valence and arousal")
    table = table[np.argsort(table[:, 0], kind="stable")]
    steps = table[:, 0] - table[0, 0]
    if not np.array_equal(steps, np.arange(len(table))):
        raise DataError(f"{where}: segments are numbered {table[:, 0].tolist()}"[:200])
    spans = _spans(len(table), samples)
    tracks = {}
    for n, name in enumerate(EXTERNAL_ORDER, 1):
        check_scale(name, table[:, n], EXTERNAL_SCALE, where)
        track = np.full(samples, np.nan)
        for row in (0, len(table) - 1, *range(1, len(table) - 1)):
            track[slice(*spans[row])] = table[row, n]
        tracks[name] = track
    return tracks


def _spans(count: int, samples: int) -> list[tuple[int, int]]:
    rest, length = int(BASELINE_S * FS_HZ), int(SEGMENT_S * FS_HZ)
    between = [(rest + n * length, rest + (n + 1) * length) for n in range(count - 2)]
    return [(0, length), *between, (max(samples - length, 0), samples)][:count]


def _labels(options: Mapping[str, Any]) -> str:
    return choose(str(options.get("labels", _LABELS[0])), _LABELS, "labels of AMIGOS")


def _labelled(found: Found, ratings: Mat, *, external: bool) -> Found:
    """Return a video with its self-assessment; those annotated from outside carry their labels as channels."""
    where, number = f"{found.path}, video {found.stimulus}", int(str((found.options or {})["column"]))
    file = open_mat5(found.path)
    if 0 in file["joined_data"].cell(number).shape:
        raise DataError(f"{where}: has no data")
    if not found.stimulus:
        raise DataError(f"{where}: has no name")
    if external:
        if 0 in file["labels_ext_annotation"].cell(number).shape:
            raise DataError(f"{where}: has no annotations from outside")
        return found
    row = ratings.array()
    if row.size != _SELF_NUMBERS:
        raise DataError(f"{where}: has no self-assessment (shape {row.shape}, need (1, {_SELF_NUMBERS}))")
    named = dict(zip(SELF_ORDER, row.ravel().tolist(), strict=False))
    return rated(found, named, SELF_SCALE, where)


def _videos(path: Path) -> list[str]:
    """Return the video of every column, empty where there is none."""
    found = []
    for cell in open_mat5(path)["VideoIDs"].items:
        name = cell.text().strip() if cell.kind == "text" else "".join(f"{value:g}" for value in cell.array().ravel()[:1])
        found.append(re.sub(r"[^\w-]", "_", name))
    twice = {name for name in found if name and found.count(name) > 1}
    if not any(found) or twice:
        raise DataError(f"{path}: VideoIDs are {', '.join(found) or 'missing'}; need one name a column, each once")
    return found


@lru_cache(maxsize=2)
def _table(path: Path, _: int, number: int) -> NDArray[Any]:
    cell = open_mat5(path)["joined_data"].cell(number)
    table = cell.array()
    if table.ndim != 2 or table.shape[1] != _CHANNELS or len(table) <= BASELINE_S * FS_HZ:
        raise DataError(f"{path}: {cell.name} has shape {table.shape}, need (more than {BASELINE_S * FS_HZ:g}, {_CHANNELS})")
    return table.astype(np.float32)


def _load(table: NDArray[Any], number: int) -> Any:
    return lambda first, stop: table[first:stop, number]


def _part(track: F64) -> Any:
    return lambda first, stop: track[first:stop]
