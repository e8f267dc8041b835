"""Cuff readings of one person, and the windows of a recording during which they were taken."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.recipe import choose
from biosig_mtl.tasks import TASKS
from biosig_mtl.types import F64, I64, DataError, RecipeError

NEAR_S = 30.0
"""A reading belongs to the window around it, or to one that is no further away than this (ours: a cuff takes about as long)."""
KNOWN = {target.name: target for task in TASKS.values() for target in task.targets}


@dataclass(frozen=True)
class Reading:
    """What a cuff read, ``at_s`` seconds after the start of the recording: values by target, in the unit of the target.

    >>> Reading(12.5, {"sbp": 128.0, "dbp": 81.0}).at_s
    12.5
    """

    at_s: float
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse what no cuff reads.

        Raises
        ------
        RecipeError
            A time below 0, no value, one outside the plausible range of its target, or a diastolic one not below the systolic.
        """
        if not 0.0 <= self.at_s < math.inf:
            raise RecipeError(f"a reading at {self.at_s:g} s: give the seconds from the start of the recording, 0 or more")
        if not self.values:
            raise RecipeError(f"the reading at {self.at_s:g} s tells no value; write e.g. sbp=128,dbp=81")
        for name, value in self.values.items():
            target = KNOWN.get(name)
            if target is not None and not target.low <= value <= target.high:
                raise RecipeError(
                    f"the reading at {self.at_s:g} s: {name} {value:g} {target.unit} is not plausible; "
                    f"need {target.low:g} to {target.high:g}"
                )
            if not math.isfinite(value):
                raise RecipeError(f"the reading at {self.at_s:g} s: {name} is no number")
        if "sbp" in self.values and "dbp" in self.values and self.values["dbp"] >= self.values["sbp"]:
            raise RecipeError(
                f"the reading at {self.at_s:g} s: dbp {self.values['dbp']:g} is not below sbp {self.values['sbp']:g}; "
                "are they swapped?"
            )


def check_readings(readings: Sequence[Reading], targets: Sequence[str]) -> None:
    """Refuse no readings at all, and targets that a run does not estimate.

    Raises
    ------
    RecipeError
        With a suggestion where a name is nearly right.
    """
    if not readings:
        raise RecipeError("no reading is given: personal calibration needs one or more")
    for one in readings:
        for name in one.values:
            choose(name, targets, "target of this run (reading)")


def windows_of(readings: Sequence[Reading], onset_s: F64, end_s: F64, record: str) -> tuple[I64, list[Reading]]:
    """Return the window (K,) of each reading, and the readings, both in the order of time.

    A reading belongs to the window around it; of several, to the one whose middle is nearest, and where none is around it, to
    the nearest one up to `NEAR_S` away.

    Raises
    ------
    DataError
        A reading lies beside the recording, far from every usable window, or in the same window as another.
    """
    ordered = sorted(readings, key=lambda one: one.at_s)
    found: dict[int, Reading] = {}
    for one in ordered:
        away = np.maximum(np.maximum(onset_s - one.at_s, one.at_s - end_s), 0.0)
        middle = np.abs(0.5 * (onset_s + end_s) - one.at_s)
        best = int(np.lexsort((middle, away))[0])
        if away[best] > NEAR_S:
            raise DataError(
                f"{record}: no usable window near the reading at {one.at_s:g} s; the nearest is {onset_s[best]:g} to "
                f"{end_s[best]:g} s, {away[best]:g} s away; usable windows end at {end_s.max():g} s"
            )
        if best in found:
            raise DataError(
                f"{record}: the readings at {found[best].at_s:g} and {one.at_s:g} s belong to the same window "
                f"({onset_s[best]:g} to {end_s[best]:g} s); give one of them, or their mean"
            )
        found[best] = one
    rows = np.array(sorted(found), dtype=np.int64)
    return rows, [found[int(row)] for row in rows]


def truth_of(readings: Sequence[Reading], targets: Sequence[str]) -> F64:
    """Return readings (K, T), NaN where one does not tell a target."""
    return np.array([[one.values.get(name, np.nan) for name in targets] for one in readings], dtype=np.float64)
