"""Where the waves of an ECG begin, stand and end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.points import Curve, exact, top_shift, windows
from biosig_mtl.types import F32, F64, I64, Beats, Bool

ECG = ("p_on", "p_peak", "qrs_on", "qrs_off", "t_peak", "t_end")

# QRS: the slope is that of a straight line over so long; the complex lies within so far of its peak.
SLOPE_S, QRS_BEFORE_S, QRS_AFTER_S, HEIGHT_S = 0.02, 0.13, 0.17, 0.08
# Behind the outermost slope of this share of the greatest, the first stretch of so long below a lower share bounds the complex.
STEEP, BEGIN, CLOSE, QUIET_S = 0.4, 0.07, 0.10, 0.024
# Slopes so many times those of the calmest block before the complex are no noise; where that is more than this share of the
# greatest slope, no bound can be told.
NOISE_QRS, NOISIEST, NOISE_UNTIL_S, NOISE_BLOCK_S, NOISE_BLOCKS = 2.5, 0.35, 0.1, 0.05, 4
# P and T: length and degree of the polynomial. A wave stands out of the line between the ends of its window by this share of
# the complex and so many times the mean distance of the samples from the polynomial.
WAVE_S, WAVE_DEGREE = 0.06, 2
SMALLEST_T, SMALLEST_P, NOISE_T, NOISE_P = 0.03, 0.015, 3.5, 4.0
NOISE_T_S, NOISE_P_S = (0.14, 0.34), (-0.30, -0.10)
# A T wave lies from behind the complex to this many times √RR (Bazett) behind R, and before the next P wave or, where the rate
# is fast, this share of the interval.
T_FROM_S, T_UNTIL, T_NEXT_S, T_SHARE, T_LONGEST_S = 0.05, 0.56, 0.22, 0.68, 0.70
# A P wave lies from here, or from this share of the interval before R, up to the complex; upside down only if so much larger.
P_FROM_S, P_SHARE, P_UNTIL_S, P_UPRIGHT = 0.30, 0.42, 0.03, 1.5
SHORTEST_S = 0.08
# So long before the complex the isoelectric line is read.
PQ_S = 0.03
DEFAULT_RR_S = 0.8
# Flanks: the steepest place within so long of the peak, and the trapezium from there over so long.
T_FLANK_S, T_REST_S, P_FLANK_S, P_REST_S = 0.15, 0.12, 0.06, 0.06
NEXT_QRS_S = 0.08
# A wave stands where it stands in so many of so many beats on either side, at most so far away; else it is noise.
STEADY_S, NEIGHBOURS, ENOUGH, NEAR_S = 0.04, 3, 2, 6.0
LOT = 1024


@dataclass(frozen=True)
class Span:
    """Where a wave is looked for: first and last place in samples from R, shape (beat,), and how far these may lie from R.

    ``level`` is the isoelectric line where the span may reach into the next wave. A wave that points down must be larger by the
    factor ``upright`` than one that points up.
    """

    first: F64
    last: F64
    before: int
    after: int
    level: F32 | None = None
    upright: float = 1.0


@dataclass(frozen=True)
class Waves:
    """Peaks as samples (−1 where there is none) and their sign; shape (beat,)."""

    at: I64
    sign: F32
    fine: F64


@dataclass(frozen=True)
class Hearts:
    """R peaks as samples and the intervals before and after them in samples, NaN where unknown; shape (beat,)."""

    at: I64
    before: F64
    after: F64

    def lot(self, part: slice) -> Hearts:
        """Return some of the beats."""
        return Hearts(self.at[part], self.before[part], self.after[part])


@dataclass(frozen=True)
class Search:
    """What the waves are looked for in: the curve, its course without noise, its steepness, its distance from its course."""

    seen: Curve
    course: F32
    steep: F32
    rest: F32


def ecg_points(seen: Curve, beats: Beats) -> dict[str, F64]:
    """Return the bounds of the waves of every beat as fractional samples, NaN where a wave is not to be seen.

    See `biosig_mtl.signal.fiducials.DetectFiducials` for what they mean.
    """
    out = {word: np.full(len(beats), np.nan) for word in ECG}
    course = seen.fit(0, WAVE_S, WAVE_DEGREE)
    search = Search(seen, course, np.abs(seen.fit(1, SLOPE_S, 2)), np.abs(seen.x - course))
    hearts = _hearts(beats)
    for start in range(0, len(beats), LOT):
        # One beat more on the left: a P wave begins behind the T wave before it.
        left = max(start - 1, 0)
        found = _delineate(search, hearts.lot(slice(left, start + LOT)))
        for word, values in found.items():
            out[word][start : start + LOT] = values[start - left :]
    for peak, bound in (("t_peak", "t_end"), ("p_peak", "p_on")):
        alone = ~_steady(seen, hearts.at, out[peak])
        out[peak][alone] = out[bound][alone] = np.nan
    return out


def _steady(seen: Curve, at: I64, peak: F64) -> Bool:
    """Return which waves stand as far from R as those of two of the six beats around, or of all where there are fewer."""
    away = peak - at
    near, alike = np.zeros((2, at.size), np.int64)
    for k in range(1, NEIGHBOURS + 1):
        close = at[k:] - at[:-k] <= NEAR_S * seen.fs
        same = close & (np.abs(away[k:] - away[:-k]) <= STEADY_S * seen.fs)
        for count, pairs in ((near, close), (alike, same)):
            count[k:] += pairs
            count[:-k] += pairs
    return alike >= np.minimum(near, ENOUGH)


def _hearts(beats: Beats) -> Hearts:
    after = np.where(beats.end >= 0, beats.end - beats.onset, np.nan)
    before = np.full(len(beats), np.nan)
    joined = beats.end[:-1] == beats.onset[1:]
    before[1:] = np.where(joined, after[:-1], np.nan)
    return Hearts(beats.peak, before, after)


def _delineate(search: Search, hearts: Hearts) -> dict[str, F64]:
    seen = search.seen
    on, off, size = _complex(search, hearts)
    calm = np.where(np.isfinite(on), on, hearts.at) - PQ_S * seen.fs
    level = search.course[np.maximum(calm.astype(np.int64), seen.run(hearts.at)[0])]
    t, t_end = _t_wave(search, hearts, off, (size, level))
    last = np.full(hearts.at.size, -np.inf)
    last[1:] = np.where(np.isfinite(hearts.before[1:]) & np.isfinite(t_end[:-1]), t_end[:-1], -np.inf)
    p, p_on = _p_wave(search, hearts, on, (size, last))
    return {"p_on": p_on, "p_peak": p.fine, "qrs_on": on, "qrs_off": off, "t_peak": t.fine, "t_end": t_end}


def _complex(search: Search, hearts: Hearts) -> tuple[F64, F64, F32]:
    """Return begin and end of every QRS complex and its height."""
    seen = search.seen
    quiet, block = seen.samples(QUIET_S), seen.samples(NOISE_BLOCK_S)
    before, after = seen.samples(QRS_BEFORE_S) + quiet, seen.samples(QRS_AFTER_S) + quiet
    slopes = windows(seen, search.steep, hearts.at, (-before, after))
    greatest = slopes.max(axis=1)
    late = -seen.samples(NOISE_UNTIL_S)
    early = windows(seen, search.steep, hearts.at, (late - NOISE_BLOCKS * block + 1, late))
    noise = NOISE_QRS * early.reshape(-1, NOISE_BLOCKS, block).mean(axis=2).min(axis=1)
    told = (noise <= NOISIEST * greatest) & (greatest > 0)
    begin = _bound(slopes[:, before::-1], (np.maximum(BEGIN * greatest, noise), STEEP * greatest), quiet)
    close = _bound(slopes[:, before:], (np.maximum(CLOSE * greatest, noise), STEEP * greatest), quiet)
    low, high = seen.run(hearts.at)
    on, off = hearts.at - begin, hearts.at + close
    near = seen.samples(HEIGHT_S)
    heights = windows(seen, seen.x, hearts.at, (-near, near))
    return (
        np.where(told & (on - quiet >= low), on, np.nan),
        np.where(told & (off + quiet < high), off, np.nan),
        heights.max(axis=1) - heights.min(axis=1),
    )


def _bound(slopes: F32, levels: tuple[F32, F32], quiet: int) -> F64:
    """Return how many samples from R the slope falls below the first level for ``quiet`` samples; NaN if it does not.

    ``slopes`` run outwards from R, shape (beat, sample). The count starts from the outermost slope above the second level.
    """
    level, steep = levels
    size = slopes.shape[1] - quiet
    strong = slopes[:, :size] >= steep[:, None]
    start = np.where(strong.any(axis=1), size - 1 - strong[:, ::-1].argmax(axis=1), 0)
    count = np.cumsum(slopes >= level[:, None], axis=1, dtype=np.int16)
    calm = (count[:, quiet:] == count[:, :size]) & (np.arange(size) >= start[:, None])
    at = calm.argmax(axis=1)
    row = np.arange(at.size)
    here, there = slopes[row, at], slopes[row, at + 1]
    part = (here - level) / np.where(here > there, here - there, 1.0)
    return np.where(calm[row, at], at + exact(np.clip(np.where(here > there, part, 0.0), 0, 1)), np.nan)


def _t_wave(search: Search, hearts: Hearts, off: F64, known: tuple[F32, F32]) -> tuple[Waves, F64]:
    seen = search.seen
    fs = seen.fs
    size, level = known
    rr: F64 = np.where(np.isfinite(hearts.after), hearts.after, hearts.before)
    rr = np.where(np.isfinite(rr), rr, DEFAULT_RR_S * fs)
    usual = np.fmax(rr, hearts.before)
    longest = np.minimum(T_UNTIL * np.sqrt(usual / fs), T_LONGEST_S) * fs
    last = np.minimum(longest, np.maximum(rr - T_NEXT_S * fs, T_SHARE * rr))
    first = off - hearts.at + T_FROM_S * fs
    least = np.maximum(SMALLEST_T * size, NOISE_T * _noise(search, hearts.at, NOISE_T_S))
    wave = _wave(search, hearts.at, Span(first, last, 0, seen.samples(T_LONGEST_S), level), least)
    room = hearts.at + rr - NEXT_QRS_S * fs - wave.at
    end = wave.at + _flank(search, wave, (T_FLANK_S, T_REST_S), room, 1)
    return wave, end


def _p_wave(search: Search, hearts: Hearts, on: F64, known: tuple[F32, F64]) -> tuple[Waves, F64]:
    seen = search.seen
    fs = seen.fs
    size, t_end = known
    rr: F64 = np.where(np.isfinite(hearts.before), hearts.before, DEFAULT_RR_S * fs)
    first = np.maximum(-np.minimum(P_FROM_S * fs, P_SHARE * rr), t_end - hearts.at)
    last = on - hearts.at - P_UNTIL_S * fs
    least = np.maximum(SMALLEST_P * size, NOISE_P * _noise(search, hearts.at, NOISE_P_S))
    wave = _wave(search, hearts.at, Span(first, last, seen.samples(P_FROM_S), 0, None, P_UPRIGHT), least)
    room = np.asarray(wave.at - np.maximum(hearts.at - rr + NEXT_QRS_S * fs, t_end), np.float64)
    begin = wave.at - _flank(search, wave, (P_FLANK_S, P_REST_S), room, -1)
    return wave, begin


def _noise(search: Search, at: I64, span_s: tuple[float, float]) -> F64:
    """Return the mean distance of the samples from their course in a span around R."""
    seen = search.seen
    first, width = round(span_s[0] * seen.fs), seen.samples(span_s[1] - span_s[0])
    rest = windows(seen, search.rest, at, (first, first + width - 1))
    return np.asarray(rest.mean(axis=1))


def _wave(search: Search, at: I64, span: Span, least: F64) -> Waves:
    """Return what stands farthest out of the line from the first place of a span to its level and to its last place."""
    seen = search.seen
    course = windows(seen, search.course, at, (-span.before, span.after))
    first, last, known = _columns(seen, at, span)
    row, column = np.arange(at.size), np.arange(course.shape[1])
    left, right = course[row, first], course[row, last]
    level = right if span.level is None else span.level
    share = (column - first[:, None]) / (last - first)[:, None]
    course -= left[:, None]
    outside = (column < first[:, None]) | (column > last[:, None])
    up = course - share * (np.maximum(right, level) - left)[:, None]
    down = share * (np.minimum(right, level) - left)[:, None] - course
    for height in (up, down):
        np.copyto(height, 0, where=outside)
    crest, pit = up.argmax(axis=1), down.argmax(axis=1)
    rise, fall = up[row, crest], down[row, pit]
    upright = span.upright * rise >= fall
    top = np.where(upright, crest, pit)
    known &= (np.where(upright, rise, fall) > least) & (top > first) & (top < last)
    place = np.where(known, at - span.before + top, -1)
    sign = np.where(upright, np.float32(1), np.float32(-1))
    inner = np.clip(place, 1, seen.x.size - 2)
    shift = top_shift(search.course[inner - 1] - search.course[inner], search.course[inner + 1] - search.course[inner])
    return Waves(place, sign, np.where(known, place + shift, np.nan))


def _columns(seen: Curve, at: I64, span: Span) -> tuple[I64, I64, Bool]:
    """Return the first and last column of a span, and where there is such a span inside the run."""
    size = span.before + span.after
    known = np.isfinite(span.first) & np.isfinite(span.last)
    first = np.ceil(np.where(known, span.first, 0)).astype(np.int64) + span.before
    last = np.floor(np.where(known, span.last, 0)).astype(np.int64) + span.before
    low, high = seen.run(at)
    known &= (last - first >= SHORTEST_S * seen.fs) & (first >= 0) & (last <= size)
    known &= (at - span.before + first >= low) & (at - span.before + last < high)
    return np.where(known, first, 0), np.where(known, last, size), known


def _flank(search: Search, wave: Waves, spans_s: tuple[float, float], room: F64, way: int) -> F64:
    """Return how many samples from its peak a wave ends in a direction (``way`` 1 or −1), NaN where there is no room.

    Vázquez-Seisdedos CR, Neto JE, Marañón Reyes EJ, Klautau A, Limão de Oliveira RC. New approach for T-wave end detection on
    electrocardiogram. BioMedical Engineering OnLine 2011;10:77: of all trapezia whose corners are the steepest place of the
    flank and a place in the rest behind it, the one with the largest area touches the end of the wave. Deviation: the rest is
    so long behind the steepest place, or ends where there is no room for it.
    """
    seen = search.seen
    flank, rest = seen.samples(spans_s[0]), seen.samples(spans_s[1])
    size = flank + rest
    at = np.maximum(wave.at, 0)
    y = windows(seen, search.course, at, (0, size) if way > 0 else (-size, 0))
    y = y[:, ::way] * wave.sign[:, None]
    low, high = seen.run(at)
    free = np.minimum(room, (high - 1 - at) if way > 0 else (at - low))
    column, row = np.arange(size + 1), np.arange(at.size)
    drop = y[:, :flank] - y[:, 1 : flank + 1]
    drop[column[1 : flank + 1] > free[:, None]] = -np.inf
    steepest = drop.argmax(axis=1)
    until = np.minimum(steepest + rest, free)
    area = (y[row, steepest][:, None] - y) * ((2 * until - steepest)[:, None] - column)
    area[(column <= steepest[:, None]) | (column > until[:, None])] = 0
    end = area.argmax(axis=1)
    inner = np.clip(end, 1, size - 1)
    shift = np.where(inner == end, top_shift(area[row, inner - 1] - area[row, end], area[row, inner + 1] - area[row, end]), 0.0)
    good = (wave.at >= 0) & (until - steepest >= rest / 2) & (area[row, end] > 0)
    return np.where(good, end + shift, np.nan)
