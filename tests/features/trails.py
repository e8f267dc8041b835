"""Windows that carry nothing but trails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from biosig_mtl.features import FeatureSettings, extract
from biosig_mtl.tasks import AFFECT
from biosig_mtl.types import F32, F64, I64, Task, Trail, WindowBeats, Windows


def trail(name: str, kind: str, x: F64 | F32, fs: float, beats: WindowBeats | None = None) -> Trail:
    """Return a trail of samples of shape (window, time)."""
    return Trail(name, kind, fs, np.asarray(x, np.float32), np.ones(len(x), np.float32), beats)


def windows_with(trails: Mapping[str, Trail], count: int | None = None) -> Windows:
    """Return windows of 4 s whose only channel says nothing."""
    n = len(next(iter(trails.values())).signal) if count is None else count
    return Windows(
        record="r",
        subject="s",
        session="1",
        fs=128.0,
        onset_s=np.arange(n, dtype=np.float64) * 4,
        signal=np.zeros((n, 1, 512), np.float32),
        channels=("AF3",),
        kinds=("eeg",),
        sqi=np.ones((n, 1), np.float32),
        targets=np.full((n, 2), np.nan, np.float32),
        target_names=("valence", "arousal"),
        trails=trails,
    )


def columns(windows: Windows, family: str, task: Task = AFFECT) -> dict[str, F32]:
    """Return the columns of one family without their prefix."""
    made = extract(windows, FeatureSettings((family,)), task)
    return {name.removeprefix(f"{family}."): value for name, value in zip(made.names, made.values.T, strict=True)}


def alone(windows: Windows, k: int) -> Windows:
    """Return window ``k`` of some whose beats are not looked at."""
    one = {name: replace(t, signal=t.signal[k : k + 1], sqi=t.sqi[k : k + 1]) for name, t in windows.trails.items()}
    return windows_with(one)


def r_peaks(rows: list[F64], fs: float, *, normal: bool = True) -> WindowBeats:
    """Return beats from the times in seconds of the R peaks of every window."""
    at = [np.rint(np.asarray(row) * fs).astype(np.int64) for row in rows]
    window = np.repeat(np.arange(len(at)), [max(row.size - 1, 0) for row in at])
    onset: I64 = np.concatenate([row[:-1] for row in at]) if at else np.empty(0, np.int64)
    end: I64 = np.concatenate([row[1:] for row in at]) if at else np.empty(0, np.int64)
    good = np.full(window.size, normal)
    return WindowBeats("ecg", fs, window, onset, onset, end, np.ones(window.size, np.float32), normal=good)
