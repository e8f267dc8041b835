"""When a recording began, as its own header tells: only for moving it. No date leaves here unmoved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from biosig_mtl.data.readers.e4_session import read_session
from biosig_mtl.data.readers.files import read_start
from biosig_mtl.types import DataError, Entry

_WFDB = re.compile(
    r"\s(?P<h>\d{1,2}):(?P<m>\d{2}):(?P<s>\d{2})(?:\.\d*)?\s+(?P<day>\d{1,2})/(?P<month>\d{1,2})/(?P<year>\d{4})"
)
_EDF = re.compile(r"(\d\d)\.(\d\d)\.(\d\d)(\d\d)\.(\d\d)\.(\d\d)")
_EDF_PLUS = re.compile(r"Startdate (\d\d)-([A-Z]{3})-(\d{4})")
_TIME = re.compile(r"\s*(date|time|t$|.*stamp)", re.IGNORECASE)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_LONG_AGO_S = 3e8  # stamps below are no dates: seconds of a recording


def began(entry: Entry) -> datetime | None:
    """Return when a recording began, on the clock of its header; None where the header says nothing that is a date."""
    # Of several files the first has the clock.
    form = str(entry.options["parts"][0]["format"]) if entry.format == "paired" else entry.format
    read = _READ.get(form)
    try:
        return None if read is None else read(entry.path)
    except (DataError, OSError, ValueError, OverflowError):
        return None


def moved(when: datetime, days: int) -> datetime:
    """Return a date moved by whole days.

    Raises
    ------
    ValueError
        It would lie before year 1 or after 9999.
    """
    try:
        return when + timedelta(days=days)
    except OverflowError as error:
        raise ValueError(f"need a date that can be moved by {days} days") from error


def _wfdb(path: Path) -> datetime | None:
    text = read_start(path, 1 << 16).decode("utf-8", errors="replace")
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    found = _WFDB.search(first)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[w]) for w in ("year", "month", "day", "h", "m", "s"))
    return datetime(year, month, day, hour, minute, second)


def _edf(path: Path) -> datetime | None:
    head = read_start(path, 256).decode("latin-1")
    found = _EDF.fullmatch(head[168:184])
    if found is None:
        return None
    day, month, year, hour, minute, second = (int(word) for word in found.groups())
    # EDF: 1985 to 2084 by two digits; EDF+ says all four in the recording field.
    year += 1900 if year >= 85 else 2000
    if plus := _EDF_PLUS.search(head[88:168]):
        day, month, year = int(plus[1]), _MONTHS.index(plus[2]) + 1, int(plus[3])
    return datetime(year, month, day, hour, minute, second)


def _e4(path: Path) -> datetime | None:
    return _unix(read_session(path).start_unix)


def _unix(seconds: float) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None) if seconds > _LONG_AGO_S else None


def _table(path: Path) -> datetime | None:
    from biosig_mtl.data.readers.csv_file import open_csv
    from biosig_mtl.data.readers.parquet_file import open_parquet
    from biosig_mtl.data.readers.tables import Table

    table: Table = open_parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else open_csv(path)
    time = next((n for n, name in enumerate(table.names) if _TIME.match(name)), None)
    return None if time is None else _unix(float(table.read(0, 1, [], time)[time][0]))


def _mne(path: Path) -> datetime | None:
    import warnings

    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        when: datetime | None = mne.io.read_raw(path, preload=False, verbose="ERROR").info["meas_date"]
    return None if when is None else when.replace(tzinfo=None)


_READ: Mapping[str, Callable[[Path], datetime | None]] = {
    "wfdb": _wfdb,
    "edf": _edf,
    "e4": _e4,
    "table": _table,
    "mne": _mne,
}
