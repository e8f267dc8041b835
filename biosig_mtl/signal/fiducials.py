"""Named points inside a pulse: on the curve, on its slope (VPG) and on its second derivative (APG)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from biosig_mtl.signal.runs import find, span_argmax
from biosig_mtl.signal.trace import REACH_S as TRACE_REACH_S
from biosig_mtl.signal.trace import Trace, trace
from biosig_mtl.types import F64, I64, Beats, Bool, ChannelInfo, RecipeError, Record

# Savitzky–Golay: length and degree of the polynomial that is fitted around every sample.
FIT_S, DEGREE = 0.088, 4
# The notch is looked for from here after the systolic peak to this share of the beat, at most so long after the peak.
NOTCH_FROM_S, NOTCH_SHARE, NOTCH_UNTIL_S = 0.06, 0.65, 0.45
NOTCH_MINIMUM_S = 0.1
DIASTOLIC_S = 0.25
KINDS = {"ppg": ("foot", "u", "a", "b", "c", "d", "e", "notch", "diastolic"), "abp": ("foot", "u", "notch")}


@dataclass(frozen=True)
class DetectFiducials:
    """Find the named points of every complete beat, as fractional samples; NaN where a point does not exist.

    ``foot`` (intersecting tangents), ``u`` (steepest rise), ``notch`` (dicrotic), ``diastolic`` (peak, or where the fall is
    slowest), and of the second derivative ``a b c d e``. An ABP channel gets ``foot u notch``.

    Parameters
    ----------
    channel
        A channel of kind ``ppg`` or ``abp`` that has beats. For a PPG use 0.5–12 Hz: 8 Hz moves the notch.
    name
        What the beats are called, where that is not the channel's name.
    optional
        Return the record unchanged if it has no such channel.

    Notes
    -----
    Names and order of a–e after Takazawa 1998 and Elgendi 2012; ``e`` is the highest point of the second derivative between
    0.06 s after the peak and 65 % of the beat, the notch the minimum of the curve within 0.1 s of it, or ``e`` itself where the
    curve has no minimum there; ``c`` the first maximum after ``b`` and ``d`` the lowest point between ``c`` and ``e``.
    Derivatives by Savitzky–Golay (degree 4 over 0.09 s), extremes between samples by a parabola.
    """

    channel: str
    name: str | None = None
    optional: bool = False

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds, beyond that of the beats."""
        return TRACE_REACH_S

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels unchanged; raise `RecipeError` if this channel has no fiducials."""
        source = find(channels, self.channel, "detect_fiducials", optional=self.optional)
        if source is not None:
            _check(source.kind, self.channel)
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record whose beats of the channel carry points."""
        source = find(record.channels, self.channel, f"{record.name}: detect_fiducials", optional=self.optional)
        if source is None:
            return record
        _check(source.kind, self.channel)
        name = self.name or self.channel
        if name not in record.beats:
            raise RecipeError(f"{record.name}: detect_fiducials finds no beats '{name}'; put 'detect_beats' before it")
        beats = record.beats[name]
        points = {word: np.full(len(beats), np.nan) for word in KINDS[source.kind]}
        complete = beats.end >= 0
        if complete.any():
            found = _points(trace(record, source), beats, complete)
            for word, values in points.items():
                values[complete] = found[word]
        return record.with_beats(replace(beats, points=points))


def _check(kind: str, channel: str) -> None:
    if kind not in KINDS:
        raise RecipeError(f"detect_fiducials: channel '{channel}' is of kind '{kind}'; points are known in {', '.join(KINDS)}")


