"""Values that people gave, checked: a rating that is missing or off its scale is named with the place where it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.types import F64, DataError, Label


def rating(name: str, value: object, scale: tuple[float, float], where: str) -> Label:
    """Return one rating of a trial as a label with its scale as unit (``1..9``).

    Parameters
    ----------
    name
        ``valence``, ``arousal`` …
    value
        A number, or a text that holds one.
    scale
        Lowest and highest value of the scale in the data set.
    where
        File and row or subject and trial, for the message.

    Raises
    ------
    DataError
        No number, NaN, or off the scale: the line names the place and the value.
    """
    low, high = scale
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise DataError(f"{where}: {name} is '{shape(str(value))}'; its scale is {low:g} to {high:g}")
    return Label(name, number, unit_of(scale), "self")


def ratings(values: Mapping[str, object], scale: tuple[float, float], where: str) -> tuple[Label, ...]:
    """Return the ratings of one trial, one label a name: see `rating`."""
    return tuple(rating(name, value, scale, where) for name, value in values.items())


def check_scale(name: str, values: F64, scale: tuple[float, float], where: str, first_row: int = 1) -> F64:
    """Return the values of a column of ratings; raise `DataError` that names the first row that is NaN or off the scale."""
    wrong = np.flatnonzero(~((values >= scale[0]) & (values <= scale[1])))
    if wrong.size:
        row = int(wrong[0])
        raise DataError(
            f"{where}, line {first_row + row}: {name} is {values[row]:g}; its scale is {scale[0]:g} to {scale[1]:g}"
            + (f" ({wrong.size} such rows)" if wrong.size > 1 else "")
        )
    return values


def unit_of(scale: tuple[float, float]) -> str:
    """Return the unit that tells a scale: ``1..9``.

    >>> unit_of((0.5, 9.5)), unit_of((-1, 1))
    ('0.5..9.5', '-1..1')
    """
    return f"{scale[0]:g}..{scale[1]:g}"


def scale_of(unit: str) -> tuple[float, float]:
    """Return the scale that a unit tells; raise ``ValueError`` where it tells none.

    >>> scale_of("0.5..9.5")
    (0.5, 9.5)
    """
    low, dots, high = unit.partition("..")
    try:
        scale = float(low), float(high)
    except ValueError:
        scale = (math.nan, math.nan)
    if not (dots and scale[0] < scale[1]):
        raise ValueError(f"need a scale like '1..9', got '{unit}'")
    return scale
