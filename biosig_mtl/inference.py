"""A finished run on a recording it has never seen: the preprocessing comes from the run folder alone."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from biosig_mtl import models, pipeline
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.recipe import choose, from_dict
from biosig_mtl.training import checkpoint
from biosig_mtl.types import (
    F64,
    ChannelInfo,
    DataError,
    Entry,
    Features,
    Rejected,
    Source,
    Windows,
    WindowTable,
)

if TYPE_CHECKING:
    import pandas as pd


PERSON = ("age_years", "sex_male", "height_cm", "weight_kg", "bmi")


@dataclass(frozen=True)
class Predictor:
    """The networks of a run with the preparation that fed them.

    Build it with `Predictor.load`; `predict` takes an opened recording and returns a table, one row a window.
    """

    preparation: pipeline.Preparation
    ensemble: checkpoint.Ensemble
    half_width: F64

    @classmethod
    def load(cls, run: Path) -> Predictor:
        """Load from a run folder; raise `DataError` where it is not one, or a model file was altered."""
        ensemble = checkpoint.load(run / "model", models.rebuild)
        made = pipeline.preparation(from_dict(ensemble.recipe)).unlabelled()
        return cls(made, ensemble, np.asarray(ensemble.extra.get("half_width", []), np.float64))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is estimated."""
        return self.ensemble.spec.targets

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the raw channels that the run can use."""
        made = {getattr(step, "name", None) for step in self.preparation.steps}
        named = (getattr(step, "channel", None) for step in self.preparation.steps)
        return tuple(dict.fromkeys(str(name) for name in named if name is not None and name not in made))

    def predict(self, source: Source, entry: Entry) -> tuple[pd.DataFrame, list[Rejected], list[str]]:
        """Return estimates, what was refused, and what the reader noted (missing parts of a damaged file).

        The table has ``record, onset_s, end_s``, each target with ``_lower`` and ``_upper`` (90 % of the validation subjects'
        errors were smaller), and ``sqi``. Estimates are means over the networks of all folds.

        Raises
        ------
        DataError
            A channel that the run needs is missing, or no window is usable; the message names the record.
        """
        import pandas as pd

        self._require(source.channels, entry.record)
        frames: list[pd.DataFrame] = []
        rejected: list[Rejected] = []
        notes: dict[str, None] = {}
        for piece in pipeline.pieces(source, entry):
            record, windows, features = pipeline.work_piece(self.preparation, piece)
            notes |= dict.fromkeys(record.notes)
            rejected += windows.rejected
            if len(windows):
                frames.append(self._frame(windows, features))
        if not frames:
            why = "; ".join(sorted({r.reason for r in rejected})) or "the recording is empty"
            raise DataError(f"{entry.record}: no usable window ({why})")
        return pd.concat(frames, ignore_index=True), rejected, list(notes)

    def _require(self, present: Mapping[str, ChannelInfo], record: str) -> None:
        made = set(present)
        for step in self.preparation.steps:
            needed = getattr(step, "channel", None)
            if needed is not None and needed not in made and not getattr(step, "optional", False):
                raise DataError(f"{record}: missing channel '{needed}', which this run needs; it has {', '.join(sorted(made))}")
            if name := getattr(step, "name", None) or needed:
                made.add(str(name))

    def _frame(self, windows: Windows, features: Features) -> pd.DataFrame:
        import pandas as pd

        table = _table(windows, features)
        estimates = self.ensemble.predict(table)
        columns: dict[str, Any] = {
            "record": np.full(len(windows), windows.record),
            "onset_s": windows.onset_s,
            "end_s": windows.onset_s + windows.signal.shape[2] / windows.fs,
        }
        for j, name in enumerate(self.targets):
            half = float(self.half_width[j]) if self.half_width.size else math.nan
            columns |= {name: estimates[:, j], f"{name}_lower": estimates[:, j] - half, f"{name}_upper": estimates[:, j] + half}
        columns["sqi"] = table.index["sqi"].to_numpy()
        return pd.DataFrame(columns)


def _table(windows: Windows, features: Features) -> WindowTable:
    import pandas as pd

    sqi = np.min(windows.sqi, axis=1, initial=1.0, where=windows.sqi > 0)
    index = pd.DataFrame({"subject": np.full(len(windows), windows.subject), "onset_s": windows.onset_s, "sqi": sqi})
    return WindowTable(
        index=index,
        values=features.values,
        names=features.names,
        waveform=features.waveform,
        waveform_channels=features.waveform_channels,
        fs=windows.fs,
        targets=windows.targets,
        target_names=windows.target_names,
    )


def predict_file(
    run: Path,
    recording: Path,
    out: Path,
    channels: Mapping[str, tuple[str, ...]] | None = None,
    demographics: Mapping[str, float] | None = None,
    *,
    timing_reliable: bool = False,
) -> str:
    """Estimate on a recording and write the table; return a sentence about it.

    Parameters
    ----------
    run
        Run folder.
    recording
        File in any readable format.
    out
        ``.csv`` or ``.parquet``.
    channels
        Our channel names to those of the file; None: guessed by name.
    demographics
        ``age_years sex_male height_cm weight_kg`` as far as they are known.
    timing_reliable
        Whether times between its channels may be trusted; a run that uses pulse arrival times misses them otherwise.

    Raises
    ------
    RecipeError
        A word in ``channels`` or ``demographics`` that the run does not know.
    DataError
        The recording cannot be read, lacks a channel or has no usable window.
    """
    for word in demographics or {}:
        choose(word, PERSON, "fact about the person (--person)")
    predictor = Predictor.load(run)
    for word in channels or {}:
        choose(word, predictor.channels, "channel of this run (--channel)")
    entry = replace(entry_for(recording, channels=channels), timing_reliable=timing_reliable)
    if demographics:
        entry = replace(entry, demographics={**entry.demographics, **demographics})
    frame, rejected, notes = predictor.predict(open_source(entry), entry)
    _write(out, frame)
    refused = "; ".join(f"{n} × {reason}" for reason, n in _counted(rejected))
    told = [f"{out}: {len(frame)} windows of {entry.record}", *([f"refused {refused}"] if refused else [])]
    return "\n".join(["; ".join(told), *(f"note: {note}" for note in notes)])


def _counted(rejected: list[Rejected]) -> list[tuple[str, int]]:
    reasons = [r.reason for r in rejected]
    return sorted(((reason, reasons.count(reason)) for reason in set(reasons)), key=lambda pair: (-pair[1], pair[0]))


def _write(out: Path, frame: pd.DataFrame) -> None:
    sink = io.BytesIO()
    if out.suffix == ".parquet":
        frame.to_parquet(sink, index=False)
    else:
        frame.to_csv(sink, index=False, float_format="%.4f", lineterminator="\n")
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(sink.getvalue())
        temporary.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
