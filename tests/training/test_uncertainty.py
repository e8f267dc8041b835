"""Spread of answers: dropout and nothing else, the seed's and nobody else's; and coverage that is counted by person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from biosig_mtl.models import build
from biosig_mtl.models.hard_sharing import HardSharingSettings
from biosig_mtl.models.split_merge import SplitMergeSettings
from biosig_mtl.training import Scaler, predict, spec_of
from biosig_mtl.training.checkpoint import Member
from biosig_mtl.training.uncertainty import (
    LEVELS,
    Spread,
    calibration,
    coverage,
    predict_ensemble,
    predict_mc,
    residual_sd,
    spread_of,
)
from biosig_mtl.types import F64, DataError, RecipeError, WindowTable

MakeTable = Callable[..., WindowTable]
Given = tuple[WindowTable, Scaler]


@pytest.fixture
def given(make_table: MakeTable) -> Given:
    table = make_table()
    return table, Scaler.fit(table, np.arange(60))


def network(table: WindowTable, seed: int = 0, dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(seed)
    model = build(
        "split_merge", SplitMergeSettings(width=16, heads=1, dropout=dropout, mask_normaliser="noise"), spec_of(table)
    )
    return model.eval()


ROWS = np.arange(60, 80)


# --------------------------------------------------------------------------------------------------------------- MC dropout
def test_passes_spread_about_a_mean_and_are_those_of_the_seed(given: Given) -> None:
    table, scaler = given
    model = network(table)
    first, same, other = (predict_mc(model, table, ROWS, scaler, passes=12, seed=seed) for seed in (3, 3, 4))
    assert first.mean.shape == first.sd.shape == (20, 2)
    assert first.quantiles.shape == (len(LEVELS), 20, 2)
    assert (first.sd > 0).all()
    assert (np.diff(first.quantiles, axis=0) >= 0).all()
    for name in ("mean", "sd", "quantiles"):
        assert np.array_equal(getattr(first, name), getattr(same, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


def test_more_dropout_spreads_more_and_the_mean_stays_near(given: Given) -> None:
    table, scaler = given
    little, much = (predict_mc(network(table, dropout=share), table, ROWS, scaler, 60) for share in (0.02, 0.4))
    assert (little.sd.mean(axis=0) < 0.5 * much.sd.mean(axis=0)).all()
    plain = predict(network(table), table, ROWS, scaler)
    assert np.abs(little.mean - plain).mean() < little.sd.mean()


def test_only_dropout_is_on(given: Given) -> None:
    table, scaler = given
    model = network(table)
    seen: set[tuple[str, bool]] = set()
    model.register_forward_pre_hook(lambda net, _: seen.update((type(m).__name__, m.training) for m in net.modules()))
    predict_mc(model, table, ROWS, scaler, passes=2)
    assert {name for name, on in seen if on} == {"Dropout", "Dropout1d", "FeatureDropout"}
    assert ("SplitMerge", False) in seen
    assert not any(module.training for module in model.modules())


def test_networks_are_left_as_they_were_and_so_is_chance(given: Given) -> None:
    table, scaler = given
    model = network(table)
    before, state = predict(model, table, ROWS, scaler), torch.get_rng_state()
    predict_mc(model, table, ROWS, scaler, passes=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(predict(model, table, ROWS, scaler), before)
    wrong = replace(table, values=table.values[:, :3], names=table.names[:3])
    with pytest.raises(DataError, match="feature"):
        predict_mc(model, wrong, ROWS, scaler, passes=3)
    assert not any(module.training for module in model.modules())


def test_networks_that_fail_on_the_way_are_left_in_evaluation(given: Given) -> None:
    table, scaler = given
    model = network(table)

    def fail(*_: object) -> None:
        raise RuntimeError("stop")

    model.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="stop"):
        predict_mc(model, table, ROWS, scaler, passes=2)
    assert not any(module.training for module in model.modules())


def test_of_several_networks_all_passes_count_alike(given: Given) -> None:
    table, scaler = given
    one, two = network(table, 0), network(table, 1)
    both = predict_mc([one, two], table, ROWS, scaler, passes=8, seed=5)
    alone = [predict_mc(model, table, ROWS, scaler, passes=8, seed=5 + k) for k, model in enumerate((one, two))]
    assert both.mean == pytest.approx((alone[0].mean + alone[1].mean) / 2)
    assert (both.sd.mean(axis=0) > np.mean([spread.sd for spread in alone], axis=(0, 1))).all()


def test_a_network_without_dropout_is_refused(given: Given) -> None:
    table, scaler = given
    torch.manual_seed(0)
    model = build("hard_sharing", HardSharingSettings(width=16, dropout=0.0), spec_of(table))
    with pytest.raises(RecipeError, match=r"needs model\.dropout > 0"):
        predict_mc(model, table, ROWS, scaler)
    with pytest.raises(ValueError, match="need passes >= 2"):
        predict_mc(model, table, ROWS, scaler, passes=1)


# ----------------------------------------------------------------------------------------------------------------- ensembles
def test_an_ensemble_spreads_as_its_members_do(given: Given) -> None:
    table, scaler = given
    other = Scaler.fit(table, np.arange(30))
    members = [Member(f"m{k}", network(table, k), s) for k, s in enumerate((scaler, other, scaler))]
    spread = predict_ensemble(members, table, ROWS)
    each = np.stack([predict(m.model, table, ROWS, m.scaler) for m in members])
    assert np.array_equal(spread.mean, each.mean(axis=0))
    assert spread.sd == pytest.approx(each.std(axis=0, ddof=1))
    assert np.array_equal(spread.quantiles[2], np.median(each, axis=0))
    with pytest.raises(ValueError, match="S >= 2"):
        predict_ensemble(members[:1], table, ROWS)


# --------------------------------------------------------------------------------------------------------------- intervals
def normal(n: int = 40_000, sd: float = 3.0, noise: float = 0.0) -> tuple[Spread, F64, np.ndarray]:
    """Answers whose spread is the truth's: 200 people of equally many windows."""
    rng = np.random.default_rng(0)
    mean = rng.normal(120, 10, (n, 1))
    truth = mean + sd * rng.normal(size=(n, 1)) + noise * rng.normal(size=(n, 1))
    quantiles = np.empty((0, n, 1))
    return Spread(mean, np.full((n, 1), sd), (), quantiles), truth, np.arange(n) % 200


