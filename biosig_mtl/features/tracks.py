"""Tracks: the waveform of each modality at its own rate, from channels of the windows or from trails."""

from __future__ import annotations

import numpy as np

from biosig_mtl.features.settings import FeatureSettings, TrackSettings
from biosig_mtl.features.waveform import resampled
from biosig_mtl.types import F32, RecipeError, Task, Track, Windows


def named(settings: FeatureSettings) -> tuple[str, ...]:
    """Return every channel and trail that a track is made of, once."""
    return tuple(dict.fromkeys(name for track in settings.tracks.values() for name in track.channels))


def tracks(windows: Windows, settings: FeatureSettings, task: Task) -> dict[str, Track]:
    """Return the waveform of every modality.

    A channel that is not usable in a window is NaN throughout that window, and so is a trail of which less than half is known;
    of a trail that is known for the most part, what is missing takes the mean of the rest of it.

    Raises
    ------
    RecipeError
        A channel is a reference of the task, is neither a channel of the windows nor a trail, or the channels of one track
        differ in rate or length.
    """
    return {name: _track(name, wanted, windows, task) for name, wanted in settings.tracks.items()}


def _track(name: str, wanted: TrackSettings, windows: Windows, task: Task) -> Track:
    found = [_source(channel, windows, task) for channel in wanted.channels]
    # A record that lacks a trail has no rate of its own there: it takes that of the others, or the one that is asked for.
    known = {(fs, x.shape[1]) for x, fs, kind in found if kind != "absent"}
    if len(known) > 1:
        told = ", ".join(f"{c} {fs:g} Hz × {x.shape[1]}" for c, (x, fs, _) in zip(wanted.channels, found, strict=True))
        raise RecipeError(f"features.tracks.{name}: need one rate and one length, got {told}; make a track of each")
    fs, size = known.pop() if known else _nominal(found, wanted)
    whole: F32 = np.full((len(windows), len(found), size), np.nan, np.float32)
    for k, (x, _, kind) in enumerate(found):
        if kind != "absent":
            whole[:, k] = x
    if wanted.hz is not None:
        # Told in full, for a record of which no window is kept has no samples to count.
        rows = resampled(whole.reshape(-1, size), fs, wanted.hz)
        whole = rows.reshape(len(windows), len(found), rows.shape[1])
    return Track(wanted.channels, wanted.hz or fs, np.ascontiguousarray(whole))


def _nominal(found: list[tuple[F32, float, str]], wanted: TrackSettings) -> tuple[float, int]:
    """Return rate and length of a track that a record lacks altogether; only seconds are known of it."""
    fs = wanted.hz or 1.0
    return fs, max(round(found[0][0].shape[1] / found[0][1] * fs), 1)


def _source(channel: str, windows: Windows, task: Task) -> tuple[F32, float, str]:
    """Return the samples of a channel or trail, shape (window, time), its rate, and its kind."""
    if channel in windows.channels:
        kind = windows.kinds[windows.channels.index(channel)]
        _bar(channel, kind, task)
        x = windows.channel(channel)
        # The windows carry zeros for an optional channel where it is not usable.
        return np.where(x.any(axis=1, keepdims=True), x, np.float32(np.nan)), windows.fs, kind
    if channel in windows.trails:
        trail = windows.trails[channel]
        _bar(channel, trail.kind, task)
        return _filled(trail.signal), trail.fs, trail.kind
    have = ", ".join([*windows.channels, *windows.trails]) or "none"
    raise RecipeError(f"features.tracks need channel '{channel}', the windows carry {have}: add it to windows.trails")


def _bar(channel: str, kind: str, task: Task) -> None:
    if kind in task.reference_kinds or (kind == "absent" and channel in task.reference_kinds):
        raise RecipeError(f"channel '{channel}' is the reference of {task.name} (kind {kind}): it is barred from the inputs")


def _filled(x: F32) -> F32:
    known = np.isfinite(x)
    share = known.mean(axis=1, keepdims=True) if x.shape[1] else np.zeros((x.shape[0], 1))
    mean = np.where(known, x, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(share >= 0.5, np.where(known, x, mean), np.nan).astype(np.float32)
