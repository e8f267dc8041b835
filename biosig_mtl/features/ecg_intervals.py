"""Intervals and waves of the heart beat in the ECG, from the points that delineation found."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.beat_intervals import INTERVAL_S
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import at
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32, F64, WindowBeats

# What is outside is a point in the wrong place.
PLAUSIBLE_S = {"qrs": (0.04, 0.25), "qt": (0.2, 0.7), "pr": (0.06, 0.4)}
NAMES = ("qrs_s", "qt_s", "qtc_bazett_s", "qtc_fridericia_s", "pr_s", "t_r")
SPREAD = ("qrs_s", "qt_s", "pr_s")
COUNTED = ("qrs_s", "qt_s", "pr_s", "t_r")


def ecg_intervals(inputs: Inputs) -> dict[str, F32]:
    """Return QRS duration, QT, corrected QT, PR and T height, with range and count of beats, each of shape (window,).

    QRS from ``qrs_on`` to ``qrs_off``, QT from ``qrs_on`` to ``t_end``, PR from ``p_on`` to ``qrs_on``; QTc after Bazett
    (QT / √RR) and Fridericia (QT / ∛RR), RR in s being the interval before the beat, so the first beat of a window has none.
    ``t_r`` is the height of T over that of R, both above the level at ``qrs_on``. Times that no heart has (QRS outside
    40–250 ms, QT 200–700 ms, PR 60–400 ms) count as missing. Medians over beats; ``.iqr`` below three beats is NaN.

    Points are those of the ECG beats; what was not looked for is NaN with count 0.
    """
    beats, signal = inputs.beats.get(inputs.settings.ecg), inputs.signals.get(inputs.settings.ecg)
    if beats is None or signal is None:
        values, window = {name: np.empty(0) for name in NAMES}, np.empty(0, np.int64)
    else:
        values, window = _of_beats(beats, signal, inputs.fs), beats.window
    found = by_window(np.stack([values[name] for name in NAMES]).astype(np.float32), window, inputs.count)
    out = {f"ecg_intervals.{name}": row for name, row in zip(NAMES, found.median, strict=True)}
    ranges = found.rows([NAMES.index(name) for name in SPREAD]).iqr()
    out |= {f"ecg_intervals.{name}.iqr": row for name, row in zip(SPREAD, ranges, strict=True)}
    counts = {name: found.count[NAMES.index(name)].astype(np.float32) for name in COUNTED}
    return out | {f"ecg_intervals.n.{name.removesuffix('_s')}": row for name, row in counts.items()}


def _of_beats(beats: WindowBeats, signal: F32, fs: float) -> dict[str, F64]:
    nowhere = np.full(len(beats), np.nan)
    names = ("qrs_on", "qrs_off", "t_peak", "t_end", "p_on")
    place = {name: np.asarray(beats.points.get(name, nowhere), np.float64) for name in names}
    qrs = _plausible(place["qrs_off"] - place["qrs_on"], "qrs", beats.fs)
    qt = _plausible(place["t_end"] - place["qrs_on"], "qt", beats.fs)
    pr = _plausible(place["qrs_on"] - place["p_on"], "pr", beats.fs)
    rr = nowhere.copy()
    joined = (beats.window[1:] == beats.window[:-1]) & (beats.onset[1:] == beats.end[:-1])
    rr[1:] = np.where(joined, (beats.onset[1:] - beats.onset[:-1]) / beats.fs, np.nan)
    rr = np.where((rr >= INTERVAL_S[0]) & (rr <= INTERVAL_S[1]), rr, np.nan)
    scale = fs / beats.fs
    # A QRS that begins before its window has its level outside.
    start = np.where(place["qrs_on"] >= 0, place["qrs_on"], np.nan)
    level, r, t = (at(signal, beats.window, scale * p.astype(np.float64)) for p in (start, beats.onset, place["t_peak"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "qrs_s": qrs,
            "qt_s": qt,
            "qtc_bazett_s": qt / np.sqrt(rr),
            "qtc_fridericia_s": qt / np.cbrt(rr),
            "pr_s": pr,
            "t_r": (t - level) / (r - level),
        }


def _plausible(samples: F64, name: str, fs: float) -> F64:
    low, high = PLAUSIBLE_S[name]
    seconds = samples / fs
    # Comparison with NaN is false, so what is missing stays missing.
    return np.where((seconds >= low) & (seconds <= high), seconds, np.nan)
