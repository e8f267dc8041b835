"""From windows to trials: means of what is known, and nothing that windows did not say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biosig_mtl.evaluation import trials
from biosig_mtl.types import Head, Predictions

BINARY, FIVE = Head("binary", (5.0,)), Head("ordinal", (2.0, 4.0, 6.0, 8.0))


def windows(seed: int = 0, seeds: tuple[int, ...] = (0,)) -> Predictions:
    """Two subjects, three trials each, four windows a trial: valence as a number, arousal high or low."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(["a", "b"], 12)
    trial = np.array([f"{s}/1/clip{i // 4 % 3}" for i, s in enumerate(subject)])
    n = len(seeds)
    share = rng.random((24 * n, 1))
    arousal = np.tile(np.repeat(rng.integers(0, 2, 6), 4), n).astype(float)
    valence = np.tile(np.repeat(rng.uniform(1, 9, 6), 4), n)
    return Predictions(
        row=np.tile(np.arange(24), n), fold=np.tile(np.repeat([0, 1], 12), n), seed=np.repeat(np.array(seeds), 24),
        subject=np.tile(subject, n), onset_s=np.tile(np.arange(24) * 4.0, n), y_true=np.stack([valence, arousal], axis=1),
        y_pred=np.stack([valence + rng.normal(size=valence.size), (share[:, 0] > 0.5).astype(float)], axis=1),
        target_names=("valence", "arousal"), heads=(Head(), BINARY),
        probabilities={"arousal": np.concatenate([1 - share, share], axis=1)}, trial=np.tile(trial, n),
        stimulus=np.tile(np.array([t.rpartition("/")[2] for t in trial]), n),
    )  # fmt: skip


def test_a_trial_is_the_mean_of_its_windows() -> None:
    given_ = windows()
    got = trials.by_trial(given_)
    assert got.row.tolist() == [0, 4, 8, 12, 16, 20]
    assert got.trial.tolist() == given_.trial[::4].tolist()
    assert got.stimulus.tolist() == given_.stimulus[::4].tolist()
    np.testing.assert_allclose(got.y_pred[:, 0], given_.y_pred[:, 0].reshape(6, 4).mean(axis=1))
    np.testing.assert_allclose(got.y_true[:, 0], given_.y_true[::4, 0])
    shares = given_.probabilities["arousal"].reshape(6, 4, 2).mean(axis=1)
    np.testing.assert_allclose(got.probabilities["arousal"], shares)
    np.testing.assert_array_equal(got.y_true[:, 1], given_.y_true[::4, 1])
    same = given_.y_pred[:, 1].reshape(6, 4)
    agreed = same.min(axis=1) == same.max(axis=1)
    np.testing.assert_array_equal(got.y_pred[:, 1], np.where(agreed, same[:, 0], shares.argmax(axis=1)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_windows_does_not_matter(seed: int) -> None:
    given_ = windows(seed)
    order = np.random.default_rng(seed).permutation(24)
    one, two = trials.by_trial(given_), trials.by_trial(trials.select(given_, order))
    assert one.trial.tolist() == two.trial.tolist()
    np.testing.assert_allclose(one.y_pred, two.y_pred)
    np.testing.assert_allclose(one.probabilities["arousal"], two.probabilities["arousal"])


def test_a_trial_of_one_window_is_that_window() -> None:
    given_ = windows()
    alone = replace(given_, trial=np.array([f"{i:02d}" for i in range(24)]))
    got = trials.by_trial(alone)
    np.testing.assert_array_equal(got.y_pred, given_.y_pred)
    np.testing.assert_array_equal(got.y_true, given_.y_true)
    np.testing.assert_array_equal(got.probabilities["arousal"], given_.probabilities["arousal"])


def test_seeds_are_kept_apart() -> None:
    got = trials.by_trial(windows(seeds=(3, 7)))
    assert got.seed.tolist() == [3] * 6 + [7] * 6
    assert got.row.tolist() == [0, 4, 8, 12, 16, 20] * 2
    assert trials.facts(windows(seeds=(3, 7)), "valence") == trials.facts(windows(), "valence")


def test_two_people_who_saw_the_same_are_two_trials() -> None:
    given_ = windows()
    got = trials.by_trial(replace(given_, trial=given_.stimulus))
    assert got.row.size == 6


def test_what_is_unknown_does_not_count() -> None:
    given_ = windows()
    true = given_.y_true.copy()
    true[:2] = np.nan
    true[4:8, 1] = np.nan
    got = trials.by_trial(replace(given_, y_true=true))
    assert got.y_pred[0, 0] == pytest.approx(given_.y_pred[2:4, 0].mean())
    np.testing.assert_allclose(got.probabilities["arousal"][0], given_.probabilities["arousal"][2:4].mean(axis=0))
    np.testing.assert_array_equal(np.isnan(got.y_true), [[False, False], [False, True]] + [[False, False]] * 4)
    np.testing.assert_array_equal(np.isnan(got.y_pred), np.isnan(got.y_true))
    assert trials.facts(replace(given_, y_true=true), "arousal")["n_trials"] == 5


def test_windows_that_agree_decide_even_against_the_likeliest_class() -> None:
    """Answers drawn at random, all alike in a trial, are that trial's answer: the prior stands behind each of them."""
    given_ = windows()
    drawn = given_.y_pred.copy()
    drawn[:, 1] = np.repeat([0, 1, 1, 0, 1, 0], 4)
    prior = np.tile([0.7, 0.3], (24, 1))
    got = trials.by_trial(replace(given_, y_pred=drawn, probabilities={"arousal": prior}))
    assert got.y_pred[:, 1].tolist() == [0, 1, 1, 0, 1, 0]


def test_without_probabilities_windows_vote() -> None:
    given_ = windows()
    votes = given_.y_pred.copy()
    votes[:8, 1] = [0, 1, 1, 1, 1, 1, 0, 0]
    got = trials.by_trial(replace(given_, y_pred=votes, probabilities={}))
    assert got.y_pred[:2, 1].tolist() == [1, 0]
    assert got.probabilities == {}


def test_a_reference_that_varies_in_a_trial_is_counted() -> None:
    given_ = windows()
    true = given_.y_true.copy()
    true[:4, 1] = [0, 1, 1, 1]
    told = replace(given_, y_true=true)
    assert trials.by_trial(told).y_true[0, 1] == 1
    assert trials.facts(told, "arousal") == {"n_trials": 6, "windows_a_trial": 4.0, "trials_whose_reference_varies": 1}
    assert trials.facts(given_, "arousal")["trials_whose_reference_varies"] == 0


def test_classes_of_the_reference_are_counted_once() -> None:
    given_ = replace(windows(seeds=(0, 1)), heads=(FIVE, BINARY), probabilities={})
    true = given_.y_true.copy()
    true[:, 0] = 3.0
    true[0, 0] = np.nan
    shares = trials.reference_shares(replace(given_, y_true=true), "valence")
    assert dict(shares) == {"≤ 2": 0, "> 2 to 4": 0, "> 4 to 6": 0, "> 6 to 8": 23, "> 8": 0}


def test_trials_must_be_told() -> None:
    with pytest.raises(ValueError, match="trial of every window, got 0 for 24"):
        trials.by_trial(replace(windows(), trial=np.empty(0, dtype=str)))
