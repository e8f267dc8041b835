"""What methods of calibration are shown of a finished run: estimates by networks that did not learn from the person.

Of tested people that is so by the protocol of the run. Methods are fitted on people of the training side, and for those the
estimates must be as honest: each member of a fold's ensemble has validation people of its own, and together the members'
validation people are the whole training side. A person's estimate is then that of the one member that had not learned from
them. A run whose members do not cover the training side gets further networks, trained for this and by the same settings.

Two things are not perfect and cannot do harm to the comparison: a member stopped its training by the error on its validation
people, so their estimates are a little better than those of strangers; and a tested person is answered by the mean of the
ensemble, a person of the training side by one member, whose estimates are a little worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import splits
from biosig_mtl.experiment import members
from biosig_mtl.lifecycle.opened import Opened
from biosig_mtl.models import baselines
from biosig_mtl.splits.anchors import Course, Drawn
from biosig_mtl.training import Scaler, TrainingData, fit, predict, spec_of, subject_weights
from biosig_mtl.training.calibration.known import MAIN, Person, Shown, View
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import F32, F64, I64, DataError, Fold, Track, WindowTable

FEWEST_PARTS = 3
# Of the table's columns a method may see these: others hold the readings, or were measured on the reference.
COLUMNS = ("dataset", "subject", "person", "session", "record", "stimulus", "onset_s", "end_s", "session_s", "sqi")
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Side:
    """People of one side of a fold: what is shown of them, and which rows (n,) of the run's table those are.

    ``truth`` (n, T) is what the reference read; what of it is in ``shown`` differs from use to use.
    """

    shown: Shown
    rows: I64
    truth: F64

    def people(self, drawn: Drawn, course: Course) -> list[Person]:
        """Return episodes with rows of ``shown`` instead of rows of the table."""
        at = {int(row): i for i, row in enumerate(self.rows)}

        def local(rows: I64) -> I64:
            return np.array([at[int(row)] for row in rows], np.int64)

        return [Person(str(course.names[e.person]), local(e.anchors), local(e.queries)) for e in drawn.episodes]

    def hiding(self, told: I64) -> Shown:
        """Return what is shown when only these rows of ``shown`` tell their truth; all others are NaN."""
        truth = np.full_like(self.truth, np.nan)
        truth[told] = self.truth[told]
        return with_truth(self.shown, truth)


def with_truth(shown: Shown, truth: F64) -> Shown:
    """Return the same with other truth, in the table too."""
    table = shown.table
    return replace(shown, truth=truth, table=table and replace(table, targets=truth.astype(np.float32)))


@dataclass(frozen=True, eq=False)
class Sides:
    """A fold of a run: whom methods are fitted on, and whom they answer.

    ``seen`` has for every estimate in both sides the subjects that its makers learned from, by name of the estimate, so that it
    can be proved that nobody answered for somebody known.
    """

    fold: Fold
    fit: Side
    test: Side
    median: F64
    makers: tuple[tuple[I64, I64], ...]


def sides_of(opened: Opened, fold: Fold, course: Course, also: Sequence[str] = (), say: Say | None = None) -> Sides:
    """Return both sides of a fold.

    Parameters
    ----------
    opened, fold, course
        The run, one of its folds, and whose every window of its table is and when.
    also
        Baselines (`biosig_mtl.models.baselines.BASELINES`) whose estimates are shown beside those of the networks. They are
        fitted without the person, too.
    say
        Told what takes long.

    Raises
    ------
    DataError
        A network did not learn from what the folds say.
    """
    side = np.sort(np.concatenate([fold.train, fold.validation]))
    test = np.sort(fold.test)
    number = int(opened.training.ensemble)
    made = [_known(opened, fold, i) for i in range(number)]
    tested = np.mean([predict(one.member.model, opened.table, test, one.member.scaler) for one in made], axis=0)
    parts = made if number >= FEWEST_PARTS else _parts(opened, fold, made, say)
    estimate = np.full((side.size, len(opened.table.target_names)), np.nan)
    makers = [(one.member.scaler.fitted_rows, test) for one in made]
    for one in parts:
        at = np.searchsorted(side, one.fold.validation)
        estimate[at] = predict(one.member.model, opened.table, one.fold.validation, one.member.scaler)
        makers.append((one.member.scaler.fitted_rows, one.fold.validation))
    if not np.isfinite(estimate).all():
        raise DataError(
            f"fold {fold.number}: the members of its ensemble do not cover its training people; train the run again"
        )
    fit_also, test_also = _others(opened, fold, [one.fold.validation for one in parts], also)
    scaler = Scaler.fit(opened.table, side)
    views = tuple(View(one.member, np.isin(side, one.fold.validation)) for one in parts)
    mine = tuple(View(one.member, np.ones(test.size, bool)) for one in made)
    work = _Work(opened, course, scaler)
    return Sides(
        fold,
        work.side(side, {MAIN: estimate, **fit_also}, views),
        work.side(test, {MAIN: tested, **test_also}, mine),
        np.nanmedian(opened.table.targets[side].astype(np.float64), axis=0),
        tuple(makers),
    )


def everyone(opened: Opened, folds: Sequence[Fold], course: Course) -> tuple[Side, Scaler]:
    """Return all people whom folds tested, as networks that did not learn from them saw them, and how features were scaled."""
    rows = np.unique(np.concatenate([fold.test for fold in folds]))
    estimate = np.full((rows.size, len(opened.table.target_names)), np.nan)
    views = []
    for fold in folds:
        at = np.isin(rows, fold.test)
        made = [_known(opened, fold, i).member for i in range(int(opened.training.ensemble))]
        estimate[at] = np.mean([predict(one.model, opened.table, rows[at], one.scaler) for one in made], axis=0)
        views += [View(one, at) for one in made]
    scaler = Scaler.fit(opened.table, rows)
    return _Work(opened, course, scaler).side(rows, {MAIN: estimate}, tuple(views)), scaler


@dataclass(frozen=True)
class _Part:
    """A network, and the fold that it learned from and left out."""

    fold: Fold
    member: Member


def _known(opened: Opened, fold: Fold, number: int) -> _Part:
    inner, member = opened.inner(fold, number), opened.member(fold, number)
    if not np.array_equal(np.sort(member.scaler.fitted_rows), np.sort(inner.train)):
        raise DataError(f"{member.name}: did not learn from the windows that its fold names; copy the run folder again")
    return _Part(inner, member)


def _parts(opened: Opened, fold: Fold, made: Sequence[_Part], say: Say | None) -> list[_Part]:
    """Return networks whose left-out people are the whole training side; train those that the run does not have."""
    ensemble = int(opened.training.ensemble)
    # One network alone validates on people that were drawn otherwise: they are no part of a whole.
    found = list(made) if ensemble > 1 else []
    name, settings, training = members.settings(opened.recipe)
    many = FEWEST_PARTS if ensemble > 1 else min(FEWEST_PARTS, np.unique(opened.table.subject[fold.train]).size)
    for number in range(len(found), many):
        inner = splits.inner(fold, opened.table, number, max(ensemble, FEWEST_PARTS))
        if say is not None:
            say(f"fold {fold.number}: training network {number + 1} of {many} for estimates of people it does not know")
        seed = int(np.random.SeedSequence([fold.seed, fold.number, number, 1]).generate_state(1)[0])
        scaler = Scaler.fit(opened.table, inner.train)
        model = members.fresh(name, settings, spec_of(opened.table), seed)
        fit(model, TrainingData(opened.table, inner, scaler), training, seed)
        found.append(_Part(inner, Member(f"cross-fit-fold{fold.number}-part{number}", model.eval(), scaler)))
    return found


def _others(opened: Opened, fold: Fold, parts: Sequence[I64], also: Sequence[str]) -> tuple[dict[str, F64], dict[str, F64]]:
    """Return the estimates of baselines for the training side, by parts, and for the test side, where they have any."""
    table, alpha = opened.table, opened.training.balance_subjects
    side, test = np.sort(np.concatenate([fold.train, fold.validation])), np.sort(fold.test)

    def told(name: str, learned: I64, asked: I64) -> F64 | None:
        weight = subject_weights(table.subject[learned], alpha)
        answer = baselines.fit(name, table, learned, weight, seed=fold.seed).answer(table, asked)
        return None if answer is None else answer.estimate

    own: dict[str, F64] = {}
    other: dict[str, F64] = {}
    for name in also:
        whole = told(name, side, test)
        inside = np.full((side.size, len(table.target_names)), np.nan)
        for part in parts if whole is not None else ():
            inside[np.searchsorted(side, part)] = told(name, np.setdiff1d(side, part), part)
        if whole is not None and np.isfinite(whole).all() and np.isfinite(inside).all():
            own[name], other[name] = inside, whole
    return own, other


@dataclass(frozen=True)
class _Work:
    opened: Opened
    course: Course
    scaler: Scaler

    def side(self, rows: I64, estimates: Mapping[str, F64], views: tuple[View, ...]) -> Side:
        """Return what is shown of rows of the table, with no truth yet."""
        table, course = self.opened.table, self.course
        truth = table.targets[rows].astype(np.float64)
        quality = table.index["sqi"].to_numpy(np.float64) if "sqi" in table.index else np.ones(len(table))
        values, _ = self.scaler.values(np.asarray(table.values[rows], dtype=np.float64))
        shown = Shown(
            values=values.astype(np.float64),
            estimates=estimates,
            truth=truth,
            targets=tuple(table.target_names),
            subject=np.unique(table.subject, return_inverse=True)[1][rows].astype(np.int64),
            stay=course.stay[rows],
            time_s=course.start_s[rows],
            quality=np.nan_to_num(quality[rows], nan=1.0),
            names=tuple(table.names),
            views=views,
            table=rows_of(table, rows),
        )
        return Side(shown, rows, truth)


# ---------------------------------------------------------------------------------------------------- rows of a table
def rows_of(table: WindowTable, rows: I64) -> WindowTable:
    """Return some rows of a table without what tells of the reference; waveforms are read when they are asked for."""
    return replace(
        table,
        index=table.index[[name for name in COLUMNS if name in table.index]].iloc[rows].reset_index(drop=True),
        values=np.asarray(table.values[rows]),
        waveform=cast("F32", _Picked(table.waveform, rows)),
        targets=np.array(table.targets[rows]),
        tracks={name: _picked(track, rows) for name, track in table.tracks.items()},
        # The waveform of the reference would tell the truth of every query.
        reference=None,
    )


def _picked(track: Track, rows: I64) -> Track:
    return replace(track, signal=cast("F32", _Picked(track.signal, rows)))


class _Picked:
    """Some rows of an array that may lie on the disk."""

    def __init__(self, whole: F32, rows: I64) -> None:
        self._whole, self._rows = whole, rows
        self.shape: tuple[int, ...] = (rows.size, *whole.shape[1:])
        self.dtype, self.ndim = whole.dtype, len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, *, copy: Any = None) -> NDArray[Any]:
        del copy
        return np.asarray(self._whole[self._rows], dtype=dtype)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return np.asarray(self._whole[self._rows[rows]])
