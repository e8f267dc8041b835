"""From a recording and readings in words to a personal file, and what to say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.inference.files import NOTHING_TOLD, PERSON, Told
from biosig_mtl.inference.personal import USUAL, Personal, Wish, personalise
from biosig_mtl.inference.personal_readings import Reading
from biosig_mtl.inference.predictor import Predictor
from biosig_mtl.recipe import choose
from biosig_mtl.types import Entry, RecipeError


def read_reading(word: str) -> Reading:
    """Return a reading of words such as ``12.5:sbp=128,dbp=81``: seconds from the start of the recording, then values.

    Raises
    ------
    RecipeError
        It is written otherwise, or implausible.

    Examples
    --------
    >>> read_reading("90:sbp=121,dbp=77").values["dbp"]
    77.0
    """
    at, colon, rest = word.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",")]
    try:
        if not colon or not all(name and equals for name, equals, _ in pairs):
            raise ValueError
        values = {name.strip(): float(value) for name, _, value in pairs}
        at_s = float(at)
    except ValueError:
        raise RecipeError(f"--reading {word}: write it as SECONDS:TARGET=VALUE,…, e.g. 12.5:sbp=128,dbp=81") from None
    if len(values) != len(pairs):
        raise RecipeError(f"--reading {word}: tells a target twice")
    return Reading(at_s, values)


def entry_of(predictor: Predictor, recording: Path, told: Told = NOTHING_TOLD) -> Entry:
    """Return what is known of a recording that belongs to no data set; raise `RecipeError` for an unknown word in it."""
    for word in told.demographics:
        choose(word, PERSON, "fact about the person (--person)")
    for word in told.channels:
        choose(word, predictor.channels, "channel of this run (--channel)")
    entry = replace(entry_for(recording, channels=told.channels or None), timing_reliable=told.timing_reliable)
    return replace(entry, demographics={**entry.demographics, **told.demographics}) if told.demographics else entry


def personalise_file(
    run: Path, recording: Path, out: Path, readings: Sequence[Reading], wish: Wish = USUAL, told: Told = NOTHING_TOLD
) -> list[str]:
    """Make a run a person's own and write the file; return sentences about it.

    Parameters
    ----------
    run
        Run folder.
    recording
        File in any readable format, during which the readings were taken.
    out
        The personal file.
    readings, wish
        See `personalise`.
    told
        What is known of the recording beside the file.

    Raises
    ------
    RecipeError, DataError
        See `personalise`.
    """
    entry = entry_of(Predictor.load(run), recording, told)
    made = personalise(run, open_source(entry), entry, readings, wish)
    made.save(out)
    return in_words(made, out)


def in_words(made: Personal, out: Path) -> list[str]:
    """Return what was made, what the networks said at the readings, and what it takes."""
    anchors, targets = made.content.anchors, made.predictor.targets
    many = len(anchors)
    lines = [f"{out}: {many} reading{'' if many == 1 else 's'} of {anchors.record}, method {made.method}"]
    for at, truth, estimate in zip(anchors.onset_s, anchors.truth, anchors.estimate, strict=True):
        each = [f"{name} {y:g} (network {x:.0f})" for name, y, x in zip(targets, truth, estimate, strict=True) if y == y]
        lines.append(f"window at {at:g} s: {', '.join(each)}")
    size = f"{len(made.raw) / 1e6:.3f} MB"
    if made.memory is not None:
        tensors = len({name.partition("/")[2] for name in made.content.own})
        size += (
            f"; tuned {tensors} tensors of each of {len(made.predictor.ensemble.members)} networks, in {made.megabytes:.3f} MB"
        )
    lines.append(f"size: {size}")
    if made.content.standard is None:
        lines.append(
            "note: the run was not calibrated, so its estimates are moved by the readings and nothing more; "
            "run calibrate for methods that are fitted, and to see what they are worth"
        )
    lines.append("note: the file holds readings and features of one person; keep it as you keep health data")
    return lines
