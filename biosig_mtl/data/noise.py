"""Noise that sensors of a SIMULATED person pick up: movement, muscles, electrodes, mains, a wandering baseline.

The truth stays what it was: noise is added to finished channels. Three named levels lie between a resting subject on good
electrodes and a restless one. Their sizes are set by hand so that widely used public beat detectors (NeuroKit2, WFDB XQRS,
sleepecg) make about as many errors as they were seen to make elsewhere on noise of the same kinds; see the benchmarks.

Shapes are ``(sample,)`` at the times ``t_s`` throughout. The kinds of noise follow the MIT-BIH Noise Stress Test (Moody,
Muldrow and Mark 1984): baseline wander, muscle noise, electrode motion; electrode motion is the one that looks like beats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator

from biosig_mtl.data.physiology import Person
from biosig_mtl.types import F64, Bool

NoiseName = Literal["none", "clean", "moderate", "heavy"]


@dataclass(frozen=True, slots=True)
class Level:
    """How much noise there is. ECG in mV, PPG in units of the person's pulse height; all are standard deviations.

    ``burst_share`` of the time the person moves: then muscles, electrode bumps (``bumps_per_s``, heights around ``bump_mv``)
    and ``shake`` of the finger (0.5–5 Hz) come on top of what is always there.
    """

    burst_share: float
    wander_mv: float
    mains_mv: float
    grain_mv: float
    muscle_mv: float
    bumps_per_s: float
    bump_mv: float
    wander: float
    mains: float
    grain: float
    shake: float


LEVELS: dict[str, Level] = {
    "clean": Level(
        burst_share=0.0,
        wander_mv=0.08,
        mains_mv=0.01,
        grain_mv=0.01,
        muscle_mv=0.0,
        bumps_per_s=0.0,
        bump_mv=0.0,
        wander=0.15,
        mains=0.004,
        grain=0.01,
        shake=0.0,
    ),
    "moderate": Level(
        burst_share=0.1,
        wander_mv=0.15,
        mains_mv=0.03,
        grain_mv=0.03,
        muscle_mv=0.04,
        bumps_per_s=2.5,
        bump_mv=0.8,
        wander=0.2,
        mains=0.01,
        grain=0.02,
        shake=0.23,
    ),
    "heavy": Level(
        burst_share=0.3,
        wander_mv=0.25,
        mains_mv=0.06,
        grain_mv=0.06,
        muscle_mv=0.23,
        bumps_per_s=2.5,
        bump_mv=1.7,
        wander=0.2,
        mains=0.02,
        grain=0.04,
        shake=0.55,
    ),
}
NOISES: tuple[str, ...] = ("none", *LEVELS)

MAINS_HZ = 50.0
ECTOPIC_SHARE = 0.02
IRREGULAR_SHARE = 0.06


def restless(who: Person, noise: NoiseName) -> Person:
    """Return the person with the rhythm that goes with the noise levels.

    2 % premature beats with a compensatory pause and some stretches as irregular as atrial fibrillation; the person's own
    occasional movement is left to the level. ``none`` changes nothing.
    """
    if noise == "none":
        return who
    return replace(who, ectopic_share=ECTOPIC_SHARE, irregular_share=IRREGULAR_SHARE, motion_per_min=0.0)


def movements(rng: Generator, who: Person, t_s: F64) -> tuple[Bool, F64]:
    """Return where a person of a cohort without noise moves now and then, and the disturbance in units of the pulse height."""
    shake = np.zeros_like(t_s)
    length_s = float(t_s[-1])
    for _ in range(rng.poisson(who.motion_per_min * length_s / 60)):
        middle_s, width_s = rng.uniform(0, length_s), rng.uniform(1.5, 5)
        envelope = np.clip(1 - (2 * (t_s - middle_s) / width_s) ** 2, 0, None)
        shake += rng.uniform(0.6, 2.5) * envelope * band_noise(rng, t_s, 0.02, rng.uniform(1.5, 5))
    return shake != 0, shake


def disturb(
    rng: Generator, noise: NoiseName, t_s: F64, channels: dict[str, F64], pulse_height: float
) -> tuple[dict[str, F64], Bool]:
    """Return the channels with the noise of a level in ``II`` and ``PLETH``, and where the person moves.

    The pressure line is left as it is. ``pulse_height`` is the height of a usual pulse in ``PLETH``, in its unit.
    """
    if noise == "none" or t_s.size < 2:
        return channels, np.zeros(t_s.size, bool)
    level = LEVELS[noise]
    moving = bursts(rng, t_s, level.burst_share)
    ecg = channels["II"] + ecg_noise(rng, level, t_s, moving)
    ppg = channels["PLETH"] + pulse_height * ppg_noise(rng, level, t_s, moving)
    return {**channels, "II": ecg, "PLETH": ppg}, moving > 0


def ecg_noise(rng: Generator, level: Level, t_s: F64, moving: F64) -> F64:
    """Return the noise of an electrocardiogram in mV; ``moving`` is the strength of movement in [0, 1]."""
    steady = level.wander_mv * band_noise(rng, t_s, 0.05, 0.5) + level.grain_mv * rng.standard_normal(t_s.size)
    muscle = level.muscle_mv * band_noise(rng, t_s, 12.0, 60.0) * moving
    return steady + _mains(rng, level.mains_mv, t_s) + muscle + _bumps(rng, level, t_s) * moving


def ppg_noise(rng: Generator, level: Level, t_s: F64, moving: F64) -> F64:
    """Return the noise of a photoplethysmogram in units of the pulse height."""
    steady = level.wander * band_noise(rng, t_s, 0.05, 0.4) + level.grain * rng.standard_normal(t_s.size)
    return steady + _mains(rng, level.mains, t_s) + level.shake * band_noise(rng, t_s, 0.5, 5.0) * moving


def bursts(rng: Generator, t_s: F64, share: float) -> F64:
    """Return the strength of movement in [0, 1]: bursts of 3 to 12 s that fill ``share`` of the time, with soft edges."""
    strength = np.zeros(t_s.size)
    length_s = float(t_s[-1] - t_s[0])
    count = max(round(share * length_s / 7.5), 1)
    if share <= 0:
        return strength
    burst_s, gap_s = rng.uniform(3, 12, count), rng.exponential(1.0, count + 1)
    burst_s *= share * length_s / burst_s.sum()
    gap_s *= (1 - share) * length_s / gap_s.sum()
    start_s = t_s[0] + np.cumsum(gap_s[:-1]) + np.cumsum(burst_s) - burst_s
    which = np.clip(np.searchsorted(start_s, t_s, side="right") - 1, 0, count - 1)
    inside = np.minimum(t_s - start_s[which], start_s[which] + burst_s[which] - t_s)
    return np.asarray(np.sin(np.pi / 2 * np.clip(inside / 0.3, 0, 1)) ** 2 * rng.uniform(0.5, 1.5, count)[which])


def band_noise(rng: Generator, t_s: F64, low_hz: float, high_hz: float) -> F64:
    """Return noise of unit variance with a flat spectrum between two frequencies (NaN-free; 0 where the band is empty)."""
    spectrum = np.fft.rfft(rng.standard_normal(t_s.size))
    hz = np.fft.rfftfreq(t_s.size, t_s[1] - t_s[0])
    spectrum[(hz > high_hz) | (hz < low_hz)] = 0
    noise = np.fft.irfft(spectrum, t_s.size)
    return np.asarray(noise / max(float(noise.std()), 1e-9))


def _mains(rng: Generator, size: float, t_s: F64) -> F64:
    """Return a hum of standard deviation ``size`` whose strength drifts slowly."""
    drift = 1 + 0.5 * np.sin(2 * np.pi * t_s / rng.uniform(20, 90) + rng.uniform(0, 6.3))
    return np.asarray(size * np.sqrt(2) * drift * np.sin(2 * np.pi * MAINS_HZ * t_s + rng.uniform(0, 6.3)))


def _bumps(rng: Generator, level: Level, t_s: F64) -> F64:
    """Return the bumps of moving electrodes: Gaussians of either sign, 20 to 150 ms wide, at random times."""
    bump = np.zeros(t_s.size)
    fs = 1 / (t_s[1] - t_s[0])
    count = rng.poisson(level.bumps_per_s * t_s.size / fs)
    middle, height = rng.uniform(0, t_s.size, count), level.bump_mv * rng.standard_normal(count)
    width = rng.choice([0.02, 0.04, 0.08, 0.15], count)
    for wide_s in np.unique(width):
        reach = int(4 * wide_s * fs)
        chosen = width == wide_s
        at = np.round(middle[chosen]).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        shape = height[chosen][:, None] * np.exp(-(((at - middle[chosen][:, None]) / (wide_s * fs)) ** 2) / 2)
        inside = (at >= 0) & (at < t_s.size)
        np.add.at(bump, at[inside], shape[inside])
    return bump
