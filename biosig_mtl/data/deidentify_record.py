"""One clean record: a WFDB header and its samples, and beside them what WFDB cannot say.

Written from the format's description (WFDB Applications Guide, *header(5)* and *signal(5)*, formats 16 and 32): no comment, no
description but the name of the channel, no date and no clock unless asked for.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.deidentify_allowed import unit_of
from biosig_mtl.data.deidentify_counts import Steps, header_gains, to_counts
from biosig_mtl.data.readers.files import read_start
from biosig_mtl.data.readers.wfdb_header import read_header
from biosig_mtl.types import DataError, Entry, Record, Source

PIECE_S = 1800.0


@dataclass(slots=True)
class _Lane:
    """What is known of one channel when it was read once."""

    clean: str
    unit: str
    fs: float
    steps: Steps
    samples: int = 0


@dataclass(frozen=True, slots=True)
class Clean:
    """What to write, and where to: ``names`` are the clean names of channels, ``when`` a start that was moved already."""

    folder: Path
    name: str
    names: Mapping[str, str]
    when: datetime | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def write_record(source: Source, entry: Entry, clean: Clean, gone: Counter[str]) -> dict[str, Any]:
    """Write an opened record clean; return what is told of it in its ``.json``, which is written last and says it is whole.

    The record is read twice, half an hour at a time: first to find the steps of its channels, then to write them. Samples,
    gaps (NaN), rates, seams and the rest before a stimulus stay.

    Raises
    ------
    DataError
        Its channels are of different lengths; it holds no samples; the disk is full.
    """
    lanes = _first_pass(source, entry, clean, gone)
    frames = _frames(lanes, entry)
    rest = source.read(0.0, 0.0)
    bits = max(lane.steps.bits for lane in lanes.values())
    data = clean.folder / f"{clean.name}.dat"
    sums, first = _samples(source, lanes, frames, bits, data)
    _whole(clean.folder / f"{clean.name}.hea", _header(clean, lanes, frames, bits, sums, first))
    gone["note of a reader"] += len(rest.notes)
    told = {
        "channels": {lane.clean: {"unit": lane.unit, "fs_hz": lane.fs, "samples": lane.steps.kind} for lane in lanes.values()},
        "seams_s": [float(s) for s in rest.seams_s],
        "baseline_s": None if rest.baseline_s is None else [float(s) for s in rest.baseline_s],
        "bytes": data.stat().st_size,
        "gone": {kind: count for kind, count in gone.items() if count},
        **clean.told,
    }
    _whole(clean.folder / f"{clean.name}.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    return told


def parts(source: Source) -> Iterator[Record]:
    """Yield a record part by part, in order, without overlap."""
    count = max(math.ceil(source.duration_s / PIECE_S), 1)
    for n in range(count):
        yield source.read(n * PIECE_S, (n + 1) * PIECE_S if n < count - 1 else None)


def _first_pass(source: Source, entry: Entry, clean: Clean, gone: Counter[str]) -> dict[str, _Lane]:
    told = known_gains(entry)
    lanes = {
        name: _Lane(clean.names[name], unit_of(info.unit, gone), info.fs, Steps()) for name, info in source.channels.items()
    }
    for lane in lanes.values():
        lane.steps.gains = tuple(sorted({*lane.steps.gains, *told}))
    for part in parts(source):
        for name, lane in lanes.items():
            samples = part.channels[name].samples
            lane.steps.look(samples)
            lane.samples += samples.size
    if not any(lane.samples for lane in lanes.values()):
        raise DataError(f"{entry.path}: holds no samples")
    return lanes


def known_gains(entry: Entry) -> tuple[float, ...]:
    """Return the steps per unit that the headers of a WFDB or EDF record tell: the samples were whole steps of these."""
    try:
        if entry.format in {"wfdb", "deidentified"}:
            main = read_header(entry.path)
            names = [name for name, frames in main.segments if name != "~" and frames]
            headers = [main, *(read_header(p) for n in names[:8] if (p := entry.path.with_name(f"{n}.hea")).is_file())]
            return header_gains((s.gain, 1.0) for h in headers for s in h.signals)
        return _edf_gains(entry.path) if entry.format == "edf" else ()
    except (DataError, ValueError):
        return ()


def _edf_gains(path: Path) -> tuple[float, ...]:
    count = int(read_start(path, 256)[252:256])
    body = read_start(path, 256 * (count + 1))[256:]
    # Columns of 8 bytes after label (16), transducer (80) and unit (8): physical and digital minimum and maximum.
    low, high, least, most = (
        [float(body[at * count + 8 * n :][:8]) for n in range(count)] for at in (16 + 80 + 8, 112, 120, 128)
    )
    return header_gains((b - a, y - x) for x, y, a, b in zip(low, high, least, most, strict=True))


def _frames(lanes: Mapping[str, _Lane], entry: Entry) -> int:
    """Return into how many frames the record falls so that every channel has whole samples in each."""
    lengths = [lane.samples / lane.fs for lane in lanes.values()]
    if max(lengths) - min(lengths) > 1e-6 * max(lengths):
        raise DataError(f"{entry.path}: its channels last {min(lengths):g} to {max(lengths):g} s: they share no frames")
    return reduce(math.gcd, (lane.samples for lane in lanes.values()))


def _samples(
    source: Source, lanes: Mapping[str, _Lane], frames: int, bits: int, path: Path
) -> tuple[dict[str, int], dict[str, int]]:
    """Write the samples; return the checksum and the first sample of every channel."""
    sums, first = dict.fromkeys(lanes, 0), dict.fromkeys(lanes, 0)
    temporary = path.with_name(f".{path.name}.tmp")
    done = 0
    try:
        with temporary.open("wb") as stream:
            for part in parts(source):
                columns = []
                for name, lane in lanes.items():
                    counts = to_counts(part.channels[name].samples, lane.steps.gain, bits)
                    if not done and counts.size:
                        first[name] = int(counts[0])
                    sums[name] += int(counts.sum())
                    columns.append(counts.reshape(-1, lane.samples // frames))
                block = np.concatenate(columns, axis=1).astype("<i2" if bits == 16 else "<i4")
                stream.write(block.tobytes())
                done += len(block)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    if done != frames:
        raise DataError(f"{source}: became shorter while it was read")
    return sums, first


def _header(
    clean: Clean, lanes: Mapping[str, _Lane], frames: int, bits: int, sums: Mapping[str, int], first: Mapping[str, int]
) -> str:
    rate = min(lane.fs / (lane.samples // frames) for lane in lanes.values())
    start = "" if clean.when is None else clean.when.strftime(" %H:%M:%S %d/%m/") + f"{clean.when.year:04d}"
    lines = [f"{clean.name} {len(lanes)} {_number(rate)} {frames}{start}"]
    for name, lane in lanes.items():
        each = lane.samples // frames
        form = f"{bits}x{each}" if each > 1 else f"{bits}"
        checksum = (sums[name] + 2**15) % 2**16 - 2**15
        scale = f"{_number(lane.steps.gain)}(0)/{lane.unit}"
        lines.append(f"{clean.name}.dat {form} {scale} {bits} 0 {first[name]} {checksum} 0 {lane.clean}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and value < 2.0**53 else repr(value)


def _whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
