"""The estimators among those of scikit-learn: folds by person, nested search, pipelines, metadata."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from biosig_mtl.estimators import FeatureExtractor, SplitMergeClassifier, SplitMergeRegressor
from biosig_mtl.estimators import networks as at

SMALL: dict[str, Any] = {"width": 8, "epochs": 2, "random_state": 0}
Arrays = tuple[Any, Any, Any]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Return, filled by every fit, the people that were held back."""
    seen: list[set[int]] = []
    plain = at.train

    def watched(table: Any, rows: Any, *others: Any) -> Any:
        made = plain(table, rows, *others)
        learned = set(rows.unit[made.members[0].scaler.fitted_rows])
        assert rows.grouped
        assert not learned & set(made.unit)
        seen.append(set(made.unit))
        return made

    monkeypatch.setattr("biosig_mtl.estimators.joint.train", watched)
    return seen


def test_folds_by_person_with_groups_in_every_fit(people: Arrays, parts: list[set[int]]) -> None:
    X, y, groups = people
    found = cross_validate(
        SplitMergeRegressor(**SMALL), X, y, cv=GroupKFold(3), groups=groups, params={"groups": groups},
        scoring=("r2", "neg_mean_absolute_error"), return_train_score=True, error_score="raise",
    )  # fmt: skip
    assert len(found["test_r2"]) == len(parts) == 3
    # The targets are nearly linear in the features.
    assert found["test_r2"].min() > 0.5


def test_nested_search_by_person(people: Arrays, parts: list[set[int]]) -> None:
    X, y, groups = people
    with config_context(enable_metadata_routing=True):
        model = SplitMergeRegressor(**SMALL).set_fit_request(groups=True)
        search = GridSearchCV(model, {"width": [4, 8]}, cv=GroupKFold(2), error_score="raise")
        found = cross_validate(search, X, y, cv=GroupKFold(2), params={"groups": groups}, error_score="raise")
    assert np.isfinite(found["test_score"]).all()
    # Two folds, each with two widths on two inner folds and one last fit.
    assert len(parts) == 2 * (2 * 2 + 1)


def test_weights_and_groups_find_their_way_through_a_pipeline(people: Arrays, parts: list[set[int]]) -> None:
    X, y, groups = people
    holed = X.copy()
    holed[::7, 1] = np.nan
    with config_context(enable_metadata_routing=True):
        last = SplitMergeClassifier(**SMALL).set_fit_request(groups=True, sample_weight=True)
        scaled = StandardScaler().set_fit_request(sample_weight=False)
        line = make_pipeline(SimpleImputer(), scaled, last)
        line.fit(holed, y[:, 0] > 125, groups=groups, sample_weight=np.ones(len(X)))
    assert line.predict_proba(holed).shape == (60, 2)
    assert len(parts) == 1


@pytest.mark.slow  # two processes that import everything anew
def test_targets_are_turned_and_processes_used(people: Arrays) -> None:
    X, y, groups = people
    model = TransformedTargetRegressor(SplitMergeRegressor(**SMALL), func=np.log, inverse_func=np.exp)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of worker processes that are told to end
        one = cross_val_predict(model, X, y, cv=GroupKFold(2), groups=groups, n_jobs=1)
        two = cross_val_predict(model, X, y, cv=GroupKFold(2), groups=groups, n_jobs=2)
    np.testing.assert_array_equal(one, two)


def test_from_signals_to_estimates_in_one_line() -> None:
    rng = np.random.default_rng(0)
    rate = rng.uniform(1.0, 1.6, 24)
    t = np.arange(500) / 125
    beat = 2 * np.pi * rate[:, None] * t
    signals = (np.sin(beat) + 0.3 * np.sin(2 * beat + 1))[:, None]
    line = make_pipeline(FeatureExtractor(families=("rate",)).set_output(transform="pandas"), SplitMergeRegressor(**SMALL))
    groups = np.repeat(np.arange(12), 2)
    line.fit(signals, np.stack([60 * rate, rate], axis=1), splitmergeregressor__groups=groups)
    assert line[-1].feature_names_in_.tolist() == list(line[0].get_feature_names_out())
    assert np.abs(line.predict(signals)[:, 0] - 60 * rate).mean() < 6


def test_a_table_of_two_kinds_of_columns() -> None:
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(20, 4)), columns=["pulse.a", "pulse.b", "hr.mean", "hr.sd"], index=rng.permutation(20))
    y = pd.Series(np.where(X["hr.mean"] > 0, "high", "low"), index=X.index, name="rate")
    model = SplitMergeClassifier(**SMALL).fit(X, y)
    assert model.score(X, y) > 0.8
