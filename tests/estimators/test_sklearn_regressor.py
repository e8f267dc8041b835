"""scikit-learn's own laws of an estimator, every one of them, on the regressor; settings smaller than usual for speed."""

from __future__ import annotations

from collections.abc import Callable

from sklearn.utils.estimator_checks import parametrize_with_checks

from biosig_mtl.estimators import SplitMergeRegressor


@parametrize_with_checks([SplitMergeRegressor(width=8, epochs=4)])
def test_the_grammar_of_scikit_learn(estimator: SplitMergeRegressor, check: Callable[[SplitMergeRegressor], None]) -> None:
    check(estimator)
