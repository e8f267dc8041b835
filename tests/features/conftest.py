"""Simulated windows whose every time is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from biosig_mtl.types import F32, F64, WindowBeats, Windows

FINE_HZ = 20_000.0
KEYS = ("foot", "u", "notch", "diastolic", "a", "b", "c", "d", "e")


@dataclass(frozen=True)
class Pulse:
    """A periodic pulse of two Gaussian waves; ``second`` is the height of the later one."""

    period_s: float = 0.9
    second: float = 0.35

    def __call__(self, t: F64) -> F64:
        """Return the wave at times in seconds; the main wave stands at 0.25 s."""
        phase = np.mod(t, self.period_s)
        out = np.zeros_like(phase)
        for turn in (-1, 0, 1):
            at = phase + turn * self.period_s
            out += np.exp(-0.5 * ((at - 0.25) / 0.06) ** 2) + self.second * np.exp(-0.5 * ((at - 0.55) / 0.07) ** 2)
        return out

    def fine(self) -> tuple[F64, F64]:
        """Return times of one period from the foot on, and the wave there."""
        t = np.arange(0, self.period_s, 1 / FINE_HZ)
        t = t + t[np.argmin(self(t))]
        return t, self(t)

    def times(self) -> dict[str, float]:
        """Return foot, peak and fiducials in seconds."""
        t, x = self.fine()
        v, w = np.gradient(x, t), np.gradient(np.gradient(x, t), t)
        peak = int(np.argmax(x))
        low = peak + int(np.argmin(x[peak : int(peak + 0.25 * FINE_HZ)]))
        top = low + int(np.argmax(x[low : int(low + 0.2 * FINE_HZ)]))
        bends = [k for k in range(peak, t.size - 100) if (w[k] - w[k - 1]) * (w[k + 1] - w[k]) < 0]
        a = int(np.argmax(w[:peak]))
        b = a + int(np.argmin(w[a : peak + 200]))
        e, c = bends[0] if bends[0] > b + 40 else bends[1], np.nan
        found = {"foot": t[0], "u": t[int(np.argmax(v))], "peak": t[peak], "notch": t[low], "diastolic": t[top]}
        return {key: float(value) for key, value in (found | {"a": t[a], "b": t[b], "c": c, "d": c, "e": t[e]}).items()}


def pulse_windows(
    pulse: Pulse,
    windows: int = 3,
    *,
    fs: float = 125.0,
    length_s: float = 8.0,
    gain: float = 1.0,
    offset: float = 0.0,
    delay_s: float = 0.2,
    timing_reliable: bool = True,
) -> Windows:
    """Return windows with the pulse, an ECG whose R peaks come ``delay_s`` before each foot, and reference beats."""
    samples = round(length_s * fs)
    t = np.arange(samples) / fs
    known = pulse.times()
    onset_s = np.arange(windows, dtype=np.float64) * 0.11
    signal = np.empty((windows, 3, samples), np.float32)
    rows = []
    r_rows: list[tuple[float, ...]] = []
    for k, shift in enumerate(onset_s):
        wave = pulse(t + shift)
        signal[k, 0] = signal[k, 1] = gain * wave + offset
        signal[k, 2] = np.sin(2 * np.pi * t)
        first = int(shift / pulse.period_s) - 1
        for n in range(first, first + int(length_s / pulse.period_s) + 3):
            start = n * pulse.period_s - shift
            foot, peak = start + known["foot"], start + known["peak"]
            if foot >= 0 and foot + pulse.period_s <= t[-1]:
                rows.append((k, foot, peak, foot + pulse.period_s, *(start + known[key] for key in KEYS)))
            r = foot - delay_s
            if r >= 0 and r + pulse.period_s <= t[-1]:
                r_rows.append((k, r, r + pulse.period_s))
    return Windows(
        record="simulated",
        subject="s1",
        session="1",
        fs=fs,
        onset_s=onset_s,
        signal=signal,
        channels=("ppg", "ppg_12hz", "ecg_40hz"),
        kinds=("ppg", "ppg", "ecg"),
        sqi=np.ones((windows, 3), np.float32),
        targets=np.full((windows, 2), 100, np.float32),
        target_names=("sbp", "dbp"),
        beats={"ppg_12hz": _beats("ppg_12hz", rows, fs), "ecg_40hz": _r_peaks(r_rows, fs), "abp": _r_peaks(r_rows, fs)},
        facts={"lag_s": np.full(windows, 0.1)},
        demographics={"age_years": 50.0, "sex_male": 1.0, "height_cm": 170.0, "weight_kg": 70.0},
        timing_reliable=timing_reliable,
    )


def _beats(channel: str, rows: list[tuple[float, ...]], fs: float) -> WindowBeats:
    table = np.array(rows, float).reshape(-1, 4 + len(KEYS))
    count = np.rint(table[:, 1:4] * fs).astype(np.int64)
    points = dict(zip(KEYS, (table[:, 4:] * fs).T, strict=True))
    quality = np.ones(len(table), np.float32)
    return WindowBeats(channel, fs, table[:, 0].astype(np.int64), count[:, 0], count[:, 1], count[:, 2], quality, points)


def _r_peaks(rows: list[tuple[float, ...]], fs: float) -> WindowBeats:
    table = np.array(rows, float).reshape(-1, 3)
    count = np.rint(table[:, 1:] * fs).astype(np.int64)
    quality = np.ones(len(table), np.float32)
    return WindowBeats("ecg_40hz", fs, table[:, 0].astype(np.int64), count[:, 0], count[:, 0], count[:, 1], quality)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Windows]:
    """Return the maker of windows: ``simulate(pulse, windows, ...)``."""
    return pulse_windows


@pytest.fixture(scope="session")
def pulse() -> Pulse:
    """Return the pulse that most tests use."""
    return Pulse()


@pytest.fixture(scope="session")
def column() -> Callable[..., F32]:
    """Return a reader of one column: ``column(features, name)``."""
    return lambda features, name: features.values[:, features.names.index(name)]
