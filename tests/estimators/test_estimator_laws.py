"""Laws of the estimators: what a fit may depend on, who is held back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from biosig_mtl.estimators import SplitMergeClassifier, SplitMergeRegressor, beside
from biosig_mtl.estimators.tables import Answers, rows_of
from biosig_mtl.types import RecipeError

SMALL: dict[str, Any] = {"width": 8, "epochs": 4, "random_state": 0}
Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]


# ----------------------------------------------------------------------------------------------------------- dependence
def test_the_order_of_rows_does_not_matter(people: Arrays, fitted: SplitMergeRegressor) -> None:
    X, y, groups = people
    mixed = np.random.default_rng(1).permutation(len(X))
    other = clone(fitted).fit(X[mixed], y[mixed], groups=groups[mixed])
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))


def test_another_seed_is_another_network(people: Arrays, fitted: SplitMergeRegressor) -> None:
    X, y, groups = people
    other = clone(fitted).set_params(random_state=1).fit(X, y, groups=groups)
    assert not np.allclose(other.predict(X), fitted.predict(X))


def test_fits_in_several_threads_are_those_of_one(people: Arrays, fitted: SplitMergeRegressor) -> None:
    X, y, groups = people
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: clone(fitted).fit(X, y, groups=groups).predict(X), range(3)))
    for one in made:
        np.testing.assert_array_equal(one, fitted.predict(X))


def test_persons_are_held_back_whole_and_scales_know_nothing_of_them(people: Arrays, fitted: SplitMergeRegressor) -> None:
    X, _, groups = people
    held = np.unique(fitted.fitted_.unit)
    scaler = fitted.members_[0].scaler
    # Persons are numbered in the order of their names.
    learned = ~np.isin(np.unique(groups, return_inverse=True)[1], held)
    assert len(held) == 4
    assert len(scaler.fitted_rows) == learned.sum() == 48
    low, high = np.quantile(X[learned], (0.01, 0.99), axis=0)
    np.testing.assert_allclose(scaler.feature_center, np.clip(X[learned], low, high).mean(axis=0), rtol=1e-6, atol=1e-9)


def test_without_groups_equal_rows_stay_together(people: Arrays) -> None:
    X, y, _ = people
    made = SplitMergeRegressor(**SMALL).fit(np.repeat(X, 3, axis=0), np.repeat(y, 3, axis=0))
    _, counts = np.unique(made.fitted_.unit, return_counts=True)
    assert set(counts) == {3}


@pytest.mark.parametrize("n", [4, 9])
def test_where_people_are_few_nobody_is_held_back(people: Arrays, n: int) -> None:
    X, y, _ = people
    made = SplitMergeRegressor(**SMALL).fit(X[:n], y[:n])
    assert len(made.members_[0].scaler.fitted_rows) == n
    assert len(made.history_) == SMALL["epochs"]


def test_nobody_is_held_back_where_a_target_would_be_lost(people: Arrays) -> None:
    X, y, groups = people
    known = y.copy()
    known[3:, 1] = np.nan  # of one person only
    made = SplitMergeRegressor(**SMALL, ensemble=5).fit(X, known, groups=groups)
    sizes = {len(member.scaler.fitted_rows) for member in made.members_}
    assert sizes == {48, 60}


def test_every_member_of_an_ensemble_holds_back_other_people(people: Arrays) -> None:
    X, y, groups = people
    made = SplitMergeRegressor(**SMALL, ensemble=5).fit(X, y, groups=groups)
    assert len(made.fitted_.unit) == len(X)
    assert len({m.scaler.feature_center.tobytes() for m in made.members_}) == 5
    assert {row["member"] for row in made.history_} == {0.0, 1.0, 2.0, 3.0, 4.0}


# --------------------------------------------------------------------------------------------------------------- weights
def test_whole_weights_are_counts(people: Arrays) -> None:
    X, y, _ = people
    counts = np.random.default_rng(2).integers(0, 4, len(X))
    weighed = SplitMergeRegressor(**SMALL).fit(X, y, sample_weight=counts)
    repeated = SplitMergeRegressor(**SMALL).fit(X.repeat(counts, axis=0), y.repeat(counts, axis=0))
    np.testing.assert_array_equal(weighed.predict(X), repeated.predict(X))


def test_other_weights_are_shares_and_zero_is_nothing(people: Arrays) -> None:
    X, y, groups = people
    # Two truths, of which one has nearly all of the weight.
    both, truth = np.concatenate([X, X]), np.concatenate([y, y + 100])
    weight = np.repeat([0.999, 0.001], len(X))
    made = SplitMergeRegressor(**SMALL).fit(both, truth, weight, np.tile(groups, 2))
    plain = SplitMergeRegressor(**SMALL).fit(both, truth, None, np.tile(groups, 2))
    assert np.abs(made.predict(X) - y).mean() < 10
    assert np.abs(plain.predict(X) - y).mean() > 30
    weight[len(X) :] = 0
    none = SplitMergeRegressor(**SMALL, validation=0).fit(both, truth, weight)
    assert len(none.members_[0].scaler.fitted_rows) == 2 * len(X)
    np.testing.assert_allclose(none.members_[0].scaler.target_mean, y.mean(axis=0))


def test_shares_are_kept_to_a_row() -> None:
    weight = np.random.default_rng(10).exponential(size=50)
    index = rows_of(np.arange(50.0)[:, None], Answers(np.zeros((50, 1)), ("y",)), weight, None, seed=0).index
    wanted = 100 * weight / weight.sum()
    assert len(index) in {99, 100, 101}
    assert (np.abs(np.bincount(index, minlength=50) - wanted) < 1).all()


def test_counts_beyond_measure_are_shares(people: Arrays) -> None:
    X, y, _ = people
    made = SplitMergeRegressor(**SMALL, validation=0).fit(X, y, sample_weight=np.full(len(X), 1000))
    assert len(made.members_[0].scaler.fitted_rows) == 2 * len(X)


# -------------------------------------------------------------------------------------------------------------- unknown
def test_unknown_targets_and_features_are_let_be(people: Arrays) -> None:
    X, y, groups = people
    some, partly = X.copy(), y.copy()
    some[::5, 2], partly[::2, 0], partly[1::4] = np.nan, np.nan, np.nan
    made = SplitMergeRegressor(**SMALL).fit(some, partly, groups=groups)
    assert np.isfinite(made.predict(some)).all()
    assert np.isfinite(made.score(some, partly))
    assert np.isfinite(made.score(some, partly, np.ones(len(X))))
    without = np.isfinite(partly).any(axis=1)
    same = SplitMergeRegressor(**SMALL).fit(some[without], partly[without], groups=groups[without])
    np.testing.assert_array_equal(same.predict(X), made.predict(X))


def test_unknown_classes_are_let_be() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 3))
    y = np.stack([np.where(X[:, 0] > 0, "high", "low"), np.where(X[:, 1] > 0, "yes", "no")], axis=1).astype(object)
    y[::4, 0] = None
    made = SplitMergeClassifier(**SMALL, balanced=True).fit(X, y)
    assert [list(c) for c in made.classes_] == [["high", "low"], ["no", "yes"]]
    assert made.predict(X).shape == (40, 2)
    assert [p.shape for p in made.predict_proba(X)] == [(40, 2), (40, 2)]
    assert not hasattr(made, "decision_function")
    flat = SplitMergeClassifier(**SMALL).fit(X, np.where(np.arange(40) % 4, X[:, 0] > 0, np.nan))
    assert list(flat.classes_) == [0.0, 1.0]


def test_numbers_may_be_known_of_many_classes() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 2))
    y = np.digitize(X[:, 0], (-0.5, 0.5))
    made = SplitMergeClassifier(width=8, epochs=30, random_state=0).fit(X, y)
    assert made.score(X, y) > 0.7
    np.testing.assert_array_equal(made.decision_function(X).argmax(axis=1), made.predict(X))
    np.testing.assert_allclose(np.sum(made.predict_proba(X), axis=1), 1)


# -------------------------------------------------------------------------------------------------------------- shapes
def test_waveforms_alone_and_beside_features(people: Arrays) -> None:
    _, _, groups = people
    rng = np.random.default_rng(5)
    rate = rng.uniform(1, 2, 60)
    waves = np.sin(2 * np.pi * rate[:, None] * np.arange(128) / 32)[:, None].repeat(2, axis=1)
    y = 100 + 40 * rate
    alone = SplitMergeRegressor(width=8, epochs=30, fs=32, random_state=0).fit(waves, y, groups=groups)
    assert alone.n_features_in_ == 2
    assert alone.score(waves, y) > 0.2
    assert alone.members_[0].model.settings.stride == 8  # a quarter of a second
    table = beside(rng.normal(size=(60, 3)), waves)
    both = SplitMergeRegressor(width=8, epochs=2, waveform_shape=(2, 128), stride=16).fit(table, y, groups=groups)
    spec: Any = both.members_[0].model.spec
    settings: Any = both.members_[0].model.settings
    assert (len(spec.features), spec.samples, settings.stride) == (3, 128, 16)
    frame = beside(pd.DataFrame(rng.normal(size=(60, 2)), columns=["pulse.a", "age"]), waves)
    named: Any = SplitMergeRegressor(width=8, epochs=2, waveform_shape=(2, 128)).fit(frame, y).members_[0].model.spec
    assert named.features == ("pulse.a", "x.age")


def test_names_of_columns_make_families_and_names_of_targets() -> None:
    rng = np.random.default_rng(6)
    X = pd.DataFrame(rng.normal(size=(30, 3)), columns=["pulse.rise_s", "pulse.width_s", "age"])
    y = pd.DataFrame({"sbp": 120 + 10 * X["age"], "dbp": 80 + X["pulse.rise_s"]})
    made = SplitMergeRegressor(**SMALL, model_options={"ordered": True}).fit(X, y)
    assert made.target_names_ == ("sbp", "dbp")
    assert made.feature_names_in_.tolist() == list(X)
    assert (np.diff(made.predict(X), axis=1) < 0).all()
    spec: Any = made.members_[0].model.spec
    assert list(spec.modalities) == ["pulse", "x"]


@pytest.mark.parametrize("word", ["hard_sharing", "mmoe", "single_task"])
def test_any_network_by_its_word(people: Arrays, word: str) -> None:
    X, y, groups = people
    made = SplitMergeRegressor(model=word, **SMALL, kernel_landmarks=10, training_options={"weighting": "sum"})
    assert made.fit(X, y, groups=groups).predict(X).shape == y.shape


# ---------------------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("words", "X", "y", "message"),
    [
        ({}, np.zeros((4, 2, 3, 5)), np.zeros(4), "need X of shape"),
        ({}, np.zeros((4, 2)), np.zeros((4, 0)), "need y of shape"),
        ({}, np.zeros((4, 2)), np.full(4, np.nan), "at least 2 rows"),
        ({}, np.zeros((4, 2)), np.array([[1.0, np.nan]] * 4), "target 'y1' is unknown in every row"),
        ({"waveform_shape": (2, 3)}, np.zeros((4, 5)), np.zeros(4), "2 x 3 columns of waveform"),
        ({"waveform_shape": (1, 5)}, np.zeros((4, 1, 5)), np.zeros(4), "waveform_shape=None"),
        ({}, np.full((4, 2, 8), np.nan), np.arange(4.0), "row 0: channel_0 of the waveform has NaN"),
        ({"ensemble": 0}, np.zeros((4, 2)), np.arange(4.0), "need ensemble >= 1"),
        ({"validation": 0.9}, np.zeros((4, 2)), np.arange(4.0), "validation <= 0.5"),
    ],
)
def test_what_cannot_be_learned_is_told(words: dict[str, Any], X: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplitMergeRegressor(**(SMALL | words)).fit(X, y)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model": "split_merg"}, "did you mean 'split_merge'"),
        ({"model_options": {"masks": "none at all"}}, "model_options"),
        ({"training_options": {"epoch": 3}}, "training_options"),
    ],
)
def test_a_wrong_word_is_answered(people: Arrays, words: dict[str, Any], message: str) -> None:
    X, y, _ = people
    with pytest.raises(RecipeError, match=message):
        SplitMergeRegressor(**(SMALL | words)).fit(X, y)


def test_rows_of_another_shape_are_refused() -> None:
    waves = np.random.default_rng(7).normal(size=(12, 1, 40))
    made = SplitMergeRegressor(**SMALL).fit(waves, np.arange(12.0))
    with pytest.raises(ValueError, match=r"rows of shape \(1, 40\)"):
        made.predict(waves[:, :, :30])


def test_one_class_cannot_be_told_apart(people: Arrays) -> None:
    with pytest.raises(ValueError, match="at least 2 classes of 'y0'"):
        SplitMergeClassifier(**SMALL).fit(people[0], np.ones(60, int))
