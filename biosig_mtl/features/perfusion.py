"""Amplitude, offset and spectrum of the pulse wave over one window."""

from __future__ import annotations

import math

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import at
from biosig_mtl.features.rowwise import SAMPLES, in_blocks, power
from biosig_mtl.features.summary import by_window
from biosig_mtl.types import F32, F64

BAND_HZ = (0.5, 8.0)
RATE_BAND_HZ = (1.0, 2.25)
SNR_LIMIT_DB = 60.0


def perfusion(inputs: Inputs) -> dict[str, F32]:
    """Return AC, DC, their ratio, and moments and spectrum of the window, each of shape (window,).

    AC is the median height of the beats in the channel as recorded, DC its mean, perfusion index = AC/DC in per cent where DC
    is positive. Skewness, kurtosis and zero crossings are those of the band-passed pulse; spectral numbers are those of the
    channel as recorded, Hann-windowed: entropy and the 1–2.25 Hz share within 0.5–8 Hz, SNR as power in 0.5–8 Hz against all
    above 8 Hz, in dB within ±60 (Elgendi, Bioengineering 3 (2016) 21).
    """
    raw = inputs.signals[inputs.settings.raw]
    ac, dc = _ac(inputs, raw), raw.mean(axis=1, dtype=np.float64)
    block = max(1, SAMPLES // max(inputs.samples, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        index = np.where(dc > 0, 100 * ac / dc, np.nan)
    out = {
        "ppg.ac": ac,
        "ppg.dc": dc,
        "ppg.perfusion_percent": np.where(np.isfinite(index), index, np.nan),
        **in_blocks(lambda rows: {**_moments(inputs.pulse[rows]), **_spectrum(raw[rows], inputs.fs)}, inputs.count, block),
    }
    return {name: value.astype(np.float32) for name, value in out.items()}


def _ac(inputs: Inputs, raw: F32) -> F32:
    b = inputs.pulse_beats
    onset, peak, end = (at(raw, b.window, position) for position in (b.onset, b.peak, b.end))
    height = peak - onset - (end - onset) * (b.peak - b.onset) / (b.end - b.onset)
    median: F32 = by_window(height[None].astype(np.float32), b.window, inputs.count).median[0]
    return median


def _moments(pulse: F32) -> dict[str, F32 | F64]:
    centred = pulse - pulse.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    square = centred * centred
    variance = square.mean(axis=1, dtype=np.float64)
    # What is left of a constant after float32 rounding is not a signal.
    alive = np.sqrt(variance) > 1e-6 * np.abs(pulse).max(axis=1, initial=0)
    variance = np.where(alive, variance, np.nan)
    up = centred > 0
    crossings = (up[:, 1:] != up[:, :-1]).mean(axis=1) if pulse.shape[1] > 1 else np.zeros(pulse.shape[0])
    return {
        "ppg.skewness": (square * centred).mean(axis=1, dtype=np.float64) / variance**1.5,
        "ppg.kurtosis": (square * square).mean(axis=1, dtype=np.float64) / variance**2 - 3,
        "ppg.zero_crossings": np.where(alive, crossings, np.nan),
    }


def _spectrum(raw: F32, fs: float) -> dict[str, F32 | F64]:
    samples = raw.shape[1]
    # At least four seconds on the frequency axis, so that band edges mean the same for short windows.
    length = 2 ** math.ceil(math.log2(max(samples, 4 * fs)))
    centred = raw - raw.mean(axis=1, keepdims=True)
    lines = power(centred, length)
    hz = np.fft.rfftfreq(length, 1 / fs)
    inside = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    band = lines[:, inside]
    total = band.sum(axis=1, dtype=np.float64)
    noise = lines[:, hz > BAND_HZ[1]].sum(axis=1, dtype=np.float64)
    floor = samples * (1e-6 * np.abs(raw).max(axis=1, initial=0)) ** 2
    total = np.where(total > floor, total, np.nan)
    share = band / total[:, None]
    chosen = (hz[inside] >= RATE_BAND_HZ[0]) & (hz[inside] <= RATE_BAND_HZ[1])
    entropy = -(share * np.log(np.maximum(share, 1e-12))).sum(axis=1) / math.log(inside.sum())
    loudness = 10 * np.log10(total / np.maximum(noise, total * 1e-12 + 1e-30))
    return {
        "ppg.spectral_entropy": entropy,
        "ppg.rate_band_share": share[:, chosen].sum(axis=1),
        "ppg.snr_db": np.clip(loudness, -SNR_LIMIT_DB, SNR_LIMIT_DB),
    }
