"""Nearest neighbours by warping: distances computed by hand, what warping forgives, who may be a neighbour, who is asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.models import nearest
from biosig_mtl.models.nearest import Votes, averaged, dtw, evenly, fit_nearest, neighbours, shapes
from biosig_mtl.types import F64, Bool, Head, Track, WindowTable


def one(*series: float) -> F64:
    return np.array([[series]], dtype=np.float64)


def here(n: int) -> Bool:
    return np.ones(n, bool)


def make_table(subjects: int = 12, per: int = 10, seed: int = 0) -> WindowTable:
    """Two kinds of waves, each begun anywhere; a kind has a pressure of its own, which no feature tells."""
    rng = np.random.default_rng(seed)
    n = subjects * per
    kind = rng.integers(0, 2, n)
    start = rng.uniform(0, 0.08, n)
    time = np.linspace(0, 1, 200) - start[:, None]
    wave = np.where(kind[:, None] == 0, np.sin(6 * np.pi * time), np.sin(6 * np.pi * time) + 0.8 * np.sin(12 * np.pi * time))
    wave = wave * rng.uniform(0.5, 20, (n, 1)) + rng.normal(0, 50, (n, 1)) + 0.05 * rng.normal(size=wave.shape)
    sbp = 110 + 30 * kind + rng.normal(size=n)
    index = pd.DataFrame({"subject": np.repeat([f"s{i:02d}" for i in range(subjects)], per)})
    targets = np.stack([sbp, 0.5 * sbp], axis=1).astype(np.float32)
    values = rng.normal(size=(n, 3)).astype(np.float32)
    return WindowTable(
        index, values, ("a.x", "a.y", "b.z"), wave[:, None].astype(np.float32), ("ppg",), 200.0, targets, ("sbp", "dbp")
    )


def without_waveform(table: WindowTable) -> WindowTable:
    return replace(table, waveform=np.empty((len(table), 0, 0), np.float32), waveform_channels=())


def error(table: WindowTable, rows: np.ndarray, test: np.ndarray) -> F64:
    answer = fit_nearest(table, rows).answer(table, test)
    assert answer is not None
    return np.asarray(np.abs(answer.estimate - table.targets[test]).mean(axis=0))


# -------------------------------------------------------------------------------------------------------------- distances
@pytest.mark.parametrize(
    ("left", "right", "band", "squared"),
    [
        # By hand: the bump of one lies one point later in the other; a band of one point is enough to meet it.
        ((0, 0, 1, 0), (0, 1, 0, 0), 0, 2.0),
        ((0, 0, 1, 0), (0, 1, 0, 0), 1, 0.0),
        # The path (1,1) (2,1) (3,2) (3,3): 2 is met by 1, 3 by both fours.
        ((1, 2, 3), (1, 4, 4), 0, 0 + 4 + 1),
        ((1, 2, 3), (1, 4, 4), 1, 0 + 1 + 1 + 1),
        # Two points late: a band of one meets the bump half-way only, a band of two meets it.
        ((0, 0, 0, 1, 0), (0, 1, 0, 0, 0), 1, 2.0),
        ((0, 0, 0, 1, 0), (0, 1, 0, 0, 0), 2, 0.0),
        # One point: nothing to warp.
        ((3,), (5,), 7, 4.0),
        # Ends are tied to ends: the first and the last difference are always paid.
        ((1, 0, 0), (0, 0, 1), 2, 2.0),
    ],
)
def test_distances_are_those_computed_by_hand(
    left: tuple[float, ...], right: tuple[float, ...], band: int, squared: float
) -> None:
    assert dtw(one(*left), one(*right), band)[0] == pytest.approx(np.sqrt(squared))


def recursion(a: F64, b: F64, band: int) -> float:
    """The textbook's table, one cell after the other."""
    n = a.shape[1]
    total = np.full((n + 1, n + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(max(1, i - band), min(n, i + band) + 1):
            cost = float(((a[:, i - 1] - b[:, j - 1]) ** 2).sum())
            total[i, j] = cost + min(total[i - 1, j], total[i, j - 1], total[i - 1, j - 1])
    return float(np.sqrt(total[n, n]))


@pytest.mark.parametrize("band", [0, 1, 3, 40])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_all_pairs_at_once_are_the_pairs_one_by_one(band: int, n: int) -> None:
    a, b = np.random.default_rng(n).normal(size=(2, 5, 3, n))
    assert dtw(a, b, band) == pytest.approx([recursion(x, y, band) for x, y in zip(a, b, strict=True)])


def test_distance_laws() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 20, 2, 30))
    assert np.array_equal(dtw(a, a, 3), np.zeros(20))
    assert dtw(a, b, 3) == pytest.approx(dtw(b, a, 3))
    euclid = np.sqrt(((a - b) ** 2).sum(axis=(1, 2)))
    assert dtw(a, b, 0) == pytest.approx(euclid)
    wider = [dtw(a, b, band) for band in range(6)]
    assert all((later <= earlier + 1e-12).all() for earlier, later in pairwise(wider))
    assert (wider[-1] < wider[0]).all()
    # Channels warp together, in whatever order they stand; a series said twice is √2 as far away.
    assert dtw(a[:, ::-1], b[:, ::-1], 3) == pytest.approx(dtw(a, b, 3))
    assert dtw(a.repeat(2, axis=1), b.repeat(2, axis=1), 3) == pytest.approx(np.sqrt(2) * dtw(a, b, 3))
    # Backwards is the same path backwards.
    assert dtw(a[..., ::-1], b[..., ::-1], 3) == pytest.approx(dtw(a, b, 3))


