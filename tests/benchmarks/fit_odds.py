"""Where the constants ``ODDS`` of the ECG and PPG detectors come from: a fit on simulated candidates whose truth is known.

Run by hand after any change of the candidates, of what speaks for them, or of the noise (half a minute)::

    python -m tests.benchmarks.fit_odds

It prints ``ODDS`` of `biosig_mtl/signal/ecg.py` and `ppg.py` to be pasted there, beside those that stand there, and what either
finds on simulated people that were not fitted on. No real recording is learned from, and none of the benchmark's cohort.

The fit is a logistic regression (scikit-learn, C = 10) over the candidates of ten people at each of the three levels of noise;
for the ECG also over 24 people with arrhythmias at each level, whom the cohort has few of: premature wide beats, bigeminy and
trigeminy, short runs, irregular rhythm, broad QRS, deep S, low amplitude and tall T.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.random import Generator

from biosig_mtl.data.noise import LEVELS, bursts, ecg_noise
from biosig_mtl.data.synthetic import Cohort, simulate
from biosig_mtl.signal import Bandpass, ecg, ppg
from biosig_mtl.signal.detection import Detection, log_odds, select
from biosig_mtl.signal.trace import Trace, trace
from biosig_mtl.types import F32, F64, Bool, Channel, Record
from tests.benchmarks import scoring

FS = 125.0
NOISE = ("clean", "moderate", "heavy")
PEOPLE, SECONDS = 10, 300.0
FITTED_SEED, CHECKED_SEED = 321, 654
FITTED_ARRHYTHMIAS, CHECKED_ARRHYTHMIAS = range(100, 124), range(16)
# The inverse of the ridge: all but none.
C = 10.0
# What lies further than this behind the last true beat of a simulated record is not judged: its beat may be cut off.
BEHIND_S = 0.16


@dataclass(frozen=True)
class Kind:
    """A detector, and how far from a true beat its candidate may lie."""

    module: ModuleType
    detect: Callable[[Trace], Detection]
    band_hz: tuple[float, float]
    channel: str
    truth: str
    near_s: float


KINDS = {
    "ecg": Kind(ecg, ecg.ecg_beats, (0.5, 40.0), "II", "r_s", 0.06),
    "ppg": Kind(ppg, ppg.ppg_beats, (0.5, 12.0), "PLETH", "ppg_peak_s", 0.1),
}
# The apex of a broad beat is less well defined.
NEAR_ARRHYTHMIA_S = 0.08


@dataclass(frozen=True, eq=False)
class Simulated:
    """One channel with its true beats; ``near_s`` is how far from one its candidate may lie."""

    samples: F64
    truth_s: F64
    near_s: float


# --------------------------------------------------------------------------------------------------------------- simulation
def people(kind: str, level: str, seed: int) -> Iterator[Simulated]:
    """Yield the people of the simulated cohort."""
    how = KINDS[kind]
    cohort = Cohort(PEOPLE, 1, SECONDS, FS, seed, 0.0, noise=level)  # type: ignore[arg-type]
    for number in range(PEOPLE):
        (made,) = simulate(cohort, number)
        yield Simulated(made.channels[how.channel].astype(np.float64), getattr(made.truth, how.truth), how.near_s)


def arrhythmias(level: str, seeds: Iterable[int]) -> Iterator[Simulated]:
    """Yield electrocardiograms with arrhythmias, one a seed: a regular one, an irregular one, two with premature beats."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        irregular = seed % 4 == 1
        at_s, premature = rhythm(rng, irregular=irregular, ectopic=seed % 4 > 1)
        samples = waves(rng, at_s, premature, irregular=irregular)
        t_s = np.arange(samples.size) / FS
        samples += ecg_noise(rng, LEVELS[level], t_s, bursts(rng, t_s, LEVELS[level].burst_share))
        yield Simulated(samples, at_s, NEAR_ARRHYTHMIA_S)


def rhythm(rng: Generator, *, irregular: bool, ectopic: bool) -> tuple[F64, Bool]:
    """Return the times of beats in seconds and which come too early, shape (beat,).

    Irregular: a fifth of the mean interval, as in atrial fibrillation. Premature beats come after 0.60–0.75 of an interval and
    are followed by a pause.
    """
    count = int(SECONDS * 4)
    mean_s = 60 / rng.uniform(50, 120)
    interval = mean_s * (1 + 0.04 * np.sin(np.arange(count) * 0.4) + rng.normal(0, 0.015, count))
    if irregular:
        interval = mean_s * np.clip(1 + 0.2 * rng.standard_normal(count), 0.45, 2)
    early = _early(rng, count) if ectopic else np.zeros(count, bool)
    interval = np.where(early, interval * rng.uniform(0.6, 0.75, count), interval)
    interval[1:] = np.where(early[:-1] & ~early[1:], interval[1:] * 1.3, interval[1:])
    at_s = np.cumsum(np.maximum(interval, 0.25))
    inside = at_s < SECONDS - 0.5
    return at_s[inside], early[inside]


def _early(rng: Generator, count: int) -> Bool:
    """Return which beats are premature: single ones, stretches of every second or third beat, and runs of four."""
    share = rng.uniform(0.03, 0.2)
    early: Bool = rng.random(count) < share
    for start in np.flatnonzero(rng.random(count) < 0.004):
        early[start : start + 60 : 2 if rng.random() < 0.6 else 3] = True
    for start in np.flatnonzero(rng.random(count) < 0.002):
        early[start : start + 4] = True
    return early


