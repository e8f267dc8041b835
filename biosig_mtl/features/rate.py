"""Pulse rate and its variability over one window, however short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.features.beat_intervals import Intervals, intervals
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32, F64, I64

# Variability of fewer intervals than this is not told.
LEAST_INTERVALS = 4


def rate(inputs: Inputs) -> dict[str, F32]:
    """Return heart rate per minute and its variability, each of shape (window,).

    Intervals are those between R peaks where they fill half of the window, otherwise those between pulse feet.
    ``hr.from_ecg`` tells which. Variability (SDNN with n − 1, RMSSD) needs four intervals; in a window of a few seconds it is
    a number about that window, not the clinical index, which asks for 5 min (Task Force of ESC and NASPE, Circulation 93
    (1996) 1043): see `hrv` for that one.
    """
    chosen = intervals(inputs)
    found = chosen.intervals
    seconds = by_window(found.seconds[None].astype(np.float32), found.window, inputs.count)
    known = basics(found, inputs.count)
    many = known.count >= LEAST_INTERVALS
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "hr.mean_per_min": 60 / known.mean_s,
            "hr.median_per_min": 60 / seconds.median[0],
            "hr.min_per_min": 60 / seconds.quantile(1.0)[0],
            "hr.max_per_min": 60 / seconds.quantile(0.0)[0],
            "hr.sdnn_s": np.where(many, known.sdnn_s, np.nan),
            "hr.rmssd_s": np.where(many, known.rmssd_s, np.nan),
            "hr.n_intervals": known.count,
            "hr.from_ecg": chosen.by_ecg,
        }
    return {name: value.astype(np.float32) for name, value in columns.items()}


@dataclass(frozen=True)
class Basics:
    """Numbers of the intervals of every window, each of shape (window,); NaN where there are too few.

    ``steps`` counts the pairs of intervals that follow each other.
    """

    count: I64
    mean_s: F64
    sdnn_s: F64
    steps: I64
    rmssd_s: F64


def basics(found: Intervals, windows: int) -> Basics:
    """Return count, mean, SD (n − 1) and root mean square of successive differences of the intervals of every window.

    Sums run from beat to beat in float64 and never over padding, so a window gives the same bits whatever stands beside it.
    """
    count = np.bincount(found.window, minlength=windows)
    change, window = steps(found)
    n_steps = np.bincount(window, minlength=windows)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(found.window, found.seconds, windows) / count
        square = np.bincount(found.window, (found.seconds - mean[found.window]) ** 2, windows)
        sdnn = np.sqrt(square / np.where(count > 1, count - 1, np.nan))
        rmssd = np.sqrt(np.bincount(window, change**2, windows) / n_steps)
    return Basics(count, mean, sdnn, n_steps, rmssd)


def steps(found: Intervals) -> tuple[F64, I64]:
    """Return the differences between intervals that follow each other, and their windows."""
    change = np.diff(found.seconds, prepend=np.nan)
    return change[found.follows], found.window[found.follows]
