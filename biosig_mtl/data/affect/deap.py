"""DEAP, preprocessed for Python (Koelstra et al. 2012, doi:10.1109/T-AFFC.2011.15): ``sNN.dat``, a pickle of 40 trials.

Trials lie in the order of the videos (Experiment_id), not of their presentation. The first 3 s of each are the rest before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.affect.trials import Column, Span, files, numbers, option, rated, siemens, source_of, values
from biosig_mtl.data.found import Found
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.unpickle import read_pickle
from biosig_mtl.types import DataError, Entry

FS_HZ = 128.0
TRIALS = 40
SAMPLES = 8064
BASELINE_S = 3.0
SCALE = (1.0, 9.0)
RATINGS = ("valence", "arousal", "dominance", "liking")
# The order of Geneva, to which the authors brought all files.
ELECTRODES = (
    *("Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz"),
    *("Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"),
)
# Name in the set, ours, unit.
PERIPHERAL = (
    ("hEOG", "eog_h", "uV"),
    ("vEOG", "eog_v", "uV"),
    ("zEMG", "emg_zygo", "uV"),
    ("tEMG", "emg_trap", "uV"),
    ("GSR", "eda", "uS"),
    ("Resp", "resp", "a.u."),
    ("Plet", "ppg", "a.u."),
    ("Temp", "temp", "degC"),
)
LAST_OF_TWENTE = 22
_CHANNELS = len(ELECTRODES) + len(PERIPHERAL)


def list_deap(root: Path, _: Mapping[str, Any]) -> Iterator[Found]:
    """Yield one record a trial (``s01/01`` is video 1 of subject s01); the stimulus is the number of the video."""
    for path in files(root, "s[0-9][0-9].dat", "data_preprocessed_python/s[0-9][0-9].dat", "**/s[0-9][0-9].dat"):
        subject = path.stem
        try:
            labels = _arrays(path)[1]
            scores = np.asarray(labels, np.float64)
        except DataError as error:
            yield Found(subject, subject, path, reason=str(error))
            continue
        for trial, row in enumerate(scores.tolist()):
            found = Found(
                record=f"{subject}/{trial + 1:02d}",
                subject=subject,
                path=path,
                options={"trial": trial},
                stimulus=str(trial + 1),
            )
            yield rated(found, dict(zip(RATINGS, row, strict=True)), SCALE, f"{path}, trial {trial + 1}")


def open_deap(entry: Entry) -> LazySource:
    """Open one trial (``entry.options['trial']``, from 0): 63 s at 128 Hz, of which the first 3 s are the rest before it.

    EEG is already without EOG artefacts, band-passed 4–45 Hz and referenced to the common average. GSR is stored as a
    resistance in ohm; it is returned as a conductance in µS, as everywhere else.
    """
    data = _arrays(entry.path)[0]
    trial = option(entry, "trial")
    if trial >= len(data):
        raise DataError(f"{entry.path}: no trial {trial + 1}; it has {len(data)}")
    one = data[trial]
    names = [*((name, name, "uV") for name in ELECTRODES), *PERIPHERAL]
    columns = [Column(source, ours, unit, _load(one, number, ours)) for number, (source, ours, unit) in enumerate(names)]
    return source_of(entry, columns, Span(FS_HZ, one.shape[1], baseline_s=(0.0, BASELINE_S)))


def site(subject: str) -> str:
    """Return where a subject was recorded: s01–s22 in Twente, s23–s32 in Geneva, with other equipment."""
    digits = re.search(r"\d+", subject)
    return "Twente" if digits and int(digits[0]) <= LAST_OF_TWENTE else "Geneva"


def _load(one: NDArray[Any], number: int, ours: str) -> Any:
    if ours == "eda":
        return lambda first, stop: siemens(one[number, first:stop])
    return lambda first, stop: one[number, first:stop]


def _arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    data, labels = values(read_pickle(path), str(path), "data", "labels")
    return (
        numbers(data, f"{path}, data", (TRIALS, _CHANNELS, SAMPLES)),
        numbers(labels, f"{path}, labels", (TRIALS, len(RATINGS))),
    )
