"""How beats that were found compare with beats that are true.

A method may place its beat anywhere on the wave, so its own constant lag (the median of matched differences) is removed before
anything is counted. Then beats are matched one to one within a tolerance, as in ANSI/AAMI EC57: a second beat on the same true
one is a false positive. Times are in seconds, ascending, shape (beat,).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biosig_mtl.types import F64

WIDE_S = 0.15
STRICT_S = 0.05
# The lag is first looked for roughly, on this grid, as the one that brings the most beats this near to a true one.
GRID_S = 0.01
NEAR_S = 0.06
ROBUST = 1.4826  # of a normal distribution: SD ÷ median absolute deviation


@dataclass(frozen=True, slots=True)
class Score:
    """Counts at 150 ms and at 50 ms without the lag, the lag itself, and the scatter of the matched beats about it."""

    n_true: int
    n_found: int
    hits: int
    strict_hits: int
    lag_s: float
    jitter_s: float
    sd_s: float

    @property
    def f1(self) -> float:
        """F1 at 150 ms; 1 where there is nothing to find and nothing was found."""
        return _f1(self.hits, self.n_true, self.n_found)

    @property
    def strict_f1(self) -> float:
        """F1 at 50 ms."""
        return _f1(self.strict_hits, self.n_true, self.n_found)

    @property
    def sensitivity(self) -> float:
        """Share of the true beats that were found."""
        return self.hits / self.n_true if self.n_true else 1.0

    @property
    def ppv(self) -> float:
        """Share of the found beats that are true."""
        return self.hits / self.n_found if self.n_found else 1.0


def score(truth_s: F64, found_s: F64, lag_between_s: tuple[float, float] = (-0.2, 0.2)) -> Score:
    """Return the score of one recording. What lies beyond the first and last true beat is not judged.

    ``lag_between_s`` bounds the lag: an R peak 0.4 s before its pulse must not be taken for the one after it.
    """
    return pooled([(truth_s, found_s)], lag_between_s)


def pooled(parts: Sequence[tuple[F64, F64]], lag_between_s: tuple[float, float] = (-0.2, 0.2)) -> Score:
    """Return one score of several recordings (true, found): counts are added, each recording loses its own lag.

    ``lag_s`` is then the median of the recordings' lags, and the jitter that of all beats.
    """
    counts = np.zeros(4, np.int64)
    lags, off = [], []
    for truth_s, found_s in parts:
        lag_s = constant_lag(truth_s, found_s, lag_between_s)
        there = found_s - (lag_s if np.isfinite(lag_s) else 0.0)
        if truth_s.size:
            there = there[(there >= truth_s[0] - WIDE_S) & (there <= truth_s[-1] + WIDE_S)]
        counts += [truth_s.size, there.size, matches(truth_s, there, WIDE_S), matches(truth_s, there, STRICT_S)]
        lags.append(lag_s)
        off.append(differences(truth_s, there, WIDE_S))
    spread = np.concatenate(off) if off else np.empty(0)
    known = [lag_s for lag_s in lags if np.isfinite(lag_s)]
    n_true, n_found, hits, strict_hits = (int(n) for n in counts)
    return Score(
        n_true=n_true,
        n_found=n_found,
        hits=hits,
        strict_hits=strict_hits,
        lag_s=float(np.median(known)) if known else np.nan,
        jitter_s=float(ROBUST * np.median(np.abs(spread - np.median(spread)))) if spread.size else np.nan,
        sd_s=float(spread.std()) if spread.size else np.nan,
    )


def constant_lag(truth_s: F64, found_s: F64, between_s: tuple[float, float]) -> float:
    """Return the median of found minus true of the matched beats, NaN where none matches."""
    grid = np.arange(between_s[0], between_s[1] + GRID_S / 2, GRID_S)
    near = [np.abs(nearest(truth_s, found_s - lag_s)) < NEAR_S for lag_s in grid]
    count = np.array([n.sum() for n in near])
    if not count.size or count.max() == 0:
        return float("nan")
    # Of equally good ones the one nearest to their middle; then the median itself, which settles in a few rounds.
    best = grid[count == count.max()]
    lag_s = float(best[np.abs(best - np.median(best)).argmin()])
    for _ in range(3):
        off = differences(truth_s, found_s - lag_s, WIDE_S)
        lag_s += float(np.median(off)) if off.size else 0.0
    return lag_s


def matches(truth_s: F64, found_s: F64, tolerance_s: float) -> int:
    """Return the greatest number of one-to-one matches within the tolerance (a walk along both lists finds it)."""
    i = j = count = 0
    true, found = truth_s.tolist(), found_s.tolist()
    while i < len(true) and j < len(found):
        if found[j] < true[i] - tolerance_s:
            j += 1
        elif found[j] > true[i] + tolerance_s:
            i += 1
        else:
            i, j, count = i + 1, j + 1, count + 1
    return count


def differences(truth_s: F64, found_s: F64, tolerance_s: float) -> F64:
    """Return found minus true of the pairs that are each other's nearest, within the tolerance."""
    if not (truth_s.size and found_s.size):
        return np.empty(0)
    of_truth, of_found = _nearest_index(found_s, truth_s), _nearest_index(truth_s, found_s)
    mutual = of_found[of_truth] == np.arange(truth_s.size)
    off = found_s[of_truth] - truth_s
    return np.asarray(off[mutual & (np.abs(off) <= tolerance_s)])


def nearest(truth_s: F64, found_s: F64) -> F64:
    """Return for every true beat the nearest found one minus it, shape (truth,); infinite if none was found."""
    if not found_s.size:
        return np.full(truth_s.size, np.inf)
    return np.asarray(found_s[_nearest_index(found_s, truth_s)] - truth_s)


def _nearest_index(among: F64, to: F64) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    after = np.clip(np.searchsorted(among, to), 1, max(among.size - 1, 1))
    before = after - 1
    after = np.minimum(after, among.size - 1)
    return np.asarray(np.where(to - among[before] <= among[after] - to, before, after))


def _f1(hits: int, n_true: int, n_found: int) -> float:
    return 2 * hits / (n_true + n_found) if n_true + n_found else 1.0
