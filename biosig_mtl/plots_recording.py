"""A stretch of a recording as a picture: every channel with its beats and points, its quality, and what is refused.

One row a channel. Traces are thinned to their least and greatest values a pixel, so that an hour can be drawn; beats and points
are drawn as far as there is room for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.plots import FIVE, FOUR, GRID, INK, MUTED, ONE, THREE, TWO, style
from biosig_mtl.plots_layout import DPI, TRACE_PX, Row, arrange, columns, figure_with, key_place, round_times
from biosig_mtl.plots_marks import MEANINGS, UNCONFIRMED, Room, draw_beats
from biosig_mtl.types import EMPTY, F32, F64, I64, Beats, Channel, Quality

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# Two values a pixel and a little more: what is beyond cannot be seen.
POINTS = 4000
# A trace is drawn whole unless a few values lie so far out, in widths of the bulk, that nothing else could be seen.
BULK, BEYOND = (1.0, 99.0), 2.5
STRIP = 0.055
STRETCH_ALPHA = 0.22
# The usual reasons look the same in every picture, others take what is left; hatches tell them apart without colour.
SHADES = {"missing": (MUTED, "////"), "flat": (TWO, ""), "saturated": (FIVE, "||||"), "low signal quality": (FOUR, "\\\\\\")}
SPARE = ((THREE, "--"), (ONE, "++"), (MUTED, "xxx"))
# Letters of a name beside the overview, and of a caption before its letters become smaller.
LABEL, CAPTION = 9, 140
# Below this height, in inches, a row has no room for a unit beside its axis.
SMALL_IN = 0.8
NOTHING = "#c3cad1"
QUALITY_COLOURS = ((0.0, "#b8430a"), (0.35, "#e69f01"), (0.6, "#f2e6c9"), (1.0, "#0072b1"))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds of the recording that are refused, and why; no reason: they are kept."""

    start_s: float
    stop_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One channel as it was recorded. Its samples, and those of beats and quality, count from ``origin_s``."""

    channel: Channel
    origin_s: float
    caption: str
    beats: Beats | None = None
    quality: Quality | None = None
    refused: tuple[Stretch, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """All of a picture: the stretch from ``start_s`` to ``stop_s`` of the recording.

    ``windows`` are those of a recipe, the kept ones without reason; ``overview`` has the quality of the whole recording, one
    value a second, by channel; NaN where it is missing.
    """

    title: str
    start_s: float
    stop_s: float
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()
    seams_s: F64 = field(default_factory=lambda: np.empty(0))
    windows: tuple[Stretch, ...] = ()
    overview: Mapping[str, F64] = field(default_factory=lambda: EMPTY)


def draw(stage: Stage) -> Figure:
    """Return the picture as a figure of matplotlib that belongs to no window system; a notebook shows it by itself."""
    import matplotlib as mpl

    with mpl.rc_context(style("recording") | {"hatch.linewidth": 0.5}):
        count = len(stage.panels)
        figure: Figure
        figure, axes = figure_with(count + bool(stage.windows) + bool(stage.overview))
        shades = _shades(stage)
        for axis, panel in zip(axes, stage.panels, strict=False):
            _panel(axis, panel, stage, shades)
        if stage.windows:
            _windows(axes[count], axes[:count], stage, shades)
        _time_axis(axes[: count + bool(stage.windows)], stage)
        if stage.overview:
            _overview(axes[-1], stage)
        rows = _rows(axes, stage)
        arrange(figure, rows, [stage.title, *stage.notes], _legend(figure, axes[:count], shades))
        if any(panel.quality is not None for panel in stage.panels):
            _key(figure, rows[:count])
    return figure


def thin(samples: F32, points: int = POINTS) -> I64:
    """Return which samples draw the same picture: the least and the greatest of every bin, in their order in time.

    Parameters
    ----------
    samples
        Shape (sample,); NaN where there is none. A bin of nothing but NaN keeps one, so that the line breaks there.
    points
        The most that may be returned.
    """
    if samples.size <= points:
        return np.arange(samples.size)
    width = -(-samples.size // (points // 2))
    bins = np.full((-(-samples.size // width), width), np.nan, samples.dtype)
    bins.ravel()[: samples.size] = samples
    known = np.isfinite(bins)
    low = np.where(known, bins, np.inf).argmin(axis=1)
    high = np.where(known, bins, -np.inf).argmax(axis=1)
    return np.unique(np.stack([low, high], axis=1) + np.arange(len(bins))[:, None] * width)


def _panel_in(stage: Stage) -> float:
    """Return the height of a channel in inches: less where there are many."""
    return float(np.clip(6.8 / max(len(stage.panels), 1), 0.36, 1.7))


def _rows(axes: Sequence[Any], stage: Stage) -> list[Row]:
    words, heights = (0.42, [_panel_in(stage)] * len(stage.panels))
    rows = [Row(axis, height, above=0.24) for axis, height in zip(axes, heights, strict=False)]
    if stage.windows:
        rows.append(Row(axes[len(rows)], 0.3, above=0.08))
    rows[-1] = replace(rows[-1], below=words)
    if stage.overview:
        rows.append(Row(axes[-1], 0.18 * len(stage.overview), above=0.08, below=words))
    return rows


def _shades(stage: Stage) -> dict[str, tuple[str, str]]:
    reasons = [s.reason for panel in stage.panels for s in panel.refused] + [s.reason for s in stage.windows if s.reason]
    shades: dict[str, tuple[str, str]] = {}
    for reason in dict.fromkeys(reasons):
        usual = [how for word, how in SHADES.items() if reason.startswith(word) and how not in shades.values()]
        free = [how for how in SPARE if how not in shades.values()]
        shades[reason] = next(iter([*usual, *free]), SPARE[-1])
    return shades


# ---------------------------------------------------------------------------------------------------------------- channels
def _panel(axis: Any, panel: Panel, stage: Stage, shades: Mapping[str, tuple[str, str]]) -> None:
    channel = panel.channel
    first = max(int(np.floor((stage.start_s - panel.origin_s) * channel.fs)), 0)
    last = int(np.ceil((stage.stop_s - panel.origin_s) * channel.fs)) + 1
    samples = channel.samples[first:last]
    start_s = panel.origin_s + first / channel.fs
    at = thin(samples)
    dense = at.size < samples.size
    axis.plot(start_s + at / channel.fs, samples[at], color=INK, lw=0.45 if dense else 0.8, solid_joinstyle="round")
    low, high, cut = _limits(samples)
    below = 0.16 if panel.quality is not None else 0.08
    above = 0.2 if panel.refused or stage.windows else 0.1
    span = (high - low) / (1 - below - above)
    axis.set(xlim=(stage.start_s, stage.stop_s), ylim=(low - below * span, high + above * span))
    small = _panel_in(stage) < SMALL_IN
    axis.set_ylabel("" if small else channel.unit, labelpad=3)
    told = [panel.caption, *(["a few values lie outside the picture"] if cut else [])]
    axis.locator_params(axis="y", nbins=2 if small else 4)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.6g}".replace("-", "−"))
    if not np.isfinite(samples).any():
        axis.set_yticks([])
    if panel.beats is not None:
        room = Room(stage.start_s, stage.stop_s, TRACE_PX, DPI * _panel_in(stage))
        if not draw_beats(axis, panel.beats, panel.origin_s, (start_s, channel.fs, samples), room):
            told.append("beats too close to be marked")
    caption = "; ".join(told)
    axis.set_title(caption, loc="left", color=INK, pad=3, fontsize=9 * min(1.0, CAPTION / max(len(caption), 1)))
    if panel.quality is not None:
        edges_s = panel.origin_s + np.arange(panel.quality.sqi.size + 1) / panel.quality.fs
        _strip(axis, edges_s, known_quality(panel.quality), (0, STRIP), axis.get_xaxis_transform())
    for seam in stage.seams_s[(stage.seams_s > stage.start_s) & (stage.seams_s < stage.stop_s)]:
        axis.axvline(seam, color=MUTED, ls=(0, (4, 3)), lw=0.9, label="seam")
    _shade(axis, panel.refused, stage, shades)


def _limits(samples: F32) -> tuple[float, float, bool]:
    """Return what the y axis must hold, and whether far values were left out."""
    known = samples[np.isfinite(samples)].astype(np.float64)
    if not known.size:
        return 0.0, 1.0, False
    low, high = float(known.min()), float(known.max())
    bottom, top = np.percentile(known, BULK)
    width = top - bottom
    if width > 0:
        inner, outer = max(low, bottom - BEYOND * width), min(high, top + BEYOND * width)
    else:
        inner, outer = low, high
    cut = inner > low or outer < high
    least = 1e-6 * max(abs(inner), abs(outer), 1e-9)
    if outer - inner < least:
        middle = (inner + outer) / 2
        return middle - max(0.5 * abs(middle), 0.5), middle + max(0.5 * abs(middle), 0.5), cut
    return float(inner), float(outer), cut


def known_quality(track: Quality) -> F64:
    """Return the quality of every second, NaN where most of it is missing: nothing is not the same as something bad."""
    missing = track.indices.get("missing", np.zeros(track.sqi.size, np.float32))
    return np.where(missing > 0.5, np.nan, track.sqi.astype(np.float64))


def _strip(axis: Any, edges_s: F64, sqi: F64, place: tuple[float, float], transform: Any = None) -> None:
    if sqi.size:
        more = {} if transform is None else {"transform": transform}
        axis.pcolormesh(edges_s, place, sqi[None], cmap=_colours(), vmin=0, vmax=1, rasterized=True, zorder=1.6, **more)


def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("quality", list(QUALITY_COLOURS))
    return colours.with_extremes(bad=NOTHING)


# ----------------------------------------------------------------------------------------------------------- refused stretches
def _shade(axis: Any, refused: Sequence[Stretch], stage: Stage, shades: Mapping[str, tuple[str, str]]) -> None:
    for reason, (colour, hatch) in shades.items():
        bars = [(s.start_s, s.stop_s - s.start_s) for s in refused if s.reason == reason]
        if bars:
            axis.broken_barh(
                bars, (STRIP, 1 - STRIP), transform=axis.get_xaxis_transform(), facecolor=_fade(colour), hatch=hatch,
                edgecolor=_fade(colour, 0.45), linewidth=0, zorder=0.8,
            )  # fmt: skip
    _name(axis, refused, stage, 0.975)


def _name(axis: Any, refused: Sequence[Stretch], stage: Stage, height: float) -> None:
    """Write the reason into every stretch that has room for it; the legend names the others."""
    px_per_s = TRACE_PX / (stage.stop_s - stage.start_s)
    for one in refused:
        start, stop = max(one.start_s, stage.start_s), min(one.stop_s, stage.stop_s)
        if one.reason and (stop - start) * px_per_s > 6.4 * len(one.reason) + 8:
            axis.annotate(
                one.reason, ((start + stop) / 2, height), xycoords=axis.get_xaxis_transform(), ha="center", va="top",
                fontsize=8, color=INK, zorder=4,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            )  # fmt: skip


def _windows(axis: Any, axes: Sequence[Any], stage: Stage, shades: Mapping[str, tuple[str, str]]) -> None:
    """Draw the windows of a recipe as a row of boxes, and shade the refused ones in every channel."""
    refused = [s for s in stage.windows if s.reason]
    for one in stage.windows:
        colour, hatch = shades.get(one.reason, (ONE, ""))
        axis.broken_barh(
            [(one.start_s, one.stop_s - one.start_s)], (0.08, 0.84), facecolor=_fade(colour, 0.3 if one.reason else 0.14),
            hatch=hatch, edgecolor=colour, linewidth=0.8,
        )  # fmt: skip
    for panel in axes:
        _shade(panel, [Stretch(s.start_s, s.stop_s, s.reason) for s in refused], stage, shades)
    for text in [t for panel in axes for t in list(panel.texts) if t.get_text() in shades]:
        text.remove()
    _name(axis, [s if s.reason else Stretch(s.start_s, s.stop_s, "kept") for s in stage.windows], stage, 0.84)
    axis.set(xlim=(stage.start_s, stage.stop_s), ylim=(0, 1))
    axis.set_yticks([0.5], ["windows"])
    axis.tick_params(left=False)
    axis.grid(visible=False)


def _fade(colour: str, alpha: float = STRETCH_ALPHA) -> Any:
    from matplotlib.colors import to_rgba

    return to_rgba(colour, alpha)


# ---------------------------------------------------------------------------------------------------------------- furniture
def _overview(axis: Any, stage: Stage) -> None:
    """Draw the quality of the whole recording, a row a channel, and a frame around the stretch that is drawn."""
    names = list(stage.overview)
    longest = max(track.size for track in stage.overview.values())
    for row, name in enumerate(names):
        track = stage.overview[name].astype(np.float64)
        per = -(-track.size // 1200)
        edges = np.arange(0, track.size, per)
        count = np.add.reduceat(np.isfinite(track).astype(np.int64), edges)
        mean = np.add.reduceat(np.nan_to_num(track), edges) / np.where(count > 0, count, np.nan)
        _strip(axis, np.append(edges, track.size).astype(np.float64), mean, (row + 0.1, row + 0.9))
    axis.axvspan(stage.start_s, stage.stop_s, facecolor="none", edgecolor=INK, linewidth=1.6, zorder=5, clip_on=False)
    axis.set(xlim=(0, longest), ylim=(len(names), 0), yticks=np.arange(len(names)) + 0.5)
    axis.set_yticklabels([name if len(name) <= LABEL else f"{name[: LABEL - 1]}…" for name in names])
    axis.tick_params(left=False)
    axis.grid(visible=False)
    round_times(axis, 0, longest)
    axis.set_xlabel("the whole recording: quality of every second; framed: what is drawn above", labelpad=2)


def _time_axis(axes: Sequence[Any], stage: Stage) -> None:
    """Give all channels the same ticks, and the lowest their words."""
    for axis in axes:
        clock = round_times(axis, stage.start_s, stage.stop_s)
        axis.tick_params(labelbottom=axis is axes[-1], bottom=axis is axes[-1])
    axes[-1].set_xlabel("time from the start of the recording " + ("(h:min:s)" if clock else "(s)"), labelpad=2)


def _legend(figure: Any, axes: Sequence[Any], shades: Mapping[str, tuple[str, str]]) -> Any:
    """Add one legend for all channels; return it and its number of lines, None where there is nothing to tell."""
    from matplotlib.patches import Patch

    handles = {name: handle for axis in axes for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    handles = {name: handles[name] for name in sorted(handles, key=_rank)}
    for reason, (colour, hatch) in shades.items():
        handles[reason] = Patch(facecolor=_fade(colour, 0.35), hatch=hatch, edgecolor=_fade(colour, 0.8), linewidth=0)
    if not handles:
        return None
    beside, lines = columns(list(handles))
    legend = figure.legend(
        list(handles.values()), list(handles), loc="lower left", ncols=beside, columnspacing=1.4, handletextpad=0.4,
        handlelength=1.5, borderaxespad=0, borderpad=0,
    )  # fmt: skip
    return legend, lines


def _key(figure: Any, rows: Sequence[Row]) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(cmap=_colours()), cax=figure.add_axes(key_place(figure, rows)), ticks=[0, 0.5, 1])
    bar.set_label("signal quality", fontsize=8.5, labelpad=1)
    bar.outline.set_edgecolor(GRID)


def _rank(name: str) -> int:
    """Return the place of a name in the legend: beats, onsets, points, others."""
    order = [*MEANINGS.values(), *(f"{word}{UNCONFIRMED}" for word in MEANINGS.values()), "onset"]
    return order.index(name) if name in order else len(order)
