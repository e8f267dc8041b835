"""Shape of the heart beat in the ECG: the median beat of a window around its R peak, normalised by its own span."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import at
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32

# From before the P wave to behind the T wave of a beat at 80 per minute.
GRID_S = np.arange(-0.24, 0.521, 0.02)
SHOWN = 2  # every second point is a feature: 40 ms are enough for P and T; the QRS has its own width


def ecg_shape(inputs: Inputs) -> dict[str, F32]:
    """Return the median beat at 20 times around the R peak, its span, width and polarity, each of shape (window,).

    The beat is the median over the R peaks that have the whole grid inside the window; its level is the median over the grid
    (the isoelectric line takes most of it) and its height is divided by its span, so lead gain does not matter, but for
    ``ecg.span``. ``ecg.width_s`` is how long the beat is farther from its level than a quarter of the span: QRS duration with
    what a high T wave adds. All is NaN where there is no usable ECG. Our own definition.
    """
    name = inputs.settings.ecg
    beats, signal = inputs.beats.get(name), inputs.signals.get(name)
    median = np.full((GRID_S.size, inputs.count), np.nan, np.float32)
    count = np.zeros(inputs.count, np.float32)
    if beats is not None and signal is not None and len(beats):
        position = beats.peak[:, None] + GRID_S * inputs.fs
        whole = (position[:, 0] >= 0) & (position[:, -1] <= inputs.samples - 1)
        values = at(signal, beats.window[whole], position[whole]).astype(np.float32)
        ordered = by_window(values.T, beats.window[whole], inputs.count)
        median, count = ordered.median, ordered.count[0].astype(np.float32)
    level, low, high = np.median(median, axis=0), median.min(axis=0), median.max(axis=0)
    span = np.where(high > low, high - low, np.nan).astype(np.float32)
    beat = (median - level) / span
    step_s = float(GRID_S[1] - GRID_S[0])
    width = np.where(np.isnan(span), np.nan, (np.abs(beat) > 0.25).sum(axis=0) * step_s)
    columns = {f"ecg.at_{round(1000 * s):+d}ms": row for s, row in zip(GRID_S[::SHOWN], beat[::SHOWN], strict=True)}
    return columns | {
        "ecg.span": span,
        "ecg.width_s": width.astype(np.float32),
        "ecg.polarity": np.sign(high - level + (low - level)).astype(np.float32),
        "ecg.n_beats": count,
    }
