"""An EEG recording made of sources whose every part is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from biosig_mtl import montage
from biosig_mtl.types import F32, F64, Channel, Record

FS = 128.0
CAP = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")


def brain(seconds: float, names: tuple[str, ...] = CAP, seed: int = 0, fs: float = FS) -> F64:
    """Return potentials in µV that are smooth over the head and pink in time, shape (channel, sample)."""
    rng = np.random.default_rng(seed)
    size = round(seconds * fs)
    spectrum = np.fft.rfft(rng.standard_normal((7, size)), axis=1)
    hz = np.fft.rfftfreq(size, 1 / fs)
    sources = np.fft.irfft(spectrum * np.where((hz > 1) & (hz < 45), 1 / np.maximum(hz, 1), 0), size, axis=1)
    places = montage.positions(names)
    # Mean, three directions and three products of directions: as smooth as what the skull lets through.
    field = np.column_stack([np.ones(len(names)), places, places[:, [0]] * places[:, [1, 2]], places[:, 1] * places[:, 2]])
    x = field @ sources
    own = np.fft.irfft(np.fft.rfft(rng.standard_normal((len(names), size)), axis=1) * ((hz > 1) & (hz < 45)), size, axis=1)
    return np.asarray(15 * x / x.std() + 1.5 * own / own.std())


def recording(x: Any, names: tuple[str, ...] = CAP, more: Mapping[str, Channel] | None = None, **about: Any) -> Record:
    """Return a record with the samples, and further channels."""
    rows = np.asarray(x, np.float32)
    channels = {name: Channel(name, "eeg", "uV", FS, row) for name, row in zip(names, rows, strict=True)}
    return Record("r", "s", "1", {**channels, **(more or {})}, **about)


def samples(record: Record, kind: str = "eeg") -> F32:
    """Return the samples of all channels of a kind, shape (channel, sample)."""
    return np.stack([channel.samples for channel in record.channels.values() if channel.kind == kind])
