"""Pulse arrival time, from the heart's electrical beat to points of the pulse; transit time, from one site to another.

Pulse arrival = pre-ejection period + transit (PAT = PEP + PTT). From the R peak, or the QRS onset, to the pulse there is always
the pre-ejection period too (some 50 to 120 ms, and it moves with contractility, preload and afterload), so a PAT is no transit
time; only two pulses at two sites give that. The pre-ejection period is not measured here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import PulseBeats, pulse_beats
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32, F64, I64, WindowBeats

# Earlier is not this heart beat, later is the next one.
ARRIVAL_S = (0.05, 0.6)
# Two sites see the same pulse within this.
TRANSIT_S = 0.25


def pat(inputs: Inputs) -> dict[str, F32]:
    """Return pulse arrival times in seconds to foot, steepest point and peak, each of shape (window,).

    Every pulse foot (where the tangents intersect) belongs to the last R peak 0.05 to 0.6 s before it; steepest point and peak
    are counted from the same R peak. Pulse arrival = pre-ejection period + transit. Beside median and interquartile range stand
    the forms in which pressure is linear if transit rules: ln(PAT) after Moens–Korteweg with Hughes' exponential modulus,
    1/PAT² after Bramwell–Hill (Mukkamala et al., IEEE Trans. Biomed. Eng. 62 (2015) 1879).

    All is NaN where the clocks of ECG and pulse cannot be trusted (``timing_reliable`` false) or there is no ECG; windows
    without a pair have ``pat.n`` 0.
    """
    beats = inputs.pulse_beats
    r = inputs.once("R peak of every pulse", _last_r)[0]
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
        "pat.n": ordered.count[0].astype(np.float32) if _trusted(inputs) is not None else inputs.nan(),
    }


def pat_points(inputs: Inputs) -> dict[str, F32]:
    """Return arrival times in seconds from the R peak to further marks of the foot, with range and count; shape (window,).

    ``onset`` is the lowest point, ``tangent`` where the tangent at the steepest point meets the level of the onset (only where
    it was found: the foot of `pat` is the onset elsewhere), ``a`` the top of the second derivative. Pairs as in `pat`; PAT =
    PEP + PTT.
    """
    beats = inputs.pulse_beats
    r = inputs.once("R peak of every pulse", _last_r)[0]
    tangent = np.where(beats.foot != beats.onset, beats.foot, np.nan)
    places = {"onset": beats.onset, "tangent": tangent, "a": beats.points["a"]}
    return _told(inputs, {name: (place - r) / inputs.fs for name, place in places.items()}, "pat_points.")


def pat_qrs(inputs: Inputs) -> dict[str, F32]:
    """Return arrival times in seconds from the QRS onset to foot, steepest point and peak, with range and count; (window,).

    The electrical beat begins with the QRS complex; the R peak comes 30 to 50 ms later, and more where conduction is slow.
    Pairs as in `pat`. Needs ``qrs_on`` among the points of the ECG beats: without it all times are NaN and counts 0.
    """
    beats = inputs.pulse_beats
    onset = inputs.once("R peak of every pulse", _last_r)[1]
    places = {"foot": beats.foot, "u": beats.points["u"], "peak": beats.peak}
    return _told(inputs, {name: (place - onset) / inputs.fs for name, place in places.items()}, "pat_qrs.")


def ptt(inputs: Inputs) -> dict[str, F32]:
    """Return transit times in seconds from ``pulse`` to ``second_pulse``: between feet, steepest points and peaks.

    Negative where the second site sees the pulse first. A beat belongs to the beat of the other site whose foot is nearest,
    within 0.25 s. No pre-ejection period is in it. Median, range and count, each of shape (window,); NaN and 0 where no second
    pulse is set or recorded, or clocks cannot be trusted.
    """
    first, name = inputs.pulse_beats, inputs.settings.second_pulse
    times = {point: np.full(first.foot.size, np.nan) for point in ("foot", "u", "peak")}
    found = inputs.beats.get(name) if name is not None else None
    if name is not None and found is not None and inputs.timing_reliable:
        second = pulse_beats(inputs.signals[name], found, inputs.fs)
        near = _nearest(first, second, TRANSIT_S * inputs.fs)
        paired = np.flatnonzero(near >= 0)
        other = near[paired]
        times["foot"][paired] = second.foot[other] - first.foot[paired]
        times["u"][paired] = second.points["u"][other] - first.points["u"][paired]
        times["peak"][paired] = second.peak[other] - first.peak[paired]
    return _told(inputs, {point: value / inputs.fs for point, value in times.items()}, "ptt.")


def _told(inputs: Inputs, times: Mapping[str, F64], prefix: str) -> dict[str, F32]:
    """Return median, interquartile range and count of times of the pulse beats."""
    table = np.stack(list(times.values())).astype(np.float32)
    ordered = by_window(table, inputs.pulse_beats.window, inputs.count)
    out = {f"{prefix}{name}_s": row for name, row in zip(times, ordered.median, strict=True)}
    out |= {f"{prefix}{name}_s.iqr": row for name, row in zip(times, ordered.iqr(), strict=True)}
    return out | {f"{prefix}{name}_n": row.astype(np.float32) for name, row in zip(times, ordered.count, strict=True)}


def _trusted(inputs: Inputs) -> WindowBeats | None:
    """Return the beats of the ECG, None where there is none or its clock is not that of the pulse."""
    return inputs.beats.get(inputs.settings.ecg) if inputs.timing_reliable else None


def _last_r(inputs: Inputs) -> tuple[F64, F64]:
    """Return the R peak of each pulse foot and the QRS onset of that R peak, in samples; NaN where none is in reach."""
    ecg, window, foot, fs = _trusted(inputs), inputs.pulse_beats.window, inputs.pulse_beats.foot, inputs.fs
    none = np.full(foot.size, np.nan)
    if ecg is None or not len(ecg):
        return none, none
    # R peaks are the onsets of the ECG beats, and the end of the last one in each window. Of two rows for one R peak that
    # which begins there comes last, and is found: it knows the QRS.
    ends = np.flatnonzero(ecg.end >= 0)
    r_window = np.concatenate([ecg.window[ends], ecg.window])
    r = np.concatenate([ecg.end[ends], ecg.onset]) * (fs / ecg.fs)
    begins = ecg.points["qrs_on"] * (fs / ecg.fs) if "qrs_on" in ecg.points else np.full(len(ecg), np.nan)
    qrs = np.concatenate([np.full(ends.size, np.nan), begins])
    # One rising axis for all windows: the windows lie behind each other, far enough apart not to touch.
    apart = float(max(r.max(initial=0), foot.max(initial=0))) + 2 * fs
    order = np.argsort(r_window * apart + r, kind="stable")
    r_window, r, qrs = r_window[order], r[order], qrs[order]
    place = np.searchsorted(r_window * apart + r, window * apart + foot - ARRIVAL_S[0] * fs, side="right") - 1
    found = np.maximum(place, 0)
    # A tolerance far below a sample, so that an R peak exactly at the limit counts.
    near = (place >= 0) & (r_window[found] == window) & (foot - r[found] <= ARRIVAL_S[1] * fs + 1e-6)
    return np.where(near, r[found], np.nan), np.where(near, qrs[found], np.nan)


def _nearest(first: PulseBeats, second: PulseBeats, reach: float) -> I64:
    """Return the beat of ``second`` whose foot is nearest to that of each beat of ``first``, −1 where none is in reach."""
    if not first.foot.size or not second.foot.size:
        return np.full(first.foot.size, -1, np.int64)
    apart = float(max(first.end.max(), second.end.max())) + 4 * reach
    axis, wanted = second.window * apart + second.foot, first.window * apart + first.foot
    order = np.argsort(axis, kind="stable")
    axis = axis[order]
    after = np.minimum(np.searchsorted(axis, wanted), axis.size - 1)
    before = np.maximum(after - 1, 0)
    near = np.where(wanted - axis[before] <= np.abs(axis[after] - wanted), before, after)
    return np.where(np.abs(axis[near] - wanted) <= reach, order[near], -1)
