"""Networks of a run that answer for one person, with the face of an ensemble, so that all that predicts can use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl.training import Predicted
from biosig_mtl.training.calibration.keeping import Fitted, Standard
from biosig_mtl.training.calibration.known import MAIN, Person, Shown, View
from biosig_mtl.training.calibration.last_split import LastSplit, Own
from biosig_mtl.training.calibration.methods import METHODS
from biosig_mtl.training.checkpoint import Ensemble, Member
from biosig_mtl.types import F64, I64, InputSpec, Track, WindowTable


@dataclass(frozen=True, eq=False)
class Anchors:
    """What is known of the windows (K,) of a person's readings.

    ``table`` has their features, and waveforms where the networks look at them; ``onset_s`` counts from the start of the
    recording ``record``. ``truth`` (K, T) are the readings, NaN where untold, ``estimate`` (K, T) what the networks said.
    """

    record: str
    table: WindowTable
    onset_s: F64
    sqi: F64
    truth: F64
    estimate: F64

    def __len__(self) -> int:
        """Return K."""
        return len(self.truth)

    def lie_in(self, table: WindowTable) -> bool:
        """Whether these very windows are among those of a table: then it is of the recording with the readings."""
        if "onset_s" not in table.index:
            return False
        at = table.index["onset_s"].to_numpy(np.float64)
        return all(
            any(np.array_equal(table.values[row], own, equal_nan=True) for row in np.flatnonzero(np.abs(at - onset) < 1e-6))
            for onset, own in zip(self.onset_s, self.table.values, strict=True)
        )


@dataclass(frozen=True, eq=False)
class PersonalEnsemble:
    """The networks of a run with a person's readings; see `Ensemble`, whose face this has.

    ``began_s`` says when a recording begins, in seconds after that with the readings began. None: a recording that holds the
    windows of the readings is that very one, and any other is taken to be of another time.
    """

    base: Ensemble
    fitted: Fitted
    standard: Standard | None
    anchors: Anchors
    own: Own | None = None
    began_s: float | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """The networks, as they were trained."""
        return self.base.members

    @property
    def spec(self) -> InputSpec:
        """The inputs."""
        return self.base.spec

    @property
    def recipe(self) -> Mapping[str, Any]:
        """What re-creates the preprocessing."""
        return self.base.recipe

    @property
    def extra(self) -> Mapping[str, Any]:
        """What the conductor of the run added."""
        return self.base.extra

    @property
    def versions(self) -> Mapping[str, str]:
        """What made the networks."""
        return self.base.versions

    def predict(self, table: WindowTable) -> F64:
        """Return personal estimates (n, T) in the unit of the target."""
        return self.predict_full(table).estimates

    def predict_full(self, table: WindowTable, without: tuple[str, ...] = ()) -> Predicted:
        """Return personal estimates, with everything else as the networks give it."""
        found = self.base.predict_full(table, without)
        shown, person = self._shown(table, found.estimates)
        calibrator = self.fitted.calibrator
        if self.own is not None and isinstance(calibrator, LastSplit):
            answers = calibrator.tell(shown, person, self.own)
        else:
            answers = calibrator.answer(shown, person)
        return replace(found, estimates=answers)

    def _shown(self, table: WindowTable, estimates: F64) -> tuple[Shown, Person]:
        """Return anchors above the windows of a recording, as methods are shown them."""
        anchors, k, n = self.anchors, len(self.anchors), len(table)
        same, time_s, quality = self._course(table)
        raw = np.concatenate([anchors.table.values, np.asarray(table.values)])
        values = np.zeros((k + n, 0)) if self.standard is None else self.standard.values(raw)
        # Windows themselves only for methods that look into the networks: waveforms are large.
        whole = joined(anchors.table, table) if METHODS[self.fitted.method].needs else None
        truth = np.concatenate([anchors.truth, np.full_like(estimates, np.nan)])
        shown = Shown(
            values=values,
            estimates={MAIN: np.concatenate([anchors.estimate, estimates])},
            truth=truth,
            targets=self.spec.targets,
            subject=np.zeros(k + n, np.int64),
            stay=np.concatenate([np.zeros(k, np.int64), np.full(n, 0 if same else 1, np.int64)]),
            time_s=np.concatenate([anchors.onset_s, time_s]),
            quality=np.concatenate([anchors.sqi, quality]),
            names=table.names,
            views=tuple(View(member, np.ones(k + n, bool)) for member in self.members),
            table=None if whole is None else replace(whole, targets=truth.astype(np.float32)),
        )
        return shown, Person("the person", np.arange(k, dtype=np.int64), np.arange(k, k + n, dtype=np.int64))

    def _course(self, table: WindowTable) -> tuple[bool, F64, F64]:
        """Return whether windows are of the stay of the readings, when they are, and their quality."""
        n = len(table)
        onset = table.index["onset_s"].to_numpy(np.float64) if "onset_s" in table.index else np.full(n, np.nan)
        quality = table.index["sqi"].to_numpy(np.float64) if "sqi" in table.index else np.ones(n)
        same = self.began_s is not None or self.anchors.lie_in(table)
        return same, onset + (self.began_s or 0.0), np.nan_to_num(quality, nan=1.0)


def joined(first: WindowTable, other: WindowTable) -> WindowTable:
    """Return a table with the windows of both, as far as networks look at them; its index has subjects alone."""
    import pandas as pd

    def both(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([np.asarray(a), np.asarray(b)])

    n = len(first) + len(other)
    tracks = {
        name: Track(track.channels, track.fs, both(track.signal, other.tracks[name].signal))
        for name, track in first.tracks.items()
    }
    waveform = both(first.waveform, other.waveform) if first.waveform.shape[1:] == other.waveform.shape[1:] else other.waveform
    return WindowTable(
        index=pd.DataFrame({"subject": np.full(n, "")}),
        values=both(first.values, other.values),
        names=other.names,
        waveform=waveform,
        waveform_channels=other.waveform_channels,
        fs=other.fs,
        targets=both(first.targets, other.targets),
        target_names=other.target_names,
        tracks=tracks,
        heads=other.heads,
    )


def some(table: WindowTable, rows: I64, *, waveform: bool) -> WindowTable:
    """Return some windows of a table by themselves; without ``waveform`` it is left empty, its names stay."""
    whole = np.asarray(table.waveform[rows]) if waveform else np.zeros((rows.size, *table.waveform.shape[1:]), np.float32)
    return replace(
        table,
        index=table.index.iloc[rows].reset_index(drop=True),
        values=np.array(table.values[rows]),
        waveform=whole,
        targets=np.full((rows.size, len(table.target_names)), np.nan, np.float32),
        tracks={name: replace(track, signal=np.array(track.signal[rows])) for name, track in table.tracks.items()},
        reference=None,
    )
