"""k nearest neighbours by dynamic time warping: what was true of the training windows that look like this one.

No network and no training: in Moor et al. 2019 (MLHC, "Early recognition of sepsis with Gaussian process temporal convolutional
networks and dynamic time warping") such a lazy learner did as well as the network beside it. So a network has to beat it.

The distance is DTW of all channels together (DTW_D, Shokoohi-Yekta et al. 2017): the root of the smallest sum of squared
differences, over channels, along a warping path that stays in a band about the diagonal (Sakoe & Chiba 1978).

Ours: every channel of every window is averaged down to 64 points and standardised by itself, so that shape is compared and size
is not; warping re-ranks the 50 windows that are nearest without it; at most 5000 training windows, drawn evenly over subjects,
can be neighbours. Where there is no waveform, features are compared by plain distance: their order means nothing, and there is
nothing to warp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.models.baselines import Answer
from biosig_mtl.models.tabular import design, subject_folds, varies
from biosig_mtl.types import F32, F64, I64, Bool, Head, Track, WindowTable

NAME = "knn_dtw"
LENGTH = 64  # points that a channel is averaged down to
BAND = 0.1  # of the length: how far a path may leave the diagonal
CANDIDATES = 50  # windows that are re-ranked by warping
REFERENCES = 5000  # training windows that can be neighbours
CHOICES = (5, 15, 45)  # how many neighbours may be asked
CHOOSERS = 1000  # training windows that k is chosen on
CHUNK = 512  # windows, or pairs, that are worked on at once: small enough to stay near the processor


# --------------------------------------------------------------------------------------------------------------- warping
def dtw(one: NDArray[np.floating], other: NDArray[np.floating], band: int) -> NDArray[np.floating]:
    """Return the DTW distances of pairs of series of the same length.

    Parameters
    ----------
    one, other
        Shape (pair, channel, time).
    band
        How many points a path may leave the diagonal; 0 is the Euclidean distance.

    Returns
    -------
    NDArray
        Distances, shape (pair,): √ of the smallest Σ over the path of Σ over channels (one − other)². Steps go one point on in
        one series or in both, each with weight 1 (no slope weights).

    Raises
    ------
    ValueError
        Series of different shapes, without points, or a negative band.

    Examples
    --------
    >>> dtw(np.array([[[0.0, 0, 1, 0]]]), np.array([[[0.0, 1, 0, 0]]]), band=1).tolist()
    [0.0]
    """
    if one.shape != other.shape or one.ndim != 3 or not one.shape[2] or band < 0:
        raise ValueError(
            f"need two arrays (pair, channel, time) of one shape, band >= 0, got {one.shape}, {other.shape}, {band}"
        )
    left, right = (np.ascontiguousarray(np.moveaxis(x, 0, 2)) for x in (one, other))
    return _warped(left, right, min(band, one.shape[2] - 1))


def _warped(left: NDArray[np.floating], right: NDArray[np.floating], band: int) -> NDArray[np.floating]:
    """As `dtw`, with pairs on the last axis, (channel, time, pair): a cell of the band is then one sweep over all pairs."""
    _, n, pairs = left.shape
    wide = 2 * band + 1
    cost = np.full((n, wide, pairs), np.inf, left.dtype)
    for shift in range(-band, band + 1):
        low, high = max(0, -shift), min(n, n - shift)
        off = left[:, low:high] - right[:, low + shift : high + shift]
        cost[low:high, shift + band] = np.einsum("ctp,ctp->tp", off, off)
    # total[d] is the best sum up to the cell (i, i + d − band) of the last row; a border of infinity on either side.
    total = np.full((wide + 2, pairs), np.inf, left.dtype)
    total[band + 1] = 0.0  # the start, before both series
    for row in cost:
        reach = np.minimum(total[1:-1], total[2:])  # one on in both, or in the first series only
        for d in range(wide):
            np.minimum(reach[d], total[d], out=reach[d])  # one on in the second series only: this row, the cell before
            np.add(reach[d], row[d], out=total[d + 1])
    return np.asarray(np.sqrt(total[band + 1]))


def neighbours(shown: F32, known: F32, *, warp: bool) -> I64:
    """Return for each window of ``shown`` (m, channel, time) the nearest of ``known`` (n, channel, time), nearest first.

    Shape (m, 50), or (m, n) where fewer are known. The nearest by plain distance are re-ranked by warping, if told to.
    """
    found = np.empty((len(shown), min(CANDIDATES, len(known))), np.int64)
    if not found.size:
        return found
    flat = known.reshape(len(known), -1)
    size = np.einsum("nf,nf->n", flat, flat)
    last = np.ascontiguousarray(np.moveaxis(known, 0, 2)) if warp else known
    for part in _parts(len(shown), CHUNK):
        plain = size - 2.0 * shown[part].reshape(len(shown[part]), -1) @ flat.T
        best = np.argpartition(plain, found.shape[1] - 1, axis=1)[:, : found.shape[1]]
        distance = _between(shown[part], last, best) if warp else np.take_along_axis(plain, best, axis=1)
        found[part] = np.take_along_axis(best, np.argsort(distance, axis=1, kind="stable"), axis=1)
    return found


def _between(shown: F32, last: F32, best: NDArray[np.integer]) -> F32:
    """Return the warped distances (m, candidate) of windows (m, channel, time) from the ``best`` of (channel, time, n)."""
    each = np.moveaxis(shown, 0, 2)
    asked, told = np.repeat(np.arange(len(shown)), best.shape[1]), best.ravel()
    found = np.empty(told.size, np.float32)
    band = max(1, int(BAND * shown.shape[2]))
    for part in _parts(told.size, CHUNK):
        found[part] = _warped(each[:, :, asked[part]], last[:, :, told[part]], min(band, shown.shape[2] - 1))
    return found.reshape(best.shape)


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


# ------------------------------------------------------------------------------------------------- what is compared
class Look(Protocol):
    """Makes of rows of a table what is compared."""

    def __call__(self, table: WindowTable, rows: I64) -> tuple[F32, Bool]:
        """Return (n, channel, time), and which windows have anything to compare (n,)."""


@dataclass(frozen=True)
class Source:
    """What windows are compared by: the ``waveform``, the track of a name, or ``features``; and whether it is warped."""

    name: str
    warp: bool
    look: Look


def source_of(table: WindowTable, rows: I64) -> Source | None:
    """Return what windows are compared by: the waveform, else the fastest track, else features; None where there is nothing.

    Only features need ``rows`` (training rows): mean and spread of each are theirs. Signals are standardised window by window.
    """
    if table.waveform_channels and table.waveform.shape[-1]:
        return Source("waveform", warp=True, look=lambda t, r: shapes(t.waveform, r))
    if table.tracks:
        name = max(table.tracks, key=lambda word: _speed(table.tracks[word]))
        return Source(f"track {name}", warp=True, look=lambda t, r: shapes(t.tracks[name].signal, r))
    values = np.asarray(table.values[rows], dtype=np.float64)
    columns = np.flatnonzero(varies(values))
    if not columns.size:
        return None
    prepared = design(values[:, columns])
    return Source("features", warp=False, look=lambda t, r: _features(t, r, columns, prepared))


def _speed(track: Track) -> tuple[float, int]:
    return track.fs, track.signal.shape[2]


def _features(table: WindowTable, rows: I64, columns: I64, prepared: Callable[[NDArray[np.floating]], F64]) -> tuple[F32, Bool]:
    raw = np.asarray(table.values[rows], dtype=np.float64)[:, columns]
    return prepared(raw).astype(np.float32)[:, None], np.asarray(np.isfinite(raw).any(axis=1))


def shapes(signal: F32, rows: I64, length: int = LENGTH) -> tuple[F32, Bool]:
    """Return the shape of rows of a signal (window, channel, time), and which windows have any channel, (n,).

    Each channel is averaged over ``length`` equal stretches (fewer where it has fewer samples), then has mean 0 and standard
    deviation 1 over its window. A channel that a window does not have, or that does not move, is 0 throughout.
    """
    n = min(length, signal.shape[2])
    found = np.zeros((len(rows), signal.shape[1], n), np.float32)
    here = np.zeros(len(rows), bool)
    for part in _parts(len(rows), CHUNK):
        raw = np.asarray(signal[rows[part]], dtype=np.float64)
        present = np.asarray(np.isfinite(raw).all(axis=2))
        short = averaged(np.where(present[..., None], raw, 0.0), n)
        centred = short - short.mean(axis=2, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=2, keepdims=True))
        # A constant written with rounding errors is a constant.
        moves = spread > 1e-6 * np.abs(short).max(axis=2, keepdims=True, initial=0.0)
        found[part] = np.where(moves, centred / np.where(moves, spread, 1.0), 0.0)
        here[part] = present.any(axis=1)
    return found, here


def averaged(x: F64, length: int) -> F64:
    """Return the means over ``length`` equal stretches of the last axis, samples shared where an edge cuts one.

    >>> averaged(np.array([0.0, 3.0, 6.0]), 2).tolist()
    [1.0, 5.0]
    """
    samples = x.shape[-1]
    area = np.concatenate([np.zeros_like(x[..., :1]), np.cumsum(x, axis=-1)], axis=-1)
    edge = np.linspace(0.0, samples, length + 1)
    before = np.minimum(edge.astype(np.int64), samples - 1)
    share = edge - before
    upto = area[..., before] * (1.0 - share) + area[..., before + 1] * share
    return np.asarray(np.diff(upto, axis=-1) * (length / samples))


# ---------------------------------------------------------------------------------------------------------------- votes
@dataclass(frozen=True)
class Votes:
    """What is known of the windows that can be neighbours, for one target.

    ``truth`` (n,) holds numbers or class numbers, NaN where unknown; ``weight`` (n,) has mean 1; ``k`` neighbours with a known
    truth are asked. ``usual`` is what the whole training part says: its weighted median (), or its shares (class,).
    """

    head: Head
    truth: F64
    weight: F64
    usual: F64
    k: int = CHOICES[-1]

    def estimates(self, ranked: I64, here: Bool) -> tuple[F64, F64 | None]:
        """Answer from neighbours ``ranked`` (m, candidate), nearest first, −1 for none: estimates (m,) and shares (m, class).

        Numbers are the weighted median of the k neighbours; classes their weighted shares, to which the training shares are
        added as one neighbour more (ours: nobody is certain after five votes). Who is not ``here`` gets what is usual.
        """
        said = self.truth[ranked]
        known = (ranked >= 0) & np.isfinite(said) & here[:, None]
        say = np.where(known & (np.cumsum(known, axis=1) <= self.k), self.weight[ranked], 0.0)
        if not self.head.classes:
            return self._median(said, say), None
        votes = np.stack([(say * (said == c)).sum(axis=1) for c in range(self.head.classes)], axis=1)
        shares = (votes + self.usual) / (votes.sum(axis=1, keepdims=True) + 1.0)
        return shares.argmax(axis=1).astype(np.float64), shares

    def _median(self, said: F64, say: F64) -> F64:
        order = np.argsort(np.where(say > 0, said, np.inf), axis=1, kind="stable")
        said, upto = np.take_along_axis(said, order, axis=1), np.cumsum(np.take_along_axis(say, order, axis=1), axis=1)
        total = upto[:, -1:]
        middle = np.argmax(upto >= 0.5 * total, axis=1)
        return np.where(total[:, 0] > 0, np.take_along_axis(said, middle[:, None], axis=1)[:, 0], self.usual)

    def loss(self, ranked: I64, asked: I64) -> float:
        """Return how wrong neighbours are about the windows ``asked``: weighted absolute error, or Brier score for classes."""
        estimate, shares = self.estimates(ranked, np.ones(asked.size, bool))
        truth, weight = self.truth[asked], self.weight[asked]
        known = np.isfinite(truth)
        if shares is None:
            return float((np.abs(estimate - truth) * weight)[known].sum())
        missed = shares - (truth[:, None] == np.arange(self.head.classes))
        return float(((missed**2).sum(axis=1) * weight)[known].sum())


def _votes(head: Head, truth: F64, weight: F64, kept: I64) -> Votes:
    """Return the votes of the rows ``kept``; what is usual is told by all rows. At least one truth is known."""
    known = np.isfinite(truth)
    if head.classes:
        hot = (truth[:, None] == np.arange(head.classes)).astype(np.float64)
        if head.balanced:  # every class that occurs weighs the same, as in the losses of the networks
            total = weight @ hot
            weight = np.where(known, weight * (hot @ (1.0 / np.where(total > 0, total, 1.0))), 0.0)
        usual = weight @ hot / (weight @ known)
    else:
        order = np.argsort(truth[known], kind="stable")
        upto = np.cumsum(weight[known][order])
        usual = truth[known][order][np.searchsorted(upto, 0.5 * upto[-1])]
    own = weight[kept]
    mean = own[np.isfinite(truth[kept])].mean() if np.isfinite(truth[kept]).any() else 0.0
    return Votes(head, truth[kept], own / mean if mean > 0 else own, np.asarray(usual, dtype=np.float64))


# --------------------------------------------------------------------------------------------------------- the baseline
@dataclass(frozen=True)
class Nearest:
    """The fitted baseline. Where it could not be fitted it has no ``source``, answers None, and ``reason`` says why.

    ``fitted_rows`` are all rows that were looked at; ``known`` (n, channel, time) are the windows that can be neighbours, and
    ``votes`` what is known of them, target by target.
    """

    name: str
    fitted_rows: I64
    reason: str
    source: Source | None
    known: F32
    votes: Mapping[str, Votes]

    def answer(self, table: WindowTable, rows: I64) -> Answer | None:
        """Return the answers to rows of a table, of which no target is looked at; None where there is no fit.

        A window with nothing to compare gets the training median, or the training shares.
        """
        if self.source is None:
            return None
        shown, here = self.source.look(table, rows)
        ranked = neighbours(shown, self.known, warp=self.source.warp)
        told = {target: votes.estimates(ranked, here) for target, votes in self.votes.items()}
        shares = {target: found for target, (_, found) in told.items() if found is not None}
        return Answer(np.stack([estimate for estimate, _ in told.values()], axis=1), shares)


def fit_nearest(table: WindowTable, rows: I64, weight: F32 | None = None, seed: int = 0) -> Nearest:
    """Remember training windows, and choose for every target how many neighbours are asked.

    Parameters
    ----------
    table
        Waveform, tracks or features; targets, heads and subjects.
    rows
        Training rows; nothing else is looked at.
    weight
        Of each of ``rows``; None weighs windows alike.
    seed
        Of the windows that are remembered, and of the inner folds of subjects by which k is chosen.

    Returns
    -------
    Nearest
        k is the one of 5, 15 and 45 that is least wrong about training windows whose neighbours are other subjects; 45 where
        there is one subject only.
    """
    rows = np.asarray(rows, dtype=np.int64)
    weights = np.ones(rows.size) if weight is None else np.asarray(weight, dtype=np.float64)
    truths = [head.encode(y) for head, y in zip(table.head, table.targets[rows].T, strict=True)]
    unknown = [name for name, y in zip(table.target_names, truths, strict=True) if not np.isfinite(y).any()]
    if unknown:
        return _refused(rows, f"target '{unknown[0]}' is unknown in the training part")
    source = source_of(table, rows)
    if source is None:
        return _refused(rows, "no signal, and no feature with values in the training part")
    shown, here = source.look(table, rows)
    if not here.any():
        return _refused(rows, f"no window of the training part has any channel of the {source.name}")
    subject = table.subject[rows]
    kept = np.flatnonzero(here)
    kept = kept[evenly(subject[kept], REFERENCES, seed)]
    asked = evenly(subject[kept], CHOOSERS, seed)
    fold = subject_folds(subject[kept], seed)
    known = shown[kept]
    ranked = _left_out(known, fold, asked, warp=source.warp)
    votes = {}
    for name, head, truth in zip(table.target_names, table.head, truths, strict=True):
        made = _votes(head, truth, weights, kept)
        # Without anybody to leave out, the choice that is least sure of itself.
        choices = [replace(made, k=k) for k in (CHOICES if fold.max() > 0 else CHOICES[-1:])]
        votes[name] = min(choices, key=lambda choice: choice.loss(ranked, asked))
    return Nearest(NAME, rows, "", source, known, votes)


def _refused(rows: I64, reason: str) -> Nearest:
    return Nearest(NAME, rows, reason, None, np.empty((0, 0, 0), np.float32), {})


def _left_out(known: F32, fold: I64, asked: I64, *, warp: bool) -> I64:
    """Return for each window ``asked`` its nearest among the windows of all other inner folds, as places in ``known``.

    Where fewer than 50 are left in the other folds, the row is filled up with −1.
    """
    found = np.full((asked.size, min(CANDIDATES, len(known))), -1, np.int64)
    for k in range(fold.max() + 1 if fold.max() > 0 else 0):
        own, rest = fold[asked] == k, np.flatnonzero(fold != k)
        near = rest[neighbours(known[asked[own]], known[rest], warp=warp)]
        found[own, : near.shape[1]] = near
    return found


def evenly(subject: NDArray[np.str_], most: int, seed: int) -> I64:
    """Return at most ``most`` places, drawn so that every subject has as many as any other, as far as it has them; sorted."""
    n = subject.size
    if n <= most:
        return np.arange(n)
    chance = np.random.default_rng(seed).permutation(n)
    _, code = np.unique(subject, return_inverse=True)
    order = np.lexsort((chance, code))
    first = np.searchsorted(code[order], np.arange(code.max() + 1))
    turn = np.empty(n, np.int64)
    turn[order] = np.arange(n) - first[code[order]]
    return np.asarray(np.sort(np.lexsort((chance, turn))[:most]), dtype=np.int64)
