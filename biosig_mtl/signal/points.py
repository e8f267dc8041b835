"""Looking for points on a curve, for all beats at once: smoothed derivatives, extremes of spans, windows around beats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.signal.runs import runs, seam_samples
from biosig_mtl.signal.sliding import padded, views
from biosig_mtl.types import F32, F64, I64, Channel, Record

# Points are told in steps of 2⁻¹⁶ samples, so that counting from another sample changes no bit.
STEPS = 65536.0
# Spans are looked through in so many groups of about equal width, so that one long beat does not widen the work on all.
GROUPS = 6
# Gathered windows are worked in lots of so many samples: they stay in the cache, and memory does not grow with the record.
LOT = 1 << 17
BLOCK = 1 << 15


@dataclass(frozen=True)
class Curve:
    """Samples of a channel, shape (sample,), and the runs between gaps and seams.

    What stands in a gap means nothing: everything here reads samples of one run only.
    """

    x: F32
    fs: float
    starts: I64
    stops: I64

    def samples(self, seconds: float) -> int:
        """Return a duration in samples, at least one."""
        return max(round(seconds * self.fs), 1)

    def run(self, at: I64) -> tuple[I64, I64]:
        """Return where the run of each position starts and stops."""
        if self.starts.size == 1:
            return np.full(at.shape, self.starts[0]), np.full(at.shape, self.stops[0])
        place = np.maximum(np.searchsorted(self.starts, at, side="right") - 1, 0)
        return self.starts[place], self.stops[place]

    def turned(self) -> Curve:
        """Return the curve upside down."""
        return Curve(-self.x, self.fs, self.starts, self.stops)

    def fit(self, order: int, span_s: float, degree: int) -> F32:
        """Return one of the derivatives that `fits` returns."""
        return self.fits((order,), span_s, degree)[0]

    def fits(self, orders: tuple[int, ...], span_s: float, degree: int) -> list[F32]:
        """Return derivatives, per second to the power of their order, of polynomials fitted around every sample.

        Savitzky and Golay, Anal. Chem. 36 (1964) 1627. Near the ends of a run the curve is continued by its point reflection,
        so that no sample behind a gap or seam is used and the second derivative fades instead of jumping.
        """
        half = max(round(span_s * self.fs / 2), degree // 2)
        weights = {order: (fit_weights(half, order, degree) * self.fs**order).astype(np.float32) for order in orders}
        out = _symmetric(self.x, weights, half)
        near = np.arange(half)
        first, last = self.starts[:, None], self.stops[:, None] - 1
        at = np.concatenate((np.minimum(first + near, last), np.maximum(last - near, first)), axis=1)
        reach = at[..., None] + np.arange(-half, half + 1)
        inside = np.clip(reach, first[..., None], last[..., None])
        values = self.x[np.clip(2 * inside - reach, first[..., None], last[..., None])]
        values = np.where(reach == inside, values, 2 * self.x[inside] - values)
        for made, weight in zip(out, weights.values(), strict=True):
            made[at] = (values * weight).sum(axis=-1)
        return out


def curve(record: Record, channel: Channel) -> Curve:
    """Return the curve of a channel."""
    finite = np.isfinite(channel.samples)
    x = channel.samples if finite.all() else np.where(finite, channel.samples, np.float32(0))
    return Curve(x, channel.fs, *runs(finite, seam_samples(record, channel.fs, finite.size)))


@lru_cache(maxsize=64)
def fit_weights(half: int, order: int, degree: int) -> F64:
    """Return the weights of the polynomial's derivative at the middle of ``2 half + 1`` samples, per sample."""
    at = np.arange(-half, half + 1, dtype=np.float64)
    weights: F64 = np.linalg.pinv(np.vander(at, degree + 1, increasing=True))[order] * factorial(order)
    # Exactly even or odd: half the multiplications, and no trace of an offset.
    return np.asarray((weights + (-1) ** order * weights[::-1]) / 2)


def _symmetric(x: F32, weights: dict[int, F32], half: int) -> list[F32]:
    """Return correlations of ``x`` with the weights of each order, even or odd about their middle as the order is.

    Sums and differences are shared, block by block in the cache: a fifth of the time of `scipy.ndimage.correlate1d`. Only
    differences from the middle sample enter (even weights of a derivative sum to 0, those of the curve itself to 1), so an
    offset costs no digits of a float32. The outer ``half`` samples stay zero.
    """
    out = {order: np.zeros(x.size, np.float32) for order in weights}
    room = np.empty((3, BLOCK), np.float32)
    for start in range(half, x.size - half, BLOCK):
        stop = min(start + BLOCK, x.size - half)
        before, after, part = room[:, : stop - start]
        middle = x[start:stop]
        made = {order: values[start:stop] for order, values in out.items()}
        if 0 in made:
            made[0][:] = middle
        for k in range(1, half + 1):
            np.subtract(x[start + k : stop + k], middle, out=after)
            np.subtract(middle, x[start - k : stop - k], out=before)
            for odd, join in ((0, np.subtract), (1, np.add)):
                group = [order for order in weights if order % 2 == odd]
                if group:
                    join(after, before, out=part)
                    for order in group[:-1]:
                        made[order] += part * weights[order][half + k]
                    part *= weights[group[-1]][half + k]
                    made[group[-1]] += part
    return list(out.values())


