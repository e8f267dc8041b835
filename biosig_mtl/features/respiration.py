"""Breathing on a trail: its rate, how even it is, and its depth."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.trail_values import Stretch, moving_mean, on_trail, stretch
from biosig_mtl.types import F32, F64, I64, Bool, Trail

LEAST_S = {"rate_per_min": 20.0, "amplitude": 20.0, "interval_cv": 30.0}
WORK_HZ = 8.0
# Breaths last from 1.2 s (50 a minute) to 15 s (4 a minute).
BREATH_S = (1.2, 15.0)
SMOOTH_S, TREND_S = 0.4, 12.0
# A breath must rise from below −HYSTERESIS to above +HYSTERESIS standard deviations: ripple does not count.
HYSTERESIS = 0.3
LEAST_BREATHS = {"rate_per_min": 2, "amplitude": 2, "interval_cv": 4}


def resp(inputs: Inputs) -> dict[str, F32]:
    """Return breathing of the trail ``settings.respiration`` of every window, each of shape (window,).

    Breaths are counted where the signal, less its mean over 12 s, rises through its middle, with hysteresis:
    ``resp.rate_per_min`` is 60 over the mean interval, ``resp.interval_cv`` the standard deviation (n − 1) of the intervals
    over their mean, ``resp.amplitude`` the mean over breaths of highest less lowest sample, in the unit of the trail. Neither
    offset nor gain changes the first two; a sensor that is upside down changes none by more than a breath at the ends.

    NaN where the trail is too short (`LEAST_S`), less than 80 % known since it began, flat, or intervals between 1.2 and 15 s
    fill less than half of it.
    """
    return on_trail(inputs, "respiration", "resp", LEAST_S, _columns)


def _columns(trail: Trail, rows: slice) -> dict[str, F64]:
    known = stretch(trail.signal[rows], trail.fs, WORK_HZ)
    count = len(known.values)
    soft = moving_mean(known.values, round(SMOOTH_S * known.fs) | 1)
    wave = soft - moving_mean(soft, round(TREND_S * known.fs) | 1)
    window, start, stop, seconds = _breaths(wave, known)
    n = np.bincount(window, minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(window, seconds, count) / n
        spread = np.sqrt(np.bincount(window, (seconds - mean[window]) ** 2, count) / np.where(n > 1, n - 1, np.nan))
        depth = np.bincount(window, _heights(soft, window, start, stop), count) / n
        columns = {"rate_per_min": 60 / mean, "interval_cv": spread / mean, "amplitude": depth}
    filled = np.bincount(window, seconds, count) >= 0.5 * known.long_s
    told = {name: np.where(filled & (n >= LEAST_BREATHS[name]), value, np.nan) for name, value in columns.items()}
    return told | {"long_s": known.long_s}


def _breaths(wave: F64, known: Stretch) -> tuple[I64, I64, I64, F64]:
    """Return window, first and last sample, and length in seconds of all plausible breaths."""
    samples = wave.shape[1]
    spread = np.sqrt(np.where(known.begun, wave**2, 0).sum(axis=1) / np.maximum(known.begun.sum(axis=1), 1))
    # What is below the rounding of the level is no breath.
    level = np.abs(np.where(np.isfinite(known.values), known.values, 0)).max(axis=1, initial=0)
    live = spread > 1e-6 * level
    edge = np.where(live, HYSTERESIS * spread, np.inf)[:, None]
    above: Bool = (wave > edge) & known.begun
    below: Bool = (wave < -edge) & known.begun
    place = np.maximum.accumulate(np.where(above | below, np.arange(samples), -1), axis=1)
    high = np.take_along_axis(above, np.maximum(place, 0), axis=1)
    low = np.take_along_axis(below, np.maximum(place, 0), axis=1) & (place >= 0)
    window, at = np.nonzero(high[:, 1:] & low[:, :-1])
    at = at + 1
    # The time at which the upper edge is crossed, between two samples.
    before, after = wave[window, at - 1], wave[window, at]
    part = (edge[window, 0] - before) / np.where(after > before, after - before, 1)
    when = (at - 1 + part) / known.fs
    seconds = np.diff(when)
    good = (window[1:] == window[:-1]) & (seconds >= BREATH_S[0]) & (seconds <= BREATH_S[1])
    return window[:-1][good], at[:-1][good], at[1:][good], seconds[good]


def _heights(x: F64, window: I64, start: I64, stop: I64) -> F64:
    """Return highest less lowest sample of every breath."""
    if not window.size:
        return np.empty(0)
    # Pairs of borders: every second piece is a breath, the others lie between two.
    borders = np.stack([window * x.shape[1] + start, window * x.shape[1] + stop], axis=1).ravel()
    flat = np.append(x.ravel(), 0.0)
    return np.asarray((np.maximum.reduceat(flat, borders) - np.minimum.reduceat(flat, borders))[::2])
