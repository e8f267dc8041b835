"""Families of the EEG that are made of its spectrum: differential entropy, band power, asymmetry between the sides.

Names are ``family.band.channel``. Logarithms of variances are natural for entropies and asymmetries and to the base of ten for
powers. A column is NaN where a channel is constant or absent in a window, and throughout where the window cannot hold the band
(see `biosig_mtl.features.eeg_lengths`).
"""

from __future__ import annotations

import math

import numpy as np

from biosig_mtl import montage
from biosig_mtl.features.eeg_spectra import spectra
from biosig_mtl.features.inputs import Inputs
from biosig_mtl.types import F32, F64

FRONTAL_PAIRS = (("Fp1", "Fp2"), ("AF3", "AF4"), ("F3", "F4"), ("F7", "F8"))
"""Pairs whose asymmetry of alpha is read as approach and withdrawal."""
LN_2PI_E = np.float32(np.log(2 * np.pi * math.e))
LN_10 = np.float32(np.log(10))


def eeg_de(inputs: Inputs) -> dict[str, F32]:
    """Differential entropy of each band and channel in nats: ½ ln(2πe σ²), with σ² the variance of the band in µV².

    The entropy of a Gaussian signal of that variance (Duan, Zhu & Lu, "Differential entropy feature for EEG-based emotion
    classification", IEEE EMBS NER 2013, eq. 1–3; Shi, Jiao & Lu, EMBC 2013). σ² comes from the spectrum of the window, where
    the paper filters; see `biosig_mtl.features.eeg_spectra`.
    """
    return _columns(inputs, "eeg_de", 0.5 * (_log(spectra(inputs).variance) + LN_2PI_E))


def eeg_power(inputs: Inputs) -> dict[str, F32]:
    """Power of each band and channel as log₁₀ µV², and its share of the power of all bands in [0, 1] (``…_share``)."""
    variance = spectra(inputs).variance
    known = np.where(np.isfinite(variance), variance, 0)
    total = known.sum(axis=1, keepdims=True)
    share = variance / np.where(total > 0, total, np.nan)
    return _columns(inputs, "eeg_power", _log(variance) / LN_10) | _columns(inputs, "eeg_power", share, "_share")


def eeg_asym(inputs: Inputs) -> dict[str, F32]:
    """Asymmetry between opposite electrodes, left against right, for all pairs that the names tell.

    ``dasm_<band>``: difference of differential entropies DE(left) − DE(right); ``rasm_<band>``: ratio of powers left / right
    (Zheng & Lu, IEEE Trans Auton Ment Dev 2015, eq. 2–3 take the ratio of entropies, which may divide by zero and changes
    sign); ``faa``: frontal asymmetry of alpha, ln(right) − ln(left) (Davidson 1992; Smith et al., Int J Psychophysiol 2017),
    where there is a band called alpha.
    """
    names = inputs.settings.eeg
    pairs = montage.pairs(names)
    left, right = ([names.index(pair[side]) for pair in pairs] for side in (0, 1))
    level = _log(spectra(inputs).variance)
    difference = level[..., left] - level[..., right]
    with np.errstate(over="ignore"):
        ratio = np.exp(difference)
    ratio[np.isinf(ratio)] = np.nan
    columns: dict[str, F32] = {}
    for k, band in enumerate(inputs.settings.bands):
        for j, (one, other) in enumerate(pairs):
            columns[f"eeg_asym.dasm_{band}.{one}-{other}"] = difference[:, k, j] * np.float32(0.5)
            columns[f"eeg_asym.rasm_{band}.{one}-{other}"] = ratio[:, k, j]
    if "alpha" in inputs.settings.bands:
        alpha = list(inputs.settings.bands).index("alpha")
        for j, (one, other) in enumerate(pairs):
            if (montage.canonical(one), montage.canonical(other)) in FRONTAL_PAIRS:
                columns[f"eeg_asym.faa.{one}-{other}"] = -difference[:, alpha, j]
    return columns


def _log(variance: F32) -> F32:
    return np.asarray(np.log(np.where(variance > 0, variance, np.float32(np.nan))), np.float32)


def _columns(inputs: Inputs, family: str, values: F32 | F64, suffix: str = "") -> dict[str, F32]:
    """Name values of shape (window, band, channel)."""
    return {
        f"{family}.{band}{suffix}.{channel}": np.asarray(values[:, k, j], np.float32)
        for k, band in enumerate(inputs.settings.bands)
        for j, channel in enumerate(inputs.settings.eeg)
    }
