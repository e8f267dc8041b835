"""Sample entropy and DFA against their definitions, pair by pair and box by box."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from biosig_mtl.features.hrv_nonlinear import DFA_LEAST, ENTROPY_LEAST, SCALES, alpha1, sample_entropy
from biosig_mtl.types import F64, I64


def padded(*series: F64) -> tuple[F64, I64]:
    count = np.array([x.size for x in series], np.int64)
    out = np.full((len(series), int(count.max()) + 3), np.nan)
    for row, x in zip(out, series, strict=True):
        row[: x.size] = x
    return out, count


def entropy_by_pairs(x: F64) -> float:
    """Return −ln(A / B) counted over all pairs of templates."""
    limit, last = 0.2 * np.std(x, ddof=1), x.size - 2
    near = [[max(abs(x[i : i + m] - x[j : j + m])) <= limit for i in range(last) for j in range(i + 1, last)] for m in (2, 3)]
    return -math.log(sum(near[1]) / sum(near[0]))


def alpha_by_boxes(x: F64) -> float:
    profile = np.cumsum(x - x.mean())
    log_f = []
    for scale in SCALES:
        t = np.arange(scale)
        boxes = [profile[k : k + scale] for k in range(0, x.size - scale + 1, scale // 2)]
        square = [np.mean((y - np.polyval(np.polyfit(t, y, 1), t)) ** 2) for y in boxes]
        log_f.append(0.5 * math.log(np.mean(square)))
    return float(np.polyfit(np.log(SCALES), log_f, 1)[0])


@pytest.fixture(scope="module")
def series() -> tuple[F64, ...]:
    rng = np.random.default_rng(8)
    slow = np.cumsum(rng.normal(size=150)) * 0.01
    return 0.8 + 0.05 * rng.normal(size=130), 0.9 + slow, 0.7 + 0.03 * np.sin(np.arange(110) / 3)


def test_sample_entropy_counts_pairs(series: tuple[F64, ...]) -> None:
    assert_allclose(sample_entropy(*padded(*series)), [entropy_by_pairs(x) for x in series], rtol=1e-12)


def test_alpha1_is_the_slope_over_boxes(series: tuple[F64, ...]) -> None:
    assert_allclose(alpha1(*padded(*series)), [alpha_by_boxes(x) for x in series], rtol=1e-8)


def test_noise_scales_with_a_half_and_its_sum_with_three_halves() -> None:
    noise = np.random.default_rng(1).normal(size=4000)
    made = alpha1(*padded(noise, np.cumsum(noise)))
    # Short boxes are known to read white noise too high.
    assert_allclose(made, [0.55, 1.5], atol=0.06)


def test_scale_and_offset_change_nothing(series: tuple[F64, ...]) -> None:
    moved = tuple(3 * x + 2 for x in series)
    for measure in (sample_entropy, alpha1):
        assert_allclose(measure(*padded(*moved)), measure(*padded(*series)), rtol=1e-9)


def test_neighbours_and_padding_change_no_bit(series: tuple[F64, ...]) -> None:
    for measure in (sample_entropy, alpha1):
        together = measure(*padded(*series))
        assert_array_equal(together, [measure(*padded(x))[0] for x in series])


def test_short_constant_and_no_series() -> None:
    rng = np.random.default_rng(2)
    short = padded(rng.normal(size=ENTROPY_LEAST - 1), rng.normal(size=DFA_LEAST - 1), np.empty(0))
    assert np.isnan(sample_entropy(*short)).all()
    assert np.isfinite(alpha1(*short)).tolist() == [True, False, False]
    flat = padded(np.full(200, 0.8))
    assert sample_entropy(*flat)[0] == 0
    assert np.isnan(alpha1(*flat)).all()
    for measure in (sample_entropy, alpha1):
        assert measure(np.empty((0, 1)), np.empty(0, np.int64)).shape == (0,)
