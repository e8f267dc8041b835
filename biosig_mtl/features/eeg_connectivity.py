"""Families of the EEG that compare channels: phase locking and the weighted phase lag index, within each window.

Each window is tapered and transformed; the bins of a band are shifted to zero and transformed back, which gives the analytic
signal of the band at a rate of its width (complex demodulation): the same phases as a filter and a Hilbert transform, for a
twentieth of the work. An eighth of the window at either end, where the taper leaves little, is left out.

Measures over the time of one window, not over windows: phases that are the same all the time say nothing about trials. A window
must hold at least five cycles of the band's lowest frequency; shorter ones are NaN (see `biosig_mtl.features.eeg_lengths`).
Even so, a band of width B over T seconds has about B·T independent phases: noise alone reaches a phase locking of 1 / √(B·T).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import montage
from biosig_mtl.features.eeg_spectra import bins, centred, periodic_hann, rows_at_once
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.settings import FeatureSettings
from biosig_mtl.types import F32, I64

LEAST_CYCLES = 5.0
"""Cycles of a band's lower edge below which a window has no connectivity (the rule of MNE-Connectivity)."""
ELSEWHERE = "elsewhere"
# An imaginary part of so little of the amplitudes is rounding: no lag.
ROUNDING = 1e-5
_END = 8  # one part of so many, at either end

C64 = NDArray[np.complex64]


def eeg_plv(inputs: Inputs) -> dict[str, F32]:
    """Phase locking value of each band between regions of the head (mean over pairs of channels), or between all channels.

    PLV = |mean over time of exp(i(φ₁ − φ₂))|, in [0, 1] (Lachaux et al., Hum Brain Mapp 8:194, 1999, there over trials). Names:
    ``eeg_plv.<band>.<region>-<region>``, or ``….<channel>-<channel>``. Volume conduction and a common reference raise it.
    """
    return _by_region(inputs, "eeg_plv", _phase_locking)


def eeg_wpli(inputs: Inputs) -> dict[str, F32]:
    """Weighted phase lag index of each band between regions of the head (mean over pairs of channels), or all channels.

    wPLI = |Σ Im(z₁ z₂*)| / Σ |Im(z₁ z₂*)| over time, in [0, 1] (Vinck et al., Neuroimage 55:1548, 2011, eq. 8, there over
    trials); 0 where nothing lags. Names as for `eeg_plv`. What reaches both channels at once does not raise it.
    """
    return _by_region(inputs, "eeg_wpli", _phase_lag)


def pairs_of(settings: FeatureSettings) -> dict[str, tuple[I64, I64]]:
    """Return the pairs of channels that go into each column, as two arrays of places in ``settings.eeg``."""
    names = settings.eeg
    if settings.eeg_pairs == "regions":
        return region_pairs(names)
    first, second = np.triu_indices(len(names), 1)
    return {f"{names[a]}-{names[b]}": (np.array([a]), np.array([b])) for a, b in zip(first, second, strict=True)}


def region_pairs(names: tuple[str, ...]) -> dict[str, tuple[I64, I64]]:
    """Return the pairs of channels, as two arrays of places, by the regions that they join (``frontal-parietal``).

    Regions in the order in which the channels name them; a channel whose place is not known counts to ``elsewhere``.
    """
    where = [montage.region(name) or ELSEWHERE for name in names]
    order = list(dict.fromkeys(where))
    rank = np.array([order.index(word) for word in where], np.int64)
    first, second = np.triu_indices(len(names), 1)
    low, high = np.minimum(rank[first], rank[second]), np.maximum(rank[first], rank[second])
    found = {}
    for a, one in enumerate(order):
        for b, other in enumerate(order[a:], start=a):
            mine = (low == a) & (high == b)
            if mine.any():
                found[f"{one}-{other}"] = (first[mine], second[mine])
    return found


def _by_region(inputs: Inputs, family: str, measure: Callable[[C64], F32]) -> dict[str, F32]:
    pairs = pairs_of(inputs.settings)
    columns = {f"{family}.{band}.{regions}": inputs.nan() for band in inputs.settings.bands for regions in pairs}
    places = {}
    for band, (low, high) in inputs.settings.bands.items():
        place = bins(inputs.fs, inputs.samples, low, high)
        if low * inputs.samples / inputs.fs >= LEAST_CYCLES and place.stop - place.start > 1:
            places[band] = place
    step = rows_at_once(inputs)
    for begin in range(0, inputs.count if places and pairs else 0, step):
        rows = slice(begin, begin + step)
        spectrum = _spectrum(inputs, rows)
        for band, place in places.items():
            between = measure(_analytic(spectrum[..., place]))
            for regions, (one, other) in pairs.items():
                columns[f"{family}.{band}.{regions}"][rows] = _mean(between[:, one, other])
    return columns


def _spectrum(inputs: Inputs, rows: slice) -> C64:
    """Return the spectra of tapered windows, NaN where a channel is constant; shape (window, channel, bin)."""
    from scipy.fft import rfft

    rest, moves = centred(inputs.eeg(rows))
    spectrum: C64 = rfft(rest * periodic_hann(inputs.samples), axis=-1)
    spectrum[~moves] = np.nan
    return spectrum


def _analytic(spectrum: C64) -> C64:
    """Return the analytic signal of a band, without the ends of the window; shape (window, channel, time)."""
    from scipy.fft import ifft, next_fast_len

    size = next_fast_len(spectrum.shape[-1])
    whole: C64 = ifft(spectrum, size, axis=-1)
    return whole[..., size // _END : size - size // _END]


def _phase_locking(z: C64) -> F32:
    """Return the phase locking of all pairs, shape (window, channel, channel)."""
    size = np.abs(z)
    with np.errstate(invalid="ignore"):
        turn = np.where(size > 0, z / np.where(size > 0, size, 1), np.where(np.isnan(size), size, 0)).astype(np.complex64)
    with np.errstate(invalid="ignore"):
        between = turn @ np.conj(turn.swapaxes(-1, -2))
    return np.asarray(np.minimum(np.abs(between) / z.shape[-1], 1), np.float32)


def _phase_lag(z: C64) -> F32:
    """Return the weighted phase lag index of all pairs above the diagonal, shape (window, channel, channel)."""
    real, imag = np.ascontiguousarray(z.real), np.ascontiguousarray(z.imag)
    size = np.sqrt((real**2 + imag**2).sum(axis=-1))
    out = np.zeros((*z.shape[:-1], z.shape[1]), np.float32)
    for k in range(z.shape[1] - 1):
        lag = imag[:, k : k + 1] * real[:, k + 1 :] - real[:, k : k + 1] * imag[:, k + 1 :]
        net = np.abs(lag.sum(axis=-1))
        total = np.abs(lag, out=lag).sum(axis=-1)
        small = total <= ROUNDING * size[:, k : k + 1] * size[:, k + 1 :]
        out[:, k, k + 1 :] = np.where(small, 0, net / np.where(small, 1, total))
    return out


def _mean(values: F32) -> F32:
    """Return the mean over pairs of those that are known, NaN where none is; shape (window,)."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
