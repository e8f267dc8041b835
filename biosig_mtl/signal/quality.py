"""The step that assesses signal quality: second by second, each index a number, and one figure in [0, 1] made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal.beat_indices import BEATS_S, BeatTable, of_beats, perfusion, pressures, rise
from biosig_mtl.signal.indices import MOMENT_S, Seconds, flushed, means, moments, resting, seconds_of
from biosig_mtl.signal.motion import channels_of, motion
from biosig_mtl.signal.runs import find, runs, seam_samples
from biosig_mtl.signal.spectra import BAND_HZ, SPECTRUM_S, spectral
from biosig_mtl.signal.sqi import sqi
from biosig_mtl.signal.trace import NEAR_S
from biosig_mtl.types import F64, Beats, Channel, ChannelInfo, Quality, RecipeError, Record

FS = 1.0
# A pressure rises faster than it falls: in 99 of 100 seconds of MIMIC in less than half a beat; upside down it takes 0.7 of it.
UPSIDE_DOWN = 0.58


@dataclass(frozen=True)
class AssessQuality:
    """Write a track of signal quality, one value a second.

    The indices (`biosig_mtl.signal.indices.INDICES` tells what each is) are tracks of their own, NaN where one cannot be told.
    Gaps, rests and spectra are those of the channel as recorded; moments and beats those of the channel itself. ``sqi`` is made
    of them (`biosig_mtl.signal.sqi`) and may be read as the probability that the beats there are right. Without detected beats
    it rests on rules and spectrum.

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
    motion
        Axes of an accelerometer worn at the same place, at their own rate; all channels of kind ``acc`` if not given. Motion
        lowers the ``sqi`` of a PPG only.

    Notes
    -----
    Skewness: Elgendi 2016 (Bioengineering 3:21). Agreement with a template: Orphanidou 2015 (IEEE JBHI 19:832), whose rules on
    rate and ratio are used too.
    """

    channel: str
    raw: str | None = None
    beats: str | None = None
    optional: bool = False
    motion: tuple[str, ...] = ()

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds, beyond that of the beats."""
        return max(NEAR_S, SPECTRUM_S, MOMENT_S) + BEATS_S + 3.0

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels unchanged; raise if a channel is not there or of a kind that is not known."""
        source = find(channels, self.channel, "assess_quality", optional=self.optional)
        if source is not None:
            _check(source.kind, self.channel)
            for name in (self.raw or self.channel, *self.motion):
                find(channels, name, "assess_quality", optional=False)
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record with the quality track of the channel."""
        source = find(record.channels, self.channel, f"{record.name}: assess_quality", optional=self.optional)
        if source is None:
            return record
        _check(source.kind, self.channel)
        raw = record.channel(self.raw or self.channel)
        count = int(-(-source.samples.size // source.fs)) if source.samples.size else 0
        beats = _beats(record, source, self.beats)
        indices = _indices(record, (source, raw), beats, count)
        worn = channels_of(record, self.motion)
        if worn:
            indices["motion"] = motion(record, worn, count)
        tracks = {word: np.asarray(track, np.float32) for word, track in indices.items()}
        # Of the tracks as they are kept, so that the figure can be made again from them.
        return record.with_quality(Quality(self.channel, FS, np.asarray(sqi(tracks), np.float32), tracks))


def _indices(record: Record, channels: tuple[Channel, Channel], beats: Beats | None, count: int) -> dict[str, F64]:
    source, raw = channels
    seconds, of_raw = seconds_of(record, source, count), seconds_of(record, raw, count)
    indices, whole = resting(record, raw, of_raw)
    indices |= spectral(whole, of_raw, source.kind)
    indices |= moments(source.samples, seconds)
    if source.kind == "abp":
        known = raw.unit.strip().lower() == "mmhg"
        indices["flushed"] = flushed(whole, of_raw) if known else np.full(count, np.nan)
    if beats is not None:
        starts, stops = runs(np.isfinite(source.samples), seam_samples(record, source.fs, source.samples.size))
        scale = beats.fs / source.fs
        stretches = np.rint(starts * scale).astype(np.int64), np.rint(stops * scale).astype(np.int64)
        found, table = of_beats(beats, stretches, record.start_s, count)
        indices |= found | _of_pulses(table, channels, of_raw)
        if source.kind == "abp":
            indices["polarity"] = np.where(rise(table) > UPSIDE_DOWN, -1.0, indices["polarity"])
    return indices


def _of_pulses(table: BeatTable, channels: tuple[Channel, Channel], of_raw: Seconds) -> dict[str, F64]:
    source, raw = channels
    if source.kind == "abp":
        return pressures(table, source)
    return {"perfusion": perfusion(table, raw.samples, means(raw.samples, of_raw), raw.fs)} if source.kind == "ppg" else {}


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
