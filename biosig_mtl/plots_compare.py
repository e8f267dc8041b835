"""Pictures of a contest: who is told apart from whom, gains against single-task networks, learning curves, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from biosig_mtl.plots import FIVE, FOUR, GRID, INK, MUTED, ONE, THREE, TWO, sheet

_COLOURS = (ONE, TWO, THREE, FOUR, FIVE, INK, MUTED)
Curve = Sequence[tuple[float, float, float, float]]  # subjects, error, low, high


def critical_difference(
    ranks: Mapping[str, float], difference: float, cliques: Sequence[Sequence[str]], highlight: Sequence[str] = ()
) -> str:
    """Draw mean ranks as a list, best on top, with a bar beside each group of models that are not told apart.

    The usual picture has names on both sides of one axis (Demšar, JMLR 2006, fig. 1); a list is read on a phone too.
    """
    names = list(ranks)
    with sheet("ranks", 1.0 + 0.25 * max(len(names), 1)) as (axes, out):
        for place, name in enumerate(names):
            axes.plot([ranks[name]], [place], "o", ms=6, color=TWO if name in highlight else ONE)
        left = min(ranks.values(), default=1.0)
        for level, clique in enumerate(cliques):
            rows = [names.index(name) for name in clique]
            x = left - 0.35 - 0.3 * level
            axes.plot([x, x], [min(rows) - 0.2, max(rows) + 0.2], color=INK, lw=2.4, solid_capstyle="butt")
        axes.plot([left, left + difference], [-0.9, -0.9], color=MUTED, lw=2.0)
        axes.annotate(f"critical difference {difference:.2f}", (left, -1.05), color=MUTED, fontsize=8, va="bottom")
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -1.9), xlabel="mean rank over subjects (1 = smallest error)")
        axes.grid(visible=False, axis="y")
    return out[0]


def learning_curves(curves: Mapping[str, Curve], ylabel: str) -> str:
    """Draw error against the number of training subjects, one colour a model, with its interval over subjects."""
    with sheet("sizes", 3.0) as (axes, out):
        for number, (name, points) in enumerate(curves.items()):
            x, y, low, high = (np.array(column, dtype=float) for column in zip(*sorted(points), strict=True))
            # Side by side, or intervals of one number of subjects hide each other.
            shift = 1.0 + 0.012 * (number - (len(curves) - 1) / 2)
            colour = _COLOURS[number % len(_COLOURS)]
            axes.plot(x * shift, y, "o-", ms=4, color=colour, lw=1.5, label=name)
            axes.vlines(x * shift, low, high, color=colour, lw=1.2, alpha=0.5)
        axes.set(xlabel="training subjects", ylabel=ylabel)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return out[0]


def cost(rows: Mapping[str, tuple[float, float]], xlabel: str, ylabel: str, highlight: Sequence[str] = ()) -> str:
    """Draw one named dot for each model: what it costs against what it gains."""
    with sheet("cost", 3.4) as (axes, out):
        known = {name: xy for name, xy in rows.items() if np.isfinite(xy).all()}
        axes.axhline(0.0, color=GRID, lw=1.0)
        for name, (x, y) in known.items():
            colour = TWO if name in highlight else ONE
            axes.plot([x], [y], "o", ms=5, color=colour)
            axes.annotate(name, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7, color=INK)
        if known and min(x for x, _ in known.values()) > 0:
            axes.set_xscale("log")
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.margins(x=0.18, y=0.1)
    return out[0]
