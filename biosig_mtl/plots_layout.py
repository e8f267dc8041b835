"""A figure of fixed width whose rows lie one above the other: sizes, round times on the axis, PNG and SVG.

Places are worked out in inches rather than by a solver: the same input gives the same bytes, and forty rows cost no second.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.plots import style, trim

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
WIDTH_IN = 11.0
LEFT_IN, RIGHT_IN = 0.8, 0.9
# The part of the width that traces have, in pixels.
TRACE_PX = (WIDTH_IN - LEFT_IN - RIGHT_IN) * DPI
EDGE_IN, LINE_IN = 0.09, 0.185
# Letters of a line of the title.
TITLE = 125
KEY_IN, LONGEST_KEY_IN = 0.11, 3.0
# Widths in inches of one letter of a legend and of what stands before it.
LETTER_IN, SWATCH_IN = 0.07, 0.48
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Row:
    """One axis, its height, and the room above and below it for words; in inches."""

    axis: Any
    height: float
    above: float = 0.0
    below: float = 0.0


def figure_with(rows: int) -> tuple[Any, list[Any]]:
    """Return an empty figure with axes, which `arrange` puts into their places.

    The figure belongs to no window system, and a notebook shows it though pyplot knows nothing of it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plain

    class Picture(Plain):
        """A figure that shows itself."""

        def _repr_png_(self) -> bytes:
            return png(self)

    figure = Picture(figsize=(WIDTH_IN, 1.0), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure, [figure.add_axes((0.0, 0.0, 1.0, 1.0), label=str(row)) for row in range(rows)]


def arrange(figure: Figure, rows: Sequence[Row], title: Sequence[str], legend: Any = None) -> None:
    """Put the title, rows from above, and the legend into their places, and give the figure its height."""
    bottom = EDGE_IN + (LINE_IN * legend[1] + 0.08 if legend else 0.0)
    lines = [line for words in title for line in wrap(words, TITLE) or [""]]
    top = EDGE_IN + LINE_IN * 1.08 * len(lines)
    height = bottom + top + sum(row.above + row.height + row.below for row in rows)
    figure.set_size_inches(WIDTH_IN, height)
    figure.text(
        EDGE_IN / WIDTH_IN, 1 - EDGE_IN / height, "\n".join(lines), ha="left", va="top", fontsize=10.5, linespacing=1.25
    )
    width = (WIDTH_IN - LEFT_IN - RIGHT_IN) / WIDTH_IN
    reached = height - top
    for row in rows:
        reached -= row.above + row.height
        row.axis.set_position((LEFT_IN / WIDTH_IN, reached / height, width, row.height / height))
        row.axis.yaxis.set_label_coords(-0.6 / (WIDTH_IN - LEFT_IN - RIGHT_IN), 0.5)
        reached -= row.below
    if legend:
        legend[0].set_bbox_to_anchor((LEFT_IN / WIDTH_IN - 0.005, EDGE_IN / height), transform=figure.transFigure)


def key_place(figure: Figure, rows: Sequence[Row]) -> tuple[float, float, float, float]:
    """Return where the key of colours stands: right of these rows, from the uppermost down."""
    width, height = figure.get_size_inches()
    boxes = [row.axis.get_position() for row in rows]
    top, bottom = boxes[0].y1, max(boxes[-1].y0, boxes[0].y1 - LONGEST_KEY_IN / height)
    return (1 - (RIGHT_IN - 0.12) / width, bottom, KEY_IN / width, top - bottom)


def columns(words: Sequence[str]) -> tuple[int, int]:
    """Return in how many columns and rows the names of a legend fit into the width."""
    wide = np.array([LETTER_IN * len(word) + SWATCH_IN for word in words])
    for count in range(len(words), 1, -1):
        parts = np.array_split(wide, count)
        if sum(part.max() for part in parts) <= WIDTH_IN - LEFT_IN:
            return count, len(parts[0])
    return 1, len(words)


def round_times(axis: Any, start_s: float, stop_s: float) -> bool:
    """Put ticks at round times; return whether they are hours and minutes, as in long recordings."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    if stop_s <= 600:
        axis.locator_params(axis="x", nbins=12)
        return False
    step = next((s for s in _STEPS_S if (stop_s - start_s) / s <= 11), _STEPS_S[-1])
    if stop_s - start_s >= 5:
        axis.xaxis.set_major_locator(MultipleLocator(step))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda s, _: clock_words(s)))
    return True


def clock_words(seconds: float) -> str:
    """Return a time as hours, minutes and seconds.

    >>> clock_words(3725), clock_words(59.5)
    ('1:02:05', '0:00:59.5')
    """
    whole, part = divmod(round(seconds, 3), 1)
    minutes, s = divmod(int(whole), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}" + (f"{part:.3f}".rstrip("0")[1:] if part else "")


def png(figure: Figure) -> bytes:
    """Return the picture as PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def svg(figure: Figure) -> str:
    """Return the picture as SVG text that may stand in a page."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context(style("recording")):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, dpi=200)
    return trim(out.getvalue())
