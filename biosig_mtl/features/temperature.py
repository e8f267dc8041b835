"""Skin temperature on a trail."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.trail_values import on_trail, stretch
from biosig_mtl.types import F32, F64, Trail

LEAST_S = {"mean_degc": 4.0, "slope_degc_per_min": 20.0, "range_degc": 20.0}
WORK_HZ = 1.0


def temp(inputs: Inputs) -> dict[str, F32]:
    """Return skin temperature of the trail ``settings.temperature`` of every window, each of shape (window,).

    ``temp.mean_degc``, the slope of its least-squares line (``temp.slope_degc_per_min``), and highest less lowest mean of a
    second (``temp.range_degc``), all over what is known. NaN where the trail is too short (`LEAST_S`) or less than 80 % known
    since it began. A fingertip cools when its vessels narrow, within tens of seconds (Kistler et al., Int. J. Psychophysiol. 29
    (1998) 35); a wrist follows more slowly.
    """
    return on_trail(inputs, "temperature", "temp", LEAST_S, measures)


def measures(trail: Trail, rows: slice) -> dict[str, F64]:
    """Return all measures of some windows, however short, and the seconds that they know as ``long_s``."""
    known = stretch(trail.signal[rows], trail.fs, WORK_HZ)
    high = np.where(known.known, known.values, -np.inf).max(axis=1, initial=-np.inf)
    low = np.where(known.known, known.values, np.inf).min(axis=1, initial=np.inf)
    return {
        "mean_degc": known.mean(),
        "slope_degc_per_min": 60 * known.slope(),
        "range_degc": high - low,
        "long_s": known.long_s,
    }
