"""WFDB records: every storage format, several rates, one or many segments, gaps and missing files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.files import check_file
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.readers.wfdb_header import Header, Signal, beside, read_header
from biosig_mtl.data.readers.wfdb_samples import Integers, held_frames, none_value, read_digital
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

_SCALE_BLOCK = 1 << 18
# A header that claims so many times more than the files hold is wrong; less is a record of which a part is missing.
_ABSURD = 1000


@dataclass(frozen=True, slots=True)
class _Piece:
    """One segment of a record: ``start`` counts frames of the record; without a header it is a gap."""

    start: int
    frames: int
    name: str
    header: Header | None = None
    held: Mapping[str, int] | None = None  # frames that each signal file really holds
    fault: str = ""

    @property
    def stop(self) -> int:
        return self.start + self.frames


def open_wfdb(entry: Entry) -> LazySource:
    """Open a WFDB record by its header (``.hea``); its samples are read later, part by part.

    Raises
    ------
    DataError
        No header, no samples, a length that the files cannot hold, a Git-LFS pointer in place of data, a name that leads
        out of the folder, none of the channels looked for.
    """
    path = entry.path if entry.path.suffix == ".hea" else entry.path.parent / (entry.path.name + ".hea")
    header = read_header(path)
    pieces = _many(header) if header.segments else [_one(header)]
    signals = _signals(header, pieces)
    chosen = match([s.name for s in signals], entry.channels, str(path))
    wanted = {ours: signals[position] for ours, (_, position) in chosen.items()}
    if not header.segments:
        pieces = [_shorten(pieces[0], list(wanted.values()))]
    frames = pieces[-1].stop
    _believable(header, frames, pieces, list(wanted.values()))
    return LazySource(
        entry=entry,
        channels={
            ours: ChannelInfo(ours, chosen[ours][0], s.unit, header.fs * s.samples_per_frame) for ours, s in wanted.items()
        },
        source_names={ours: s.name for ours, s in wanted.items()},
        fs=header.fs,
        frames=frames,
        fetch=lambda first, stop: _fetch(pieces, wanted, [p for _, p in chosen.values()], first, stop),
        seams_s=_seams(pieces, header.fs),
        notes=_notes(header, pieces, list(wanted.values())),
    )


# ------------------------------------------------------------------------------------------------------- what is there
def _one(header: Header) -> _Piece:
    """Describe a plain record, or one segment at its own time."""
    if header.segments:
        raise DataError(f"{header.path}: a segment that consists of segments is not readable")
    if header.signals and all(s.file == "~" for s in header.signals):
        raise DataError(f"{header.path}: is the layout of a record with segments; open the record itself")
    if not header.signals:
        raise DataError(f"{header.path}: the header lists no signals")
    files = dict.fromkeys(s.file for s in header.signals if s.file != "~")
    held = {file: held_frames(header, file, check_file(beside(header.path, file))) for file in files}
    return _Piece(0, header.frames, header.name, header, held)


def _many(master: Header) -> list[_Piece]:
    """Describe every segment of a record, telling the missing ones."""
    pieces, start = [], 0
    # A hostile record names one segment a thousand times.
    described = cache(lambda name: _one(read_header(beside(master.path, f"{name}.hea"))))
    for name, frames in master.segments:
        if frames == 0:
            continue  # the layout of a variable-layout record
        piece = _Piece(start, frames, name)
        if name != "~":
            try:
                piece = replace(described(name), start=start, frames=frames)
            except DataError as error:
                piece = replace(piece, fault=str(error))
        pieces.append(piece)
        start += frames
    if not any(p.header for p in pieces):
        faults = [p.fault for p in pieces if p.fault]
        raise DataError(f"{master.path}: none of its segments can be read: {faults[0] if faults else 'all are gaps'}")
    return pieces


def _shorten(piece: _Piece, wanted: Sequence[Signal]) -> _Piece:
    """Cut a plain record to what its files hold; a header without a length takes it from them."""
    held = max((piece.held or {}).get(s.file, 0) for s in wanted)
    header = piece.header
    claimed = piece.frames or held
    where = header.path if header else piece.name
    if held == 0:
        raise DataError(f"{where}: the signal file holds no complete sample")
    if claimed > _ABSURD * held:
        raise DataError(f"{where}: the header claims {claimed} samples, the signal file holds {held}: one of them is wrong")
    return replace(piece, frames=min(claimed, held))


def _believable(header: Header, frames: int, pieces: Sequence[_Piece], wanted: Sequence[Signal]) -> None:
    """Refuse a record whose length, or whose number of values, is far beyond all data there is."""
    held = sum(min(p.frames, max((p.held or {}).values(), default=0)) for p in pieces)
    if frames > _ABSURD * max(held, 1):
        raise DataError(f"{header.path}: the header claims {frames} samples, the files hold {held}: one of them is wrong")
    values = sum(_held_values(p) for p in pieces)
    claimed = frames * sum(s.samples_per_frame for s in wanted)
    if claimed > _ABSURD * max(values, 1):
        raise DataError(f"{header.path}: the header claims {claimed} values, the files hold {values}: one of them is wrong")


def _held_values(piece: _Piece) -> int:
    signals = piece.header.signals if piece.header else ()
    return sum(min(piece.frames, (piece.held or {}).get(s.file, 0)) * s.samples_per_frame for s in signals)


def _signals(header: Header, pieces: Sequence[_Piece]) -> tuple[Signal, ...]:
    """Return the signals of a record: its own, those of its layout, or those of its segments."""
    if not header.segments:
        return header.signals
    name, frames = header.segments[0]
    if frames == 0 and name != "~" and beside(header.path, f"{name}.hea").is_file():
        return read_header(beside(header.path, f"{name}.hea")).signals
    seen: dict[str, Signal] = {}
    for piece in pieces:
        for signal in piece.header.signals if piece.header else ():
            seen.setdefault(signal.name, signal)
    return tuple(seen.values())


def _seams(pieces: Sequence[_Piece], fs: float) -> F64:
    """Return the instants where a gap begins or ends, or where the clocks of two segments do not fit together."""
    seams = [
        after.start / fs
        for before, after in pairwise(pieces)
        if (before.header is None) != (after.header is None) or not _meet(before, after, fs)
    ]
    return np.array(seams, dtype=np.float64)


def _meet(before: _Piece, after: _Piece, fs: float) -> bool:
    clocks = [p.header.clock_s if p.header else None for p in (before, after)]
    if clocks[0] is None or clocks[1] is None:
        return True
    step = (clocks[1] - clocks[0]) % 86400.0
    # Clocks are written to the millisecond or to the second.
    tolerance = 1.0 if all(c == int(c) for c in clocks if c is not None) else 0.002 + 1 / fs
    difference = abs(step - before.frames / fs)
    return min(difference, abs(difference - 86400.0)) < tolerance


def _notes(header: Header, pieces: Sequence[_Piece], wanted: Sequence[Signal]) -> tuple[str, ...]:
    notes = []
    missing = [p for p in pieces if p.fault]
    if missing:
        total = sum(p.name != "~" for p in pieces)
        names = ", ".join(p.name for p in missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        notes.append(f"{len(missing)} of {total} segments missing: {names}")
    files = {s.file for s in wanted}
    for piece in pieces:
        claimed = piece.frames if header.segments else header.frames or piece.frames
        for file, held in (piece.held or {}).items():
            if held < claimed and (header.segments or file in files):
                notes.append(f"{file}: holds {held} of {claimed} samples, {1 - held / claimed:.0%} are missing")
    if header.segments and header.frames not in {0, pieces[-1].stop}:
        notes.append(f"{header.path.name}: claims {header.frames} samples, its segments add up to {pieces[-1].stop}")
    return tuple(notes)


# ---------------------------------------------------------------------------------------------------------- the samples
def _fetch(
    pieces: Sequence[_Piece], wanted: Mapping[str, Signal], positions: Sequence[int], first: int, stop: int
) -> dict[str, F32]:
    out = {ours: np.full((stop - first) * s.samples_per_frame, np.nan, np.float32) for ours, s in wanted.items()}
    for piece in pieces:
        begin, end = max(first, piece.start), min(stop, piece.stop)
        if piece.header is None or begin >= end:
            continue
        plain = len(pieces) == 1
        spots = dict(zip(wanted, positions, strict=True)) if plain else _positions(piece.header, wanted)
        for ours, samples in _read(piece, spots, begin - piece.start, end - piece.start).items():
            at = (begin - first) * wanted[ours].samples_per_frame
            out[ours][at : at + samples.size] = samples
    return out


def _positions(header: Header, wanted: Mapping[str, Signal]) -> dict[str, int]:
    """Find the wanted signals in a segment: same name, unit and rate; another unit would be another quantity."""
    found = {}
    for ours, signal in wanted.items():
        for position, here in enumerate(header.signals):
            if (here.name, here.unit, here.samples_per_frame) == (signal.name, signal.unit, signal.samples_per_frame):
                found[ours] = position
                break
    return found


def _read(piece: _Piece, spots: Mapping[str, int], first: int, stop: int) -> dict[str, F32]:
    """Read frames of one segment; where a file ends early the result is shorter."""
    if piece.header is None:
        return {}
    out: dict[str, F32] = {}
    groups: dict[tuple[int, int], list[str]] = {}
    for ours, position in spots.items():
        signal = piece.header.signals[position]
        held = min((piece.held or {}).get(signal.file, 0), piece.header.frames or piece.frames)
        # A skewed signal is stored later than it was measured (header(5)); wfdb cannot do this with several rates.
        begin, end = min(first + signal.skew, held), min(stop + signal.skew, held)
        if begin < end:
            groups.setdefault((begin, end), []).append(ours)
    for (begin, end), names in groups.items():
        digital = read_digital(piece.header, [spots[n] for n in names], begin, end)
        for ours, values in zip(names, digital, strict=True):
            out[ours] = _physical(values, piece.header.signals[spots[ours]])
    return out


def _physical(digital: Integers, signal: Signal) -> F32:
    """Scale stored integers; in double precision, block by block, so that the result equals wfdb's to the last bit."""
    out = np.empty(digital.size, np.float32)
    none = none_value(signal.fmt)
    for begin in range(0, digital.size, _SCALE_BLOCK):
        part = digital[begin : begin + _SCALE_BLOCK]
        values = (part.astype(np.float64) - signal.baseline) / signal.gain
        if none is not None:
            values[part == none] = np.nan
        out[begin : begin + part.size] = values
    return out
