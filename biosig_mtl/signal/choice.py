"""Which candidates are beats: what each looks like, and how well it fits the rhythm of those that are certain.

The best path through the candidates (a beat each, intervals between) by dynamic programming. Where a candidate is certain and
alone, every path goes through it; so only the stretches between such anchors have to be searched, all of them side by side.
A clean recording has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.sliding import padded, views
from biosig_mtl.types import F64, I64, Bool

# Log-odds are held within this; below LEAST a candidate is not looked at; above SURE it is an anchor if it is alone.
CERTAIN, LEAST, SURE = 6.0, -5.0, 4.0
# Alone: no other candidate worth looking at within this share of the interval.
ALONE = 0.45
# Intervals this near the usual one have no beat inside that is unlikely by its looks.
REGULAR = 0.25
SHORTEST_S = 0.22
# Intervals against the usual one near by, as a logarithm: a Cauchy density of this width, and a share of anything at all
# (premature beats, fibrillation), against an even spread over three nepers.
WIDTH, ANYTHING, SPREAD = 0.06, 0.1, 1 / 3.0
# The usual interval: the median of up to eleven between confident neighbours within some seconds.
INTERVAL_S, USUAL_S = (0.3, 2.0), 0.8
HALF, NEAR_S = 5, 12.0
# Searches end at the latest at multiples of this many seconds of the recording.
CUT_S = 16.0
# A beat may follow any of so many candidates before it, or the best path up to there.
BACK = 12
# So few stretches are searched together, however long each is.
FEW = 32
START = -0.5
FAR, NOWHERE = 1e15, int(np.iinfo(np.int64).min // 4)
# The choice is made twice: the second time with the usual intervals between those chosen first.
ROUNDS = 2
REACH_S = ROUNDS * (CUT_S + NEAR_S) + 2.0
LONGEST = np.log((1 - ANYTHING) * WIDTH / np.pi / (WIDTH**2 + 2.25) / SPREAD + ANYTHING)


def choose(at: I64, odds: F64, fs: float, first: int) -> Bool:
    """Return which candidates are beats, shape (candidate,).

    Parameters
    ----------
    at
        Sorted positions in samples.
    odds
        Log-odds that each is a beat, by its looks alone.
    fs, first
        Sampling rate in Hz and the number of sample 0 in the recording.
    """
    chosen = np.zeros(at.size, bool)
    seen = np.flatnonzero(odds > LEAST)
    if not seen.size:
        return chosen
    odds = np.clip(odds, -CERTAIN, CERTAIN)
    seen = seen[~_idle(at[seen], odds[seen], fs)]
    at, odds = at[seen], odds[seen]
    usual = usual_interval(at, odds, fs)
    gap = padded(np.diff(at) / fs, 1, 1, np.inf)
    alone = np.minimum(gap[:-1], gap[1:]) >= ALONE * usual
    anchor = (odds >= SURE) & alone
    taken, before = anchor, None
    stretches = _stretches(anchor, (first + at) // round(CUT_S * fs))
    matters = ~anchor
    for _, _, right in stretches:
        matters[right[right >= 0]] = True
    for _ in range(ROUNDS if stretches else 0):
        if before is not None:
            # What was chosen tells the usual interval better than what only looks like a beat.
            usual = usual_interval(at, np.where(taken, 1.0, -1.0), fs)
            if np.array_equal(usual[matters], before[matters]):
                break
        before, candidates = usual, _Candidates(at.astype(np.float64), odds, usual, fs)
        taken = anchor.copy()
        for places, left, right in stretches:
            taken[_search(places, left, right, candidates)] = True
    chosen[seen[taken]] = True
    return chosen


def _idle(at: I64, odds: F64, fs: float) -> Bool:
    """Return which unlikely candidates lie between two certain ones that are one usual interval apart: T and P waves."""
    strong = np.flatnonzero(odds >= SURE)
    if strong.size < 2:
        return np.zeros(at.size, bool)
    weak, certain = odds < 0, at[strong]
    after = np.clip(np.searchsorted(certain, at), 1, strong.size - 1)
    idle: Bool = weak & (at > certain[after - 1]) & (at < certain[after])
    if idle.any():
        usual = usual_interval(certain[1:], odds[strong][1:], fs)
        idle &= (np.abs(np.diff(certain) / fs / usual - 1) < REGULAR)[after - 1]
    return idle


def usual_interval(at: I64, odds: F64, fs: float) -> F64:
    """Return the usual interval in seconds at every candidate.

    Times are compared as whole samples: differences of seconds are rounded, and differently where a part starts elsewhere.
    """
    sure = at[odds > 0]
    usual = np.full(at.size, USUAL_S)
    if sure.size < 3:
        return usual
    interval, middle = np.diff(sure) / fs, sure[1:]
    good = (interval >= INTERVAL_S[0]) & (interval <= INTERVAL_S[1])
    interval, middle = interval[good], middle[good]
    if not middle.size:
        return usual
    near = round(NEAR_S * fs)
    here = views(padded(middle, HALF, HALF, NOWHERE), 2 * HALF + 1)
    window = views(padded(interval.astype(np.float32), HALF, HALF), 2 * HALF + 1)
    known = np.abs(here - middle[:, None]) <= near
    count = known.sum(axis=1)
    ordered = np.sort(np.where(known, window, np.float32(np.inf)), axis=1)
    median = ordered[np.arange(middle.size), (count - 1) // 2]
    spot = np.minimum(np.searchsorted(middle, at), middle.size - 1)
    told = (count[spot] >= 2) & (np.abs(middle[spot] - at) <= near)
    return np.where(told, median[spot].astype(np.float64), USUAL_S)


@dataclass(frozen=True)
class _Candidates:
    """Positions in samples (whole numbers), log-odds and usual intervals in seconds, shape (candidate,)."""

    at: F64
    odds: F64
    usual: F64
    fs: float


def _stretches(anchor: Bool, cut: I64) -> list[tuple[I64, I64, I64]]:
    """Return stretches of candidates between anchors and cuts, those of like length together.

    Places have shape (stretch, candidate), with −1 in front of shorter ones; the anchors beside them −1 where there is none.
    """
    free = np.flatnonzero(~anchor)
    if not free.size:
        return []
    number = np.cumsum(anchor)[free]
    new = np.append(True, (np.diff(number) > 0) | (np.diff(cut[free]) > 0))
    begin = np.flatnonzero(new)
    length = np.diff(np.append(begin, free.size))
    head, tail = free[begin], free[begin + length - 1]
    left = np.where((head > 0) & anchor[np.maximum(head - 1, 0)], head - 1, -1)
    right = np.where((tail < anchor.size - 1) & anchor[np.minimum(tail + 1, anchor.size - 1)], tail + 1, -1)
    found = []
    low = 0
    for high in (2, 5, 12, 28, 1 << 40) if length.size > FEW else (1 << 40,):
        mine = np.flatnonzero((length > low) & (length <= high))
        low = high
        if mine.size:
            width = int(length[mine].max())
            step = np.arange(width) - (width - length[mine])[:, None]
            places = np.where(step >= 0, free[np.minimum(begin[mine][:, None] + np.maximum(step, 0), free.size - 1)], -1)
            found.append((places, left[mine], right[mine]))
    return found


def fit(interval: F64, usual: F64) -> F64:
    """Return the log-likelihood ratio of intervals given the usual one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.clip(np.log(interval / usual), -1.5, 1.5)
    ratio = np.log((1 - ANYTHING) * WIDTH / np.pi / (WIDTH**2 + off * off) / SPREAD + ANYTHING)
    return np.where(interval >= SHORTEST_S, ratio, -np.inf)


