"""Waveform channels of a window as a network sees them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.types import F32, RecipeError


def waveform(inputs: Inputs) -> F32:
    """Return the waveform channels, shape (window, channel, time), float32.

    Order of work: derivatives, resampling, scaling. Scaling comes last so that mean and SD hold for what is handed on.
    """
    settings = inputs.settings
    made = {"vpg": lambda: inputs.vpg, "apg": lambda: inputs.apg}
    chosen = [made[name]() if name in made else inputs.signals[name] for name in settings.waveform]
    samples = output_samples(inputs.samples, inputs.fs, settings.waveform_hz)
    out = np.empty((inputs.count, len(chosen), samples), np.float32)
    for k, channel in enumerate(chosen):
        out[:, k] = channel if samples == inputs.samples else _resample(channel, inputs.fs, settings.waveform_hz)
    return zscore(out) if settings.waveform_scale == "zscore" else out


def output_samples(samples: int, fs: float, waveform_hz: float | None) -> int:
    """Return the length of the waveform channels in samples; raise `RecipeError` if ``waveform_hz`` is above ``fs``."""
    if waveform_hz is None:
        return samples
    if waveform_hz > fs:
        raise RecipeError(
            f"waveform_hz {waveform_hz:g} is above the {fs:g} Hz of the windows: lower it, or resample the record"
        )
    return math.ceil(samples * _ratio(fs, waveform_hz))


def resampled(x: F32, fs: float, hz: float) -> F32:
    """Return rows (row, time) at another rate; raise `RecipeError` if ``hz`` is above ``fs``. NaN rows stay NaN."""
    if hz == fs:
        return x
    output_samples(x.shape[1], fs, hz)
    known = np.isfinite(x).all(axis=1)
    out = np.full((x.shape[0], math.ceil(x.shape[1] * _ratio(fs, hz))), np.nan, np.float32)
    if known.any():
        out[known] = _resample(x[known], fs, hz)
    return out


def zscore(x: F32) -> F32:
    """Scale along the last axis to mean 0 and SD 1; what is constant, up to float32 rounding, becomes zeros."""
    if x.size == 0:
        return x
    size = np.maximum(x.max(axis=-1, keepdims=True), -x.min(axis=-1, keepdims=True))
    centred = x - x.mean(axis=-1, keepdims=True, dtype=np.float64).astype(np.float32)
    sd = np.sqrt(np.einsum("...t,...t->...", centred, centred) / np.float32(x.shape[-1]))[..., None]
    alive = sd > 1e-6 * size
    factor = np.where(alive, 1 / np.where(alive, sd, 1.0), 0.0).astype(np.float32)
    centred *= factor
    return np.asarray(centred, dtype=np.float32)


def _ratio(fs: float, waveform_hz: float) -> Fraction:
    return Fraction(waveform_hz / fs).limit_denominator(1000)


def _resample(x: F32, fs: float, waveform_hz: float | None) -> F32:
    """Resample through a polyphase low-pass below half the new rate; the first sample keeps its time."""
    # scipy.signal takes long to import, and most recipes keep the rate.
    from scipy.signal import resample_poly

    ratio = _ratio(fs, waveform_hz or fs)
    if x.shape[0] == 0:
        return np.empty((0, math.ceil(x.shape[1] * ratio)), np.float32)
    # "line" continues the signal instead of dropping to zero, so an offset leaves no step at the ends.
    return np.asarray(resample_poly(x, ratio.numerator, ratio.denominator, axis=-1, padtype="line"), dtype=np.float32)
