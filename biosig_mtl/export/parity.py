"""Whether a graph says what the networks say: checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from biosig_mtl.export.runtime import Exported
from biosig_mtl.training.checkpoint import Ensemble, Member
from biosig_mtl.types import EMPTY, F32, F64, I64, DataError, Fold, InputSpec, Track, WindowTable

TOLERANCE = 1e-4
MOST_WINDOWS = 256
BATCHES = (1, 7)
RANDOM_WINDOWS = 64


@dataclass(frozen=True)
class Evidence:
    """Windows of the run's own store, with the folds that say who was learned from and who was not."""

    table: WindowTable
    folds: tuple[Fold, ...]


@dataclass(frozen=True)
class Parity:
    """The largest difference (``worst``) between graph and networks, in the unit of the target (shares: of 1).

    ``on`` says on what windows: ``store`` or ``random``.
    """

    worst: float
    windows: int
    on: str


def parity(exported: Exported, members: Sequence[Member], spec: InputSpec, table: WindowTable | None) -> Parity:
    """Compare a graph with the mean of its networks in torch.

    Parameters
    ----------
    exported
        The graph.
    members
        The networks in it.
    spec
        Their inputs.
    table
        Windows to compare on: up to 256, evenly. None: 64 windows of noise with gaps, as the scales of the networks expect it.

    The batch is answered whole, one window by itself, and in sevens.

    Raises
    ------
    DataError
        A difference above 1e-4: the message tells it.
    """
    real = table is not None and len(table) > 0
    seen = some(table, MOST_WINDOWS) if table is not None and real else noise(members[0], spec)
    expected = Ensemble(tuple(members), spec, EMPTY, EMPTY, EMPTY).predict_full(seen)
    worst = _worst(exported, seen, expected.estimates, expected.probabilities)
    for size in BATCHES:
        few = rows_of(seen, np.arange(min(size, len(seen))))
        shares = {t: found[: len(few)] for t, found in expected.probabilities.items()}
        worst = max(worst, _worst(exported, few, expected.estimates[: len(few)], shares))
    if not worst <= TOLERANCE:
        raise DataError(
            f"the graph differs from the networks by {worst:.2g}, more than {TOLERANCE:g}: nothing was written; "
            "try another --opset, and tell us"
        )
    return Parity(worst, len(seen), "store" if real else "random")


def _worst(exported: Exported, table: WindowTable, estimates: F64, shares: Mapping[int, F64]) -> float:
    found = exported.predict_full(table)
    gaps = [np.abs(found.estimates - estimates).max(), *(np.abs(found.probabilities[t] - x).max() for t, x in shares.items())]
    # NaN on one side only must not pass for agreement.
    return float(np.max(np.where(np.isnan(gaps), np.inf, gaps)))


def some(table: WindowTable, most: int) -> WindowTable:
    """Return up to so many windows, evenly spread over a table."""
    rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), most)).astype(np.int64))
    return rows_of(table, rows)


def rows_of(table: WindowTable, rows: I64) -> WindowTable:
    """Return some windows of a table, read from its files."""
    return replace(
        table,
        index=table.index.iloc[rows].reset_index(drop=True),
        values=np.asarray(table.values[rows]),
        waveform=np.asarray(table.waveform[rows]) if table.waveform.shape[-1] else table.waveform[: len(rows)],
        targets=np.asarray(table.targets[rows]),
        tracks={name: replace(track, signal=np.asarray(track.signal[rows])) for name, track in table.tracks.items()},
        reference=None,
    )


def noise(member: Member, spec: InputSpec, windows: int = RANDOM_WINDOWS, seed: int = 0) -> WindowTable:
    """Return windows of noise about the means of a network's training part; a tenth of all is missing."""
    rng, scaler = np.random.default_rng(seed), member.scaler
    values = scaler.feature_center + 1.5 * scaler.feature_scale * rng.standard_normal((windows, len(spec.features)))
    values[rng.random(values.shape) < 0.1] = np.nan
    shape = (windows, len(spec.waveform_channels), spec.samples)
    waveform = rng.standard_normal(shape)
    if waveform.size:
        waveform = scaler.waveform_center[:, None] + scaler.waveform_scale[:, None] * waveform
    tracks = {}
    for track in spec.tracks:
        center, scale = scaler.tracks.get(track.name, np.array([[0.0], [20.0]]))
        signal = center[:, None] + scale[:, None] * rng.standard_normal((windows, len(track.channels), track.samples))
        signal[rng.random(signal.shape[:2]) < 0.1] = np.nan
        tracks[track.name] = Track(track.channels, track.fs, _single(signal))
    return WindowTable(
        index=pd.DataFrame({"subject": np.full(windows, "noise")}),
        values=_single(values),
        names=spec.features,
        waveform=_single(waveform),
        waveform_channels=spec.waveform_channels,
        fs=1.0,
        targets=np.full((windows, len(spec.targets)), np.nan, np.float32),
        target_names=spec.targets,
        tracks=tracks,
        heads=spec.heads,
    )


def _single(x: F64) -> F32:
    return np.asarray(x, np.float32)
