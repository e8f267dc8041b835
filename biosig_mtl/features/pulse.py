"""Pulse shape: what one finger pulse looks like, free of its amplitude, summarised over the beats of a window.

Times, widths, areas and derivative ratios after Takazawa et al., Hypertension 32 (1998) 365 (second derivative), Wang et al.,
EMBC 2009 (inflection point area), Elgendi, Curr. Cardiol. Rev. 8 (2012) 14 (review), with these deviations: heights are
measured above the line from onset to next onset, so baseline wander and offset drop out; harmonics are those of the single beat
(its Fourier series), not of the window's spectrum, so a changing rate does not smear them.
"""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import FALL, RISE, PulseBeats, at, at_points, each_part
from biosig_mtl.features.summary import Sorted, collect, medians, ranges
from biosig_mtl.types import F32, F64, I64

LEVELS = (0.10, 0.25, 0.33, 0.50, 0.66, 0.75, 0.90)
SPREAD = ("crest_time_s", "period_s", "peak_notch_s", "width_50_s", "area_share", "notch_height", "b_a", "up_slope_per_s")
HARMONICS = 10


def pulse_shape(inputs: Inputs) -> dict[str, F32]:
    """Return medians over beats of shape numbers, ``.iqr`` of the key ones, and ``pulse.n_beats``, each of shape (window,)."""
    names, found = inputs.once("pulse shape in windows", _in_windows)
    counts = {"pulse.n_beats": np.bincount(inputs.pulse_beats.window, minlength=inputs.count).astype(np.float32)}
    return medians(names, found, "pulse.") | ranges(names, found, "pulse.", SPREAD) | counts


def pulse_spread(inputs: Inputs) -> dict[str, F32]:
    """Return the interquartile ranges that `pulse_shape` leaves out, and from how many beats, each of shape (window,).

    ``spread.n.X`` counts the beats in which the point X exists: it is the count of the numbers that are made of it. A range of
    fewer than three values is NaN.
    """
    names, found = inputs.once("pulse shape in windows", _in_windows)
    told = ranges(names, found, "spread.", tuple(name for name in names if name not in SPREAD))
    beats = inputs.pulse_beats
    points = ("u", "notch", "diastolic", "a", "b", "c", "d", "e")
    return told | {f"spread.n.{point}": how_many(beats.points[point], beats.window, inputs.count) for point in points}


def how_many(value: F64, window: I64, windows: int) -> F32:
    """Return in how many beats of every window a value exists, shape (window,)."""
    return np.bincount(window[np.isfinite(value)], minlength=windows).astype(np.float32)


def shape_of_beats(inputs: Inputs) -> dict[str, F32 | F64]:
    """Return the shape numbers of every beat by name, each of shape (beat,)."""
    beats = inputs.pulse_beats
    # 0/0 and x/0 are honest here: what is not finite counts as missing.
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_times(beats),
            **each_part(beats, _widths),
            **inputs.once("pulse areas", areas),
            **_heights(inputs, beats),
            **each_part(beats, _slopes),
            **_second_derivative(inputs, beats),
            **each_part(beats, _form),
        }


def _in_windows(inputs: Inputs) -> tuple[tuple[str, ...], Sorted]:
    values = inputs.once("pulse shape", shape_of_beats)
    return tuple(values), collect(values, inputs.pulse_beats.window, inputs.count)


def _times(b: PulseBeats) -> dict[str, F32 | F64]:
    period, crest = b.period / b.fs, (b.peak - b.foot) / b.fs
    notch, diastolic = (b.points["notch"] - b.foot) / b.fs, (b.points["diastolic"] - b.foot) / b.fs
    steepest = (b.points["u"] - b.foot) / b.fs
    return {
        "period_s": period,
        "crest_time_s": crest,
        "crest_share": crest / period,
        "rise_s": (b.peak - b.onset) / b.fs,
        "u_time_s": steepest,
        "u_crest_share": steepest / crest,
        "systole_s": notch,
        "systole_share": notch / period,
        "diastole_s": period - notch,
        "systole_diastole": notch / (period - notch),
        "peak_notch_s": notch - crest,
        "peak_notch_share": (notch - crest) / period,
        "notch_diastolic_s": diastolic - notch,
        "peak_diastolic_s": diastolic - crest,
        "peak_diastolic_share": (diastolic - crest) / period,
    }


