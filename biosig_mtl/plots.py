"""Pictures as SVG text: the same input gives the same bytes, and every picture can be read at the width of a phone.

Colours are Okabe & Ito's, safe for colour-blind readers; `THEME` names each one, so that a page may swap them for its dark
mode. Text stays text (it can be searched and scales); crowded points are rasterised so that a picture stays small.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biosig_mtl.types import EMPTY, F64

# Role of each colour. The odd last digits keep the colours apart from anything that matplotlib writes by itself.
THEME = {
    "#1f2931": "ink", "#5b6773": "muted", "#dfe4e9": "grid", "#0072b1": "one", "#d55e01": "two", "#009e71": "three",
    "#cc79a1": "four", "#e69f01": "five", "#f7f9fb": "panel",
}  # fmt: skip
INK, MUTED, GRID, ONE, TWO, THREE, FOUR, FIVE, _ = THEME
WIDTH_IN = 4.2  # about 300 px: text of 9 pt is then readable on a phone without zoom
_LEGEND_COLUMNS = 5
CROWD = 800  # more points than this are rasterised: 60 kB instead of a megabyte
_MARKS = {"onset": (TWO, "v"), "peak": (ONE, "o"), "notch": (FOUR, "s"), "end": (MUTED, "|")}


@dataclass(frozen=True, slots=True)
class Estimate:
    """One row of a comparison: a figure with its interval (NaN where there is none)."""

    name: str
    value: float
    ci95: tuple[float, float] = (float("nan"), float("nan"))
    highlight: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One window to be drawn: channels at ``fs``, beats and fiducials as samples from its start."""

    title: str
    fs: float
    channels: Mapping[str, F64]
    beats: Mapping[str, Mapping[str, F64]] = field(default_factory=lambda: EMPTY)
    points: Mapping[str, Mapping[str, F64]] = field(default_factory=lambda: EMPTY)


def bland_altman(y_true: ArrayLike, y_pred: ArrayLike, limits: Mapping[str, float], unit: str) -> str:
    """Draw error against the mean of estimate and reference, with bias and both kinds of limits of agreement.

    ``limits`` holds ``bias low high corrected_low corrected_high`` (`evaluation.metrics.bland_altman`); NaN ones are left out.
    """
    true, pred = np.asarray(y_true, float), np.asarray(y_pred, float)
    with sheet("bland-altman", 3.1) as (axes, out):
        _points(axes, (true + pred) / 2, pred - true)
        axes.axhline(0, color=MUTED, lw=0.7)
        for keys, style, name in (
            (("bias",), "-", "bias"),
            (("low", "high"), "--", "±1.96 SD"),
            (("corrected_low", "corrected_high"), ":", "repeated measures"),
        ):
            known = [limits[key] for key in keys if np.isfinite(limits.get(key, np.nan))]
            for i, value in enumerate(known):
                axes.axhline(value, color=TWO, ls=style, lw=1.4, label=name if i == 0 else None)
        axes.set(xlabel=f"mean of estimate and reference ({unit})", ylabel=f"estimate − reference ({unit})")
        _legend_above(axes)
    return out[0]


def agreement(y_true: ArrayLike, y_pred: ArrayLike, unit: str) -> str:
    """Draw estimate against reference with the line of identity; both axes have one scale, so shrinking to the mean is seen."""
    true, pred = np.asarray(y_true, float), np.asarray(y_pred, float)
    both = np.concatenate([true, pred])
    both = both[np.isfinite(both)]
    low, high = (float(both.min()), float(both.max())) if both.size else (0.0, 1.0)
    pad = 0.04 * (high - low) or 1.0
    with sheet("agreement", 3.9) as (axes, out):
        _points(axes, true, pred)
        axes.plot([low, high], [low, high], color=TWO, lw=1.4, label="identity")
        axes.set(
            xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal",
            xlabel=f"reference ({unit})", ylabel=f"estimate ({unit})",
        )  # fmt: skip
        _legend_above(axes)
    return out[0]


