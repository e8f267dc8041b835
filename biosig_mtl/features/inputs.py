"""The gate: what of a `Windows` value a feature may see. Reference channels, targets and facts stay outside.

Families get an `Inputs` value and nothing else, so a feature that is made of the reference cannot be written by mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from biosig_mtl.features.derivatives import derivative
from biosig_mtl.features.pulse_beats import PulseBeats, pulse_beats
from biosig_mtl.features.settings import DERIVATIVES, FeatureSettings
from biosig_mtl.types import F32, RecipeError, Task, WindowBeats, Windows

# The kind that windows give to an optional channel which the record does not have.
ABSENT = "absent"


@dataclass(frozen=True)
class Inputs:
    """The admitted part of the windows of one record.

    ``signals`` maps a channel to its samples, shape (window, time); ``beats`` holds the beats of the pulse and the ECG.
    """

    settings: FeatureSettings
    fs: float
    count: int
    samples: int
    signals: Mapping[str, F32]
    beats: Mapping[str, WindowBeats]
    demographics: Mapping[str, float]
    timing_reliable: bool

    @property
    def pulse(self) -> F32:
        """Pulse wave, shape (window, time)."""
        return self.signals[self.settings.pulse]

    @cached_property
    def pulse_beats(self) -> PulseBeats:
        """Usable beats of the pulse wave."""
        return pulse_beats(self.pulse, self.beats.get(self.settings.pulse), self.fs)

    @cached_property
    def vpg(self) -> F32:
        """First derivative of the pulse wave per second, shape (window, time)."""
        return derivative(self.pulse, self.fs, 1)

    @cached_property
    def apg(self) -> F32:
        """Second derivative of the pulse wave per second squared, shape (window, time)."""
        return derivative(self.pulse, self.fs, 2)

    def nan(self) -> F32:
        """Return NaN for every window."""
        return np.full(self.count, np.nan, np.float32)


def bar_reference(settings: FeatureSettings, kinds: Mapping[str, str], task: Task) -> None:
    """Raise `RecipeError` if a channel that the settings name is a reference of the task, under whatever name."""
    for name in dict.fromkeys((*settings.waveform, settings.pulse, settings.raw, settings.ecg)):
        kind = kinds.get(name)
        if kind in task.reference_kinds:
            raise RecipeError(
                f"channel '{name}' is the reference of {task.name} (kind {kind}): it and all that is made of it "
                "are barred from the inputs"
            )
        # A channel with the name of the reference is refused even where nothing is known of it.
        if kind is None and name in task.reference_kinds:
            raise RecipeError(f"channel '{name}' has the name of the reference of {task.name}: it is barred from the inputs")


def needs(settings: FeatureSettings, required: Collection[str]) -> tuple[str, ...]:
    """Return the channels that the windows must carry; ``required`` are the roles that the families read."""
    roles = {"pulse": settings.pulse, "raw": settings.raw}
    named = [roles["pulse"]] if set(DERIVATIVES) & set(settings.waveform) else []
    named += [roles[role] for role in ("pulse", "raw") if role in required]
    return tuple(dict.fromkeys([*named, *(name for name in settings.waveform if name not in DERIVATIVES)]))


def admit(windows: Windows, settings: FeatureSettings, task: Task, required: Collection[str]) -> Inputs:
    """Let the permitted part of ``windows`` through the gate.

    Raises
    ------
    RecipeError
        A named channel is a reference, or is needed and not carried by the windows, or its beats were never looked for.
    """
    kinds = dict(zip(windows.channels, windows.kinds, strict=True))
    bar_reference(settings, kinds, task)
    needed = needs(settings, required)
    for name in needed:
        if name not in kinds:
            have = ", ".join(windows.channels) or "no channel"
            raise RecipeError(f"features need channel '{name}', the windows carry {have}: add it to windows.channels")
    if "pulse" in required and len(windows) and settings.pulse not in windows.beats:
        raise RecipeError(f"features need the beats of '{settings.pulse}': add a 'detect_beats' step for it")
    # Beats of a channel that the windows do not carry have no known kind, so they do not pass.
    known = [name for name in (settings.pulse, settings.ecg) if kinds.get(name, ABSENT) != ABSENT]
    return Inputs(
        settings=settings,
        fs=windows.fs,
        count=len(windows),
        samples=int(windows.signal.shape[-1]),
        signals={name: windows.channel(name) for name in dict.fromkeys([*needed, *(n for n in known if n == settings.ecg)])},
        beats={name: windows.beats[name] for name in known if name in windows.beats},
        demographics=windows.demographics,
        timing_reliable=windows.timing_reliable,
    )
