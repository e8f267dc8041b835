"""Indices of quality that the spectrum of a channel tells: one set of spectra, four seconds each, one a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from biosig_mtl.signal.indices import Seconds
from biosig_mtl.signal.sliding import held, padded, views
from biosig_mtl.types import F32, F64

SPECTRUM_S = 4
# So many spectra at a time stay in the cache; a last block is filled up to whole lanes, so that every row is worked by the
# same code: those that are left over are transformed one by one, and their last bit differs.
BLOCK, LANES = 128, 16
BAND_HZ = {"ppg": (0.5, 8.0), "abp": (0.5, 8.0), "ecg": (1.0, 40.0)}
SLOWEST_HZ = 0.5
# Where the power of a pulse or a QRS complex lies, and within what.
HOME_HZ = {"ppg": (1.0, 2.25), "abp": (1.0, 2.25), "ecg": (5.0, 15.0)}
AROUND_HZ = {"ppg": (0.5, 8.0), "abp": (0.5, 8.0), "ecg": (5.0, 40.0)}
HOME = {"ppg": "relative_power", "abp": "relative_power", "ecg": "qrs_power"}
MAINS_HZ, NEAR_HZ = (50.0, 60.0), 1.0


def spectral(samples: F32, seconds: Seconds, kind: str) -> dict[str, F64]:
    """Return ``snr``, ``mains``, ``entropy`` and ``relative_power`` or ``qrs_power`` of every second, each of shape (second,).

    ``samples`` are those of the channel as recorded, gaps filled. Spectra have a Hann window; nothing
    below 0.5 Hz counts, for there the baseline wanders.
    Elgendi M. Optimal signal quality index for photoplethysmogram signals. Bioengineering 2016;3:21 (snr, entropy, relative
    power); Li Q, Mark RG, Clifford GD. Physiol Meas 2008;29:15 (QRS power). NaN where there is no power to share.
    """
    size = round(SPECTRUM_S * seconds.fs)
    count = seconds.first.size
    bands = _bands(size, seconds.fs, kind)
    names = (*bands, "entropy")
    power = np.full((len(names), count), np.nan)
    if size < 4 or not samples.any():
        return _shares(dict(zip(names, power, strict=True)), kind)
    rows = _rows(samples, seconds, size)
    window = _window(size)
    low, high = bands["inside"]
    for begin in range(0, count, BLOCK):
        parts = _squares(rows(begin), window)[: count - begin]
        for row, (first, last) in zip(power, bands.values(), strict=False):
            row[begin : begin + BLOCK] = np.einsum("ij->i", parts[:, 2 * first : 2 * last])
        power[-1, begin : begin + BLOCK] = _entropy(parts[:, 2 * low : 2 * high : 2] + parts[:, 2 * low + 1 : 2 * high : 2])
    return _shares(dict(zip(names, power, strict=True)), kind)


@lru_cache(maxsize=16)
def _window(size: int) -> F32:
    window: F32 = np.hanning(size + 1)[:-1].astype(np.float32)
    return window


@lru_cache(maxsize=16)
def _bands(size: int, fs: float, kind: str) -> Mapping[str, tuple[int, int]]:
    """Return which frequencies of spectra of ``size`` samples belong to what, as a first one and one past the last."""
    frequency = np.asarray(np.fft.rfftfreq(size, 1 / fs), np.float64)

    def between(low: float, high: float) -> tuple[int, int]:
        tiny = 1e-6
        return int(np.searchsorted(frequency, low - tiny)), int(np.searchsorted(frequency, high + tiny))

    hums = [hz for hz in MAINS_HZ if hz + NEAR_HZ <= frequency[-1]]
    return {
        "all": between(SLOWEST_HZ, np.inf),
        "inside": between(*BAND_HZ[kind]),
        "home": between(*HOME_HZ[kind]),
        "around": between(*AROUND_HZ[kind]),
        **{f"hum {hz:g}": between(hz - NEAR_HZ, hz + NEAR_HZ) for hz in hums},
    }


def _rows(samples: F32, seconds: Seconds, size: int) -> Callable[[int], F32]:
    """Return what gives the four seconds around each of up to `BLOCK` seconds, shape (row, size); the ends are reflected."""
    lead = round((SPECTRUM_S - 1) / 2 * seconds.fs)
    tail = max(int(seconds.first[-1]) + size - lead - samples.size, 0)
    if max(lead, tail) < samples.size:
        longer = np.concatenate((samples[lead:0:-1], samples, samples[: -tail - 2 : -1][1:]))
    else:
        longer = held(samples, lead, tail)
    every = views(longer, size)

    def rows(begin: int) -> F32:
        at = seconds.first[begin : begin + BLOCK]
        return np.asarray(every[padded(at, 0, -at.size % LANES, int(at[-1]))])

    return rows


def _squares(rows: F32, window: F32) -> F32:
    """Return the squares of real and imaginary parts by turns, shape (row, 2 frequency)."""
    from scipy.fft import rfft

    # A Hann window keeps a constant out of all but the first two frequencies, whose power nobody asks for. An offset goes
    # nevertheless, about whatever value, so that it does not cost the others their digits.
    rows -= rows[:, :1]
    rows *= window
    parts: F32 = rfft(rows, axis=1).view(np.float32)
    parts *= parts
    return parts


def _entropy(power: F32) -> F64:
    """Return the entropy of each row over that of a flat spectrum; NaN where there is no power."""
    total = power.sum(axis=1, dtype=np.float64)
    some = (total > 0) & (power.shape[1] > 1)
    share = power / np.where(some, total, 1)[:, None].astype(np.float32)
    told = -(share * np.log(share + np.float32(1e-12))).sum(axis=1, dtype=np.float64) / np.log(max(power.shape[1], 2))
    return np.where(some, np.clip(told, 0, 1), np.nan)


def _shares(power: dict[str, F64], kind: str) -> dict[str, F64]:
    hums = [row for name, row in power.items() if name.startswith("hum")]
    return {
        "snr": _share(power["inside"], power["all"]),
        "mains": _share(np.sum(hums, axis=0), power["all"]) if hums else np.full_like(power["all"], np.nan),
        "entropy": power["entropy"],
        HOME[kind]: _share(power["home"], power["around"]),
    }


def _share(part: F64, whole: F64) -> F64:
    some = whole > 0
    return np.where(some, part / np.where(some, whole, 1), np.nan)
