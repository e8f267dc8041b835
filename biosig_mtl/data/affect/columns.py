"""Small CSV tables of numbers: labels and ratings, every column found by its name in the heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from biosig_mtl.data.readers.files import check_file
from biosig_mtl.types import F64, DataError

_MOST_BYTES = 1 << 28


def read_columns(path: Path, names: Sequence[str]) -> dict[str, F64]:
    """Read columns of a small CSV as numbers; an empty cell is NaN.

    Raises
    ------
    DataError
        A column is missing, a row has another number of cells than the heading, a cell is no number: file and line are named.
    """
    table = _table(path, names)
    return {name: _numbers(table, name, path) for name in names}


def read_stamped(path: Path, time: str, value: str, device: str, kept: str) -> tuple[F64, F64]:
    """Read stamped samples: times and values of the rows of one device, in order of time.

    Parameters
    ----------
    time, value
        Columns of the time stamp and of the samples.
    device
        Column of the device's serial number; it may be missing.
    kept
        The serial whose rows are kept where there are several; empty: there must be only one.

    Raises
    ------
    DataError
        A column is missing, a cell is no number, rows of several devices and none to choose.
    """
    table = _table(path, (time, value))
    stamps, values = _numbers(table, time, path), _numbers(table, value, path)
    rows = np.isfinite(stamps)
    found = sorted(set(table.get(device, ())))
    if len(found) > 1:
        if kept not in found:
            raise DataError(
                f"{path}: holds rows of several devices ({', '.join(found[:4])}); it is not known which one was worn"
            )
        rows &= np.array(table[device]) == kept
    order = np.argsort(stamps[rows], kind="stable")
    return stamps[rows][order], values[rows][order]


def _table(path: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the cells of a CSV by column; every row has as many cells as the heading."""
    # Not pandas: with columns to choose and a row that is too long its parser can bring the process down.
    reader = csv.reader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    try:
        heading = [" ".join(cell.split()) for cell in next(reader, [])]
        missing = [name for name in names if name not in heading]
        if missing:
            raise DataError(f"{path}: no column '{missing[0]}'; it has {', '.join(heading)[:200] or 'nothing'}")
        # Some texts end each line with a comma: empty cells beyond the heading are nothing.
        width = len(heading)
        rows = [row if len(row) <= width or any(row[width:]) else row[:width] for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not readable as CSV: {str(error)[:100]}") from error
    if not rows:
        raise DataError(f"{path}: has a heading and no rows")
    wrong = next((n for n, row in enumerate(rows) if len(row) != width), None)
    if wrong is not None:
        raise DataError(f"{path}, line {wrong + 2}: has {len(rows[wrong])} cells; its heading has {width}")
    return dict(zip(heading, zip(*rows, strict=True), strict=True))


def _numbers(table: Mapping[str, Sequence[str]], name: str, path: Path) -> F64:
    try:
        return np.array([float(cell) if cell else np.nan for cell in table[name]])
    except ValueError:
        return _one_by_one(table[name], name, path)


def _one_by_one(cells: Sequence[str], name: str, path: Path) -> F64:
    """Parse cells of which some are blank or no number; the first of the latter is named."""
    values = np.full(len(cells), np.nan)
    for spot, cell in enumerate(cells):
        text = " ".join(cell.split())
        try:
            values[spot] = float(text or "nan")
        except ValueError:
            raise DataError(f"{path}, line {spot + 2}: '{text[:30]}' in column '{name}' is no number") from None
    return values


def _text(path: Path) -> str:
    if check_file(path) > _MOST_BYTES:
        raise DataError(f"{path}: has more than {_MOST_BYTES >> 20} MB, far more than a table of labels")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as text: {str(error)[:100]}") from error
    if "\0" in text:
        raise DataError(f"{path}: is not a text table (it holds zero bytes)")
    return text
