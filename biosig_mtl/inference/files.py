"""Estimates on a recording that belongs to no data set, written as a table."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.inference.personal import load
from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.inference.writing import put
from biosig_mtl.recipe import choose
from biosig_mtl.types import DataError, RecipeError, Rejected

if TYPE_CHECKING:
    import pandas as pd


PERSON = ("age_years", "sex_male", "height_cm", "weight_kg", "bmi")


@dataclass(frozen=True)
class Told:
    """What is told of a recording that belongs to no data set.

    Parameters
    ----------
    channels
        Our channel names to those of the file; empty: guessed by name.
    demographics
        ``age_years sex_male height_cm weight_kg`` as far as they are known.
    timing_reliable
        Whether times between its channels may be trusted; a run that uses pulse arrival times misses them otherwise.
    without
        Modalities that are treated as if they had not been recorded.
    rest_s
        Where the rest before the stimulus lies, in seconds of the recording; windows begin where it ends.
    refuse_above
        Windows whose interval reaches further than this to either side, in the unit of the target, are refused; None: none.
    """

    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    demographics: Mapping[str, float] = field(default_factory=dict)
    timing_reliable: bool = False
    without: tuple[str, ...] = ()
    rest_s: tuple[float, float] | None = None
    refuse_above: float | None = None

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.rest_s is not None and not 0 <= self.rest_s[0] < self.rest_s[1] < math.inf:
            raise RecipeError(f"need a rest that ends after it starts, got {self.rest_s[0]:g} to {self.rest_s[1]:g} s")


NOTHING_TOLD = Told()


def predict_file(
    run: Path,
    recording: Path,
    out: Path,
    told: Told = NOTHING_TOLD,
    personal: Path | None = None,
    began_s: float | None = None,
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
    told
        What is known of it beside the file.
    personal
        What `personalise` has written for this person.
    began_s
        Of a personal file: when the recording began, in seconds after the one with the readings, see `Personal.as_predictor`.

    Raises
    ------
    RecipeError
        A word in ``channels`` or ``demographics`` that the run does not know, or ``began_s`` without a personal file.
    DataError
        The recording cannot be read, lacks a channel or has no usable window.
    """
    for word in told.demographics:
        choose(word, PERSON, "fact about the person (--person)")
    if began_s is not None and personal is None:
        raise RecipeError(f"--began {began_s:g}: says something of a personal file alone; give it with --personal")
    predictor = Predictor.load(run) if personal is None else load(run, personal).as_predictor(began_s)
    for word in told.channels:
        choose(word, predictor.channels, "channel of this run (--channel)")
    entry = replace(entry_for(recording, channels=told.channels or None), timing_reliable=told.timing_reliable)
    if told.demographics:
        entry = replace(entry, demographics={**entry.demographics, **told.demographics})
    frame, rejected, notes = predictor.predict(open_source(entry), entry, told.without, told.rest_s)
    if told.refuse_above is not None:
        frame, unsure = predictor.refuse(frame, told.refuse_above)
        rejected = [*rejected, *unsure]
        if frame.empty:
            raise DataError(f"{entry.record}: no window is sure enough ({len(unsure)} refused); allow wider intervals")
    _write(out, frame)
    refused = "; ".join(f"{n} × {reason}" for reason, n in _counted(rejected))
    said = [f"{out}: {len(frame)} windows of {entry.record}", *([f"refused {refused}"] if refused else [])]
    return "\n".join(["; ".join(said), *(f"note: {note}" for note in notes)])


def _counted(rejected: list[Rejected]) -> list[tuple[str, int]]:
    reasons = [r.reason for r in rejected]
    return sorted(((reason, reasons.count(reason)) for reason in set(reasons)), key=lambda pair: (-pair[1], pair[0]))


def _write(out: Path, frame: pd.DataFrame) -> None:
    sink = io.BytesIO()
    if out.suffix == ".parquet":
        frame.to_parquet(sink, index=False)
    else:
        frame.to_csv(sink, index=False, float_format="%.4f", lineterminator="\n")
    put(out, sink.getvalue())
