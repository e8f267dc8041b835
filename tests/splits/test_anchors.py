"""Anchors and queries: who is told what, and who is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosig_mtl.splits.anchors import (
    FEW,
    NO_REFERENCE,
    NO_TIME,
    Anchoring,
    Course,
    by_chance,
    chains,
    course_of,
    first_in_time,
    since_s,
)
from biosig_mtl.types import DataError, WindowTable
from tests.splits.tables import LENGTH_S, table_of


def stays(people: int = 6, seed: int = 0, holes: float = 0.1, **columns: Any) -> WindowTable:
    """Return people with one to three stays of up to nine windows; a stay has records that know when they begin."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"g{p // 2}", f"p{p}", f"p{p}s{s}", f"p{p}s{s}r{w // 3}", 100.0 * (w // 3), LENGTH_S * (w % 3))
        for p in range(people)
        for s in range(rng.integers(1, 4))
        for w in range(rng.integers(1, 10))
    ]
    subject, person, session, record, begin, onset = map(list, zip(*rows, strict=True))
    targets = rng.normal([120, 80], 9, (len(rows), 2))
    targets[rng.random(targets.shape) < holes] = np.nan
    told: dict[str, Any] = {
        "person": person,
        "session": session,
        "record": record,
        "session_s": begin,
        "onset_s": np.array(onset, float),
    }
    return table_of(subject, targets, **(told | {"end_s": np.array(onset) + LENGTH_S} | columns))


def everyone(course: Course) -> range:
    return range(course.names.size)


# --------------------------------------------------------------------------------------------------------------- courses
def test_a_course_follows_the_rows_of_each_person() -> None:
    table = stays(holes=0)
    course = course_of(table)
    assert list(course.names) == [f"p{p}" for p in range(6)]
    for person in everyone(course):
        rows = course.rows_of(person)
        assert (np.diff(rows) > 0).all()
        assert course.place[rows].tolist() == list(range(rows.size))
        assert set(table.index["person"].iloc[rows]) == {course.names[person]}
    same = table.index["session"] == "p0s0"
    assert np.unique(course.stay[same]).size == 1
    start = table.index["session_s"] + table.index["onset_s"]
    assert course.start_s[same].tolist() == start[same].tolist()


def test_time_within_a_stay_counts_more_than_the_order_of_its_rows() -> None:
    table = table_of(["a"] * 4, np.full((4, 2), 100.0), record=["r"] * 4, onset_s=np.array([8.0, 0.0, 4.0, 12.0]),
                     end_s=np.array([12.0, 4.0, 8.0, 16.0]))  # fmt: skip
    assert course_of(table).rows_of(0).tolist() == [1, 2, 0, 3]


def test_windows_without_a_reference_have_no_place() -> None:
    table = stays(holes=0.3)
    course = course_of(table)
    assert ((course.place >= 0) == np.isfinite(table.targets).all(axis=1)).all()


def test_without_a_tighter_id_the_subject_is_the_person() -> None:
    table = stays()
    index = table.index
    assert list(course_of(replace(table, index=index.drop(columns="person"))).names) == ["g0", "g1", "g2"]
    some = index.assign(person=np.where(index["person"] == "p0", "", index["person"]))
    assert list(course_of(replace(table, index=some)).names) == ["g0", *(f"p{p}" for p in range(1, 6))]


def test_stays_without_a_clock_are_records() -> None:
    table = stays()
    course = course_of(replace(table, index=table.index.drop(columns="session_s")))
    assert np.unique(course.stay).size == table.index["record"].nunique()
    assert course.start_s.tolist() == table.index["onset_s"].tolist()


def test_people_of_two_data_sets_are_apart() -> None:
    table = stays(people=2)
    half = np.arange(len(table)) % 2
    course = course_of(replace(table, index=table.index.assign(dataset=np.where(half, "one", "two"), person="p")))
    assert list(course.names) == ["one/p", "two/p"]


def test_a_person_of_two_subjects_is_refused() -> None:
    table = stays()
    with pytest.raises(DataError, match="person 'p' and 0 others belong to more than one subject"):
        course_of(replace(table, index=table.index.assign(person="p")))


# ------------------------------------------------------------------------------------------------------ first in time
@given(st.integers(0, 400), st.sampled_from([(1,), (1, 2, 3, 5), (2, 4)]), st.sampled_from([None, 0.0, 3.0, 150.0]))
def test_the_same_is_asked_for_every_number_of_readings(seed: int, counts: tuple[int, ...], gap: float | None) -> None:
    course = course_of(stays(seed=seed))
    settings = Anchoring(counts, gap, draws=1)
    asked = [first_in_time(course, everyone(course), k, settings) for k in counts]
    assert all(np.array_equal(one.queries, asked[0].queries) for one in asked)
    assert all(one.without == asked[0].without for one in asked)
    drawn = by_chance(course, everyone(course), settings, 0)
    assert all(np.array_equal(one.queries, drawn[counts[0]].queries) for one in drawn.values())
    assert np.isin(drawn[counts[0]].queries, asked[0].queries).all()