def waves(rng: Generator, at_s: F64, premature: Bool, *, irregular: bool) -> F64:
    """Return an electrocardiogram in mV with the R peaks of its beats at the times given.

    R of 0.3–1.8 mV, a quarter of them downwards, one in ten broad; S up to 0.6 R, T up to 0.55 R or inverted; no P where the
    rhythm is irregular. Premature beats are of two broad shapes.
    """
    out = np.zeros(int(SECONDS * FS))
    height = rng.uniform(0.3, 1.8) * (1 if rng.random() < 0.75 else -1)
    wide_s = rng.choice([0.008, 0.01, 0.014, 0.025], p=[0.3, 0.4, 0.2, 0.1])
    usual = at_s[~premature]
    _add(out, usual, wide_s, height)
    _add(out, usual - 2.5 * wide_s, wide_s * 0.9, -height * rng.uniform(0, 0.3))
    _add(out, usual + 2.6 * wide_s, wide_s, -height * rng.uniform(0, 0.6))
    if not irregular:
        _add(out, usual - 0.16, 0.022, height * rng.uniform(0.05, 0.2))
    _add(out, usual + rng.uniform(0.22, 0.32), rng.uniform(0.03, 0.06), abs(height) * rng.uniform(-0.2, 0.55))
    shapes = [(rng.uniform(0.028, 0.05), height * rng.uniform(-1.8, 1.8)) for _ in range(2)]
    first = rng.random(at_s.size) < 0.75
    for mine, (sigma_s, size) in zip((first, ~first), shapes, strict=True):
        broad, peak = at_s[premature & mine], np.sign(size) * max(abs(size), 0.6 * abs(height))
        _add(out, broad, sigma_s, peak)
        _add(out, broad + 2.2 * sigma_s, sigma_s * 1.1, -peak * 0.5)
        _add(out, broad + 0.3, 0.06, -peak * 0.35)
    return out


def _add(out: F64, at_s: F64, sigma_s: float, height: float) -> None:
    """Add a Gaussian at every time, in place."""
    reach = int(4 * sigma_s * FS) + 2
    sample = np.round(at_s * FS).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    value = height * np.exp(-(((sample / FS - at_s[:, None]) / sigma_s) ** 2) / 2)
    inside = (sample >= 0) & (sample < out.size)
    np.add.at(out, sample[inside], value[inside])


# ---------------------------------------------------------------------------------------------------------------------- fit
def seen(kind: str, samples: F64) -> tuple[Trace, Detection]:
    """Return what the detector sees of a channel, and its candidates."""
    channel = Channel(kind, kind, "au", FS, samples.astype(np.float32))
    record = Bandpass(kind, "filtered", *KINDS[kind].band_hz)(Record("r", "s", "1", {kind: channel}))
    what = trace(record, record.channels["filtered"])
    return what, KINDS[kind].detect(what)


def true_ones(at_s: F64, truth_s: F64, near_s: float) -> Bool:
    """Return which candidates are beats, shape (candidate,): of those nearest to a true beat the nearest one, if it is near."""
    nearest = np.abs(truth_s - at_s[:, None]).argmin(axis=1)
    off = np.abs(truth_s[nearest] - at_s)
    order = np.lexsort((off, nearest))
    best = np.zeros(at_s.size, bool)
    best[order[np.flatnonzero(np.diff(nearest[order], prepend=-1))]] = True
    best &= off <= near_s
    return best


def candidates(kind: str, made: Iterable[Simulated]) -> tuple[F32, Bool]:
    """Return the looks of all candidates, shape (candidate, number), and which are beats."""
    looks, right = [], []
    for one in made:
        _, found = seen(kind, one.samples)
        found = found.take(found.peak / FS < one.truth_s[-1] + BEHIND_S)
        looks.append(found.looks)
        right.append(true_ones(found.peak / FS, one.truth_s, one.near_s))
    return np.concatenate(looks), np.concatenate(right)


def material(kind: str, seed: int, seeds: Sequence[int]) -> Iterator[Simulated]:
    """Yield what is fitted or checked on."""
    for level in NOISE:
        yield from people(kind, level, seed)
    if kind == "ecg":
        for level in NOISE:
            yield from arrhythmias(level, seeds)


def fit(looks: F32, right: Bool) -> tuple[float, ...]:
    """Return a constant and one weight for each number."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=C, max_iter=1000).fit(looks, right)
    return tuple(round(float(value), 2) for value in (model.intercept_[0], *model.coef_[0]))


# -------------------------------------------------------------------------------------------------------------------- check
def checked(kind: str, odds: Sequence[float], made: Iterable[Simulated]) -> scoring.Score:
    """Return the score of the beats that are chosen with these constants."""
    pairs = []
    for one in made:
        what, found = seen(kind, one.samples)
        chosen = select(replace(found, odds=log_odds(found.looks, odds)), what)
        pairs.append((one.truth_s, chosen.peak / FS))
    return scoring.pooled(pairs)


def told(kind: str, odds: Sequence[float]) -> Iterator[str]:
    """Yield one line for each level and material that was not fitted on."""
    for level in NOISE:
        sets = {"people": people(kind, level, CHECKED_SEED)}
        if kind == "ecg":
            sets["arrhythmias"] = arrhythmias(level, CHECKED_ARRHYTHMIAS)
        for name, made in sets.items():
            got = checked(kind, odds, made)
            yield f"  {level:9s}{name:12s} F1 {got.f1:.4f}, at 50 ms {got.strict_f1:.4f} ({got.sensitivity:.3f}, {got.ppv:.3f})"


def main() -> None:
    """Fit, print, and check."""
    for kind, how in KINDS.items():
        fitted = fit(*candidates(kind, material(kind, FITTED_SEED, FITTED_ARRHYTHMIAS)))
        for name, odds in (("fitted", fitted), ("in the module", how.module.ODDS)):
            print(f"{kind}.ODDS = {odds}  # {name}")  # noqa: T201
            print("\n".join(told(kind, odds)))  # noqa: T201


if __name__ == "__main__":
    main()
