"""Window tables as an experiment needs them: joined over data sets, without a feature family, with shuffled labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import store
from biosig_mtl.evaluation.duplicates import linked_subjects
from biosig_mtl.types import F32, I64, DataError, Fold, RecipeError, Track, WindowTable

if TYPE_CHECKING:
    import pandas as pd


def read(folders: Sequence[Path]) -> WindowTable:
    """Read one store, or join the two of a transfer: the second is the test side (``transfer_test`` in the index).

    Ids of one data set that share waveform are one person under two names (see `linked`): they become one subject, named after
    the first. A person of a transfer's source whom the target has too is left out of the source.
    """
    table = _as_stored(folders)
    pairs = _links(table, folders)
    if not pairs:
        return table
    across = [pair for pair in pairs if len(folders) > 1 and _crosses(pair, table)]
    name = _one_name(table.subject, [pair for pair in pairs if pair not in across])
    subject = np.array([name[one] for one in table.subject])
    merged = replace(table, index=table.index.assign(subject=subject))
    if not across:
        return merged
    is_test = table.index["transfer_test"].to_numpy(dtype=bool)
    shared = sorted({name[one] for pair in across for one in pair})
    return _rows(merged, np.flatnonzero(is_test | ~np.isin(subject, shared)))


def linked(folders: Sequence[Path]) -> list[tuple[str, str]]:
    """Return pairs of ids that share stretches of waveform, within a data set or across the two of a transfer."""
    return _links(_as_stored(folders), folders)


def _as_stored(folders: Sequence[Path]) -> WindowTable:
    tables = [store.read(folder) for folder in folders]
    table = tables[0] if len(tables) == 1 else _join(tables[0], tables[1])
    return replace(table, index=table.index.assign(store_row=np.arange(len(table))))


def _links(table: WindowTable, folders: Sequence[Path]) -> list[tuple[str, str]]:
    return linked_subjects(read_fingerprints(folders), table.subject)


def _crosses(pair: tuple[str, str], table: WindowTable) -> bool:
    target = set(table.subject[table.index["transfer_test"].to_numpy(dtype=bool)])
    return (pair[0] in target) != (pair[1] in target)


def _one_name(subject: NDArray[np.str_], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the name of every id: the first of all ids that are linked to it, however indirectly."""
    name = {one: one for one in np.unique(subject).tolist()}
    for first, second in pairs:
        old, new = sorted((name[first], name[second]), reverse=True)
        name = {one: new if group == old else group for one, group in name.items()}
    return name


def _rows(table: WindowTable, rows: NDArray[np.int64]) -> WindowTable:
    return replace(
        table,
        index=table.index.iloc[rows].reset_index(drop=True),
        values=table.values[rows],
        waveform=cast("F32", _Picked(table.waveform, rows)),
        targets=table.targets[rows],
        tracks={name: _picked(track, rows) for name, track in table.tracks.items()},
        reference=None if table.reference is None else _picked(table.reference, rows),
    )


def _picked(track: Track, rows: NDArray[np.int64]) -> Track:
    return replace(track, signal=cast("F32", _Picked(track.signal, rows)))


def read_fingerprints(folders: Sequence[Path]) -> NDArray[np.uint64]:
    """Return the fingerprints of all windows of the stores, one after the other."""
    return np.concatenate([store.read_fingerprints(folder) for folder in folders])


def _join(source: WindowTable, target: WindowTable) -> WindowTable:
    for what in ("names", "waveform_channels", "target_names", "fs", "tracks", "reference"):
        if _shape(source, what) != _shape(target, what):
            raise DataError(f"the two data sets of a transfer differ in {what}: prepare both with the same recipe")
    import pandas as pd

    frames: list[pd.DataFrame] = []
    for table, is_test in ((source, False), (target, True)):
        frame = table.index.assign(transfer_test=is_test)
        # The same id may mean two people in two sets; windows of one person in both are found by their fingerprints.
        frame["subject"] = frame["dataset"] + "/" + frame["subject"]
        frames.append(frame)
    return replace(
        source,
        index=pd.concat(frames, ignore_index=True),
        values=np.concatenate([source.values, target.values]),
        waveform=_stacked(source.waveform, target.waveform),
        targets=np.concatenate([source.targets, target.targets]),
        tracks={name: _joined(track, target.tracks[name]) for name, track in source.tracks.items()},
        reference=None if source.reference is None or target.reference is None else _joined(source.reference, target.reference),
    )


def _joined(first: Track, second: Track) -> Track:
    return replace(first, signal=_stacked(first.signal, second.signal))


