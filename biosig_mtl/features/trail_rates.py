"""Heart and pulse rate variability on a trail: as much of it as half a minute to a few minutes can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biosig_mtl.features.beat_intervals import NONE, Intervals, of_pulse, of_r_peaks
from biosig_mtl.features.hrv import in_time
from biosig_mtl.features.hrv_spectrum import powers
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import pulse_beats
from biosig_mtl.features.rate import basics
from biosig_mtl.features.summary import by_window
from biosig_mtl.features.trail_values import long_enough, recent
from biosig_mtl.types import F32, F64, Trail

# Seconds of recording that each asks for. A rate and RMSSD can be told from 10 s, SDNN from 30 s (Munoz et al., PLoS ONE 10
# (2015) e0138921); we ask 30 s for all variability. Spectra ask for 60 s, and LF is then some 2.4 periods of its slowest wave:
# Task Force asks 2 min.
LEAST_S = {
    "rate_per_min": 10.0,
    "n": 10.0,
    "removed_share": 10.0,
    "sdnn_s": 30.0,
    "rmssd_s": 30.0,
    "cvsd": 30.0,
    "pnn50_percent": 30.0,
    "lf_ms2": 60.0,
    "hf_ms2": 60.0,
    "lf_hf": 60.0,
}
# NN intervals must fill this share of what the trail knows, less for a rate alone; spectra ask more, see `powers`.
LEAST_SHARE, LEAST_SHARE_RATE = 0.3, 0.1
# Agreement of a beat with its neighbours below which it does not count for variability. On wrists (Stress-Predict) the RMSSD of
# all beats is two to four times that of the device's own, cleaned intervals; from 0.7 up the two are alike.
LEAST_QUALITY = 0.7


def ecg_hrv(inputs: Inputs) -> dict[str, F32]:
    """Return heart rate variability of the R peaks of the trail ``settings.hrv``, each of shape (window,).

    All is made of NN intervals, whose two beats are marked normal and agree with their neighbours (quality 0.7 and more):
    ``rate_per_min`` of the median interval, ``sdnn_s rmssd_s cvsd pnn50_percent lf_ms2 hf_ms2 lf_hf`` as in `hrv`, ``n``, how
    many there are, and ``removed_share``, the share of the plausible intervals that was left out.

    NaN where the window knows fewer seconds than `LEAST_S` says, where NN intervals fill less than 30 % of them (10 % for the
    rate), and where the trail has no beats.
    """
    return _variability(inputs, "hrv", "ecg_hrv")


def ppg_prv(inputs: Inputs) -> dict[str, F32]:
    """Return pulse rate variability of the pulse feet of the trail ``settings.prv``, each of shape (window,); see `ecg_hrv`.

    Pulse rate variability is not heart rate variability: transit times change from beat to beat too, most of all with
    breathing, so it is the wider of the two (Schäfer and Vagedes, Int. J. Cardiol. 166 (2013) 15).
    """
    return _variability(inputs, "prv", "ppg_prv")


def _variability(inputs: Inputs, role: str, family: str) -> dict[str, F32]:
    trail = inputs.trails.get(getattr(inputs.settings, role))
    if trail is None or trail.beats is None or not inputs.count:
        return {f"{family}.{name}": inputs.nan() for name in LEAST_S}
    trail = recent(trail, inputs.settings.recent_s)
    found = intervals_of(trail, role)
    nn = found.only(found.normal)
    known = basics(nn, inputs.count)
    offered = np.bincount(found.window, minlength=inputs.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        columns: dict[str, F64 | F32] = {
            **in_time(nn, known, inputs.count),
            **powers(nn, inputs.count, trail.length_s, {"lf": LEAST_S["lf_ms2"]}),
            "rate_per_min": 60 / by_window(nn.seconds[None], nn.window, inputs.count).median[0],
            "n": known.count.astype(np.float64),
            "removed_share": 1 - known.count / np.where(offered > 0, offered, np.nan),
        }
    known_s = np.isfinite(trail.signal).sum(axis=1) / trail.fs
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = np.bincount(nn.window, nn.seconds, inputs.count) / known_s
    return _told(family, columns, long_enough(known_s, trail.fs), filled)


def intervals_of(trail: Trail, role: str) -> Intervals:
    """Return the plausible intervals of a trail: of R peaks, or for the role ``prv`` of pulse feet.

    ``normal`` are those between two beats that are marked normal and agree with their neighbours (`LEAST_QUALITY`).
    """
    if trail.beats is None:
        return NONE
    beats = trail.beats
    clear = beats.quality >= LEAST_QUALITY
    joined = (beats.window[1:] == beats.window[:-1]) & (beats.onset[1:] == beats.end[:-1])
    both = clear.copy()
    both[:-1] &= clear[1:] | ~joined
    beats = replace(beats, normal=beats.normal & both)
    # A trail has gaps, beside which no pulse can be measured.
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return of_pulse(pulse_beats(trail.signal, beats, trail.fs)) if role == "prv" else of_r_peaks(beats)


def _told(family: str, columns: dict[str, F64 | F32], known_s: F64, filled: F64) -> dict[str, F32]:
    """Return the columns with NaN where too little is known, intervals fill too little of it, or a value is not finite."""
    # How many were left out is told even where they are too many.
    ask = {"n": 0.0, "removed_share": 0.0, "rate_per_min": LEAST_SHARE_RATE}
    out = {}
    for name, least in LEAST_S.items():
        value = np.asarray(columns[name], dtype=np.float32)
        told = (known_s >= least) & np.isfinite(value) & (filled >= ask.get(name, LEAST_SHARE))
        out[f"{family}.{name}"] = np.where(told, value, np.float32(np.nan))
    return out
