"""A whole recording as one page to pan and zoom: every sample where it is short enough, else its least and largest values.

The page is one file that loads nothing, so that it opens in ten years, on a phone, and inside a notebook. Samples travel as
16-bit whole numbers; what is finer than 1/65,000 of a channel's range is not drawn.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.data.readers import open_source
from biosig_mtl.looking import MOST_CHANNELS, PIECE_S, Names, Plan, described, entry_of, plan_for, put
from biosig_mtl.looking_facts import own, refused_stretches
from biosig_mtl.looking_page import template
from biosig_mtl.plots_recording import known_quality
from biosig_mtl.types import F32, DataError, Entry, RecipeError, Source

# Numbers in a page, two bytes each: about 8 MB of text. A recording that has more is drawn by envelopes.
MOST_NUMBERS = 3_000_000
UNKNOWN = -32768
NO_QUALITY = 255
# Taller than this a frame in a notebook hides the cells around it.
FRAME_PX = (180, 720)
ROW_PX = 120


@dataclass(frozen=True)
class Page:
    """A recording to pan and zoom; a notebook shows it, `write` keeps it."""

    title: str
    html: str
    rows: int

    def _repr_html_(self) -> str:
        """Return the page in a frame: its style and its keys stay inside."""
        height = min(max(self.rows * ROW_PX + 150, FRAME_PX[0]), FRAME_PX[1])
        title, inside = escape(self.title, quote=True), escape(self.html, quote=True)
        style = f"width:100%;height:{height}px;border:0"
        return f'<iframe title="{title}" srcdoc="{inside}" sandbox="allow-scripts" style="{style}"></iframe>'

    def write(self, out: str | Path) -> Path:
        """Write the page as a file; raise `DataError` where that cannot be done."""
        path = Path(out)
        if path.suffix.lower() not in {".html", ".htm"}:
            raise RecipeError(f"{path}: a page to pan and zoom is written as .html")
        return put(path, self.html.encode())


def browse(
    recording: str | Path | Entry,
    *,
    channels: Names | None = None,
    recipe: str | Path | None = None,
    most: int = MOST_NUMBERS,
) -> Page:
    """Return a whole recording as a page to pan and zoom, with its beats, its quality and what is refused.

    Parameters
    ----------
    recording, channels, recipe
        As for `biosig_mtl.look`.
    most
        Numbers that the page may hold. A longer recording is drawn by the least and largest value of stretches, and the page
        says how long these are.

    Raises
    ------
    DataError
        The recording cannot be read or is empty.
    RecipeError
        Wrong words, or a recipe that does not fit the channels.
    """
    if most < 1000:
        raise RecipeError(f"most: need 1000 numbers or more, got {most}")
    entry = entry_of(recording, channels)
    source = open_source(entry)
    if not source.channels or source.duration_s <= 0:
        raise DataError(f"{entry.path}: the recording is empty")
    names = list(source.channels)[:MOST_CHANNELS]
    made = _Made(source, plan_for(source, entry, recipe), names, most // len(names))
    more = len(source.channels) - len(names)
    content = {
        "title": entry.record,
        "length": source.duration_s,
        "channels": [made.channel(name) for name in names],
        "notes": [*made.notes, *([f"{more} more channels are not drawn; name those wanted"] if more else [])],
    }
    return Page(entry.record, _rendered(content), len(names))


def _rendered(content: dict[str, Any]) -> str:
    from markupsafe import Markup

    # "<" is the one letter by which a name could leave the script that holds the data.
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return template("browse.html.j2").render(title=content["title"], notes=content["notes"], data=Markup(data))


class _Made:
    """What a page needs of every channel, gathered over the recording piece by piece."""

    def __init__(self, source: Source, plan: Plan, names: list[str], budget: int) -> None:
        self._source = source
        self._parts: dict[str, list[F32]] = {name: [] for name in names}
        self._beats: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
        self._quality: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
        self._refused: dict[str, list[tuple[float, float, str]]] = {name: [] for name in names}
        size = {name: round(source.duration_s * source.channels[name].fs) for name in names}
        # Samples that become one pair of least and largest; 1: every sample is kept.
        self._factor = {name: 1 if n <= budget else math.ceil(2 * n / budget) for name, n in size.items()}
        self.notes: dict[str, None] = dict.fromkeys(plan.notes)
        for begin in np.arange(0.0, source.duration_s, PIECE_S).tolist():
            self._add(plan, begin, min(begin + PIECE_S, source.duration_s))

    def _add(self, plan: Plan, begin: float, end: float) -> None:
        raw, record = described(self._source, plan, begin, end)
        self.notes |= dict.fromkeys(raw.notes)
        for name, parts in self._parts.items():
            channel = raw.channels[name]
            first, last = (round(s * channel.fs) - round(raw.start_s * channel.fs) for s in (begin, end))
            parts.append(_envelope(channel.samples[first:last], self._factor[name]))
            beats, track = own(record, record.beats, name), own(record, record.quality, name)
            if beats is not None:
                at = beats.peak / beats.fs + raw.start_s
                self._beats[name].append(at[(at >= begin) & (at < end)])
            if track is not None:
                lead = round(begin - record.start_s)
                self._quality[name].append(known_quality(track)[lead : lead + math.ceil(end - begin)])
            for one in refused_stretches(channel, raw, record, (begin, end)):
                self._refuse(name, one.start_s, one.stop_s, one.reason)

    def _refuse(self, name: str, start: float, stop: float, reason: str) -> None:
        """Keep a refused stretch; one that goes on over the seam of two pieces is one."""
        told = self._refused[name]
        if told and told[-1][2] == reason and abs(told[-1][1] - start) < 1e-6:
            start = told.pop()[0]
        told.append((start, stop, reason))

    def channel(self, name: str) -> dict[str, Any]:
        """Return a channel as the page reads it."""
        info, factor = self._source.channels[name], self._factor[name]
        values = np.concatenate(self._parts[name])
        low, step, whole = _quantised(values)
        beats = np.concatenate(self._beats[name]) if self._beats[name] else np.empty(0)
        quality = np.concatenate(self._quality[name]) if self._quality[name] else np.empty(0)
        coded = np.where(np.isnan(quality), NO_QUALITY, np.round(100 * np.nan_to_num(quality))).astype(np.uint8)
        return {
            "name": name,
            "unit": info.unit,
            "fs": info.fs,
            "factor": factor,
            "low": low,
            "step": step,
            "data": _text(whole.astype("<i2")),
            "beats": _text(np.round(1000 * beats).astype("<i4")),
            "quality": _text(coded),
            "refused": [[round(a, 3), round(b, 3), why] for a, b, why in self._refused[name]],
        }


def _envelope(samples: F32, factor: int) -> F32:
    """Return samples as they are, or the least and largest of every ``factor`` of them, one after the other; NaN where none."""
    if factor == 1 or not samples.size:
        return samples
    edges = np.arange(0, samples.size, factor)
    known = np.isfinite(samples)
    low = np.minimum.reduceat(np.where(known, samples, np.float32(np.inf)), edges)
    high = np.maximum.reduceat(np.where(known, samples, np.float32(-np.inf)), edges)
    pairs = np.stack([low, high], axis=1).ravel()
    return np.where(np.isfinite(pairs), pairs, np.float32(np.nan)).astype(np.float32)


def _quantised(values: F32) -> tuple[float, float, NDArray[np.int16]]:
    """Return offset, step and whole numbers −32,000 … 32,000, so that value = offset + step · number."""
    known = np.isfinite(values)
    if not known.any():
        return 0.0, 1.0, np.full(values.size, UNKNOWN, np.int16)
    low, high = float(values[known].min()), float(values[known].max())
    middle, step = (low + high) / 2, max((high - low) / 64_000, 1e-12)
    whole = np.full(values.size, UNKNOWN, np.int16)
    whole[known] = np.round((values[known].astype(np.float64) - middle) / step).astype(np.int16)
    return middle, step, whole


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
