"""Laws of personal calibration: what a method may know, what must not change its answers, and what it must find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.models import rebuild
from biosig_mtl.training import Scaler, predict, spec_of
from biosig_mtl.training.calibration.courses import COPIES, check_people, lay, spread, weights
from biosig_mtl.training.calibration.difference import _fewer
from biosig_mtl.training.calibration.known import MAIN, Calibrator, Kept, Person, Shown, View, since_s
from biosig_mtl.training.calibration.last_split import LastSplit
from biosig_mtl.training.calibration.looking import check_model, stem_of, views_for
from biosig_mtl.training.calibration.methods import METHODS
from biosig_mtl.training.calibration.offset import Offset, OffsetMethod
from biosig_mtl.training.calibration.robust import least_absolute
from biosig_mtl.training.calibration.siamese import Lesson, teach
from biosig_mtl.training.calibration.tail import PARTS, Tail, bytes_for, parts_within
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.types import DataError, Head, RecipeError, WindowTable

PER, PEOPLE = 8, 24
Fits = dict[str, Calibrator]
SETTINGS = {"width": 8, "heads": 1, "kernel_landmarks": 4}


def table_of(n: int, seed: int = 0) -> WindowTable:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 5)).astype(np.float32)
    names = ("pulse.a", "pulse.b", "hr.mean", "person.age", "ppg.snr")
    wave = rng.normal(size=(n, 1, 32)).astype(np.float32)
    truth = np.stack([120 + 10 * values[:, 0], 70 + 5 * values[:, 1]], axis=1).astype(np.float32)
    index = pd.DataFrame({"subject": np.repeat(np.arange(n // PER), PER).astype(str)})
    return WindowTable(index, values, names, wave, ("ppg",), 16.0, truth, ("sbp", "dbp"))


def make(name: str = "split_merge", networks: int = 2, **settings: object) -> Shown:
    """Return people whose pressure is a level of their own, a level of the stay, and what a network half sees."""
    n = PEOPLE * PER
    rng = np.random.default_rng(1)
    table = table_of(n)
    person = np.repeat(np.arange(PEOPLE), PER)
    stay = person * 2 + (np.arange(n) % PER >= PER // 2)
    level = rng.normal(0, (15, 8), (PEOPLE, 2))[person] + rng.normal(0, (4, 2), (2 * PEOPLE, 2))[stay]
    seen = np.stack([8 * table.values[:, 0], 4 * table.values[:, 1]], axis=1)
    truth = np.array([120, 70]) + level + seen + rng.normal(0, 1, (n, 2))
    rows = np.arange(n, dtype=np.int64)
    scaler = Scaler.fit(table, rows)
    spec = spec_of(table)
    views = []
    for i in range(networks):
        model = rebuild(name, {**({} if name != "split_merge" else SETTINGS), **settings}, spec)
        beside: Any = getattr(model, "beside", None)
        if beside is not None:
            beside.share.fill_(0.3)
        views.append(View(Member(f"m{i}", model.eval(), scaler), np.ones(n, bool)))
    estimate = np.mean([predict(v.member.model, table, rows, scaler) for v in views], axis=0) if views else np.zeros((n, 2))
    # What the networks say is made to see half of what changes.
    estimate = 0.2 * (estimate - estimate.mean(axis=0)) + np.array([120, 70]) + seen * 0.8 + rng.normal(0, 2, (n, 2))
    values, _ = scaler.values(table.values)
    return Shown(
        values.astype(float), {MAIN: estimate}, truth, ("sbp", "dbp"), person, stay,
        np.asarray(np.arange(n) % 4 * 60.0, np.float64), np.ones(n), table.names, tuple(views),
        replace(table, targets=truth.astype(np.float32)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown() -> Shown:
    return make()


def people(count: int = 2, first: int = 0, last: int = PEOPLE) -> list[Person]:
    rows = np.arange(PEOPLE * PER, dtype=np.int64).reshape(PEOPLE, PER)
    return [Person(f"p{i}", rows[i, :count], rows[i, count:]) for i in range(first, last)]


def hiding(shown: Shown, rows: np.ndarray) -> Shown:
    truth = np.full_like(shown.truth, np.nan)
    truth[rows] = shown.truth[rows]
    return with_truth(shown, truth)


def with_truth(shown: Shown, truth: np.ndarray) -> Shown:
    return replace(shown, truth=truth, table=shown.table and replace(shown.table, targets=truth.astype(np.float32)))


@pytest.fixture(scope="module")
def fitted(shown: Shown) -> Fits:
    return {
        name: method.fit(shown, people(2, 0, 16), np.random.default_rng(0)) for name, method in METHODS.items()
    }  # fmt: skip


NAMES = list(METHODS)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_never_reads_the_truth_of_a_query(name: str, shown: Shown, fitted: Fits) -> None:
    person = people()[20]
    blind = hiding(shown, person.anchors)
    answer = fitted[name].answer(blind, person)
    np.testing.assert_array_equal(answer, fitted[name].answer(shown, person))
    assert answer.shape == (PER - 2, 2)
    assert np.isfinite(answer).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_to_a_query_depends_on_no_other_query(name: str, shown: Shown, fitted: Fits) -> None:
    person = people()[20]
    whole = fitted[name].answer(shown, person)
    alone = fitted[name].answer(shown, Person(person.name, person.anchors, person.queries[3:4]))
    np.testing.assert_allclose(whole[3:4], alone, atol=1e-4)
    back = fitted[name].answer(shown, Person(person.name, person.anchors, person.queries[::-1]))
    np.testing.assert_allclose(whole[::-1], back, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_target_that_no_reading_tells_keeps_the_plain_estimate(name: str, shown: Shown, fitted: Fits) -> None:
    person = people()[20]
    truth = shown.truth.copy()
    truth[person.anchors, 1] = np.nan
    answer = fitted[name].answer(with_truth(shown, truth), person)
    np.testing.assert_allclose(answer[:, 1], shown.estimate[person.queries, 1], atol=1e-9)
    assert not np.allclose(answer[:, 0], shown.estimate[person.queries, 0])


@pytest.mark.parametrize("name", NAMES)
def test_a_target_that_one_of_the_readings_tells_is_calibrated_by_that_one(name: str, shown: Shown, fitted: Fits) -> None:
    person = people()[20]
    truth = shown.truth.copy()
    truth[person.anchors[1], 1] = np.nan
    answer = fitted[name].answer(with_truth(shown, truth), person)[:, 1]
    alone = fitted[name].answer(shown, Person(person.name, person.anchors[:1], person.queries))[:, 1]
    if name in {"offset", "share", "shrink", "person_head"}:  # they look at one target at a time, and at told windows alone
        np.testing.assert_allclose(answer, alone, atol=1e-9)
    assert not np.allclose(answer, shown.estimate[person.queries, 1])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_makes_the_same_calibrator(name: str, shown: Shown, fitted: Fits) -> None:
    again = METHODS[name].restore(fitted[name].kept())
    for person in people()[20:22]:
        np.testing.assert_array_equal(again.answer(shown, person), fitted[name].answer(shown, person))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_whole_is_not_restored(name: str) -> None:
    with pytest.raises(DataError, match="calibrate"):
        METHODS[name].restore(Kept())
    words = {"networks": 1, "steps": 1, "parts": 1}
    with pytest.raises(DataError, match="no usable numbers"):
        METHODS[name].restore(Kept(words, {"share": np.array([np.nan])}))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_chance_fits_the_same(name: str, shown: Shown, fitted: Fits) -> None:
    again = METHODS[name].fit(shown, people(2, 0, 16), np.random.default_rng(0))
    person = people()[20]
    np.testing.assert_array_equal(again.answer(shown, person), fitted[name].answer(shown, person))
    assert METHODS[name].name == name


def test_methods_find_what_is_there(shown: Shown, fitted: Fits) -> None:
    def error(answers: list[np.ndarray]) -> np.ndarray:
        truth = np.concatenate([shown.truth[p.queries] for p in people()[16:]])
        return np.asarray(np.abs(np.concatenate(answers) - truth).mean(axis=0))

    asked = people()[16:]
    held = error([np.repeat(shown.truth[p.anchors].mean(axis=0, keepdims=True), PER - 2, axis=0) for p in asked])
    for name in ("offset", "share", "shrink", "person_head"):
        found = error([fitted[name].answer(shown, p) for p in asked])
        assert (found < held).all(), name
        assert (found / held).mean() < 0.85, name
    # A correction that learned too little to be of use is believed too little to do harm.
    base = error([fitted["shrink"].answer(shown, p) for p in asked])
    assert (error([fitted["difference"].answer(shown, p) for p in asked]) < 1.1 * base).all()
    assert (error([fitted["last_split"].answer(shown, p) for p in asked]) < 1.02 * held).all()


# -------------------------------------------------------------------------------------------------------------- offset
def test_readings_that_are_as_estimated_change_nothing(shown: Shown) -> None:
    person = people()[3]
    truth = shown.truth.copy()
    truth[person.anchors] = shown.estimate[person.anchors]
    same = with_truth(shown, truth)
    plain = shown.estimate[person.queries]
    tuned = LastSplit(0.1, 2, np.ones(2))
    head = METHODS["person_head"].restore(Kept(numbers={"spread": np.full((2, 3), 2.0), "size": np.ones(2)}))
    np.testing.assert_allclose(Offset(np.ones(2)).answer(same, person), plain, atol=1e-9)
    np.testing.assert_allclose(head.answer(same, person), plain, atol=1e-9)
    moved = tuned.tune(same, person)
    for view in same.views:
        trained = Tail.of(view, stem_of(view, same)).tensors(len(PARTS))
        assert all((moved[view.member.name][name] == x).all() for name, x in trained.items())
    # hold + (estimate − hold) with one reading is the estimate where the reading is.
    one = Person(person.name, person.anchors[:1], person.queries)
    np.testing.assert_allclose(tuned.answer(same, one), plain, atol=1e-9)


def test_a_shift_of_all_readings_shifts_offset_and_share_by_it(shown: Shown, fitted: Fits) -> None:
    person = people()[3]
    moved = with_truth(shown, shown.truth + np.array([7.0, -3.0]))
    for name in ("offset", "share"):
        before, after = (fitted[name].answer(each, person) for each in (shown, moved))
        np.testing.assert_allclose(after - before, np.broadcast_to([7.0, -3.0], before.shape), atol=1e-9)


def test_offset_is_the_mean_reading_and_the_change_that_is_estimated() -> None:
    # By hand: readings 120 and 130 where 110 and 112 were estimated; 115 is estimated now.
    shown = Shown(
        np.zeros((3, 0)), {MAIN: np.array([[110.0], [112.0], [115.0]])}, np.array([[120.0], [130.0], [np.nan]]), ("sbp",),
        np.zeros(3, int), np.zeros(3, int), np.zeros(3), np.ones(3),
    )  # fmt: skip
    person = Person("a", np.array([0, 1]), np.array([2]))
    assert Offset(np.ones(1)).answer(shown, person).tolist() == [[129.0]]
    assert Offset(np.zeros(1)).answer(shown, person).tolist() == [[125.0]]


def test_a_share_of_nothing_seen_is_nothing_believed(shown: Shown) -> None:
    deaf = replace(shown, estimates={MAIN: np.random.default_rng(0).normal((120, 70), (10, 5), shown.truth.shape)})
    found = OffsetMethod("share", fitted=True).fit(deaf, people(), np.random.default_rng(0))
    assert (found.kept().numbers["share"] < 0.2).all()


# ---------------------------------------------------------------------------------------------------------------- nouns
def test_nonsense_is_refused(shown: Shown) -> None:
    with pytest.raises(ValueError, match="one reading or more"):
        Person("a", np.array([], int), np.array([1]))
    with pytest.raises(ValueError, match="queries that are no anchors"):
        Person("a", np.array([1]), np.array([1, 2]))
    with pytest.raises(ValueError, match="named 'network', got none"):
        replace(shown, estimates={})
    with pytest.raises(ValueError, match="a name a target"):
        replace(shown, targets=("sbp",))
    with pytest.raises(ValueError, match="rows everywhere"):
        replace(shown, quality=np.ones(3))


def test_too_few_people_and_unlike_numbers_of_readings_are_refused() -> None:
    with pytest.raises(DataError, match="3 people have windows after their readings, too few"):
        check_people(people()[:3])
    with pytest.raises(DataError, match="1, 2 readings"):
        check_people([*people(1)[:5], *people(2)[5:9]])
    assert check_people(people(3)) == 3


def test_since_counts_within_a_stay_alone(shown: Shown) -> None:
    person = people(2)[0]
    assert since_s(shown, person).tolist() == [60.0, 120.0, np.inf, np.inf, np.inf, np.inf]


# -------------------------------------------------------------------------------------------------------------- courses
def test_the_nearest_reading_is_that_of_the_stay_and_else_the_last(shown: Shown) -> None:
    person = Person("p0", np.array([0, 1, 5]), np.array([2, 3, 4, 6, 7, 8]))
    laid = lay(shown, [person])
    truth = shown.truth
    # Rows 0–3 are one stay, 4–7 the next, 8 a third: 8 has no reading in its stay, and 5 is the nearest row.
    np.testing.assert_array_equal(laid.near[:, 0], truth[[1, 1, 5, 5, 5, 5], 0])
    assert laid.same[:, 0].tolist() == [True, True, True, True, True, False]
    assert laid.gap_s[:, 0].tolist() == [60, 120, 60, 60, 120, 0]
    np.testing.assert_allclose(laid.hold[0], truth[[0, 1, 5]].mean(axis=0))


def test_unknown_times_fall_back_on_the_order_of_rows(shown: Shown) -> None:
    lost = replace(shown, time_s=np.full(len(shown), np.nan))
    laid = lay(lost, [Person("p0", np.array([0, 1]), np.array([2, 3]))])
    np.testing.assert_array_equal(laid.near[:, 0], shown.truth[[1, 1], 0])
    assert laid.same.all()
    assert not laid.gap_s.any()


def test_more_episodes_of_a_person_begin_later_and_never_ask_what_they_tell() -> None:
    found = spread(people(2)[:3], np.random.default_rng(0))
    assert len(found) == 3 * (PER - 2)  # of eight windows, six can begin an episode of two with a query left
    assert len(found) <= 3 * COPIES
    for one in found:
        rows = np.concatenate([one.anchors, one.queries])
        assert (np.diff(rows) == 1).all()
        assert one.anchors.size == 2
    few = spread([Person("a", np.array([0]), np.array([1]))], np.random.default_rng(0))
    assert [one.anchors.tolist() for one in few] == [[0]]


def test_weights_lie_half_way_between_windows_and_people() -> None:
    some = [Person("a", np.array([0]), np.arange(1, 5)), Person("b", np.array([9]), np.arange(10, 11))]
    some += [Person("b", np.array([11]), np.array([], int))]
    shown = Shown(
        np.zeros((12, 0)), {MAIN: np.zeros((12, 1))}, np.zeros((12, 1)), ("sbp",), np.zeros(12, int), np.zeros(12, int),
        np.zeros(12), np.ones(12),
    )  # fmt: skip
    weight = weights(lay(shown, some), some)
    assert weight.mean() == pytest.approx(1)
    assert weight[:4].sum() / weight[4] == pytest.approx(np.sqrt(4))


def test_too_many_queries_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biosig_mtl.training.calibration.difference.MOST_QUERIES", 50)
    fewer = _fewer(people(2))
    assert sum(p.queries.size for p in fewer) <= 50
    assert all(p.queries.size for p in fewer)


# ------------------------------------------------------------------------------------------------- least absolute error
def test_least_absolute_error_is_the_weighted_median_of_ratios() -> None:
    # One column: the slope is the median of y / x, weighted by |x|.
    x, y = np.ones(5), np.array([1.0, 2.0, 3.0, 40.0, 500.0])
    assert least_absolute(x[:, None], y, np.ones(5), 0.0)[0] == pytest.approx(3, abs=0.01)
    assert least_absolute(x[:, None], y, np.array([1, 1, 1, 9, 1.0]), 0.0)[0] == pytest.approx(40, abs=0.05)


def test_outliers_move_it_little_and_dead_columns_not_at_all() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(200, 2)), np.zeros((200, 1))], axis=1)
    y = x[:, 0] * 2 - x[:, 1] + 0.01 * rng.normal(size=200)
    y[:20] += 1000
    np.testing.assert_allclose(least_absolute(x, y, np.ones(200)), [2, -1, 0], atol=0.05)
    assert least_absolute(np.empty((0, 2)), np.empty(0), np.empty(0)).tolist() == [0, 0]


# -------------------------------------------------------------------------------------------------------------- siamese
def test_twins_learn_a_difference_and_say_nothing_before_they_do() -> None:
    rng = np.random.default_rng(0)
    query, anchor, told = rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3)), rng.normal(size=(4000, 2))
    wrong = np.clip(query[:, :1] - anchor[:, :1], -2, 2)
    lesson = Lesson(query, anchor, told, wrong, np.ones((4000, 1)))
    twins = teach(lesson, 0)
    assert np.abs(twins.say(query, anchor, told) - wrong).mean() < 0.9 * np.abs(wrong).mean()
    nothing = teach(replace(lesson, weight=np.zeros((4000, 1))), 0)
    assert np.abs(nothing.say(query, anchor, told)).max() < 1e-6
    broken = twins.say(np.full((1, 3), 1e6), anchor[:1], told[:1])
    np.testing.assert_array_equal(broken, twins.say(np.full((1, 3), 3.0), anchor[:1], told[:1]))


def test_a_calibrator_for_other_features_is_refused(shown: Shown, fitted: Fits) -> None:
    other = replace(shown, values=shown.values[:, :3])
    with pytest.raises(DataError, match="5 features is shown 3"):
        fitted["difference"].answer(other, people()[0])


# ------------------------------------------------------------------------------------------------------------- networks
def test_tuning_changes_the_named_tensors_alone(shown: Shown) -> None:
    before = [{k: v.clone() for k, v in view.member.model.state_dict().items()} for view in shown.views]
    person = people()[3]
    for parts in (1, 3, len(PARTS)):
        own = LastSplit(0.1, 2, np.ones(2), parts).tune(shown, person)
        wanted = tuple(prefix for part in PARTS[:parts] for prefix in part)
        assert all(name.startswith(wanted) for name in own["m0"])
        assert set(own) == {"m0", "m1"}
    for view, state in zip(shown.views, before, strict=True):
        after = view.member.model.state_dict()
        assert all((after[name] == x).all() for name, x in state.items())


def test_tuning_goes_towards_the_readings(shown: Shown) -> None:
    person = people(3)[5]
    near = []
    for steps in (0, 1, 2):
        tuned = LastSplit(0.1, steps, np.ones(2))
        own = tuned.tune(shown, person)
        at = Person(person.name, person.queries, person.anchors)  # answers at the anchors, about another hold
        blind = replace(shown, truth=shown.estimate)
        answers = tuned.tell(blind, at, own)
        near.append(np.abs(answers - shown.truth[person.anchors]).mean())
    assert near[2] < near[1] < near[0]


def test_tails_say_what_the_networks_say(shown: Shown) -> None:
    import torch

    assert shown.table is not None
    for view in shown.views:
        tail = Tail.of(view, stem_of(view, shown))
        said = tail.estimate(torch.arange(len(shown)), tail.tensors(len(PARTS))).detach().double().numpy()
        expected = predict(view.member.model, shown.table, np.arange(len(shown)), view.member.scaler)
        np.testing.assert_allclose(view.member.scaler.unscale(said), expected, atol=1e-3)


def test_other_networks_have_heads_of_ones_own() -> None:
    other = make("hard_sharing", networks=1)
    person = people()[3]
    own = LastSplit(0.1, 1, np.ones(2)).tune(other, person)["m0"]
    assert set(own) == {"heads.last.weight", "heads.last.bias", "heads.hidden.weight", "heads.hidden.bias"}


def test_a_budget_is_kept_and_one_too_small_is_refused_with_the_smallest_that_would_do(shown: Shown) -> None:
    view = shown.views[0]
    tail = Tail.of(view, stem_of(view, shown))
    all_parts, everything = parts_within(tail, 1e3, 2, 2)
    assert all_parts == 6  # the seventh part adds nothing to a cross-attention merge
    some, count = parts_within(tail, everything.megabytes - 1e-6, 2, 2)
    assert some < all_parts
    assert count.total < everything.total
    with pytest.raises(RecipeError, match=r"need 0\.0[0-9]+ MB or more") as error:
        parts_within(tail, 1e-4, 2, 2)
    least = float(str(error.value).split("need ")[1].split(" MB")[0])
    assert parts_within(tail, least, 2, 2)[0] == 1


def test_bytes_are_counted(shown: Shown) -> None:
    view = shown.views[0]
    tail = Tail.of(view, stem_of(view, shown))
    one = bytes_for(tail, 1, 2, 3)
    each = 4 * 2 * (8 + 1)  # two heads of eight weights and an offset
    assert one.kept == 3 * each
    assert one.gradients == (2 * 2 + 1) * each  # two readings of two targets, and the step
    assert one.optimiser == 0
    assert one.inputs == 2 * tail.stem.given[0].numel() * 4
    # The last layer keeps its input alone on the way back; the merge keeps far more.
    assert 2 * 2 * 8 * 4 <= one.activations < bytes_for(tail, 7, 2, 3).activations
    assert one.total == one.kept + one.gradients + one.activations + one.inputs


def test_networks_that_learned_from_a_person_are_not_asked(shown: Shown) -> None:
    half = np.arange(len(shown)) < len(shown) // 2
    views = (replace(shown.views[0], unseen=half), replace(shown.views[1], unseen=~half))
    split = replace(shown, views=views)
    first, last = people()[0], people()[-1]
    assert views_for(split, first) == views[:1]
    assert views_for(split, last) == views[1:]
    with pytest.raises(DataError, match="every network has learned from p0"):
        views_for(replace(shown, views=views[1:]), first)
    with pytest.raises(DataError, match="needs the networks and the windows"):
        views_for(replace(shown, views=()), first)
    with pytest.raises(DataError, match="needs the windows"):
        stem_of(View(shown.views[0].member, half), replace(shown, table=None))
    with pytest.raises(DataError, match="none of these networks was tuned"):
        LastSplit(0.1, 1, np.ones(2)).tell(shown, first, {"other": {}})


def test_networks_without_heads_or_with_classes_are_refused() -> None:
    from torch import nn

    with pytest.raises(DataError, match="x: has no heads"):
        check_model(nn.Linear(1, 1), "x")
    spec = replace(spec_of(table_of(PER)), heads=(Head("binary", (120.0,)), Head()))
    classed = rebuild("hard_sharing", {}, spec)
    with pytest.raises(DataError, match="answers classes"):
        check_model(classed, "x")
