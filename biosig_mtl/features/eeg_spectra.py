"""The spectrum of EEG windows, made once for all families that read it.

One Hann-tapered periodogram of the whole window, whose mean is taken away first. The variance of a band is its mean density
times its width, so that edges between two bins cost nothing: white noise of variance σ² has σ² · width / (fs / 2) in a band
whatever the length of the window. The taper is the periodic one, and the density is divided by its energy (its equivalent noise
bandwidth is 1.5 bins, 0.375 Hz for windows of 4 s: power of a line within that of an edge is shared with the neighbour).

Windows are worked some at a time in single precision, which stays in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.types import F32, F64, Bool

# So many samples (8 bytes a frequency and more around it) are worked at once.
SAMPLES = 131072
# A deviation of so little of the mean is rounding.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Spectra:
    """What the families of the EEG read.

    ``variance`` in µV², shape (window, band, channel), NaN where a channel is constant or the band is not in the spectrum;
    ``entropy`` of the spectrum in [0, 1], shape (window, channel), NaN unless a family asked for it.
    """

    variance: F32
    entropy: F32


def spectra(inputs: Inputs) -> Spectra:
    """Return the spectra of the EEG channels of the windows."""
    return inputs.once("eeg_spectra", _spectra)


def rows_at_once(inputs: Inputs) -> int:
    """Return how many windows are worked at a time."""
    return max(SAMPLES // max(inputs.samples * len(inputs.settings.eeg), 1), 1)


def periodic_hann(size: int) -> F32:
    """Return the periodic Hann window, shape (time,)."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / max(size, 1))).astype(np.float32)


def centred(x: F32) -> tuple[F32, Bool]:
    """Return windows without their mean, and where anything but rounding is left; shapes (…, time) and (…)."""
    mean = x.mean(axis=-1, keepdims=True)
    rest = x - mean
    energy = np.einsum("...t,...t->...", rest, rest)
    least = (ROUNDING * np.abs(mean[..., 0])) ** 2 * x.shape[-1]
    return rest, energy > np.maximum(least, np.finfo(np.float32).tiny)


def bins(fs: float, size: int, low_hz: float, high_hz: float) -> slice:
    """Return the bins of a spectrum from ``low_hz`` up to, not including, ``high_hz``; none for a band cut off by fs / 2."""
    if high_hz > fs / 2:
        return slice(0, 0)
    first, stop = (int(np.ceil(edge * size / fs - 1e-9)) for edge in (low_hz, high_hz))
    return slice(max(first, 1), max(stop, 1))


def _spectra(inputs: Inputs) -> Spectra:
    from scipy.fft import rfft

    bands = list(inputs.settings.bands.values())
    size, channels = inputs.samples, len(inputs.settings.eeg)
    places = [bins(inputs.fs, size, low, high) for low, high in bands]
    wanted = "eeg_entropy" in inputs.settings.families
    variance = np.full((inputs.count, len(bands), channels), np.nan, np.float32)
    entropy = np.full((inputs.count, channels), np.nan, np.float32)
    weight, whole = _weights(inputs, places), _span(places)
    taper, step = periodic_hann(size), rows_at_once(inputs)
    for begin in range(0, inputs.count, step):
        rows = slice(begin, begin + step)
        rest, moves = centred(inputs.eeg(rows))
        rest *= taper
        found = rfft(rest, axis=-1)[..., whole]
        power = found.real**2
        power += found.imag**2
        variance[rows] = np.where(moves[:, None], np.moveaxis(power @ weight, -1, 1), np.nan)
        if wanted:
            entropy[rows] = np.where(moves, _entropy(power), np.nan)
    variance[:, [place.start >= place.stop for place in places]] = np.nan
    return Spectra(variance, entropy)


def _span(places: list[slice]) -> slice:
    """Return all bins from the lowest band's first to the highest one's last."""
    real = [place for place in places if place.stop > place.start]
    return slice(min((p.start for p in real), default=0), max((p.stop for p in real), default=0))


def _weights(inputs: Inputs, places: list[slice]) -> F32:
    """Return what brings squared amplitudes to the variance of bands, shape (bin, band)."""
    size, whole = inputs.samples, _span(places)
    weight = np.zeros((whole.stop - whole.start, len(places)))
    energy = float(np.sum(periodic_hann(size).astype(np.float64) ** 2)) * inputs.fs
    for k, (place, (low, high)) in enumerate(zip(places, inputs.settings.bands.values(), strict=True)):
        count = place.stop - place.start
        if count > 0:
            weight[place.start - whole.start : place.stop - whole.start, k] = 2 * (high - low) / (count * energy)
    return weight.astype(np.float32)


def _entropy(power: F32) -> F32 | F64:
    """Return the Shannon entropy of the normalised spectrum by that of an even one, shape (window, channel)."""
    if power.shape[-1] < 2:
        return np.full(power.shape[:-1], np.nan, np.float32)
    total = power.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = power / total
        spread = np.einsum("...k,...k->...", share, np.log(np.maximum(share, np.finfo(np.float32).tiny)))
    return np.asarray(spread / -np.log(power.shape[-1]))
