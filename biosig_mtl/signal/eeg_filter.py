"""Band-pass and notch for all channels of the EEG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from biosig_mtl.signal.eeg import of_kind
from biosig_mtl.signal.filters import BLOCK_S, BRIDGE_S, Design, designed, filtered
from biosig_mtl.types import Channel, ChannelInfo, RecipeError, Record

# A notch where the band-pass leaves less than this, in dB forwards and backwards, only costs.
NOTHING_LEFT_DB = 20.0
# Centre by width (−3 dB a pass) of a notch: 1.7 Hz at 50 Hz.
NOTCH_Q = 30.0


@dataclass(frozen=True)
class EegFilter:
    """Filter all channels of the EEG (and of the EOG, which is to be regressed out of it) without moving anything in time.

    Forwards and backwards, run by run between gaps and seams, on the continuous signal: windows of a few seconds are too short
    for a filter of 1 Hz. The channels keep their names. See `Bandpass` for what is done at the ends of a run.

    Parameters
    ----------
    low_hz, high_hz, order
        Corners of a Butterworth band-pass, −3 dB a pass (−6 dB in all), with ``order`` poles at each.
    notch_hz
        Mains to be taken out, with its harmonics as far as the band-pass leaves anything of them; refused where it leaves
        nothing (a hundredth of the power, −20 dB) of the mains themselves.
    kinds
        What is filtered.
    optional
        Return a record without EEG unchanged.
    """

    low_hz: float = 1.0
    high_hz: float = 45.0
    order: int = 4
    notch_hz: float | None = None
    kinds: tuple[str, ...] = ("eeg", "eog")
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not 0 < self.low_hz < self.high_hz < math.inf:
            raise ValueError(f"need 0 < low_hz < high_hz < fs/2, got {self.low_hz}, {self.high_hz}")
        if not 1 <= self.order <= 8:
            raise ValueError(f"need 1 <= order <= 8, got {self.order}")
        if not self.kinds:
            raise ValueError("need at least one kind of channels")
        if self.notch_hz is None:
            return
        if not 0 < self.notch_hz < math.inf:
            raise ValueError(f"need notch_hz > 0, got {self.notch_hz}")
        if self._left_db(self.notch_hz) > NOTHING_LEFT_DB:
            raise ValueError(
                f"need no notch at {self.notch_hz:g} Hz: the band-pass up to {self.high_hz:g} Hz leaves nothing there; "
                "leave notch_hz out"
            )

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds, of which one block of the grid and the filter's memory."""
        fs = 8 * max(self.high_hz, self.notch_hz or 0.0)
        return BLOCK_S + self._design(fs).memory / fs + BRIDGE_S + 1.0

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels, which stay; raise `RecipeError` if a corner does not fit a rate."""
        for name, channel in of_kind(channels, self.kinds, "eeg_filter", optional=self.optional).items():
            self._check(name, channel)
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record with its EEG filtered."""
        changed = {}
        for name, source in of_kind(record.channels, self.kinds, f"{record.name}: eeg_filter", optional=self.optional).items():
            self._check(name, source)
            changed[name] = replace(source, samples=filtered(record, source, self._design(source.fs), self.low_hz))
        return replace(record, channels={**record.channels, **changed}) if changed else record

    def _check(self, name: str, source: Channel | ChannelInfo) -> None:
        highest = max(self.high_hz, self.notch_hz or 0.0)
        if source.fs <= 2 * highest:
            raise RecipeError(
                f"channel '{name}' has fs={source.fs:g} Hz, 'eeg_filter' up to {highest:g} Hz needs more than {2 * highest:g}; "
                "lower high_hz or leave notch_hz out"
            )

    def _left_db(self, hz: float) -> float:
        """Return what the band-pass takes away at a frequency above its corner, forwards and backwards, in dB."""
        return 20 * math.log10(1 + (hz / self.high_hz) ** (2 * self.order)) if hz > self.high_hz else 0.0

    def _design(self, fs: float) -> Design:
        lines: list[float] = []
        hz = self.notch_hz or math.inf
        while hz < 0.98 * fs / 2 and self._left_db(hz) <= NOTHING_LEFT_DB:
            lines.append(hz)
            hz += self.notch_hz or math.inf
        return _design(self.order, self.low_hz, self.high_hz, tuple(lines), fs)


@lru_cache(maxsize=64)
def _design(order: int, low_hz: float, high_hz: float, lines: tuple[float, ...], fs: float) -> Design:
    from scipy.signal import butter, iirnotch, tf2sos

    sections = [butter(order, [low_hz, high_hz], "bandpass", fs=fs, output="sos")]
    sections += [tf2sos(*iirnotch(hz, NOTCH_Q, fs)) for hz in lines]
    return designed(np.concatenate(sections), fs)
