"""Features beside what is usual for the same person: each number once more, as a distance from the person's own mean.

What differs most between recordings of two people is the two people: skin conductance, resting heart rate and the power of
alpha waves differ tenfold between persons and by some per cent between states. No label is used here, and no other person.

The order of time is that of the session, where the table tells when each record begins in it (``session_s``), and else that
of the table: records as they were listed, windows by onset. Trials that are listed by stimulus would tell by their place in
the listing which stimulus it was: everybody's third trial beside the same two. So a table whose records have stimuli must
tell their times.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F32, F64, I64, RecipeError, WindowTable

PerSubject = Literal["none", "past", "whole"]
SUFFIX = {"past": ".past_z", "whole": ".own_z"}
LEAST = 3  # windows with a value that a mean and a spread take
CLIP = 5.0
# A spread below this share of the mean is that of a constant written with rounding errors.
CONSTANT = 1e-6


def relative(table: WindowTable, how: PerSubject) -> WindowTable:
    """Return the table with a column more for every feature: (value − mean) / SD of the same person.

    Parameters
    ----------
    table
        Its rows are in the order of time within a record.
    how
        ``past``: mean and SD of this and all earlier windows of the person, as they would be known at that moment. ``whole``:
        of all windows of the person, of which the later ones lie in the future (transductive): to be told beside every score.
        ``none``: the table as it is.

    Returns
    -------
    WindowTable
        New columns are named ``<feature>.past_z`` or ``<feature>.own_z``: cut at ±5, NaN where the person has fewer than three
        values so far, 0 where they do not differ.

    Raises
    ------
    RecipeError
        ``past`` where nobody knows when a person's trials were seen.
    """
    if how == "none":
        return table
    values = np.asarray(table.values, np.float64)
    if how == "past":
        _refuse_unknown_times(table)
    order = in_time(table)
    add = np.empty(values.shape, np.float32)
    add[order] = (past_z if how == "past" else _whole)(values[order], table.subject[order])
    names = tuple(f"{name}{SUFFIX[how]}" for name in table.names)
    return replace(table, values=np.concatenate([table.values, add], axis=1), names=(*table.names, *names))


def in_time(table: WindowTable) -> I64:
    """Return the rows, session by session, in the order of time; as they stand where a session does not tell it for all."""
    rows = np.arange(len(table))
    if "session_s" not in table.index:
        return rows
    keys = ["/".join(words) for words in zip(table.subject, table.index["session"].astype(str), strict=True)]
    _, first, session = np.unique(keys, return_index=True, return_inverse=True)
    time = table.index["session_s"].to_numpy(np.float64) + table.index["onset_s"].to_numpy(np.float64)
    known = np.bincount(session, np.isnan(time)) == 0
    # Sessions of a person keep the order in which the table has them.
    return np.lexsort((rows, np.where(known[session], time, 0.0), first[session]))


def _refuse_unknown_times(table: WindowTable) -> None:
    if "stimulus" not in table.index or not (table.stimulus != "").any():
        return
    if "session_s" not in table.index or table.index["session_s"].isna().any():
        raise RecipeError(
            "training.per_subject 'past' needs to know when each trial was seen, and the data set does not tell: "
            "the order of the listing would give the stimulus away; use 'whole' or 'none'"
        )


def past_z(values: F64, subject: NDArray[np.str_]) -> F32:
    """Return the distance of every value from the mean of the same subject's rows up to it, in their SD; shape as given."""
    out = np.full(values.shape, np.nan, np.float32)
    for rows in _people(subject):
        out[rows] = _running(values[rows])
    return out


def _running(x: F64) -> F32:
    known = np.isfinite(x)
    filled = np.where(known, x, 0.0)
    count = np.maximum(np.cumsum(known, axis=0), 1)
    # About the first known value, so that squares of large numbers do not cancel.
    first = filled[np.argmax(known, axis=0), np.arange(x.shape[1])]
    off = np.where(known, filled - first, 0.0)
    mean = np.cumsum(off, axis=0) / count
    variance = np.maximum(np.cumsum(off**2, axis=0) / count - mean**2, 0.0)
    return _scaled(off - mean, np.sqrt(variance), np.abs(first) + np.abs(mean), known & (np.cumsum(known, axis=0) >= LEAST))


def _whole(values: F64, subject: NDArray[np.str_]) -> F32:
    out = np.full(values.shape, np.nan, np.float32)
    for rows in _people(subject):
        x = values[rows]
        known = np.isfinite(x)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, x, 0.0).sum(axis=0) / count
        off = np.where(known, x - mean, 0.0)
        spread = np.sqrt((off**2).sum(axis=0) / count)
        enough = known & (known.sum(axis=0) >= LEAST)
        out[rows] = _scaled(off, np.broadcast_to(spread, x.shape), np.broadcast_to(np.abs(mean), x.shape), enough)
    return out


def _scaled(off: F64, spread: F64, size: F64, known: NDArray[np.bool_]) -> F32:
    alive = spread > CONSTANT * size
    z = np.where(alive, off / np.where(alive, spread, 1.0), 0.0)
    return np.where(known, np.clip(z, -CLIP, CLIP), np.nan).astype(np.float32)


def _people(subject: NDArray[np.str_]) -> list[I64]:
    order = np.argsort(subject, kind="stable")
    return np.split(order, np.flatnonzero(subject[order][1:] != subject[order][:-1]) + 1) if subject.size else []
