"""A SIMULATED cohort that watches film clips, written to disk as real files: EEG in EDF and BDF, a wristband's exports as zips.

Its latent valence and arousal are known, so what a model ought to find is known. It lets the main job run with nothing
downloaded. No number that comes from it says anything about people.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from biosig_mtl.data.affect_course import Course, Trials, course, moods, trials
from biosig_mtl.data.affect_eeg import FS, MONTAGES, brain, eeg
from biosig_mtl.data.affect_wrist import HR_LATE_S, RATES_HZ, Wrist, body, wrist
from biosig_mtl.data.cohort_folder import COMMENT, publish, write_csv
from biosig_mtl.data.edf_writer import write_edf
from biosig_mtl.recipe import digest
from biosig_mtl.types import F32, F64

# Changes whenever the same settings would give other files.
SIMULATOR = 1
# The wristband is put on before the EEG starts: by so many whole seconds.
EARLY_S = (5, 40)
_FIRST_START = 1_600_000_000
_DIGITS = {"BVP": 2, "EDA": 6, "TEMP": 2, "HR": 2}


@dataclass(frozen=True)
class AffectCohort:
    """Settings of a simulated cohort: everybody sees all clips once, in one session, each after some seconds of rest.

    ``montage`` is ``emotiv`` (14 electrodes) or ``geneva`` (32). ``eeg_format`` is ``edf``, ``bdf``, or ``both`` in turn.
    ``effect`` is the size of what valence and arousal do to the signals: with 0 there is none, and ratings say nothing of them.
    """

    n_subjects: int = 24
    n_stimuli: int = 12
    clip_s: float = 40.0
    rest_s: float = 5.0
    montage: Literal["emotiv", "geneva"] = "emotiv"
    eeg_format: Literal["edf", "bdf", "both"] = "both"
    effect: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.n_subjects < 1 or self.n_stimuli < 1:
            raise ValueError(f"need n_subjects >= 1 and n_stimuli >= 1, got {self.n_subjects}, {self.n_stimuli}")
        if not (8 <= self.clip_s <= 600 and 2 <= self.rest_s <= 60):
            raise ValueError(f"need 8 <= clip_s <= 600 and 2 <= rest_s <= 60, got {self.clip_s}, {self.rest_s}")
        if self.montage not in MONTAGES or self.eeg_format not in {"edf", "bdf", "both"}:
            raise ValueError(
                f"need montage {' or '.join(MONTAGES)} and edf, bdf or both; got {self.montage}, {self.eeg_format}"
            )
        if not 0 <= self.effect <= 5:
            raise ValueError(f"need 0 <= effect <= 5, got {self.effect}")
        if self.seed < 0:
            raise ValueError(f"need seed >= 0, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Session:
    """One simulated session and its truth. ``eeg`` has shape (channel, time) at 128 Hz in µV.

    ``early_s`` is how long before the EEG the wristband starts; times of trials and course count from the start of the EEG.
    """

    subject: str
    trials: Trials
    course: Course
    eeg: F32
    channels: tuple[str, ...]
    wrist: Wrist
    early_s: int
    start_unix: int


def subject_name(number: int) -> str:
    """Return the id of a subject: ``sim01`` is number 0."""
    return f"sim{number + 1:02d}"


def simulate(cohort: AffectCohort, number: int) -> Session:
    """Return the session of one subject; the same settings and number always give the same arrays.

    >>> session = simulate(AffectCohort(n_stimuli=4, clip_s=8), 0)
    >>> session.eeg.shape, session.wrist.streams["EDA"].size > session.trials.length_s * 4
    ((14, 9984), True)
    """
    clips = moods(np.random.default_rng([cohort.seed, 1]), cohort.n_stimuli)
    rng = np.random.default_rng([cohort.seed, 2, number])
    head, skin = brain(rng), body(rng)
    shown = trials(rng, clips, cohort.rest_s, cohort.clip_s)
    felt = course(shown)
    early = int(rng.integers(EARLY_S[0], EARLY_S[1]))
    start = _FIRST_START + 86_400 * number + int(rng.integers(0, 20_000))
    channels = MONTAGES[cohort.montage]
    return Session(
        subject=subject_name(number),
        trials=shown,
        course=felt,
        eeg=eeg(np.random.default_rng([cohort.seed, 3, number]), head, channels, felt, cohort.effect),
        channels=channels,
        wrist=wrist(np.random.default_rng([cohort.seed, 4, number]), skin, _before(felt, early), cohort.effect),
        early_s=early,
        start_unix=start,
    )


def _before(felt: Course, seconds: int) -> Course:
    """Return the course with a neutral stretch in front, times counted from its start."""
    step = felt.t_s[1]
    ahead = round(seconds / step)
    t_s = np.arange(felt.t_s.size + ahead) * step
    return Course(t_s, np.pad(felt.valence, (ahead, 0)), np.pad(felt.arousal, (ahead, 0)), np.pad(felt.trial, (ahead, 0)))


# ----------------------------------------------------------------------------------------------------------------- write
def write(cohort: AffectCohort, folder: str | Path) -> Path:
    """Write a cohort: a folder a subject with ``session.edf`` or ``.bdf`` and ``session_e4.zip``, and three tables beside them.

    ``trials.csv`` lists one record a trial: files, times on the clock of the EEG (``start_s``, ``stop_s``, and ``rest_s`` of
    rest before it), ``offset_s`` (where the zero of the wristband lies on that clock) and ratings from 1 to 9. ``subjects.csv``
    lists people, ``truth.csv`` what was felt; the latter is for tests and never an input.

    The same settings give the same bytes. A folder that already holds them is left alone, see `publish`.

    Raises
    ------
    DataError
        The folder holds something else than a simulated cohort.
    """
    settings = asdict(cohort)
    name = digest({"affect_simulator": SIMULATOR, **settings})
    return publish(Path(folder), name, settings, lambda made: _write_all(cohort, made))


def _write_all(cohort: AffectCohort, folder: Path) -> None:
    listed: list[list[object]] = []
    true: list[list[object]] = []
    for number in range(cohort.n_subjects):
        session = simulate(cohort, number)
        home = folder / session.subject
        home.mkdir()
        form: Literal["edf", "bdf"] = (
            "bdf" if (cohort.eeg_format, number % 2) in {("bdf", 0), ("bdf", 1), ("both", 1)} else "edf"
        )
        write_edf(home / f"session.{form}", session.eeg, session.channels, int(FS), session.start_unix, form)
        write_e4(home / "session_e4.zip", session.wrist, session.start_unix - session.early_s)
        files = [f"{session.subject}/session.{form}", f"{session.subject}/session_e4.zip", -session.early_s]
        for row in _rows(session, cohort.rest_s):
            listed.append([*row[:7], *files, *row[7:9]])
            true.append([row[0], *row[9:]])
    head = ["record", "subject", "session", "stimulus", "start_s", "stop_s", "rest_s"]
    write_csv(folder / "trials.csv", [*head, "eeg", "e4", "offset_s", "valence", "arousal"], listed)
    write_csv(folder / "truth.csv", ["record", "valence", "arousal"], true)
    write_csv(folder / "subjects.csv", ["subject", "comment"], [[subject_name(k), COMMENT] for k in range(cohort.n_subjects)])


def _rows(session: Session, rest_s: float) -> list[list[object]]:
    shown = session.trials
    rows: list[list[object]] = []
    for k in np.argsort(shown.stimulus):
        clip = f"clip{shown.stimulus[k] + 1:02d}"
        times = [f"{x:g}" for x in (shown.start_s[k], shown.stop_s[k], rest_s)]
        rated = [f"{x:.2f}" for x in (shown.valence_rating[k], shown.arousal_rating[k])]
        felt = [f"{x:.4f}" for x in (shown.valence[k], shown.arousal[k])]
        rows.append([f"{session.subject}/{clip}", session.subject, "1", clip, *times, *rated, *felt])
    return rows


def write_e4(path: Path, worn: Wrist, start_unix: int) -> None:
    """Write streams as an export of an Empatica E4: a zip of CSV files, each with its start (UTC) and rate in front."""
    texts = {f"{name}.csv": _stream(name, samples, start_unix) for name, samples in worn.streams.items()}
    texts["IBI.csv"] = _intervals(worn.beats_s, start_unix)
    texts["tags.csv"] = ""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, text in texts.items():
            # A date of its own would make every zip differ.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED, 6)
    path.write_bytes(whole.getvalue())


def _stream(name: str, samples: F32, start_unix: int) -> str:
    start = start_unix + (HR_LATE_S if name == "HR" else 0)
    rate = RATES_HZ[name]
    if samples.ndim == 2:
        head = [", ".join([f"{x:.6f}"] * samples.shape[1]) for x in (start, rate)]
        body = [f"{x},{y},{z}" for x, y, z in samples.astype(int).tolist()]
    else:
        head = [f"{x:.6f}" for x in (start, rate)]
        form = f"%.{_DIGITS[name]}f"
        body = [form % x for x in samples.tolist()]
    return "\n".join([*head, *body]) + "\n"


def _intervals(beats_s: F64, start_unix: int) -> str:
    """Return the device's own intervals, in steps of 1/64 s."""
    at = np.round(beats_s * 64) / 64
    rows = [f"{end:.6f},{end - start:.6f}" for start, end in zip(at[:-1].tolist(), at[1:].tolist(), strict=True)]
    return "\n".join([f"{start_unix:.6f}, IBI", *rows]) + "\n"


def truth(folder: Path) -> Mapping[str, tuple[float, float]]:
    """Return what was felt in every record, valence and arousal in [−1, 1]; for tests."""
    lines = (folder / "truth.csv").read_text(encoding="utf-8").splitlines()[1:]
    return {record: (float(v), float(a)) for record, v, a in (line.split(",") for line in lines)}
