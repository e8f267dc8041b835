"""What is known of the person."""

from __future__ import annotations

import math

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32

BODY = ("age_years", "sex_male", "height_cm", "weight_kg", "bmi")


def person(inputs: Inputs) -> dict[str, F32]:
    """Return age, sex, height, weight and body mass index, NaN where unknown, each with a ``.missing`` column of 0 or 1."""
    known = {name: float(inputs.demographics.get(name, math.nan)) for name in BODY}
    height_m = known["height_cm"] / 100
    if math.isnan(known["bmi"]) and height_m > 0:
        known["bmi"] = known["weight_kg"] / height_m**2
    out = {}
    for name, value in known.items():
        out[f"person.{name}"] = np.full(inputs.count, value, np.float32)
        out[f"person.{name}.missing"] = np.full(inputs.count, not math.isfinite(value), np.float32)
    return out


def stiffness(inputs: Inputs) -> dict[str, F32]:
    """Return the stiffness index in m/s: body height over the time from systolic to diastolic peak, shape (window,).

    Millasseau et al., Clin. Sci. 103 (2002) 371. A family of its own: it carries the height of the person, so a run
    without demographics leaves it out, and it carries the pulse, so it is no demographics either.
    """
    beats = inputs.pulse_beats
    delay_s = (beats.points["diastolic"] - beats.peak) / beats.fs
    delay_s = np.where(delay_s > 0, delay_s, np.nan)
    height_m = float(inputs.demographics.get("height_cm", math.nan)) / 100
    index = (height_m / delay_s)[None].astype(np.float32)
    return {"stiffness.index_m_per_s": by_window(index, beats.window, inputs.count).median[0]}
