"""Families of the EEG that are made of its samples and of the order they come in: Hjorth's parameters and entropies."""

from __future__ import annotations

import math

import numpy as np

from biosig_mtl.features.eeg_spectra import centred, rows_at_once, spectra
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.types import F32, Bool

HJORTH = ("activity_log10_uv2", "mobility_hz", "complexity")
# Orders that three samples in a row can have.
PATTERNS = 6


def eeg_hjorth(inputs: Inputs) -> dict[str, F32]:
    """Hjorth's parameters of each channel (Electroencephalogr Clin Neurophysiol 29:306, 1970).

    ``activity``: variance, as log₁₀ µV²; ``mobility``: SD of the first derivative by SD of the signal, divided by 2π so that it
    is the mean frequency in Hz; ``complexity``: mobility of the first derivative by mobility of the signal, 1 for a sine. The
    derivatives are differences of neighbouring samples, which lower a frequency f by the factor sin(πf/fs) / (πf/fs).
    """
    names, step = inputs.settings.eeg, rows_at_once(inputs)
    values = np.full((len(HJORTH), inputs.count, len(names)), np.nan, np.float32)
    for begin in range(0, inputs.count, step):
        rows = slice(begin, begin + step)
        rest, moves = centred(inputs.eeg(rows))
        values[:, rows] = np.where(moves, _hjorth(rest, inputs.fs), np.nan)
    return {f"eeg_hjorth.{word}.{name}": values[k, :, j] for k, word in enumerate(HJORTH) for j, name in enumerate(names)}


def eeg_entropy(inputs: Inputs) -> dict[str, F32]:
    """Entropies of each channel in [0, 1]: of its spectrum, and of the order of three samples in a row.

    ``spectral``: Shannon entropy of the spectrum from the lowest to the highest edge of the bands, by the logarithm of the
    number of its bins (Inouye et al., Electroencephalogr Clin Neurophysiol 79:204, 1991). ``permutation``: of the six orders
    that three neighbouring samples can have, by ln 6 (Bandt & Pompe, Phys Rev Lett 88:174102, 2002), where of equal samples the
    first counts as the smaller one. Neighbours are as far apart as the sampling rate says: it compares recordings of one rate.
    """
    names, step = inputs.settings.eeg, rows_at_once(inputs)
    order = np.full((inputs.count, len(names)), np.nan, np.float32)
    for begin in range(0, inputs.count, step):
        rows = slice(begin, begin + step)
        x = inputs.eeg(rows)
        moves = (x[..., 1:] != x[..., :-1]).any(axis=-1)
        order[rows] = np.where(moves, _permutation(x), np.nan)
    spectral = spectra(inputs).entropy
    columns = {f"eeg_entropy.spectral.{name}": spectral[:, j] for j, name in enumerate(names)}
    return columns | {f"eeg_entropy.permutation.{name}": order[:, j] for j, name in enumerate(names)}


def _hjorth(rest: F32, fs: float) -> F32:
    """Return the three parameters, shape (parameter, window, channel)."""
    if rest.shape[-1] < 4:
        return np.full((len(HJORTH), *rest.shape[:-1]), np.nan, np.float32)
    first = np.diff(rest, axis=-1)
    second = np.diff(first, axis=-1)
    activity, slope, bend = _variance(rest), _variance(first), _variance(second)
    with np.errstate(divide="ignore", invalid="ignore"):
        mobility = np.sqrt(slope / activity)
        complexity = np.where(slope > 0, np.sqrt(bend / slope) / mobility, np.nan)
        return np.stack([np.log10(activity), mobility * (fs / (2 * math.pi)), complexity])


def _variance(x: F32) -> F32:
    size = x.shape[-1]
    mean = x.mean(axis=-1)
    return np.asarray(np.maximum(np.einsum("...t,...t->...", x, x) / size - mean**2, 0))


def _permutation(x: F32) -> F32:
    """Return the entropy of the orders of three neighbours, shape (window, channel)."""
    if x.shape[-1] < 3:
        return np.full(x.shape[:-1], np.nan, np.float32)
    rises = x[..., :-1] <= x[..., 1:]
    one, two, across = rises[..., :-1], rises[..., 1:], x[..., :-2] <= x[..., 2:]
    count = np.stack([_count(one & two), _count(~(one | two)), *_bent(one, two, across)], axis=-1)
    share = count / (x.shape[-1] - 2)
    spread = share * np.log(np.where(share > 0, share, 1))
    return np.asarray(-spread.sum(axis=-1) / np.log(PATTERNS), np.float32)


def _bent(one: Bool, two: Bool, across: Bool) -> list[F32]:
    """Return how often the middle sample is the greatest or the smallest, with the third above or below the first."""
    top, bottom = one & ~two, ~one & two
    return [_count(top & across), _count(top & ~across), _count(bottom & across), _count(bottom & ~across)]


def _count(true: Bool) -> F32:
    """Count along the last axis."""
    return np.asarray(true.sum(axis=-1, dtype=np.float32))
