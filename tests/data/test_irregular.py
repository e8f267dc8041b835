"""Irregular readings: what a question may look at, that nobody else is looked at, and that the simulated truth is the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.data.irregular import VITALS, History, Irregular, SimulatedVitals, observations, simulated_vitals
from biosig_mtl.types import DataError, WindowTable

WINDOW_S, STRIDE_S, MANY = 60.0, 30.0, 40
FEATURES = ("hr.mean", "temp.mean")


def make_table(people: int = 2, *, missing: float = 0.0, seed: int = 0) -> WindowTable:
    """Return windows in which a value tells whose it is and when: hr = 1000 · person + number of the window."""
    rng = np.random.default_rng(seed)
    onset = np.tile(np.arange(MANY) * STRIDE_S, people)
    person = np.repeat(np.arange(people), MANY)
    values = np.stack([1000.0 * person + onset / STRIDE_S, 30.0 + onset / 1000.0], axis=1).astype(np.float32)
    values[rng.random(values.shape) < missing] = np.nan
    named = np.array([f"s{p}" for p in person])
    index = pd.DataFrame(
        {"subject": named, "session": "1", "record": named, "stimulus": "", "onset_s": onset, "end_s": onset + WINDOW_S}
    )
    n = len(index)
    targets = (1000.0 * person + 0.5 * onset)[:, None].astype(np.float32)
    return WindowTable(index, values, FEATURES, np.zeros((n, 0, 0), np.float32), (), 4.0, targets, ("sbp",))


def of(data: Irregular, number: int) -> tuple[Any, Any, Any]:
    keep = data.valid[number]
    return data.values[number, keep], data.times_s[number, keep], data.channel[number, keep]


# -------------------------------------------------------------------------------------------------------------- questions
def test_a_forecast_sees_the_past_up_to_the_gap() -> None:
    data = observations(make_table(), FEATURES, History(before_s=300.0, gap_s=120.0))
    assert data.times_s[data.valid].max() == -120.0
    assert data.times_s[data.valid].min() == -300.0
    last = len(data) - 1
    values, times_s, channel = of(data, last)
    assert data.target[last] == 1000.0 + MANY - 1
    # A window later is one more: the readings say when they were read.
    assert values[channel == 0] == pytest.approx(data.target[last] + times_s[channel == 0] / STRIDE_S)


def test_a_fill_sees_both_sides_and_asks_only_where_both_are_known() -> None:
    data = observations(make_table(1), ("hr.mean",), History(before_s=180.0, gap_s=90.0, after_s=150.0))
    assert set(np.round(data.times_s[data.valid])) == {-180.0, -150.0, -120.0, -90.0, 90.0, 120.0, 150.0}
    assert all((of(data, i)[1] < 0).any() and (of(data, i)[1] > 0).any() for i in range(len(data)))
    assert data.row.min() == 3
    assert data.row.max() == MANY - 1 - 3


def test_nobody_else_is_looked_at_and_nothing_of_other_records() -> None:
    table = make_table(3)
    table.index.loc[table.index.index >= 2 * MANY + 20, "record"] = "another"
    data = observations(table, ("hr.mean",), History(before_s=1e6))
    for i in range(len(data)):
        assert set(of(data, i)[0] // 1000) == {data.target[i] // 1000}
    later = data.row >= 2 * MANY + 20
    assert np.all(data.values[later][data.valid[later]] % 1000 >= 20)
    assert list(data.subject) == list(table.subject[data.row])


def test_missing_readings_are_no_readings_and_no_questions() -> None:
    table = make_table(missing=0.4)
    data = observations(table, FEATURES, History())
    assert np.isfinite(data.values).all()
    assert np.isfinite(data.target).all()
    assert np.isfinite(table.values[data.row, 0]).all()
    assert len(np.unique(data.valid.sum(1))) > 5
    full = observations(make_table(), FEATURES, History())
    assert data.valid.sum() / len(data) < 0.8 * full.valid.sum() / len(full)


def test_rarer_readings_are_apart_and_counted_from_the_question() -> None:
    data = observations(make_table(1), ("hr.mean",), History(before_s=900.0, gap_s=60.0, after_s=900.0, every_s=280.0))
    asked = int(np.flatnonzero(data.row == 22)[0])
    assert sorted(of(data, asked)[1]) == [-660.0, -360.0, -60.0, 60.0, 360.0]
    for i in range(len(data)):
        times_s = of(data, i)[1]
        for side in (times_s[times_s < 0], times_s[times_s > 0]):
            assert np.abs(side).min() == 60.0
            assert np.all(np.diff(np.sort(side)) >= 280.0)


def test_questions_can_be_rarer_and_the_nearest_readings_are_kept() -> None:
    data = observations(make_table(1), FEATURES, History(before_s=600.0, ask_every_s=150.0, most=6))
    assert np.all(np.diff(data.row) == 5)
    assert data.valid.sum(1).max() == 6
    assert sorted(set(of(data, len(data) - 1)[1])) == [-120.0, -90.0, -60.0]


@pytest.mark.parametrize("after_s", [0.0, 300.0])
def test_what_is_kept_has_the_own_channel_on_every_side(after_s: float) -> None:
    # Few readings are kept and most of them are of the other channel: a question with none of its own would have no last value.
    table = make_table(2)
    table.values[np.random.default_rng(1).random(len(table)) < 0.6, 0] = np.nan
    data = observations(table, FEATURES, History(before_s=600.0, after_s=after_s, most=4))
    assert data.valid.sum(1).max() == 4
    own = data.valid & (data.channel == 0)
    assert np.all((own & (data.times_s < 0)).any(1))
    assert not after_s or np.all((own & (data.times_s > 0)).any(1))
    assert len(data) < len(observations(table, FEATURES, History(before_s=600.0, after_s=after_s)))


def test_targets_can_be_asked_for_and_people_chosen() -> None:
    table = make_table(3)
    data = observations(table, ("sbp", "hr.mean"), History(), {"s2", "s0"})
    assert set(data.subject) == {"s0", "s2"}
    assert data.target == pytest.approx(table.targets[data.row, 0])
    assert data.channels == ("sbp", "hr.mean")


def test_the_order_of_windows_does_not_matter() -> None:
    table = make_table(2)
    order = np.random.default_rng(0).permutation(len(table))
    mixed = replace(
        table, index=table.index.iloc[order].reset_index(drop=True), values=table.values[order], targets=table.targets[order]
    )
    data, other = (observations(t, FEATURES, History(before_s=200.0)) for t in (table, mixed))
    by = [np.argsort(d.target) for d in (data, other)]
    assert np.array_equal(data.values[by[0]], other.values[by[1]])
    assert np.array_equal(data.times_s[by[0]], other.times_s[by[1]])


def test_errors_say_what_to_do() -> None:
    table = make_table()
    with pytest.raises(DataError, match="'pulse' is neither a target nor a feature"):
        observations(table, ("pulse",), History())
    with pytest.raises(DataError, match="gap_s 30: a window has 60 s"):
        observations(table, FEATURES, History(gap_s=30.0))
    with pytest.raises(DataError, match=r"no window has known readings around it"):
        observations(table, FEATURES, History(before_s=1e6, gap_s=1e6))


@pytest.mark.parametrize("wrong", [{"gap_s": 0.0}, {"gap_s": 1300.0}, {"after_s": 10.0}, {"every_s": -1.0}, {"most": 0}])
def test_odd_histories_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        History(**wrong)


# ---------------------------------------------------------------------------------------------------------------- scaling
def test_scaled_readings_have_mean_0_and_sd_1_and_go_back() -> None:
    data = simulated_vitals(SimulatedVitals(n_subjects=5), 0)
    mean, scale = data.scale()
    scaled = data.scaled(mean, scale)
    assert scaled.scale()[0] == pytest.approx(np.zeros(3), abs=1e-12)
    assert scaled.scale()[1] == pytest.approx(np.ones(3))
    back = scaled.scaled(-mean / scale, 1.0 / scale)
    assert back.values == pytest.approx(data.values)
    assert back.target == pytest.approx(data.target)
    assert data.truth is not None
    assert back.truth == pytest.approx(data.truth)


def test_a_channel_that_never_varies_or_is_never_read_keeps_its_unit() -> None:
    table = make_table(1)
    table.values[:, 1] = 36.0
    still = observations(table, FEATURES, History())
    assert still.scale()[1][1] == 1.0
    table.values[:, 1] = np.nan
    mean, scale = observations(table, FEATURES, History()).scale()
    assert (mean[1], scale[1]) == (0.0, 1.0)
    assert still.scaled(mean, scale).truth is None


def test_rows_are_rows() -> None:
    data = simulated_vitals(SimulatedVitals(n_subjects=4), 0)
    part = data.rows(data.subject == "s002")
    assert len(part) == 5
    assert part.truth is not None
    assert observations(make_table(1), FEATURES, History()).rows(np.array([2, 0])).row.tolist() == [4, 2]


# --------------------------------------------------------------------------------------------------------------- simulated
def test_a_cuff_reads_both_pressures_and_the_wrist_loses_some() -> None:
    s = SimulatedVitals(n_subjects=60, lost=0.5)
    data = simulated_vitals(s, 1)
    assert data.channels == VITALS
    for i in range(10):
        values, times_s, channel = of(data, i)
        assert len(values)
        assert np.array_equal(times_s[channel == 0], times_s[channel == 1])
        gaps = -np.diff(times_s[channel == 0])
        assert np.all((gaps >= s.cuff_s[0]) & (gaps <= s.cuff_s[1]))
    assert data.times_s[data.valid].max() == pytest.approx(-s.gap_s, abs=1e-9)
    wrist = simulated_vitals(replace(s, lost=0.0), 1)
    share = (data.channel[data.valid] == 2).sum() / (wrist.channel[wrist.valid] == 2).sum()
    assert share == pytest.approx(0.5, abs=0.03)


def test_the_truth_has_the_covariance_that_is_told() -> None:
    s = SimulatedVitals(n_subjects=6000, questions=1, before_s=700.0)
    data = simulated_vitals(s, 2)
    assert data.truth is not None
    assert data.truth.mean(0) == pytest.approx(s.mean, abs=0.8)
    assert np.cov(data.truth.T) == pytest.approx(s.between(), rel=0.1, abs=3.0)
    # The reading is the truth with noise, and its covariance with one of 600 s ago is the kernel's.
    assert (data.target - data.truth[:, 0]).std() == pytest.approx(s.noise_sd[0], rel=0.05)
    expected = s.sd[0] ** 2 * (s.level + (1 - s.level) * np.exp(-600.0 / s.length_s))
    assert np.all(data.channel[:, 0] == 0)
    assert np.cov(data.values[:, 0], data.truth[:, 0])[0, 1] == pytest.approx(expected, rel=0.06)


def test_people_keep_their_level() -> None:
    s = SimulatedVitals(n_subjects=1500, questions=2)
    truth = simulated_vitals(s, 3).truth
    assert truth is not None
    pairs = truth[:, 0].reshape(-1, 2)
    assert np.cov(pairs.T)[0, 1] == pytest.approx(s.level * s.sd[0] ** 2, rel=0.1)


def test_all_chance_is_the_seeds() -> None:
    s = SimulatedVitals(n_subjects=3)
    assert np.array_equal(simulated_vitals(s, 1).values, simulated_vitals(s, 1).values)
    assert not np.array_equal(simulated_vitals(s, 1).target, simulated_vitals(s, 2).target)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_subjects": 0}, {"gap_s": 7200.0}, {"cuff_s": (10.0, 5.0)}, {"lost": 1.0}, {"level": 1.0},
        {"correlation": (0.99, 0.99, -0.99)},
    ],
)  # fmt: skip
def test_odd_simulations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        SimulatedVitals(**wrong)
