"""Bands of the EEG: what they are called, where they lie, and which of them a recording no longer has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from biosig_mtl.types import Features

Bands = Mapping[str, tuple[float, float]]

BANDS: Bands = {"theta": (4.0, 8.0), "alpha": (8.0, 14.0), "beta": (14.0, 31.0), "gamma": (31.0, 45.0)}
"""Lower and upper edge in Hz. Without delta (1–4 Hz), which the usual emotion data sets filtered away."""

# By how much the density of a band may lie under that of its neighbour. Scalp EEG falls with frequency, but for alpha: a band
# is weaker than the next one for its alpha or for a high-pass filter, and weaker than the one after that as well for the filter
# alone. What lies higher is weaker, but not three hundredfold from one band or two to the next.
LEAST_BELOW = 0.5
LEAST_ABOVE = 0.003


def check_bands(bands: Bands) -> None:
    """Raise `ValueError` for bands that are none."""
    for name, (low, high) in bands.items():
        if not 0 <= low < high < math.inf:
            raise ValueError(f"need 0 <= low < high for the band {name}, got {low}, {high}")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise ValueError(f"need a band called by letters, digits and '_', got '{name}'")
    if not bands:
        raise ValueError("need at least one band")


def missing_bands(bands: Bands, low_hz: float = 0.0, high_hz: float = math.inf, fs: float = math.inf) -> tuple[str, ...]:
    """Return the bands that do not lie wholly in what a recording still has.

    Parameters
    ----------
    bands
        Edges in Hz by name.
    low_hz, high_hz
        Pass band of the filters that the recording went through (for DEAP's preprocessed data 4 and 45).
    fs
        Sampling rate in Hz; nothing lies above half of it.

    Examples
    --------
    >>> missing_bands({"delta": (1, 4), "theta": (4, 8), "gamma": (31, 45)}, low_hz=4, high_hz=45, fs=128)
    ('delta',)
    >>> missing_bands({"gamma": (31, 45)}, fs=64)
    ('gamma',)
    """
    top = min(high_hz, fs / 2)
    return tuple(name for name, (low, high) in bands.items() if low < low_hz or high > top)


def suspect_bands(features: Features, bands: Bands) -> tuple[str, ...]:
    """Return the bands that the data themselves look to have lost, by the columns of `eeg_de` or `eeg_power`.

    The median density of a band over windows and channels is compared with those of the next higher bands (less than half of
    the next and less than the one after: a high-pass filter took it away) and of the next lower ones (less than three
    thousandths of either: a low-pass filter did). On the preprocessed windows of DASPS (4–45 Hz, with a soft edge) delta has a
    tenth to a third of the density of theta, on its raw recordings three to five times as much. Nothing is suspected where
    there are no such columns, or too few bands beside.
    """
    level = _levels(features, bands)
    order = sorted(level, key=lambda name: bands[name])
    lost = []
    for k, (name, above, beyond) in enumerate(zip(order, order[1:], order[2:], strict=False)):
        if level[name] < LEAST_BELOW * level[above] and level[name] < level[beyond]:
            # What lies below a lost band is lost too.
            lost = order[: k + 1]
    below = [min((level[name] for name in order[max(k - 2, 0) : k]), default=0.0) for k in range(len(order))]
    top = next((k for k, name in enumerate(order) if level[name] < LEAST_ABOVE * below[k]), len(order))
    return tuple(name for name in bands if name in lost or name in order[top:])


def _levels(features: Features, bands: Bands) -> dict[str, float]:
    """Return the median density of each band in µV²/Hz, of those that have one."""
    level = {}
    for name, (low, high) in bands.items():
        for family, variance in (("eeg_de", _variance_of_de), ("eeg_power", _variance_of_power)):
            columns = [j for j, column in enumerate(features.names) if column.startswith(f"{family}.{name}.")]
            values = features.values[:, columns]
            if np.isfinite(values).any():
                level[name] = variance(float(np.nanmedian(values))) / (high - low)
                break
    return level


def _variance_of_de(nats: float) -> float:
    return math.exp(2 * nats) / (2 * math.pi * math.e)


def _variance_of_power(log10_uv2: float) -> float:
    return float(10**log10_uv2)
