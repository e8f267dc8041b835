"""What the quality tracks of a record say of each window: every index as a number a window, and which lie beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from biosig_mtl.types import F32, F64, Bool, Quality, Record

Bounds = Mapping[str, tuple[float | None, float | None]]
"""The least and the greatest value that an index may have; None: no limit."""

# The words of `biosig_mtl.signal.indices.INDICES` and the figure made of them (a test holds the two lists together).
INDICES = (
    "sqi", "missing", "flat", "clipped", "template", "worst", "confirmed", "doubtful", "rate", "ratio", "covered", "polarity",
    "snr", "mains", "entropy", "relative_power", "qrs_power", "skewness", "kurtosis", "crossings", "perfusion", "pressure",
    "pulse_pressure", "upstroke", "jump", "flushed", "motion",
)  # fmt: skip


def check_bounds(bounds: Bounds) -> None:
    """Raise `ValueError` for an index that there is not, and for limits between which nothing lies."""
    for index, (low, high) in bounds.items():
        if index not in INDICES:
            raise ValueError(f"need limits of {', '.join(INDICES)}; got '{index}'")
        if low is not None and high is not None and not low < high:
            raise ValueError(f"need a lower limit below the upper one for {index}, got {low:g}, {high:g}")


class Means:
    """Means of the quality tracks over windows of one length; each track is worked once, when it is first asked for.

    ``onset_s`` are the onsets in the recording, shape (window,).
    """

    def __init__(self, record: Record, onset_s: F64, length_s: float) -> None:
        """Remember whose windows these are."""
        self.record, self.onset_s, self.length_s = record, onset_s, length_s
        self._made: dict[str, dict[str, F64]] = {}

    def of(self, name: str) -> Mapping[str, F64] | None:
        """Return the mean of every index of a channel by name, shape (window,); None where it has no track.

        Copies of one signal (raw and filtered) share a track.
        """
        track = _track(self.record, name) if name in self.record.channels else None
        return None if track is None else self._means(track)

    def sqi(self, name: str) -> F64:
        """Return the mean quality of a channel, 1 where it has no track."""
        found = self.of(name)
        return np.ones(self.onset_s.size) if found is None else np.clip(np.nan_to_num(found["sqi"]), 0, 1)

    def facts(self) -> dict[str, F32]:
        """Return all of them as columns of the window table, called ``quality.<channel>.<index>``."""
        return {
            f"quality.{track.channel}.{index}": row.astype(np.float32)
            for track in self.record.quality.values()
            for index, row in self._means(track).items()
        }

    def _means(self, track: Quality) -> dict[str, F64]:
        if track.channel not in self._made:
            rows = {"sqi": track.sqi, **track.indices}
            start = (self.onset_s - self.record.start_s) * track.fs
            means = track_means(np.stack(list(rows.values())).astype(np.float64), start, self.length_s * track.fs)
            self._made[track.channel] = dict(zip(rows, means, strict=True))
        return self._made[track.channel]


def beyond(means: Mapping[str, F64], bounds: Bounds, name: str) -> Iterator[tuple[Bool, str]]:
    """Yield which windows of a channel have an index below or above its limits, and the reason. What is unknown is within."""
    for index, (low, high) in bounds.items():
        if index in means and low is not None:
            yield means[index] < low, f"{index} of {name} below {low:g}"
        if index in means and high is not None:
            yield means[index] > high, f"{index} of {name} above {high:g}"


def track_means(rows: F64, start: F64, length: float) -> F64:
    """Return the means of tracks, shape (track, sample), over windows, shape (track, window).

    ``start`` and ``length`` are in samples of the tracks. A partly covered sample counts with its share; what a track does not
    know does not count, and nothing known is NaN. Sums are those of a window's own samples, so a part of a recording gives the
    bits of the whole.
    """
    size = rows.shape[1]
    if not (size and start.size):
        return np.full((rows.shape[0], start.size), np.nan)
    start = np.clip(start, 0, size)
    stop = np.clip(start + length, 0, size)
    known = np.isfinite(rows)
    weight = _sums(known.astype(np.float64), start, stop)
    total = _sums(np.where(known, rows, 0.0), start, stop)
    return np.where(weight > 1e-9, total / np.maximum(weight, 1e-9), np.nan)


def _sums(rows: F64, start: F64, stop: F64) -> F64:
    """Return the integral of stair-like tracks between fractions of their samples, shape (track, window)."""
    longer = np.concatenate([rows, np.zeros((rows.shape[0], 1))], axis=1)
    # To a billionth of a sample: an onset has the same fraction wherever the part starts.
    start, stop = np.round(start, 9), np.round(stop, 9)
    first, last = np.floor(start).astype(np.int64), np.floor(stop).astype(np.int64)
    whole = np.add.reduceat(longer, np.stack([first, last], axis=1).ravel(), axis=1)[:, ::2]
    whole = np.where(last > first, whole, 0)
    return whole - longer[:, first] * np.round(start - first, 9) + longer[:, last] * np.round(stop - last, 9)


def _track(record: Record, name: str) -> Quality | None:
    """Return the quality track of a channel, or of another copy of the same signal (raw and filtered copies share one)."""
    if name in record.quality:
        return record.quality[name]
    root = _root(record, name)
    same = [q for key, q in record.quality.items() if key in record.channels and _root(record, key) == root]
    return same[0] if same else None


def _root(record: Record, name: str) -> str:
    """Return the channel that a filtered copy was made from (two electrodes are of one kind, and still two signals)."""
    seen = {name}
    while True:
        channel = record.channels[name]
        source = record.channels.get(channel.source_name)
        if source is None or source.kind != channel.kind or source.name in seen:
            return name
        name = source.name
        seen.add(name)
