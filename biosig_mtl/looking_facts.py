"""What is told of each channel of a look: counts, rates, quality, and the stretches that are refused with their reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np

from biosig_mtl.plots_recording import Stretch
from biosig_mtl.types import EMPTY, I64, Beats, Channel, Quality, Record
from biosig_mtl.windows.grid import Grid, Limits, faults

T = TypeVar("T", Beats, Quality)

# A second is refused by the rules for windows, with the least quality that the shipped recipes ask for.
LIMITS = Limits(min_sqi=0.3)
MISSING = "missing"
WORDS = {"missing samples (NaN)": MISSING, "missing channel: holds no samples": MISSING, "saturated or clipped": "saturated"}


@dataclass(frozen=True, slots=True)
class Facts:
    """A channel in figures, of the stretch that is drawn. ``rejected`` gives the share of it by reason,
    and is None where a recipe's windows are judged instead, all channels at once.

    ``beats`` is None where none were looked for; ``rate`` (per minute, median) and ``sqi`` (median) are NaN where unknown;
    ``reversed_share`` is that of the beats which point down.
    """

    name: str
    source_name: str
    unit: str
    fs: float
    beats: int | None
    rate: float
    sqi: float
    rejected: Mapping[str, float] | None = field(default_factory=lambda: EMPTY)
    reversed_share: float = 0.0

    def line(self) -> str:
        """Return the facts as one line."""
        parts = [f"{self.fs:.6g} Hz"]
        if self.source_name not in {"", self.name}:
            parts.insert(0, self.source_name)
        parts += [f"in {self.unit}"] if self.unit else []
        if self.beats is not None:
            parts.append(f"{self.beats} beat{'' if self.beats == 1 else 's'}{self._rate()}")
        if math.isfinite(self.sqi):
            parts.append(f"quality {self.sqi:.2f}")
        if self.reversed_share > 0.5:
            parts.append("reversed (points down)")
        if self.rejected is not None and (self.rejected or self.beats is not None):
            parts.append(self.refusal())
        return ", ".join(parts)

    def refusal(self) -> str:
        """Return the share that is refused, with its reasons."""
        if not self.rejected:
            return "nothing rejected" if self.rejected is not None else ""
        reasons = "; ".join(f"{_percent(share)} {reason}" for reason, share in self.rejected.items())
        return f"rejected {reasons}"

    def _rate(self) -> str:
        return f" ({self.rate:.0f} per minute)" if math.isfinite(self.rate) else ""


def _percent(share: float) -> str:
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def own(record: Record, values: Mapping[str, T], name: str) -> T | None:
    """Return the value of a channel, or of one that was made from it; the one with points, of several."""
    mine = [values[key] for key in values if _root(record, getattr(values[key], "channel", key)) == name]
    return max(mine, key=lambda one: len(getattr(one, "points", ())), default=None)


def _root(record: Record, name: str) -> str:
    seen = {name}
    while name in record.channels and record.channels[name].source_name in record.channels:
        name = record.channels[name].source_name
        if name in seen:
            break
        seen.add(name)
    return name


def describe(
    channel: Channel,
    origin_s: float,
    beats: Beats | None,
    track: Quality | None,
    refused: Sequence[Stretch] | None,
    span: tuple[float, float],
) -> Facts:
    """Return the facts of a channel in the stretch ``span``; beats and track count from ``origin_s``."""
    count, rate, down = None, math.nan, 0.0
    if beats is not None:
        peak_s = origin_s + beats.peak / beats.fs
        inside = (peak_s >= span[0]) & (peak_s < span[1])
        whole = inside & (beats.end >= 0)
        count = int(inside.sum())
        if whole.any():
            rate = float(60 * beats.fs / np.median((beats.end - beats.onset)[whole]))
        down = float(np.mean(beats.polarity[inside] < 0)) if count else 0.0
    return Facts(
        name=channel.name,
        source_name=channel.source_name,
        unit=channel.unit,
        fs=channel.fs,
        beats=count,
        rate=rate,
        sqi=_median(track, origin_s, span),
        rejected=None if refused is None else shares(refused, span),
        reversed_share=down,
    )


def _median(track: Quality | None, origin_s: float, span: tuple[float, float]) -> float:
    if track is None:
        return math.nan
    start = origin_s + np.arange(track.sqi.size) / track.fs
    inside = track.sqi[(start + 1 / track.fs > span[0]) & (start < span[1])]
    return float(np.median(inside)) if inside.size else math.nan


def shares(refused: Sequence[Stretch], span: tuple[float, float]) -> dict[str, float]:
    """Return the share of the stretch that each reason takes, the largest first; overlapping stretches count once."""
    found: dict[str, float] = {}
    for reason in dict.fromkeys(s.reason for s in refused):
        reached, total = span[0], 0.0
        for one in sorted((s for s in refused if s.reason == reason), key=lambda s: s.start_s):
            start, stop = max(one.start_s, reached), min(one.stop_s, span[1])
            total += max(stop - start, 0.0)
            reached = max(reached, stop)
        if total > 0:
            found[reason] = total / (span[1] - span[0])
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def refused_stretches(channel: Channel, raw: Record, record: Record, span: tuple[float, float]) -> tuple[Stretch, ...]:
    """Return where a channel is refused in the stretch ``span``: missing to the sample, the rest by the rules for windows.

    Parameters
    ----------
    channel, raw
        As it was recorded, with the record it is of.
    record
        After the steps, with quality.
    span
        Seconds of the recording.
    """
    fs, origin = channel.fs, round(raw.start_s * channel.fs)
    first, last = (int(np.clip(round(s * fs) - origin, 0, channel.samples.size)) for s in span)
    seconds, words = _seconds(channel, raw, record)
    # One number a sample: 0 is kept, 1 missing, then the reasons of its second.
    at = np.searchsorted(seconds, np.arange(first, last) + origin, side="right") - 1
    inside = (at >= 0) & (np.arange(first, last) + origin < np.append(seconds, 0)[at] + fs)
    named = [MISSING, *dict.fromkeys(word for word in words if word)]
    codes = np.array([named.index(word) + 1 if word else 0 for word in words] + [0])
    code = np.where(inside, codes[at], 0)
    code[~np.isfinite(channel.samples[first:last])] = 1
    edges = np.flatnonzero(np.diff(code, prepend=-1, append=-1))
    return tuple(
        Stretch((origin + first + a) / fs, (origin + first + b) / fs, named[code[a] - 1])
        for a, b in pairwise(edges.tolist())
        if code[a]
    )


def _seconds(channel: Channel, raw: Record, record: Record) -> tuple[I64, list[str]]:
    """Return the first sample, counted in the recording, of every whole second, and why it is refused ("": it is not)."""
    fs, size = channel.fs, max(math.floor(channel.fs), 1)
    onset = np.arange(math.ceil(raw.start_s), math.floor(raw.start_s + channel.samples.size / fs + 1e-9), dtype=np.float64)
    place = np.rint(onset * fs).astype(np.int64) - round(raw.start_s * fs)
    inside = (place >= 0) & (place + size <= channel.samples.size)
    grid = Grid(place[inside], size, fs, onset[inside])
    reason = np.full(grid.first.size, "", dtype=object)
    # The channel as it was recorded: a step may have given it another rate.
    for bad, why in faults(record.with_channel(channel), channel.name, grid, LIMITS):
        word = _word(why, channel.name)
        if word != MISSING:
            reason[bad & (reason == "")] = word
    return grid.first + round(raw.start_s * fs), reason.tolist()


def _word(reason: str, name: str) -> str:
    plain = reason.replace(f" in {name}", "").replace(f" {name}", "")
    return WORDS.get(plain, plain)
