"""A look at a recording: what the signal steps see in a stretch of it, as a picture and a line a channel.

Only the stretch and the context that the steps need are read, so that a look into a day is quick and shows the beats that the
whole would give. (The module is not called ``look``: that is the function's name at the front door.)
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from biosig_mtl import plots_layout, plots_recording, signal, windows
from biosig_mtl import recipe as recipes
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.looking_facts import Facts, describe, own, refused_stretches
from biosig_mtl.plots_recording import Panel, Stage, Stretch
from biosig_mtl.types import F32, F64, Beats, BiosigError, ChannelInfo, DataError, Entry, Quality, RecipeError, Record, Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from biosig_mtl.pipeline import Preparation

LENGTH_S = 20.0
# The quality of the whole is shown without being asked for up to here.
OVERVIEW_S = 3600.0
PIECE_S = 1800.0
NEARLY_ALL = 0.95
SEARCH_S = 60.0
MOST_CHANNELS = 32
BANDS_HZ = {"ppg": (0.5, 12.0), "ecg": (0.5, 40.0)}
BEATING = ("ppg", "ecg", "abp")
# Share of the sampling rate that the upper corner may have.
HIGHEST_SHARE = 0.4
FILTERED = "filtered"

Names = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Plan:
    """What is done with a recording: steps, and windows where a recipe says so."""

    steps: tuple[signal.Step, ...]
    preparation: Preparation | None = None
    name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def reach_s(self) -> float:
        """Context on either side in whole seconds."""
        return self.preparation.reach_s if self.preparation is not None else float(math.ceil(signal.context_s(self.steps)))


@dataclass(frozen=True)
class View:
    """A look, before it is drawn."""

    record: str
    stage: Stage
    facts: tuple[Facts, ...]

    def lines(self) -> list[str]:
        """Return what is drawn, a line a channel, and what the reader noted."""
        notes = [note if note.startswith(("windows", "no ")) else f"note: {note}" for note in self.stage.notes]
        return [self.stage.title, *(f"{one.name}: {one.line()}" for one in self.facts), *notes]


def look(
    recording: str | Path | Entry,
    start_s: float | None = None,
    length_s: float | None = None,
    *,
    channels: Names | None = None,
    recipe: str | Path | None = None,
    overview: bool | None = None,
) -> Figure:
    """Draw a stretch of a recording with its beats, fiducials, quality and what is refused.

    Parameters
    ----------
    recording
        A file in any readable format, or an `Entry` where its reader needs options
        (``entry_for(path, options={"fs_hz": 100})``).
    start_s, length_s
        The stretch, in seconds from the start of the recording. Default: 20 s, from where there is a signal.
    channels
        Our channel names to those in the file, e.g. ``{"ppg": "Finger"}``; only these are read. Default: guessed by name.
    recipe
        A recipe whose signal steps and windows are used, instead of steps that suit each kind of channel.
    overview
        Show the quality of the whole recording below. Default: of recordings of at most an hour.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook shows it by itself; ``savefig`` writes it.

    Raises
    ------
    DataError
        The recording cannot be read, or has nothing in this stretch.
    RecipeError
        Wrong words, or a recipe that does not fit the channels.
    """
    seen = view(recording, start_s, length_s, channels=channels, recipe=recipe, overview=overview)
    return plots_recording.draw(seen.stage)


def view(
    recording: str | Path | Entry,
    start_s: float | None = None,
    length_s: float | None = None,
    *,
    channels: Names | None = None,
    recipe: str | Path | None = None,
    overview: bool | None = None,
) -> View:
    """Return what `look` draws, with its facts in words; the arguments are those of `look`."""
    _check(start_s, length_s)
    entry = entry_of(recording, channels)
    if "fs_hz" in entry.options and entry.format != "table":
        raise RecipeError(f"{entry.path}: fs_hz is for tables; a file of this format tells its rates itself")
    source = open_source(entry)
    if not source.channels or source.duration_s <= 0:
        raise DataError(f"{entry.path}: the recording is empty")
    plan = plan_for(source, entry, recipe)
    start, stop = _stretch(source, entry, start_s, length_s)
    whole = overview if overview is not None else source.duration_s <= OVERVIEW_S
    tracks = _overview(source, plan, start, stop) if whole else {}
    raw, described, boxes = _worked(source, plan, start, stop)
    return _composed(source, plan, (start, stop), (raw, described, boxes), tracks)


def write(seen: View, out: Path) -> Path:
    """Draw a look into a ``.png`` or a self-contained ``.html``, by the suffix; raise one-line errors."""
    from biosig_mtl.looking_page import page

    if out.suffix.lower() not in {".png", ".html", ".htm"}:
        raise RecipeError(f"{out}: a look is written as .png or .html")
    figure = plots_recording.draw(seen.stage)
    content = plots_layout.png(figure)
    if out.suffix.lower() != ".png":
        content = page(seen.stage.title, plots_layout.svg(figure), seen.facts, seen.stage.notes).encode()
    return put(out, content)


def put(out: Path, content: bytes) -> Path:
    """Write a whole file or none; raise `DataError` where that cannot be done."""
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    return out


def place_for(recording: Path, seen: View) -> Path:
    """Return where a look goes if nobody says: into the current folder, but never beside the data."""
    return unasked(recording, f"{seen.record}.png")


def unasked(recording: Path, name: str) -> Path:
    """Return a file's place in the current folder; raise `RecipeError` where that is the folder of the recording."""
    if Path.cwd() == recording.resolve().parent:
        raise RecipeError(f"{recording}: nothing is written beside data unasked; say where, e.g. --out {name}")
    return Path(name)


