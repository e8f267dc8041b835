"""The rest before a stimulus: what a window is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biosig_mtl.types import F32, Features, Windows

# Logarithms and numbers without unit: a difference of them is a ratio, or a change, of what they describe.
MODALITY = "eeg"
COMPATIBILITY_WARNING = (
    "features.baseline is 'torcheeg': one waveform is taken away from every window of a trial, which marks the trial; "
    "use it to reproduce published numbers only"
)


def subtract(features: Features, rest: Features) -> Features:
    """Return the features of windows less the mean of those of the rest before them; only families of the EEG change.

    A feature that the rest does not have is NaN.
    """
    columns = [j for j, name in enumerate(features.names) if name.split(".")[0].partition("_")[0] == MODALITY]
    values = features.values.copy()
    values[:, columns] -= _mean(rest.values[:, columns])
    return replace(features, values=values)


def subtract_waveform(windows: Windows, rest: Windows, kinds: frozenset[str] = frozenset({MODALITY})) -> Windows:
    """Return windows less the mean waveform of the rest, channel by channel, over and over along the window.

    The compatibility mode of `FeatureSettings.baseline`; see there what is wrong with it.
    """
    picked = [j for j, kind in enumerate(windows.kinds) if kind in kinds]
    mean = rest.signal[:, picked].mean(axis=0)
    times = -(-windows.signal.shape[2] // mean.shape[1])
    signal = windows.signal.copy()
    signal[:, picked] -= np.tile(mean, (1, times))[:, : signal.shape[2]]
    return replace(windows, signal=signal)


def _mean(values: F32) -> F32:
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
