"""Where the coefficients of the sqi come from: a fit on simulated recordings with known beats, and a check on annotated ones.

Run by hand after any change of detectors, agreement or noise (a minute)::

    python -m tests.benchmarks.fit_sqi write          # writes COEFFICIENTS into biosig_mtl/signal/sqi.py
    python -m tests.benchmarks.fit_sqi check [DATA]   # tells how reliable the figure is that stands there

The check is on simulated people that were not fitted on, and, where the folder of real recordings is given, on annotated ones.
Nothing is learned from those.

The fit is a logistic regression with slopes that may not be negative (L-BFGS-B) and a small ridge, over seconds of ECG and PPG
at the three levels of noise, a third each, and of plain noise without any beat. The simulator adds no noise to a pressure line;
here it gets that of a PPG, in units of the pulse pressure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biosig_mtl.data.noise import LEVELS, band_noise, bursts, ppg_noise
from biosig_mtl.data.synthetic import Cohort, simulate
from biosig_mtl.signal import AssessQuality, Bandpass, DetectBeats, Step
from biosig_mtl.signal import sqi as sqi_module
from biosig_mtl.signal.sqi import sqi, terms
from biosig_mtl.types import F32, F64, Bool, Channel, Quality, Record
from tests.benchmarks import inputs, scoring

KINDS = ("ecg", "ppg", "abp")
NAMES = {"ecg": "II", "ppg": "PLETH", "abp": "ABP"}
TRUTHS = {"ecg": "r_s", "ppg": "ppg_peak_s", "abp": "foot_s"}
BANDS_HZ = {"ecg": (0.5, 40.0), "ppg": (0.5, 12.0)}
NOISE = ("clean", "moderate", "heavy")
SUBJECTS, SECONDS, FS = 48, 200.0, 125.0
# Plain noise without any beat: so many recordings of so many seconds.
EMPTY, EMPTY_S = 12, 60.0
FITTED_SEED, CHECKED_SEED = 101, 202
# Seconds at either end in which a beat may lack its neighbour.
EDGE_S = 3
AROUND_S = 0.5
RIDGE, STEEPEST = 3e-4, 15.0
BINS = np.linspace(0, 1, 6)


@dataclass(frozen=True)
class Seconds:
    """Seconds that have a beat, true or found: their indices, each of shape (second,), and whether their beats are right."""

    indices: Mapping[str, F32]
    right: Bool

    @property
    def sqi(self) -> F64:
        """The figure of every second."""
        return sqi(self.indices)


def assessed(kind: str, samples: F64, fs: float) -> tuple[Quality, F64]:
    """Return quality and beat times (ECG and PPG: peaks, ABP: feet) of one channel, through the steps of the recipes."""
    channel = Channel(kind, kind, "mmHg" if kind == "abp" else "au", fs, samples.astype(np.float32))
    record = Record("r", "s", "1", {kind: channel})
    name = f"{kind}_band" if kind in BANDS_HZ else kind
    steps: list[Step] = [Bandpass(kind, name, *BANDS_HZ[kind])] if kind in BANDS_HZ else []
    for step in (*steps, DetectBeats(name), AssessQuality(name, kind)):
        record = step(record)
    beats = record.beats[name]
    return record.quality[name], (beats.onset if kind == "abp" else beats.peak) / fs


def right_seconds(truth_s: F64, found_s: F64, count: int, between_s: tuple[float, float]) -> tuple[Bool, Bool]:
    """Return which seconds are right, and which have a beat at all, true or found, shape (second,).

    Right: every true beat within half a second of it has a found one within 150 ms and nothing else is found there, the
    detector's constant lag taken off.
    """
    lag_s = scoring.constant_lag(truth_s, found_s, between_s)
    found_s = found_s - (lag_s if np.isfinite(lag_s) else 0.0)
    wrong = np.zeros(count + 2)
    some = np.zeros(count + 2)
    for one, other in ((truth_s, found_s), (found_s, truth_s)):
        off = np.abs(scoring.nearest(one, other))
        lost = off > scoring.WIDE_S
        if one.size and other.size:
            # Of two that have the same partner, one is too many.
            at = np.abs(other[:, None] - one).argmin(axis=0)
            lost |= np.bincount(at[~lost], minlength=other.size)[at] > 1
        for times, into in ((one[lost], wrong), (one, some)):
            for shift in (-AROUND_S, AROUND_S):
                np.add.at(into, np.clip(np.floor(times + shift).astype(int) + 1, 0, count + 1), 1)
    return wrong[1:-1] == 0, some[1:-1] > 0


def seconds(kind: str, samples: F64, fs: float, truth_s: F64, between_s: tuple[float, float] = (-0.2, 0.2)) -> Seconds:
    """Return the seconds of one recording; its ends, beyond the first and the last true beat, are left out."""
    quality, found_s = assessed(kind, samples, fs)
    count = quality.sqi.size
    right, some = right_seconds(truth_s, found_s, count, between_s)
    at = np.arange(count)
    first, last = (truth_s[0], truth_s[-1]) if truth_s.size else (0.0, samples.size / fs)
    keep = some & (at > first + EDGE_S) & (at < last - EDGE_S - 1)
    return Seconds({name: track[keep] for name, track in quality.indices.items()}, right[keep])


def together(parts: Iterable[Seconds]) -> Seconds:
    """Return the seconds of several recordings as one."""
    parts = list(parts)
    names = [n for n in parts[0].indices if all(n in p.indices for p in parts)]
    return Seconds({n: np.concatenate([p.indices[n] for p in parts]) for n in names}, np.concatenate([p.right for p in parts]))


def simulated(kind: str, seed: int, subjects: int = SUBJECTS, levels: Iterable[str] = NOISE) -> Seconds:
    """Return seconds of simulated people at the levels of noise (each person at one, by turns), and of plain noise."""
    found, levels = [], tuple(levels)
    for number in range(subjects):
        level = levels[number % len(levels)]
        cohort = Cohort(subjects, 1, SECONDS, FS, seed, 0.0, noise=level)  # type: ignore[arg-type]
        (made,) = simulate(cohort, number)
        samples = made.channels[NAMES[kind]].astype(np.float64)
        if kind == "abp":
            samples += shaken(np.random.default_rng([seed, number]), level, samples.size)
        found.append(seconds(kind, samples, FS, getattr(made.truth, TRUTHS[kind])))
    rng = np.random.default_rng(seed)
    none = np.empty(0)
    found += [seconds(kind, nothing(rng, number), FS, none) for number in range(EMPTY)]
    return together(found)


def shaken(rng: np.random.Generator, level: str, size: int) -> F64:
    """Return the noise of a pressure line in mmHg: that of a PPG, 40 mmHg high, and half of its baseline wander at most."""
    t_s = np.arange(size) / FS
    return 40.0 * ppg_noise(rng, LEVELS[level], t_s, bursts(rng, t_s, LEVELS[level].burst_share))


def nothing(rng: np.random.Generator, number: int) -> F64:
    """Return a recording without beats: white noise, slow noise, or the noise of movement, by turns."""
    t_s = np.arange(round(EMPTY_S * FS)) / FS
    low, high = ((0.0, FS), (0.1, 2.0), (0.5, 5.0), (1.0, 30.0))[number % 4]
    return 90 + 20 * band_noise(rng, t_s, low, high)


def fit(given: Seconds) -> dict[str, float]:
    """Return the coefficients of the kind that these seconds are of."""
    from scipy.optimize import minimize

    told = ~np.isnan(given.indices["template"])
    found = {name: value[told] for name, value in terms(given.indices).items()}
    x, right = np.stack([np.ones(int(told.sum())), *found.values()]), given.right[told]

    def loss(beta: F64) -> tuple[float, F64]:
        odds = beta @ x
        value = np.logaddexp(0, odds).mean() - odds[right].sum() / odds.size + RIDGE / 2 * (beta[1:] ** 2).sum()
        slope = x @ (1 / (1 + np.exp(-odds)) - right) / odds.size
        slope[1:] += RIDGE * beta[1:]
        return float(value), slope

    bounds = [(-40.0, 40.0)] + [(0.0, STEEPEST)] * len(found)
    best = minimize(loss, np.zeros(x.shape[0]), jac=True, bounds=bounds, method="L-BFGS-B")
    return {name: round(float(value), 2) for name, value in zip(("bias", *found), best.x, strict=True)}


def auc(figure: F64, right: Bool) -> float:
    """Return the probability that a right second has a higher figure than a wrong one."""
    from scipy.stats import rankdata

    rank, good = rankdata(figure), int(right.sum())
    bad = right.size - good
    return float((rank[right].sum() - good * (good + 1) / 2) / (good * bad)) if good and bad else float("nan")


def reliability(figure: F64, right: Bool) -> list[tuple[int, float, float]]:
    """Return for five bins of the figure how many seconds lie there, their mean figure, and the share that is right."""
    place = np.clip(np.digitize(figure, BINS) - 1, 0, BINS.size - 2)
    rows = []
    for k in range(BINS.size - 1):
        here = place == k
        rows.append(
            (int(here.sum()), float(figure[here].mean()), float(right[here].mean())) if here.any() else (0, np.nan, np.nan)
        )
    return rows


def real(root: Path) -> dict[str, tuple[str, Seconds]]:
    """Return the seconds of the annotated recordings by name, with their kind."""
    found = {}
    for kind in ("ecg", "ppg"):
        for name, recordings in inputs.real(root, kind).items():
            parts = [seconds(kind, np.nan_to_num(x.samples), x.fs, x.truth_s, x.lag_between_s) for x in recordings]
            found[name] = (kind, together(parts))
    return found


def told(name: str, found: Seconds) -> str:
    """Return one line of the report."""
    figure = found.sqi
    cells = "  ".join(f"{n}: {mean:.2f}→{share:.2f}" for n, mean, share in reliability(figure, found.right) if n)
    return f"{name:24s} right {found.right.mean():.3f}  sqi {figure.mean():.3f}  AUC {auc(figure, found.right):.3f}  {cells}"


def literal(fitted: Mapping[str, Mapping[str, float]]) -> str:
    """Return the coefficients as they stand in the module."""
    lines = ["COEFFICIENTS: Mapping[str, Mapping[str, float]] = {"]
    for kind, values in fitted.items():
        lines += [f'    "{kind}": {{', *(f'        "{name}": {value},' for name, value in values.items()), "    },"]
    return "\n".join([*lines, "}"])


def write() -> None:
    """Put the coefficients of a fresh fit into the module."""
    path = Path(str(sqi_module.__file__))
    source = path.read_text(encoding="utf-8")
    head, _, rest = source.partition("COEFFICIENTS: Mapping")
    tail = rest.partition("\n}\n")[2]
    fitted = {kind: fit(simulated(kind, FITTED_SEED)) for kind in KINDS}
    path.write_text(head + literal(fitted) + "\n" + tail, encoding="utf-8")


def check(root: Path | None) -> None:
    """Print how reliable the figure is with the coefficients of the module."""
    for kind in KINDS:
        print(told(f"{kind} simulated", simulated(kind, CHECKED_SEED)))  # noqa: T201
    for name, (_, found) in (real(root) if root else {}).items():
        print(told(name, found))  # noqa: T201


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write"]:
            write()
        case ["check", *folder]:
            check(Path(folder[0]) if folder else None)
        case _:
            sys.exit(f"usage: {__doc__}")