def test_a_shift_is_forgiven_up_to_the_band() -> None:
    time = np.arange(64)
    bump = np.stack([np.exp(-(((time - 30 - shift) / 3.0) ** 2)) for shift in range(13)])[:, None]
    same = np.repeat(bump[:1], 13, axis=0)
    plain, warped = dtw(same, bump, 0), dtw(same, bump, 6)
    assert warped[:7] == pytest.approx(np.zeros(7), abs=1e-12)
    assert (np.diff(warped[6:]) > 0).all()
    assert (plain[1:] > 0.5).all()


@pytest.mark.parametrize(
    ("left", "right", "band"),
    [((2, 1, 5), (2, 1, 4), 1), ((2, 5), (2, 5), 1), ((2, 1, 0), (2, 1, 0), 1), ((2, 1, 5), (2, 1, 5), -1)],
)
def test_what_cannot_be_compared_is_refused(left: tuple[int, ...], right: tuple[int, ...], band: int) -> None:
    with pytest.raises(ValueError, match="need two arrays"):
        dtw(np.zeros(left), np.zeros(right), band)


# ----------------------------------------------------------------------------------------------------------------- shapes
def test_shapes_forget_size_offset_and_rate() -> None:
    time = np.linspace(0, 1, 1280, endpoint=False)
    wave = (np.sin(2 * np.pi * 3 * time) + 0.3 * np.sin(2 * np.pi * 7 * time))[None, None].astype(np.float32)
    found, present = shapes(wave, np.array([0]))
    assert found.shape == (1, 1, 64)
    assert present.all()
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert found.std() == pytest.approx(1, abs=1e-6)
    assert shapes(7 * wave - 40, np.array([0]))[0] == pytest.approx(found, abs=1e-4)
    assert shapes(wave[..., ::2], np.array([0]))[0] == pytest.approx(found, abs=0.02)
    short, _ = shapes(wave[..., :10], np.array([0]))
    assert short.shape == (1, 1, 10)


def test_absent_and_dead_channels_say_nothing() -> None:
    signal = np.random.default_rng(0).normal(size=(3, 2, 100)).astype(np.float32)
    signal[0, 1], signal[1], signal[2, 0] = np.nan, np.nan, 1e6
    found, present = shapes(signal, np.arange(3))
    assert np.isfinite(found).all()
    assert present.tolist() == [True, False, True]
    assert not found[0, 1].any()
    assert not found[1].any()
    assert not found[2, 0].any()
    assert found[2, 1].std() == pytest.approx(1, abs=1e-5)


def test_averages_keep_the_mean() -> None:
    x = np.random.default_rng(0).normal(size=(4, 100))
    for length in (1, 7, 64, 100):
        assert averaged(x, length).mean(axis=1) == pytest.approx(x.mean(axis=1))
    assert averaged(x, 100) == pytest.approx(x)
    assert averaged(x, 25) == pytest.approx(x.reshape(4, 25, 4).mean(axis=2))


# ------------------------------------------------------------------------------------------------------------- neighbours
def test_neighbours_are_the_nearest_in_order() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(40, 2, 16)).astype(np.float32)
    shown = (known[[3, 17]] + 0.01 * rng.normal(size=(2, 2, 16))).astype(np.float32)
    plain = neighbours(shown, known, warp=False)
    distance = ((shown[:, None] - known) ** 2).sum(axis=(2, 3))
    assert np.array_equal(plain, np.argsort(distance, axis=1))
    warped = neighbours(shown, known, warp=True)
    assert warped.shape == (2, 40)
    assert warped[:, 0].tolist() == [3, 17]
    assert np.array_equal(np.sort(warped, axis=1), np.tile(np.arange(40), (2, 1)))
    each = dtw(np.repeat(shown[:1], 40, axis=0), known[warped[0]], 1)
    assert (np.diff(each) >= -1e-5).all()
    assert neighbours(shown[:0], known, warp=True).shape == (0, 40)


