"""Which windows of a person are told for calibration (anchors), and which are then asked for (queries).

K readings a person are told, the first K in time or K drawn by chance, and the person's other windows are asked for. What
makes two such figures comparable is who asks what: `queries` are the *same* windows for every K, those after an embargo that
follows the last of the largest K. The unit is the column ``person`` where a table has one (a tighter id than ``subject``), else
the subject. Source of the protocol: the first K readings in time with an embargo as the main way, random ones as the second,
one set of queries; readings next to the queries flatter by some tenths of a mmHg.

Deviation: where the clocks of two stays cannot be compared, the embargo holds within a stay only; a window of a later stay may
be asked for, whenever that was. Which stay is later is told by the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.splits.keys import TINY_S
from biosig_mtl.types import F64, I64, Bool, DataError, WindowTable

FEW, NO_TIME, NO_REFERENCE = "too few windows", "no window after the embargo", "no window with every target"


@dataclass(frozen=True)
class Anchoring:
    """How anchors and queries are chosen.

    ``counts`` are the numbers of readings K, rising. ``embargo_s`` seconds lie between the end of an anchor and the start of a
    query of the same stay; None is the length of a window. ``draws`` is how often random anchors are drawn, 0 = never, and
    ``seed`` their chance.
    """

    counts: tuple[int, ...] = (1, 2, 3, 5)
    embargo_s: float | None = None
    draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not self.counts or list(self.counts) != sorted(set(self.counts)) or self.counts[0] < 1:
            raise ValueError(f"need numbers of readings that rise from 1 or more, got {', '.join(map(str, self.counts))}")
        if self.embargo_s is not None and not 0 <= self.embargo_s < np.inf:
            raise ValueError(f"need an embargo of 0 seconds or more, got {self.embargo_s:g}")
        if self.draws < 0 or self.seed < 0:
            raise ValueError(f"need draws and seed >= 0, got {self.draws}, {self.seed}")

    @property
    def most(self) -> int:
        """The largest K."""
        return self.counts[-1]

    def gap_s(self, course: Course) -> float:
        """Return the embargo in seconds."""
        return float((course.end_s - course.start_s).max(initial=0.0)) if self.embargo_s is None else self.embargo_s


@dataclass(frozen=True, eq=False)
class Course:
    """Whose every window is and when: all columns have shape (window,).

    ``person`` numbers the ``names``; ``stay`` numbers the stretches within which times can be compared; ``start_s`` and
    ``end_s`` count from the beginning of the stay; ``place`` is the number of the window among its person's, in the order of
    time, and −1 where a target is unknown: such a window is neither told nor asked for.
    """

    names: NDArray[np.str_]
    person: I64
    stay: I64
    start_s: F64
    end_s: F64
    place: I64

    def rows_of(self, person: int) -> I64:
        """Return the usable rows of a person in the order of time."""
        return self._rows[person]

    @cached_property
    def _rows(self) -> tuple[I64, ...]:
        order = np.lexsort((self.place, self.person))
        order = order[self.place[order] >= 0]
        return tuple(np.split(order, np.searchsorted(self.person[order], np.arange(1, self.names.size))))


def course_of(table: WindowTable) -> Course:
    """Return whose every window of a table is and when.

    Within a person stays follow in the order of their first rows, and windows of a stay in the order of time. A stay is a
    session whose records know when they begin (column ``session_s``), else a record.

    Raises
    ------
    DataError
        A person is of two subjects, which are what folds are made of.
    """
    index = table.index
    names, person = np.unique(_persons(table), return_inverse=True)
    subject = np.unique(table.subject, return_inverse=True)[1]
    _one_subject(names, person, subject)
    begin = index["session_s"].to_numpy(np.float64) if "session_s" in index else np.full(len(table), np.nan)
    known = np.isfinite(begin)
    part = np.where(known, index["session"].to_numpy(dtype=str), index["record"].to_numpy(dtype=str))
    keys = np.char.add(np.where(known, "s/", "r/"), part)
    _, code = np.unique(keys, return_inverse=True)
    first, stay = np.unique(person * (int(code.max(initial=0)) + 1) + code, return_index=True, return_inverse=True)[1:]
    shift = np.where(known, begin, 0.0)
    start = index["onset_s"].to_numpy(np.float64) + shift
    end = index["end_s"].to_numpy(np.float64) + shift
    place = _places(person, first[stay], start, np.asarray(np.isfinite(table.targets).all(axis=1)))
    return Course(names, person.astype(np.int64), stay.astype(np.int64), start, end, place)


def _persons(table: WindowTable) -> NDArray[np.str_]:
    """Return the tightest name of whose every window is, told apart over data sets."""
    index = table.index
    subject = table.subject
    if "person" in index:
        told = index["person"].fillna("").to_numpy(dtype=str)
        subject = np.where(told != "", told, subject)
    if "dataset" in index and index["dataset"].nunique() > 1:
        return np.char.add(np.char.add(index["dataset"].to_numpy(dtype=str), "/"), subject)
    return subject


def _one_subject(names: NDArray[np.str_], person: I64, subject: I64) -> None:
    pairs = np.unique(np.stack([person, subject]), axis=1)
    twice = np.flatnonzero(np.bincount(pairs[0], minlength=names.size) > 1)
    if twice.size:
        raise DataError(
            f"person '{names[twice[0]]}' and {twice.size - 1} others belong to more than one subject: folds of subjects would "
            "have them on both sides; correct the ids of the data set"
        )


def _places(person: I64, stay_first: I64, start: F64, usable: Bool) -> I64:
    """Return the number of every usable window among those of its person, −1 elsewhere."""
    place = np.full(person.size, -1, np.int64)
    rows = np.flatnonzero(usable)
    order = rows[np.lexsort((rows, start[rows], stay_first[rows], person[rows]))]
    many = np.bincount(person[order], minlength=int(person.max(initial=-1)) + 1)
    begin = np.concatenate([[0], np.cumsum(many)[:-1]])
    place[order] = np.arange(order.size) - begin[person[order]]
    return place


# ------------------------------------------------------------------------------------------------------ anchors, queries
@dataclass(frozen=True, eq=False)
class Episode:
    """What one person is told and asked: rows of the table, anchors in the order of time, queries too."""

    person: int
    anchors: I64
    queries: I64


@dataclass(frozen=True, eq=False)
class Drawn:
    """Episodes of many people, one a person, and why the others have none: reason → number of people."""

    episodes: tuple[Episode, ...]
    without: Mapping[str, int]

    @property
    def queries(self) -> I64:
        """All rows that are asked for, sorted."""
        return np.sort(np.concatenate([np.empty(0, np.int64), *(e.queries for e in self.episodes)]))


def first_in_time(course: Course, people: Sequence[int], count: int, asked: Anchoring | None = None) -> Drawn:
    """Tell each person's first ``count`` windows.

    Parameters
    ----------
    course, people
        From `course_of`, and the numbers of the people.
    count
        K.
    asked
        None: every later window is asked for that shares no sample with an anchor. Else the queries that all K of these
        settings have in common: windows that lie at least the embargo after the last of the first ``asked.most`` windows.
    """
    reach = count if asked is None else asked.most
    gap = 0.0 if asked is None else asked.gap_s(course)
    if count > reach:
        raise ValueError(f"need at most {reach} readings, the largest of the settings, got {count}")
    found: list[Episode] = []
    without: dict[str, int] = {}
    for one in people:
        rows = course.rows_of(one)
        late = _after(course, rows[:reach], rows[reach:], gap)
        if late.size:
            found.append(Episode(int(one), rows[:count], late))
        else:
            reason = NO_REFERENCE if not rows.size else FEW if rows.size <= reach else NO_TIME
            without[reason] = without.get(reason, 0) + 1
    return Drawn(tuple(found), without)


def by_chance(course: Course, people: Sequence[int], settings: Anchoring, draw: int) -> dict[int, Drawn]:
    """Tell K windows of each person that are drawn by chance, the smaller K's among the larger's; return what is asked by K.

    The queries are those of `first_in_time` with the same settings, less the drawn windows and what lies within the embargo of
    one: the same for every K of a draw, so that both ways of drawing can be judged on them. They surround the anchors, which is
    why this way flatters: in use, the readings come first.
    """
    many = settings.most
    found: dict[int, list[Episode]] = {count: [] for count in settings.counts}
    without: dict[str, int] = {}
    for episode in first_in_time(course, people, many, settings).episodes:
        rows = course.rows_of(episode.person)
        name = course.names[episode.person]
        rng = np.random.default_rng([settings.seed, draw, *name.encode()])
        drawn = rng.permutation(rows)[:many]
        left = episode.queries[_apart(course, episode.queries, drawn, settings.gap_s(course))]
        if not left.size:
            without[NO_TIME] = without.get(NO_TIME, 0) + 1
            continue
        for count in settings.counts:
            told = drawn[:count]
            found[count].append(Episode(episode.person, told[np.argsort(course.place[told])], left))
    return {count: Drawn(tuple(each), without) for count, each in found.items()}


def _after(course: Course, anchors: I64, later: I64, gap_s: float) -> I64:
    """Return the rows that begin at least a gap after the end of every anchor of their stay."""
    if not later.size:
        return later
    same = course.stay[later][:, None] == course.stay[anchors][None, :]
    apart = course.start_s[later][:, None] - course.end_s[anchors][None, :] >= gap_s - TINY_S
    return np.asarray(later[(apart | ~same).all(axis=1)])


def _apart(course: Course, rows: I64, anchors: I64, gap_s: float) -> Bool:
    """Whether rows lie at least a gap before or after every anchor of their stay."""
    same = course.stay[rows][:, None] == course.stay[anchors][None, :]
    after = course.start_s[rows][:, None] - course.end_s[anchors][None, :] >= gap_s - TINY_S
    before = course.start_s[anchors][None, :] - course.end_s[rows][:, None] >= gap_s - TINY_S
    clear = (after | before | ~same) & (rows[:, None] != anchors[None, :])
    return np.asarray(clear.all(axis=1))


def since_s(course: Course, episode: Episode) -> F64:
    """Return the seconds between each query and the nearest anchor of its stay, start to start; infinite in another stay."""
    gap = np.abs(course.start_s[episode.queries][:, None] - course.start_s[episode.anchors][None, :])
    same = course.stay[episode.queries][:, None] == course.stay[episode.anchors][None, :]
    return np.asarray(np.where(same, gap, np.inf).min(axis=1), dtype=np.float64)


def chains(course: Course, people: Sequence[int], horizon: int, most: int = 40) -> tuple[Episode, ...]:
    """Return episodes of one anchor and the up to ``horizon`` windows after it, for anchors all along each person's windows.

    They are what a plan of recalibration is judged by. A person has at most ``most`` anchors, evenly spread.
    """
    found = []
    for one in people:
        rows = course.rows_of(one)
        starts = np.unique(np.linspace(0, rows.size - 2, min(most, rows.size - 1)).round().astype(int)) if rows.size > 1 else ()
        for start in starts:
            anchor = rows[start : start + 1]
            later = _after(course, anchor, rows[start + 1 : start + 1 + horizon], 0.0)
            if later.size:
                found.append(Episode(int(one), anchor, later))
    return tuple(found)
