"""Signal quality second by second: each index a number, and one rule that makes a figure in [0, 1] of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.runs import find, hold
from biosig_mtl.signal.trace import NEAR_S, plateaus
from biosig_mtl.types import F32, F64, Beats, Bool, Channel, ChannelInfo, Quality, RecipeError, Record

FS = 1.0
FLAT_S, FLAT_DEFAULT_S = {"ecg": 0.6}, 0.2
CLIPPED_S, CLIPPED_DEFAULT_S = {"ecg": 0.032}, 0.08
# Skewness is taken over so many seconds, beats over ±2 s, the spectrum over 4 s.
SKEWNESS_S, BEATS_S, SPECTRUM_S = 5, 2.0, 4
BAND_HZ = {"ppg": (0.5, 8.0), "abp": (0.5, 8.0), "ecg": (1.0, 40.0)}
SLOWEST_HZ = 0.5
RATES_PER_MIN = (35.0, 180.0)
LARGEST_RATIO = 2.2
# Shares of a second at which missing, flat and clipped signal leave nothing.
WORTHLESS = {"missing": 0.5, "flat": 0.5, "clipped": 0.4}


@dataclass(frozen=True)
class AssessQuality:
    """Write a track of signal quality, one value a second.

    Indices (each a track): ``missing``, ``flat`` and ``clipped`` as shares of the second, from the raw channel; ``template``,
    the mean agreement of the beats that touch ±2 s; ``rate``, the share of those whose length is 35–180 a minute and not more
    than 2.2 times its neighbour's; ``snr``, the share of the raw power above 0.5 Hz that lies in the band of the signal, over
    4 s; for PPG ``skewness`` over 5 s. NaN where an index cannot be told.

    ``sqi`` = left(missing) · left(flat) · left(clipped) · template · (0.5 + 0.5 rate) · (0.5 + 0.5 snr) · s, where left(x)
    falls from 1 at 0 to 0 at 0.5 (clipped: 0.4), and s is 1 for a PPG with skewness above 0 and falls to 0.5 at −1. No beat
    near by: sqi 0. Without detected beats the three middle factors are left out.

    Parameters
    ----------
    channel
        A channel of kind ``ppg``, ``ecg`` or ``abp``; its beats are used if there are any.
    raw
        The channel it was filtered from, where gaps, flat lines and clipping can be seen; the channel itself if not given.
    beats
        What the beats are called. If not given: those of the channel, or else of a channel made from the same one.
    optional
        Return the record unchanged if it has no such channel.

    Notes
    -----
    Skewness: Elgendi 2016 (Bioengineering 3:21). Agreement with a template: Orphanidou 2015 (IEEE JBHI 19:832), whose rules on
    rate and ratio are used too.
    """

    channel: str
    raw: str | None = None
    beats: str | None = None
    optional: bool = False

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds, beyond that of the beats."""
        return max(NEAR_S, SPECTRUM_S, SKEWNESS_S) + BEATS_S + 3.0

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels unchanged; raise if a channel is not there or of a kind that is not known."""
        source = find(channels, self.channel, "assess_quality", optional=self.optional)
        if source is not None:
            _check(source.kind, self.channel)
            find(channels, self.raw or self.channel, "assess_quality", optional=False)
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record with the quality track of the channel."""
        source = find(record.channels, self.channel, f"{record.name}: assess_quality", optional=self.optional)
        if source is None:
            return record
        _check(source.kind, self.channel)
        raw = record.channel(self.raw or self.channel)
        count = -(-source.samples.size // source.fs) if source.samples.size else 0
        indices = _resting(raw, int(count))
        beats = _beats(record, source, self.beats)
        if beats is not None:
            indices |= _of_beats(beats, int(count))
        indices["snr"] = _snr(raw, int(count))
        if source.kind == "ppg":
            indices["skewness"] = _skewness(source, int(count))
        sqi = np.asarray(_combined(indices), np.float32)
        tracks = {word: np.asarray(track, np.float32) for word, track in indices.items()}
        return record.with_quality(Quality(self.channel, FS, sqi, tracks))


def _check(kind: str, channel: str) -> None:
    if kind not in BAND_HZ:
        raise RecipeError(f"assess_quality: channel '{channel}' is of kind '{kind}'; quality is known of {', '.join(BAND_HZ)}")


def _beats(record: Record, source: Channel, name: str | None) -> Beats | None:
    """Return the beats asked for, else the channel's own, else those of another channel made from the same one."""
    if name is not None:
        if name not in record.beats:
            raise RecipeError(f"{record.name}: assess_quality finds no beats '{name}'; put 'detect_beats' before it")
        return record.beats[name]
    root = source.source_name if source.source_name in record.channels else source.name
    for word in (source.name, *record.beats):
        other = record.channels.get(word)
        if word in record.beats and other is not None and root in {other.name, other.source_name}:
            return record.beats[word]
    return None


def _combined(indices: Mapping[str, F64]) -> F64:
    sqi = np.ones_like(indices["missing"])
    for word, worthless in WORTHLESS.items():
        sqi *= np.clip(1 - indices[word] / worthless, 0, 1)
    sqi *= 0.5 + 0.5 * np.nan_to_num(indices["snr"])
    if "template" in indices:
        sqi *= np.nan_to_num(indices["template"]) * (0.5 + 0.5 * np.nan_to_num(indices["rate"]))
    if "skewness" in indices:
        sqi *= np.clip(1 + 0.5 * np.nan_to_num(indices["skewness"]), 0.5, 1)
    return sqi


def _edges(channel: Channel, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the first sample of every second."""
    return np.round(np.arange(count) * channel.fs).astype(np.int64)


def _sums(channel: Channel, values: F64 | Bool, count: int) -> F64:
    """Return the sum over every second."""
    if not count:
        return np.zeros(0)
    # Sums of a second each, not differences of a running sum: the same to the last bit wherever the record starts.
    edges = np.minimum(_edges(channel, count), values.size - 1)
    return np.asarray(np.add.reduceat(np.asarray(values, np.float64), edges), np.float64)


def _shares(channel: Channel, mask: Bool, count: int) -> F64:
    lengths = np.diff(np.append(_edges(channel, count), mask.size))
    return np.clip(_sums(channel, mask, count) / np.maximum(lengths, 1), 0, 1)


def _resting(raw: Channel, count: int) -> dict[str, F64]:
    known = np.isfinite(raw.samples)
    rest = plateaus(hold(raw.samples.astype(np.float64), known), known, raw.fs)
    flat = rest.flat(FLAT_S.get(raw.kind, FLAT_DEFAULT_S))
    clipped = rest.clipped(CLIPPED_S.get(raw.kind, CLIPPED_DEFAULT_S))
    return {
        "missing": _shares(raw, ~known, count),
        "flat": _shares(raw, flat, count),
        "clipped": _shares(raw, clipped, count),
    }


def _of_beats(beats: Beats, count: int) -> dict[str, F64]:
    """Return agreement and plausibility of the beats that touch ±2 s of the middle of every second."""
    whole = beats.end >= 0
    onset, end = beats.onset[whole] / beats.fs, beats.end[whole] / beats.fs
    length = end - onset
    plausible = (length >= 60 / RATES_PER_MIN[1]) & (length <= 60 / RATES_PER_MIN[0])
    if length.size > 1:
        ratio = length[1:] / length[:-1]
        even = ((ratio <= LARGEST_RATIO) & (ratio >= 1 / LARGEST_RATIO)) | (np.abs(end[:-1] - onset[1:]) > 0.5 / beats.fs)
        plausible[1:] &= even
        plausible[:-1] &= even
    middle = np.arange(count) + 0.5
    low, high = np.searchsorted(end, middle - BEATS_S), np.searchsorted(onset, middle + BEATS_S)
    number = high - low
    some = np.maximum(number, 1)
    # Whole numbers, so that a running sum is exact: the same wherever the record starts.
    agreed = np.append(0, np.cumsum(np.rint(beats.quality[whole].astype(np.float64) * 2**24).astype(np.int64)))
    good = np.append(0, np.cumsum(plausible))
    return {
        "template": np.where(number > 0, (agreed[high] - agreed[low]) / 2**24 / some, np.nan),
        "rate": np.where(number > 0, (good[high] - good[low]) / some, np.nan),
    }


def _skewness(channel: Channel, count: int) -> F64:
    """Return the third standardised moment over five seconds around every second."""
    if not count:
        return np.zeros(0)
    known = np.isfinite(channel.samples)
    x = np.where(known, channel.samples, 0).astype(np.float64)
    sums = np.stack([_sums(channel, v, count) for v in (known, x, x * x, x * x * x)])
    n, first, second, third = (_around(row) for row in sums)
    n = np.maximum(n, 1)
    mean = first / n
    variance = np.maximum(second / n - mean**2, 0)
    moment = third / n - 3 * mean * second / n + 2 * mean**3
    enough = (variance > 1e-12 * second / n) & (variance > 0)
    return np.where(enough, moment / np.where(enough, variance, 1) ** 1.5, np.nan)


def _around(row: F64) -> F64:
    half = SKEWNESS_S // 2
    padded = np.pad(row, half)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, SKEWNESS_S).sum(axis=1))


def _snr(channel: Channel, count: int) -> F64:
    """Return the share of the power above 0.5 Hz that lies in the band of the signal, over four seconds."""
    size = round(SPECTRUM_S * channel.fs)
    known = np.isfinite(channel.samples)
    if not known.any():
        return np.full(count, np.nan)
    lead = round((SPECTRUM_S - 1) / 2 * channel.fs)
    total = int(_edges(channel, count)[-1]) + size
    window, frequency = np.hanning(size).astype(np.float32), np.fft.rfftfreq(size, 1 / channel.fs)
    filled = _extended(channel.samples, known, lead, total)
    low, high = BAND_HZ[channel.kind]
    above, inside = frequency >= SLOWEST_HZ, (frequency >= low) & (frequency <= high)
    share = np.full(count, np.nan)
    # Some hundred spectra at a time stay in the cache.
    for begin in range(0, count, 128):
        rows = filled[_edges(channel, count)[begin : begin + 128, None] + np.arange(size)]
        power = np.abs(np.fft.rfft((rows - rows.mean(axis=1, keepdims=True)) * window)) ** 2
        everything = power[:, above].sum(axis=1)
        told = everything > 0
        share[begin : begin + 128][told] = power[told][:, inside].sum(axis=1) / everything[told]
    return share


def _extended(samples: F32, known: Bool, lead: int, total: int) -> F32:
    """Return samples with gaps filled and the ends reflected, so that the spectra of the first and last seconds are whole."""
    x = hold(samples.astype(np.float64), known)
    tail = max(total - lead - x.size, 0)
    return np.pad(x, (lead, tail), mode="reflect" if max(lead, tail) < x.size else "edge").astype(np.float32)
