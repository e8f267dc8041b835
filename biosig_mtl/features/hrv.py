"""Pulse rate and its variability over one window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.summary import Sorted, by_window, pad
from biosig_mtl.types import F32, F64, I64, Bool, WindowBeats

# 30 to 200 beats a minute, the range of human rhythm at rest.
INTERVAL_S = (0.3, 2.0)
# Variability of fewer intervals than this is not told.
LEAST_INTERVALS = 4
# The ECG counts where its intervals fill this share of the window; else its beats are not to be trusted.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Intervals:
    """Intervals between beats, flat over windows in order of time; ``follows`` marks one that starts where the last ended."""

    window: I64
    seconds: F64
    follows: Bool


def rate(inputs: Inputs) -> dict[str, F32]:
    """Return heart rate per minute and its variability, each of shape (window,).

    Intervals are those between R peaks where they fill half of the window, otherwise those between pulse feet.
    ``hr.from_ecg`` tells which. Variability (SDNN with n − 1, RMSSD) needs four intervals; in a window of a few seconds it is
    a number about that window, not the clinical index, which asks for 5 min (Task Force of ESC and NASPE, Circulation 93
    (1996) 1043).
    """
    pulse = _pulse_intervals(inputs)
    found = inputs.beats.get(inputs.settings.ecg)
    ecg = _ecg_intervals(found) if found is not None else Intervals(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))
    covered = np.bincount(ecg.window, ecg.seconds, minlength=inputs.count)
    by_ecg = covered >= LEAST_SHARE * inputs.samples / inputs.fs
    chosen = _merge(ecg, pulse, by_ecg)
    seconds = by_window(chosen.seconds[None].astype(np.float32), chosen.window, inputs.count)
    n = seconds.count[0]
    mean_s = _mean(seconds)
    return {
        "hr.mean_per_min": 60 / mean_s,
        "hr.median_per_min": 60 / seconds.median[0],
        "hr.min_per_min": 60 / seconds.quantile(1.0)[0],
        "hr.max_per_min": 60 / seconds.quantile(0.0)[0],
        "hr.sdnn_s": _known(_deviation(seconds, mean_s), n),
        "hr.rmssd_s": _known(_successive(chosen, inputs.count), n),
        "hr.n_intervals": n.astype(np.float32),
        "hr.from_ecg": by_ecg.astype(np.float32),
    }


def _pulse_intervals(inputs: Inputs) -> Intervals:
    beats = inputs.pulse_beats
    return _plausible(beats.window, beats.period / beats.fs, beats.follows.copy())


def _ecg_intervals(beats: WindowBeats) -> Intervals:
    complete = beats.end > beats.onset
    seconds = np.where(complete, (beats.end - beats.onset) / beats.fs, 0.0)
    follows = np.zeros(len(beats), bool)
    follows[1:] = (beats.window[1:] == beats.window[:-1]) & (beats.onset[1:] == beats.end[:-1])
    return _plausible(beats.window, seconds, follows)


def _plausible(window: I64, seconds: F64, follows: Bool) -> Intervals:
    good = (seconds >= INTERVAL_S[0]) & (seconds <= INTERVAL_S[1])
    follows[1:] &= good[:-1]
    return Intervals(window[good], seconds[good], follows[good])


def _merge(ecg: Intervals, pulse: Intervals, by_ecg: Bool) -> Intervals:
    """Take the intervals of each window from its source, in order of window."""
    take_ecg, take_pulse = by_ecg[ecg.window], ~by_ecg[pulse.window]
    window = np.concatenate([ecg.window[take_ecg], pulse.window[take_pulse]])
    order = np.argsort(window, kind="stable")
    seconds = np.concatenate([ecg.seconds[take_ecg], pulse.seconds[take_pulse]])
    follows = np.concatenate([ecg.follows[take_ecg], pulse.follows[take_pulse]])
    return Intervals(window[order], seconds[order], follows[order])


def _mean(seconds: Sorted) -> F32:
    total = np.where(np.isfinite(seconds.values[0]), seconds.values[0], 0).sum(axis=-1)
    n = seconds.count[0]
    return np.asarray(np.where(n > 0, total / np.maximum(n, 1), np.nan), dtype=np.float32)


def _deviation(seconds: Sorted, mean_s: F32) -> F32:
    values = seconds.values[0]
    square = np.where(np.isfinite(values), (values - mean_s[:, None]) ** 2, 0).sum(axis=-1)
    return np.asarray(np.sqrt(square / np.maximum(seconds.count[0] - 1, 1)), dtype=np.float32)


def _successive(found: Intervals, windows: int) -> F32:
    """Return the root mean square of successive differences, NaN where no two intervals follow each other."""
    change = np.diff(found.seconds, prepend=np.nan)[found.follows]
    padded = pad(change[None].astype(np.float32), found.window[found.follows], windows)[0]
    known = np.isfinite(padded)
    n = known.sum(axis=-1)
    square = np.where(known, padded, 0) ** 2
    return np.where(n > 0, np.sqrt(square.sum(axis=-1) / np.maximum(n, 1)), np.nan).astype(np.float32)


def _known(values: F32, n: I64) -> F32:
    return np.asarray(np.where(n >= LEAST_INTERVALS, values, np.nan), dtype=np.float32)
