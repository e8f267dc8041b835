"""Skin conductance taken apart: the tonic part, and single responses; all windows at once, at the few samples of a wearable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.features.trail_values import Stretch
from biosig_mtl.types import F64, I64

WORK_HZ = 4.0
SMOOTH_S = 1.0
# Rise and recovery of the sweat glands' response to one burst of their nerve (Benedek and Kaernbach 2010, starting values).
TAU_S = (0.75, 2.0)
STRETCH_S = 10.0
STEP_S = 2.5
# The least response that is told from noise (Boucsein et al. 2012 name 0.01 to 0.05 µS), and how long its rise may take.
LEAST_US = 0.02
RISE_S = (0.5, 5.0)


def smooth(x: F64, fs: float) -> F64:
    """Return a Hann-weighted mean over about one second along the last axis; the ends are held."""
    half = int(SMOOTH_S * fs / 2)
    if half < 1:
        return x
    weight = 0.5 + 0.5 * np.cos(np.pi * np.arange(-half, half + 1) / (half + 1))
    weight /= weight.sum()
    padded = np.pad(x, ((0, 0), (half, half)), mode="edge")
    out = np.zeros_like(x)
    for k, w in enumerate(weight):
        out += w * padded[:, k : k + x.shape[1]]
    return out


def tonic(x: F64, known: Stretch) -> F64:
    """Return the tonic part of smoothed skin conductance, shape (window, time).

    Conductance is taken as what drives the glands, drawn out by their response: a rise of 0.75 s and a recovery of 2 s. The
    inverse of that response is a sum of derivatives, d = x + (τ₁ + τ₂) x′ + τ₁ τ₂ x″, so the driver needs no search: its
    bursts last a second or two where the responses last ten. The tonic driver is its median over stretches of 10 s, every
    2.5 s, joined by lines; drawn out again, which for so slow a course is a delay of τ₁ + τ₂, it is the tonic conductance.

    Continuous decomposition after Benedek and Kaernbach, J. Neurosci. Methods 190 (2010) 80, with two deviations: the time
    constants are those they start with, not fitted to each person, and the tonic driver is a running median instead of a
    search for stretches without bursts. The straight trend is taken out first and put back: held ends do not bend it.
    """
    count, samples = x.shape
    at_s = np.arange(samples) / known.fs
    line = known.slope()[:, None] * (at_s - at_s.mean()) if samples > 1 else np.zeros((count, samples))
    line = np.where(np.isfinite(line), line, 0)
    driver = _driver(x - line, known.fs)
    size = min(max(round(STRETCH_S * known.fs), 1), samples)
    step = max(round(STEP_S * known.fs), 1)
    starts = np.arange(samples - size, -1, -step)[::-1]
    views = np.lib.stride_tricks.sliding_window_view(driver, size, axis=1)[:, starts]
    knots = np.median(views, axis=2)
    knot_s = (starts + (size - 1) / 2) / known.fs + sum(TAU_S)
    right = np.clip(np.searchsorted(knot_s, at_s), 1, max(starts.size - 1, 1))
    left = right - 1
    right = np.minimum(right, starts.size - 1)
    width = np.where(right > left, knot_s[right] - knot_s[left], 1.0)
    part = np.clip((at_s - knot_s[left]) / width, 0, 1)
    return np.asarray(knots[:, left] + part * (knots[:, right] - knots[:, left]) + line)


def _driver(x: F64, fs: float) -> F64:
    padded = np.pad(x, ((0, 0), (1, 1)), mode="edge")
    first = (padded[:, 2:] - padded[:, :-2]) * (fs / 2)
    second = (padded[:, 2:] - 2 * x + padded[:, :-2]) * fs**2
    return np.asarray(x + sum(TAU_S) * first + TAU_S[0] * TAU_S[1] * second)


@dataclass(frozen=True)
class Responses:
    """Skin conductance responses, flat over windows in order of time; each of shape (response,)."""

    window: I64
    onset_s: F64
    rise_s: F64
    amplitude: F64


def responses(phasic: F64, known: Stretch) -> Responses:
    """Return the responses in the phasic part: rises from trough to peak of 0.02 µS or more that take 0.5 s or longer.

    A rise is looked back upon for 5 s at most: what crept up before belongs to no response. One that began before the trail, or
    has not reached its peak at its end, is left out: its size is not known. One that begins on the way down from another is
    measured from where it begins, so its amplitude comes out smaller (the usual weakness of this rule: Boucsein et al. 2012).
    What begins or peaks where the trail is not known is left out as well.
    """
    change = np.diff(phasic, axis=1)
    samples = change.shape[1]
    # A level stretch goes on as what came before it: coarse converters have many. ``last`` is the last change up to here.
    last = np.maximum.accumulate(np.where(change != 0, np.arange(samples), -1), axis=1)
    up = np.take_along_axis(change > 0, np.maximum(last, 0), axis=1) & (last >= 0)
    window, low = np.nonzero(up[:, 1:] & ~up[:, :-1])
    row, high = np.nonzero(~up[:, 1:] & up[:, :-1])
    # The trough of a peak is the last one before it in its window; change k leads from sample k to k + 1.
    before = np.searchsorted(window * samples + low, row * samples + high) - 1
    own = (before >= 0) & (window[np.maximum(before, 0)] == row) if window.size else np.zeros(row.size, bool)
    row, high, before = row[own], high[own], before[own]
    peak = last[row, high] + 1
    trough = np.maximum(low[before] + 1, peak - round(RISE_S[1] * known.fs))
    amplitude = phasic[row, peak] - phasic[row, trough]
    rise_s = (peak - trough) / known.fs
    good = (amplitude >= LEAST_US) & (rise_s >= RISE_S[0]) & known.known[row, peak] & known.known[row, trough]
    return Responses(row[good], trough[good] / known.fs, rise_s[good], amplitude[good])
