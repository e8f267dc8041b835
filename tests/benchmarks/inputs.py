"""Annotated recordings, and simulated ones of three noise levels, for detectors to be tried on.

Where nobody annotated (the pulses of BIDMC and MIMIC-III), the truth is the R peaks of the electrocardiogram beside it: beats
on which two independent public detectors, NeuroKit2's and sleepecg's, agree within 50 ms. A recording on which these two agree
on less than 99 % of the beats (F1) is left out. Neither is ours. The delay from R peak to pulse goes with the lag.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, cast

import numpy as np

from biosig_mtl.data.noise import NoiseName
from biosig_mtl.data.synthetic import Cohort, simulate
from biosig_mtl.types import F64
from tests.benchmarks import peers, scoring

LEVELS: tuple[NoiseName, ...] = ("clean", "moderate", "heavy")
BEAT_SYMBOLS = list("NLRBAaJSVrFejnE/fQ?")
SUBJECTS = 12
SECONDS = 300.0
SEED = 3
AGREED = 0.99
AFTER_R_S = (0.0, 0.8)
AROUND_S = (-0.2, 0.2)
PULSELESS_S = (91.6, 104.0)


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """One channel with its true beats. ``kind`` is ``ecg`` or ``ppg``; ``lag_between_s`` bounds the lag of a detector."""

    name: str
    kind: Literal["ecg", "ppg"]
    fs: float
    samples: F64
    truth_s: F64
    lag_between_s: tuple[float, float] = AROUND_S

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.fs


Set = tuple[Input, ...]
"""Recordings whose scores are added up: a column of the table."""


def real(root: Path, kind: str) -> dict[str, Set]:
    """Return the real sets of a kind by name."""
    if kind == "ecg":
        return {"MIT-BIH 100": (mit_bih(root, "100"),), "MIT-BIH 105": (mit_bih(root, "105"),), "118e12": (noise_stress(root),)}
    whole = bidmc(root)
    return {"BIDMC 01": (whole,), "BIDMC 01 readable": readable(whole), "MIMIC-III": mimic(root)}


def every(root: Path | None, kind: str) -> dict[str, Set]:
    """Return all sets of a kind by name: the real ones if there are any, then the simulated ones."""
    simulations = {f"simulated {level}": tuple(x for x in simulated(level) if x.kind == kind) for level in LEVELS}
    return {**(real(root, kind) if root else {}), **simulations}


@cache
def mit_bih(root: Path, record: str) -> Input:
    """Return the first lead of an MIT-BIH record with its cardiologists' beats."""
    import wfdb

    path = str(root / "annotated" / record)
    read, notes = wfdb.rdrecord(path, channels=[0]), wfdb.rdann(path, "atr")
    truth_s = notes.sample[np.isin(notes.symbol, BEAT_SYMBOLS)] / read.fs
    return Input(f"MIT-BIH {record}", "ecg", float(read.fs), read.p_signal[:, 0], truth_s)


@cache
def noise_stress(root: Path) -> Input:
    """Return two minutes of record 118 of the MIT-BIH Noise Stress Test at 12 dB, as HeartPy ships it (360 Hz)."""
    samples, at = (np.loadtxt(root / "peers" / "heartpy" / name) for name in ("118e12.csv", "118e12_ann.csv"))
    return Input("118e12", "ecg", 360.0, samples, at / 360.0)


@cache
def bidmc(root: Path) -> Input:
    """Return the pulses of BIDMC 01 (8 min), true where the electrocardiogram beside it has its R peaks."""
    path = root / "annotated" / "bidmc_01_Signals.csv"
    names = [name.strip() for name in path.read_text(encoding="utf-8").split("\n", 1)[0].split(",")]
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    ecg, ppg = (table[:, names.index(name)] for name in ("II", "PLETH"))
    truth_s, _ = consensus(ecg, 125.0)
    truth_s = with_pulse(truth_s, ppg.size / 125.0)
    return Input("BIDMC 01", "ppg", 125.0, ppg, truth_s, AFTER_R_S)


def readable(whole: Input) -> Set:
    """Return BIDMC 01 without the 12 s in which its pulse channel shows steps and no pulse at all (chosen by eye).

    There the electrocardiogram has 19 beats that nobody can find in the pulses: a detector that answers with steps gains by
    chance what one that stays silent loses.
    """
    parts = []
    for start_s, stop_s in ((0.0, PULSELESS_S[0]), (PULSELESS_S[1], whole.length_s)):
        samples = whole.samples[round(start_s * whole.fs) : round(stop_s * whole.fs)]
        truth_s = with_pulse(whole.truth_s[whole.truth_s >= start_s] - start_s, stop_s - start_s)
        parts.append(replace(whole, name=f"{whole.name} from {start_s:g} s", samples=samples, truth_s=truth_s))
    return tuple(parts)


@cache
def mimic(root: Path) -> Set:
    """Return the pulses of those MIMIC-III minutes whose electrocardiogram is beyond dispute; nothing is missing in them."""
    import wfdb

    found = []
    for path in sorted((root / "bp" / "mimic3_atm").glob("*.hea")):
        read = wfdb.rdrecord(str(path.with_suffix("")))
        if not {"II", "PLETH"} <= set(read.sig_name) or read.sig_len < 50 * read.fs:
            continue
        ecg, ppg = (read.p_signal[:, read.sig_name.index(name)] for name in ("II", "PLETH"))
        if not (np.isfinite(ecg).all() and np.isfinite(ppg).all()):
            continue
        truth_s, agreed = consensus(ecg, float(read.fs))
        truth_s = with_pulse(truth_s, ppg.size / read.fs)
        if agreed >= AGREED:
            found.append(Input(path.stem, "ppg", float(read.fs), ppg, truth_s, AFTER_R_S))
    return tuple(found)


def consensus(ecg: F64, fs: float) -> tuple[F64, float]:
    """Return the R peaks on which NeuroKit2 and sleepecg agree within 50 ms, and the F1 of one against the other."""
    one, two = (peers.find(peers.ECG, name, ecg, fs) for name in ("neurokit2 neurokit", "sleepecg"))
    agreed = scoring.score(one, two)
    off = scoring.nearest(one, two - agreed.lag_s)
    return one[np.abs(off) <= scoring.STRICT_S], agreed.strict_f1


def with_pulse(r_s: F64, length_s: float) -> F64:
    """Return the R peaks whose pulse lies in the recording too."""
    return np.asarray(r_s[r_s < length_s - AFTER_R_S[1]])


@cache
def simulated(noise: NoiseName) -> Set:
    """Return one hour at a noise level: ECG (true: R peaks) and PPG (true: systolic peaks) of twelve people, 5 min each."""
    cohort = Cohort(n_subjects=SUBJECTS, records_per_subject=1, record_s=SECONDS, fault_share=0, seed=SEED, noise=noise)
    found = []
    for number in range(SUBJECTS):
        (record,) = simulate(cohort, number)
        for kind, name, truth_s in (("ecg", "II", record.truth.r_s), ("ppg", "PLETH", record.truth.ppg_peak_s)):
            samples = record.channels[name].astype(np.float64)
            found.append(
                Input(f"{record.name} {noise}", cast("Literal['ecg', 'ppg']", kind), cohort.fs_hz, samples, truth_s, AROUND_S)
            )
    return tuple(found)
