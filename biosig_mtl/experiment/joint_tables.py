"""Several data sets that label different targets as one window table, and folds that hold for all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.evaluation.duplicates import linked_subjects
from biosig_mtl.experiment.tables import Stacked
from biosig_mtl.training.batches import has_waveform
from biosig_mtl.types import F32, I64, DataError, Fold, Head, RecipeError, Track, WindowTable

Form = tuple[str, float, int]
"""What tracks must have in common to be one: name, rate, samples."""


@dataclass(frozen=True)
class Part:
    """One set: a name, its own table, and the fingerprints (window, hash) of its windows."""

    name: str
    table: WindowTable
    fingerprints: NDArray[np.uint64]


@dataclass(frozen=True)
class JointTable:
    """All sets in one table, one after the other.

    The subjects of ``parts`` have the names that they have in ``table``. ``notes`` are sentences on what could not be joined,
    ``linked`` pairs of ids of different sets that are one person.
    """

    table: WindowTable
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    linked: tuple[tuple[str, str], ...]

    @cached_property
    def starts(self) -> I64:
        """First row of every set, and the number of all rows, (set + 1,)."""
        return np.concatenate([[0], np.cumsum([len(part.table) for part in self.parts])]).astype(np.int64)

    def code(self, rows: I64) -> I64:
        """Return the number of the set of some rows."""
        return np.asarray(np.searchsorted(self.starts, rows, side="right") - 1, dtype=np.int64)

    def own(self, number: int, rows: I64) -> I64:
        """Return which of some rows are of one set, as rows of its own table."""
        return np.asarray(rows[self.code(rows) == number] - self.starts[number], dtype=np.int64)

    def own_fold(self, number: int, fold: Fold) -> Fold:
        """Return a fold of the joint table as it is for one set alone."""
        return replace(
            fold,
            train=self.own(number, fold.train),
            validation=self.own(number, fold.validation),
            test=self.own(number, fold.test),
        )


def join(parts: Sequence[Part]) -> JointTable:
    """Join sets into one table of float32, in the order given.

    Features are joined by name (NaN where a set lacks one), tracks by name, rate and length (channels by name; NaN where a set
    lacks one), targets by name (NaN where a set has no such label) with the heads that their sets give them. The index keeps
    the columns that all have, and gets ``set``. Ids are prefixed by their data set, so that one data set in two recipes has one
    set of people; ids of different sets that share stretches of waveform are one person, under the first name.

    Where all sets have one waveform of the same channels, rate and length, it stays one. Otherwise it becomes a track named
    after its first channel (``ppg`` for ``ppg_8hz``). Two tracks of one name and different forms get two names (``ppg``,
    ``ppg2``), and a sentence. Waveforms of references are left out, with a sentence.

    Raises
    ------
    RecipeError
        Fewer than two sets, a name twice, or a target with two different heads.
    """
    names = [part.name for part in parts]
    if len(parts) < 2 or len(set(names)) < len(names):
        raise RecipeError(f"joint: need two or more recipes of different names, got {', '.join(names) or 'none'}")
    named, linked = _named(parts)
    tables = [part.table for part in named]
    notes = [f"{part.name}: the waveform of the reference is left out" for part in named if part.table.reference is not None]
    one_wave = _one_waveform(tables)
    shown = [dict(table.tracks) if one_wave else _shown(table) for table in tables]
    tracks, said = _tracks(names, shown, [len(table) for table in tables])
    heads = _heads(named)
    lengths = [len(table) for table in tables]
    table = WindowTable(
        index=_index(named),
        values=_columns([(table.names, table.values) for table in tables], features := _union(t.names for t in tables)),
        names=features,
        waveform=cast("F32", Stacked([(t.waveform, None) for t in tables], lengths, tables[0].waveform.shape[1:]))
        if one_wave
        else np.empty((sum(lengths), 0, 0), np.float32),
        waveform_channels=tables[0].waveform_channels if one_wave else (),
        fs=tables[0].fs,
        targets=_columns([(table.target_names, table.targets) for table in tables], tuple(heads)),
        target_names=tuple(heads),
        tracks=tracks,
        heads=tuple(heads.values()),
    )
    return JointTable(table, named, (*notes, *said), linked)


# ----------------------------------------------------------------------------------------------------------------- people
def _named(parts: Sequence[Part]) -> tuple[tuple[Part, ...], tuple[tuple[str, str], ...]]:
    """Return the sets with ids that hold across them, and the pairs that were linked."""
    ids = [np.strings.add(np.strings.add(_dataset(p.table), "/"), p.table.subject) for p in parts]
    whole = np.concatenate(ids)
    pairs = linked_subjects(np.concatenate([part.fingerprints for part in parts]), whole)
    # Ids of one set that share waveform were linked when it was read; the same pair may be found again here.
    name = {one: one for one in np.unique(whole).tolist()}
    for first, second in pairs:
        old, new = sorted((name[first], name[second]), reverse=True)
        name = {one: new if group == old else group for one, group in name.items()}
    made = []
    for part, subject in zip(parts, ids, strict=True):
        index = part.table.index.assign(subject=[name[one] for one in subject.tolist()])
        made.append(replace(part, table=replace(part.table, index=index)))
    return tuple(made), tuple(pairs)


def _dataset(table: WindowTable) -> NDArray[np.str_]:
    return table.index["dataset"].to_numpy(dtype=str)


def _index(parts: Sequence[Part]) -> Any:
    import pandas as pd

    shared = [column for column in parts[0].table.index if all(column in part.table.index for part in parts)]
    return pd.concat([part.table.index[shared].assign(set=part.name) for part in parts], ignore_index=True)


# -------------------------------------------------------------------------------------------------------- columns, targets
def _union(many: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in many for name in names))


def _columns(given: Sequence[tuple[tuple[str, ...], F32]], names: tuple[str, ...]) -> F32:
    """Return (window, name), NaN where a set has no such column."""
    place = {name: j for j, name in enumerate(names)}
    out = np.full((sum(len(values) for _, values in given), len(names)), np.nan, np.float32)
    start = 0
    for own, values in given:
        out[start : start + len(values), [place[name] for name in own]] = values
        start += len(values)
    return out


def _heads(parts: Sequence[Part]) -> dict[str, Head]:
    found: dict[str, tuple[str, Head]] = {}
    for part in parts:
        for name, head in zip(part.table.target_names, part.table.head, strict=True):
            first, usual = found.setdefault(name, (part.name, head))
            if usual != head:
                raise RecipeError(f"target '{name}': {first} and {part.name} answer it by different heads; give both the same")
    return {name: head for name, (_, head) in found.items()}


# -------------------------------------------------------------------------------------------------------------- waveforms
def _one_waveform(tables: Sequence[WindowTable]) -> bool:
    forms = {(table.waveform_channels, table.fs, table.waveform.shape[1:]) for table in tables}
    return len(forms) == 1 and has_waveform(tables[0])


def _shown(table: WindowTable) -> dict[str, Track]:
    """Return the tracks of a table and its waveform as one of them, if need be under a further name."""
    tracks = dict(table.tracks)
    if has_waveform(table):
        name = table.waveform_channels[0].partition("_")[0]
        tracks[_free(name, tracks)] = Track(table.waveform_channels, table.fs, table.waveform)
    return tracks


def _free(name: str, taken: Mapping[str, Any]) -> str:
    return next(word for k in range(1, len(taken) + 2) if (word := name if k == 1 else f"{name}{k}") not in taken)


def _tracks(
    names: Sequence[str], shown: Sequence[Mapping[str, Track]], lengths: Sequence[int]
) -> tuple[dict[str, Track], list[str]]:
    """Return the tracks of all sets, and a sentence for each that had to take another name."""
    forms: dict[Form, str] = {}
    notes = []
    for set_name, tracks in zip(names, shown, strict=True):
        for name, track in tracks.items():
            form = _form(name, track)
            if form not in forms:
                forms[form] = _free(name, dict.fromkeys(forms.values()))
                if forms[form] != name:
                    what = f"{form[2]} samples at {form[1]:g} Hz"
                    notes.append(f"{set_name}: its track '{name}' ({what}) has another form than that of the sets before")
                    notes[-1] += f": it is '{forms[form]}'"
    return {label: _stacked(form, shown, lengths) for form, label in forms.items()}, notes


def _form(name: str, track: Track) -> Form:
    return name, float(track.fs), int(track.signal.shape[2])


def _stacked(form: Form, shown: Sequence[Mapping[str, Track]], lengths: Sequence[int]) -> Track:
    own = [tracks.get(form[0]) for tracks in shown]
    own = [track if track is not None and _form(form[0], track) == form else None for track in own]
    channels = _union(track.channels for track in own if track is not None)
    parts = [None if t is None else (t.signal, np.array([channels.index(c) for c in t.channels])) for t in own]
    return Track(channels, form[1], cast("F32", Stacked(parts, lengths, (len(channels), form[2]))))


# ------------------------------------------------------------------------------------------------------------------ folds
def joint_folds(joint: JointTable, own: Sequence[Sequence[Fold]]) -> tuple[Fold, ...]:
    """Return folds of the joint table from the folds of every set (in rows of its own), the same seeds in all.

    Fold *j* of a seed learns from, stops on and tests the parts that fold *j* of each set names. A set with fewer folds is
    tested once, in its own folds, and lends its training side in turn to the others. A person in several sets is
    in one part only: whoever is tested is learned from nowhere, and whoever is stopped on is not learned from.

    Raises
    ------
    DataError
        A set has nobody left to learn from, or to stop on, in a fold.
    """
    made = []
    for seed in dict.fromkeys(fold.seed for folds in own for fold in folds):
        turns = [[fold for fold in folds if fold.seed == seed] for folds in own]
        made += [_one_fold(joint, turns, j, seed) for j in range(max(len(folds) for folds in turns))]
    return tuple(made)


def _one_fold(joint: JointTable, turns: Sequence[Sequence[Fold]], j: int, seed: int) -> Fold:
    rows: dict[str, list[I64]] = {"train": [], "validation": [], "test": []}
    for start, folds in zip(joint.starts, turns, strict=False):
        for word in rows:
            if word != "test" or j < len(folds):
                rows[word].append(start + getattr(folds[j % len(folds)], word))
    train, validation, test = (np.sort(np.concatenate(many)).astype(np.int64) for many in rows.values())
    subject = joint.table.subject
    validation = validation[~np.isin(subject[validation], subject[test])]
    train = train[~np.isin(subject[train], np.concatenate([subject[test], subject[validation]]))]
    for number, part in enumerate(joint.parts):
        if not joint.own(number, train).size or not joint.own(number, validation).size:
            raise DataError(
                f"{part.name}: nobody is left to learn from in fold {j}: too many of its people are tested elsewhere"
            )
    return Fold(train, validation, test, number=j, seed=seed)
