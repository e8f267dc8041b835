"""Pictures of answers about how people feel: confusion matrices and one bar a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.plots import INK, MUTED, ONE, TWO, sheet

# More names of people than this cannot be read below bars.
NAMED = 48
# The darkest cell of a confusion matrix: words in ink on it can be read in light and dark.
DARKEST = 0.62


def confusion(matrix: ArrayLike, names: Sequence[str]) -> str:
    """Draw how often each reference class (row) was answered by each class (column).

    Parameters
    ----------
    matrix
        Counts, shape (class, class), rows are the reference. The colour is the share of the row, so that a rare class can be
        judged as well as a frequent one; the diagonal's shares are the recalls, and their mean is the balanced accuracy.
    names
        A name a class.
    """
    count = np.asarray(matrix, dtype=np.float64).reshape(len(names), len(names))
    total = count.sum(axis=1, keepdims=True)
    share = np.divide(count, total, out=np.zeros_like(count), where=total > 0)
    size = max(len(names), 1)
    with sheet("confusion", min(1.1 + 0.62 * size, 4.0)) as (axes, out):
        for (row, column), part in np.ndenumerate(share):
            axes.fill_between(
                [column - 0.48, column + 0.48], row - 0.48, row + 0.48, facecolor=ONE, alpha=DARKEST * part, linewidth=0
            )
            words = f"{100 * part:.0f} %\n{count[row, column]:,.0f}" if total[row, 0] else "–"
            axes.annotate(words, (column, row), ha="center", va="center", color=INK, fontsize=9 if size <= 5 else 7)
        axes.set(
            xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="estimated class", ylabel="reference class",
            xticks=range(len(names)), yticks=range(len(names)), yticklabels=names,
            xticklabels=[name.replace(" to ", "\nto ") for name in names],
        )  # fmt: skip
        axes.grid(visible=False)
        axes.tick_params(length=0)
    return out[0]


def per_subject(names: Sequence[str], values: ArrayLike, chance: float, ylabel: str, floor: ArrayLike | None = None) -> str:
    """Draw one bar a person, sorted, that starts at chance; in another colour who does no better than a constant answer.

    Parameters
    ----------
    names
        A name a person.
    values
        One figure a person, shape (subject,); people with NaN are left out.
    chance
        Where the bars start.
    ylabel
        What the figure is.
    floor
        What a constant answer reaches for each person, shape (subject,); chance where nothing is given.
    """
    figure = np.asarray(values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(figure))
    order = known[np.argsort(-figure[known], kind="stable")]
    sorted_values = figure[order]
    beaten = np.full(figure.size, chance) if floor is None else np.asarray(floor, dtype=np.float64)
    better = sorted_values > beaten[order]
    with sheet("per-subject", 2.9) as (axes, out):
        place = np.arange(order.size)
        for colour, side in ((ONE, better), (TWO, ~better)):
            axes.bar(place[side], sorted_values[side] - chance, bottom=chance, width=0.78, color=colour)
        axes.axhline(chance, color=INK, lw=1.0, label="chance")
        if order.size:
            axes.axhline(float(sorted_values.mean()), color=MUTED, lw=1.1, ls="--", label="mean of people")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, columnspacing=1.2, borderaxespad=0.2)
        axes.set(ylabel=ylabel, xlim=(-0.7, max(order.size, 1) - 0.3))
        axes.margins(y=0.08)
        axes.grid(visible=False, axis="x")
        if order.size <= NAMED:
            axes.set_xticks(place, [names[i] for i in order], rotation=90, fontsize=8 if order.size <= 28 else 6)
        else:
            axes.set_xticks([])
            axes.set_xlabel(f"{order.size} people, sorted")
    return out[0]