def test_only_candidates_are_re_ranked(monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.random.default_rng(0).normal(size=(90, 1, 8)).astype(np.float32)
    ranked = neighbours(known[:5], known, warp=True)
    assert ranked.shape == (5, nearest.CANDIDATES)
    assert ranked[:, 0].tolist() == [0, 1, 2, 3, 4]
    monkeypatch.setattr(nearest, "CHUNK", 3)
    assert np.array_equal(neighbours(known[:5], known, warp=True), ranked)


def test_neighbours_are_drawn_evenly_over_subjects() -> None:
    subject = np.repeat(["a", "b", "c"], [500, 30, 5])
    places = evenly(subject, 65, seed=0)
    assert dict(zip(*np.unique(subject[places], return_counts=True), strict=True)) == {"a": 30, "b": 30, "c": 5}
    assert np.array_equal(places, np.unique(places))
    assert np.array_equal(places, evenly(subject, 65, seed=0))
    assert not np.array_equal(places, evenly(subject, 65, seed=1))
    assert np.array_equal(evenly(subject, 535, seed=0), np.arange(535))


# ------------------------------------------------------------------------------------------------------------------ votes
def test_numbers_are_the_weighted_median_of_k_known_neighbours() -> None:
    truth = np.array([1.0, 2.0, 3.0, np.nan, 10.0, 100.0])
    votes = Votes(Head(), truth, np.ones(6), np.array(7.0), k=3)
    ranked = np.array([[3, 0, 4, 2, 5, 1], [-1, -1, 5, -1, -1, -1], [3, 3, 3, 3, 3, 3], [0, 1, 2, 3, 4, 5]])
    present = np.array([True, True, True, False])
    found, shares = votes.estimates(ranked, present)
    assert shares is None
    assert found.tolist() == [3.0, 100.0, 7.0, 7.0]
    heavy = replace(votes, weight=np.array([5.0, 1, 1, 1, 1, 1]))
    assert heavy.estimates(ranked[:1], here(1))[0].tolist() == [1.0]


def test_classes_are_shares_with_the_usual_as_one_neighbour_more() -> None:
    truth = np.array([0.0, 1, 1, 1, np.nan])
    votes = Votes(Head("binary", (5.0,)), truth, np.array([2.0, 1, 1, 1, 1]), np.array([0.4, 0.6]), k=3)
    found, shares = votes.estimates(np.array([[4, 0, 1, 2, 3], [-1, -1, -1, -1, 4]]), here(2))
    assert shares is not None
    assert shares[0] == pytest.approx([2.4 / 5, 2.6 / 5])
    assert shares[1] == pytest.approx([0.4, 0.6])
    assert found.tolist() == [1.0, 1.0]


# --------------------------------------------------------------------------------------------------------------- baseline
def test_it_knows_waves_by_their_shape_and_features_do_not() -> None:
    table = make_table()
    rows, test = np.arange(90), np.arange(90, 120)
    fitted = fit_nearest(table, rows)
    assert fitted.name == "knn_dtw"
    assert fitted.source is not None
    assert fitted.source.name == "waveform"
    assert (error(table, rows, test) < [2, 1]).all()
    assert error(without_waveform(table), rows, test)[0] > 8


def test_size_and_offset_of_a_wave_change_no_answer() -> None:
    table = make_table()
    fitted = fit_nearest(table, np.arange(90))
    first, second = (fitted.answer(t, np.arange(90, 120)) for t in (table, replace(table, waveform=3 * table.waveform + 5)))
    assert first is not None
    assert second is not None
    assert second.estimate == pytest.approx(first.estimate, abs=1.5)


def test_it_sees_training_rows_only() -> None:
    table, rows, test = make_table(), np.arange(90), np.arange(90, 120)
    spoiled = replace(table, targets=table.targets.copy(), values=table.values.copy())
    spoiled.targets[90:] = -1e6
    spoiled.values[90:] = 1e6
    for plain, other in ((table, spoiled), (without_waveform(table), without_waveform(spoiled))):
        fitted, again = fit_nearest(plain, rows), fit_nearest(other, rows)
        assert np.array_equal(fitted.fitted_rows, rows)
        first, second = fitted.answer(plain, test), again.answer(plain, test)
        assert first is not None
        assert second is not None
        assert np.array_equal(first.estimate, second.estimate)


def test_answers_depend_on_no_other_window() -> None:
    table = make_table()
    fitted = fit_nearest(table, np.arange(90))
    together, alone = fitted.answer(table, np.arange(90, 120)), fitted.answer(table, np.array([100]))
    assert together is not None
    assert alone is not None
    assert np.array_equal(together.estimate[10:11], alone.estimate)


def test_k_is_chosen_by_leaving_subjects_out() -> None:
    """Each person has one wave of their own and a pressure that has nothing to do with it: own windows would say k = 5."""
    rng = np.random.default_rng(0)
    subjects, per = 12, 12
    own = rng.normal(size=(subjects, 1, 100)).repeat(per, axis=0)
    wave = (own + 0.1 * rng.normal(size=own.shape)).astype(np.float32)
    sbp = rng.normal(120, 20, subjects).repeat(per)
    index = pd.DataFrame({"subject": np.repeat([f"s{i}" for i in range(subjects)], per)})
    nothing = np.empty((subjects * per, 0), np.float32)
    table = WindowTable(index, nothing, (), wave, ("ppg",), 100.0, sbp[:, None].astype(np.float32), ("sbp",))
    assert fit_nearest(table, np.arange(subjects * per)).votes["sbp"].k == 45
    mixed = replace(table, index=index.sample(frac=1, random_state=0).reset_index(drop=True))
    assert fit_nearest(mixed, np.arange(subjects * per)).votes["sbp"].k == 5


def test_classes_have_shares() -> None:
    heads = (Head("binary", (125.0,)), Head("ordinal", (45.0, 62.5), balanced=True))
    table = replace(make_table(), heads=heads)
    answer = fit_nearest(table, np.arange(90), np.linspace(0.5, 1.5, 90, dtype=np.float32)).answer(table, np.arange(90, 120))
    assert answer is not None
    assert {name: shares.shape for name, shares in answer.probabilities.items()} == {"sbp": (30, 2), "dbp": (30, 3)}
    for target, head in enumerate(heads):
        shares = answer.probabilities[table.target_names[target]]
        assert shares.sum(axis=1) == pytest.approx(np.ones(30))
        truth = head.encode(table.targets[90:, target])
        assert (answer.estimate[:, target] == truth).mean() > 0.8
    # Nobody who is remembered has the lowest class.
    assert not answer.probabilities["dbp"][:, 0].any()


def test_balanced_heads_start_from_equal_classes() -> None:
    truth, weight = np.array([0.0, 0, 0, 1, np.nan]), np.ones(5)
    plain = nearest._votes(Head("binary", (5.0,)), truth, weight, np.arange(5))
    balanced = nearest._votes(Head("binary", (5.0,), balanced=True), truth, weight, np.arange(5))
    assert plain.usual == pytest.approx([0.75, 0.25])
    assert balanced.usual == pytest.approx([0.5, 0.5])
    assert balanced.weight[3] == pytest.approx(3 * balanced.weight[0])


def test_tracks_are_compared_by_the_fastest_one() -> None:
    table = make_table()
    slow = Track(("eda",), 4.0, np.random.default_rng(0).normal(size=(120, 1, 30)).astype(np.float32))
    fast = Track(("F3",), 200.0, table.waveform.copy())
    fast.signal[95] = np.nan
    fast.signal[5] = np.nan
    tracked = replace(without_waveform(table), tracks={"eda": slow, "eeg": fast})
    fitted = fit_nearest(tracked, np.arange(90))
    assert fitted.source is not None
    assert fitted.source.name == "track eeg"
    assert len(fitted.known) == 89
    answer = fitted.answer(tracked, np.arange(90, 120))
    assert answer is not None
    assert np.isfinite(answer.estimate).all()
    assert answer.estimate[5, 0] == fitted.votes["sbp"].usual


def test_what_cannot_be_fitted_says_why() -> None:
    table, rows = make_table(), np.arange(90)
    unknown = table.targets.copy()
    unknown[:90, 1] = np.nan
    bare = replace(without_waveform(table), values=np.zeros_like(table.values))
    absent = replace(bare, tracks={"eeg": Track(("F3",), 200.0, np.full((120, 1, 20), np.nan, np.float32))})
    for wrong, reason in (
        (replace(table, targets=unknown), "'dbp' is unknown"),
        (bare, "no signal, and no feature"),
        (absent, "no window of the training part has any channel of the track eeg"),
    ):
        fitted = fit_nearest(wrong, rows)
        assert reason in fitted.reason
        assert fitted.answer(wrong, rows) is None
        assert np.array_equal(fitted.fitted_rows, rows)


def test_unknown_targets_and_a_single_subject_are_no_obstacle() -> None:
    table = make_table()
    targets = table.targets.copy()
    targets[:80, 1] = np.nan
    partial = replace(table, targets=targets)
    answer = fit_nearest(partial, np.arange(90)).answer(partial, np.arange(90, 120))
    assert answer is not None
    assert np.isfinite(answer.estimate).all()
    alone = fit_nearest(table, np.arange(10))
    assert alone.votes["sbp"].k == 45
    told = alone.answer(table, np.arange(20))
    assert told is not None
    assert np.isfinite(told.estimate).all()
