"""Time stamps of tables: seconds, clock times, dates."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.readers.quoting import shape
from biosig_mtl.types import F64, DataError

DAY_S = 86400.0
# Seconds since 1970 have ten digits until 2286; what has more counts in smaller steps.
_EPOCH_STEPS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))

_CLOCK = re.compile(
    r"(?:(?P<h>\d{1,4}):)?(?P<m>\d{1,4}):(?P<s>\d{1,4}(?:[.,]\d{0,12})?)(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?(?: [\d./]{6,12})?",
    re.ASCII,
)
# The years are those that 64 bits of nanoseconds can tell: beyond, dates would go round in silence.
_DATE = re.compile(
    r"(?P<time>(?:1[789]|20|21)\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?)(?P<zone>Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def parse_clock(words: NDArray[np.str_], where: str, first_line: int) -> F64:
    """Return time stamps as seconds; a clock that passes midnight goes on.

    Read are plain numbers (seconds; or seconds, milli-, micro- or nanoseconds since 1970), ``hh:mm:ss.mmm`` and ``mm:ss.mmm``
    with or without AM or PM and a date after it, and dates of 1700 to 2199 as ISO 8601 writes them: all with a time zone, which
    is taken off, or none.

    Raises
    ------
    DataError
        A stamp is not readable: the line is named.
    """
    if words.size == 0:
        return np.empty(0)
    for parse in (_plain, _clock, _dates):
        seconds = parse(words)
        if seconds is not None:
            return seconds
    kinds = (_plain, _clock, _dates)
    alone = [next((k for k, parse in enumerate(kinds) if parse(words[n : n + 1]) is not None), -1) for n in range(len(words))]
    # The first that is nothing, or else the first that is written otherwise than those before.
    wrong = alone.index(-1) if -1 in alone else next((n for n, kind in enumerate(alone) if kind != alone[0]), 0)
    raise DataError(f"{where}, line {first_line + wrong}: time stamp '{shape(str(words[wrong]))}' is not readable")


def _plain(words: NDArray[np.str_]) -> F64 | None:
    try:
        values = words.astype(np.float64)
    except (ValueError, OverflowError):
        return None
    if not np.isfinite(values).all():
        return None
    return in_seconds(values)


def in_seconds(values: F64) -> F64:
    """Return plain time stamps as seconds: what is far too large for seconds since 1970 counts in smaller steps."""
    for limit, step in _EPOCH_STEPS:
        if values.size and abs(values[0]) > limit:
            return values / step
    return values


def _clock(words: NDArray[np.str_]) -> F64 | None:
    found = [_CLOCK.fullmatch(word) for word in words.tolist()]
    if not all(found):
        return None
    seconds = np.array([_of_day(m) for m in found if m], dtype=np.float64)
    # A fall of most of a day is midnight, not a step back.
    result: F64 = seconds + DAY_S * np.concatenate([[0.0], np.cumsum(np.diff(seconds) < -DAY_S / 2)])
    return result


def _of_day(found: re.Match[str]) -> float:
    hours, half = float(found["h"] or 0), (found["half"] or "").lower()
    if half:
        hours = hours % 12 + 12 * (half == "p")
    return hours * 3600 + float(found["m"]) * 60 + float(found["s"].replace(",", "."))


def _dates(words: NDArray[np.str_]) -> F64 | None:
    found = [_DATE.fullmatch(word) for word in words.tolist()]
    zones = {bool(m["zone"]) for m in found if m}
    # Stamps with and without a time zone cannot be compared.
    if not all(found) or len(zones) > 1:
        return None
    try:
        stamps = np.array([m["time"].replace(" ", "T") for m in found if m], dtype="datetime64[ns]")
    except ValueError:
        return None
    ahead = np.array([_ahead_s(m["zone"]) for m in found if m])
    result: F64 = stamps.astype(np.int64) / 1e9 - ahead
    return result


def _ahead_s(zone: str | None) -> float:
    """Return how many seconds a time zone is ahead of UTC."""
    if zone is None or zone == "Z":
        return 0.0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (-60.0 if zone[0] == "-" else 60.0) * (60 * hours + minutes)
