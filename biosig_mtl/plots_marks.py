"""Marks of beats and of the points inside them on a trace, as many as there is room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from biosig_mtl.plots import FIVE, FOUR, INK, MUTED, ONE, THREE, TWO
from biosig_mtl.types import F32, F64, MARKS, Beats, Bool

# Pixels a beat must have for its peak to be drawn, for its onset and main points, and for every point with its name.
PEAK_PX, MAIN_PX, NAMES_PX = 4.0, 16.0, 128.0
# How a beat of each mark is drawn: colour, shape, size.
PEAKS = {"normal": (ONE, "o", 5.0), "ectopic": (TWO, "D", 6.0), "doubtful": (FOUR, "X", 7.0), "long": (THREE, ">", 6.5)}
MEANINGS = {"normal": "beat", "ectopic": "ectopic beat", "doubtful": "doubtful beat", "long": "beat before a missed one"}
UNCONFIRMED = ", not confirmed"
MAIN = {"notch": (FIVE, "s", 4.5), "diastolic": (THREE, "^", 5.2), "p_peak": (FOUR, "v", 5.2), "t_peak": (FIVE, "d", 5.0)}
# Where the name of a point stands, in points from it: away from the curve there, and from the names beside it.
PLACES = {
    "foot": (7, -6), "u": (-7, 2), "a": (-7, 1), "b": (-7, 4), "c": (7, 6), "d": (8, 3), "e": (-6, -7), "notch": (3, -9),
    "diastolic": (6, 7), "p1": (-8, 5), "p2": (9, 6), "v": (5, -7), "w": (2, 9), "f": (6, -8),
    "p_on": (-8, 6), "qrs_on": (-8, -8), "qrs_off": (12, -7), "t_end": (8, 7),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Room:
    """The stretch that is drawn, and its width in pixels."""

    start_s: float
    stop_s: float
    px: float

    def per(self, count: int) -> float:
        """Return the pixels that each of so many beats has."""
        return self.px / max(count, 1)


Drawn = tuple[float, float, F32]
Mark = tuple[str, str, float]


def draw_beats(axis: Any, beats: Beats, origin_s: float, trace: Drawn, room: Room) -> bool:
    """Draw the beats whose peaks lie in the stretch; return whether there was room for them.

    Parameters
    ----------
    axis
        Where the trace is drawn already.
    beats, origin_s
        Samples of the beats count from this instant of the recording.
    trace
        Start in seconds, rate and samples of the trace that the marks lie on.
    room
        Decides how much is drawn of each: beats that have less than four pixels are not drawn, but those that are not normal
        get a tick above the trace.
    """
    peak_s = origin_s + beats.peak / beats.fs
    inside = (peak_s >= room.start_s) & (peak_s < room.stop_s)
    px = room.per(int(inside.sum()))
    if px < PEAK_PX:
        _ticks(axis, beats, peak_s, inside)
        return False
    if px >= MAIN_PX:
        if (beats.onset != beats.peak).any():
            _draw(axis, trace, origin_s + beats.onset[inside] / beats.fs, (MUTED, "^", 5.2), "onset")
        _draw_points(axis, beats, origin_s, trace, px, inside)
    _draw_peaks(axis, beats, peak_s, trace, px, inside)
    return True


def _draw_peaks(axis: Any, beats: Beats, peak_s: F64, trace: Drawn, px: float, inside: Bool) -> None:
    small = 0.65 if px < MAIN_PX else 1.0
    for place, mark in enumerate(MARKS):
        colour, shape, size = PEAKS[mark]
        how = (colour, shape, size * small if mark == "normal" else size)
        mine = inside & (beats.mark == place)
        _draw(axis, trace, peak_s[mine & beats.confirmed], how, MEANINGS[mark])
        _draw(axis, trace, peak_s[mine & ~beats.confirmed], how, MEANINGS[mark] + UNCONFIRMED, hollow=True)


def _ticks(axis: Any, beats: Beats, peak_s: F64, inside: Bool) -> None:
    for place, mark in enumerate(MARKS[1:], start=1):
        at = peak_s[inside & (beats.mark == place)]
        if at.size:
            axis.plot(
                at, np.full(at.size, 0.95), ls="", marker="|", ms=7, mew=1.1, color=PEAKS[mark][0],
                transform=axis.get_xaxis_transform(), label=MEANINGS[mark],
            )  # fmt: skip


def _draw_points(axis: Any, beats: Beats, origin_s: float, trace: Drawn, px: float, inside: Bool) -> None:
    spots: Mapping[str, F64] = {name: origin_s + at[inside] / beats.fs for name, at in beats.points.items()}
    named = px >= NAMES_PX
    for name, at_s in spots.items():
        if name in MAIN:
            _draw(axis, trace, at_s, MAIN[name], name)
        elif named:
            _draw(axis, trace, at_s, (INK, "o", 3.4), "point, named beside it")
        if named:
            _names(axis, name, at_s, _heights(trace, at_s))


def _names(axis: Any, name: str, at_s: F64, height: F64) -> None:
    from matplotlib.patheffects import withStroke

    for x, y in zip(at_s, height, strict=True):
        if np.isfinite(x) and np.isfinite(y) and name not in MAIN:
            axis.annotate(
                name, (x, y), PLACES.get(name, (5, 5)), textcoords="offset points", ha="center", va="center", fontsize=8,
                color=INK, annotation_clip=True, path_effects=[withStroke(linewidth=2, foreground="white")],
            )  # fmt: skip


def _draw(axis: Any, trace: Drawn, at_s: F64, how: Mark, label: str, *, hollow: bool = False) -> None:
    colour, shape, size = how
    height = _heights(trace, at_s)
    known = np.isfinite(height)
    if known.any():
        axis.plot(
            at_s[known], height[known], ls="", marker=shape, ms=size, color=colour, label=label, zorder=3,
            markerfacecolor="white" if hollow else colour, markeredgecolor=colour if hollow else "white",
            markeredgewidth=1.0 if hollow else 0.4, alpha=0.75 if hollow else 1.0,
        )  # fmt: skip


def _heights(trace: Drawn, at_s: F64) -> F64:
    """Return the height of the trace at instants; NaN outside it and in gaps."""
    start_s, fs, samples = trace
    if not samples.size:
        return np.full(at_s.shape, np.nan)
    at = (at_s - start_s) * fs
    height: F64 = np.interp(at, np.arange(samples.size), samples, left=np.nan, right=np.nan)
    return height
