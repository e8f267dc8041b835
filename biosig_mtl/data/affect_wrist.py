"""What the wristband of a SIMULATED person records: pulse, skin conductance, skin temperature, movement.

Arousal quickens the heart a little, makes responses of the skin more frequent, raises its conductance, narrows vessels and
cools the wrist; positive valence lets breathing show a little more in the heart's rhythm. People differ by far more than that.
Sizes are set by hand, in the directions that the literature reports on average (Kreibig, Biol. Psychol. 84 (2010) 394).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from biosig_mtl.data.affect_course import COURSE_HZ, Course, slow
from biosig_mtl.data.noise import band_noise, bursts
from biosig_mtl.data.physiology import PulseShape, pulse_wave
from biosig_mtl.types import F32, F64

RATES_HZ = {"BVP": 64.0, "EDA": 4.0, "TEMP": 4.0, "ACC": 32.0, "HR": 1.0}
# The device tells the mean rate of ten seconds, so the first one ten seconds after its start.
HR_LATE_S = 10.0

# Per unit of feeling at full effect.
RATE_AROUSAL = 5.0
BREATH_VALENCE = 0.25
RESPONSES_AROUSAL = 0.9
LEVEL_AROUSAL = 0.12
VESSELS_AROUSAL = -0.15
COOLING_AROUSAL = -0.15
# The skin is slow: its level and temperature follow what is felt with these time constants.
LEVEL_TAU_S, TEMP_TAU_S = 8.0, 20.0
RESPONSE_S = (0.75, 2.0)


@dataclass(frozen=True, slots=True)
class Body:
    """One simulated body, as a wristband sees it."""

    rate_per_min: float
    breath_hz: float
    breath_share: float
    level_us: float
    responses_per_min: float
    pulse_nu: float
    rise_s: float
    echo_gain: float
    temp_degc: float
    moves_share: float


def body(rng: Generator) -> Body:
    """Draw one body. Skin conductance differs between people by a factor of two and more (SD 0.7 of its logarithm)."""
    return Body(
        rate_per_min=float(np.clip(rng.normal(73, 9), 52, 98)),
        breath_hz=float(np.clip(rng.normal(0.25, 0.03), 0.18, 0.33)),
        breath_share=float(rng.uniform(0.02, 0.05)),
        level_us=2.2 * float(np.exp(rng.normal(0, 0.7))),
        responses_per_min=4.0 * float(np.exp(rng.normal(0, 0.35))),
        pulse_nu=45.0 * float(np.exp(rng.normal(0, 0.4))),
        rise_s=float(rng.uniform(0.13, 0.19)),
        echo_gain=float(rng.uniform(0.2, 0.45)),
        temp_degc=float(rng.normal(33.0, 1.0)),
        moves_share=float(rng.uniform(0.0, 0.03)),
    )


@dataclass(frozen=True, slots=True)
class Wrist:
    """Streams by the name of their file, shape (sample,) or (sample, 3) for movement in 1/64 g, and the true beats.

    ``beats_s`` are the feet of the pulse at the wrist, and ``responses_s`` the starts of the skin's responses.
    """

    streams: Mapping[str, F32]
    beats_s: F64
    responses_s: F64


def wrist(rng: Generator, who: Body, moods: Course, effect: float) -> Wrist:
    """Return what the wristband records through a session; ``effect`` as for the EEG: 0 is none at all."""
    length_s = moods.t_s.size / COURSE_HZ
    trials = int(moods.trial.max()) + 1
    aroused = effect * moods.arousal
    pace = 1 + (RATE_AROUSAL * aroused + rng.normal(0, 1.2, trials)[moods.trial]) / who.rate_per_min
    feet = _beats(rng, who, moods.t_s, pace, np.exp(effect * BREATH_VALENCE * moods.valence))
    fine_s = np.arange(round(length_s * RATES_HZ["BVP"])) / RATES_HZ["BVP"]
    moving = bursts(rng, fine_s, who.moves_share)
    vessels = np.interp(fine_s, moods.t_s, np.exp(VESSELS_AROUSAL * aroused))
    level = _lagged(aroused, LEVEL_TAU_S)
    conductance, begun = _skin(rng, who, moods, aroused, level)
    streams = {
        "BVP": _pulse(rng, who, feet, fine_s, vessels) + 2.5 * who.pulse_nu * band_noise(rng, fine_s, 0.5, 5.0) * moving,
        "EDA": conductance,
        "TEMP": _temperature(rng, who, moods, aroused),
        "ACC": _movement(rng, moving[::2]),
        "HR": _rate(feet, length_s),
    }
    return Wrist({name: x.astype(np.float32) for name, x in streams.items()}, feet[feet >= 0], begun)


def _beats(rng: Generator, who: Body, t_s: F64, pace: F64, breath: F64) -> F64:
    """Return the times of pulse feet: where the integral of the rate passes a whole number (IPFM)."""
    around_s = np.arange(-3 * COURSE_HZ, t_s.size + 3 * COURSE_HZ) / COURSE_HZ
    beyond = 3 * int(COURSE_HZ)
    swing = np.pad(who.breath_share * breath, beyond, mode="edge") * np.sin(2 * np.pi * who.breath_hz * around_s)
    swing = swing + 0.02 * slow(rng, around_s, (7.0, 14.0)) + 0.015 * slow(rng, around_s, (20.0, 120.0))
    rate_hz = who.rate_per_min / 60 * np.pad(pace, beyond, mode="edge") * (1 + swing)
    passed = np.cumsum(rate_hz) / COURSE_HZ
    whole = np.arange(1, int(passed[-1]))
    return np.asarray(np.interp(whole, passed, around_s) + rng.normal(0, 0.004, whole.size))


def _pulse(rng: Generator, who: Body, feet: F64, t_s: F64, vessels: F64) -> F64:
    """Return the pulse as the device tells it: without level, in units of its own."""
    one = np.ones_like(feet)
    shape = PulseShape(
        peak_s=who.rise_s * one,
        sharpness=2.4 * one,
        echo_s=0.28 * one,
        echo_gain=who.echo_gain * one,
        tail_s=0.4 * one,
        tail_gain=0.3 * one,
        notch_s=0.33 * one,
        notch_depth=0.03 * one,
    )
    wave, _ = pulse_wave(t_s, feet, shape)
    strength = who.pulse_nu * vessels * (1 + 0.1 * slow(rng, t_s, (4.0, 30.0)))
    wander = 0.15 * who.pulse_nu * band_noise(rng, t_s, 0.05, 0.4)
    grain = 0.01 * who.pulse_nu * rng.standard_normal(t_s.size)
    return np.asarray(strength * (wave - wave.mean()) * 2 + wander + grain)


def _skin(rng: Generator, who: Body, moods: Course, aroused: F64, level: F64) -> tuple[F64, F64]:
    """Return skin conductance in µS at 4 Hz and when its responses begin."""
    t_s = moods.t_s[::2]
    per_s = who.responses_per_min / 60 * np.exp(RESPONSES_AROUSAL * aroused)
    begun = np.flatnonzero(rng.random(per_s.size) < per_s / COURSE_HZ)
    size = 0.09 * who.level_us * np.exp(rng.normal(0, 0.5, begun.size))
    impulses = np.zeros(moods.t_s.size)
    np.add.at(impulses, begun, size)
    after = np.arange(round(20 * COURSE_HZ)) / COURSE_HZ
    response = np.exp(-after / RESPONSE_S[1]) - np.exp(-after / RESPONSE_S[0])
    phasic = np.convolve(impulses, response / response.max())[: moods.t_s.size]
    drift = 1 + 0.08 * slow(rng, moods.t_s, (90.0, 600.0)) + 0.05 * moods.t_s / 600
    tonic = who.level_us * drift * np.exp(LEVEL_AROUSAL * level)
    grain = 0.002 * rng.standard_normal(t_s.size)
    # The converter's steps, which show where conductance is low.
    told = np.round(((tonic + phasic)[::2] + grain) / 0.00128) * 0.00128
    return np.maximum(told, 0.01), begun / COURSE_HZ


def _temperature(rng: Generator, who: Body, moods: Course, aroused: F64) -> F64:
    cooled = COOLING_AROUSAL * _lagged(aroused, TEMP_TAU_S)
    drift = 0.15 * slow(rng, moods.t_s, (300.0, 1200.0)) + 0.4 * (1 - np.exp(-moods.t_s / 240))
    told = (who.temp_degc + drift + cooled)[::2] + 0.01 * rng.standard_normal(moods.t_s[::2].size)
    return np.asarray(np.round(told / 0.02) * 0.02)


def _movement(rng: Generator, moving: F64) -> F64:
    """Return the three axes in steps of 1/64 g: gravity, as the arm lies, and what movement adds."""
    lies = rng.normal(0, 1, 3)
    lies *= 63 / np.linalg.norm(lies)
    shaken = moving[:, None] * 20 * rng.standard_normal((moving.size, 3))
    return np.asarray(np.round(np.clip(lies + shaken + 0.4 * rng.standard_normal(shaken.shape), -128, 127)))


def _rate(feet: F64, length_s: float) -> F64:
    """Return the mean rate of the last ten seconds, every second from the tenth on."""
    at_s = np.arange(HR_LATE_S, length_s)
    last, first = (np.searchsorted(feet, at_s - back) for back in (0.0, HR_LATE_S))
    return np.asarray(np.round(60 * (last - first - 1) / (feet[last - 1] - feet[first]), 2))


def _lagged(x: F64, tau_s: float) -> F64:
    """Return a course behind one that it follows with a time constant, from 0 on."""
    after = np.exp(-np.arange(round(8 * tau_s * COURSE_HZ)) / (tau_s * COURSE_HZ))
    return np.asarray(np.convolve(x, after / after.sum())[: x.size])
