"""A small model of a SIMULATED circulation: people, beats, pressure, and the waves that sensors would show.

It is made for tests and for the demo: truth is known, and what is easy and what is hard is so for reasons that people have too.
Pressure shortens transit and changes the shape of the pulse; but every person has offsets of their own, so that a rule learned
on some people is only roughly right on others. It says nothing about the accuracy to be expected on people.

Sources: transit from the Bramwell–Hill relation PWV = sqrt(V dP / (rho dV)) with an exponential elasticity, E = E0 exp(gamma P)
(Hughes et al. 1979), hence PWV = PWV0 exp(gamma (P − P0) / 2); time from pulse to its echo = height / stiffness index
(Millasseau et al. 2002). The constants are rounded by hand so that pictures and spreads look like the recordings of intensive
care units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from biosig_mtl.types import F64, I64

REFERENCE_MMHG = 90.0  # the mean pressure at which `Person.pwv_m_s` holds


# ---------------------------------------------------------------------------------------------------------------- people
@dataclass(frozen=True, slots=True)
class Person:
    """One simulated person. Everything that is not demographics is hidden from a model, and differs between people."""

    age_years: float
    sex_male: float
    height_cm: float
    weight_kg: float
    sbp_mmhg: float
    dbp_mmhg: float
    rate_per_min: float
    breath_hz: float
    rsa: float
    ectopic_share: float
    pwv_m_s: float
    gamma_per_mmhg: float
    pep_s: float
    finger_delay_s: float
    rise_s: float
    echo_gain: float
    tail_s: float
    perfusion: float
    ppg_level: float
    ecg_mv: F64
    motion_per_min: float
    irregular_share: float = 0.0


def person(rng: Generator, *, older: bool = False) -> Person:
    """Draw one person. Pressure rises with age, weight and male sex; the rest of its spread is the person's own.

    Over many people SBP is about N(125, 20) and DBP about N(70, 11) mmHg. ``older`` draws from an older population (a second
    site).
    """
    age = float(np.clip(rng.normal(66 if older else 55, 17), 19, 92))
    male = float(rng.random() < 0.55)
    height = rng.normal(163 + 13 * male - 0.05 * (age - 55), 6.5)
    bmi = float(np.clip(rng.normal(27, 4.5), 17, 45))
    sbp = 125 + 0.45 * (age - 55) + 0.8 * (bmi - 27) + 3 * (male - 0.55) + rng.normal(0, 18.8)
    sbp = float(np.clip(sbp, 85, 190))
    dbp = 70 + 0.3 * (sbp - 125) - 0.12 * (age - 55) + rng.normal(0, 9.7)
    dbp = float(np.clip(dbp, 42, min(115, sbp - 28)))
    # Stiff arteries make a wide pulse pressure. Stiffness follows age and pressure only in part: what is left is the offset
    # that makes other people hard.
    pwv = (5.2 + 0.055 * (age - 20)) * np.exp(0.005 * (sbp - dbp - 55) + rng.normal(0, 0.07))
    return Person(
        age_years=round(age),
        sex_male=male,
        height_cm=round(height),
        weight_kg=round(bmi * (height / 100) ** 2),
        sbp_mmhg=sbp,
        dbp_mmhg=dbp,
        rate_per_min=float(np.clip(rng.normal(78, 13), 48, 125)),
        breath_hz=float(np.clip(rng.normal(0.26, 0.05), 0.15, 0.42)),
        rsa=0.06 * np.exp(-(age - 20) / 35) * rng.uniform(0.4, 1.4) + 0.004,
        ectopic_share=float(rng.random() < 0.15) * rng.uniform(0.005, 0.03),
        pwv_m_s=float(pwv),
        gamma_per_mmhg=0.017 * float(np.exp(rng.normal(0, 0.2))),
        pep_s=float(np.clip(rng.normal(0.095, 0.010), 0.055, 0.14)),
        finger_delay_s=float(np.clip(rng.normal(0.045, 0.008), 0.015, 0.09)),
        rise_s=float(np.clip(rng.normal(0.135 + 0.0005 * (age - 50), 0.010), 0.09, 0.19)),
        echo_gain=float(np.clip(rng.normal(0.38, 0.09), 0.15, 0.6)),
        tail_s=float(np.clip(rng.normal(0.42, 0.08), 0.25, 0.65)),
        perfusion=0.75 * float(np.exp(rng.normal(0, 0.5))),
        ppg_level=float(rng.uniform(0.6, 1.4)),
        # P, Q, R, S, T
        ecg_mv=np.array([0.11, -0.08, 0.85, -0.2, 0.22]) * np.exp(rng.normal(0, [0.3, 0.5, 0.3, 0.5, 0.4])),
        motion_per_min=float(rng.gamma(0.6, 0.5)),
    )


# ----------------------------------------------------------------------------------------------------------------- beats
@dataclass(frozen=True, slots=True)
class Circulation:
    """What happens in each beat; all arrays have shape (beat,). Times count from the start of the record.

    ``pat_s`` is R peak to foot at the finger (pre-ejection period, transit and a delay of the finger's own); ``line_s`` is R
    peak to foot at the radial artery line; ``echo_s`` is pulse to echo.
    """

    r_s: F64
    rr_s: F64
    sbp_mmhg: F64
    dbp_mmhg: F64
    pat_s: F64
    line_s: F64
    echo_s: F64

    @property
    def mean_mmhg(self) -> F64:
        """Mean pressure by the usual third."""
        return self.dbp_mmhg + (self.sbp_mmhg - self.dbp_mmhg) / 3


def circulate(rng: Generator, who: Person, length_s: float) -> Circulation:
    """Return the beats of one session, from 3 s before its start to 3 s after its end."""
    r_s, rr_s, early = _beat_times(rng, who, length_s)
    sbp, dbp = _pressures(rng, who, r_s, length_s)
    # An early beat ejects less; the one after the pause, more.
    sbp = sbp + (sbp - dbp) * (0.12 * np.roll(early, 1) - 0.4 * early)
    mean = dbp + (sbp - dbp) / 3
    pwv = who.pwv_m_s * np.exp(who.gamma_per_mmhg / 2 * (mean - REFERENCE_MMHG))
    transit_s = 0.55 * who.height_cm / 100 / pwv
    pep_s = who.pep_s + 0.003 * _waves(rng, r_s, (20.0, 90.0)) + rng.normal(0, 0.0015, r_s.size) + 0.03 * early
    return Circulation(
        r_s=r_s,
        rr_s=rr_s,
        sbp_mmhg=sbp,
        dbp_mmhg=dbp,
        pat_s=pep_s + transit_s + who.finger_delay_s,
        line_s=pep_s + 0.8 * transit_s,
        echo_s=who.height_cm / 100 / (0.95 * pwv),
    )


def breath(who: Person, t_s: F64) -> F64:
    """Return the breathing movement at times ``t_s``, in [−1, 1]; every channel follows the same one."""
    return np.asarray(np.sin(2 * np.pi * who.breath_hz * t_s + who.age_years))


def _beat_times(rng: Generator, who: Person, length_s: float) -> tuple[F64, F64, F64]:
    mean_s = 60 / who.rate_per_min
    n = int(np.ceil((length_s + 6) / mean_s * 1.25)) + 4
    # The modulation is read at the expected time of each beat, which makes this a sum and not a loop.
    about_s = np.arange(n, dtype=np.float64) * mean_s - 3
    rr = mean_s * (1 + who.rsa * breath(who, about_s) + 0.025 * _waves(rng, about_s, (8.0, 120.0)) + rng.normal(0, 0.006, n))
    early = (rng.random(n) < who.ectopic_share).astype(float)
    early[1:] *= 1 - early[:-1]
    # `rr` lies before its beat: short before a premature one, long after it.
    rr = rr * (1 - 0.3 * early + 0.3 * np.roll(early, 1))
    if who.irregular_share > 0:
        rr, early = _irregular(rng, who, rr, early)
    r_s = np.cumsum(rr) - rr[0] - 3
    kept = r_s <= length_s + 3
    return r_s[kept], np.append(np.diff(r_s), mean_s)[kept], early[kept]


def _irregular(rng: Generator, who: Person, rr_s: F64, early: F64) -> tuple[F64, F64]:
    """Return intervals with stretches of 20 to 80 beats as irregular as in atrial fibrillation (faster, spread 20 %).

    A short interval leaves little time to fill, so its beat counts as early in proportion. P waves stay, unlike in people.
    """
    starts = rng.random(rr_s.size) < who.irregular_share / 50
    left = np.zeros(rr_s.size)
    for start in np.flatnonzero(starts):
        left[start : start + int(rng.integers(20, 81))] = 1
    mean_s = 60 / who.rate_per_min
    wild = np.clip(0.85 * mean_s * (1 + 0.2 * rng.standard_normal(rr_s.size)), 0.36, 1.8)
    weak = np.clip((0.75 * mean_s - wild) / (0.35 * mean_s), 0, 1)
    return np.where(left > 0, wild, rr_s), np.where(left > 0, weak, early)


def _pressures(rng: Generator, who: Person, r_s: F64, length_s: float) -> tuple[F64, F64]:
    day = rng.normal(0, 5)
    drift = 5.0 * _waves(rng, r_s, (45.0, 240.0))
    onset_s, rise_s = rng.uniform(0.15, 0.85) * length_s, rng.uniform(4, 12)
    event = rng.choice([-1, 1]) * rng.uniform(7, 15) / (1 + np.exp(-(r_s - onset_s) / rise_s))
    slow = day + drift + event - event.mean() / 2
    mayer = 1.5 * _waves(rng, r_s, (9.0, 12.0))
    sbp = who.sbp_mmhg + slow + mayer + 2.5 * breath(who, r_s) + rng.normal(0, 0.8, r_s.size)
    dbp = who.dbp_mmhg + 0.55 * slow + 0.7 * mayer + 1.0 * breath(who, r_s) + rng.normal(0, 0.5, r_s.size)
    return np.clip(sbp, 75, 205), np.clip(dbp, 38, np.clip(sbp, 75, 205) - 20)


def _waves(rng: Generator, t_s: F64, periods_s: tuple[float, float]) -> F64:
    """Return a slow random course of about unit variance: four sines with periods between the two bounds."""
    shortest_s, longest_s = periods_s
    period = shortest_s * (longest_s / shortest_s) ** rng.uniform(0, 1, 4)
    weight, phase = rng.normal(0, 1, 4), rng.uniform(0, 2 * np.pi, 4)
    course = np.sin(2 * np.pi * t_s[:, None] / period + phase) @ weight
    return np.asarray(course / np.sqrt(2.0))


# ----------------------------------------------------------------------------------------------------------------- waves
@dataclass(frozen=True, slots=True)
class PulseShape:
    """The form of each beat as a forward wave, its echo, a run-off and a notch; all arrays have shape (beat,)."""

    peak_s: F64
    sharpness: F64
    echo_s: F64
    echo_gain: F64
    tail_s: F64
    tail_gain: F64
    notch_s: F64
    notch_depth: F64


def pressure_shape(who: Person, flow: Circulation) -> PulseShape:
    """Return the form of the pressure wave in the radial artery: steep rise, a notch that age flattens, a long run-off."""
    young = np.exp(-(who.age_years - 20) / 45)
    one = np.ones_like(flow.r_s)
    return PulseShape(
        peak_s=(0.085 + 0.25 * (who.rise_s - 0.1)) * one,
        sharpness=2.4 * one,
        echo_s=0.55 * flow.echo_s,
        echo_gain=who.echo_gain * (0.6 + 0.006 * (flow.mean_mmhg - REFERENCE_MMHG)),
        tail_s=(who.tail_s + 0.15) * one,
        tail_gain=0.55 * one,
        notch_s=_ejection_s(flow),
        notch_depth=(0.03 + 0.16 * young) * one,
    )


def volume_shape(who: Person, flow: Circulation) -> PulseShape:
    """Return the form of the finger's volume pulse: slower than pressure; the echo comes sooner with stiffness and pressure."""
    young = np.exp(-(who.age_years - 20) / 35)
    one = np.ones_like(flow.r_s)
    tone = np.tanh((flow.mean_mmhg - REFERENCE_MMHG) / 40)
    return PulseShape(
        peak_s=who.rise_s * (1 - 0.08 * tone),
        sharpness=(2.6 - 0.4 * (1 - young)) * one,
        echo_s=flow.echo_s,
        echo_gain=np.clip(who.echo_gain * (1 + 0.35 * tone), 0.05, None),
        tail_s=who.tail_s * (1 - 0.12 * tone),
        tail_gain=0.3 * one,
        notch_s=_ejection_s(flow) + 0.02,
        notch_depth=(0.01 + 0.05 * young) * one,
    )


def _ejection_s(flow: Circulation) -> F64:
    # Left-ventricular ejection time shortens with rate (Weissler's regression, rounded, for both sexes).
    return np.clip(0.415 - 0.0017 * 60 / flow.rr_s, 0.19, 0.36)


def pulse_wave(t_s: F64, foot_s: F64, shape: PulseShape) -> tuple[F64, I64]:
    """Return a train of pulses at times ``t_s`` (0 at every foot, 1 at every maximum) and the beat of every sample.

    Only beats with a foot after them count: ``t_s`` must lie between the first and the last foot.
    """
    beat = np.clip(np.searchsorted(foot_s, t_s, side="right") - 1, 0, foot_s.size - 2)
    length_s = np.diff(foot_s)
    end = _pulse(length_s, np.arange(foot_s.size - 1), shape)
    top = _on_grid(foot_s, shape)[1].max(axis=1)
    phase = (t_s - foot_s[beat]) / length_s[beat]
    return (_pulse(t_s - foot_s[beat], beat, shape) - end[beat] * phase) / top[beat], beat


def pulse_peaks(foot_s: F64, shape: PulseShape) -> F64:
    """Return when each pulse of `pulse_wave` is highest, shape (beat − 1,), by a parabola through its grid (error < 1 ms)."""
    share, wave = _on_grid(foot_s, shape)
    every = np.arange(foot_s.size - 1)
    top = np.clip(wave.argmax(axis=1), 1, share.size - 2)
    before, at, after = (wave[every, top + step] for step in (-1, 0, 1))
    bend = np.minimum(before - 2 * at + after, -1e-12)
    shift = np.clip((before - after) / (2 * bend), -0.5, 0.5)
    return np.asarray(foot_s[:-1] + np.diff(foot_s) * (share[top] + shift * (share[1] - share[0])))


def _on_grid(foot_s: F64, shape: PulseShape) -> tuple[F64, F64]:
    # The height of each beat is found on a grid of its own, so that it does not depend on where samples happen to fall.
    length_s, every = np.diff(foot_s), np.arange(foot_s.size - 1)
    share = np.linspace(0.02, 0.85, 160)
    grid = _pulse((length_s[:, None] * share).ravel(), np.repeat(every, share.size), shape).reshape(-1, share.size)
    return share, grid - _pulse(length_s, every, shape)[:, None] * share


def _pulse(after_s: F64, beat: I64, shape: PulseShape) -> F64:
    peak_s, sharpness = shape.peak_s[beat], shape.sharpness[beat]
    forward = _kernel(after_s / peak_s, sharpness)
    echo = _kernel((after_s - shape.echo_s[beat]) / (1.4 * peak_s), sharpness)
    filling = 1 - np.exp(-((after_s / peak_s) ** 2))
    run_off = filling * np.exp(-after_s / shape.tail_s[beat])
    closing = (after_s - shape.notch_s[beat]) / 0.022
    notch = np.exp(-(closing**2) / 2) * (1 - np.exp(-((after_s / 0.05) ** 2)))
    hump = forward + shape.echo_gain[beat] * echo + shape.tail_gain[beat] * run_off
    return np.asarray(hump - shape.notch_depth[beat] * notch)


def _kernel(x: F64, sharpness: F64) -> F64:
    """Return a skewed hump: 0 up to x = 0, 1 at x = 1."""
    inside = np.maximum(x, 0)
    return np.asarray((inside * np.exp(1 - inside)) ** sharpness)


# P, Q, R, S and T: place and width in seconds at a rate of 60 per minute. P and T stretch with the square root of RR (Bazett).
_ECG_AT_S = np.array([-0.165, -0.026, 0.0, 0.028, 0.29])
_ECG_WIDTH_S = np.array([0.024, 0.010, 0.0115, 0.011, 0.052])
_ECG_STRETCHES = np.array([1.0, 0.0, 0.0, 0.0, 1.0])


def ecg_wave(t_s: F64, r_s: F64, rr_s: F64, size_mv: F64) -> F64:
    """Return an electrocardiogram at times ``t_s`` as a sum of five Gaussian waves a beat (after McSharry et al. 2003)."""
    nearest = np.searchsorted(r_s, t_s)
    total = np.zeros_like(t_s)
    for neighbour in (-2, -1, 0, 1):
        beat = np.clip(nearest + neighbour, 0, r_s.size - 1)
        alone = beat == nearest + neighbour
        stretch = np.sqrt(rr_s[beat])[:, None] ** _ECG_STRETCHES
        distance = ((t_s - r_s[beat])[:, None] - _ECG_AT_S * stretch) / (_ECG_WIDTH_S * stretch)
        total += alone * (np.exp(-(distance**2) / 2) @ size_mv)
    return total