# ------------------------------------------------------------------------------------------------------------ what is asked
def _check(start_s: float | None, length_s: float | None) -> None:
    if start_s is not None and not 0 <= start_s < math.inf:
        raise RecipeError(f"start: need a time from 0 on, in seconds, got {start_s:g}")
    if length_s is not None and not 0 < length_s < math.inf:
        raise RecipeError(f"length: need a length above 0, in seconds, got {length_s:g}")


def entry_of(recording: str | Path | Entry, channels: Names | None) -> Entry:
    """Return a recording's entry with the channels that are asked for."""
    wanted = {ours: (names,) if isinstance(names, str) else tuple(names) for ours, names in (channels or {}).items()}
    if isinstance(recording, Entry):
        return replace(recording, channels={**recording.channels, **wanted})
    return entry_for(recording, channels=wanted)


def _stretch(source: Source, entry: Entry, start_s: float | None, length_s: float | None) -> tuple[float, float]:
    duration = source.duration_s
    length = LENGTH_S if length_s is None else length_s
    # A short recording is drawn whole, even if its signal begins late.
    first = 0.0 if start_s is not None or duration <= length else _first_signal(source)
    start = first if start_s is None else start_s
    if start >= duration:
        raise DataError(f"{entry.path}: is {duration:g} s long, there is nothing from {start:g} s on")
    return start, min(start + length, duration)


def _first_signal(source: Source) -> float:
    """Return the second in which some channel begins to move; 0 where none ever does."""
    begin, size = 0.0, SEARCH_S
    while begin < source.duration_s:
        record = source.read(begin, begin + size)
        found = [_moves(c.samples) / c.fs for c in record.channels.values()]
        if found and min(found) < math.inf:
            return float(math.floor(record.start_s + min(found)))
        begin, size = begin + size, min(2 * size, PIECE_S)
    return 0.0


def _moves(samples: F32) -> float:
    known = np.flatnonzero(np.isfinite(samples))
    other = known[samples[known] != samples[known[0]]] if known.size else known
    return float(other[0]) if other.size else math.inf


# ------------------------------------------------------------------------------------------------------------- what is done
def plan_for(source: Source, entry: Entry, recipe: str | Path | None) -> Plan:
    """Return what is done with a recording; raise `RecipeError` where a recipe does not fit its channels."""
    if recipe is None:
        return default_plan(source.channels)
    # Features come with it, and a look without a recipe has no use for them.
    from biosig_mtl import pipeline

    read = recipes.load(recipe)
    made = pipeline.preparation(read)
    if made.windowing.reference not in source.channels:
        made = made.unlabelled()
    present = dict(source.channels)
    try:
        for step in made.steps:
            present = dict(step.plan(present))
    except BiosigError as error:
        raise type(error)(f"{entry.path}: recipe {read.name}: {error} (name channels with --channel OURS=THEIRS)") from error
    return Plan(made.steps, made, read.name)


def default_plan(channels: Mapping[str, ChannelInfo]) -> Plan:
    """Return steps that suit the channels, as far as their kinds and rates allow; what cannot be done is noted.

    PPG 0.5–12 Hz and ECG 0.5–40 Hz (less where the rate is low), the pressure as it is; then beats, points and quality.
    """
    steps: list[signal.Step] = []
    notes = []
    taken = set(channels)
    for info in channels.values():
        mine, why = _suiting(info, taken)
        taken |= {step.name for step in mine if isinstance(step, signal.Bandpass)}
        steps += mine
        notes += [why] if why else []
    # By kind of step, not by channel: steps of one kind in a row share their context.
    order = list(signal.STEPS.values())
    return Plan(tuple(sorted(steps, key=lambda step: order.index(type(step)))), notes=tuple(notes))


