"""Marks of beats and of the points inside them on a trace, as many as there is room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biosig_mtl.plots import FIVE, FOUR, INK, MUTED, ONE, THREE, TWO
from biosig_mtl.types import F32, F64, MARKS, Beats, Bool

# Pixels a beat must have for its peak to be drawn, for its onset and main points, and for every point with its name.
PEAK_PX, MAIN_PX, NAMES_PX = 4.0, 24.0, 124.0
# How a beat of each mark is drawn: colour, shape, size.
PEAKS = {"normal": (ONE, "o", 5.0), "ectopic": (TWO, "D", 6.0), "doubtful": (FOUR, "X", 7.0), "long": (THREE, ">", 6.5)}
MEANINGS = {"normal": "beat", "ectopic": "ectopic beat", "doubtful": "doubtful beat", "long": "beat before a missed one"}
UNCONFIRMED = ", not confirmed"
MAIN = {"notch": (FIVE, "s", 4.5), "diastolic": (THREE, "^", 5.2), "p_peak": (FOUR, "v", 5.2), "t_peak": (FIVE, "d", 5.0)}
# Where the name of a point is put, in pixels from it: the first of these that is free, further ones with a line to the point.
NEAR = {"foot": (12, -11), "u": (-11, 3), "a": (-11, 4), "e": (-9, -11), "v": (3, -13), "f": (6, -13), "diastolic": (9, 11)}
PLACES = (
    (0, 13), (-11, 9), (11, 9), (0, -13), (11, -10), (-11, -10), (0, 27), (14, 25), (-14, 25), (0, -27), (16, -24), (-16, -24),
    (0, 41), (22, 38), (-22, 38), (0, -41), (22, -38), (-22, -38),
)  # fmt: skip
BESIDE_PX = 18.0
LETTER_PX, LINE_PX, DOT_PX = 7.2, 12.0, 7.0
POINTS_PER_PX = 72 / 110


@dataclass(frozen=True, slots=True)
class Room:
    """The stretch that is drawn, its width and its height in pixels."""

    start_s: float
    stop_s: float
    px: float
    height_px: float

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
        _draw_points(axis, beats, origin_s, trace, room, inside)
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


def _draw_points(axis: Any, beats: Beats, origin_s: float, trace: Drawn, room: Room, inside: Bool) -> None:
    spots: Mapping[str, F64] = {name: origin_s + at[inside] / beats.fs for name, at in beats.points.items()}
    others = {name: at_s for name, at_s in spots.items() if name not in MAIN}
    if others and room.per(int(inside.sum())) >= NAMES_PX:
        _draw(axis, trace, np.concatenate(list(others.values())), (INK, "o", 3.4), "point, named beside it")
        taken = [(at_s, _heights(trace, at_s)) for at_s in (*spots.values(), origin_s + beats.peak[inside] / beats.fs)]
        _name(axis, others, trace, room, taken)
    # Last, so that no other point hides them.
    for name in MAIN:
        if name in spots:
            _draw(axis, trace, spots[name], MAIN[name], words_of(name))


def words_of(name: str) -> str:
    """Return the name of a point as people write it.

    >>> words_of("t_peak"), words_of("qrs_on"), words_of("notch")
    ('T peak', 'QRS on', 'notch')
    """
    wave, underscore, rest = name.partition("_")
    return f"{wave.upper()} {rest}" if underscore else name


def _name(axis: Any, points: Mapping[str, F64], trace: Drawn, room: Room, taken: Sequence[tuple[F64, F64]]) -> None:
    """Write the names of points beside them, none over another or over a point."""
    from matplotlib.patheffects import withStroke

    low, high = axis.get_ylim()

    def px(at_s: F64, height: F64) -> F64:
        return np.stack(
            [(at_s - room.start_s) / (room.stop_s - room.start_s) * room.px, (height - low) / (high - low) * room.height_px]
        )

    dots = np.concatenate([px(*spot) for spot in taken], axis=1)
    boxes = np.concatenate([dots - DOT_PX / 2, dots + DOT_PX / 2])[:, np.isfinite(dots).all(axis=0)].T
    # Nothing is written over the edges.
    boxes = np.vstack([boxes, [-np.inf, -np.inf, 0, np.inf], [room.px, -np.inf, np.inf, np.inf]])
    for name, at_s in points.items():
        word = words_of(name)
        height = _heights(trace, at_s)
        for x, y, middle in zip(at_s, height, px(at_s, height).T, strict=True):
            if np.isfinite(middle).all():
                shift, box = _free(middle, word, ([NEAR[name]] if name in NEAR else []) + list(PLACES), boxes)
                boxes = np.vstack([boxes, box])
                far = np.hypot(*shift) > BESIDE_PX
                axis.annotate(
                    word, (x, y), tuple(POINTS_PER_PX * shift), textcoords="offset points", ha="center", va="center",
                    fontsize=8, color=INK, annotation_clip=True, path_effects=[withStroke(linewidth=1.5, foreground="white")],
                    arrowprops={"arrowstyle": "-", "lw": 0.4, "color": MUTED, "shrinkA": 0, "shrinkB": 2} if far else None,
                )  # fmt: skip


def _free(middle: F64, word: str, places: Sequence[tuple[int, int]], boxes: F64) -> tuple[F64, F64]:
    """Return the first place, in pixels from the point, where the name covers none of the boxes; the last one if all do."""
    half = np.array([LETTER_PX * len(word), LINE_PX]) / 2
    for place in places:
        at = middle + place
        box = np.concatenate([at - half, at + half])
        if not ((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2])).all(axis=1).any():
            break
    return np.array(place, np.float64), box


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
