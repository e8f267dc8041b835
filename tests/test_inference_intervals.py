"""Laws of the intervals of a prediction: the rules of the run, old models too, and a refusal that loses nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from biosig_mtl.inference import Predictor
from biosig_mtl.training.conformal import Errors, Settings
from biosig_mtl.training.conformal_record import Intervals, fit_intervals, shift_inputs
from biosig_mtl.training.conformal_shift import fit_shift
from biosig_mtl.types import DataError, RecipeError

NAMES = ("sbp", "dbp")


class _Spec:
    targets = NAMES


class _Ensemble:
    spec = _Spec()


def predictor(intervals: Intervals | None, half: Any = (12.0, 7.0)) -> Predictor:
    nothing: Any = None
    networks: Any = _Ensemble()
    return Predictor(nothing, networks, np.array(half, float), "none", intervals)


def rules(edges: tuple[float, ...] = ()) -> Intervals:
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(40).astype(str), 3)
    estimate = rng.normal(120, 15, 120)
    truth = estimate + rng.normal(0, 4, 120) * np.where(estimate > 120, 4.0, 1.0)
    errors = Errors.of(subject, truth, estimate)
    return fit_intervals([errors, None], [Settings(scale="none", edges=edges)] * 2)


def frame(said: Any, made: Predictor) -> pd.DataFrame:
    estimates = np.asarray(said, float)
    low, high = made.bounds(estimates, np.ones(len(estimates)))
    columns: dict[str, Any] = {"record": "r", "onset_s": 8.0 * np.arange(len(estimates))}
    for j, name in enumerate(NAMES):
        columns |= {name: estimates[:, j], f"{name}_lower": low[:, j], f"{name}_upper": high[:, j]}
    return pd.DataFrame(columns)


def test_bounds_are_those_of_the_rules_and_wider_at_a_higher_level() -> None:
    made = rules()
    said, sqi = np.array([[118.0, 70.0], [160.0, 90.0]]), np.ones(2)
    for level in (0.8, 0.9):
        for mine, theirs in zip(
            predictor(made).bounds(said, sqi, level=level), made.bounds(said, sqi, level=level), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    narrow, wide = (np.diff(predictor(made).bounds(said, sqi, level=level), axis=0)[0, :, 0] for level in (0.8, 0.95))
    assert (wide > narrow).all()
    assert np.isnan(predictor(made).bounds(said, sqi)[0][:, 1]).all()


def test_an_old_model_has_one_half_width_and_no_other_level() -> None:
    old = predictor(None)
    low, high = old.bounds(np.array([[120.0, 70.0]]), np.ones(1))
    np.testing.assert_array_equal(low, [[108.0, 63.0]])
    np.testing.assert_array_equal(high, [[132.0, 77.0]])
    with pytest.raises(DataError, match="intervals of 90 % only; train the run again for 80 %"):
        old.bounds(np.array([[120.0, 70.0]]), np.ones(1), level=0.8)
    assert np.isnan(predictor(None, ()).bounds(np.array([[120.0, 70.0]]), np.ones(1))).all()


def test_a_run_of_a_transfer_weighs_a_window_by_its_inputs() -> None:
    rng = np.random.default_rng(1)
    made = rules()
    values = rng.normal(size=(120, 2))
    subject = np.repeat(np.arange(40).astype(str), 3)
    said = np.full((120, 2), 100.0)
    shift = fit_shift(shift_inputs(values, said, 1.0), subject, shift_inputs(values + 2.0, said, 1.0), subject)
    weighed = replace(made, shift=shift, level=0.8)
    near, far = values[:1] - 3.0, values[:1] + 5.0
    narrow, wide = (np.diff(predictor(weighed).bounds(said[:1], np.ones(1), inputs), axis=0)[0, 0, 0] for inputs in (near, far))
    assert wide > narrow


def test_what_is_unsure_is_refused_with_its_reason_and_nothing_is_lost() -> None:
    made = predictor(rules(edges=(120.0,)))
    given = frame([[100.0, 70.0], [150.0, 90.0], [110.0, 75.0], [155.0, 90.0]], made)
    halves = (given["sbp_upper"] - given["sbp_lower"]).to_numpy() / 2
    above = float(halves[[0, 1]].mean())
    kept, refused = made.refuse(given, above)
    assert kept["sbp"].tolist() == [100.0, 110.0]
    assert kept.index.tolist() == [0, 1]
    assert [(r.record, r.onset_s) for r in refused] == [("r", 8.0), ("r", 24.0)]
    assert {r.reason for r in refused} == {f"unsure: interval of sbp above ±{above:g}"}
    everything, none = made.refuse(given, 1000.0)
    pd.testing.assert_frame_equal(everything, given)
    assert none == []
    nothing, all_ = made.refuse(given, 0.001)
    assert len(nothing) == 0
    assert len(all_) == 4


def test_targets_without_intervals_have_no_say_in_refusing() -> None:
    given = pd.DataFrame({"record": ["r"], "onset_s": [0.0], "sbp": ["high"]})
    kept, refused = predictor(rules()).refuse(given, 5.0)
    assert len(kept) == 1
    assert refused == []
    for wrong in (0.0, -3.0, float("nan")):
        with pytest.raises(RecipeError, match="need a half-width > 0 above which to refuse"):
            predictor(rules()).refuse(given, wrong)