@given(st.integers(0, 400), st.sampled_from([0.0, LENGTH_S, 150.0]))
def test_no_query_is_an_anchor_or_near_one(seed: int, gap: float) -> None:
    course = course_of(stays(seed=seed))
    settings = Anchoring((1, 3), gap, draws=1)
    for count in settings.counts:
        plain = first_in_time(course, everyone(course), count, settings)
        for number, drawn in enumerate((plain, by_chance(course, everyone(course), settings, 0)[count])):
            for one in drawn.episodes:
                assert one.anchors.size == count
                assert not np.isin(one.queries, one.anchors).any()
                assert set(course.person[np.concatenate([one.queries, one.anchors])]) == {one.person}
                assert (np.diff(course.place[one.anchors]) > 0).all()
                inside = course.stay[one.queries][:, None] == course.stay[one.anchors][None, :]
                after = course.start_s[one.queries][:, None] - course.end_s[one.anchors][None, :]
                before = course.start_s[one.anchors][None, :] - course.end_s[one.queries][:, None]
                assert (np.maximum(after, before)[inside] >= gap - 1e-6).all()
                if number == 0:
                    assert course.place[one.queries].min() > course.place[one.anchors].max()


def test_first_readings_are_the_first_ones() -> None:
    course = course_of(stays(seed=3))
    for count in (1, 2, 4):
        for one in first_in_time(course, everyone(course), count).episodes:
            assert course.place[one.anchors].tolist() == list(range(count))
            rows = course.rows_of(one.person)
            assert one.queries.tolist() == rows[count:].tolist()  # windows do not overlap, and there is no embargo


def test_overlapping_windows_are_never_asked_for() -> None:
    onset = 2.0 * np.arange(6)
    table = table_of(["a"] * 6, np.full((6, 2), 100.0), record=["r"] * 6, onset_s=onset, end_s=onset + LENGTH_S)
    course = course_of(table)
    assert first_in_time(course, [0], 1).episodes[0].queries.tolist() == [2, 3, 4, 5]
    assert chains(course, [0], 3)[0].queries.tolist() == [2, 3]


def test_the_usual_embargo_is_a_window() -> None:
    course = course_of(stays())
    assert Anchoring().gap_s(course) == LENGTH_S
    assert Anchoring(embargo_s=7.0).gap_s(course) == 7.0
    assert Anchoring().most == 5


def test_everyone_without_queries_is_counted_with_the_reason() -> None:
    onset = LENGTH_S * np.arange(4)
    subject, record = ["a"] * 4 + ["b"] * 2 + ["c"], ["a"] * 4 + ["b"] * 2 + ["c"]
    targets = np.full((7, 2), 100.0)
    targets[6] = np.nan
    at = np.concatenate([onset, onset[:2], onset[:1]])
    course = course_of(table_of(subject, targets, record=record, onset_s=at, end_s=at + LENGTH_S))
    drawn = first_in_time(course, everyone(course), 1, Anchoring((1, 2), 1000.0))
    assert (drawn.episodes, drawn.without) == ((), {NO_TIME: 1, FEW: 1, NO_REFERENCE: 1})
    assert not drawn.queries.size


def test_a_draw_that_leaves_nothing_to_ask_is_counted() -> None:
    onset = LENGTH_S * np.arange(2)
    course = course_of(table_of(["a"] * 2, np.full((2, 2), 100.0), record=["r"] * 2, onset_s=onset, end_s=onset + LENGTH_S))
    found = [by_chance(course, [0], Anchoring((1,), 0.0), draw)[1] for draw in range(12)]
    assert {len(one.episodes) for one in found} == {0, 1}
    assert all(one.without == ({} if one.episodes else {NO_TIME: 1}) for one in found)


def test_draws_differ_and_do_not_depend_on_others() -> None:
    course = course_of(stays(people=8, seed=2))
    settings = Anchoring((1, 2), 0.0)
    all_of_them, one = by_chance(course, everyone(course), settings, 0), by_chance(course, [4], settings, 0)
    mine = next(e for e in all_of_them[2].episodes if e.person == 4)
    assert np.array_equal(one[2].episodes[0].anchors, mine.anchors)
    assert np.isin(one[1].episodes[0].anchors, mine.anchors).all()
    others = [
        tuple(by_chance(course, [4], replace(settings, seed=s), d)[2].episodes[0].anchors) for s in (0, 1) for d in (0, 1)
    ]
    assert len(set(others)) > 1


def test_time_since_calibration() -> None:
    course = course_of(stays(seed=3))
    for one in first_in_time(course, everyone(course), 2).episodes:
        told = since_s(course, one)
        home = np.isin(course.stay[one.queries], course.stay[one.anchors])
        assert (np.isfinite(told) == home).all()
        assert (told[home] >= LENGTH_S).all()


# ---------------------------------------------------------------------------------------------------------------- plans
def test_chains_try_every_window_as_a_reading() -> None:
    course = course_of(stays(seed=3, holes=0))
    made = chains(course, everyone(course), horizon=3)
    for person in everyone(course):
        rows, own = course.rows_of(person), [e for e in made if e.person == person]
        assert len(own) == max(rows.size - 1, 0)
        for place, one in enumerate(own):
            assert one.anchors.tolist() == [rows[place]]
            assert one.queries.tolist() == rows[place + 1 : place + 4].tolist()
    few = chains(course, everyone(course), horizon=3, most=2)
    assert max(np.bincount([e.person for e in few])) <= 2


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"counts": ()}, "numbers of readings that rise"),
        ({"counts": (2, 1)}, "numbers of readings that rise"),
        ({"counts": (0, 1)}, "numbers of readings that rise"),
        ({"embargo_s": -1.0}, "an embargo of 0 seconds or more"),
        ({"draws": -1}, "draws and seed >= 0"),
    ],
)
def test_nonsense_is_refused(words: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Anchoring(**words)


def test_more_readings_than_the_settings_have_are_refused() -> None:
    course = course_of(stays())
    with pytest.raises(ValueError, match="need at most 2 readings"):
        first_in_time(course, [0], 3, Anchoring((1, 2)))
