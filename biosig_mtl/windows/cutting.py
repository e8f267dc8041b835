"""Windows: slices of fixed length on an absolute grid, with their targets, facts and beats; what is refused is counted.

Window *k* of a recording starts at ``k × stride_s`` from the start of the recording (from the end of the rest before the
stimulus, where it has one), whatever part of it is in memory: that is why a recording that is worked in pieces gives the
windows of the whole. Targets come from the reference channel (mean over complete, plausible beats) or from the labels that a
data set gives. Rejection is a step of its own: each refused window has one reason, the first that applies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.types import F64, Bool, DataError, Record, Rejected, Task, Track, WindowBeats, Windows, missing_channel
from biosig_mtl.windows.grid import Grid, Limits, Verdicts, beats_in, crosses_seam, faults, keep_beats, means_of, take_rows
from biosig_mtl.windows.identity import fingerprints
from biosig_mtl.windows.labels import ReferenceRules, reference_targets, reference_waveform
from biosig_mtl.windows.quality import Bounds, Means, check_bounds
from biosig_mtl.windows.ratings import record_targets, track_targets
from biosig_mtl.windows.trails import trail


@dataclass(frozen=True)
class Windowing:
    """How windows are cut and which are refused.

    ``channels`` are carried and must be good; ``optional`` ones are carried where they are good and are zero elsewhere.
    ``label`` says where targets come from: beats of the channel ``reference``, the ``record`` labels of the data set
    (``require_label: false`` keeps windows without any, for prediction), or its label channels: the mean over each window
    (``track``; ``steady_label`` refuses windows in which it changes). ``trails`` are channels, at their own rates, whose last
    so many seconds go with each window; a record without one of them has NaN there. ``reference_waveform`` keeps the waveform
    of ``reference`` beside each window, for networks that learn to tell it; it is never among their inputs.
    Shares (``max_flat``, ``max_clipped``) are of the window's length; ``min_sqi`` holds for every required channel. ``limits``
    gives the least and the greatest mean that any index of quality may have in a window (None: no limit), ``max_motion`` the
    greatest ``motion`` in g; an index that a channel does not have, or that is not known there, refuses nothing.
    ``min_beats`` counts complete beats of the channel ``beats``. Records shorter than ``min_record_s`` are refused whole.
    """

    length_s: float
    channels: tuple[str, ...]
    stride_s: float | None = None
    optional: tuple[str, ...] = ()
    label: Literal["reference", "record", "track"] = "reference"
    reference: str = "abp"
    require_label: bool = True
    steady_label: bool = False
    reference_waveform: bool = False
    trails: dict[str, float] = field(default_factory=dict)
    rules: ReferenceRules = field(default_factory=ReferenceRules)
    beats: str | None = None
    min_beats: int = 1
    min_record_s: float = 0.0
    min_sqi: float = 0.0
    max_flat: float = 0.2
    max_clipped: float = 0.2
    max_motion: float | None = None
    limits: Bounds = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if not (0 < self.length_s < math.inf and 0 < self.stride < math.inf):
            raise ValueError(f"need length_s > 0 and stride_s > 0, got {self.length_s}, {self.stride_s}")
        if not self.channels:
            raise ValueError("need at least one channel")
        if not 0 <= self.min_sqi <= 1:
            raise ValueError(f"need 0 <= min_sqi <= 1, got {self.min_sqi}")
        if self.max_motion is not None and not self.max_motion > 0:
            raise ValueError(f"need max_motion > 0, got {self.max_motion}")
        for name, seconds in self.trails.items():
            if not 0 < seconds < math.inf:
                raise ValueError(f"need a trail of more than 0 s, got {seconds} for {name}")
        check_bounds(self.limits)

    @property
    def stride(self) -> float:
        """Distance between onsets in seconds."""
        return self.length_s if self.stride_s is None else self.stride_s

    @property
    def allowed(self) -> Limits:
        """What a carried channel may be like."""
        motion: Bounds = {} if self.max_motion is None else {"motion": (None, self.max_motion)}
        return Limits(self.max_flat, self.max_clipped, self.min_sqi, {**self.limits, **motion})


def cut(record: Record, windowing: Windowing, task: Task, span: tuple[float, float] | None = None) -> Windows:
    """Cut a record into windows.

    Parameters
    ----------
    record
        With beats and quality written by earlier steps; its channels share one sampling rate.
    windowing
        Length, stride, channels, label rules.
    task
        Gives the targets.
    span
        Seconds of the recording in which windows may start; the record may reach further (context). Default: all of it.

    Returns
    -------
    Windows
        ``rejected`` has one row a refused window; a record that is too short has one row with NaN as its onset.

    Raises
    ------
    DataError
        A required channel is missing, the channels differ in rate, or the record is shorter than ``min_record_s``.
    """
    _require(record, windowing)
    if span is None and record.duration_s < windowing.min_record_s:
        raise DataError(f"record of {record.duration_s:g} s is shorter than the {windowing.min_record_s:g} s asked for")
    fs = record.channel(windowing.channels[0]).fs
    grid = _grid(record, windowing, fs, span)
    verdicts = Verdicts(grid.first.size)
    verdicts.refuse(crosses_seam(record, grid), "crosses a seam or gap between blocks")
    means = means_of(record, grid)
    usable = {name: _judge(means, name, grid, windowing, verdicts) for name in (*windowing.channels, *windowing.optional)}
    # Beats of a trail at a rate of its own go with the trail.
    beats = {name: beats_in(found, grid) for name, found in record.beats.items() if name in usable or found.fs == fs}
    if windowing.beats is not None:
        _refuse_few_beats(beats, windowing, grid, verdicts)
    targets, facts = _targets(record, windowing, task, grid, verdicts)
    keep = np.flatnonzero(verdicts.good)
    length_s = grid.samples / fs
    names = tuple(usable)
    signal = np.zeros((keep.size, len(names), grid.samples), np.float32)
    for j, name in enumerate(names):
        if name in record.channels:
            signal[:, j] = np.where(usable[name][keep, None], grid.cut(record.channels[name].samples)[keep], 0)
    kept = take_rows(grid, keep)
    facts |= means.facts()
    facts = {key: value[keep] for key, value in facts.items()} | _identity(record, windowing, kept)
    return Windows(
        record=record.name,
        subject=record.subject,
        session=record.session,
        fs=fs,
        onset_s=kept.onset_s,
        signal=signal,
        channels=names,
        kinds=tuple(record.channels[n].kind if n in record.channels else "absent" for n in names),
        sqi=np.stack([np.where(usable[n], means.sqi(n), 0)[keep] for n in names], axis=1).astype(np.float32),
        targets=targets[keep].astype(np.float32),
        target_names=task.target_names,
        beats={name: keep_beats(found, keep, grid.first.size, usable.get(name)) for name, found in beats.items()},
        facts=facts,
        demographics=record.demographics,
        timing_reliable=record.timing_reliable,
        stimulus=record.stimulus,
        rejected=_rejected(record, grid, verdicts, windowing, span),
        trails={name: trail(record, name, seconds, kept.onset_s + length_s) for name, seconds in windowing.trails.items()},
        reference=_reference(record, windowing, kept),
    )


def cut_rest(record: Record, windowing: Windowing, task: Task) -> Windows | None:
    """Return unlabelled windows of the rest before the stimulus, None where the record has none or nothing of it is usable.

    They are as long as the others, or as the rest itself where that is shorter, and end with it; each begins half a window
    before the next.
    """
    if record.baseline_s is None:
        return None
    start, stop = record.baseline_s
    length = min(windowing.length_s, stop - start)
    plain = replace(windowing, length_s=length, stride_s=length / 2, label="record", require_label=False, beats=None, trails={})
    plain = replace(plain, reference_waveform=False)
    onset = stop - length
    # Shifted so that the last window of the grid ends with the rest.
    moved = replace(record, start_s=record.start_s - onset, seams_s=record.seams_s - onset, baseline_s=None)
    first = math.ceil((start - onset) / plain.stride - 1e-9) * plain.stride
    found = cut(moved, plain, task, (first, 1e-6))
    return found if len(found) else None


def _require(record: Record, windowing: Windowing) -> None:
    needed = [*windowing.channels, *([windowing.reference] if windowing.label == "reference" else [])]
    for name in needed:
        if name not in record.channels:
            raise missing_channel(record.name, name, record.channels)
    told = [windowing.reference] if windowing.reference_waveform else []
    carried = [n for n in (*needed, *windowing.optional, *told) if n in record.channels]
    rates = {n: record.channels[n].fs for n in carried}
    # Beats of other channels stay out of the windows where their rate is another; those of a trail go with it.
    rates |= {f"beats of {n}": b.fs for n, b in record.beats.items() if n in carried or n == windowing.beats}
    if len(set(rates.values())) > 1:
        text = ", ".join(f"{name} {fs:g} Hz" for name, fs in rates.items())
        raise DataError(f"{record.name}: need one rate for all channels, got {text}; put a 'resample' step first")


def _grid(record: Record, windowing: Windowing, fs: float, span: tuple[float, float] | None) -> Grid:
    length = math.floor(windowing.length_s * fs + 1e-6)
    if length < 1:
        raise DataError(f"{record.name}: windows of {windowing.length_s:g} s hold no sample at {fs:g} Hz")
    available = min(record.channels[n].samples.size for n in windowing.channels)
    start_s, stop_s = span if span is not None else (record.start_s, math.inf)
    origin_s = 0.0
    if record.baseline_s is not None:
        origin_s = record.baseline_s[1]
        start_s = max(start_s, origin_s)
    first_k = math.ceil((start_s - origin_s - 1e-9) / windowing.stride)
    last_s = min(stop_s - 1e-9, record.start_s + (available - length) / fs + 1e-9) - origin_s
    onset_s = origin_s + np.arange(first_k, max(first_k, math.floor(last_s / windowing.stride) + 1)) * windowing.stride
    # Rounded before the start is taken off: an onset between two samples falls on the same one in every part of a recording.
    first = np.rint(onset_s * fs).astype(np.int64) - round(record.start_s * fs)
    inside = (first >= 0) & (first + length <= available)
    return Grid(first[inside], length, fs, onset_s[inside].astype(np.float64))


def _judge(means: Means, name: str, grid: Grid, windowing: Windowing, verdicts: Verdicts) -> Bool:
    """Return where a channel is usable; windows in which a required channel is not are refused."""
    if name not in means.record.channels:
        return np.zeros(grid.first.size, bool)
    usable = np.ones(grid.first.size, bool)
    for bad, reason in faults(means.record, name, grid, windowing.allowed, means):
        usable &= ~bad
        if name in windowing.channels:
            verdicts.refuse(bad, reason)
    return usable


def _refuse_few_beats(beats: Mapping[str, WindowBeats], windowing: Windowing, grid: Grid, verdicts: Verdicts) -> None:
    found = beats.get(str(windowing.beats))
    count = np.zeros(grid.first.size, np.int64) if found is None else np.bincount(found.window, minlength=grid.first.size)
    verdicts.refuse(count < windowing.min_beats, f"too few complete beats in {windowing.beats}")


def _targets(
    record: Record, windowing: Windowing, task: Task, grid: Grid, verdicts: Verdicts
) -> tuple[F64, dict[str, NDArray[Any]]]:
    if windowing.label == "reference":
        return reference_targets(record, windowing.reference, windowing.channels[0], windowing.rules, grid, verdicts)
    if windowing.label == "track":
        return track_targets(record, task, grid, verdicts, steady=windowing.steady_label)
    return record_targets(record, task, grid, verdicts, required=windowing.require_label)


def _reference(record: Record, windowing: Windowing, grid: Grid) -> Track | None:
    if not windowing.reference_waveform:
        return None
    return reference_waveform(record, windowing.reference, windowing.rules, grid)


def _identity(record: Record, windowing: Windowing, grid: Grid) -> dict[str, NDArray[Any]]:
    """Return what lets the audit find equal and overlapping windows: a content hash and content-defined fingerprints.

    With them go when the record begins in its session, and whom it is of by a tighter id, where that is known.
    """
    raw = np.ascontiguousarray(grid.cut(record.channel(windowing.channels[0]).samples), dtype=np.float32)
    ids = [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in raw]
    known: dict[str, NDArray[Any]] = {}
    if record.session_s is not None:
        known["session_s"] = np.full(len(ids), record.session_s)
    if record.person:
        known["person"] = np.full(len(ids), record.person)
    return {"window_id": np.array(ids, dtype="U16"), "fingerprints": fingerprints(raw), **known}


def _rejected(
    record: Record, grid: Grid, verdicts: Verdicts, windowing: Windowing, span: tuple[float, float] | None
) -> tuple[Rejected, ...]:
    refused = np.flatnonzero(~verdicts.good)
    rows = [Rejected(record.name, float(grid.onset_s[i]), str(verdicts.reason[i])) for i in refused]
    if not grid.first.size and span is None:
        after = "record" if record.baseline_s is None else f"record after its rest up to {record.baseline_s[1]:g} s"
        rows.append(Rejected(record.name, math.nan, f"{after} shorter than one window of {windowing.length_s:g} s"))
    return tuple(rows)
