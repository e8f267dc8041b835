"""Topographic maps: values of electrodes as a field on the head seen from above, nose up.

The field is drawn as layers of one colour that lie on one another, each a little see-through: it fades into whatever the page
is made of, light or dark, and stays a small vector drawing. Nothing is drawn far outside the electrodes, where a field would be
an invention of the interpolation.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biosig_mtl import montage
from biosig_mtl.plots import GRID, INK, MUTED, ONE, TWO, WIDTH_IN, style, trim
from biosig_mtl.types import F64

# Layers of a colour, and how much of the page each lets through.
LAYERS, THROUGH = 7, 0.79
GRID_POINTS, GRID_POINTS_SMALL = 56, 32
# How far outside the electrodes' hull the field goes, and the least distance of two electrodes, in radii of the head.
MARGIN, TOGETHER = 0.07, 1e-6
# Heads beside one another, and room for words around them.
BESIDE, TITLE_IN, BAR_IN = 3, 0.24, 0.5
# Beyond this number names of electrodes would cover one another.
NAMED = 70
# The circle, with room for nose and ears.
REACH = 1.17


@dataclass(frozen=True, slots=True)
class Scalp:
    """Values of electrodes to be drawn as one head; NaN ones and electrodes without a known place are left out."""

    title: str
    names: tuple[str, ...]
    values: F64

    def __post_init__(self) -> None:
        """Refuse names and values that do not match."""
        if np.shape(self.values) != (len(self.names),):
            raise ValueError(f"need one value an electrode, got {np.shape(self.values)} for {len(self.names)} electrodes")


def unplaced(names: Sequence[str]) -> list[str]:
    """Return the names that are no electrode of the 10-10 system, in their order.

    >>> unplaced(["F3", "EXG1"])
    ['EXG1']
    """
    return [name for name in names if montage.flat(name) is None]


def topographic(heads: Sequence[Scalp], label: str, least: float = 0.0) -> str:
    """Draw heads of one scale beside one another, with electrodes as dots (named where there is one head) and a colour bar.

    The scale goes from −v to v where any value is negative, else from 0 to v; v is the largest size of a value. The field is
    a thin-plate spline through the electrodes (Perrin et al. 1987), on the flat map of the head.

    Parameters
    ----------
    heads
        What to draw.
    label
        What the values are, with their unit.
    least
        The scale reaches at least this far: differences of nothing must not look like something.
    """
    placed = [_placed(head) for head in heads]
    known = np.concatenate([np.zeros(1), *(values for _, _, values in placed)])
    top = max(float(np.abs(known).max()), least) or 1.0
    signed = bool((known < 0).any())
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    columns = _columns(len(heads))
    rows = -(-max(len(heads), 1) // columns)
    wide = min(WIDTH_IN / columns, 3.4 if len(heads) == 1 else 1.7)
    tall = BAR_IN + rows * (wide + TITLE_IN)
    with rc_context(style("scalp")):
        figure = Figure(figsize=(WIDTH_IN, tall))
        FigureCanvasSVG(figure)
        for place, head in enumerate(heads):
            row, column = divmod(place, columns)
            here = min(columns, len(heads) - row * columns)
            left = (WIDTH_IN - here * wide) / 2
            bottom = tall - (row + 1) * (wide + TITLE_IN)
            box = ((left + column * wide) / WIDTH_IN, bottom / tall, wide / WIDTH_IN, wide / tall)
            axes = figure.add_axes(box, label=str(place))
            axes.set_title(head.title, pad=1, color=INK)
            _head(axes, placed[place], top, named=len(heads) == 1)
        _bar(figure.add_axes((0.25, (BAR_IN - 0.12) / tall, 0.5, 0.1 / tall), label="bar"), top, label, signed=signed)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _lean(trim(text.getvalue()))


def _columns(heads: int) -> int:
    """Return how many heads stand beside one another: two by two rather than three and one."""
    return 2 if heads in {2, 4} else max(min(heads, BESIDE), 1)


def _lean(svg: str) -> str:
    """Return a picture with its paths to a tenth of a point: a third of the size, and nobody can see the difference."""
    short = re.compile(r"-?\d+\.\d+")

    def of_path(path: re.Match[str]) -> str:
        # A line goes on without its letter.
        return re.sub(r"\s+", " ", short.sub(lambda found: f"{float(found[0]):.1f}", path[0]).replace("\nL ", " "))

    return re.sub(r'\bd="[^"]+"', of_path, svg)


def _head(axes: Any, electrodes: tuple[list[str], F64, F64], top: float, *, named: bool) -> None:
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.set_axis_off()
    names, places, values = electrodes
    if len(names) >= 4 and _spread(places):
        _field(axes, (places, values), top, GRID_POINTS if named else GRID_POINTS_SMALL)
    _outline(axes)
    axes.plot(places[:, 0], places[:, 1], ls="", marker="o", ms=3.0 if named else 1.8, color=INK)
    if named and len(names) <= NAMED:
        size = 7.5 if len(names) <= 32 else 5.5
        for name, (x, y) in zip(names, places, strict=True):
            axes.annotate(
                name, (x, y), xytext=(0, 2.8), textcoords="offset points", ha="center", va="bottom", fontsize=size, color=INK
            )


def _placed(head: Scalp) -> tuple[list[str], F64, F64]:
    """Return names, places (electrode, 2) and values of what can be drawn; electrodes of one place become their mean."""
    found: dict[tuple[float, float], list[tuple[str, float]]] = {}
    for name, value in zip(head.names, head.values, strict=True):
        at = montage.flat(name)
        if at is not None and np.isfinite(value):
            found.setdefault((round(at[0], 6), round(at[1], 6)), []).append((name, float(value)))
    names = [given[0][0] for given in found.values()]
    values = np.array([np.mean([value for _, value in given]) for given in found.values()], dtype=np.float64)
    return names, np.array(list(found), dtype=np.float64).reshape(-1, 2), values


def _spread(places: F64) -> bool:
    """Whether places span an area: a spline through a line of electrodes says nothing of what lies beside it."""
    return bool(np.linalg.matrix_rank(places - places.mean(axis=0), tol=0.05) == 2)


def _field(axes: Any, electrodes: tuple[F64, F64], top: float, points: int) -> None:
    from matplotlib.patches import Polygon
    from scipy.interpolate import RBFInterpolator

    places, values = electrodes
    around = _around(places)
    low, high = around.min(axis=0), around.max(axis=0)
    x, y = (np.linspace(low[i], high[i], points) for i in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    spline = RBFInterpolator(places, values, kernel="thin_plate_spline")
    # A spline may overshoot between electrodes; nothing is shown beyond what was given.
    field = np.clip(spline(grid.reshape(-1, 2)).reshape(grid.shape[:2]), values.min(), values.max())
    outline = Polygon(around, closed=True, transform=axes.transData)
    for sign, colour in ((1.0, TWO), (-1.0, ONE)):
        for level in _levels(top):
            part = sign * field
            if part.max() > level:
                layer = axes.contourf(x, y, part, levels=[level, 2 * top + level], colors=[colour], alpha=1 - THROUGH)
                layer.set_clip_path(outline)


def _levels(top: float) -> F64:
    """Return where each layer begins: in the middle of its step, so that nothing at all has no colour."""
    return top * (np.arange(LAYERS) + 0.5) / LAYERS


def _around(places: F64) -> F64:
    """Return the outline of the field: the hull of the electrodes, a little widened and inside the head."""
    from scipy.spatial import ConvexHull

    corners = places[ConvexHull(places).vertices]
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = MARGIN * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    wide = (corners[:, None] + ring).reshape(-1, 2)
    inside = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1.0)
    return np.asarray(inside[ConvexHull(inside).vertices])


def _outline(axes: Any) -> None:
    """Draw the head: a circle, a nose and two ears."""
    angle = np.linspace(0, 2 * np.pi, 121)
    line = {"color": MUTED, "lw": 1.1, "solid_capstyle": "round"}
    axes.plot(np.cos(angle), np.sin(angle), **line)
    side = 0.11
    axes.plot([-side, 0.0, side], [np.sqrt(1 - side**2), 1.12, np.sqrt(1 - side**2)], **line)
    lobe = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 31)
    start = np.sqrt(1 - 0.16**2)
    for sign in (-1, 1):
        axes.plot(sign * (start + 0.085 * np.cos(lobe)), 0.16 * np.sin(lobe), **line)


def _short(value: float) -> str:
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}").replace("-", "−")


def _bar(axes: Any, top: float, label: str, *, signed: bool) -> None:
    """Draw the colours as they lie on one another."""
    for sign, colour in ((1.0, TWO), (-1.0, ONE)) if signed else ((1.0, TWO),):
        for level in _levels(top):
            axes.axvspan(*sorted((sign * level, sign * top)), facecolor=colour, alpha=1 - THROUGH, linewidth=0)
    axes.set(xlim=(-top if signed else 0.0, top), ylim=(0, 1), yticks=[], xlabel=label)
    axes.set_xticks([-top, 0.0, top] if signed else [0.0, top])
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.grid(visible=False)
    for edge in axes.spines.values():
        edge.set(visible=True, color=GRID)
