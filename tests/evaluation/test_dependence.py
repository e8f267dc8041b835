"""Dependence of splits: the number is the training's, the null is that of people who change places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biosig_mtl.evaluation.dependence import FEWEST, MOST, centred_kernels, dependence
from biosig_mtl.training.independence import standardise, uhsic


def names(people: int, per: int) -> np.ndarray:
    return np.repeat([f"s{i:03d}" for i in range(people)], per)


def standard(v: np.ndarray) -> np.ndarray:
    return np.asarray((v - v.mean(axis=1, keepdims=True)) / v.std(axis=1, keepdims=True))


def test_the_number_is_that_of_the_training() -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=(3, 90, 5))
    v[1] = 0.6 * v[0] + v[1]
    told = uhsic(standardise(torch.from_numpy(v))).numpy()
    kernels = centred_kernels(standard(v)).reshape(3, -1)
    np.testing.assert_allclose(kernels @ kernels.T, told, atol=2e-3)  # the medians of an even number differ a little
    assert told[0, 1] > 0.05


def test_independent_splits_have_any_p_and_copies_the_smallest() -> None:
    ps = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = dependence(rng.normal(size=(2, 40, 3)), names(20, 2), rng, permutations=39)
        assert found is not None
        ps.append(found.p[0, 1])
    assert np.mean(np.array(ps) <= 0.1) < 0.25
    assert 0.3 < np.mean(ps) < 0.7
    rng = np.random.default_rng(0)
    v = rng.normal(size=(1, 40, 3)).repeat(2, axis=0)
    found = dependence(v, names(20, 2), rng, permutations=39)
    assert found is not None
    assert found.p[0, 1] == found.p[1, 0] == 1 / 40
    assert found.uhsic[0, 1] == pytest.approx(1, abs=1e-5)
    assert found.null95[0, 1] < 0.3
    assert np.isnan(np.diag(found.p)).all()


def test_people_who_differ_are_no_dependence() -> None:
    # Both splits tell the person, by independent draws: windows look dependent, people are not.
    falsely, fairly = 0, 0
    for seed in range(25):
        rng = np.random.default_rng(seed)
        own = rng.normal(size=(2, 10, 2)).repeat(8, axis=1)
        v = standard(own + 0.3 * rng.normal(size=(2, 80, 2)))
        whole = dependence(v, names(10, 8), rng, permutations=39)
        # The same windows, said to be of one person: there windows change places.
        single = dependence(v, names(1, 80), rng, permutations=39)
        assert whole is not None
        assert single is not None
        assert (whole.permuted, whole.units, single.permuted, single.units) == ("subjects", 10, "windows", 80)
        fairly += int(whole.p[0, 1] <= 0.05)
        falsely += int(single.p[0, 1] <= 0.05)
    assert fairly <= 5
    assert falsely >= 12


def test_everybody_has_as_many_windows() -> None:
    rng = np.random.default_rng(0)
    subject = np.concatenate([names(30, 1), names(12, 9)])  # the first twelve have ten
    order = rng.permutation(subject.size)
    found = dependence(rng.normal(size=(2, subject.size, 2)), subject[order], rng, permutations=5)
    assert found is not None
    assert (found.units, found.windows) == (12, 120)
    many = dependence(rng.normal(size=(2, 3000, 2)), names(300, 10), rng, permutations=2)
    assert many is not None
    assert many.windows <= MOST
    assert many.units == 300
    crowd = dependence(rng.normal(size=(2, 1000, 2)), names(1000, 1), rng, permutations=2)
    assert crowd is not None
    assert crowd.units == crowd.windows == MOST


def test_the_order_of_windows_of_a_person_says_nothing_of_others() -> None:
    rng = np.random.default_rng(0)
    v = standard(rng.normal(size=(2, 60, 2)))
    a = dependence(v, names(20, 3), np.random.default_rng(1), permutations=9)
    b = dependence(v * 7.0, names(20, 3), np.random.default_rng(1), permutations=9)
    assert a is not None
    assert b is not None
    np.testing.assert_allclose(a.uhsic, b.uhsic, atol=1e-6)  # no scale
    np.testing.assert_array_equal(a.p, b.p)


def test_a_constant_split_depends_on_nothing() -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=(2, 40, 3))
    v[1] = 0.0
    found = dependence(v, names(20, 2), rng, permutations=9)
    assert found is not None
    assert found.uhsic[0, 1] == 0
    assert found.p[0, 1] == 1.0


def test_too_little_is_not_asked_and_nonsense_is_refused() -> None:
    rng = np.random.default_rng(0)
    assert dependence(rng.normal(size=(2, FEWEST - 1, 3)), names(1, FEWEST - 1), rng) is None
    with pytest.raises(ValueError, match="need a subject a window"):
        dependence(rng.normal(size=(2, 9, 3)), names(8, 1), rng)
    with pytest.raises(ValueError, match="permutations >= 1"):
        dependence(rng.normal(size=(2, 8, 3)), names(8, 1), rng, permutations=0)