def error_by_class(groups: Mapping[str, ArrayLike], unit: str) -> str:
    """Draw the errors of each pressure class as a box (quartiles, median, 5th and 95th percentile) with their number."""
    names = [name for name, values in groups.items() if np.isfinite(np.asarray(values, float)).any()]
    boxes = [np.asarray(groups[name], float) for name in names]
    boxes = [values[np.isfinite(values)] for values in boxes]
    with sheet("classes", 2.9) as (axes, out):
        axes.axhline(0, color=MUTED, lw=0.7)
        line = {"color": INK, "lw": 1.0}
        if boxes:
            axes.boxplot(
                boxes, whis=(5, 95), showfliers=False, widths=0.5, patch_artist=True,
                boxprops={"facecolor": ONE, "alpha": 0.35, "edgecolor": INK}, whiskerprops=line, capprops=line,
                medianprops={"color": TWO, "lw": 1.8},
            )  # fmt: skip
        ticks = [f"{name}\nn = {values.size}" for name, values in zip(names, boxes, strict=True)]
        axes.set_xticks(range(1, len(names) + 1), ticks)
        axes.set(xlabel=f"reference ({unit})", ylabel=f"estimate − reference ({unit})")
    return out[0]


def learning_curves(curves: Mapping[str, Sequence[tuple[ArrayLike, ArrayLike]]], ylabel: str = "loss") -> str:
    """Draw curves against the epoch: every run thin, one colour a name (``{"training": [(epoch, loss), …], …}``)."""
    colours = (ONE, TWO, THREE, FOUR, FIVE)
    with sheet("curves", 2.8) as (axes, out):
        for number, (name, runs) in enumerate(curves.items()):
            for i, (epoch, value) in enumerate(runs):
                axes.plot(
                    np.asarray(epoch, float), np.asarray(value, float), color=colours[number % len(colours)],
                    lw=1.1, alpha=0.75, label=name if i == 0 else None,
                )  # fmt: skip
        axes.set(xlabel="epoch", ylabel=ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend_above(axes)
    return out[0]


def comparison(rows: Sequence[Estimate], xlabel: str, line: float = float("nan")) -> str:
    """Draw one dot with its interval for each row, the highlighted ones in colour; ``line`` is a value to compare with."""
    with sheet("comparison", 0.9 + 0.3 * max(len(rows), 1)) as (axes, out):
        if np.isfinite(line):
            axes.axvline(line, color=MUTED, lw=0.9, ls="--")
        for place, row in enumerate(rows):
            colour = TWO if row.highlight else ONE
            if np.isfinite(row.ci95).all():
                axes.plot(row.ci95, [place, place], color=colour, lw=2.2, solid_capstyle="round", alpha=0.6)
            axes.plot([row.value], [place], marker="o", ms=6, color=colour)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=xlabel)
        # More numbers than this run into each other where they are long.
        axes.locator_params(axis="x", nbins=5)
        axes.grid(visible=False, axis="y")
    return out[0]


