"""The leakage canary: SIMULATED windows whose labels have nothing to do with the signal, but whose trials can be recognised.

A split that puts windows of one trial on both sides scores almost perfectly on it; an honest one scores chance. What it scores
says nothing about people: it tells whether a protocol can be believed.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from biosig_mtl.types import F32, I64, WindowTable

WINDOW_S = 2.0
# Sizes of what a person, a trial and a window bring, as standard deviations. A trial stands well apart from its neighbours, as
# recordings on one day, with one cap, one skin, one drift do.
SUBJECT_SD = 1.0
TRIAL_SD = 0.65
NOISE_SD = 1.0


def canary(rng: Generator, subjects: int = 8, trials: int = 40, windows: int = 30, features: int = 128) -> WindowTable:
    """Return windows = subject offset + trial offset + noise, with valence and arousal drawn at random for every trial.

    Parameters
    ----------
    rng
        Source of chance.
    subjects, trials, windows, features
        How many: trials of each subject, windows of each trial. Every trial has a stimulus of its own name that all subjects
        see, but ratings are drawn anew for each subject, so that stimuli say nothing either.

    Returns
    -------
    WindowTable
        Ratings from 1 to 9, uniform; no waveforms. A trial is one record.

    Notes
    -----
    The construction is that of the field's own warnings (windows of a trial share what the trial brings; see for example
    Del Pup et al. 2025, arXiv 2505.13021, and Khan et al. 2025, arXiv 2508.02417, on leaking splits).
    """
    if min(subjects, trials, windows, features) < 1:
        raise ValueError(f"need at least one of each, got {subjects}, {trials}, {windows}, {features}")
    person = rng.normal(0, SUBJECT_SD, (subjects, 1, 1, features))
    trial = rng.normal(0, TRIAL_SD, (subjects, trials, 1, features))
    noise = rng.normal(0, NOISE_SD, (subjects, trials, windows, features))
    values = (person + trial + noise).reshape(-1, features).astype(np.float32)
    rating = rng.uniform(1, 9, (subjects, trials, 1, 2)).repeat(windows, axis=2).reshape(-1, 2).astype(np.float32)
    places = np.indices((subjects, trials, windows)).reshape(3, -1)
    names = tuple(f"eeg_de.canary.{k}" for k in range(features))
    return _table(values, names, rating, places)


def _table(values: F32, names: tuple[str, ...], rating: F32, places: I64) -> WindowTable:
    import pandas as pd

    who, which, turn = places
    subject = np.array([f"s{k + 1:02d}" for k in range(int(who.max()) + 1)])[who]
    stimulus = np.array([f"clip{k + 1:02d}" for k in range(int(which.max()) + 1)])[which]
    onset_s = turn * WINDOW_S
    index = pd.DataFrame(
        {
            "dataset": "canary",
            "subject_level": "subject",
            "subject": subject,
            "session": "1",
            "record": np.char.add(np.char.add(subject, "/"), stimulus),
            "stimulus": stimulus,
            "onset_s": onset_s,
            "end_s": onset_s + WINDOW_S,
            "fs": 128.0,
            "timing_reliable": False,
            "sqi": np.float32(1.0),
            "valence": rating[:, 0],
            "arousal": rating[:, 1],
            "label_source": "random",
            "window_id": [f"{k:016x}" for k in range(len(values))],
        }
    )
    nothing = np.empty((len(values), 0, 0), np.float32)
    return WindowTable(index, values, names, nothing, (), 128.0, rating, ("valence", "arousal"))
