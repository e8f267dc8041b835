"""The spectrum of the pulse over a whole window: its rhythm and how much of it is rhythm."""

from __future__ import annotations

import math

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.rowwise import SAMPLES, in_blocks, power
from biosig_mtl.types import F32, F64

BAND_HZ = (0.5, 12.0)
# 30 to 210 beats a minute.
RATE_HZ = (0.5, 3.5)
PEAKS = 3
# A line is counted within this share of the rate on either side.
WIDTH = 0.25


def pulse_spectrum(inputs: Inputs) -> dict[str, F32]:
    """Return the rate line of the pulse's spectrum and the shares of power at 1, 2 and 3 times its frequency, shape (window,).

    ``spectrum.peak_hz`` is the highest line within 0.5–3.5 Hz of the Hann-windowed band-passed pulse, between lines by a
    parabola; ``spectrum.share_k`` the power within a quarter of that frequency around its k-fold, over the power in 0.5–12 Hz.
    The harmonics of the single beat, which a changing rate does not smear, stand in `pulse_shape`. NaN where the pulse is flat.
    """
    block = max(1, SAMPLES // max(inputs.samples, 1))
    made = in_blocks(lambda rows: _lines(inputs.pulse[rows], inputs.fs), inputs.count, block)
    return {f"spectrum.{name}": np.where(np.isfinite(value), value, np.nan).astype(np.float32) for name, value in made.items()}


def _lines(pulse: F32, fs: float) -> dict[str, F32 | F64]:
    samples = pulse.shape[1]
    # At least eight seconds on the frequency axis: a line of a short window is read between its own lines.
    length = 2 ** math.ceil(math.log2(max(samples, 8 * fs, 2)))
    centred = pulse - pulse.mean(axis=1, keepdims=True)
    step = fs / length
    last = math.ceil(max(BAND_HZ[1], (PEAKS + WIDTH) * RATE_HZ[1]) / step) + 2
    lines = power(centred, length)[:, :last].astype(np.float64)
    top = _top(lines, *(round(hz / step) for hz in RATE_HZ))
    alive = np.abs(centred).max(axis=1, initial=0) > 1e-6 * np.abs(pulse).max(axis=1, initial=0)
    running = np.concatenate([np.zeros((len(lines), 1)), np.cumsum(lines, axis=1)], axis=1)
    total = _up_to(running, BAND_HZ[1] / step) - _up_to(running, BAND_HZ[0] / step)
    # The Hann window leaves nothing of one or two samples.
    alive &= total > 0
    total = np.where(alive, total, np.nan)
    out: dict[str, F32 | F64] = {"peak_hz": np.where(alive, top * step, np.nan)}
    with np.errstate(divide="ignore", invalid="ignore"):
        for k in range(1, PEAKS + 1):
            line = _up_to(running, (k + WIDTH) * top) - _up_to(running, (k - WIDTH) * top)
            out[f"share_{k}"] = line / total
    return out


def _top(lines: F64, low: int, high: int) -> F64:
    """Return where the highest line stands, in lines, between them by a parabola."""
    row = np.arange(len(lines))
    best = low + np.argmax(lines[:, low : high + 1], axis=1)
    left, middle, right = (lines[row, np.clip(best + k, 0, lines.shape[1] - 1)] for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    peaked = (bend < 0) & (middle >= left) & (middle >= right)
    return np.asarray(best + np.where(peaked, 0.5 * (left - right) / np.where(peaked, bend, 1.0), 0.0))


def _up_to(running: F64, place: float | F64) -> F64:
    """Return the power below a place on the axis of lines; line k reaches from k − ½ to k + ½."""
    edge = np.clip(np.broadcast_to(np.asarray(place) + 0.5, len(running)), 0, running.shape[1] - 1)
    left = np.minimum(edge.astype(np.int64), max(running.shape[1] - 2, 0))
    row = np.arange(len(running))
    return np.asarray(running[row, left] + (edge - left) * (running[row, left + 1] - running[row, left]))
