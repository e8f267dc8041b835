"""Named points inside a beat: of a PPG and its derivatives, of a pressure curve, of an ECG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from biosig_mtl.signal.delineation import ECG, ecg_points
from biosig_mtl.signal.points import Curve, curve
from biosig_mtl.signal.pulse_points import ABP, PPG, Spans, abp_points, ppg_points
from biosig_mtl.signal.runs import find
from biosig_mtl.types import F64, Beats, ChannelInfo, RecipeError, Record

KINDS = {"ppg": PPG, "abp": ABP, "ecg": ECG}
PULSES = {"ppg": ppg_points, "abp": abp_points}
# A beat and the one before it, each at most 3 s long, and the polynomials around their samples.
REACH_S = 7.0


@dataclass(frozen=True)
class DetectFiducials:
    """docstring."""

    channel: str
    name: str | None = None
    optional: bool = False

    @property
    def reach_s(self) -> float:
        """Context on either side in seconds, beyond that of the beats."""
        return REACH_S

    def plan(self, channels: Mapping[str, ChannelInfo]) -> Mapping[str, ChannelInfo]:
        """Return the channels unchanged; raise `RecipeError` if this channel has no fiducials."""
        source = find(channels, self.channel, "detect_fiducials", optional=self.optional)
        if source is not None:
            _check(source.kind, self.channel)
        return channels

    def __call__(self, record: Record) -> Record:
        """Return the record whose beats of the channel carry points."""
        source = find(record.channels, self.channel, f"{record.name}: detect_fiducials", optional=self.optional)
        if source is None:
            return record
        _check(source.kind, self.channel)
        name = self.name or self.channel
        if name not in record.beats:
            raise RecipeError(f"{record.name}: detect_fiducials finds no beats '{name}'; put 'detect_beats' before it")
        beats = record.beats[name]
        if not len(beats):
            points = {word: np.empty(0) for word in KINDS[source.kind]}
        elif source.kind == "ecg":
            points = ecg_points(curve(record, source), beats)
        else:
            points = _pulse(source.kind, curve(record, source), beats)
        return record.with_beats(replace(beats, points=points))


def _check(kind: str, channel: str) -> None:
    if kind not in KINDS:
        raise RecipeError(f"detect_fiducials: channel '{channel}' is of kind '{kind}'; points are known in {', '.join(KINDS)}")


def _pulse(kind: str, seen: Curve, beats: Beats) -> dict[str, F64]:
    """Return the points of complete beats; those that are upside down are looked for on the curve turned over."""
    points = {word: np.full(len(beats), np.nan) for word in KINDS[kind]}
    for upright in (True, False):
        chosen = (beats.end >= 0) & ((beats.polarity >= 0) == upright)
        if chosen.any():
            spans = Spans(beats.onset[chosen], beats.peak[chosen], beats.end[chosen])
            for word, values in PULSES[kind](seen if upright else seen.turned(), spans).items():
                points[word][chosen] = values
    return points
