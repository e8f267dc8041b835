"""Skin conductance on a trail: its level, its slope, and the responses that ride on it."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.eda_parts import WORK_HZ, Responses, responses, smooth, tonic
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.trail_values import Stretch, on_trail, stretch
from biosig_mtl.types import F32, F64, Trail

# Level can be told at once; a slope and responses, of which there are one to three a minute at rest, need 20 s at the least.
LEAST_S = {
    "scl_mean_us": 4.0,
    "flat_share": 4.0,
    "scl_slope_us_per_min": 20.0,
    "scr_per_min": 20.0,
    "scr_amplitude_mean_us": 20.0,
    "scr_amplitude_sum_us_per_min": 20.0,
    "scr_rise_s": 20.0,
    "phasic_area_us_s_per_min": 20.0,
    "phasic_tonic_ratio": 20.0,
}
# A line without any change over this share of its seconds is a sensor without skin.
MOST_FLAT = 0.9
# Slower sensors do not show the rise of a response, which takes 1 to 3 s.
LEAST_HZ = 2.0


def eda(inputs: Inputs) -> dict[str, F32]:
    """Return skin conductance of the trail ``settings.eda`` of every window, each of shape (window,).

    Units are those of a trail in µS. Trails of a higher rate are averaged down to 4 Hz or a little more, which is the rate of
    wearables: nothing here needs more, and every rate from 2 Hz up is worked alike.

    - ``scl_mean_us`` and ``scl_slope_us_per_min``: mean and straight slope of the level. The slope is that of the tonic part.
    - ``scr_per_min``, ``scr_amplitude_mean_us`` (NaN where there is none), ``scr_amplitude_sum_us_per_min``, ``scr_rise_s``
      (mean, onset to peak): responses after the trough-to-peak rule, see `responses`.
    - ``phasic_area_us_s_per_min``: what lies above the tonic part, see `tonic`; ``phasic_tonic_ratio``: the mean of it over the
      mean of the tonic part.
    - ``flat_share``: share of the seconds in which nothing changes. Above 0.9 all else is NaN: no skin under the sensor.

    NaN as well where the trail is too short (`LEAST_S`), less than 80 % known since it began, or slower than 2 Hz (responses).
    Nothing is scaled by person or recording: that would use what comes later.
    Terms after Boucsein et al., Psychophysiology 49 (2012) 1017; rates are per minute of what is known of the trail.
    """
    return on_trail(inputs, "eda", "eda", LEAST_S, measures)


def measures(trail: Trail, rows: slice) -> dict[str, F64]:
    """Return all measures of some windows, however short, and the seconds that they know as ``long_s``."""
    known = stretch(trail.signal[rows], trail.fs, WORK_HZ)
    soft = smooth(known.values, known.fs)
    level = tonic(soft, known)
    found = responses(soft - level, known)
    minutes = np.maximum(known.begun.sum(axis=1), 1) / known.fs / 60
    above = np.where(known.begun, np.maximum(soft - level, 0), 0).sum(axis=1) / known.fs
    flat = _flat_share(known)
    columns = _rates(found, minutes) | {"phasic_area_us_s_per_min": above / minutes}
    if known.fs < LEAST_HZ:
        columns = {name: np.full(flat.shape, np.nan) for name in columns}
    under = np.where(known.begun, level, 0).sum(axis=1) / known.fs
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(under > 0, above / under, np.nan)
    columns |= {
        "scl_mean_us": known.mean(),
        "scl_slope_us_per_min": 60 * Stretch(known.fs, level, known.known, known.begun).slope(),
        "phasic_tonic_ratio": ratio if known.fs >= LEAST_HZ else np.full(flat.shape, np.nan),
    }
    live = flat <= MOST_FLAT
    columns = {name: np.where(live, value, np.nan) for name, value in columns.items()}
    return columns | {"flat_share": flat, "long_s": known.long_s}


def _rates(found: Responses, minutes: F64) -> dict[str, F64]:
    count = np.bincount(found.window, minlength=minutes.size)
    amplitude = np.bincount(found.window, found.amplitude, minutes.size)
    rise = np.bincount(found.window, found.rise_s, minutes.size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "scr_per_min": count / minutes,
            "scr_amplitude_mean_us": amplitude / count,
            "scr_amplitude_sum_us_per_min": amplitude / minutes,
            "scr_rise_s": rise / count,
        }


def _flat_share(known: Stretch) -> F64:
    """Return the share of known seconds within which all samples are equal; NaN where none is known throughout."""
    size = max(round(known.fs), 2)
    spare = known.values.shape[1] % size
    parts = known.values[:, spare:].reshape(len(known.values), -1, size)
    whole = known.known[:, spare:].reshape(len(known.values), -1, size).all(axis=2)
    still = whole & (parts.max(axis=2, initial=-np.inf) == parts.min(axis=2, initial=np.inf))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(still.sum(axis=1) / whole.sum(axis=1))
