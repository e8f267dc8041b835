"""A simulated recording whose beats and pressures are known in continuous time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from biosig_mtl.data.noise import NoiseName
from biosig_mtl.data.synthetic import Cohort
from biosig_mtl.data.synthetic import simulate as simulate_person
from biosig_mtl.signal import Bandpass, DetectBeats
from biosig_mtl.types import F64, Beats, Channel, Record

FILTERED = {"ppg": ("ppg_12hz", 0.5, 12.0), "ecg": ("ecg_40hz", 0.5, 40.0)}
NAMES = {"ppg": "PLETH", "ecg": "II", "abp": "ABP"}


@dataclass(frozen=True)
class Simulated:
    """A record with its truth: times of feet and R peaks in seconds, pressures in mmHg, one value a beat."""

    record: Record
    foot_s: F64
    r_s: F64
    sbp: F64
    dbp: F64


def pulse(since: F64) -> F64:
    rise = 1 - np.exp(-((since / 0.06) ** 2.5))
    main = 0.7 * np.exp(-((since / 0.22) ** 2)) + 0.35 * np.exp(-since / 0.5)
    return np.asarray(rise * main * 1.15 + 0.12 * np.exp(-(((since - 0.42) / 0.06) ** 2)))


def heart(since: F64, length: F64) -> F64:
    waves = ((-0.16, 0.025, 0.12), (-0.025, 0.008, -0.12), (0.0, 0.010, 1.0), (0.028, 0.010, -0.2), (0.27, 0.045, 0.25))
    total = np.zeros_like(since)
    for at, width, height in waves:
        for shifted in (since - at, since - length - at):
            total += height * np.exp(-((shifted / width) ** 2))
    return total


def _simulate(duration_s: float, seed: int = 0, noise: float = 0.0, rate: float = 75.0, fs: float = 125.0) -> Simulated:
    rng = np.random.default_rng(seed)
    count = int(duration_s * rate / 60 * 1.5) + 4
    length = 60 / rate * (1 + 0.06 * np.sin(2 * np.pi * 0.25 * np.arange(count)) + 0.02 * rng.standard_normal(count))
    at = np.cumsum(length) - 0.7
    keep = int(np.searchsorted(at, duration_s + 2))
    at, length = at[:keep], np.diff(at[: keep + 1])
    dbp = 75 + 6 * np.sin(2 * np.pi * at / 40) + 3 * np.sin(2 * np.pi * at * 0.25)
    height = 45 + 6 * np.sin(2 * np.pi * at / 60)
    following = np.append(dbp[1:], dbp[-1])

    def pressure(time: F64) -> F64:
        k = np.clip(np.searchsorted(at, time, side="right") - 1, 0, at.size - 1)
        since = np.maximum(time - at[k], 0)
        slope = (following[k] - dbp[k] - height[k] * pulse(length[k])) * np.clip(since / length[k], 0, 1)
        return np.asarray(dbp[k] + slope + height[k] * pulse(since))

    def electric(time: F64) -> F64:
        k = np.clip(np.searchsorted(at, time, side="right") - 1, 0, at.size - 1)
        return heart(time - at[k], length[k])

    sbp = pressure(at[:, None] + np.linspace(0, 0.999, 1500) * np.minimum(0.5, length)[:, None]).max(axis=1)
    time = np.arange(round(duration_s * fs)) / fs
    # The R peak comes 0.15 s before the pressure, the finger's pulse 0.1 s after it.
    waves = {"ecg": electric(time + 0.15), "abp": pressure(time), "ppg": pressure(time - 0.1) / 40 + 3}
    sizes = {"ecg": 1.0, "abp": 45.0, "ppg": 1.1}
    units = {"ecg": "mV", "abp": "mmHg", "ppg": "au"}
    channels = {
        kind: Channel(kind, kind, units[kind], fs, (x + noise * sizes[kind] * rng.standard_normal(x.size)).astype(np.float32))
        for kind, x in waves.items()
    }
    seen = (at > 0.1) & (at < duration_s - 0.6)
    record = Record("simulated", "s", "1", channels)
    return Simulated(record, at[seen], at[(at > 0.2) & (at < duration_s)] - 0.15, sbp[seen], dbp[seen])


def detected(record: Record, kind: str) -> Beats:
    """Return the beats of a channel after the usual filter of its kind."""
    name = kind
    if kind in FILTERED:
        name, low, high = FILTERED[kind]
        record = Bandpass(kind, name, low, high)(record)
    return DetectBeats(name)(record).beats[name]


def with_samples(record: Record, change: Callable[[F64], F64]) -> Record:
    """Return a record whose samples are changed."""
    changed = {
        n: replace(c, samples=change(c.samples.astype(np.float64)).astype(np.float32)) for n, c in record.channels.items()
    }
    return replace(record, channels=changed)


@cache
def person(seed: int, noise: NoiseName, duration_s: float = 60.0, fs: float = 125.0) -> Record:
    """Return a person of the simulated cohort: some premature beats, irregular stretches, and noise of the level."""
    (made,) = simulate_person(Cohort(1, 1, duration_s, fs, seed, 0.0, noise=noise), 0)
    units = {"ppg": "au", "ecg": "mV", "abp": "mmHg"}
    channels = {k: Channel(k, k, units[k], fs, made.channels[n].astype(np.float32)) for k, n in NAMES.items()}
    return Record(made.name, "s", "1", channels)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Simulated]:
    return _simulate
