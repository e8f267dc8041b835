"""Pictures of a calibration: error by change and by time since the reading, changes followed, plans of recalibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.plots import CROWD, GRID, INK, MUTED, ONE, THREE, TWO, sheet

_COLOURS = (ONE, TWO, THREE)
Line = Sequence[tuple[float, float, float, float]]  # where, value, low, high


def by_bin(bins: Sequence[str], errors: Mapping[str, Sequence[float]], xlabel: str, ylabel: str) -> str:
    """Draw the error of each method in every bin, one colour a method, side by side.

    Parameters
    ----------
    bins
        Names of the bins; a second line may tell how many windows they have.
    errors
        One value a bin for every method.
    xlabel, ylabel
        What the bins and the values are.
    """
    with sheet("bins", 3.0) as (axes, out):
        width = 0.8 / max(len(errors), 1)
        for number, (name, values) in enumerate(errors.items()):
            place = np.arange(len(bins)) + width * (number - (len(errors) - 1) / 2)
            axes.bar(place, values, width=0.92 * width, color=_COLOURS[number % len(_COLOURS)], alpha=0.85, label=name)
        axes.set_xticks(range(len(bins)), bins, fontsize=7.5)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(visible=False, axis="x")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.2)
    return out[0]


def changes(moved: ArrayLike, said: ArrayLike, unit: str, large: float) -> str:
    """Draw the change that was estimated against the change of the reference, both from the reading.

    The band in the middle holds changes below ``large``, which do not count for the concordance. A held value lies on the
    horizontal line, a perfect estimate on the diagonal.
    """
    x, y = np.asarray(moved, dtype=float), np.asarray(said, dtype=float)
    both = np.concatenate([x, y]) if x.size else np.zeros(1)
    far = float(np.abs(both[np.isfinite(both)]).max(initial=large)) * 1.05
    with sheet("changes", 3.9) as (axes, out):
        axes.axvspan(-large, large, color=GRID, alpha=0.6, lw=0)
        axes.axhline(0, color=MUTED, lw=0.9, label="held")
        axes.plot([-far, far], [-far, far], color=TWO, lw=1.3, label="perfect")
        crowded = x.size > CROWD
        axes.scatter(x, y, s=6 if crowded else 11, color=ONE, alpha=0.3 if crowded else 0.55, linewidths=0, rasterized=crowded)
        axes.set(
            xlim=(-far, far), ylim=(-far, far), aspect="equal", xlabel=f"change of the reference ({unit})",
            ylabel=f"change of the estimate ({unit})",
        )  # fmt: skip
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.2)
    return out[0]


def plans(lines: Mapping[str, Line], limit: float, xlabel: str, ylabel: str, ticks: Mapping[float, str]) -> str:
    """Draw the error of plans of recalibration against their interval, with intervals over people and the limit to keep.

    ``ticks`` are the places on the axis that get a word; the axis is logarithmic.
    """
    with sheet("plans", 3.0) as (axes, out):
        for number, (name, points) in enumerate(lines.items()):
            x, y, low, high = (np.array(column, dtype=float) for column in zip(*points, strict=True))
            # Side by side, or intervals of one plan hide each other.
            shift = 1.0 + 0.04 * (number - (len(lines) - 1) / 2)
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(x * shift, y, "o-", ms=4, lw=1.5, color=colour, label=name)
            axes.vlines(x * shift, low, high, color=colour, lw=1.4, alpha=0.5)
        axes.axhline(limit, color=INK, lw=1.0, ls="--")
        axes.set_xscale("log")
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.minorticks_off()
        axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, None))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.2)
    return out[0]
