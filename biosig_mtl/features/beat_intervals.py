"""Intervals between beats, from the better of two sources: R peaks, else pulse feet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from biosig_mtl.features.inputs import Inputs
from biosig_mtl.features.pulse_beats import PulseBeats
from biosig_mtl.types import F64, I64, Bool, WindowBeats

# 30 to 200 beats a minute, the range of human rhythm at rest.
INTERVAL_S = (0.3, 2.0)
# The ECG counts where its intervals fill this share of the window; else its beats are not to be trusted.
LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Intervals:
    """Intervals between beats, flat over windows in order of time.

    ``end_s`` counts from the start of the window; ``follows`` marks one that starts where the last ended, ``normal`` one
    between two normal beats.
    """

    window: I64
    seconds: F64
    end_s: F64
    follows: Bool
    normal: Bool

    def only(self, keep: Bool) -> Intervals:
        """Return some of the intervals; one whose predecessor is gone follows nothing."""
        follows = self.follows.copy()
        follows[1:] &= keep[:-1]
        return Intervals(self.window[keep], self.seconds[keep], self.end_s[keep], follows[keep], self.normal[keep])


NONE = Intervals(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0, bool), np.empty(0, bool))


@dataclass(frozen=True)
class Chosen:
    """The intervals of every window, whether they are those of the ECG, and how many its source had before any was left out."""

    intervals: Intervals
    by_ecg: Bool
    offered: I64


def intervals(inputs: Inputs) -> Chosen:
    """Return the plausible intervals of every window: of R peaks where they fill half of it, otherwise of pulse feet."""
    return inputs.once("intervals", _choose)


def _choose(inputs: Inputs) -> Chosen:
    found = inputs.beats.get(inputs.settings.ecg)
    ecg = of_r_peaks(found) if found is not None else NONE
    covered = np.bincount(ecg.window, ecg.seconds, minlength=inputs.count)
    by_ecg: Bool = covered >= LEAST_SHARE * inputs.samples / inputs.fs
    offered = np.where(by_ecg, _rows(found, inputs.count), _rows(inputs.beats.get(inputs.settings.pulse), inputs.count))
    # Pulse beats are work: none where all windows have their ECG.
    return Chosen(ecg if by_ecg.all() else _merge(ecg, of_pulse(inputs.pulse_beats), by_ecg), by_ecg, offered)


def _rows(beats: WindowBeats | None, windows: int) -> I64:
    return np.zeros(windows, np.int64) if beats is None else np.bincount(beats.window, minlength=windows)


def of_pulse(beats: PulseBeats) -> Intervals:
    """Return the plausible intervals between pulse feet."""
    end_s = (beats.foot + beats.period) / beats.fs
    return _plausible(Intervals(beats.window, beats.period / beats.fs, end_s, beats.follows, beats.normal))


def of_r_peaks(beats: WindowBeats) -> Intervals:
    """Return the plausible intervals between R peaks."""
    complete = beats.end > beats.onset
    seconds = np.where(complete, (beats.end - beats.onset) / beats.fs, 0.0)
    follows = np.zeros(len(beats), bool)
    follows[1:] = (beats.window[1:] == beats.window[:-1]) & (beats.onset[1:] == beats.end[:-1])
    return _plausible(Intervals(beats.window, seconds, beats.end / beats.fs, follows, beats.normal))


def _plausible(found: Intervals) -> Intervals:
    return found.only((found.seconds >= INTERVAL_S[0]) & (found.seconds <= INTERVAL_S[1]))


def _merge(ecg: Intervals, pulse: Intervals, by_ecg: Bool) -> Intervals:
    """Take the intervals of each window from its source, in order of window."""
    take_ecg, take_pulse = by_ecg[ecg.window], ~by_ecg[pulse.window]
    window = np.concatenate([ecg.window[take_ecg], pulse.window[take_pulse]])
    order = np.argsort(window, kind="stable")

    def merged(key: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        both = np.concatenate([getattr(ecg, key)[take_ecg], getattr(pulse, key)[take_pulse]])
        return both[order]

    return Intervals(
        window[order], merged("seconds"), merged("end_s"), *(merged(k).astype(bool) for k in ("follows", "normal"))
    )
