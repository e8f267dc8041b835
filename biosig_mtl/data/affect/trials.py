"""What data sets of trials share: columns at their own rates, ratings within their scale, files in natural order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.ratings import ratings
from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.readers.channels import match
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.stored_array import StoredArray
from biosig_mtl.types import F32, F64, ChannelInfo, DataError, Entry

# First and last sample (half-open) at the column's own rate → numbers.
Load = Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """One signal of a trial: its name in the data set, ours, its unit, and how to fetch it.

    ``per_frame`` samples belong to a frame. A column with a ``label`` scale is a value that the set gives again and again; it
    is always read, whatever channels are chosen.
    """

    source: str
    ours: str
    unit: str
    load: Load
    per_frame: int = 1
    label: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """How long a trial is: frames ``fs`` times a second, where time jumps, and which seconds are the rest before it."""

    fs: float
    frames: int
    seams_s: tuple[float, ...] = ()
    baseline_s: tuple[float, float] | None = None
    notes: tuple[str, ...] = field(default=())


def source_of(entry: Entry, columns: Sequence[Column], span: Span) -> LazySource:
    """Return an opened trial with the columns that ``entry.channels`` asks for; all of them where it says nothing.

    Raises
    ------
    DataError
        None of the channels asked for is there.
    """
    signals = [c for c in columns if not c.label]
    wanted: Mapping[str, tuple[str, ...]] = entry.channels or {c.ours: (c.source,) for c in signals}
    chosen = match([c.source for c in signals], wanted, f"{entry.path}, {entry.record}")
    kept = {ours: (kind, signals[position]) for ours, (kind, position) in chosen.items()}
    kept |= {c.ours: ("label", c) for c in columns if c.label}

    def fetch(first: int, stop: int) -> dict[str, F32]:
        return {
            ours: np.asarray(c.load(first * c.per_frame, stop * c.per_frame), dtype=np.float32) for ours, (_, c) in kept.items()
        }

    return LazySource(
        entry=entry,
        channels={ours: ChannelInfo(ours, kind, c.unit, span.fs * c.per_frame) for ours, (kind, c) in kept.items()},
        source_names={ours: c.source for ours, (_, c) in kept.items()},
        fs=span.fs,
        frames=span.frames,
        fetch=fetch,
        seams_s=np.asarray(span.seams_s, dtype=np.float64),
        notes=span.notes,
        baseline_s=span.baseline_s,
    )


def rated(found: Found, values: Mapping[str, object], scale: tuple[float, float], where: str) -> Found:
    """Return a trial with its ratings, or with the reason why they cannot be used: `ratings` names place and value."""
    try:
        return replace(found, labels=ratings(values, scale, where))
    except DataError as error:
        return replace(found, reason=str(error))


def numbers(value: object, where: str, shape: Sequence[int | None]) -> NDArray[Any]:
    """Return the array that a pickle stores, if it has the shape (None: any length of at least one); it stays in the file.

    Raises
    ------
    DataError
        It is no array, or of another shape.
    """
    wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
    if not isinstance(value, StoredArray):
        raise DataError(f"{where}: need an array of shape {wanted}, found {type(value).__name__}")
    if not fits(value.shape, shape):
        raise DataError(f"{where}: need an array of shape {wanted}, found {value.shape}")
    return value.array()


def fits(found: tuple[int, ...], shape: Sequence[int | None]) -> bool:
    """Tell whether a shape is the wanted one; None stands for any length of at least one."""
    return len(found) == len(shape) and all(n > 0 if want is None else n == want for n, want in zip(found, shape, strict=True))


def values(mapping: object, where: str, *keys: str) -> list[Any]:
    """Return what a dict holds under some keys; raise `DataError` that names what it has."""
    has = ", ".join(map(str, mapping)) if isinstance(mapping, dict) else f"no dict but {type(mapping).__name__}"
    for key in keys:
        if not isinstance(mapping, dict) or key not in mapping:
            raise DataError(f"{where}: missing '{key}'; it has {has[:200]}")
    return [mapping[key] for key in keys] if isinstance(mapping, dict) else []


def siemens(resistance: NDArray[np.floating[Any]]) -> F64:
    """Return skin conductance in µS of a resistance in ohm (G = 1/R), NaN where that is none."""
    ohm = np.asarray(resistance, dtype=np.float64)
    conductance: F64 = np.divide(1e6, ohm, out=np.full(ohm.shape, np.nan), where=ohm > 0)
    return conductance


def files(root: Path, *patterns: str) -> list[Path]:
    """Return the files of the first pattern that fits any, in natural order of their names."""
    for pattern in patterns:
        found = sorted((p for p in root.glob(pattern) if p.is_file()), key=lambda p: natural(p.name))
        if found:
            return found
    return []


def option(entry: Entry, name: str) -> int:
    """Return a whole number of ``entry.options``, 0 where it is not said; raise `DataError` where it is none."""
    value = entry.options.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError(f"{entry.path}: option {name} needs a whole number from 0, got {value!r}")
    return value


def stamp(path: Path) -> int:
    """Return when a file was last written, by which a part of it kept in memory is known to be its own; 0 if missing."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):
        return 0