def _widths(b: PulseBeats) -> dict[str, F32 | F64]:
    """Return widths at shares of the height: last upward crossing before the peak, first downward crossing after it."""
    level = np.array(LEVELS, np.float32)[:, None, None]
    low = b.rise <= level
    left = RISE - np.argmax(low[..., ::-1], axis=-1)
    right = np.maximum(np.argmax(b.fall <= level, axis=-1) - 1, 0)
    rising = 1 - _crossing(b.rise, left, level[..., 0]) / RISE
    falling = _crossing(b.fall, right, level[..., 0]) / FALL
    before = rising * (b.peak - b.onset) / b.fs
    after = falling * (b.end - b.peak) / b.fs
    share = (before + after) / (b.period / b.fs)
    out: dict[str, F32 | F64] = {}
    for k, height in enumerate(LEVELS):
        percent = round(100 * height)
        out[f"width_{percent}_s"] = before[k] + after[k]
        out[f"width_{percent}_systolic_s"] = before[k]
        out[f"width_{percent}_diastolic_s"] = after[k]
        out[f"width_{percent}_share"] = share[k]
        out[f"width_{percent}_ratio"] = after[k] / before[k]
    return out


def _crossing(y: F32, left: I64, level: F32) -> F64:
    """Return where, in grid steps, the line from grid point ``left`` to the next one meets ``level``; shape (level, beat)."""
    beat = np.arange(y.shape[0])
    low = y[beat, left]
    step = y[beat, np.minimum(left + 1, y.shape[1] - 1)] - low
    return np.asarray(left + np.clip((level - low) / step, 0, 1), dtype=np.float64)


