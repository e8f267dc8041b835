"""Clean copies that `biosig-mtl deidentify` has written: WFDB, and beside each record what WFDB cannot say of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from biosig_mtl.data.readers.files import check_file, read_start
from biosig_mtl.data.readers.source import LazySource
from biosig_mtl.data.readers.wfdb_record import open_wfdb
from biosig_mtl.types import F64, DataError, Entry

_MOST_BYTES = 1 << 24


def open_deidentified(entry: Entry) -> LazySource:
    """Open a record of a clean copy: its ``.hea``, and beside it the ``.json`` with its seams and its rest.

    ``seams_s`` are instants that no window may have inside; ``baseline_s`` is the rest before a stimulus, from and up to.

    Raises
    ------
    DataError
        What `biosig_mtl.data.readers.wfdb_record.open_wfdb` raises; the ``.json`` is missing or damaged.
    """
    source = open_wfdb(entry)
    path = entry.path.with_suffix(".json")
    size = check_file(path)
    try:
        content: Any = json.loads(read_start(path, _MOST_BYTES)) if size <= _MOST_BYTES else None
        seams, rest = _numbers(content["seams_s"]), content["baseline_s"]
        baseline = None if rest is None else _numbers(rest)
        if baseline is not None and not (baseline.size == 2 and 0 <= baseline[0] < baseline[1]):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    kept = seams[(seams > 0) & (seams < source.duration_s)]
    return replace(source, seams_s=kept, baseline_s=None if baseline is None else (float(baseline[0]), float(baseline[1])))


def _numbers(values: Any) -> F64:
    if not isinstance(values, list) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise ValueError
    return np.array(values, np.float64)


def _damaged(path: Path) -> DataError:
    return DataError(f"{path}: damaged; run `biosig-mtl deidentify` again")
