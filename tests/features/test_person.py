"""Demographics come with their missing flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import BLOOD_PRESSURE
from biosig_mtl.types import Windows

PERSON = FeatureSettings(families=("person", "stiffness"))
Maker = Callable[..., Windows]
Column = Callable[..., Any]


def test_known_values_and_computed_body_mass_index(simulate: Maker, pulse: Any, column: Column) -> None:
    made = extract(simulate(pulse), PERSON, BLOOD_PRESSURE)
    assert_allclose(column(made, "person.age_years"), 50)
    assert_allclose(column(made, "person.bmi"), 70 / 1.7**2, rtol=1e-6)
    assert (column(made, "person.bmi.missing") == 0).all()


def test_a_given_index_is_kept(simulate: Maker, pulse: Any, column: Column) -> None:
    windows = replace(simulate(pulse), demographics={"bmi": 31.0})
    made = extract(windows, PERSON, BLOOD_PRESSURE)
    assert_allclose(column(made, "person.bmi"), 31)
    assert (column(made, "person.height_cm.missing") == 1).all()


def test_unknown_is_missing_with_a_flag(simulate: Maker, pulse: Any, column: Column) -> None:
    made = extract(replace(simulate(pulse), demographics={"height_cm": 0.0, "sex_male": np.nan}), PERSON, BLOOD_PRESSURE)
    for name in ("age_years", "sex_male", "weight_kg", "bmi"):
        assert np.isnan(column(made, f"person.{name}")).all()
        assert (column(made, f"person.{name}.missing") == 1).all()


def test_stiffness_is_height_over_the_delay_of_the_reflection(simulate: Maker, pulse: Any, column: Column) -> None:
    known = pulse.times()
    windows = simulate(pulse)
    made = extract(windows, PERSON, BLOOD_PRESSURE)
    assert_allclose(column(made, "stiffness.index_m_per_s"), 1.7 / (known["diastolic"] - known["peak"]), rtol=0.01)
    unknown = extract(replace(windows, demographics={}), PERSON, BLOOD_PRESSURE)
    assert np.isnan(column(unknown, "stiffness.index_m_per_s")).all()
