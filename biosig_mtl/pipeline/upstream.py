"""A recipe's upstream blocks, built and checked: what turns one record into windows and features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from biosig_mtl import features, signal, windows
from biosig_mtl.recipe import Recipe, build, choose
from biosig_mtl.tasks import TASKS
from biosig_mtl.types import ChannelInfo, DataError, Features, RecipeError, Record, Source, Task, Windows

COPY = "copy"


@dataclass(frozen=True)
class Preparation:
    """A recipe's upstream blocks, built and checked: the very same object prepares training sets and new recordings.

    ``rest_s`` says where the rest before the stimulus lies in a recording that does not say so itself. ``cut_on`` names a
    channel of which a copy is cut into windows, where all that should be cut are missing.
    """

    task: Task
    steps: tuple[signal.Step, ...]
    windowing: windows.Windowing
    features: features.FeatureSettings
    rest_s: tuple[float, float] | None = None
    cut_on: str = ""

    @property
    def reach_s(self) -> float:
        """Context in whole seconds that a piece needs on either side."""
        longest = max(self.windowing.trails.values(), default=0.0)
        return float(math.ceil(signal.context_s(self.steps) + max(self.windowing.length_s, longest)))

    def apply(
        self, record: Record, span: tuple[float, float] | None = None, rest: Record | None = None
    ) -> tuple[Record, Windows, Features]:
        """Return the described record, its windows that start within ``span`` and their features.

        ``rest`` is the part of the recording with the rest before its stimulus, where ``record`` does not reach back to it.
        """
        record = self._described(record)
        cut = windows.cut(record, self.windowing, self.task, span)
        # Where no window is left, each has its own reason, which says more than that its rest is as bad.
        if self.features.baseline == "none" or not len(cut):
            made = features.extract(cut, self.features, self.task)
            return self._noted(record, made), cut, made
        still = self._rest(record if rest is None else self._described(rest))
        if self.features.baseline == "torcheeg":
            record = replace(record, notes=(*record.notes, features.COMPATIBILITY_WARNING))
            return record, cut, features.extract(features.subtract_waveform(cut, still), self.features, self.task)
        made = features.extract(cut, self.features, self.task)
        at_rest = replace(self.features, tracks={}, waveform=())
        return self._noted(record, made), cut, features.subtract(made, features.extract(still, at_rest, self.task))

    def _described(self, record: Record) -> Record:
        """Take a record through every step."""
        if record.baseline_s is None and self.rest_s is not None:
            record = replace(record, baseline_s=self.rest_s)
        for step in self.steps:
            record = step(record)
        if self.cut_on:
            record = record.with_channel(replace(record.channel(self.cut_on), name=COPY, source_name=self.cut_on))
        return record

    def part_with_rest(self, source: Source, record: Record) -> Record | None:
        """Return the part of a recording with the rest before its stimulus; None where ``record`` holds it, or none is needed.

        A later piece of a long recording lies far behind the rest, and is compared with it all the same.
        """
        lies = record.baseline_s or self.rest_s
        if self.features.baseline == "none" or lies is None:
            return None
        start, stop = max(lies[0] - self.reach_s, 0.0), min(lies[1] + self.reach_s, source.duration_s)
        if record.start_s <= start + 1e-6 and stop <= record.start_s + record.duration_s + 1e-6:
            return None
        return source.read(start, stop)

    def _noted(self, record: Record, made: Features) -> Record:
        """Tell of bands that the recording itself looks to have lost, whatever is known of its filters."""
        lost = features.suspect_bands(made, self.features.bands) if self.features.eeg else ()
        told = f"the recording looks to have lost bands that are asked for: {', '.join(lost)}"
        return replace(record, notes=(*record.notes, told)) if lost else record

    def _rest(self, record: Record) -> Windows:
        found = windows.cut_rest(record, self.windowing, self.task)
        if found is None:
            what = "no rest before its stimulus" if record.baseline_s is None else "no usable second of rest"
            todo = "say where it lies (predict --rest), or set features.baseline to none before training"
            raise DataError(f"{record.name}: has {what} to compare with; {todo}")
        return found

    def doing_without(self, lacking: tuple[str, ...], spare: str) -> Preparation:
        """Return the preparation of a recording that lacks channels on which windows are cut: ``spare`` is cut on instead.

        What is made of a missing channel is unknown; steps on it, or on what is made of it, pass. Without any channel of the
        EEG there is nothing that the rest before a stimulus could be taken from.
        """
        # A trail that became a channel of the windows would be looked at there, and not where the network knows it from.
        copied = spare not in {*self.windowing.channels, *self.windowing.optional}
        kept = tuple(name for name in self.windowing.channels if name not in lacking) or (COPY if copied else spare,)
        optional = tuple(dict.fromkeys([*self.windowing.optional, *(n for n in self.windowing.channels if n not in kept)]))
        windowing = replace(self.windowing, channels=kept, optional=tuple(n for n in optional if n not in kept))
        steps = tuple(replace(step, optional=True) for step in self.steps)  # type: ignore[type-var]
        none_left = set(self.features.eeg) <= set(lacking)
        settings = replace(self.features, baseline="none") if none_left else self.features
        return replace(self, steps=steps, windowing=windowing, features=settings, cut_on=spare if COPY in kept else "")

    def unlabelled(self) -> Preparation:
        """Return the same preparation for a recording without reference: nothing upstream of the network changes."""
        reference = {self.windowing.reference}
        for step in self.steps:
            if getattr(step, "channel", None) in reference:
                reference.add(str(getattr(step, "name", None) or self.windowing.reference))
        steps = tuple(s for s in self.steps if getattr(s, "channel", None) not in reference)
        windowing = replace(self.windowing, label="record", require_label=False, steady_label=False, min_record_s=0.0)
        return replace(self, steps=steps, windowing=replace(windowing, reference_waveform=False))


def preparation(recipe: Recipe) -> Preparation:
    """Build the upstream blocks of a recipe.

    Raises
    ------
    RecipeError
        An unknown word or nonsense, in one line that names the block.
    """
    steps = []
    for number, content in enumerate(recipe.signal):
        name = choose(str(content.get("step")), signal.STEPS, f"signal step (signal[{number}].step)")
        settings = {k: v for k, v in content.items() if k != "step"}
        steps.append(build(signal.STEPS[name], settings, f"signal[{number}] {name}"))
    return Preparation(
        task=TASKS[choose(recipe.task, TASKS, "task")],
        steps=tuple(steps),
        windowing=build(windows.Windowing, recipe.windows, "windows"),
        features=build(features.FeatureSettings, recipe.features, "features"),
    )


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's upstream blocks with every default filled in: the content of the store's digest."""
    made = preparation(recipe)
    steps = [{"step": c["step"], **asdict(s)} for c, s in zip(recipe.signal, made.steps, strict=True)]  # type: ignore[call-overload]
    windowing = asdict(made.windowing)
    if not made.windowing.reference_waveform:
        # Stores of before there was the word are the same stores.
        del windowing["reference_waveform"]
    return {"task": recipe.task, "signal": steps, "windows": windowing, "features": asdict(made.features)}


