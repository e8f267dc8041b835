"""Beats of a channel: one detector for each kind, one way to say where a beat ends and how far it agrees with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from biosig_mtl.signal import abp, ecg, ppg
from biosig_mtl.signal.agreement import REACH_S as AGREEMENT_REACH_S
from biosig_mtl.signal.agreement import agreement
from biosig_mtl.signal.choice import REACH_S as CHOICE_REACH_S
from biosig_mtl.signal.detection import LONELY_S, REFUSE_S, Detection, believable, select
from biosig_mtl.signal.rhythm import REACH_S as RHYTHM_REACH_S
from biosig_mtl.signal.rhythm import marks
from biosig_mtl.signal.runs import find
from biosig_mtl.signal.sliding import running_sum
from biosig_mtl.signal.trace import REACH_S as TRACE_REACH_S
from biosig_mtl.signal.trace import Trace, trace
from biosig_mtl.types import EMPTY, F32, I64, Beats, Bool, ChannelInfo, RecipeError, Record

# Longer than this from onset to onset is a pause in the signal, not a beat.
LONGEST_S = 3.0
LOWEST_FS = 20.0
# Noise that passes for pulses agrees with itself by 0.0 to 0.3 on the mean of so many at least, pulses in heavy noise by 0.5.
# An ECG wanders more between its QRS.
LEAST_AGREEMENT, FEW = {"ppg": 0.3, "abp": 0.3, "ecg": 0.04}, 4

Detector = Callable[[Trace], Detection]
DETECTORS: dict[str, Detector] = {"ppg": ppg.ppg_beats, "ecg": ecg.ecg_beats, "abp": abp.abp_beats}


@dataclass(frozen=True)
class DetectBeats:
    """Find the beats of a channel: feet and systolic peaks of PPG and ABP, R peaks of ECG.

    Every threshold comes from a few seconds around, so a part of a recording, read with ``reach_s`` of context, gives the beats
    of the whole. Flat, saturated and missing stretches give none; they are looked for in the channel that a filtered one was
    made from. ``end`` is −1 where the next onset is more than 3 s away or behind a gap or seam.

    Parameters
    ----------
    channel
        A channel of kind ``ppg``, ``ecg`` or ``abp``. Use a filtered PPG or ECG, and the unfiltered ABP: its samples at onset
        and peak of a beat are diastolic and systolic pressure.
    name
        What the beats are called; the channel's name if not given.
    optional
        Return the record unchanged if it has no such channel.
    """

    channel: str
    name: str | None = None
    optional: bool = False

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds."""
        found = TRACE_REACH_S + max(abp.REACH_S, ecg.REACH_S, ppg.REACH_S) + CHOICE_REACH_S + 2 * REFUSE_S + LONELY_S
        return found + max(AGREEMENT_REACH_S, RHYTHM_REACH_S) + LONGEST_S

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels unchanged; raise `RecipeError` if this channel can have no beats."""
        source = find(channels, self.channel, "detect_beats", optional=self.optional)
        if source is not None:
            _detector(source.kind, source.fs, self.channel)
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record with the beats of the channel."""
        source = find(record.channels, self.channel, f"{record.name}: detect_beats", optional=self.optional)
        if source is None:
            return record
        detector = _detector(source.kind, source.fs, self.channel)
        name = self.name or self.channel
        none = np.empty(0, np.int64)
        if source.samples.size < source.fs or not np.isfinite(source.samples).any():
            return record.with_beats(Beats(name, source.fs, none, none, none, np.empty(0, np.float32)))
        seen = trace(record, source)
        found = believable(detector(seen), seen) if source.kind == "abp" else select(detector(seen), seen)
        found = found.take(~_touches(seen.dead, found.onset, found.peak))
        end = _ends(seen, found.onset)
        # What has a foot only (a rise cut off by the end of a run) ends the beat before it and is none itself.
        beat = found.peak < seen.run_stop(found.peak) - 1
        found, end = found.take(beat), end[beat]
        quality = agreement(seen, source.kind, (found.onset, found.peak, end), found.polarity)
        alike = ~_unlike(found.peak, end, quality, (seen.samples(REFUSE_S), LEAST_AGREEMENT[source.kind]))
        # A beat before a refused one has no known end.
        end = np.where(np.append(alike[1:], True), end, -1)
        found, end, quality = found.take(alike), end[alike], quality[alike]
        mark = marks(found.peak, end >= 0, seen.fs)
        return record.with_beats(
            Beats(name, source.fs, found.onset, found.peak, end, quality, EMPTY, mark, found.polarity, found.confirmed)
        )


def _detector(kind: str, fs: float, channel: str) -> Detector:
    if kind not in DETECTORS:
        raise RecipeError(f"detect_beats: channel '{channel}' is of kind '{kind}'; beats are found in {', '.join(DETECTORS)}")
    if fs < LOWEST_FS:
        raise RecipeError(
            f"channel '{channel}' has fs={fs:g} Hz, 'detect_beats' needs at least {LOWEST_FS:g}; resample it before"
        )
    return DETECTORS[kind]


def _touches(mask: Bool, start: I64, stop: I64) -> Bool:
    """Return which spans [start, stop] hold a marked sample."""
    if not mask.any():
        return np.zeros(start.size, bool)
    count = np.concatenate(([0], np.cumsum(mask)))
    return count[stop + 1] > count[start]


def _unlike(peak: I64, end: I64, quality: F32, rule: tuple[int, float]) -> Bool:
    """Return which beats lie where, on the whole, no beat agrees with its neighbours: that is noise that looks like beats.

    ``rule``: how many samples on either side count, and the least mean agreement.
    """
    near, least = rule
    low, high = np.searchsorted(peak, peak - near), np.searchsorted(peak, peak + near, side="right")
    whole = end >= 0
    agreed = running_sum(np.where(whole, quality, 0))
    count = np.append(0, np.cumsum(whole))
    number = count[high] - count[low]
    worst: Bool = (number >= FEW) & ((agreed[high] - agreed[low]) / 2**20 < least * number)
    return worst


def _ends(seen: Trace, onset: I64) -> I64:
    """Return the next onset where it is near and no gap, seam or dead stretch lies between; −1 elsewhere."""
    end = np.full(onset.size, -1, np.int64)
    if onset.size > 1:
        following = onset[1:]
        near = following - onset[:-1] <= LONGEST_S * seen.fs
        same = following < seen.run_stop(onset[:-1])
        end[:-1] = np.where(near & same & ~_touches(seen.dead, onset[:-1], following), following, -1)
    return end
