"""The table of estimates, a row at a time: what is written stays, whatever happens afterwards."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from biosig_mtl.inference.stream_words import Estimate
from biosig_mtl.types import DataError, RecipeError

STATES = ("settled", "provisional", "refused")


def columns(targets: Sequence[str], classes: Mapping[str, int]) -> list[str]:
    """Return the columns: those of `predict` in their order, then what only a stream knows.

    ``state`` is settled, provisional or refused; ``reason`` says why it was refused; ``told_at`` is when it was written (UTC)
    and ``session`` when its live view began.
    """
    made = ["record", "onset_s", "end_s"]
    for name in targets:
        shares = [f"{name}_p{k}" for k in range(classes.get(name, 0))]
        made += [name, *(shares or [f"{name}_lower", f"{name}_upper"])]
    return [*made, "sqi", "state", "reason", "told_at", "session"]


def state_of(estimate: Estimate) -> str:
    """Return what an estimate is: settled, provisional or refused."""
    if estimate.reason:
        return "refused"
    return "settled" if estimate.settled else "provisional"


class Rows:
    """Estimates as rows of CSV.

    Parameters
    ----------
    sink
        Where the text goes; it is flushed after every row.
    targets
        Names of what is estimated.
    classes
        How many classes a target has; a target that is not named has none.
    now
        The clock of ``told_at`` and ``session``.
    """

    def __init__(
        self,
        sink: IO[str],
        targets: Sequence[str],
        classes: Mapping[str, int],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write nothing yet."""
        self._sink, self._columns, self._now = sink, columns(targets, classes), now
        self._targets, self._classes = tuple(targets), classes
        self._session = _stamp(now())
        self.written = 0

    def heading(self) -> None:
        """Write the names of the columns."""
        self._write(self._columns)

    def add(self, record: str, estimate: Estimate) -> None:
        """Write one estimate, and see to it that it is out of our hands."""
        told = _stamp(self._now())
        # Seconds are sums of hops: beyond a microsecond their digits are rounding alone.
        ends = {"onset_s": round(estimate.onset_s, 6), "end_s": round(estimate.end_s, 6)}
        row: dict[str, Any] = {"record": record, **ends, "sqi": estimate.sqi}
        for name in self._targets:
            row[name] = estimate.values.get(name, math.nan)
            row[f"{name}_lower"] = estimate.lower.get(name, math.nan)
            row[f"{name}_upper"] = estimate.upper.get(name, math.nan)
            row |= {f"{name}_p{k}": share for k, share in enumerate(estimate.shares.get(name, ()))}
        row |= {"state": state_of(estimate), "reason": estimate.reason, "told_at": told, "session": self._session}
        self._write([_cell(row.get(name, math.nan)) for name in self._columns])
        self.written += 1

    def _write(self, cells: Sequence[str]) -> None:
        # One write a row: of a row that was cut off at most the last one is torn.
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        self._sink.write(text.getvalue())
        self._sink.flush()


class Table:
    """A table on disk that is added to, also to what an earlier run of the live view has written.

    A row that was torn by a kill is taken away; a table of other columns is left alone.

    Parameters
    ----------
    path
        The file; folders are made.
    targets, classes
        See `Rows`.

    Raises
    ------
    RecipeError
        It is no table of these estimates, or another live view writes to it.
    DataError
        It cannot be written.
    """

    def __init__(self, path: Path, targets: Sequence[str], classes: Mapping[str, int]) -> None:
        """Open it, and look at what is there."""
        self.path, self.note = path, ""
        if path.suffix == ".parquet":
            raise RecipeError(f"{path}: rows can only be added to a text table; give a name that ends in .csv")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "x+b")
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            _lock(self._file, path)
            before = self._mended(columns(targets, classes))
        except BaseException:
            self._file.close()
            raise
        self._text = io.TextIOWrapper(self._file, encoding="utf-8", newline="", write_through=True)
        self.rows = Rows(self._text, targets, classes)
        if before is None:
            self.rows.heading()
        else:
            self.note = f"{path}: goes on after {before} rows{self._torn}"

    def add(self, record: str, estimate: Estimate) -> None:
        """Write one estimate; raise `DataError` where the disk does not take it."""
        try:
            self.rows.add(record, estimate)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._text.close()

    def _mended(self, wanted: list[str]) -> int | None:
        """Take a torn row away; return how many rows there are, None where the table is new."""
        content, heading = self._file.read(), (",".join(wanted) + "\n").encode()
        # Lines may have been ended anew by a program for tables.
        known = content.replace(b"\r\n", b"\n").startswith(heading)
        if not known and not heading.startswith(content):
            named = content.partition(b"\n")[0].decode("utf-8", errors="replace")
            raise RecipeError(f"{self.path}: is another table (it begins with '{named[:60]}'); give another --out")
        whole, _, torn = content.rpartition(b"\n") if known else (b"", b"", b"")
        self._torn = "; its last row was torn and is taken away" if torn else ""
        end = len(content) - len(torn) if known else 0
        self._file.seek(end)
        self._file.truncate()
        return whole.count(b"\n") if known else None


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep others away for as long as the file is open, where the system can do that."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover (Windows)
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RecipeError(f"{path}: another live view writes to it; give another --out") from error


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    # As many digits as tell the number apart: what is read back is what was estimated.
    return "" if math.isnan(value) else repr(float(value))


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
