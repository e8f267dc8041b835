"""The figures of a paper: vectors as SVG and PDF, in the widths of one and of two columns.

Colours are those of the report (Okabe & Ito), and no meaning hangs on colour alone. Letters lie in the PDF as TrueType and in
the SVG as outlines, so both look the same on every machine. The same run gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl.evaluation.oracles import ORACLES
from biosig_mtl.plots import FOUR, INK, MUTED, ONE, TWO, style
from biosig_mtl.report_paper_tables import called, warnings
from biosig_mtl.report_sections import Run, as_ends, as_float, dropped, name_of, number, scored
from biosig_mtl.report_verdict import CLASSES, PRESSURE, RANKED_BY, by_chance, class_names, kind_of, reached

if TYPE_CHECKING:
    import pandas as pd

ONE_COLUMN_MM, TWO_COLUMNS_MM = 85.0, 180.0
_MM = 1 / 25.4
# More points than this are drawn as a picture of 600 dpi: a page of vectors would open for minutes.
_CROWD = 20_000


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: the name of its files, its caption, width and height in mm, number of panels, and what draws them."""

    name: str
    caption: str
    width_mm: float
    height_mm: float
    draw: Callable[[Any], None]
    panels: int = 1


def drawings(run: Run) -> list[Drawing]:
    """Return the figures that the run has content for."""
    test = scored(run)
    test = test[test["seed"] == test["seed"].min()]
    marks = "".join(f" {mark}" for mark in warnings(run.scores))
    made = [_flow(run, marks)]
    for name, target in run.scores["targets"].items():
        made.append(_baselines(run, name, marks))
        part = test[test["target"] == name]
        if kind_of(target) == CLASSES:
            made += [_confusion(name, target, marks)] if target.get("confusion") else []
        elif len(part):
            made.append(_agreement(run, name, part, marks))
            made += [_by_class(name, target, part, marks)] if kind_of(target) == PRESSURE and target.get("classes") else []
    return made


