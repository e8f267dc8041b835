"""Small CSV tables of numbers: labels and ratings, every column found by its name in the heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    text = _text(path)
    heading, _, body = text.partition("\n")
    cells = [cell.strip() for cell in next(csv.reader([heading]))]
    missing = [name for name in names if name not in cells]
    if missing:
        raise DataError(f"{path}: no column '{missing[0]}'; it has {', '.join(cells)}")
    if not body.strip():
        raise DataError(f"{path}: has a heading and no rows")
    import pandas as pd

    try:
        frame = pd.read_csv(io.StringIO(text), usecols=list(names), dtype=np.float64, skipinitialspace=True, index_col=False)
    except (ValueError, OverflowError):
        raise _wrong(path, text, names) from None
    return {name: frame[name].to_numpy(dtype=np.float64) for name in names}


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
    numbers = read_columns(path, (time, value))
    serials = _serials(path, device)
    rows = np.ones(numbers[time].size, bool)
    if serials is not None and np.unique(serials).size > 1:
        if kept not in serials:
            found = ", ".join(np.unique(serials)[:4])
            raise DataError(f"{path}: holds rows of several devices ({found}) and it is not known which one was worn")
        rows = serials == kept
    rows &= np.isfinite(numbers[time])
    order = np.argsort(numbers[time][rows], kind="stable")
    return numbers[time][rows][order], numbers[value][rows][order]


def _serials(path: Path, device: str) -> NDArray[np.str_] | None:
    text = _text(path)
    if device not in [cell.strip() for cell in text.partition("\n")[0].split(",")]:
        return None
    import pandas as pd

    frame = pd.read_csv(io.StringIO(text), usecols=[device], dtype=str, skipinitialspace=True, index_col=False)
    return frame[device].fillna("").to_numpy(dtype=str)


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


def _wrong(path: Path, text: str, names: Sequence[str]) -> DataError:
    """Return the error for the first cell that is no number."""
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        for row in reader:
            for name in names:
                try:
                    float((row[name] or "nan").strip() or "nan")
                except ValueError:
                    return DataError(f"{path}, line {reader.line_num}: '{row[name][:30]}' in column '{name}' is no number")
    except csv.Error as error:
        return DataError(f"{path}, line {reader.line_num}: not readable as CSV: {str(error)[:100]}")
    return DataError(f"{path}: not readable as a table of numbers")
