"""Pictures of intervals: what is held in each class, and the error of what is kept when the unsure are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.plots import FOUR, INK, MUTED, ONE, THREE, TWO, sheet

_COLOURS = (TWO, ONE, THREE, FOUR)
Row = tuple[str, float, tuple[float, float]]


def held(rows: Sequence[Row], level: float) -> str:
    """Draw the share that is held, in per cent, one dot a row with its 95 % interval; the line is what was asked for.

    ``rows`` are (name, share in [0, 1], both ends of its interval); an unknown interval is not drawn.
    """
    with sheet("held", 0.95 + 0.34 * max(len(rows), 1)) as (axes, out):
        axes.axvline(100 * level, color=MUTED, lw=1.0, ls="--")
        for place, (_, share, ends) in enumerate(rows):
            # What the level lies above is told in another colour: it holds too little.
            colour = TWO if np.isfinite(ends[1]) and ends[1] < level else ONE
            if np.isfinite(ends).all():
                axes.plot([100 * end for end in ends], [place, place], color=colour, lw=2.2, solid_capstyle="round", alpha=0.6)
            axes.plot([100 * share], [place], marker="o", ms=6, color=colour, clip_on=False)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 100), xlabel=f"windows held, % (asked for: {100 * level:g})")
        axes.grid(visible=False, axis="y")
    return out[0]


def risk_coverage(shares: ArrayLike, curves: Mapping[str, ArrayLike], bounds: Mapping[str, ArrayLike], unit: str) -> str:
    """Draw the error of the kept against the share that is kept.

    ``curves`` are ways to be unsure, by name; ``bounds`` are drawn thin: chance, and an oracle that knows the errors.
    """
    kept = 100 * np.asarray(shares, float)
    with sheet("risk", 3.3) as (axes, out):
        for (name, risk), style in zip(bounds.items(), ("--", ":", "-."), strict=False):
            axes.plot(kept, np.asarray(risk, float), color=MUTED, lw=1.2, ls=style, label=name)
        for number, (name, risk) in enumerate(curves.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(kept, np.asarray(risk, float), color=colour, lw=1.8 if number == 0 else 1.3, label=name)
        axes.set(xlabel="windows kept, %, the surest first", ylabel=f"MAE of the kept ({unit})", xlim=(0, 100))
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, labelcolor=INK, columnspacing=1.2)
    return out[0]
