"""Points of a pulse: on the curve, on its first (VPG), second (APG) and third derivative."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.points import (
    Curve,
    Turns,
    best_of,
    exact,
    first_of,
    highest,
    last_of,
    lowest,
    turns,
    vertex,
)
from biosig_mtl.signal.sliding import padded
from biosig_mtl.types import F32, F64, I64, Bool

# Savitzky–Golay: length and degree of the polynomial that is fitted around every sample.
FIT_S, DEGREE = 0.088, 4
# A rise is looked through from at most so long before the peak.
RISE_S = 0.6
# The wave b may stand a little behind the peak.
AFTER_PEAK_S = 0.06
# The notch is looked for from here after the systolic peak to this share of the beat, at most so long after the peak.
PPG_NOTCH_FROM_S, ABP_NOTCH_FROM_S, NOTCH_SHARE, NOTCH_UNTIL_S = 0.06, 0.03, 0.65, 0.45
NOTCH_MINIMUM_S = 0.1
# A minimum of the curve from which it rises by this share of the pulse is the notch, whatever the second derivative says.
NOTCH_RISE = 0.03
DIASTOLIC_S = 0.25

PPG = ("foot", "a", "u", "b", "p1", "p2", "c", "d", "v", "e", "notch", "w", "diastolic", "f")
ABP = ("foot", "u", "notch")


@dataclass(frozen=True)
class Spans:
    """Complete beats: onset, systolic peak and end as samples, shape (beat,)."""

    onset: I64
    peak: I64
    end: I64


@dataclass(frozen=True)
class Closure:
    """Where the valve closes: ``e`` the highest wave of the second derivative, ``low`` the minimum of the curve beside it.

    Samples of shape (beat,), −1 where there is none.
    """

    e: I64
    low: I64

    @property
    def last(self) -> I64:
        """The notch as a sample."""
        return np.where(self.low >= 0, self.low, self.e)


def ppg_points(seen: Curve, beats: Spans) -> dict[str, F64]:
    """Return the points of every beat of a PPG as fractional samples, NaN where a point does not exist.

    See `biosig_mtl.signal.fiducials.DetectFiducials` for what they mean.
    """
    x, slope, bend = seen.fits((0, 1, 2), FIT_S, DEGREE)
    jerk = np.zeros_like(bend)
    np.subtract(bend[2:], bend[:-2], out=jerk[1:-1])
    waves, shoulders, turning = turns(bend), turns(slope), turns(x)
    rise, u = _rise(seen, slope, beats)
    a = highest(bend, np.maximum(beats.onset, u - seen.samples(RISE_S)), u)
    a = np.where(rise & (u > beats.onset), a, -1)
    b = lowest(bend, u + 1, np.minimum(beats.peak + seen.samples(AFTER_PEAK_S), beats.end - 1))
    first = np.maximum(beats.peak + seen.samples(PPG_NOTCH_FROM_S), b + 2)
    shut = _closure(seen, (x, bend), (turning, waves), beats, first)
    e, known = shut.e, shut.e >= 0
    c = np.where(known, first_of(waves.tops, b + 1, e - 1), -1)
    d = lowest(bend, c + 1, np.where(c >= 0, e, c + 2))
    c = np.where(d > c + 1, c, -1)
    d = np.where(c >= 0, d, -1)
    p1, p2 = _systolic(turns(jerk), beats, b, np.where(d >= 0, d, e))
    v = np.where(known & (e > beats.peak + 1), lowest(slope, beats.peak + 1, np.maximum(e, beats.peak + 2)), -1)
    late = np.minimum(e + seen.samples(DIASTOLIC_S), beats.end - 1)
    w = np.where(known, first_of(shoulders.tops, e + 1, late), -1)
    f = np.where(known, first_of(waves.bottoms, np.where(w >= 0, w, e) + 1, beats.end), -1)
    # A few calls for many points: with the beats of one window the calls are what takes the time.
    fine_a, fine_b, fine_c, fine_d, fine_e, fine_f = vertex(bend, np.stack((a, np.where(rise, b, -1), c, d, e, f)))
    early, late_wave = vertex(jerk, np.stack((p1, p2)))
    fall, slowest = vertex(slope, np.stack((v, w)))
    bottom, peak = vertex(x, np.stack((shut.low, p2)))
    return {
        **_foot(seen, (x, slope), beats, np.where(rise, u, -1)),
        "a": np.maximum(fine_a, beats.onset),
        "b": fine_b,
        "p1": early,
        "p2": np.where(p2 == beats.peak, peak, late_wave),
        "c": fine_c,
        "d": fine_d,
        "v": fall,
        "e": fine_e,
        "notch": np.where(shut.low >= 0, bottom, fine_e),
        "w": slowest,
        "diastolic": _diastolic(seen, (x, slope), (turning, shoulders), beats, shut),
        "f": fine_f,
    }


def abp_points(seen: Curve, beats: Spans) -> dict[str, F64]:
    """Return foot, steepest rise and dicrotic notch of every beat of a pressure curve; fractional samples, NaN where none."""
    x, slope, bend = seen.fits((0, 1, 2), FIT_S, DEGREE)
    rise, u = _rise(seen, slope, beats)
    u = np.where(rise, u, -1)
    first = beats.peak + seen.samples(ABP_NOTCH_FROM_S)
    shut = _closure(seen, (x, bend), (turns(x), turns(bend)), beats, first)
    return {**_foot(seen, (x, slope), beats, u), "notch": _notch((x, bend), shut)}


def _rise(seen: Curve, slope: F32, beats: Spans) -> tuple[Bool, I64]:
    """Return which beats rise, and where they rise most steeply."""
    u = highest(slope, np.maximum(beats.onset, beats.peak - seen.samples(RISE_S)), np.maximum(beats.peak, beats.onset + 1))
    return slope[u] > 0, u


def _foot(seen: Curve, curves: tuple[F32, F32], beats: Spans, u: I64) -> dict[str, F64]:
    """Return the steepest rise and where the tangent to it meets the level of the onset, between the onset and there."""
    x, slope = curves
    steepest = np.where(u >= 0, slope[u], np.nan)
    back = np.clip((x[u] - x[beats.onset]) / steepest * seen.fs, 0, u - beats.onset)
    fine = np.maximum(vertex(slope, u), beats.onset)
    return {"foot": np.minimum(u - exact(back), fine), "u": fine}


def _closure(seen: Curve, curves: tuple[F32, F32], turning: tuple[Turns, Turns], beats: Spans, first: I64) -> Closure:
    """Return the closure of the valve, not before ``first``, from the curve and its second derivative and where they turn."""
    x, bend = curves
    hills, waves = turning
    share = (NOTCH_SHARE * (beats.end - beats.onset)).astype(np.int64)
    last = np.minimum(beats.onset + share, beats.peak + seen.samples(NOTCH_UNTIL_S))
    valleys, tops, rises = _valleys(x, hills)
    best = best_of(valleys, rises, first, last)
    plain = (best >= 0) & (padded(rises, 0, 1)[best] >= NOTCH_RISE * (x[beats.peak] - x[beats.onset]))
    # A rise that does not end within the beat is that of the next one.
    plain &= padded(tops, 0, 1)[best] < beats.end
    deep = padded(valleys, 0, 1)[best]
    near = seen.samples(NOTCH_MINIMUM_S)
    low, high = np.where(plain, np.maximum(deep - near, first), first), np.where(plain, np.minimum(deep + near, last), last)
    best = best_of(waves.tops, bend[waves.tops], low, high)
    e = np.where(best >= 0, padded(waves.tops, 0, 1, -1)[best], -1)
    beside = first_of(valleys, np.maximum(e - near, beats.peak + 2), np.minimum(e + near, beats.end - 1))
    beside = np.where(plain, deep, beside)
    return Closure(e, np.where(e >= 0, beside, -1))


def _valleys(x: F32, hills: Turns) -> tuple[I64, I64, F32]:
    """Return the minima of a curve that have a maximum behind them, that maximum, and how far the curve rises to it."""
    # Maxima and minima take turns.
    valleys, tops = hills.bottoms, hills.tops
    if tops.size and valleys.size and tops[0] < valleys[0]:
        tops = tops[1:]
    count = min(valleys.size, tops.size)
    valleys, tops = valleys[:count], tops[:count]
    return valleys, tops, x[tops] - x[valleys]


def _notch(curves: tuple[F32, F32], shut: Closure) -> F64:
    x, bend = curves
    return np.where(shut.low >= 0, vertex(x, shut.low), vertex(bend, shut.e))


def _diastolic(seen: Curve, curves: tuple[F32, F32], turning: tuple[Turns, Turns], beats: Spans, shut: Closure) -> F64:
    """Return the first maximum after the notch, or where the fall is slowest there."""
    x, slope = curves
    after = shut.last + 1
    until = np.minimum(after + seen.samples(DIASTOLIC_S), beats.end - 1)
    top, slow = (first_of(t.tops, after, until) for t in turning)
    return np.where(shut.e >= 0, np.where(top >= 0, vertex(x, top), vertex(slope, slow)), np.nan)


def _systolic(jerk: Turns, beats: Spans, b: I64, until: I64) -> tuple[I64, I64]:
    """Return the early and the late systolic wave as samples, −1 where there is none; ``until`` is where d or else e stands."""
    p1 = first_of(jerk.tops, b + 1, until)
    p2 = last_of(jerk.bottoms, p1 + 1, until)
    # A late peak is the late wave itself.
    p2 = np.where((beats.peak > np.maximum(p1, p2)) & (beats.peak < until), beats.peak, p2)
    both = (p1 >= 0) & (p2 >= 0)
    return np.where(both, p1, -1), np.where(both, p2, -1)
