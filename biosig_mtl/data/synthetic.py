"""A SIMULATED cohort, written to disk as real WFDB files, with its truth beside it.

It lets the main job run with nothing downloaded, and lets tests know what is true. No number that comes from it says anything
about people. The model of the circulation is in `biosig_mtl.data.physiology`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.random import Generator

from biosig_mtl.data.cohort_folder import COMMENT as COMMENT
from biosig_mtl.data.cohort_folder import MARKER as MARKER
from biosig_mtl.data.cohort_folder import publish, write_csv
from biosig_mtl.data.noise import NOISES, NoiseName, band_noise, disturb, movements, restless
from biosig_mtl.data.physiology import (
    Circulation,
    Person,
    breath,
    circulate,
    ecg_wave,
    person,
    pressure_shape,
    pulse_peaks,
    pulse_wave,
    volume_shape,
)
from biosig_mtl.recipe import digest
from biosig_mtl.types import F32, F64, Bool

# Changes whenever the same settings would give other files.
SIMULATOR = 1
FAULTS = ("flat", "clipped", "gap", "dropped", "short", "flushed")
"""Faults of sensors: PPG flat; PPG saturated; all channels missing for a while; no PPG; 5 s long; pressure line flushed."""

_UNITS = {"PLETH": "NU", "II": "mV", "ABP": "mmHg"}
_STEPS_PER_UNIT = {"PLETH": 5000, "II": 5000, "ABP": 100}
_MISSING = -32768  # what WFDB format 16 writes for a sample that is not there


@dataclass(frozen=True)
class Cohort:
    """Settings of a simulated cohort.

    ``fault_share`` of all records get one fault each, every kind of `FAULTS` in turn. ``second_site_share`` of the subjects
    belong to a second site: older people, and another PPG sensor (slower, fainter, 15 ms late). ``noise`` other than ``none``
    adds sensor noise of that level to ECG and PPG, and an unsteady rhythm (`biosig_mtl.data.noise`).
    """

    n_subjects: int = 40
    records_per_subject: int = 2
    record_s: float = 120.0
    fs_hz: float = 125.0
    seed: int = 0
    fault_share: float = 0.08
    second_site_share: float = 0.0
    noise: NoiseName = "none"

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.n_subjects < 1 or self.records_per_subject < 1:
            raise ValueError(
                f"need n_subjects >= 1 and records_per_subject >= 1, got {self.n_subjects}, {self.records_per_subject}"
            )
        if not 10 <= self.record_s <= 86400:
            raise ValueError(f"need 10 <= record_s <= 86400, got {self.record_s}")
        if not 50 <= self.fs_hz <= 1000:
            raise ValueError(f"need 50 <= fs_hz <= 1000, got {self.fs_hz}")
        if self.seed < 0:
            raise ValueError(f"need seed >= 0, got {self.seed}")
        if not (0 <= self.fault_share <= 1 and 0 <= self.second_site_share <= 1):
            raise ValueError(f"need shares between 0 and 1, got {self.fault_share}, {self.second_site_share}")
        if self.noise not in NOISES:
            raise ValueError(f"need noise of {', '.join(NOISES)}; got '{self.noise}'")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a perfect observer would write down; all arrays have shape (beat,), complete beats only.

    ``foot_s`` and ``end_s`` bound the beat in the pressure channel; ``sbp_mmhg`` and ``dbp_mmhg`` are the highest sample in it
    and the lowest sample at its foot, before any fault. ``r_s`` is its R peak, ``ppg_foot_s`` the foot it makes at the finger,
    ``ppg_peak_s`` where its pulse is highest there, before baseline, noise and the smoothing of the second site.
    """

    r_s: F64
    foot_s: F64
    end_s: F64
    ppg_foot_s: F64
    ppg_peak_s: F64
    sbp_mmhg: F64
    dbp_mmhg: F64

    @property
    def pat_s(self) -> F64:
        """Pulse arrival time at the finger."""
        return self.ppg_foot_s - self.r_s

    def until(self, stop_s: float) -> Truth:
        """Return the beats that end before ``stop_s``."""
        kept = self.end_s < stop_s
        return Truth(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class SimulatedRecord:
    """One simulated recording: channels by their name in the file, each of shape (sample,), and its truth.

    ``fault`` is one of `FAULTS` or empty; ``motion`` marks the samples of PPG that a movement disturbs.
    """

    name: str
    subject: str
    session: str
    channels: Mapping[str, F32]
    truth: Truth
    motion: Bool
    fault: str


# -------------------------------------------------------------------------------------------------------------- simulate
def simulate(cohort: Cohort, subject_number: int) -> tuple[SimulatedRecord, ...]:
    """Return all records of one simulated subject.

    The same settings and number always give the same arrays; apart from faults, a subject does not depend on how many others
    there are.

    >>> records = simulate(Cohort(n_subjects=1, records_per_subject=1, record_s=20), 0)
    >>> records[0].name, sorted(records[0].channels), records[0].channels["ABP"].shape
    ('s001_1', ['ABP', 'II', 'PLETH'], (2500,))
    """
    who = people(cohort)[subject_number]
    second = site(cohort, subject_number) == 2
    broken = faults(cohort)
    subject = subject_name(subject_number)
    records = []
    for session in range(1, cohort.records_per_subject + 1):
        rng = np.random.default_rng([cohort.seed, subject_number, session])
        clean, truth, motion = _sensors(rng, who, cohort, second=second)
        fault = broken.get((subject_number, session), "")
        channels = {name: x.astype(np.float32) for name, x in _break(clean, fault, cohort.fs_hz).items()}
        n = channels["II"].size
        truth, motion = truth.until(n / cohort.fs_hz), motion[:n]
        records.append(SimulatedRecord(f"{subject}_{session}", subject, str(session), channels, truth, motion, fault))
    return tuple(records)


def people(cohort: Cohort) -> tuple[Person, ...]:
    """Return the people of a cohort, in order of their number."""
    return tuple(
        person(np.random.default_rng([cohort.seed, number]), older=site(cohort, number) == 2)
        for number in range(cohort.n_subjects)
    )


def site(cohort: Cohort, subject_number: int) -> int:
    """Return 1 or 2: the last subjects belong to the second site."""
    return 2 if subject_number >= cohort.n_subjects - round(cohort.second_site_share * cohort.n_subjects) else 1


def faults(cohort: Cohort) -> dict[tuple[int, int], str]:
    """Return the fault of every faulty record by subject number and session."""
    n = cohort.n_subjects * cohort.records_per_subject
    chosen = np.random.default_rng([cohort.seed, 777]).permutation(n)[: round(cohort.fault_share * n)]
    return {
        (int(i) // cohort.records_per_subject, int(i) % cohort.records_per_subject + 1): FAULTS[turn % len(FAULTS)]
        for turn, i in enumerate(chosen)
    }


def subject_name(subject_number: int) -> str:
    """Return the id of a subject: ``s001`` is number 0."""
    return f"s{subject_number + 1:03d}"


def _sensors(rng: Generator, who: Person, cohort: Cohort, *, second: bool) -> tuple[dict[str, F64], Truth, Bool]:
    t_s = np.arange(round(cohort.record_s * cohort.fs_hz)) / cohort.fs_hz
    who = restless(who, cohort.noise)
    flow = circulate(rng, who, cohort.record_s)
    foot_s = flow.r_s + flow.line_s
    wave, beat = pulse_wave(t_s, foot_s, pressure_shape(who, flow))
    along = (t_s - foot_s[beat]) / np.diff(foot_s)[beat]
    floor = flow.dbp_mmhg[beat] + np.diff(flow.dbp_mmhg)[beat] * along
    abp = floor + (flow.sbp_mmhg - flow.dbp_mmhg)[beat] * wave
    late_s = 0.015 if second else 0.0
    motion, shake = movements(rng, who, t_s)
    ppg = _ppg(rng, who, flow, t_s - late_s) * (0.6 if second else 1.0)
    if second:
        ppg = _smooth(ppg, round(0.06 * cohort.fs_hz))
    ppg = ppg + shake * who.perfusion * (0.6 if second else 1.0)
    channels = {"PLETH": ppg, "II": _ecg(rng, who, flow, t_s) + 0.15 * shake, "ABP": abp}
    channels, moving = disturb(rng, cohort.noise, t_s, channels, who.perfusion * (0.6 if second else 1.0))
    ppg_peak_s = pulse_peaks(flow.r_s + flow.pat_s, volume_shape(who, flow)) + late_s
    return channels, _truth(flow, abp, late_s, ppg_peak_s, cohort), motion | moving


def _ppg(rng: Generator, who: Person, flow: Circulation, t_s: F64) -> F64:
    wave, beat = pulse_wave(t_s, flow.r_s + flow.pat_s, volume_shape(who, flow))
    # A constricted finger fills less; a deep breath takes filling away.
    filling = np.exp(-0.006 * (flow.mean_mmhg - flow.mean_mmhg.mean())) * (1 + 0.06 * breath(who, flow.r_s - 0.8))
    if who.irregular_share > 0:  # a beat that ejects little fills little
        filling = filling * (flow.sbp_mmhg - flow.dbp_mmhg) / (flow.sbp_mmhg - flow.dbp_mmhg).mean()
    wander = 0.12 * breath(who, t_s - 1.0) + 0.12 * band_noise(rng, t_s, 0.02, 0.12)
    grain = 0.004 * rng.standard_normal(t_s.size)
    return np.asarray(who.ppg_level + who.perfusion * (filling[beat] * wave + wander + grain))


def _ecg(rng: Generator, who: Person, flow: Circulation, t_s: F64) -> F64:
    clean = ecg_wave(t_s, flow.r_s, flow.rr_s, who.ecg_mv) * (1 + 0.07 * breath(who, t_s))
    wander = 0.03 * breath(who, t_s - 0.5) + 0.04 * band_noise(rng, t_s, 0.02, 0.3)
    return clean + 0.4 + wander + 0.007 * rng.standard_normal(t_s.size)


def _truth(flow: Circulation, abp: F64, late_s: float, ppg_peak_s: F64, cohort: Cohort) -> Truth:
    foot_s = flow.r_s + flow.line_s
    # A margin of some samples, so that the foot itself and its neighbours lie in the record.
    inside = np.flatnonzero((foot_s[:-1] > 3 / cohort.fs_hz) & (foot_s[1:] < cohort.record_s - 3 / cohort.fs_hz))
    at = np.round(foot_s * cohort.fs_hz).astype(np.int64)
    bounds = at[np.append(inside, inside[-1] + 1)]
    near = at[inside][:, None] + np.arange(-2, 3)
    return Truth(
        r_s=flow.r_s[inside],
        foot_s=foot_s[inside],
        end_s=foot_s[inside + 1],
        ppg_foot_s=(flow.r_s + flow.pat_s)[inside] + late_s,
        ppg_peak_s=ppg_peak_s[inside],
        sbp_mmhg=np.maximum.reduceat(abp[: bounds[-1]], bounds[:-1]),
        dbp_mmhg=abp[near].min(axis=1),
    )


def _smooth(x: F64, samples: int) -> F64:
    width = samples | 1
    padded = np.pad(x, width // 2, mode="edge")
    return np.asarray(np.convolve(padded, np.ones(width) / width, mode="valid"))


def _break(channels: Mapping[str, F64], fault: str, fs_hz: float) -> dict[str, F64]:
    """Return the channels with one fault put in."""
    broken = {name: x.copy() for name, x in channels.items()}
    n = broken["PLETH"].size
    # The shares are such that every faulty record loses windows and, apart from 'dropped' and 'short', keeps some.
    if fault == "flat":
        broken["PLETH"][int(0.25 * n) : int(0.7 * n)] = broken["PLETH"][int(0.25 * n)]
    elif fault == "clipped":
        broken["PLETH"] = np.minimum(broken["PLETH"], np.quantile(broken["PLETH"], 0.85))
    elif fault == "gap":
        for x in broken.values():
            x[int(0.35 * n) : int(0.6 * n)] = np.nan
    elif fault == "dropped":
        del broken["PLETH"]
    elif fault == "short":
        broken = {name: x[: round(5 * fs_hz)] for name, x in broken.items()}
    elif fault == "flushed":
        broken["ABP"][int(0.1 * n) : int(0.8 * n)] = 185.0
    return broken


# ----------------------------------------------------------------------------------------------------------------- write
def write(cohort: Cohort, folder: str | Path) -> Path:
    """Write a cohort: WFDB records, ``records.csv``, ``subjects.csv`` and ``truth.csv`` (for tests, one row a beat).

    The same settings give the same bytes. A folder that already holds them is left alone; one that holds other settings is
    replaced; a folder that holds anything else is refused. Nobody ever sees half a cohort: it appears by a rename.

    Parameters
    ----------
    cohort
        What to simulate.
    folder
        Where it goes; made if it is not there.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    DataError
        The folder holds something else than a simulated cohort.
    """
    return publish(Path(folder), _digest(cohort), _settings(cohort), lambda made: _write_all(cohort, made))


def _digest(cohort: Cohort) -> str:
    return digest({"simulator": SIMULATOR, **_settings(cohort)})


def _settings(cohort: Cohort) -> dict[str, object]:
    # A setting that came later is not told where it changes nothing: old cohorts stay what they were.
    return {name: value for name, value in asdict(cohort).items() if (name, value) != ("noise", "none")}


def _write_all(cohort: Cohort, folder: Path) -> None:
    listed: list[list[object]] = []
    true: list[list[object]] = []
    persons = people(cohort)
    for number, who in enumerate(persons):
        (folder / subject_name(number)).mkdir()
        about = [int(who.age_years), int(who.sex_male), int(who.height_cm), int(who.weight_kg)]
        for record in simulate(cohort, number):
            path = f"{record.subject}/{record.name}"
            _write_record(record, folder / record.subject, cohort.fs_hz)
            listed.append([record.name, record.subject, record.session, path, site(cohort, number), *about, record.fault])
            true.extend([record.name, *row] for row in _rows(record.truth))
    demographics = ["age_years", "sex_male", "height_cm", "weight_kg"]
    head = ["record", "subject", "session", "path", "site", *demographics, "fault"]
    write_csv(folder / "records.csv", head, listed)
    subjects = {row[1]: [row[1], *row[4:9]] for row in listed}
    write_csv(folder / "subjects.csv", ["subject", "site", *demographics], list(subjects.values()))
    write_csv(folder / "truth.csv", ["record", "r_s", "foot_s", "end_s", "ppg_foot_s", "sbp_mmhg", "dbp_mmhg"], true)


def _rows(truth: Truth) -> list[list[str]]:
    columns = np.stack([truth.r_s, truth.foot_s, truth.end_s, truth.ppg_foot_s, truth.sbp_mmhg, truth.dbp_mmhg], axis=1)
    return [[f"{x:.4f}" for x in row] for row in columns.tolist()]


def _write_record(record: SimulatedRecord, folder: Path, fs_hz: float) -> None:
    import wfdb

    names = list(record.channels)
    steps = np.array([_STEPS_PER_UNIT[name] for name in names])
    physical = np.stack([record.channels[name] for name in names], axis=1).astype(np.float64)
    counts = np.clip(np.round(physical * steps), -32767, 32767)
    wfdb.wrsamp(
        record.name,
        fs=int(fs_hz) if float(fs_hz).is_integer() else fs_hz,
        units=[_UNITS[name] for name in names],
        sig_name=names,
        d_signal=np.where(np.isnan(counts), _MISSING, counts).astype(np.int64),
        fmt=["16"] * len(names),
        adc_gain=[float(s) for s in steps],
        baseline=[0] * len(names),
        comments=[COMMENT],
        write_dir=str(folder),
    )
