"""SEED and SEED-IV (Zheng and Lu 2015; Zheng et al. 2019), preprocessed: a MATLAB file a session, 62 electrodes at 200 Hz.

Both sets name the emotion that a clip was chosen for; nobody rated valence or arousal. SEED's classes are negative, neutral and
positive, which is a class of valence; SEED-IV's are neutral, sad, fear and happy, which is neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.trials import Column, Span, files, option, source_of, stamp
from biosig_mtl.data.found import Found, natural
from biosig_mtl.data.mat5 import open_mat5
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.recipe import choose
from biosig_mtl.types import DataError, Entry, Label

FS_HZ = 200.0
TRIALS = {"seed": 15, "seed_iv": 24}
EMOTIONS = ("neutral", "sad", "fear", "happy")
# SEED-IV, from its read-me: the emotion of each trial in sessions 1 to 3.
SEED_IV = (
    (1, 2, 3, 0, 2, 0, 0, 1, 0, 1, 2, 1, 1, 1, 2, 3, 2, 2, 3, 3, 0, 3, 0, 3),
    (2, 1, 3, 0, 0, 2, 0, 2, 3, 3, 2, 3, 2, 0, 1, 1, 2, 1, 0, 3, 0, 1, 3, 1),
    (1, 2, 2, 1, 3, 3, 3, 1, 1, 2, 1, 0, 2, 3, 3, 0, 2, 3, 0, 0, 2, 0, 1, 0),
)
ELECTRODES = (
    *("Fp1", "Fpz", "Fp2", "AF3", "AF4", "F7", "F5", "F3", "F1", "Fz", "F2", "F4", "F6", "F8"),
    *("FT7", "FC5", "FC3", "FC1", "FCz", "FC2", "FC4", "FC6", "FT8", "T7", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "T8"),
    *("TP7", "CP5", "CP3", "CP1", "CPz", "CP2", "CP4", "CP6", "TP8", "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8"),
    *("PO7", "PO5", "PO3", "POz", "PO4", "PO6", "PO8", "CB1", "O1", "Oz", "O2", "CB2"),
)
# Text of more than one language sorts eeg10 before eeg2, and files hold other variables too: the number counts.
_TRIAL = re.compile(r"\w*eeg(?P<number>\d+)", re.IGNORECASE)
_FILE = re.compile(r"(?P<subject>\d+)_(?P<date>\d{8})")


def list_seed(root: Path, options: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a trial: ``1/20131027/05`` is trial 5 of that day of subject 1; the stimulus is the clip.

    ``options['set']`` is ``seed`` (label ``valence`` on −1..1) or ``seed_iv`` (label ``emotion``: 0 neutral, 1 sad, 2 fear,
    3 happy). Sessions are numbered by date; those of SEED-IV by their folder, and each shows clips of its own.
    """
    which = choose(str(options.get("set", "seed")), TRIALS, "set of SEED")
    return _seed(root) if which == "seed" else _seed_iv(root)


def open_seed(entry: Entry) -> LazySource:
    """Open one trial (``entry.options['trial']``, from 1, as the variables of the file count)."""
    trial = option(entry, "trial")
    data = _trial(entry.path, stamp(entry.path), trial)
    columns = [Column(name, name, "uV", _load(data, n)) for n, name in enumerate(ELECTRODES)]
    return source_of(entry, columns, Span(FS_HZ, data.shape[1]))


def _seed(root: Path) -> Iterator[Found]:
    paths = [p for p in files(root, "Preprocessed_EEG/*.mat", "*.mat", "**/Preprocessed_EEG/*.mat") if _FILE.fullmatch(p.stem)]
    for _, several in groupby(sorted(paths, key=lambda p: natural(p.stem)), key=lambda p: p.stem.split("_")[0]):
        for number, path in enumerate(several, 1):
            try:
                labels = _labels(path.with_name("label.mat"))
            except DataError as error:
                yield Found(path.stem, path.stem.split("_")[0], path, reason=str(error))
                continue
            given = [(Label("valence", value, "-1..1", "stimulus"),) for value in labels]
            yield from _trials(path, str(number), given, "clip")


def _seed_iv(root: Path) -> Iterator[Found]:
    for number, emotions in enumerate(SEED_IV, 1):
        patterns = (f"eeg_raw_data/{number}/*.mat", f"{number}/*.mat", f"**/eeg_raw_data/{number}/*.mat")
        given = [(Label("emotion", float(e), f"0..{len(EMOTIONS) - 1}", "stimulus"),) for e in emotions]
        for path in files(root, *patterns):
            if _FILE.fullmatch(path.stem):
                yield from _trials(path, str(number), given, f"session{number}/clip")


def _trials(path: Path, session: str, given: Sequence[tuple[Label, ...]], clip: str) -> Iterator[Found]:
    subject = path.stem.split("_")[0]
    try:
        held = _numbered(path)
    except DataError as error:
        yield Found(path.stem, subject, path, session, reason=str(error))
        return
    for trial, labels in enumerate(given, 1):
        reason = "" if trial in held else f"{path}: no variable of trial {trial} (…eeg{trial})"
        yield Found(
            record=f"{subject}/{path.stem.split('_')[1]}/{trial:02d}",
            subject=subject,
            path=path,
            session=session,
            labels=labels,
            options={"trial": trial},
            reason=reason,
            stimulus=f"{clip}{trial}",
        )


def _labels(path: Path) -> list[float]:
    found = open_mat5(path)["label"].array()
    if found.size != TRIALS["seed"] or not set(found.ravel().tolist()) <= {-1, 0, 1}:
        raise DataError(f"{path}: need {TRIALS['seed']} labels of -1, 0 or 1, found {found.ravel().tolist()}"[:200])
    return [float(value) for value in found.ravel()]


def _numbered(path: Path) -> dict[int, str]:
    """Return the variables of trials by their number."""
    found = {int(m["number"]): name for name in open_mat5(path).names if (m := _TRIAL.fullmatch(name))}
    if not found:
        raise DataError(f"{path}: holds no trials (…eeg1, …eeg2 …)")
    return found


@lru_cache(maxsize=2)
def _trial(path: Path, _: int, trial: int) -> NDArray[Any]:
    held = _numbered(path)
    if trial not in held:
        raise DataError(f"{path}: no variable of trial {trial}; it has {', '.join(held.values())}")
    data = open_mat5(path)[held[trial]].array()
    if data.ndim != 2 or data.shape[0] != len(ELECTRODES) or not data.size:
        raise DataError(f"{path}: {held[trial]} has shape {data.shape}, need ({len(ELECTRODES)}, any)")
    return np.ascontiguousarray(data, dtype=np.float32)


def _load(table: NDArray[Any], number: int) -> Any:
    return lambda first, stop: table[number, first:stop]
