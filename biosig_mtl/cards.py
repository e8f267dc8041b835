"""How nouns show themselves in a notebook: a heading and a small table, as HTML that loads nothing.

Every word from a recording is escaped. Colours are the reader's own (``currentColor``), so that light and dark both work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from biosig_mtl.types import Channel, Features, Quality, Record, Scores, Windows, WindowTable

WIDTH, HEIGHT = 160, 24
MOST_ROWS = 24
_CELL = "padding:2px 10px 2px 0;text-align:left;white-space:nowrap"
_NOTE = "opacity:.75;margin:2px 0"


class Drawn(str):
    """Markup of ours, which is not escaped again."""

    __slots__ = ()


# ----------------------------------------------------------------------------------------------------------------- parts
def card(title: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()) -> str:
    """Return a heading, a table and notes as HTML.

    Parameters
    ----------
    title
        Heading.
    rows
        One mapping a row with the same words each; those beyond `MOST_ROWS` are counted, not shown.
    notes
        Sentences below.

    >>> card("a < b", [{"unit": "mV"}])[:23]
    '<div><b>a &lt; b</b><ta'
    """
    more = [f"… and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    body = ""
    if rows:
        head = "".join(f"<th style='{_CELL}'>{escape(word)}</th>" for word in rows[0])
        lines = "".join(f"<tr>{''.join(_cell(v) for v in row.values())}</tr>" for row in rows[:MOST_ROWS])
        body = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    told = "".join(f"<div style='{_NOTE}'>{escape(note)}</div>" for note in [*more, *notes])
    return f"<div><b>{escape(title)}</b>{body}{told}</div>"


def _cell(value: Any) -> str:
    return f"<td style='{_CELL}'>{value if isinstance(value, Drawn) else escape(str(value))}</td>"


def spark(samples: NDArray[np.floating]) -> Drawn:
    """Return a signal (sample,) as a tiny drawing: the least and largest value of each of 160 columns, gaps left out."""
    if not samples.size:
        return Drawn("–")
    edges = np.linspace(0, samples.size, min(WIDTH, samples.size) + 1).astype(np.int64)[:-1]
    known = np.isfinite(samples)
    low = np.minimum.reduceat(np.where(known, samples, np.inf), edges)
    high = np.maximum.reduceat(np.where(known, samples, -np.inf), edges)
    there = np.isfinite(low)
    if not there.any():
        return Drawn("–")
    base, span = low[there].min(), max(float(high[there].max() - low[there].min()), 1e-12)
    y = [HEIGHT - 1 - (HEIGHT - 2) * (ends - base) / span for ends in (low, high)]
    x = np.linspace(0, WIDTH, edges.size, endpoint=False)
    path = "".join(f"M{x[i]:.0f} {y[0][i]:.1f}L{x[i] + 0.8:.1f} {y[1][i]:.1f}" for i in np.flatnonzero(there))
    return _drawing(f'<path d="{path}" stroke="currentColor" fill="none" stroke-width="0.9"/>')


def _bars(counts: NDArray[np.integer]) -> Drawn:
    """Return a histogram as a tiny drawing."""
    top, wide = max(int(counts.max(initial=0)), 1), WIDTH / max(counts.size, 1)
    each = [
        f'<rect x="{i * wide:.1f}" y="{HEIGHT * (1 - n / top):.1f}" width="{wide * 0.85:.1f}" height="{HEIGHT * n / top:.1f}"/>'
        for i, n in enumerate(counts.tolist())
    ]
    return _drawing(f'<g fill="currentColor" opacity=".7">{"".join(each)}</g>')


def _drawing(content: str) -> Drawn:
    return Drawn(f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{content}</svg>')


def long(seconds: float) -> str:
    """Return a length of time for people.

    >>> long(8.0), long(754.0), long(90_000.0)
    ('8 s', '12 min 34 s', '25 h 0 min')
    """
    if seconds < 120:
        return f"{seconds:.4g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


# ----------------------------------------------------------------------------------------------------------------- nouns
def of_channel(channel: Channel) -> dict[str, Any]:
    """Return a row about a channel."""
    missing = float(np.mean(~np.isfinite(channel.samples))) if channel.samples.size else 1.0
    return {
        "channel": channel.name,
        "kind": channel.kind,
        "unit": channel.unit,
        "rate": f"{channel.fs:g} Hz",
        "length": long(channel.samples.size / channel.fs),
        "missing": f"{100 * missing:.1f} %" if missing else "none",
        "signal": spark(channel.samples),
    }


def of_record(record: Record) -> str:
    """Return a recording: a row a channel, with what the steps found in it."""
    rows = []
    for channel in record.channels.values():
        beats, track = record.beats.get(channel.name), record.quality.get(channel.name)
        found = {"beats": "–" if beats is None else len(beats), "quality": _quality(track)}
        rows.append({**of_channel(channel), **(found if record.beats or record.quality else {})})
    known = ", ".join(f"{name} {value:g}" for name, value in record.demographics.items())
    notes = [*([known] if known else []), *[f"note: {note}" for note in record.notes]]
    if record.seams_s.size:
        notes.append(f"{record.seams_s.size} seams that no window crosses")
    start = f", from {record.start_s:g} s on" if record.start_s else ""
    return card(f"Record {record.name} of {record.subject}{start}", rows, notes)


def _quality(track: Quality | None) -> str:
    return "–" if track is None or not np.isfinite(track.sqi).any() else f"{np.nanmedian(track.sqi):.2f}"


def of_targets(targets: NDArray[np.floating], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a target, (window, target) with NaN where unknown."""
    rows = []
    for name, column in zip(names, targets.T, strict=True):
        known = column[np.isfinite(column)]
        row: dict[str, Any] = {"target": name, "known": known.size, "mean": "–", "spread": "–", "range": "–", "": Drawn("")}
        if known.size:
            row |= {"mean": _number(float(known.mean())), "spread": _number(float(known.std()))}
            row |= {"range": f"{known.min():.1f} to {known.max():.1f}", "": _bars(np.histogram(known, 24)[0])}
        rows.append(row)
    return rows