def _suiting(info: ChannelInfo, taken: set[str]) -> tuple[list[signal.Step], str]:
    """Return the steps for a channel; none, and why, where its beats cannot be found."""
    if info.kind not in BEATING:
        return [], ""
    name, steps, present = info.name, list[signal.Step](), {info.name: info}
    low, high = BANDS_HZ.get(info.kind, (0.0, 0.0))
    high = min(high, HIGHEST_SHARE * info.fs)
    if high > 2 * low > 0:
        while name in taken:
            name = f"{name} {FILTERED}"
        steps.append(signal.Bandpass(info.name, name, low, high))
        present |= steps[0].plan(present)
    try:
        signal.DetectBeats(name).plan(present)
    except RecipeError as error:
        return [], f"{info.name}: no beats are looked for: {error}"
    steps.append(signal.DetectBeats(name))
    # Points are not known of every kind.
    with contextlib.suppress(RecipeError):
        signal.DetectFiducials(name).plan(present)
        steps.append(signal.DetectFiducials(name))
    return [*steps, signal.AssessQuality(name, raw=info.name)], ""


def described(source: Source, plan: Plan, start: float, stop: float) -> tuple[Record, Record]:
    """Read a stretch (seconds) with its context; return it as it was recorded, and with what the steps found."""
    # From a whole second on: quality is told for whole seconds of what was read.
    raw = source.read(max(0.0, math.floor(start - plan.reach_s)), stop + plan.reach_s)
    record = raw
    for step in plan.steps:
        record = step(record)
    return raw, record


def _worked(source: Source, plan: Plan, start: float, stop: float) -> tuple[Record, Record, tuple[Stretch, ...]]:
    raw, record = described(source, plan, start, stop)
    made = plan.preparation
    if made is None:
        return raw, record, ()
    length = made.windowing.length_s
    cut = windows.cut(record, made.windowing, made.task, (max(0.0, start - length), stop))
    kept = [(float(onset), "") for onset in cut.onset_s]
    refused = [(r.onset_s, r.reason) for r in cut.rejected if math.isfinite(r.onset_s)]
    boxes = [Stretch(onset, onset + length, why) for onset, why in sorted([*kept, *refused]) if onset + length > start]
    return raw, record, tuple(boxes)


def _overview(source: Source, plan: Plan, start: float, stop: float) -> dict[str, F64]:
    """Return the quality of every second of the recording by channel; none where nearly all is drawn anyway."""
    if stop - start > NEARLY_ALL * source.duration_s or not plan.steps:
        return {}
    tracks: dict[str, list[F64]] = {}
    for begin in np.arange(0.0, source.duration_s, PIECE_S).tolist():
        end = min(begin + PIECE_S, source.duration_s)
        _, record = described(source, plan, begin, end)
        lead, size = round(begin - record.start_s), math.ceil(end - begin)
        for name in source.channels:
            track = own(record, record.quality, name)
            if track is not None:
                tracks.setdefault(name, []).append(plots_recording.known_quality(track)[lead : lead + size])
    return {name: np.concatenate(parts) for name, parts in tracks.items()}


def _composed(
    source: Source,
    plan: Plan,
    span: tuple[float, float],
    worked: tuple[Record, Record, tuple[Stretch, ...]],
    tracks: Mapping[str, F64],
) -> View:
    raw, record, boxes = worked
    facts, panels = [], []
    for name in list(raw.channels)[:MOST_CHANNELS]:
        beats: Beats | None = own(record, record.beats, name)
        track: Quality | None = own(record, record.quality, name)
        # The windows of a recipe are judged and drawn once, for all channels.
        refused = refused_stretches(raw.channels[name], raw, record, span) if plan.preparation is None else None
        one = describe(raw.channels[name], record.start_s, beats, track, refused, span)
        facts.append(one)
        panels.append(Panel(raw.channels[name], raw.start_s, f"{name}: {one.line()}", beats, track, refused or ()))
    more = len(raw.channels) - MOST_CHANNELS
    notes = [*raw.notes, *plan.notes, *([f"{more} more channels are not drawn; name those wanted"] if more > 0 else [])]
    title = f"{raw.name}: {span[0]:.6g}–{_rounded(span[1])} s of {_long(source.duration_s)}"
    if plan.preparation is not None:
        notes.append(_verdict(plan.name, boxes))
    stage = Stage(title, *span, tuple(panels), tuple(notes), raw.seams_s, boxes, tracks)
    return View(raw.name, stage, tuple(facts))


def _verdict(recipe: str, boxes: Sequence[Stretch]) -> str:
    """Return how many windows of a recipe are kept, and why the others are not."""
    refused = [box.reason for box in boxes if box.reason]
    reasons = "; ".join(f"{refused.count(why)} × {why}" for why in sorted(set(refused), key=lambda w: (-refused.count(w), w)))
    told = f"windows of recipe {recipe}: {len(boxes) - len(refused)} of {len(boxes)} kept" if boxes else ""
    return (told + (f"; refused {reasons}" if reasons else "")) or f"no window of recipe {recipe} fits into this stretch"


def _rounded(seconds: float) -> str:
    return f"{round(seconds, 1):.7g}"


def _long(seconds: float) -> str:
    return f"{_rounded(seconds)} s" + (f" ({plots_layout.clock_words(round(seconds))})" if seconds > 600 else "")