def _points(seen: Trace, beats: Beats, complete: Bool) -> dict[str, F64]:
    onset, peak, end = beats.onset[complete], beats.peak[complete], beats.end[complete]
    fs = seen.fs
    x, slope, bend = (derivative(seen.x, order, fs) for order in (0, 1, 2))
    u = span_argmax(slope, onset, peak + 1)
    a = span_argmax(bend, np.maximum(onset - seen.samples(0.04), 0), u + 1)
    b = span_argmax(-bend, u, np.minimum(peak + seen.samples(0.06), end))
    first = np.maximum(peak + seen.samples(NOTCH_FROM_S), b + 2)
    last = np.minimum(onset + (NOTCH_SHARE * (end - onset)).astype(np.int64), peak + seen.samples(NOTCH_UNTIL_S))
    tops = _tops(bend)
    heights = np.full(bend.size, -np.inf)
    heights[tops] = bend[tops]
    e = span_argmax(heights, first, np.maximum(last, first + 1))
    has_e = np.isfinite(heights[e]) & (last > first)
    c = _first(tops, b + 1, e - 1)
    has_c = has_e & (c >= 0)
    d = span_argmax(-bend, c + 1, np.where(has_c, e, c + 2))
    has_d = has_c & (d > c + 1)
    near = seen.samples(NOTCH_MINIMUM_S)
    low = _first(_tops(-x), np.maximum(e - near, peak + 2), e + near)
    notch = np.where(low >= 0, _fine(-x, low), _fine(bend, e))
    after = np.where(low >= 0, low, e) + 1
    until = np.minimum(after + seen.samples(DIASTOLIC_S), end - 1)
    top, slow = _first(_tops(x), after, until), _first(_tops(slope), after, until)
    diastolic = np.where(top >= 0, _fine(x, top), np.where(slow >= 0, _fine(slope, slow), np.nan))
    steepest = slope[u]
    with np.errstate(divide="ignore", invalid="ignore"):
        foot = np.where(steepest > 0, u - _step((x[u] - x[onset]) / steepest * fs), np.nan)
    return {
        "foot": np.where(foot >= onset - seen.samples(0.1), foot, np.nan),
        "u": _fine(slope, u),
        "a": _fine(bend, a),
        "b": _fine(-bend, b),
        "c": np.where(has_d, _fine(bend, c), np.nan),
        "d": np.where(has_d, _fine(-bend, d), np.nan),
        "e": np.where(has_e, _fine(bend, e), np.nan),
        "notch": np.where(has_e, notch, np.nan),
        "diastolic": np.where(has_e, diastolic, np.nan),
    }


def derivative(x: F64, order: int, fs: float) -> F64:
    """Return the smoothed ``order``-th derivative in units per second to that power."""
    from scipy.ndimage import correlate1d

    half = max(round(FIT_S * fs / 2), DEGREE // 2 + 1)
    out: F64 = correlate1d(x, _weights(half, order), mode="nearest")
    return out * fs**order if order else out


@lru_cache(maxsize=32)
def _weights(half: int, order: int) -> F64:
    """Return the weights of the polynomial's derivative at the middle of ``2 half + 1`` samples (Savitzky & Golay 1964)."""
    at = np.arange(-half, half + 1, dtype=np.float64)
    fit = np.linalg.pinv(np.vander(at, DEGREE + 1, increasing=True))
    return np.asarray(fit[order] * (1, 1, 2)[order])


def _tops(x: F64) -> I64:
    """Return where ``x`` is above the sample before and not below the one after."""
    return np.flatnonzero((x[1:-1] > x[:-2]) & (x[1:-1] >= x[2:])) + 1


def _first(at: I64, start: I64, stop: I64) -> I64:
    """Return the first of the positions inside every [start, stop), −1 where there is none."""
    spot = np.searchsorted(at, start)
    found = np.append(at, np.iinfo(np.int64).max)[spot]
    return np.where(found < stop, found, -1)


def _fine(x: F64, at: I64) -> F64:
    """Return the top of the parabola through a greatest sample and its neighbours."""
    mid = np.clip(at, 1, x.size - 2)
    left, right = x[mid - 1], x[mid + 1]
    curve = left - 2 * x[mid] + right
    peaked = (curve < 0) & (x[mid] >= left) & (x[mid] >= right)
    shift = np.where(peaked, 0.5 * (left - right) / np.where(peaked, curve, 1.0), 0.0)
    fine: F64 = at + _step(np.clip(shift, -0.5, 0.5))
    return fine


def _step(part: F64) -> F64:
    """Return parts of a sample in steps of 2⁻¹⁶, so that counting from another sample changes no bit."""
    return np.round(part * 65536) / 65536
