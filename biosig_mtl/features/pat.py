"""Pulse arrival time: from the R peak of the ECG to points of the pulse at the finger."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32, F64, I64, WindowBeats

# Earlier is not this heart beat, later is the next one.
ARRIVAL_S = (0.05, 0.6)


def pat(inputs: Inputs) -> dict[str, F32]:
    """Return pulse arrival times in seconds to foot, steepest point and peak, each of shape (window,).

    Every pulse foot belongs to the last R peak 0.05 to 0.6 s before it; steepest point and peak are counted from the same R
    peak. Pulse arrival = pre-ejection period + transit. Beside median and interquartile range stand the forms in which
    pressure is linear if transit rules: ln(PAT) after Moens–Korteweg with Hughes' exponential modulus, 1/PAT² after
    Bramwell–Hill (Mukkamala et al., IEEE Trans. Biomed. Eng. 62 (2015) 1879).

    All is NaN where the clocks of ECG and pulse cannot be trusted (``timing_reliable`` false) or there is no ECG; windows
    without a pair have ``pat.n`` 0.
    """
    ecg = inputs.beats.get(inputs.settings.ecg)
    trusted = inputs.timing_reliable and ecg is not None
    beats = inputs.pulse_beats
    r = _last_r(ecg, beats.window, beats.foot, inputs.fs) if trusted and ecg is not None else np.full(beats.foot.size, np.nan)
    times = np.stack([beats.foot - r, beats.points["u"] - r, beats.peak - r]) / inputs.fs
    ordered = by_window(times.astype(np.float32), beats.window, inputs.count)
    (foot, u, peak), (foot_iqr, u_iqr, peak_iqr) = ordered.median, ordered.iqr()
    return {
        "pat.foot_s": foot,
        "pat.u_s": u,
        "pat.peak_s": peak,
        "pat.foot_s.iqr": foot_iqr,
        "pat.u_s.iqr": u_iqr,
        "pat.peak_s.iqr": peak_iqr,
        "pat.foot_ln": np.log(foot),
        "pat.u_ln": np.log(u),
        "pat.peak_ln": np.log(peak),
        "pat.foot_inverse_square": 1 / foot**2,
        "pat.u_inverse_square": 1 / u**2,
        "pat.peak_inverse_square": 1 / peak**2,
        "pat.n": ordered.count[0].astype(np.float32) if trusted else inputs.nan(),
    }


def _last_r(ecg: WindowBeats, window: I64, foot: F64, fs: float) -> F64:
    """Return the R peak of each pulse foot in samples at ``fs``, NaN where none is in reach."""
    # R peaks are the onsets of the ECG beats, and the end of the last one in each window.
    r_window = np.concatenate([ecg.window, ecg.window[ecg.end >= 0]])
    r = np.concatenate([ecg.onset, ecg.end[ecg.end >= 0]]) * (fs / ecg.fs)
    if r.size == 0:
        return np.full(foot.size, np.nan)
    order = np.lexsort((r, r_window))
    r_window, r = r_window[order], r[order]
    # One rising axis for all windows: the windows lie behind each other, far enough apart not to touch.
    apart = float(max(r.max(initial=0), foot.max(initial=0))) + 2 * fs
    place = np.searchsorted(r_window * apart + r, window * apart + foot - ARRIVAL_S[0] * fs, side="right") - 1
    found = np.maximum(place, 0)
    # A tolerance far below a sample, so that an R peak exactly at the limit counts.
    near = (place >= 0) & (r_window[found] == window) & (foot - r[found] <= ARRIVAL_S[1] * fs + 1e-6)
    return np.where(near, r[found], np.nan)
