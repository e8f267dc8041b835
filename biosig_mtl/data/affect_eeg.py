"""The electroencephalogram of a SIMULATED person whose rhythms follow valence and arousal.

A background whose power falls with frequency, an alpha rhythm, beta activity, muscles and blinks, mixed between neighbouring
electrodes. Positive valence lowers alpha on the left front against the right one; arousal lowers alpha and raises beta
everywhere. The first is the direction that the literature on frontal asymmetry reports (Davidson, Psychol. Sci. 3 (1992) 39),
made much larger: sizes are set by hand so that moods of new people can be told, but not easily. People differ by more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from biosig_mtl.data.affect_course import COURSE_HZ, Course
from biosig_mtl.types import F32, F64

FS = 128.0
MONTAGES: dict[str, tuple[str, ...]] = {
    # In the order of the headset, and in the one called Geneva's by the DEAP set.
    "emotiv": ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4"),
    "geneva": (
        *("Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz"),
        *("Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"),
    ),
}
# How far to the front a row of electrodes lies, and how far to the side a number.
_FRONT = {"Fp": 1.0, "AF": 0.8, "F": 0.55, "FC": 0.28, "C": 0.0, "T": 0.0, "CP": -0.28, "P": -0.55, "PO": -0.8, "O": -1.0}
_SIDE = {"z": 0.0, "1": 0.22, "2": 0.22, "3": 0.45, "4": 0.45, "5": 0.68, "6": 0.68, "7": 0.9, "8": 0.9}

# Natural logarithms of power per unit of feeling at full effect.
ASYMMETRY = 1.3
ALPHA_AROUSAL = -0.5
BETA_AROUSAL = 0.65


@dataclass(frozen=True, slots=True)
class Brain:
    """One simulated head: sizes in µV (root mean square), logarithms of power."""

    alpha_hz: float
    alpha_uv: float
    beta_uv: float
    muscle_uv: float
    background_uv: float
    tilt: float
    lean: float
    blinks_per_min: float
    blink_uv: float


def brain(rng: Generator) -> Brain:
    """Draw one head. Alpha power differs between people by a factor of about four (SD 0.6 of its logarithm)."""
    return Brain(
        alpha_hz=float(np.clip(rng.normal(10, 0.8), 8.6, 12)),
        alpha_uv=7.0 * float(np.exp(rng.normal(0, 0.3))),
        beta_uv=3.0 * float(np.exp(rng.normal(0, 0.2))),
        muscle_uv=1.6 * float(np.exp(rng.normal(0, 0.4))),
        background_uv=11.0 * float(np.exp(rng.normal(0, 0.15))),
        tilt=float(rng.uniform(1.1, 1.6)),
        lean=float(rng.normal(0, 0.35)),
        blinks_per_min=float(rng.uniform(6, 20)),
        blink_uv=float(rng.uniform(60, 140)),
    )


def place(name: str) -> tuple[float, float]:
    """Return how far to the right and to the front an electrode lies, in [−1, 1].

    >>> place("F3"), place("Oz")
    ((-0.45, 0.55), (0.0, -1.0))
    """
    row, number = name[:-1], name[-1]
    side = -1 if number in "1357" else 1
    return side * _SIDE[number] if number != "z" else 0.0, _FRONT[row]


def eeg(rng: Generator, who: Brain, names: tuple[str, ...], moods: Course, effect: float) -> F32:
    """Return the recording in µV at `FS`, shape (channel, time), float32.

    ``effect`` is the size of what valence and arousal do: 1 as described, 0 none at all.
    """
    at = np.array([place(name) for name in names])
    samples = round(moods.t_s.size / COURSE_HZ * FS)
    trials = int(moods.trial.max()) + 1
    front, right = np.clip(at[:, 1] + 0.1, 0, 0.6) / 0.6, np.clip(at[:, 0] / 0.45, -1, 1)
    # What a person and a trial bring, beside what is felt.
    lean = who.lean + rng.normal(0, 0.15, trials)[moods.trial] + effect * ASYMMETRY * moods.valence
    quiet = rng.normal(0, 0.12, trials)[moods.trial] + effect * ALPHA_AROUSAL * moods.arousal
    alert = rng.normal(0, 0.12, trials)[moods.trial] + effect * BETA_AROUSAL * moods.arousal
    own = rng.normal(0, 0.12, (2, len(names), 1))
    alpha_power = own[0] + quiet + 0.5 * (front * right)[:, None] * lean
    beta_power = own[1] + alert
    hz: F64 = np.asarray(np.fft.rfftfreq(samples, 1 / FS), dtype=np.float64)
    behind = 0.75 - 0.45 * at[:, 1:]
    wave = _mixed(rng, at, _falling(hz, who.tilt), samples, 0.9) * np.float32(who.background_uv)
    alpha = _mixed(rng, at, _hump(hz, who.alpha_hz, 1.2), samples, 0.6)
    wave += alpha * _gain(who.alpha_uv * behind, alpha_power, samples)
    beta = _mixed(rng, at, _hump(hz, 20.0, 5.0), samples, 0.4)
    wave += beta * _gain(np.full((len(names), 1), who.beta_uv), beta_power, samples)
    muscle = _mixed(rng, at, ((hz > 25) & (hz < 62)).astype(np.float64), samples, 0.2)
    wave += muscle * (who.muscle_uv * (0.5 + np.abs(at[:, :1]))).astype(np.float32)
    wave += np.outer(np.clip(at[:, 1] - 0.2, 0, None) / 0.8, _blinks(rng, who, samples)).astype(np.float32)
    hum = 0.6 * np.sin(2 * np.pi * 50 * np.arange(samples) / FS + rng.uniform(0, 6.3))
    wave += np.outer(rng.uniform(0.3, 1, len(names)), hum).astype(np.float32)
    return wave


def _falling(hz: F64, tilt: float) -> F64:
    """Return the amplitude of a background whose power falls as 1 / f to the power ``tilt``, from 0.1 Hz up."""
    return np.where(hz >= 0.1, np.maximum(hz, 0.3) ** (-tilt / 2), 0.0)


def _hump(hz: F64, middle_hz: float, width_hz: float) -> F64:
    """Return the amplitude of a rhythm whose power is a Gaussian of a width (SD) about its middle."""
    far = (hz - middle_hz) / width_hz
    return np.where(np.abs(far) < 4, np.exp(-(far**2) / 4), 0.0)


def _mixed(rng: Generator, at: F64, amplitude: F64, samples: int, reach: float) -> F32:
    """Return noise of a given spectrum and unit variance, alike in electrodes that are closer than ``reach``."""
    used = np.flatnonzero(amplitude)
    draws = rng.standard_normal((2, len(at), used.size), dtype=np.float32)
    spectrum = np.zeros((len(at), amplitude.size), np.complex64)
    spectrum[:, used] = (draws[0] + 1j * draws[1]) * amplitude[used].astype(np.float32)
    noise = np.fft.irfft(spectrum, samples, axis=1)
    noise *= np.float32(samples / np.sqrt(4 * (amplitude**2).sum()))
    far = np.linalg.norm(at[:, None] - at[None], axis=2)
    mix = np.linalg.cholesky(np.exp(-far / reach) + 1e-6 * np.eye(len(at)))
    return np.asarray(mix.astype(np.float32) @ noise.astype(np.float32))


def _gain(size_uv: F64, log_power: F64, samples: int) -> F32:
    """Return the amplitude of every sample: a size a channel, and the logarithm of power of every step of the course."""
    gain = (size_uv * np.exp(log_power / 2)).astype(np.float32)
    return np.repeat(gain, round(FS / COURSE_HZ), axis=1)[:, :samples]


def _blinks(rng: Generator, who: Brain, samples: int) -> F64:
    """Return blinks at the forehead in µV: humps of some 0.35 s, quick to close and slower to open."""
    trace = np.zeros(samples)
    count = rng.poisson(who.blinks_per_min * samples / FS / 60)
    t_s = np.arange(round(0.6 * FS)) / FS
    shape = (t_s / 0.13) ** 2 * np.exp(2 * (1 - t_s / 0.13))
    first = rng.integers(0, max(samples - t_s.size, 1), count)
    size = who.blink_uv * rng.uniform(0.6, 1.3, count)
    np.add.at(trace, first[:, None] + np.arange(t_s.size), size[:, None] * shape)
    return trace