def _search(places: I64, left: I64, right: I64, of: _Candidates) -> I64:
    """Return the candidates on the best paths from left to right anchor (open where there is none).

    The right anchor is one more column. All links between columns come first; then a column at a time for all stretches.
    """
    count, width = places.shape
    rows = np.arange(count)
    odds = np.where(places >= 0, of.odds[places], -np.inf)
    links, from_left, skip = _links(places, left, right, of)
    best = np.full((count, BACK + width), -np.inf)
    running, running_at = np.full((count, width + 1), -np.inf), np.full((count, width + 1), -1)
    picks, options = np.empty((count, width + 1), np.int64), np.empty((count, BACK + 2))
    for j in range(width + 1):
        low = max(j - BACK, 0)
        np.add(best[:, j : j + BACK], links[:, j], out=options[:, :BACK])
        options[:, BACK] = from_left[:, j]
        options[:, BACK + 1] = running[:, low] + (skip if j == width else LONGEST)
        pick = options.argmax(axis=1)
        picks[:, j] = pick
        if j < width:
            score = options[rows, pick] + odds[:, j]
            best[:, BACK + j] = score
            better = score > running[:, j]
            running[:, j + 1] = np.where(better, score, running[:, j])
            running_at[:, j + 1] = np.where(better, j, running_at[:, j])
    column = np.arange(width + 1)
    other = np.where(picks == BACK, -1, running_at[:, np.maximum(column - BACK, 0)])
    before = np.where(picks < BACK, column - BACK + picks, other)
    return _walk_back(places, before[:, :-1], before[:, -1])


def _links(places: I64, left: I64, right: I64, of: _Candidates) -> tuple[F64, F64, F64]:
    """Return what links to a column are worth: from the columns before it, from the left anchor, from the best path to date.

    Shapes (stretch, column, back), (stretch, column) and, for the right anchor alone, (stretch,). A path may begin anywhere at
    a small price, and end anywhere at none, where there is no anchor.
    """
    closed, opened = right >= 0, left < 0
    at = np.where(places >= 0, of.at[places], -FAR)
    at = np.column_stack((at, np.where(closed, of.at[right], FAR)))
    usual = np.column_stack((of.usual[places], of.usual[right]))
    longer = np.full((at.shape[0], BACK + at.shape[1] - 1), -FAR)
    longer[:, BACK:] = at[:, :-1]
    back = np.lib.stride_tricks.sliding_window_view(longer, BACK, axis=1)
    links = fit((at[:, :, None] - back) / of.fs, usual[:, :, None])
    from_left = fit((at - np.where(opened, -FAR, of.at[left])[:, None]) / of.fs, usual)
    from_left[opened] = START
    links[~closed, -1], from_left[~closed, -1] = 0, START
    return links, from_left, np.where(closed, LONGEST, 0.0)


def _walk_back(places: I64, before: I64, came: I64) -> I64:
    taken = np.zeros(places.shape, bool)
    rows = np.arange(places.shape[0])
    while (came >= 0).any():
        on = came >= 0
        taken[rows[on], came[on]] = True
        came = np.where(on, before[rows, np.maximum(came, 0)], -1)
    return places[taken]
