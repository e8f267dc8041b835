"""A finished run on a recording it has never seen: the preprocessing comes from the run folder alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from biosig_mtl import models, pipeline
from biosig_mtl.recipe import build, from_dict
from biosig_mtl.tasks import within_scale
from biosig_mtl.training import TrainingSettings, checkpoint
from biosig_mtl.training.conformal import LEVEL
from biosig_mtl.training.conformal_record import Intervals
from biosig_mtl.training.person import PerSubject, relative
from biosig_mtl.types import (
    F64,
    ChannelInfo,
    DataError,
    Entry,
    Features,
    InputSpec,
    RecipeError,
    Rejected,
    Source,
    Track,
    TrackSpec,
    Windows,
    WindowTable,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predictor:
    """The networks of a run with the preparation that fed them.

    Build it with `Predictor.load`; `predict` takes an opened recording and returns a table, one row a window.
    """

    preparation: pipeline.Preparation
    ensemble: checkpoint.Ensemble
    half_width: F64
    per_subject: PerSubject = "none"
    intervals: Intervals | None = None

    @classmethod
    def load(cls, run: Path) -> Predictor:
        """Load from a run folder; raise `DataError` where it is not one, or a model file was altered."""
        ensemble = checkpoint.load(run / "model", models.rebuild)
        recipe = from_dict(ensemble.recipe)
        made = pipeline.preparation(recipe).unlabelled()
        training = build(TrainingSettings, recipe.training, "training")
        # A target with classes has no interval: null in the file.
        half = np.array([math.nan if x is None else x for x in ensemble.extra.get("half_width", [])], np.float64)
        # Models of before there were rules have one half-width a target.
        told = ensemble.extra.get("intervals")
        return cls(made, ensemble, half, training.per_subject, None if told is None else Intervals.from_json(told))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is estimated."""
        return self.ensemble.spec.targets

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the raw channels that the run can use."""
        made = {getattr(step, "name", None) for step in self.preparation.steps}
        named = [getattr(step, "channel", None) for step in self.preparation.steps]
        cut = self.preparation.windowing
        return tuple(
            dict.fromkeys(
                str(n) for n in (*named, *cut.channels, *cut.optional, *cut.trails) if n is not None and n not in made
            )
        )

    def predict(
        self, source: Source, entry: Entry, without: tuple[str, ...] = (), rest_s: tuple[float, float] | None = None
    ) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
        """Return estimates, what was refused, and what the reader noted (missing parts of a damaged file).

        The table has ``record, onset_s, end_s``, each target with ``_lower`` and ``_upper`` (see `bounds`), and ``sqi``. One
        with classes has its most likely class and a column with the share of each.
        Estimates are means over the networks of all folds. Modalities in ``without`` are treated as if they were not recorded;
        one that the recording really lacks is left out by itself, as long as another of the run's channels is there.
        ``rest_s`` says where the rest before the stimulus lies in a recording that does not tell it, and is needed to compare.

        Raises
        ------
        DataError
            A channel that the run needs is missing, or no window is usable; the message names the record.
        """
        made, lacking = self.suited(source.channels, entry.record)
        made = replace(made, rest_s=rest_s)
        parts: list[tuple[Windows, Features]] = []
        rejected: list[Rejected] = []
        notes: dict[str, None] = {}
        if lacking:
            notes[f"estimated without {', '.join(lacking)}: the recording has none; expect larger errors"] = None
        for piece in pipeline.pieces(source, entry):
            record, windows, features = pipeline.work_piece(made, piece, source)
            notes |= dict.fromkeys(record.notes)
            rejected += windows.rejected
            if len(windows):
                parts.append((windows, features))
        if not parts:
            why = "; ".join(sorted({r.reason for r in rejected})) or "the recording is empty"
            raise DataError(f"{entry.record}: no usable window ({why})")
        return self.frame(parts, without), rejected, list(notes)

    def suited(self, present: Mapping[str, ChannelInfo], record: str) -> tuple[pipeline.Preparation, tuple[str, ...]]:
        """Return the preparation for a recording with these channels, and the recorded channels that it has to do without.

        A channel that windows were cut on may only be missing where the network takes modalities as tracks: then windows are
        cut on another channel, and what was made of the missing one is unknown.
        """
        made, origin = set(present), {name: name for name in present}
        for step in self.preparation.steps:
            needed = getattr(step, "channel", None)
            name = getattr(step, "name", None) or needed
            if needed is not None and name is not None:
                origin.setdefault(str(name), origin.get(needed, needed))
            if name and (needed is None or needed in made):
                made.add(str(name))
        wanted = self.preparation.windowing
        lacking = tuple(name for name in wanted.channels if name not in made)
        spare = [name for name in (*wanted.channels, *wanted.optional, *wanted.trails) if name in made]
        missed = dict.fromkeys(origin.get(name, name) for name in (*lacking, *wanted.trails) if name not in made)
        if not lacking:
            self._require(present, record)
            return self.preparation, tuple(missed)
        if not self.ensemble.spec.tracks or not spare:
            self._require(present, record)
            raise DataError(
                f"{record}: missing channel '{lacking[0]}', which this run needs; it has {', '.join(sorted(present))}"
            )
        return self.preparation.doing_without(lacking, spare[0]), tuple(missed)

    def _require(self, present: Mapping[str, ChannelInfo], record: str) -> None:
        made = set(present)
        for step in self.preparation.steps:
            needed = getattr(step, "channel", None)
            if needed is not None and needed not in made and not getattr(step, "optional", False):
                raise DataError(f"{record}: missing channel '{needed}', which this run needs; it has {', '.join(sorted(made))}")
            if name := getattr(step, "name", None) or needed:
                made.add(str(name))

    def bounds(
        self, estimates: F64, sqi: F64, values: NDArray[np.floating] | None = None, level: float = LEVEL
    ) -> tuple[F64, F64]:
        """Return both ends (n, T) of the intervals of estimates (n, T), made by the rules of the run.

        Parameters
        ----------
        estimates
            In the unit of the targets, as the ensemble says them.
        sqi
            Quality of the signal (n,).
        values
            Features (n, F) as the network sees them; only a run of a transfer looks at them.
        level
            Share of a new person's windows that should be held. Models of before there were rules know 0.9 alone.

        Targets with classes have NaN, and bounded targets end where their scale does. The intervals hold for people like those
        of the run (see `biosig_mtl.training.conformal`), not for each person.

        Raises
        ------
        DataError
            Another level is asked of an old model.
        """
        if self.intervals is not None:
            ends = self.intervals.bounds(estimates, sqi, values, level)
        elif level == LEVEL:
            half = self.half_width if self.half_width.size else np.full(len(self.targets), np.nan)
            ends = estimates - half, estimates + half
        else:
            raise DataError(f"the model has intervals of {100 * LEVEL:g} % only; train the run again for {100 * level:g} %")
        return within_scale(self.targets, ends[0]), within_scale(self.targets, ends[1])

    def frame(self, parts: list[tuple[Windows, Features]], without: tuple[str, ...] = ()) -> pd.DataFrame:
        """Return the estimates on windows of one recording, in order; see `predict` for the columns."""
        import pandas as pd

        # The whole recording at once: what was usual for the person so far does not begin anew with each piece.
        table = relative(_table(parts, self.ensemble.spec), self.per_subject)
        found = self.ensemble.predict_full(table, without)
        windows = [w for w, _ in parts]
        sqi = table.index["sqi"].to_numpy(np.float64)
        lower, upper = self.bounds(found.estimates, sqi, table.values)
        columns: dict[str, Any] = {
            "record": np.full(len(table), windows[0].record),
            "onset_s": table.index["onset_s"].to_numpy(),
            "end_s": np.concatenate([w.onset_s + w.signal.shape[2] / w.fs for w in windows]),
        }
        for j, (name, head) in enumerate(zip(self.targets, self.ensemble.spec.head, strict=True)):
            if head.classes:
                shares = found.probabilities[j]
                columns[name] = np.array(head.names())[shares.argmax(axis=1)]
                columns |= {f"{name}_p{k}": share for k, share in enumerate(shares.T)}
                continue
            columns[name] = within_scale((name,), found.estimates[:, [j]])[:, 0]
            columns |= {f"{name}_lower": lower[:, j], f"{name}_upper": upper[:, j]}
        columns["sqi"] = sqi
        return pd.DataFrame(columns)

    def refuse(self, frame: pd.DataFrame, above: float) -> tuple[pd.DataFrame, list[Rejected]]:
        """Return the rows of `predict` that are sure enough, and the others with their reason; none is lost without a word.

        A row is refused where the interval of any target reaches further than ``above`` (in its unit) to either side. Targets
        without intervals have no say.

        Raises
        ------
        RecipeError
            ``above`` is no length.
        """
        if not above > 0.0:
            raise RecipeError(f"need a half-width > 0 above which to refuse, got {above:g}")
        halves = {
            name: (frame[f"{name}_upper"] - frame[f"{name}_lower"]).to_numpy(np.float64) / 2.0
            for name in self.targets
            if f"{name}_lower" in frame
        }
        wide = np.any([half > above for half in halves.values()], axis=0) if halves else np.zeros(len(frame), np.bool_)
        refused = []
        for i in np.flatnonzero(wide):
            named = ", ".join(name for name, half in halves.items() if half[i] > above)
            row = frame.iloc[i]
            refused.append(Rejected(str(row["record"]), float(row["onset_s"]), f"unsure: interval of {named} above ±{above:g}"))
        return frame[~wide].reset_index(drop=True), refused


def _table(parts: list[tuple[Windows, Features]], spec: InputSpec) -> WindowTable:
    import pandas as pd

    index = pd.concat(
        [
            pd.DataFrame(
                {
                    "subject": np.full(len(w), w.subject),
                    "onset_s": w.onset_s,
                    # Of the channels that are there, as in a store.
                    "sqi": np.min(w.sqi, axis=1, initial=1.0, where=w.signal.any(axis=2)),
                }
            )
            for w, _ in parts
        ],
        ignore_index=True,
    )
    windows, first = parts[0]
    return WindowTable(
        index=index,
        values=np.concatenate([f.values for _, f in parts]),
        names=first.names,
        waveform=np.concatenate([f.waveform for _, f in parts]),
        waveform_channels=first.waveform_channels,
        fs=windows.fs,
        # What is true is not known here, and a network may have been taught more than its recipe says.
        targets=np.full((len(index), len(spec.targets)), np.nan, np.float32),
        target_names=spec.targets,
        tracks={wanted.name: _track(wanted, [f.tracks[wanted.name] for _, f in parts]) for wanted in spec.tracks},
        heads=spec.heads,
    )


def _track(wanted: TrackSpec, parts: list[Track]) -> Track:
    """Join the parts of a track. One that the recording lacks altogether has no rate and length of its own: the network's."""
    signal = np.concatenate([part.signal for part in parts])
    if signal.shape[2] != wanted.samples and np.isnan(signal).all():
        signal = np.full((len(signal), len(wanted.channels), wanted.samples), np.nan, np.float32)
        return Track(wanted.channels, wanted.fs, signal)
    return replace(parts[0], signal=signal)
