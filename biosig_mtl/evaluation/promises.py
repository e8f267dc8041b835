"""What a split promises, counted anew from the folds: whom, what and which seconds two parts of a fold share.

The splits prove this where they are made; here it is asked again, of the folds that a run was really scored on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, I64, Fold, WindowTable

Names = NDArray[np.str_]
LEARNED, HELD_BACK = ("train", "validation"), ("calibration", "test")
# What is learned from never meets what is held back; what networks are chosen with never meets what they learn from.
PAIRS = (*product(LEARNED, HELD_BACK), LEARNED)
TINY_S = 1e-4  # less than a sample of any recording; onsets are sums of floats


@dataclass(frozen=True, slots=True)
class Spans:
    """The seconds of its recording that each window covers, each member of shape (window,)."""

    record: Names
    start_s: F64
    end_s: F64


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that a fold breaks: how many windows do (fold by fold), and the first culprit in words."""

    windows: int
    first: str


def spans_of(table: WindowTable) -> Spans:
    """Return the spans of all windows; recordings are told apart over data sets."""
    index = table.index
    record = index["record"].to_numpy(dtype=str)
    if "dataset" in index:
        record = np.strings.add(np.strings.add(index["dataset"].to_numpy(dtype=str), "/"), record)
    return Spans(record, index["onset_s"].to_numpy(np.float64), index["end_s"].to_numpy(np.float64))


def same_unit(names: Names, what: str, folds: Sequence[Fold], pairs: Sequence[tuple[str, str]] = PAIRS) -> Breach | None:
    """Return how many windows have a subject (stimulus, trial) that is also in the other part of a pair; None: none has."""
    count, first = 0, ""
    units, code = np.unique(names, return_inverse=True)
    for fold in folds:
        parts, culprits = fold.parts(), np.zeros(names.size, bool)
        has = {part: np.bincount(code[rows], minlength=units.size) > 0 for part, rows in parts.items()}
        for one, other in pairs:
            shared = parts[other][has[one][code[parts[other]]]]
            culprits[shared] = True
            if shared.size and not first:
                first = f"fold {fold.number}: {what} '{names[shared[0]]}' is in {one} and in {other}"
        count += int(culprits.sum())
    return Breach(count, first) if count else None


def same_samples(spans: Spans, folds: Sequence[Fold]) -> Breach | None:
    """Return how many windows share a sample of a recording with a window of the other part of a pair; None: none does."""
    start, end = _one_axis(spans)
    count, first = 0, ""
    for fold in folds:
        parts, culprits = fold.parts(), np.zeros(start.size, bool)
        for one, other in (*PAIRS, HELD_BACK):
            met = parts[other][_meets(start, end, parts[one], parts[other])]
            culprits[met] = True
            if met.size and not first:
                where = f"record '{spans.record[met[0]]}' at {spans.start_s[met[0]]:g} s"
                first = f"fold {fold.number}: a sample of {where} is in {one} and in {other}"
        count += int(culprits.sum())
    return Breach(count, first) if count else None


def out_of_order(spans: Spans, folds: Sequence[Fold]) -> Breach | None:
    """Return how many held-back windows begin before the last window of their recording that is learned from has ended."""
    names, code = np.unique(spans.record, return_inverse=True)
    count, first = 0, ""
    for fold in folds:
        parts = fold.parts()
        learned, held = (np.concatenate([parts[p] for p in side]) for side in (LEARNED, HELD_BACK))
        last = np.full(names.size, -np.inf)
        np.maximum.at(last, code[learned], spans.end_s[learned])
        early = spans.start_s[held] < last[code[held]] - TINY_S
        count += int(early.sum())
        if early.any() and not first:
            at = held[early][0]
            told = f"{spans.start_s[at]:g} s lies before the end of what is learned from ({last[code[at]]:g} s)"
            first = f"fold {fold.number}: record '{spans.record[at]}', the test window at {told}"
    return Breach(count, first) if count else None


def _one_axis(spans: Spans) -> tuple[F64, F64]:
    """Return starts and ends on one axis where no two recordings meet."""
    names, code = np.unique(spans.record, return_inverse=True)
    low, high = np.full(names.size, np.inf), np.full(names.size, -np.inf)
    np.minimum.at(low, code, spans.start_s)
    np.maximum.at(high, code, spans.end_s)
    length = float((high - low).max(initial=0.0)) + 1.0
    apart = code * length - low[code]
    return spans.start_s + apart, spans.end_s + apart


def _meets(start: F64, end: F64, one: I64, other: I64) -> NDArray[np.bool_]:
    """Return which of ``other`` overlap a window of ``one``: of those that begin before its end, one ends after its start."""
    if not one.size:
        return np.zeros(other.size, bool)
    order = one[np.argsort(start[one], kind="stable")]
    reach = np.maximum.accumulate(end[order])
    before = np.searchsorted(start[order], end[other] - TINY_S, side="left")
    return np.asarray((before > 0) & (reach[np.maximum(before - 1, 0)] > start[other] + TINY_S))
