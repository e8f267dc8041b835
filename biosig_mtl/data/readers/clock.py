"""Time stamps of tables: seconds, clock times, dates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, DataError

DAY_S = 86400.0
# Seconds since 1970 have ten digits until 2286; what has more counts in smaller steps.
_EPOCH_STEPS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def parse_clock(words: NDArray[np.str_], where: str, first_line: int) -> F64:
    """Return time stamps as seconds; a clock that passes midnight goes on.

    Read are plain numbers (seconds; or seconds, milli-, micro- or nanoseconds since 1970), ``hh:mm:ss.mmm`` and ``mm:ss.mmm``
    with or without a date after it, and dates as ISO 8601 writes them.

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
    wrong = next((n for n, w in enumerate(words) if _plain(words[n : n + 1]) is None and _clock(words[n : n + 1]) is None), 0)
    raise DataError(f"{where}, line {first_line + wrong}: time stamp '{str(words[wrong])[:40]}' is not readable")


def _plain(words: NDArray[np.str_]) -> F64 | None:
    try:
        values = words.astype(np.float64)
    except ValueError:
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
    import pandas as pd

    if not np.char.count(words, ":").all() or np.char.count(words, "-").any():
        return None
    # A date may follow; the day is counted from the clock itself.
    times = np.char.partition(words, " ")[:, 0]
    times = np.where(np.char.count(times, ":") == 1, np.char.add("00:", times), times)
    spans = pd.to_timedelta(times, errors="coerce")
    if spans.isna().any():
        return None
    seconds = np.asarray(spans.total_seconds(), dtype=np.float64)
    # A fall of most of a day is midnight, not a step back.
    result: F64 = seconds + DAY_S * np.concatenate([[0.0], np.cumsum(np.diff(seconds) < -DAY_S / 2)])
    return result


def _dates(words: NDArray[np.str_]) -> F64 | None:
    try:
        # numpy knows no time zones: all stamps of a file are taken to be in the same one.
        stamps = np.char.rstrip(words, "Z").astype("datetime64[ns]")
    except ValueError:
        return None
    if np.isnat(stamps).any():
        return None
    result: F64 = stamps.astype(np.int64) / 1e9
    return result
