"""Small CSV tables of numbers: labels and ratings, every column found by its name in the heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
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
