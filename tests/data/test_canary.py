"""The canary: a split that shares trials finds what is not there, an honest one finds nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from biosig_mtl.data.canary import canary
from biosig_mtl.types import F64, I64, Bool, WindowTable


@pytest.fixture(scope="module")
def table() -> WindowTable:
    """Return a canary of the usual number of subjects and trials."""
    return canary(np.random.default_rng(0))


def nearest(table: WindowTable, train: I64, test: I64) -> I64:
    """Return the nearest training window of each test window."""
    a, b = table.values[test].astype(np.float64), table.values[train].astype(np.float64)
    return np.asarray(train[np.argmin((b**2).sum(axis=1) - 2 * a @ b.T, axis=1)])


def balanced_accuracy(true: Bool, told: Bool) -> float:
    """Return the mean of the shares found among high and among low."""
    return float((told[true].mean() + (~told[~true]).mean()) / 2)


def ccc(true: F64, told: F64) -> float:
    """Return Lin's concordance."""
    return float(2 * np.cov(true, told, ddof=0)[0, 1] / (true.var() + told.var() + (true.mean() - told.mean()) ** 2))


def score(table: WindowTable, part: I64) -> tuple[float, float]:
    """Return balanced accuracy and CCC of the nearest neighbour over all parts in turn (first target)."""
    told = np.full(len(table), np.nan)
    for k in np.unique(part):
        test = np.flatnonzero(part == k)[::5]
        told[test] = table.targets[nearest(table, np.flatnonzero(part != k), test), 0]
    known = ~np.isnan(told)
    true = table.targets[known, 0].astype(np.float64)
    return balanced_accuracy(true > 5, told[known] > 5), ccc(true, told[known])


def test_random_windows_score_and_honest_splits_do_not(table: WindowTable) -> None:
    """The figures of the design: over 0.9 with trials on both sides, chance where trials or people are apart."""
    accuracy, concordance = score(table, np.random.default_rng(1).integers(0, 10, len(table)))
    assert accuracy > 0.9
    assert concordance > 0.9
    _, trial = np.unique(table.trial, return_inverse=True)
    _, person = np.unique(table.subject, return_inverse=True)
    for part in (np.random.default_rng(2).permutation(trial.max() + 1)[trial] % 10, person):
        accuracy, concordance = score(table, part)
        assert 0.4 < accuracy < 0.6
        assert abs(concordance) < 0.15


def test_columns_are_those_of_a_store(table: WindowTable) -> None:
    """One record a trial, one rating a record, every window a name of its own."""
    index = table.index
    assert len(index) == 8 * 40 * 30 == len(table.values)
    assert index["window_id"].is_unique
    assert index["record"].nunique() == 320
    assert len(np.unique(table.trial)) == 320
    assert index.groupby("record")[["valence", "arousal"]].nunique().eq(1).all(axis=None)
    assert index["stimulus"].nunique() == 40
    assert (index["end_s"] > index["onset_s"]).all()
    assert np.isfinite(table.values).all()
    assert table.targets.min() >= 1
    assert table.targets.max() <= 9
    assert_array_equal(index[["valence", "arousal"]].to_numpy(), table.targets)


def test_the_same_seed_gives_the_same_canary() -> None:
    """Nothing but the generator decides."""
    first, again, other = (canary(np.random.default_rng(seed), 2, 3, 4, 5) for seed in (7, 7, 8))
    assert_array_equal(first.values, again.values)
    assert_array_equal(first.targets, again.targets)
    assert not np.array_equal(first.values, other.values)


def test_nothing_is_refused() -> None:
    """A cohort of nobody is an error."""
    with pytest.raises(ValueError, match="at least one of each"):
        canary(np.random.default_rng(0), subjects=0)
