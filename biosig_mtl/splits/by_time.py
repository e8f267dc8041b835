"""Folds in time: the earlier part of each recording is learned from, the later part is tested.

Recordings count each by its own clock, from the first window that was kept to the end of the last. A window that would reach
over a border is in no part. Windows are told apart by the samples that they span; a *trail* that ends with a test window may
reach back into what was learned from, as it would in real use, for it carries signal and never labels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from biosig_mtl.splits.by_unit import subject_kfold
from biosig_mtl.splits.drawing import Draw
from biosig_mtl.splits.keys import TINY_S, Keys
from biosig_mtl.types import DataError, Fold


def epic_time(draw: Draw) -> list[Fold]:
    """Learn from the earlier part of every recording, choose with the part after it, test on the rest after a gap."""
    keys, protocol = draw.keys, draw.protocol
    start, end = keys.bounds_s
    middle = start + (end - start) * protocol.past_share * (1 - protocol.validation)
    last = start + (end - start) * protocol.past_share
    train = keys.end_s <= middle + TINY_S
    validation = (keys.onset_s >= middle - TINY_S) & (keys.end_s <= last + TINY_S)
    test = keys.onset_s >= last + gap_s(keys, protocol.gap_s) - TINY_S
    for what, part in (("train", train), ("validate", validation), ("test", test)):
        if not part.any():
            longest = float((end - start).max(initial=0.0))
            raise DataError(f"no window to {what} on: recordings of at most {longest:g} s are too short to be cut in time")
    rows = np.flatnonzero
    return [Fold(rows(train), rows(validation), rows(test), seed=draw.seed, unit="time")]


def calibrated_within_trial(draw: Draw) -> list[Fold]:
    """Learn from other people, and from the labelled first seconds of every recording of the people who are tested.

    This is the protocol behind some published "subject-independent" figures (see ``docs/protocols.md``); it is not
    subject-independent, for it has seen the label of nearly every trial that it is asked for. So every fold brings its
    ``twin``, that of `subject_kfold`, cut down to the very same test windows.
    """
    keys, protocol = draw.keys, draw.protocol
    limit = keys.bounds_s[0] + protocol.calibration_s
    early = keys.end_s <= limit + TINY_S
    late = keys.onset_s >= limit + gap_s(keys, protocol.gap_s) - TINY_S
    folds = []
    for plain in subject_kfold(draw):
        given, test = plain.test[early[plain.test]], plain.test[late[plain.test]]
        if not given.size or not test.size:
            why = "is shorter than a window" if not given.size else "and the gap after it leave nothing to test"
            raise DataError(f"fold {plain.number}: split.calibration_s of {protocol.calibration_s:g} s {why}")
        twin = replace(plain, test=test)
        folds.append(replace(twin, train=np.sort(np.concatenate([plain.train, given])), twin=twin))
    return folds


def gap_s(keys: Keys, wanted: float | None) -> float:
    """Return the seconds between what is learned from and what is tested: one window unless said otherwise."""
    return float((keys.end_s - keys.onset_s).max(initial=0.0)) if wanted is None else wanted
