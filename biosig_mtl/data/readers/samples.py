"""Numbers of a text as samples."""

from __future__ import annotations

import warnings

import numpy as np

from biosig_mtl.types import F32, F64

_LARGEST = float(np.finfo(np.float32).max)


def parse_numbers(data: bytes) -> F64 | None:
    """Return the numbers of a text that stand between commas or white space; None where something is no number.

    ``nan`` is a number. An empty cell between two commas is passed over: whoever needs it counts cells.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # older numpy only warns where text is no number
            numbers: F64 = np.fromstring(data.replace(b",", b" ").decode("ascii"), sep=" ")
    except (ValueError, DeprecationWarning):
        return None
    return numbers


def as_samples(values: F64) -> F32:
    """Return values as samples; what is infinite, or too large for a sample, is NaN: it was never measured."""
    # A file may hold a NaN that makes the processor complain wherever it is touched.
    with np.errstate(invalid="ignore"):
        kept = np.abs(values) <= _LARGEST
        return np.where(kept, values, np.nan).astype(np.float32)
