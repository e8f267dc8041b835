"""The proof: every fold shows at its birth that it keeps what its protocol promises."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.splits.keys import TINY_S, Keys
from biosig_mtl.types import F64, I64, DataError, Fold, Guarantee, WindowTable

Pairs = list[tuple[str, str]]
LEARNED, HELD_BACK = ("train", "validation"), ("calibration", "test")


def prove(fold: Fold, table: WindowTable | Keys, guarantee: Guarantee) -> None:
    """Raise `DataError`, naming the first culprit, where a fold breaks a guarantee.

    What is learned or chosen from (train, validation) shares no ``subject``, ``stimulus`` or ``trial`` that is guaranteed with
    what is held back (calibration, test); train and validation share none of the unit that validation was drawn by. No window
    is in two parts, and with ``window`` no sample of a recording is in windows of two parts. With ``past`` everything of a
    recording that is learned from ends before anything of it that is held back begins.
    """
    keys = table if isinstance(table, Keys) else Keys(table)
    _prove_once(fold, keys)
    if not guarantee.disjoint:
        return
    sides: Pairs = list(product(LEARNED, HELD_BACK))
    for unit in ("subject", "stimulus", "trial"):
        # Trials are of a subject and of a stimulus: where these are apart, trials are, and their names need not be made.
        if unit in guarantee.disjoint and not (unit == "trial" and {"subject", "stimulus"} & set(guarantee.disjoint)):
            _prove_apart(fold, unit, (keys.names(unit), keys.code(unit)), sides)
    if fold.unit != "time":
        _prove_apart(fold, fold.unit, (keys.names(fold.unit), keys.code(fold.unit)), [LEARNED])
    if "window" in guarantee.disjoint:
        _prove_no_shared_sample(fold, keys)
    if "past" in guarantee.disjoint:
        _prove_past(fold, keys, [*sides, LEARNED] if fold.unit == "time" else sides)


def prove_disjoint(fold: Fold, subject: NDArray[np.str_]) -> None:
    """Raise `DataError` where a subject or a window is in two parts of a fold."""
    code = np.unique(subject, return_inverse=True)[1]
    _prove_apart(fold, "subject", (subject, code), list(combinations(sorted(fold.parts()), 2)))


def _prove_apart(fold: Fold, unit: str, who: tuple[NDArray[np.str_], I64], pairs: Pairs) -> None:
    names, code = who
    many = int(code.max(initial=-1)) + 1
    found = {part: np.bincount(code[rows], minlength=many) > 0 for part, rows in fold.parts().items()}
    for first, second in pairs:
        if (shared := found[first] & found[second]).any():
            raise _leak(fold, f"{unit} '{names[np.argmax(code == np.argmax(shared))]}'", first, second)


def _prove_once(fold: Fold, keys: Keys) -> None:
    seen = np.zeros(len(keys), np.int64)
    for rows in fold.parts().values():
        np.add.at(seen, rows, 1)
    if (seen > 1).any():
        row = int(np.argmax(seen > 1))
        parts = [name for name, rows in fold.parts().items() if (rows == row).any()]
        raise _leak(fold, f"window {row} of subject '{keys.subject[row]}'", parts[0], parts[-1])


def _prove_no_shared_sample(fold: Fold, keys: Keys) -> None:
    """Look, part by part, whether a window begins before all windows of another part that began earlier have ended."""
    order, onset, end = keys.in_time
    part = np.full(len(keys), -1)
    for i, rows in enumerate(fold.parts().values()):
        part[rows] = i
    part = part[order]
    names = tuple(fold.parts())
    for i in np.unique(part[part >= 0]):
        reach = np.maximum.accumulate(np.where(part == i, end, -np.inf))
        inside = (part >= 0) & (part != i) & (onset < reach - TINY_S)
        # Of two windows that begin together only one comes first in the order: the turn of the other part finds them too.
        if inside.any():
            at = int(np.argmax(inside))
            what = f"a sample of record '{keys.record[order[at]]}' at {keys.onset_s[order[at]]:g} s"
            raise _leak(fold, what, names[i], names[part[at]])


def _prove_past(fold: Fold, keys: Keys, pairs: Pairs) -> None:
    parts = fold.parts()
    for before, after in pairs:
        last = _extreme(keys, parts[before], keys.end_s, latest=True)
        first = _extreme(keys, parts[after], keys.onset_s, latest=False)
        if (late := last > first + TINY_S).any():
            record = keys.record[int(np.argmax(keys.stretch == np.argmax(late)))]
            raise DataError(
                f"fold {fold.number}: of record '{record}' {before} reaches beyond the start of {after}; this is a leak"
            )


def _extreme(keys: Keys, rows: I64, time_s: F64, *, latest: bool) -> F64:
    """Return the last (or first) time of some rows in each recording, shape (recording,); where there is none, never."""
    found = np.full(int(keys.stretch.max(initial=-1)) + 1, -np.inf if latest else np.inf)
    (np.maximum if latest else np.minimum).at(found, keys.stretch[rows], time_s[rows])
    return found


def _leak(fold: Fold, what: str, first: str, second: str) -> DataError:
    return DataError(f"fold {fold.number}: {what} is in {first} and in {second}; this is a leak")
