"""Power of interval series in the bands of heart rate variability, all windows at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from biosig_mtl.features.beat_intervals import Intervals
from biosig_mtl.types import EMPTY, F64, I64

RATE_HZ = 4.0
# Low and high corner, and the least length of a window that holds some periods of it (Task Force 1996).
BANDS = {"vlf": (0.0033, 0.04, 300.0), "lf": (0.04, 0.15, 120.0), "hf": (0.15, 0.4, 60.0)}
# NN intervals must fill this share of the window: else most of what is seen is interpolation.
LEAST_SHARE = 0.8
# Across a longer step the curve is a straight line: a spline would swing. One left-out beat (three intervals) is not so long.
GAP_S = 4.0
SEGMENT_S = 150.0


def powers(nn: Intervals, windows: int, length_s: float, least_s: Mapping[str, float] = EMPTY) -> dict[str, F64]:
    """Return power in ms² in VLF, LF, HF and all three, LF/HF, and LF and HF as shares of their sum, each of shape (window,).

    The intervals, each at its end, are joined by a natural cubic spline, read at 4 Hz, and their spectrum is estimated after
    Welch (IEEE Trans. Audio 15 (1967) 70): Hann segments of half the window, at most 150 s, that overlap by half, each less its
    mean and filled up to twice its length with zeros. A line counts for a band with the part of its width that lies inside. NaN
    in windows shorter than 60 s (HF), 120 s (LF and ratios), 300 s (VLF, total), or less than 80 % filled with NN intervals;
    ``least_s`` sets other lengths for some bands.

    A spline, because lines between beats lose 30 % of a breath at 0.25 Hz, and monotone curves 12 %, at 0.9 s a beat; the
    spline loses 2 %. ``lfn`` and ``hfn`` are Task Force's normalised units: shares of total less VLF.
    """
    names = ("vlf_ms2", "lf_ms2", "hf_ms2", "total_ms2", "lf_hf", "lfn", "hfn")
    out = {name: np.full(windows, np.nan) for name in names}
    usable = np.bincount(nn.window, nn.seconds, windows) >= LEAST_SHARE * length_s
    # Tolerance of one sample of the grid: a window of 60 s at an uneven rate may be cut a little short.
    fits = {band: length_s + 1 / RATE_HZ >= least_s.get(band, least) for band, (_, _, least) in BANDS.items()}
    if not fits["hf"] or not usable.any():
        return out
    keep = usable[nn.window]
    rows = np.flatnonzero(usable)
    number = np.cumsum(usable) - 1
    power = _bands(_at_4_hz(number[nn.window[keep]], nn.end_s[keep], nn.seconds[keep], rows.size), length_s)
    for band, fit in fits.items():
        if fit:
            out[f"{band}_ms2"][rows] = power[band]
    lf, hf = out["lf_ms2"], out["hf_ms2"]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = {"lf_hf": lf / hf, "lfn": lf / (lf + hf), "hfn": hf / (lf + hf)}
    return out | shares | {"total_ms2": out["vlf_ms2"] + lf + hf}


def _at_4_hz(window: I64, t: F64, x: F64, windows: int) -> tuple[F64, I64]:
    """Return the series in ms at 4 Hz from its first to its last time: (window, sample), and the number of known samples."""
    bend = _curvature(window, t, x)
    first = np.searchsorted(window, np.arange(windows))
    last = np.append(first[1:], window.size) - 1
    length = np.floor((t[last] - t[first]) * RATE_HZ + 1e-9).astype(np.int64) + 1
    at = t[first][:, None] + np.arange(int(length.max())) / RATE_HZ
    # One rising axis for all windows: the windows lie behind each other, far enough apart not to touch.
    apart = float(t.max()) + float(at.max()) + 1
    key = (at + np.arange(windows)[:, None] * apart).ravel()
    left = np.searchsorted(t + window * apart, key, side="right").reshape(at.shape) - 1
    left = np.clip(left, first[:, None], np.maximum(last - 1, first)[:, None])
    right = np.minimum(left + 1, last[:, None])
    step = np.maximum(t[right] - t[left], 1e-3)
    b = np.clip((at - t[left]) / step, 0, 1)
    a = 1 - b
    swing = ((a**3 - a) * bend[left] + (b**3 - b) * bend[right]) * step**2 / 6
    return 1000 * (a * x[left] + b * x[right] + np.where(step > GAP_S, 0, swing)), length


def _curvature(window: I64, t: F64, x: F64) -> F64:
    """Return the second derivatives of the natural cubic splines of all windows: one system of equations with three diagonals.

    Windows do not touch: the equations of an end hold nothing but the end.
    """
    from scipy.linalg import solve_banded

    if t.size < 3:
        return np.zeros(t.size)
    step = np.maximum(np.diff(t), 1e-3)
    slope = np.diff(x) / step
    inner = np.zeros(t.size, bool)
    inner[1:-1] = (window[1:-1] == window[:-2]) & (window[1:-1] == window[2:])
    at = np.flatnonzero(inner)
    bands = np.zeros((3, t.size))
    bands[1] = 1
    bands[0, at + 1] = step[at]
    bands[1, at] = 2 * (step[at - 1] + step[at])
    bands[2, at - 1] = step[at - 1]
    right = np.zeros(t.size)
    right[at] = 6 * (slope[at] - slope[at - 1])
    solved: F64 = solve_banded((1, 1), bands, right, check_finite=False)
    return solved


def _bands(series: tuple[F64, I64], length_s: float) -> dict[str, F64]:
    """Return the power of every band by Welch's method, shape (window,)."""
    x, length = series
    size = int(min(length_s / 2, SEGMENT_S) * RATE_HZ)
    # The segments of each window spread over what it has: their overlap is half, or a little more.
    count = max(3, round(2 * length_s * RATE_HZ / size) - 1)
    room = np.maximum(length - size, 0)
    start = np.rint(room[:, None] * (np.arange(count) / (count - 1))).astype(np.int64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    # Twice the length: finer lines share out more evenly what lies at the edge of a band.
    density = np.zeros((x.shape[0], size + 1))
    row = np.arange(x.shape[0])[:, None]
    for k in range(count):
        part = x[row, np.minimum(start[:, k, None] + np.arange(size), length[:, None] - 1)]
        spectrum = np.fft.rfft((part - part.mean(axis=1, keepdims=True)) * hann, 2 * size, axis=1)
        density += spectrum.real**2 + spectrum.imag**2
    density *= 2 / (RATE_HZ * (hann @ hann) * count)
    width = RATE_HZ / (2 * size)
    hz = np.arange(density.shape[1]) * width
    out = {}
    for band, (low, high, _) in BANDS.items():
        inside = np.clip(np.minimum(hz + width / 2, high) - np.maximum(hz - width / 2, low), 0, None)
        out[band] = (density * inside).sum(axis=1)
    return out