def counts(numbers: Mapping[str, int], xlabel: str) -> str:
    """Draw horizontal bars with their numbers, the largest on top."""
    rows = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    with sheet("counts", 0.9 + 0.3 * max(len(rows), 1)) as (axes, out):
        axes.barh(range(len(rows)), [n for _, n in rows], color=ONE, height=0.6)
        for place, (_, n) in enumerate(rows):
            axes.annotate(f"{n:,}", (n, place), xytext=(4, 0), textcoords="offset points", va="center", color=INK)
        axes.set_yticks(range(len(rows)), [_wrap(name) for name, _ in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=xlabel, xlim=(0, 1.18 * max((n for _, n in rows), default=1)))
        axes.grid(visible=False, axis="y")
    return out[0]


def example_window(example: Example) -> str:
    """Draw the channels of a window one above the other, with onsets, peaks and fiducials on them."""
    names = list(example.channels)
    marked = {word for marks in (*example.beats.values(), *example.points.values()) for word in marks}
    # The legend of many points takes room of its own, or nothing is left for the signal.
    legend_in = 0.2 * max(0, -(-len(marked) // _LEGEND_COLUMNS) - 1)
    with sheet("example", 0.55 + 0.95 * len(names) + legend_in, rows=len(names)) as (axes, out):
        for place, (axis, name) in enumerate(zip(axes, names, strict=True)):
            samples = np.asarray(example.channels[name], float)
            axis.plot(np.arange(samples.size) / example.fs, samples, color=INK, lw=0.9)
            marks = {**example.beats.get(name, {}), **example.points.get(name, {})}
            _mark(axis, samples, marks, example.fs)
            axis.set_ylabel(name)
            axis.margins(x=0.01, y=0.16)
            axis.tick_params(labelbottom=place == len(names) - 1)
            axis.locator_params(axis="y", nbins=3)
        axes[-1].set_xlabel("seconds")
        axes[0].set_title(example.title, color=INK)
        _legend_of_marks(axes)
    return out[0]


def _mark(axis: Any, samples: F64, marks: Mapping[str, F64], fs: float) -> None:
    spare = iter([(THREE, "^"), (FIVE, "D"), (FOUR, "P"), (ONE, "X"), (TWO, "*"), (THREE, "<"), (FIVE, ">"), (MUTED, "d")] * 4)
    for name, where in marks.items():
        place = np.asarray(where, float)
        place = place[np.isfinite(place) & (place >= 0) & (place <= samples.size - 1)]
        colour, marker = _MARKS[name] if name in _MARKS else next(spare)
        if place.size:
            height = np.interp(place, np.arange(samples.size), samples)
            axis.plot(place / fs, height, ls="", marker=marker, ms=4.5, color=colour, label=name)


def _legend_of_marks(axes: Sequence[Any]) -> None:
    handles = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    if handles:
        axes[-1].legend(
            handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, -0.42), ncols=_LEGEND_COLUMNS,
            columnspacing=1.0, handletextpad=0.2,
        )  # fmt: skip


def _points(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    known = np.isfinite(x) & np.isfinite(y)
    crowded = int(known.sum()) > CROWD
    axes.scatter(
        x[known], y[known], s=7 if crowded else 12, color=ONE, alpha=0.25 if crowded else 0.5, linewidths=0, rasterized=crowded
    )


def _legend_above(axes: Any) -> None:
    handles, names = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles, names, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, columnspacing=1.2, handlelength=1.6,
            borderaxespad=0.2,
        )  # fmt: skip


def _wrap(text: str, width: int = 26) -> str:
    words, lines = text.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


@contextmanager
def sheet(salt: str, height_in: float, rows: int = 1) -> Iterator[tuple[Any, list[str]]]:
    """Give axes to draw on, and afterwards the SVG as the only member of the list."""
    # Matplotlib takes half a second to import, and most uses of this package draw nothing.
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out: list[str] = []
    with mpl.rc_context(style(salt)):
        # A Figure of its own: no global state of pyplot, no window system.
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        if rows == 1 and salt != "example":
            yield figure.subplots(), out
        else:
            yield list(np.atleast_1d(figure.subplots(max(rows, 1), 1, sharex=True))), out
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None}, dpi=200)
    out.append(trim(text.getvalue()))


def trim(svg: str) -> str:
    """Return a picture without what a page does not need: the XML prologue, metadata, a fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r'<svg \1width="100%"', svg, count=1)
    return re.sub(r'<svg ([^>]*?)\bheight="[^"]*" ', r'<svg \1role="img" ', svg, count=1).strip()


def style(salt: str) -> Any:
    """Return how pictures look, as settings of matplotlib; ``salt`` keeps the ids of an SVG the same every time."""
    return {
        "svg.hashsalt": salt, "svg.fonttype": "none", "text.parse_math": False,
        "font.family": ["sans-serif"], "font.size": 9,
        "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "legend.fontsize": 8.5,
        "axes.edgecolor": MUTED, "axes.linewidth": 0.7, "axes.labelcolor": INK, "text.color": INK, "xtick.color": MUTED,
        "ytick.color": MUTED, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.spines.top": False,
        "axes.spines.right": False, "axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6, "axes.axisbelow": True,
        "legend.frameon": False, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "axes.unicode_minus": True,
    }  # fmt: skip
