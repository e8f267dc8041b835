"""Windows of an EEG whose every property is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F32, F64, Windows

FS = 128.0
CAP = ("Fp1", "F3", "F7", "T7", "C3", "P3", "O1", "Cz", "Fp2", "F4", "F8", "T8", "C4", "P4", "O2")


def windows_of(x: Any, names: tuple[str, ...], fs: float = FS) -> Windows:
    """Return windows with the given samples, shape (window, channel, time)."""
    signal = np.asarray(x, np.float32)
    count = signal.shape[0]
    return Windows(
        record="r",
        subject="s1",
        session="1",
        fs=fs,
        onset_s=np.arange(count, dtype=np.float64),
        signal=signal,
        channels=names,
        kinds=("eeg",) * len(names),
        sqi=np.ones((count, len(names)), np.float32),
        targets=np.full((count, 2), 5, np.float32),
        target_names=("valence", "arousal"),
    )


def columns(x: Any, families: str, names: tuple[str, ...] = CAP, fs: float = FS, **more: Any) -> dict[str, F32]:
    """Return the columns of families (words) by name."""
    settings = FeatureSettings(tuple(families.split()), eeg=names, **more)
    made = extract(windows_of(x, names, fs), settings, AFFECT)
    return dict(zip(made.names, made.values.T, strict=True))


def noise(shape: tuple[int, ...], seed: int = 0, slope: float = 0.0) -> F64:
    """Return Gaussian noise of SD 1 whose density falls with frequency to the power of ``slope``."""
    x = np.random.default_rng(seed).standard_normal(shape)
    if slope:
        spectrum = np.fft.rfft(x, axis=-1)
        spectrum *= np.maximum(np.arange(spectrum.shape[-1]), 1) ** (-slope / 2)
        x = np.fft.irfft(spectrum, shape[-1], axis=-1)
    return np.asarray(x / x.std(axis=-1, keepdims=True))
