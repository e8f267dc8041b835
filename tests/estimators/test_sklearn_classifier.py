"""scikit-learn's own laws of an estimator, every one of them, on the classifier; settings smaller than usual for speed."""

from __future__ import annotations

from collections.abc import Callable

from sklearn.utils.estimator_checks import parametrize_with_checks

from biosig_mtl.estimators import SplitMergeClassifier


@parametrize_with_checks([SplitMergeClassifier(width=8, epochs=4)])
def test_the_grammar_of_scikit_learn(estimator: SplitMergeClassifier, check: Callable[[SplitMergeClassifier], None]) -> None:
    check(estimator)