def _shape(table: WindowTable, what: str) -> Any:
    if what == "reference":
        return None if table.reference is None else _form(table.reference)
    if what != "tracks":
        return getattr(table, what)
    return {name: _form(track) for name, track in table.tracks.items()}


def _form(track: Track) -> tuple[Any, ...]:
    return track.channels, track.fs, track.signal.shape[1:]


class Stacked:
    """Waveforms (window, channel, time) of several sets as one array that is read by rows; NaN where a set has none.

    Each set is its array and the places of its channels (None: as they are), or None.
    """

    def __init__(self, parts: Sequence[tuple[F32, I64 | None] | None], lengths: Sequence[int], shape: tuple[int, ...]) -> None:
        self._parts = tuple(parts)
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *shape)
        self.dtype = np.dtype(np.float32)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, *, copy: Any = None) -> NDArray[Any]:
        del copy
        return self[np.arange(len(self))].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, tuple):
            return _inside(self[rows[0]], rows[1:], self.ndim)
        picked = np.arange(len(self))[rows]
        flat = np.atleast_1d(picked)
        out = np.full((flat.size, *self.shape[1:]), np.nan, np.float32)
        owner = np.searchsorted(self._starts, flat, side="right") - 1
        for number in np.unique(owner):
            part = self._parts[number]
            if part is not None:
                here = np.flatnonzero(owner == number)
                block = part[0][flat[here] - self._starts[number]]
                if part[1] is None:
                    out[here] = block
                else:
                    out[here[:, None], part[1]] = block
        return out[0] if picked.ndim == 0 else out


def _stacked(first: F32, second: F32) -> F32:
    """Return two waveform arrays as one, read by rows."""
    return cast("F32", Stacked([(first, None), (second, None)], [len(first), len(second)], first.shape[1:]))


class _Picked:
    """Some rows of a waveform array, read when they are needed."""

    def __init__(self, whole: F32, rows: NDArray[np.int64]) -> None:
        self._whole, self._rows = whole, rows
        self.shape: tuple[int, ...] = (rows.size, *whole.shape[1:])
        self.dtype = whole.dtype
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, *, copy: Any = None) -> NDArray[Any]:
        del copy
        return np.asarray(self._whole[self._rows], dtype or self.dtype)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, tuple):
            return _inside(self[rows[0]], rows[1:], self.ndim)
        return np.asarray(self._whole[self._rows[rows]])


def _inside(picked: NDArray[Any], rest: tuple[Any, ...], ndim: int) -> NDArray[Any]:
    """Return what further indices pick out of rows that are picked already."""
    return np.asarray(picked[(slice(None), *rest) if picked.ndim == ndim else rest])


def first_waveform(table: WindowTable) -> F32:
    """Return the waveform by which near-equal windows are looked for: that of the windows, or else of the fastest track.

    Where there is neither it has no channel.

    Slow signals (skin temperature, skin conductance) of two people may well be two straight lines.
    """
    if table.waveform.shape[1]:
        return table.waveform
    fastest = max(table.tracks.values(), key=lambda track: track.fs, default=None)
    return table.waveform if fastest is None else fastest.signal


def without(table: WindowTable, family: str) -> WindowTable:
    """Return the table without one family of features (the names that start with ``family.``) and the track of that name."""
    keep = [j for j, name in enumerate(table.names) if not name.startswith(f"{family}.")]
    if len(keep) == len(table.names):
        known = ", ".join(sorted({name.split(".")[0] for name in table.names}))
        raise RecipeError(f"split.ablations: there is no feature family '{family}'; there are {known}")
    tracks = {name: track for name, track in table.tracks.items() if name != family}
    names = tuple(table.names[j] for j in keep)
    return replace(table, names=names, values=np.ascontiguousarray(table.values[:, keep]), tracks=tracks)


def shuffled_labels(table: WindowTable, fold: Fold, rng: np.random.Generator) -> WindowTable:
    """Return the table with labels handed on between the subjects of the training side: the negative control.

    Each subject gets windows' labels of another subject, drawn at random. Test labels stay, so a model that learns from this
    table can only know the population: its MASE must be near 1, or something has leaked. The waveform of the reference goes
    with the labels: it is one more label.
    """
    side = np.concatenate([fold.train, fold.validation])
    subject = table.subject[side]
    people = np.unique(subject)
    order = rng.permutation(people.size)
    donor = {people[a]: people[b] for a, b in zip(order, np.roll(order, 1), strict=True)}
    giver = np.arange(len(table))
    rows = {person: side[subject == person] for person in people}
    for person in people:
        giver[rows[person]] = rng.choice(rows[donor[person]], rows[person].size)
    reference = None if table.reference is None else _picked(table.reference, giver)
    return replace(table, targets=table.targets[giver], reference=reference)
