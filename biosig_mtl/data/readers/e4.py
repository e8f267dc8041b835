"""Exports of the Empatica E4 wristband: a folder or a zip of CSV files, each with its own clock and rate.

A file begins with its start (seconds of UTC since 1970), then its rate in Hz, then samples; ACC has three columns, in 1/64 g.
The heart rate begins ten seconds after the sensors, since it is a mean over ten seconds. Streams are laid on one clock, whose
zero is the start of the earliest; where one has no sample it is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.patterns import subject_in, subject_pattern
from biosig_mtl.data.readers.channels import kind_of, match
from biosig_mtl.data.readers.e4_session import NAME, STREAMS, Session, Stream, fault_of, read_session
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import F32, ChannelInfo, DataError, Entry, RecipeError


def open_e4(entry: Entry) -> LazySource:
    """Open an export: a folder, or a zip which is read in place (nothing is unpacked to disk).

    Channels are ``ppg`` (64 Hz), ``eda`` (4 Hz, µS), ``temp`` (4 Hz, °C), ``acc_x acc_y acc_z`` (32 Hz, g) and ``hr``
    (1 Hz, per minute), as far as they are there. A stream is laid on the common clock to the nearest of its samples: streams
    that start at different fractions of a second may lie up to half a sample off. Intervals between beats (IBI) are not
    read, since beats are found in the pulse wave; button presses (tags) are told in the notes.

    Raises
    ------
    DataError
        Neither folder nor zip of an export; a zip that is damaged or not safe to open; a file whose start, rate or samples
        are no numbers.
    """
    return source_of(read_session(entry.path), entry)


def list_e4(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """List every export in a folder: each zip, and each folder that holds the files themselves, one record each.

    The record is named by its place, the subject by the first word of that (``S02/session1.zip`` is of ``S02``), or by the
    group ``subject`` of the option ``subject_pattern``. A zip that is no export is told with the reason.

    Raises
    ------
    DataError
        There is none.
    RecipeError
        ``subject_pattern`` is no regular expression with that group.
    """
    try:
        pattern = subject_pattern(str(options.get("subject_pattern", r"(?P<subject>[^/]+)")))
    except ValueError as error:
        raise RecipeError(f"options.subject_pattern: {error}") from error
    folders = {p.parent for p in root.rglob("*.csv") if NAME.fullmatch(p.name) and p.stem.lower()[:3] in {"bvp", "eda"}}
    paths = sorted([*folders, *root.rglob("*.zip")], key=lambda p: natural(p.as_posix()))
    if not paths:
        raise DataError(f"{root}: no export of an Empatica E4 (a zip, or a folder with BVP.csv)")
    for path in paths:
        place = path.with_suffix("") if path.suffix.lower() == ".zip" else path
        record = place.relative_to(root).as_posix() if path != root else root.name
        yield Found(record, subject_in(pattern, record) or record, path, reason=fault_of(path))


def looks_like_e4(path: Path) -> bool:
    """Tell whether a folder or zip holds one export; False where it is neither."""
    return not fault_of(path)


def source_of(session: Session, entry: Entry, labels: Mapping[str, tuple[str, Stream]] | None = None) -> LazySource:
    """Lay the streams of a session on one clock of whole seconds.

    ``labels`` are channels that the data set gives beside the export: our name → unit (``0..1``) and stream, placed on the
    same clock. They do not lengthen the record.
    """
    start = session.start_unix
    # The end of a stream may lie within a second: the last frame is filled up with NaN, nothing is cut.
    frames = math.ceil(session.stop_unix - start - 1e-6)
    columns = [(key, n, c) for key, those in STREAMS.items() if key in session.streams for n, c in enumerate(those)]
    wanted = entry.channels or {c.ours: (c.name,) for *_, c in columns}
    chosen = match([c.name for *_, c in columns], wanted, str(session.path))
    infos, laid, names = {}, {}, {}
    for ours, (kind, position) in chosen.items():
        key, number, column = columns[position]
        stream = session.streams[key]
        infos[ours] = ChannelInfo(ours, kind, column.unit, stream.fs)
        laid[ours] = lay(stream.samples[:, number] / np.float32(column.divisor), stream, start, frames)
        names[ours] = column.name
    for ours, (unit, stream) in (labels or {}).items():
        infos[ours] = ChannelInfo(ours, kind_of(ours), unit, stream.fs)
        laid[ours] = lay(stream.samples[:, 0], stream, start, frames)
        names[ours] = stream.file
    return LazySource(
        entry=entry,
        channels=infos,
        source_names=names,
        fs=1.0,
        frames=frames,
        fetch=lambda first, stop: {o: x[first * int(infos[o].fs) : stop * int(infos[o].fs)] for o, x in laid.items()},
        notes=(*session.notes, *_told(session)),
    )


def lay(samples: F32, stream: Stream, start_unix: float, frames: int) -> F32:
    """Place samples on a clock of ``frames`` seconds that begins at ``start_unix``, to the nearest sample; NaN elsewhere."""
    out = np.full(frames * int(stream.fs), np.nan, np.float32)
    at = round((stream.start_unix - start_unix) * stream.fs)
    kept = samples[max(-at, 0) : max(out.size - at, 0)]
    out[max(at, 0) : max(at, 0) + kept.size] = kept
    return out


def _told(session: Session) -> tuple[str, ...]:
    notes = []
    if session.tags_unix.size:
        times = session.tags_unix - session.start_unix
        shown = ", ".join(f"{t:.0f}" for t in times[:12]) + (", …" if times.size > 12 else "")
        notes.append(f"button pressed {times.size} times, at {shown} s")
    eda = session.streams.get("eda")
    if eda is not None:
        values = eda.samples[:, 0]
        dry = int(np.argmax(values != 0)) if (values != 0).any() else values.size
        if dry:
            which = "sample is" if dry == 1 else f"{dry} samples are"
            notes.append(f"{eda.file}: the first {which} exactly 0 (no contact with the skin yet)")
    absent = [key.upper() for key in ("bvp", "eda", "temp") if key not in session.streams]
    if absent:
        notes.append(f"the export holds no {', '.join(absent)}")
    return tuple(notes)
