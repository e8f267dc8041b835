"""DREAMER (Katsigiannis and Ramzan 2018, doi:10.1109/JBHI.2017.2688239): ``DREAMER.mat``, 23 people and 18 film clips.

EEG (128 Hz, 14 electrodes) and ECG (256 Hz, 2 leads) of every clip, and of a neutral clip of 61 s before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.trials import Column, Span, files, option, rated, source_of, stamp
from biosig_mtl.data.found import Found
from biosig_mtl.data.mat5 import Mat, open_mat5
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.types import DataError, Entry

EEG_HZ, ECG_HZ = 128, 256
TRIALS = 18
SCALE = (1.0, 5.0)
ELECTRODES = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
LEADS = ("ecg", "ecg_2")
_SCORES = {"valence": "ScoreValence", "arousal": "ScoreArousal", "dominance": "ScoreDominance"}


def list_dreamer(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a clip (``S01/01``: subject 1, clip 1); the stimulus is the number of the clip."""
    for path in files(root, "DREAMER.mat", "**/DREAMER.mat"):
        try:
            people = _people(path)
        except DataError as error:
            yield Found("DREAMER", "", path, reason=str(error))
            continue
        for number, person in enumerate(people):
            yield from _clips(path, number, person)


def open_dreamer(entry: Entry) -> LazySource:
    """Open one clip (``entry.options``: ``person`` and ``trial``, from 0), with the neutral clip before it and a seam between.

    EEG is as the headset gave it, with a large offset; the ECG has two samples a frame.
    """
    person, trial = option(entry, "person"), option(entry, "trial")
    (eeg, ecg), rest = _trial(entry.path, stamp(entry.path), person, trial)
    columns = [Column(name, name, "uV", _load(eeg, n)) for n, name in enumerate(_electrodes(entry.path))]
    columns += [Column(name, name, "mV", _load(ecg, n), ECG_HZ // EEG_HZ) for n, name in enumerate(LEADS)]
    baseline = rest / EEG_HZ
    return source_of(entry, columns, Span(EEG_HZ, len(eeg), (baseline,), (0.0, baseline)))


def _clips(path: Path, number: int, person: Mat) -> Iterator[Found]:
    subject = f"S{number + 1:02d}"
    try:
        scores = {name: _column(person[score]) for name, score in _SCORES.items()}
    except DataError as error:
        yield Found(subject, subject, path, reason=str(error))
        return
    for trial in range(TRIALS):
        found = Found(
            record=f"{subject}/{trial + 1:02d}",
            subject=subject,
            path=path,
            demographics=_demographics(person),
            options={"person": number, "trial": trial},
            stimulus=str(trial + 1),
        )
        values = {name: column[trial] for name, column in scores.items()}
        yield rated(found, values, SCALE, f"{path}, subject {number + 1}, clip {trial + 1}")


def _people(path: Path) -> tuple[Mat, ...]:
    data = open_mat5(path)["DREAMER"]
    for field, rate in (("EEG_SamplingRate", EEG_HZ), ("ECG_SamplingRate", ECG_HZ)):
        found = data[field].array()
        if found.size != 1 or float(found.flat[0]) != rate:
            raise DataError(f"{path}: {field} is {found.tolist()}, need {rate}")
    people = data["Data"].items
    if not people:
        raise DataError(f"{path}: DREAMER.Data holds no people")
    return people


def _electrodes(path: Path) -> tuple[str, ...]:
    """Return the names that the file gives its columns of EEG."""
    cells = open_mat5(path)["DREAMER"]["EEG_Electrodes"].items
    names = tuple(cell.text().strip() for cell in cells)
    if sorted(names) != sorted(ELECTRODES):
        raise DataError(f"{path}: EEG_Electrodes are {', '.join(names) or 'missing'}; need {', '.join(ELECTRODES)}")
    return names


def _column(mat: Mat) -> list[float]:
    found = mat.array()
    if found.size != TRIALS:
        raise DataError(f"{mat.path}: {mat.name} has shape {found.shape}, need {TRIALS} scores")
    return [float(value) for value in found.ravel()]


def _demographics(person: Mat) -> dict[str, float]:
    try:
        age, gender = person["Age"], person["Gender"].text().strip().lower()
        years = float(age.text()) if age.kind == "text" else float(age.array().ravel()[0])
    except (DataError, ValueError, IndexError):
        return {}
    sex = {"male": 1.0, "female": 0.0}
    return ({"age_years": years} if np.isfinite(years) else {}) | ({"sex_male": sex[gender]} if gender in sex else {})


@lru_cache(maxsize=2)
def _trial(path: Path, _: int, person: int, trial: int) -> tuple[tuple[NDArray[Any], NDArray[Any]], int]:
    """Return EEG and ECG of the rest and the clip joined, and how many frames of them are rest."""
    people = _people(path)
    if person >= len(people):
        raise DataError(f"{path}: no subject {person + 1}; it has {len(people)}")
    parts = {
        phase: _both(people[person], phase, trial, f"{path}, subject {person + 1}, clip {trial + 1}")
        for phase in ("baseline", "stimuli")
    }
    joined = [np.concatenate([parts["baseline"][n], parts["stimuli"][n]]) for n in (0, 1)]
    return (joined[0], joined[1]), len(parts["baseline"][0])


def _both(person: Mat, phase: str, trial: int, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return EEG and ECG of one phase, cut to whole frames that both have."""
    eeg, ecg = (person[signal][phase].cell(trial).array() for signal in ("EEG", "ECG"))
    if eeg.ndim != 2 or ecg.ndim != 2 or eeg.shape[1] != len(ELECTRODES) or ecg.shape[1] != len(LEADS) or not len(eeg):
        raise DataError(f"{where}: EEG and ECG of {phase} have shapes {eeg.shape} and {ecg.shape}; need 14 and 2 columns")
    ratio = ECG_HZ // EEG_HZ
    frames = min(len(eeg), len(ecg) // ratio)
    # Both devices ran together: lengths that differ by more than a second belong to different clips.
    if abs(len(eeg) - len(ecg) / ratio) > EEG_HZ:
        raise DataError(f"{where}: EEG of {phase} lasts {len(eeg) / EEG_HZ:.1f} s, its ECG {len(ecg) / ECG_HZ:.1f} s")
    return eeg[:frames], ecg[: frames * ratio]


def _load(table: NDArray[Any], number: int) -> Any:
    return lambda first, stop: table[first:stop, number]