def save(drawing: Drawing, folder: Path) -> list[Path]:
    """Write a figure as SVG and PDF; return both paths."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words = {
        **style(f"paper-{drawing.name}"), "svg.fonttype": "path", "pdf.fonttype": 42, "font.size": 7.5, "axes.labelsize": 7.5,
        "axes.titlesize": 7.5, "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "axes.linewidth": 0.6,
    }  # fmt: skip
    paths = [folder / f"{drawing.name}.{ending}" for ending in ("svg", "pdf")]
    with mpl.rc_context(words):
        figure = Figure(figsize=(drawing.width_mm * _MM, drawing.height_mm * _MM), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, drawing.panels) if drawing.panels > 1 else figure.subplots()
        drawing.draw(axes)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the places are found; each writer would search for them again
        figure.savefig(paths[0], metadata={"Date": None, "Creator": None}, dpi=600)
        figure.savefig(paths[1], metadata={"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}, dpi=600)
    return paths


# ---------------------------------------------------------------------------------------------------------------- panels
def _points(axes: Any, x: Any, y: Any) -> None:
    many = len(x) > 800
    axes.scatter(x, y, s=3 if many else 8, color=ONE, alpha=0.25 if many else 0.5, linewidths=0, rasterized=len(x) > _CROWD)


def _agreement(run: Run, name: str, part: pd.DataFrame, marks: str) -> Drawing:
    target = run.scores["targets"][name]
    unit, title = str(target.get("unit") or ""), called(name, target)
    true, pred = part["y_true"].to_numpy(float), part["y_pred"].to_numpy(float)
    limits: Mapping[str, Any] = target.get("bland_altman") or {}

    def draw(axes: Any) -> None:
        left, right = axes
        ends = [float(min(true.min(), pred.min())), float(max(true.max(), pred.max()))]
        _points(left, true, pred)
        left.plot(ends, ends, color=TWO, lw=1.1, label="identity")
        left.set(xlabel=f"reference ({unit})", ylabel=f"estimate ({unit})", aspect="equal")
        _points(right, (true + pred) / 2, pred - true)
        right.axhline(0, color=MUTED, lw=0.6)
        for keys, line, label in (
            (("bias",), "-", "bias"),
            (("low", "high"), "--", "limits of agreement"),
            (("corrected_low", "corrected_high"), ":", "corrected for repeated measures"),
        ):
            known = [as_float(limits.get(key)) for key in keys if np.isfinite(as_float(limits.get(key)))]
            for i, value in enumerate(known):
                right.axhline(value, color=TWO, ls=line, lw=1.1, label=None if i else label)
        right.set(xlabel=f"mean of estimate and reference ({unit})", ylabel=f"estimate − reference ({unit})")
        for letter, panel in zip("ab", axes, strict=True):
            panel.set_title(letter, loc="left", fontweight="bold")
            if panel.get_legend_handles_labels()[0]:
                panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, columnspacing=1.0, handlelength=1.8)

    bias = f"bias {number(limits.get('bias'))}, limits {number(limits.get('low'))} to {number(limits.get('high'))} {unit}"
    seeds = f" Seed {part['seed'].iloc[0]} of {len(run.scores['seeds'])}." if len(run.scores["seeds"]) > 1 else ""
    caption = f"{title}: (a) estimate and reference of {len(part)} windows; (b) their difference against their mean"
    caption += f" ({bias})" if limits else ""
    return Drawing(f"agreement_{name}", f"{caption}.{seeds}{marks}", TWO_COLUMNS_MM, 85, draw, panels=2)


def _baselines(run: Run, name: str, marks: str) -> Drawing:
    target = run.scores["targets"][name]
    kind = kind_of(target)
    figure, label, _ = RANKED_BY["regression" if kind == PRESSURE else kind]
    known = {
        w: c[name] for w, c in run.scores["baselines"].items() if "unavailable" not in c and name in c and w not in ORACLES
    }
    rows = [(str(run.scores["model"]), target), *((name_of(word), content) for word, content in known.items())]
    found = [(word, *reached(content, figure)[:2]) for word, content in rows if reached(content, figure)[0] is not None]
    chance = by_chance(target) if kind == CLASSES else None
    unit = f" ({target['unit']})" if kind != CLASSES and target.get("unit") else ""

    def draw(axes: Any) -> None:
        if chance is not None:
            axes.axvline(chance, color=MUTED, lw=0.8, ls=":")
        axes.axvline(found[0][1], color=MUTED, lw=0.8, ls="--")
        for place, (_, value, ends) in enumerate(found):
            colour, marker = (TWO, "D") if place == 0 else (ONE, "o")
            low, high = as_ends(ends)
            axes.plot([low, high], [place, place], color=colour, lw=1.6, alpha=0.6, solid_capstyle="round")
            axes.plot([value], [place], marker=marker, ms=4.5, color=colour)
        axes.set_yticks(range(len(found)), [word.replace("_", " ") for word, *_ in found])
        axes.set(ylim=(len(found) - 0.4, -0.6), xlabel=f"{label}{unit}")
        axes.grid(visible=False, axis="y")

    lines = "; dotted: chance" if chance is not None else ""
    title = called(name, target).split(",")[0]
    caption = (
        f"{title}: {label} of the model (diamond, dashed line) and of the baselines, with 95 % intervals over subjects{lines}."
    )
    return Drawing(f"baselines_{name}", f"{caption}{marks}", ONE_COLUMN_MM, 18 + 6.5 * len(found), draw)


def _by_class(name: str, target: Mapping[str, Any], part: pd.DataFrame, marks: str) -> Drawing:
    true = part["y_true"].to_numpy(float)
    error = part["y_pred"].to_numpy(float) - true
    words = [str(row["class"]) for row in target["classes"]]
    # The classes are named by their edges: "< 100", "100–140", …
    place = np.searchsorted([float(re.findall(r"[\d.]+", word)[0]) for word in words[1:]], true, side="right")
    groups = {word: error[place == i] for i, word in enumerate(words) if (place == i).any()}

    def draw(axes: Any) -> None:
        axes.axhline(0, color=MUTED, lw=0.6)
        line = {"color": INK, "lw": 0.8}
        axes.boxplot(
            list(groups.values()), whis=(5, 95), showfliers=False, widths=0.5, patch_artist=True,
            boxprops={"facecolor": ONE, "alpha": 0.35, "edgecolor": INK}, whiskerprops=line, capprops=line,
            medianprops={"color": TWO, "lw": 1.5},
        )  # fmt: skip
        axes.set_xticks(range(1, len(groups) + 1), [f"{word}\nn = {len(errors)}" for word, errors in groups.items()])
        axes.set(xlabel=f"reference ({target['unit']})", ylabel=f"estimate − reference ({target['unit']})")

    caption = f"{name.upper()}: errors by class of reference pressure (quartiles, median, 5th and 95th percentile)."
    return Drawing(f"classes_{name}", f"{caption}{marks}", ONE_COLUMN_MM, 60, draw)


def _confusion(name: str, target: Mapping[str, Any], marks: str) -> Drawing:
    matrix, names = np.asarray(target["confusion"], float), class_names(target)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def draw(axes: Any) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        axes.imshow(share, vmin=0, vmax=1, cmap=LinearSegmentedColormap.from_list("paper", ["#ffffff", ONE]))
        for i, row in enumerate(matrix):
            for j, count in enumerate(row):
                axes.text(j, i, f"{count:,.0f}", ha="center", va="center", color="#ffffff" if share[i, j] > 0.6 else INK)
        words = [fill(word, 10) for word in names]
        axes.set_xticks(range(len(names)), words)
        axes.set_yticks(range(len(names)), words)
        axes.grid(visible=False)
        axes.set(xlabel="estimated class", ylabel="true class")

    caption = f"{name_of(name).capitalize()}: windows by true and estimated class; shade is the share of the true class."
    return Drawing(f"confusion_{name}", f"{caption}{marks}", ONE_COLUMN_MM, 75, draw)


def _flow(run: Run, marks: str) -> Drawing:
    told, scores = dropped(run), run.scores
    lost = int(scores["n_rejected"])
    reasons = list((told or {"counts": {}})["counts"].items())
    listed = [fill(f"{n:,} {reason}", 46, subsequent_indent="   ") for reason, n in reasons[:12]]
    listed += [f"and {len(reasons) - 12} more reasons"] if len(reasons) > 12 else []
    count = f"{told['windows']:,} windows, {told['records']:,} whole records" if told else f"{lost:,} windows"
    boxes = [
        f"{fill(str(scores['dataset']), 44)}:\nall windows that were cut",
        "\n".join(["not used, to learn from or to test:", count, *listed]),
        f"tested: {scores['n_windows']:,} windows of {scores['n_subjects']:,} subjects",
    ]
    lines = boxes[1].count("\n") + boxes[0].count("\n")
    height = 28 + 3.3 * lines

    def draw(axes: Any) -> None:
        axes.axis("off")
        axes.set(xlim=(0, 1), ylim=(0, height))
        frame = {"boxstyle": "round,pad=0.5", "facecolor": "#ffffff", "edgecolor": INK, "linewidth": 0.7}
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.7}
        axes.annotate("", (0.07, 7), (0.07, height - 10), arrowprops=arrow)
        axes.annotate("", (0.15, height / 2), (0.07, height / 2), arrowprops=arrow)
        axes.text(0.02, height - 6, boxes[0], bbox=frame, va="center")
        axes.text(0.17, height / 2, boxes[1], bbox={**frame, "edgecolor": FOUR}, va="center", linespacing=1.25)
        axes.text(0.02, 5, boxes[2], bbox=frame, va="center")

    share = number(100 * float(scores["coverage"]), 1)
    caption = f"From records to tested windows; {share} % of all windows that were cut were used."
    return Drawing("flow", f"{caption}{marks}", ONE_COLUMN_MM, height, draw)