def check(recipe: Recipe, channels: Mapping[str, ChannelInfo]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Follow a recipe without data; return the names of its features and of its waveform channels.

    Raises
    ------
    RecipeError, DataError
        A step asks for a channel that is not there, a corner frequency does not fit the rate, the inputs hold the reference.
    """
    made = preparation(recipe)
    present = _planned(made, channels)
    for name in made.windowing.channels:
        if name not in present:
            raise RecipeError(f"windows.channels: '{name}' is not made by any step; there are {', '.join(sorted(present))}")
    wanted = made.windowing.label == "reference" or made.windowing.reference_waveform
    if wanted and made.windowing.reference not in present:
        raise RecipeError(f"windows.reference: there is no channel '{made.windowing.reference}'")
    planned = features.plan(made.features, present, made.task)
    carried = {*made.windowing.channels, *made.windowing.optional}
    _check_trails(made, carried, present)
    for name in features.required_channels(made.features):
        if name in present and name not in carried:
            raise RecipeError(f"features: '{name}' is not carried by the windows; add it to windows.channels")
    beats = {s.name or s.channel for s in made.steps if isinstance(s, signal.DetectBeats)}
    if made.windowing.beats is not None:
        choose(made.windowing.beats, beats, "channel with beats (windows.beats)")
    return planned


def _planned(made: Preparation, channels: Mapping[str, ChannelInfo]) -> dict[str, ChannelInfo]:
    """Return, without data, what channels there are after every step."""
    present = dict(channels)
    for step in made.steps:
        present = dict(step.plan(present))
    return present


def reasons(recipe: Recipe, channels: Mapping[str, ChannelInfo]) -> dict[str, str]:
    """Return why features of a recipe will be NaN whatever the recording holds, by the name of the feature.

    Names of features of the EEG are without their channel. ``channels`` are what a manifest knows.
    """
    made = preparation(recipe)
    present = _planned(made, channels)
    told = features.reasons(made.features, made.windowing.trails)
    first = present.get(made.windowing.channels[0])
    if made.features.eeg and first is not None:
        told |= features.eeg_reasons(made.features, made.windowing.length_s, first.fs)
    return told


def lost_bands(recipe: Recipe, pass_band_hz: tuple[float, float] | None) -> tuple[str, ...]:
    """Return the bands of the EEG that a recipe asks for and that its own filter, or that of the data set, has taken away."""
    made = preparation(recipe)
    if not made.features.eeg:
        return ()
    passed = [(step.low_hz, step.high_hz) for step in made.steps if isinstance(step, signal.EegFilter)]
    passed += [pass_band_hz] if pass_band_hz else []
    found = [features.missing_bands(made.features.bands, low, high) for low, high in passed]
    return tuple(dict.fromkeys(name for names in found for name in names))


def check_labels(recipe: Recipe, manifest: str, labels: Mapping[str, str]) -> None:
    """Refuse targets that a data set does not have, rather than invent them.

    Raises
    ------
    RecipeError
        The message names the data set, the target, and what the set has.
    """
    task = TASKS[choose(recipe.task, TASKS, "task")]
    wanted = [str(name) for name in recipe.model.get("answers") or task.target_names]
    for name in wanted:
        choose(name, task.target_names, "target (model.answers)")
        if name not in labels:
            has = "; ".join(f"{key}: {what}" for key, what in labels.items()) or "no labels at all"
            others = [n for n in wanted if n in labels]
            todo = f"answer {', '.join(others)} alone (model.answers)" if others else "choose another data set"
            raise RecipeError(f"{manifest} has no {name} ({has}); {todo}")


def _check_trails(made: Preparation, carried: set[str], present: Mapping[str, ChannelInfo]) -> None:
    """Refuse trails and tracks that nobody makes, and those that are the reference."""
    trails = set(made.windowing.trails)
    for name in sorted(trails - set(present)):
        raise RecipeError(f"windows.trails: there is no channel '{name}'; there are {', '.join(sorted(present))}")
    for name in features.required_trails(made.features):
        if name in present and name not in trails:
            raise RecipeError(f"features: '{name}' does not go with the windows; add it to windows.trails with its seconds")
    for name in features.track_channels(made.features):
        if name not in carried | trails:
            raise RecipeError(f"features.tracks: '{name}' does not go with the windows; add it to windows.channels or .trails")
        if name in present and present[name].kind in made.task.reference_kinds:
            raise RecipeError(f"features.tracks: '{name}' is the reference of {made.task.name}: it is barred from the inputs")
