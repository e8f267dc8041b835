"""Likeness to neighbours against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl.signal.templates import BLOCKS, ENOUGH, dots, likeness, pulse, unit
from biosig_mtl.types import F32, F64


def made(count: int, seed: int = 0) -> F32:
    return unit(np.random.default_rng(seed).standard_normal((count, 12)).astype(np.float32))


def brute(rows: F32, weight: F32, block: np.ndarray[tuple[int], np.dtype[np.int64]], typical: F32) -> F64:
    out = np.zeros(len(rows))
    for i in range(len(rows)):
        near = (np.abs(block - block[i]) <= BLOCKS) & (np.arange(len(rows)) != i)
        mean = (rows[near].astype(np.float64) * weight[near, None]).sum(axis=0)
        mean += max(ENOUGH - float(weight[near].sum()), 0) * typical
        out[i] = rows[i] @ mean / np.linalg.norm(mean)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_likeness_is_the_correlation_with_the_weighted_mean_of_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, weight = made(60, seed), rng.uniform(0, 1, 60).astype(np.float32)
    block = np.sort(rng.integers(3, 30, 60))
    typical = made(1, 77)[0]
    assert np.allclose(likeness(rows, weight, block, typical), brute(rows, weight, block, typical), atol=2e-5)


def test_a_row_does_not_speak_for_itself() -> None:
    rows, block = made(20), np.zeros(20, np.int64)
    heavy = np.ones(20, np.float32)
    light = heavy.copy()
    light[7] = 0
    typical = made(1, 5)[0]
    first, second = likeness(rows, heavy, block, typical), likeness(rows, light, block, typical)
    assert first[7] == pytest.approx(second[7], abs=1e-5)
    assert np.abs(first - second).max() > 0.01
    # Alone, it is held against the typical one and not against itself.
    alone = likeness(rows[:1], heavy[:1], block[:1], typical)
    assert alone[0] == pytest.approx(float(rows[0] @ typical), abs=1e-6)


def test_equal_rows_are_alike_and_the_odd_one_is_not() -> None:
    shape, other = made(2, 3)
    rows = np.stack([shape] * 9 + [other])
    like = likeness(rows, np.ones(10, np.float32), np.zeros(10, np.int64), shape)
    assert (like[:9] > 0.9).all()
    assert like[9] == pytest.approx(float(shape @ other), abs=1e-5)


def test_blocks_farther_away_do_not_count() -> None:
    shape, other = made(2, 4)
    rows = np.stack([shape] * 5 + [other] * 5)
    weight, typical = np.ones(10, np.float32), made(1, 9)[0]
    far = likeness(rows, weight, np.repeat([0, BLOCKS + 1], 5), typical)
    near = likeness(rows, weight, np.repeat([0, BLOCKS], 5), typical)
    assert np.allclose(far, 1, atol=1e-5)
    assert (near < 0.999).all()


def test_the_last_bit_does_not_depend_on_what_lies_beyond_reach() -> None:
    rows, weight = made(300, 8), np.random.default_rng(8).uniform(0, 1, 300).astype(np.float32)
    block, typical = np.arange(300) // 6, made(1, 1)[0]
    whole = likeness(rows, weight, block, typical)
    for first, last in ((3, 20), (10, 49), (17, 31)):
        part = (block >= first) & (block <= last)
        sure = (block >= first + BLOCKS) & (block <= last - BLOCKS)
        assert np.array_equal(likeness(rows[part], weight[part], block[part], typical)[sure[part]], whole[sure])


def test_units_have_mean_zero_and_length_one_whatever_gain_and_offset() -> None:
    raw = np.random.default_rng(2).standard_normal((5, 30)).astype(np.float32)
    rows = unit(raw)
    assert np.allclose(rows.mean(axis=1), 0, atol=1e-6)
    assert np.allclose(dots(rows, rows), 1, atol=1e-5)
    assert np.allclose(unit(raw * 64 + 3), rows, atol=1e-4)
    assert (unit(np.full((2, 32), 4.0, np.float32)) == 0).all()


def test_nothing_gives_nothing() -> None:
    none = likeness(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64), np.ones(4, np.float32))
    assert none.shape == (0,)


def test_the_textbook_pulse_rises_where_it_says_and_falls_slower() -> None:
    row = pulse(100, 0.01, 0.3)
    assert abs(int(np.diff(row).argmax()) * 0.01 - 0.3) < 0.02
    assert np.diff(row).max() > 2 * -np.diff(row).min()