def areas(inputs: Inputs) -> dict[str, F32 | F64]:
    """Return areas above the line as shares of the whole: S1 to steepest point, S2 to peak, S3 to notch, S4; shape (beat,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return each_part(inputs.pulse_beats, _areas)


def _areas(b: PulseBeats) -> dict[str, F32 | F64]:
    crest, fall = b.peak - b.onset, b.end - b.peak
    up, down = _trapezia(b.rise, crest / RISE), _trapezia(b.fall, fall / FALL)
    s1 = _up_to(up, (b.points["u"] - b.onset) / crest * RISE)
    before = _up_to(down, (b.points["notch"] - b.peak) / fall * FALL)
    rising, falling = up.sum(axis=1), down.sum(axis=1)
    total = rising + falling
    return {
        "area_share": total / (b.end - b.onset),
        "area_rise": rising / total,
        "area_1": s1 / total,
        "area_2": (rising - s1) / total,
        "area_3": before / total,
        "area_4": (falling - before) / total,
        "inflection_area": (falling - before) / (rising + before),
        "vascular_resistance": (falling / fall) / (rising / crest),
    }


def _trapezia(y: F32, step: F64) -> F32:
    """Return the area between each two grid points, shape (beat, grid − 1)."""
    pairs = y[:, 1:] + y[:, :-1]
    pairs *= (0.5 * step[:, None]).astype(np.float32)
    return np.asarray(pairs, dtype=np.float32)


def _up_to(area: F32, place: F64) -> F32:
    """Return the area up to a place in grid steps, NaN where that is NaN; a step counts with its part before it; (beat,)."""
    part = place.astype(np.float32)[:, None] - np.arange(area.shape[1], dtype=np.float32)
    return np.asarray((area * np.clip(part, 0, 1)).sum(axis=1))


def _heights(inputs: Inputs, b: PulseBeats) -> dict[str, F32 | F64]:
    """Return heights of fiducials as shares of the height of the peak."""
    x = at_points(inputs.pulse, b, ("u", "notch", "diastolic", "b", "c", "d", "e"))
    h = {name: (value - b.line(b.points[name])) / b.height for name, value in x.items()}
    return {
        "notch_height": h["notch"],
        "reflection_index": h["diastolic"],
        "notch_diastolic_rise": h["diastolic"] - h["notch"],
        "u_height": h["u"],
        "b_height": h["b"],
        "c_height": h["c"],
        "d_height": h["d"],
        "e_height": h["e"],
        "augmentation": h["d"] / h["b"],
    }


def _slopes(b: PulseBeats) -> dict[str, F32 | F64]:
    """Return first-derivative numbers of the beat of height 1."""
    crest, fall = (b.peak - b.onset) / b.fs, (b.end - b.peak) / b.fs
    rising = np.diff(b.rise, axis=1) * (RISE / crest)[:, None].astype(np.float32)
    falling = np.diff(b.fall, axis=1) * (FALL / fall)[:, None].astype(np.float32)
    up = rising.max(axis=1, initial=0)
    # From the deepest slope on: how far the fall is held up again by the reflected wave.
    steepest = np.argmin(falling, axis=1)
    later = np.where(np.arange(FALL) >= steepest[:, None], falling, -np.inf).max(axis=1, initial=-np.inf)
    down = np.take_along_axis(falling, steepest[:, None], axis=1)[:, 0]
    return {
        "up_slope_per_s": up,
        "up_slope_crest": up * crest,
        "down_slope_per_s": down,
        "down_up": down / up,
        "rebound_up": later / up,
        "down_slope_share": (steepest + 0.5) / FALL,
    }


def _second_derivative(inputs: Inputs, b: PulseBeats) -> dict[str, F32 | F64]:
    """Return ratios and times of the waves a to e of the second derivative."""
    place = b.points
    w = at_points(inputs.apg, b, tuple("abcde"))
    # The a wave is the positive reference of all ratios; where it is not positive it was not found.
    a = np.where(w["a"] > 0, w["a"], np.nan)
    vpg_u = at(inputs.vpg, b.window, place["u"])
    period = b.period
    return {
        "b_a": w["b"] / a,
        "c_a": w["c"] / a,
        "d_a": w["d"] / a,
        "e_a": w["e"] / a,
        "aging_index": (w["b"] - w["c"] - w["d"] - w["e"]) / a,
        "bcd_a": (w["b"] - w["c"] - w["d"]) / a,
        "be_a": (w["b"] - w["e"]) / a,
        "bd_a": (w["b"] - w["d"]) / a,
        "cd_a": (w["c"] + w["d"] - w["b"]) / a,
        "a_u_per_s": a / vpg_u,
        "a_share": (place["a"] - b.foot) / period,
        "b_share": (place["b"] - b.foot) / period,
        "c_share": (place["c"] - b.foot) / period,
        "d_share": (place["d"] - b.foot) / period,
        "e_share": (place["e"] - b.foot) / period,
        "a_b_s": (place["b"] - place["a"]) / b.fs,
        "b_d_s": (place["d"] - place["b"]) / b.fs,
        "a_e_s": (place["e"] - place["a"]) / b.fs,
    }


def _form(b: PulseBeats) -> dict[str, F32 | F64]:
    """Return moments and harmonics of the beat over one period."""
    mean = b.cycle.mean(axis=1, keepdims=True)
    centred = b.cycle - mean
    square = centred * centred
    variance = square.mean(axis=1)
    # Not a product with a matrix of sines: its order of summation, and so the last bit, changes with the number of beats.
    waves = np.fft.rfft(centred, axis=1)[:, 1 : HARMONICS + 1]
    power = waves.real**2 + waves.imag**2
    total = power.sum(axis=1)
    return {
        "skewness": (square * centred).mean(axis=1) / variance**1.5,
        "kurtosis": (square * square).mean(axis=1) / variance**2 - 3,
        "harmonic_1": power[:, 0] / total,
        "harmonic_2": power[:, 1] / total,
        "harmonic_3": power[:, 2] / total,
        "harmonic_4": power[:, 3] / total,
        "harmonic_2_1": power[:, 1] / power[:, 0],
    }