def highest(x: NDArray[np.floating], start: I64, stop: I64) -> I64:
    """Return where ``x`` is greatest in every [start, stop), the first such place; an empty span answers its start."""
    return _extreme(x, start, stop, -np.inf)


def lowest(x: NDArray[np.floating], start: I64, stop: I64) -> I64:
    """Return where ``x`` is least in every [start, stop), the first such place; an empty span answers its start."""
    return _extreme(x, start, stop, np.inf)


def _extreme(x: NDArray[np.floating], start: I64, stop: I64, beyond: float) -> I64:
    width = stop - start
    best = start.copy()
    order = np.argsort(width, kind="stable")
    order = order[np.searchsorted(width[order], 2) :]
    for group in _split(order, GROUPS if order.size > 16 * GROUPS else 1):
        if not group.size:
            continue
        size = int(width[group[-1]])
        step = np.arange(size)
        for part in _split(group, group.size * size // LOT + 1):
            # A window that would end behind the last sample begins earlier, and its first places do not count.
            first = np.minimum(start[part], x.size - size)
            values = views(x, size)[first]
            out = step >= (stop[part] - first)[:, None]
            if first[-1] != start[part[-1]] or (first != start[part]).any():
                out |= step < (start[part] - first)[:, None]
            np.copyto(values, beyond, where=out)
            best[part] = first + (values.argmax(axis=1) if beyond < 0 else values.argmin(axis=1))
    return best


def _split(rows: I64, parts: int) -> list[I64]:
    return [rows] if parts == 1 else np.array_split(rows, parts)


@dataclass(frozen=True)
class Turns:
    """Where a curve has a maximum (above the sample before, not below the one after) and a minimum, sorted."""

    tops: I64
    bottoms: I64


def turns(x: F32) -> Turns:
    """Return the maxima and minima of a curve."""
    rising = x[1:] > x[:-1]
    places = np.flatnonzero(rising[1:] != rising[:-1])
    top = rising[places]
    places += 1
    return Turns(places[top], places[~top])


def first_of(places: I64, start: I64, stop: I64) -> I64:
    """Return the first of sorted places inside every [start, stop), −1 where there is none."""
    found = padded(places, 0, 1, np.iinfo(np.int64).max)[np.searchsorted(places, start)]
    return np.where(found < stop, found, -1)


def last_of(places: I64, start: I64, stop: I64) -> I64:
    """Return the last of sorted places inside every [start, stop), −1 where there is none."""
    found = padded(places, 1, 0, -1)[np.searchsorted(places, stop)]
    return np.where(found >= start, found, -1)


def best_of(places: I64, heights: F32, start: I64, stop: I64) -> I64:
    """Return which of the sorted places inside every [start, stop) is highest, as its number, −1 where there is none."""
    first, last = np.searchsorted(places, start), np.searchsorted(places, stop)
    return np.where(last > first, highest(heights, first, np.maximum(last, first)), -1)


def vertex(x: F32, at: I64) -> F64:
    """Return the vertex of the parabola through an extreme sample and its neighbours, less than half a sample away.

    Where the sample is no extreme it answers the sample itself; −1 answers NaN.
    """
    mid = np.clip(at, 1, x.size - 2)
    shift = top_shift(x[mid - 1] - x[mid], x[mid + 1] - x[mid])
    fine: F64 = np.where(at >= 0, at + np.where(mid == at, shift, 0.0), np.nan)
    return fine


def top_shift(left: NDArray[np.floating], right: NDArray[np.floating]) -> F64:
    """Return how far a parabola's vertex lies from its middle sample, given how far the neighbours are above it."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    bend = left + right
    peaked = (left * right >= 0) & (bend != 0)
    return exact(np.where(peaked, np.clip(0.5 * (left - right) / np.where(peaked, bend, 1.0), -0.5, 0.5), 0.0))


def exact(part: NDArray[np.floating]) -> F64:
    """Return parts of a sample in steps of 2⁻¹⁶."""
    return np.asarray(np.round(part.astype(np.float64) * STEPS) / STEPS)


def windows(seen: Curve, x: F32, at: I64, span: tuple[int, int]) -> F32:
    """Return ``x`` around every position, from the first to the last place of a span, counted in samples from it.

    Shape (position, last − first + 1). Where a window reaches over the ends of the position's run the last sample is held.
    """
    first, size = at + span[0], span[1] - span[0] + 1
    low, high = seen.run(at)
    if size > x.size:
        return np.asarray(x[np.clip(first[:, None] + np.arange(size), low[:, None], high[:, None] - 1)])
    values: F32 = views(x, size)[np.clip(first, 0, x.size - size)]
    cut = np.flatnonzero((first < low) | (first + size > high))
    if cut.size:
        values[cut] = x[np.clip(first[cut, None] + np.arange(size), low[cut, None], high[cut, None] - 1)]
    return values