def of_windows(windows: Windows) -> str:
    """Return the windows of a record: targets, channels, and why others were refused."""
    why = [r.reason for r in windows.rejected]
    length = windows.signal.shape[2] / windows.fs if windows.fs else 0.0
    notes = [f"channels at {windows.fs:g} Hz: {', '.join(windows.channels)}"]
    notes += [f"refused {why.count(reason)} × {reason}" for reason in dict.fromkeys(why)]
    title = f"{len(windows)} windows of {length:g} s of {windows.record}"
    return card(title, of_targets(windows.targets, windows.target_names), notes)


def of_features(features: Features) -> str:
    """Return what a model may see, a row a family of features."""
    family = np.array([name.partition(".")[0] for name in features.names], dtype=str)
    rows = []
    for one in dict.fromkeys(family.tolist()):
        mine = features.values[:, family == one]
        unknown = 100 * float(np.mean(np.isnan(mine))) if mine.size else 0.0
        rows.append({"family": one, "features": mine.shape[1], "unknown": f"{unknown:.0f} %"})
    waves = [f"waveform {', '.join(features.waveform_channels)}"] if features.waveform_channels else []
    waves += [f"track {name}: {', '.join(track.channels)} at {track.fs:g} Hz" for name, track in features.tracks.items()]
    return card(f"{len(features.values)} windows, {len(features.names)} features", rows, waves)


def of_table(table: WindowTable) -> str:
    """Return a window table: how many windows and people, and the targets."""
    people, records = (table.index[word].nunique() for word in ("subject", "record"))
    unknown = 100 * float(np.mean(np.isnan(table.values))) if table.values.size else 0.0
    notes = [f"{len(table.names)} features ({unknown:.0f} % unknown); waveform {', '.join(table.waveform_channels) or 'none'}"]
    title = f"{len(table)} windows of {people} people in {records} recordings"
    return card(title, of_targets(np.asarray(table.targets), table.target_names), notes)


def of_scores(scores: Scores) -> str:
    """Return a graded run: each target beside its best baseline, its interval and the audit."""
    content = scores.content
    rows = [_scored(name, target) for name, target in content.get("targets", {}).items()]
    audit = content.get("audit") or {}
    failed = [check["name"] for check in audit.get("checks", ()) if not check["passed"]]
    verdict = "audit passed" if audit.get("passed") else f"AUDIT FAILED ({', '.join(failed)}): do not believe these numbers"
    stamps = [f"[{', '.join(map(str, stamps))}]"] if (stamps := content.get("stamps")) else []
    people = f"{content.get('n_windows', '?')} windows of {content.get('n_subjects', '?')} people"
    title = f"{content.get('model')} on {content.get('dataset')}, {content.get('protocol')}"
    return card(title, rows, [*stamps, f"{people}; {verdict}. Research use only."])


def _scored(name: str, target: Mapping[str, Any]) -> dict[str, Any]:
    figure = "balanced_accuracy" if "balanced_accuracy" in target else "mae"
    digits = 2 if figure == "balanced_accuracy" or target.get("unit") != "mmHg" else 1
    value, ends = target.get(figure), target.get(f"{figure}_ci95") or (math.nan, math.nan)
    paired = target.get("paired") or {}
    low, high = (math.nan if end is None else float(end) for end in ends)
    return {
        "target": name,
        figure.replace("_", " "): f"{_number(math.nan if value is None else value, digits)} {target.get('unit') or ''}".strip(),
        "95 % interval": f"{_number(low, digits)} to {_number(high, digits)}" if math.isfinite(low) else "–",
        "of the median's": _number(target["mase"], 2) if target.get("mase") is not None else "–",
        "beside the best baseline": f"{paired['verdict']} ({paired['best_baseline']})" if paired.get("verdict") else "–",
    }
