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
# A wave of the ECG looks at beats up to 6 s away; those look one beat of at most 3 s ahead and two back.
REACH_S = 13.0
# Samples with a neighbour on either side.
SHORTEST = 3


@dataclass(frozen=True)
class DetectFiducials:
    """Find the named points of every beat, as fractional samples; NaN where a point does not exist.

    The onset and the systolic or R peak are `Beats.onset` and `Beats.peak`; the points beside them, in their order in time:

    ============= ==================================================================================================
    PPG
    ============= ==================================================================================================
    ``foot``      the tangent to the steepest rise meets the level of the onset
    ``a``         greatest second derivative between onset and ``u``
    ``u``         steepest rise
    ``b``         least second derivative behind ``u``, at most 0.06 s behind the peak
    ``p1 p2``     early and late systolic wave: first maximum of the third derivative behind ``b`` and last minimum of it
                  before ``d`` (before ``e`` where there is no ``d``), or the systolic peak where that is later
    ``c d``       first maximum of the second derivative behind ``b``, and its lowest point between there and ``e``
    ``v``         steepest fall between peak and ``e``
    ``e``         highest maximum of the second derivative where the valve closes: from 0.06 s after the peak to 65 % of
                  the beat, within 0.1 s of the minimum of the curve if there is a plain one
    ``notch``     minimum of the curve there, or ``e`` where the curve has none
    ``w``         slowest fall, or steepest rise, behind ``e``: the first maximum of the first derivative
    ``diastolic`` first maximum of the curve behind the notch, or where the fall is slowest there
    ``f``         first minimum of the second derivative behind ``w`` and ``e``
    ============= ==================================================================================================

    An ABP channel gets ``foot u notch`` in the same way. An ECG channel gets

    ============= ==================================================================================================
    ECG
    ============= ==================================================================================================
    ``p_on``      begin of the P wave
    ``p_peak``    P wave: stands farthest out of the line from 0.30 s before R (or the T wave before) to the complex
    ``qrs_on``    begin of the complex: the slope stays below 7 % of its maximum for 24 ms, or below 2.5 times the noise
    ``qrs_off``   end of the complex, the same with 10 %
    ``t_peak``    T wave: stands farthest out of the lines from behind the complex to the isoelectric level and to the
                  end of the time that it may take (Bazett)
    ``t_end``     end of the T wave
    ============= ==================================================================================================

    P and T may point either way; they must stand out of the noise, and at the same place as in two beats near by.

    Parameters
    ----------
    channel
        A channel of kind ``ppg``, ``abp`` or ``ecg`` that has beats. For a PPG use 0.5–12 Hz: 8 Hz moves the notch. For an ECG
        use 0.5–40 Hz.
    name
        What the beats are called, where that is not the channel's name.
    optional
        Return the record unchanged if it has no such channel.

    Notes
    -----
    a to e after Takazawa et al., Hypertension 32 (1998) 365; u, v, w and f as in Elgendi, Curr. Cardiol. Rev. 8 (2012) 14, and
    its later use; p1 and p2 after Charlton et al., Physiol. Meas. 39 (2018) 054001, with these deviations: points that would
    stand together (c with d, p1 with p2) do not exist, and the third derivative is the difference of the second, so that p1 and
    p2 are where that one turns. Derivatives of a PPG or pressure are those of a polynomial of degree 4 over 0.09 s (Savitzky
    and Golay), extremes between samples those of a parabola. ``t_end`` and ``p_on`` by the largest trapezium
    (Vázquez-Seisdedos et al., BioMed. Eng. OnLine 10 (2011) 77); of a Gaussian wave that is about 2.3 SD from its peak, where a
    tangent gives 2. QRS bounds by the slope as in Laguna et al., Comput. Biomed. Res. 27 (1994) 45, with shares of our own.

    A pulse without a known end has no points. No sample behind a gap or seam is used: a wave whose span is cut off there does
    not exist. A pulse of polarity −1 is looked for on the curve turned over, so its peaks are minima of the channel.
    """

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
        return record.with_beats(replace(beats, points=_points(source.kind, curve(record, source), beats)))


def _check(kind: str, channel: str) -> None:
    if kind not in KINDS:
        raise RecipeError(f"detect_fiducials: channel '{channel}' is of kind '{kind}'; points are known in {', '.join(KINDS)}")


def _points(kind: str, seen: Curve, beats: Beats) -> dict[str, F64]:
    """Return the points of a curve's beats; pulses that are upside down are looked for on the curve turned over."""
    points = {word: np.full(len(beats), np.nan) for word in KINDS[kind]}
    if not len(beats) or not seen.starts.size or seen.x.size < SHORTEST:
        return points
    if kind == "ecg":
        return ecg_points(seen, beats)
    for upright in (True, False):
        chosen = (beats.end >= 0) & ((beats.polarity >= 0) == upright)
        if chosen.any():
            spans = Spans(beats.onset[chosen], beats.peak[chosen], beats.end[chosen])
            for word, values in PULSES[kind](seen if upright else seen.turned(), spans).items():
                points[word][chosen] = values
    return points
