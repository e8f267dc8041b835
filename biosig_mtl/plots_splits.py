"""Pictures of what the splits of a network learned: masks over the pulse, over time and families, dependence, removal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from biosig_mtl.plots import FIVE, FOUR, GRID, INK, MUTED, ONE, THREE, TWO, sheet
from biosig_mtl.types import F64

COLOURS = (ONE, TWO, THREE, FOUR, FIVE)
BEFORE = 0.25  # share of a beat that is drawn before its upstroke, so that foot and upstroke stand together
# The darkest cell of a matrix: words in ink on it can be read in light and dark.
DARKEST = 0.62


@dataclass(frozen=True, slots=True)
class Band:
    """A line with what lies around it, all (M,); NaN is not drawn."""

    name: str
    mean: F64
    sd: F64


@dataclass(frozen=True, slots=True)
class Series:
    """One figure a row with its ends, all (row,); NaN is not drawn."""

    name: str
    value: F64
    low: F64
    high: F64


def over_the_pulse(phase: ArrayLike, pulse: ArrayLike, bands: Sequence[Band]) -> str:
    """Draw masks by phase of the beat, one below the other, each over the mean pulse in grey (in no unit).

    ``phase`` is 0…1 between upstrokes; a quarter of the beat is drawn before the upstroke.
    """
    x = np.asarray(phase, np.float64)
    turned = np.where(x > 1 - BEFORE, x - 1, x)
    order = np.argsort(turned, kind="stable")
    wave = np.asarray(pulse, np.float64)[order]
    with sheet("pulse", 0.9 + 0.95 * len(bands), rows=max(len(bands), 2)) as (axes, out):
        for number, (axis, band) in enumerate(zip(axes, bands, strict=False)):
            mean, sd = band.mean[order], np.nan_to_num(band.sd[order])
            low, high = _range(mean, sd)
            axis.fill_between(turned[order], low, _scaled(wave, low, high), facecolor=GRID, alpha=0.8, linewidth=0)
            _band(axis, turned[order], (mean, sd), COLOURS[number % len(COLOURS)])
            axis.axvline(0, color=MUTED, lw=0.7, ls=":")
            axis.set(ylabel=band.name, ylim=(low, high), xlim=(turned.min(), turned.max()))
            axis.locator_params(axis="y", nbins=3)
        for axis in axes[len(bands) :]:
            axis.set_visible(False)
        axes[max(len(bands), 1) - 1].set_xlabel("phase of the beat (0 = steepest upstroke, 1 = the next)")
    return out[0]


def over_time(before_s: ArrayLike, bands: Sequence[Band]) -> str:
    """Draw masks by time before the end of the window, one below the other."""
    x = -np.asarray(before_s, np.float64)
    with sheet("time", 0.9 + 0.8 * len(bands), rows=max(len(bands), 2)) as (axes, out):
        for number, (axis, band) in enumerate(zip(axes, bands, strict=False)):
            _band(axis, x, (band.mean, np.nan_to_num(band.sd)), COLOURS[number % len(COLOURS)])
            axis.set_ylabel(band.name)
            axis.locator_params(axis="y", nbins=3)
        for axis in axes[len(bands) :]:
            axis.set_visible(False)
        axes[max(len(bands), 1) - 1].set_xlabel("seconds before the end of the window")
    return out[0]


def lines(phase: ArrayLike, bands: Sequence[Band], ylabel: str) -> str:
    """Draw lines by phase of the beat in one picture."""
    x = np.asarray(phase, np.float64)
    turned = np.where(x > 1 - BEFORE, x - 1, x)
    order = np.argsort(turned, kind="stable")
    with sheet("lines", 2.6) as (axes, out):
        axes.axvline(0, color=MUTED, lw=0.7, ls=":")
        for number, band in enumerate(bands):
            axes.plot(turned[order], band.mean[order], color=COLOURS[number % len(COLOURS)], lw=1.5, label=band.name)
        axes.set(xlabel="phase of the beat (0 = steepest upstroke, 1 = the next)", ylabel=ylabel)
        _legend(axes)
    return out[0]


def dots(names: Sequence[str], series: Sequence[Series], xlabel: str, line: float = float("nan")) -> str:
    """Draw a dot with its ends for every row and series; series have colours, rows have names."""
    step = 0.62 / max(len(series), 1)
    with sheet("dots", 1.1 + max(0.32, 0.17 * len(series)) * max(len(names), 1)) as (axes, out):
        if np.isfinite(line):
            axes.axvline(line, color=MUTED, lw=0.9, ls="--")
        for number, one in enumerate(series):
            colour = COLOURS[number % len(COLOURS)]
            place = np.arange(len(names)) + step * (number - (len(series) - 1) / 2)
            ends = np.isfinite(one.low) & np.isfinite(one.high)
            axes.hlines(place[ends], one.low[ends], one.high[ends], color=colour, lw=2.2, alpha=0.6)
            axes.plot(one.value, place, ls="", marker="o", ms=5, color=colour, label=one.name)
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=xlabel)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(visible=False, axis="y")
        _legend(axes)
    return out[0]


def matrix(names: Sequence[str], value: ArrayLike, p: ArrayLike) -> str:
    """Draw dependence between splits: colour is uHSIC from 0 to 1, words are uHSIC and p; both (K, K), no diagonal."""
    given, chance = np.asarray(value, np.float64), np.asarray(p, np.float64)
    size = max(len(names), 1)
    with sheet("matrix", min(0.9 + 0.6 * size, 4.0)) as (axes, out):
        for (row, column), share in np.ndenumerate(given):
            if row == column or not np.isfinite(share):
                continue
            sides = [column - 0.48, column + 0.48], row - 0.48, row + 0.48
            axes.fill_between(*sides, facecolor=ONE, alpha=DARKEST * float(np.clip(share, 0, 1)), linewidth=0)
            words = f"{share:.2f}".replace("-", "−") + (
                f"\np = {chance[row, column]:.3g}" if np.isfinite(chance[row, column]) else ""
            )
            axes.annotate(words, (column, row), ha="center", va="center", color=INK, fontsize=9 if size <= 5 else 7)
        axes.set(
            xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xticks=range(len(names)), yticks=range(len(names)),
            xticklabels=names, yticklabels=names,
        )  # fmt: skip
        axes.grid(visible=False)
        axes.tick_params(length=0)
    return out[0]


def _band(axis: Any, x: F64, told: tuple[F64, F64], colour: str) -> None:
    mean, sd = told
    axis.fill_between(x, mean - sd, mean + sd, facecolor=colour, alpha=0.25, linewidth=0)
    axis.plot(x, mean, color=colour, lw=1.6)


def _range(mean: F64, sd: F64) -> tuple[float, float]:
    known = np.isfinite(mean)
    if not known.any():
        return 0.0, 1.0
    low, high = float((mean - sd)[known].min()), float((mean + sd)[known].max())
    pad = 0.08 * (high - low) or 0.01
    return low - pad, high + pad


def _scaled(wave: F64, low: float, high: float) -> F64:
    known = wave[np.isfinite(wave)]
    if known.size == 0 or np.ptp(known) == 0:
        return np.full_like(wave, low)
    return np.asarray(low + 0.92 * (high - low) * (wave - known.min()) / np.ptp(known))


def _legend(axes: Any) -> None:
    handles, names = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles, names, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, columnspacing=1.2, handlelength=1.6,
            borderaxespad=0.2,
        )  # fmt: skip