def test_intervals_of_a_right_spread_hold_what_they_say() -> None:
    spread, truth, subject = normal()
    for made in calibration(spread, truth, subject):
        assert made.coverage == pytest.approx([made.level], abs=0.01)
    # By hand: 95 % of a normal lies within 1.96 standard deviations.
    assert calibration(spread, truth, subject)[-1].width == pytest.approx([2 * 1.959964 * 3.0])


def test_without_the_noise_intervals_are_too_narrow_and_with_it_right() -> None:
    spread, truth, subject = normal(noise=4.0)
    narrow = calibration(spread, truth, subject)[2]
    assert narrow.coverage[0] < 0.75
    found = residual_sd(spread, truth, subject)
    assert found == pytest.approx([4.0], rel=0.03)
    right = calibration(spread, truth, subject, found)[2]
    assert right.coverage == pytest.approx([0.9], abs=0.01)
    assert right.width == pytest.approx(narrow.width * 5.0 / 3.0, rel=0.03)


def test_a_spread_that_is_too_wide_leaves_no_noise() -> None:
    spread, truth, subject = normal()
    assert residual_sd(replace(spread, sd=2 * spread.sd), truth, subject) == pytest.approx([0.0])


def test_coverage_counts_people_not_windows() -> None:
    truth = np.array([[0.0, 0.0], [0.0, np.nan], [0.0, np.nan], [9.0, np.nan], [0.0, np.nan]])
    low, high = np.full((5, 2), -1.0), np.full((5, 2), 1.0)
    subject = np.array(["a", "a", "a", "b", "b"])
    assert coverage(low, high, truth, subject) == pytest.approx([0.75, 1.0])
    assert np.isnan(coverage(low, high, np.full((5, 2), np.nan), subject)).all()
    assert coverage(truth, truth, truth, subject) == pytest.approx([1.0, 1.0])


def test_spread_of_answers_by_hand() -> None:
    spread = spread_of(np.array([1.0, 2.0, 6.0])[:, None, None], levels=(0.25, 0.5))
    assert spread.mean.item() == pytest.approx(3.0)
    assert spread.sd.item() == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    assert spread.quantiles.ravel() == pytest.approx([1.5, 2.0])
    with pytest.raises(ValueError, match="S >= 2"):
        spread_of(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="need 0 < level < 1"):
        spread.interval(1.0)
