"""A few people with known answers, and an estimator that was fitted on them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from biosig_mtl.estimators import SplitMergeRegressor

Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]


@pytest.fixture(scope="session")
def people() -> Arrays:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y = np.stack([125 + 10 * X[:, 0] + rng.normal(size=60), 75 + 5 * X[:, 1] + rng.normal(size=60)], axis=1)
    return X, y, np.repeat([f"p{k:02d}" for k in range(20)], 3)


@pytest.fixture(scope="session")
def fitted(people: Arrays) -> SplitMergeRegressor:
    X, y, groups = people
    return SplitMergeRegressor(width=8, epochs=4, random_state=0).fit(X, y, groups=groups)
